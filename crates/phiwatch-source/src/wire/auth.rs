//! Logins: which plugins we do, and what we send for them.
//!
//! # Invariants
//! - The password itself is sent over TLS only; without TLS at most under the server's RSA key,
//!   and only where the configuration allows a connection without TLS.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mysql_common::{crypto, packets::parse_parsec_salt, scramble};
use secrecy::{ExposeSecret, SecretString};

use super::handshake::printable;

/// A login that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plugin {
    /// MySQL's default since 8.0.
    CachingSha2,
    /// The old default of both.
    Native,
    /// MariaDB.
    Ed25519,
    /// MariaDB 11.6 and later.
    Parsec,
    /// The password as it is: PAM, LDAP.
    Clear,
}

impl Plugin {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "caching_sha2_password" => Self::CachingSha2,
            "mysql_native_password" => Self::Native,
            "client_ed25519" => Self::Ed25519,
            "parsec" => Self::Parsec,
            "mysql_clear_password" => Self::Clear,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CachingSha2 => "caching_sha2_password",
            Self::Native => "mysql_native_password",
            Self::Ed25519 => "client_ed25519",
            Self::Parsec => "parsec",
            Self::Clear => "mysql_clear_password",
        }
    }
}

/// What the login needs to know.
pub(crate) struct Credentials<'a> {
    pub(crate) password: &'a SecretString,
    /// The connection is encrypted.
    pub(crate) encrypted: bool,
    /// And the server's identity was checked.
    pub(crate) verified: bool,
}

/// What to do with a packet of the login.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send this.
    Send(Vec<u8>),
    /// Wait for the next packet.
    Wait,
}

/// One login under way.
pub(crate) struct Exchange<'a> {
    credentials: Credentials<'a>,
    plugin: Plugin,
    nonce: Vec<u8>,
    /// We asked for the server's RSA key.
    key_asked: bool,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(credentials: Credentials<'a>, plugin: Plugin, nonce: Vec<u8>) -> Self {
        Self { credentials, plugin, nonce, key_asked: false }
    }

    pub(crate) fn plugin(&self) -> Plugin {
        self.plugin
    }

    /// The reply to the challenge, at most 255 bytes.
    pub(crate) fn reply(&self) -> Result<Vec<u8>, &'static str> {
        let password = self.credentials.password.expose_secret().as_bytes();
        if password.is_empty() {
            return Ok(Vec::new());
        }
        let reply = match self.plugin {
            Plugin::CachingSha2 => {
                scramble::scramble_sha256(&self.nonce, password).map(|reply| reply.to_vec())
            }
            Plugin::Native => {
                scramble::scramble_native(&self.nonce, password).map(|reply| reply.to_vec())
            }
            Plugin::Ed25519 => {
                Some(scramble::create_response_for_ed25519(password, &self.nonce).to_vec())
            }
            // An empty packet asks for the salt.
            Plugin::Parsec => Some(Vec::new()),
            Plugin::Clear if self.credentials.verified => Some(zero_ended(password)),
            Plugin::Clear => {
                return Err("it would send the password in the clear; needs tls = \"required\"");
            }
        };
        Ok(reply.unwrap_or_default())
    }

    /// The server asks for another login: `payload` starts with 0xfe.
    pub(crate) fn switch(&mut self, payload: &[u8]) -> Result<Vec<u8>, (String, &'static str)> {
        let rest = payload.get(1..).unwrap_or_default();
        if rest.is_empty() {
            return Err(("mysql_old_password".to_owned(), "insecure, not supported"));
        }
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        let name = printable(&rest[..end]);
        let nonce = rest.get(end + 1..).unwrap_or_default();
        let Some(plugin) = Plugin::from_name(&name) else {
            return Err((name, "not supported"));
        };
        self.plugin = plugin;
        self.nonce = nonce.strip_suffix(&[0]).unwrap_or(nonce).to_vec();
        if plugin == Plugin::Parsec {
            // Binary: a final zero belongs to it.
            self.nonce = nonce.to_vec();
        }
        self.reply().map_err(|what| (name, what))
    }

    /// More of the same login: `payload` without its leading 0x01.
    pub(crate) fn more(&mut self, payload: &[u8]) -> Result<Step, &'static str> {
        let password = self.credentials.password.expose_secret().as_bytes();
        match self.plugin {
            Plugin::CachingSha2 if self.key_asked => {
                self.key_asked = false;
                encrypted(password, &self.nonce, payload).map(Step::Send)
            }
            // 3: the server knew the password's hash. 4: it needs the password.
            Plugin::CachingSha2 => match payload {
                [3] => Ok(Step::Wait),
                [4] if self.credentials.encrypted => Ok(Step::Send(zero_ended(password))),
                [4] => {
                    self.key_asked = true;
                    Ok(Step::Send(vec![2]))
                }
                _ => Err("unexpected answer"),
            },
            Plugin::Parsec => self.parsec(payload).map(Step::Send),
            Plugin::Native | Plugin::Ed25519 | Plugin::Clear => Err("unexpected answer"),
        }
    }

    fn parsec(&self, payload: &[u8]) -> Result<Vec<u8>, &'static str> {
        let password = self.credentials.password.expose_secret().as_bytes();
        let (iterations, salt) = parse_parsec_salt(payload).ok_or("unusable salt")?;
        let nonce = self.nonce.first_chunk::<32>().ok_or("challenge is cut short")?;
        Ok(scramble::create_response_for_parsec(password, nonce, iterations, salt).to_vec())
    }
}

fn zero_ended(password: &[u8]) -> Vec<u8> {
    [password, &[0]].concat()
}

/// The password under the server's RSA key, against listeners (not against a false server).
fn encrypted(password: &[u8], nonce: &[u8], key: &[u8]) -> Result<Vec<u8>, &'static str> {
    const KEY_BYTES_MAX: usize = 8 << 10;
    const BAD: &str = "unusable RSA key";
    if key.len() > KEY_BYTES_MAX || nonce.is_empty() || !key.starts_with(b"-----BEGIN PUBLIC KEY") {
        return Err(BAD);
    }
    let mut plain = zero_ended(password);
    for (byte, mask) in plain.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= mask;
    }
    // The library panics on a key that it cannot read.
    catch_unwind(AssertUnwindSafe(|| crypto::encrypt(&plain, key))).map_err(|_| BAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(password: &SecretString, plugin: Plugin, encrypted: bool) -> Exchange<'_> {
        let credentials = Credentials { password, encrypted, verified: false };
        Exchange::new(credentials, plugin, b"abcdefghijklmnopqrst".to_vec())
    }

    #[test]
    fn password_goes_in_the_clear_only_over_tls() {
        let password = SecretString::from("secret");
        let mut plain = exchange(&password, Plugin::CachingSha2, false);
        assert_eq!(plain.more(&[4]), Ok(Step::Send(vec![2])));
        let mut tls = exchange(&password, Plugin::CachingSha2, true);
        assert_eq!(tls.more(&[4]), Ok(Step::Send(b"secret\0".to_vec())));
        assert_eq!(tls.more(&[3]), Ok(Step::Wait));
        assert!(exchange(&password, Plugin::Clear, true).reply().is_err());
    }

    #[test]
    fn bad_keys_are_errors() {
        let password = SecretString::from("secret");
        for key in [
            &b""[..],
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            b"-----BEGIN PUBLIC KEY-----\n\xff\xfe\n-----END PUBLIC KEY-----",
        ] {
            let mut plain = exchange(&password, Plugin::CachingSha2, false);
            plain.more(&[4]).unwrap();
            assert!(plain.more(key).is_err());
        }
    }

    #[test]
    fn switches_are_followed_or_refused() {
        let password = SecretString::from("secret");
        let mut login = exchange(&password, Plugin::CachingSha2, false);
        let reply = login.switch(b"\xfemysql_native_password\0abcdefghijklmnopqrst\0").unwrap();
        assert_eq!((login.plugin(), reply.len()), (Plugin::Native, 20));
        let reply = login.switch(b"\xfeclient_ed25519\0abcdefghijklmnopqrstabcdefghijkl").unwrap();
        assert_eq!((login.plugin(), reply.len()), (Plugin::Ed25519, 64));
        let nonce = [7; 32];
        let packet = [b"\xfeparsec\0", &nonce[..]].concat();
        assert_eq!(login.switch(&packet).unwrap(), b"");
        let salt = [b"P\x00".as_slice(), &[1; 18]].concat();
        assert!(matches!(login.more(&salt), Ok(Step::Send(reply)) if reply.len() == 96));
        assert!(login.more(b"P\x63").is_err());
        assert!(login.switch(b"\xfe").is_err());
        assert!(login.switch(b"\xfeauth_gssapi_client\0").is_err());
        assert!(login.switch(b"\xfemysql_clear_password\0").is_err());
    }

    #[test]
    fn empty_password_sends_nothing() {
        let password = SecretString::from("");
        for plugin in [Plugin::CachingSha2, Plugin::Native, Plugin::Ed25519] {
            assert_eq!(exchange(&password, plugin, false).reply(), Ok(Vec::new()));
        }
    }
}
