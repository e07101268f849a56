//! Logins: which plugins we do, and what we send for them.
//!
//! # Invariants
//! - The password itself is sent over TLS only; without TLS at most under the server's RSA key,
//!   and only where the configuration allows a connection without TLS.
//! - What a server sends costs us less than a second: keys and iterations are bounded.

use mysql_common::{
    crypto::{
        der::parse_pub_key_pkcs8,
        rsa::{GetRandom, Pkcs1OaepPadding, PublicKey},
    },
    packets::parse_parsec_salt,
    scramble,
};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
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
        if iterations > PARSEC_ITERATIONS_MAX {
            return Err("it asks for too many iterations");
        }
        let nonce = self.nonce.first_chunk::<32>().ok_or("challenge is cut short")?;
        Ok(scramble::create_response_for_parsec(password, nonce, iterations, salt).to_vec())
    }
}

fn zero_ended(password: &[u8]) -> Vec<u8> {
    [password, &[0]].concat()
}

/// The most that MariaDB's documentation of the plugin allows: 1024 doubled nine times.
const PARSEC_ITERATIONS_MAX: u32 = 1024 << 9;

/// The password under the server's RSA key, against listeners (not against a false server).
fn encrypted(password: &[u8], nonce: &[u8], pem: &[u8]) -> Result<Vec<u8>, &'static str> {
    /// A key of 8,192 bits takes 1,400; the effort grows with the third power.
    const PEM_BYTES_MAX: usize = 2 << 10;
    /// What OAEP with SHA-1 takes of a block (RFC 8017, section 7.1.1).
    const PADDING_BYTES: usize = 2 * 20 + 2;
    const BAD: &str = "unusable RSA key";
    if pem.len() > PEM_BYTES_MAX || nonce.is_empty() {
        return Err(BAD);
    }
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| BAD)?;
    if !is_rsa_key(&der) {
        return Err(BAD);
    }
    let (modulus, exponent) = parse_pub_key_pkcs8(&der);
    let key = PublicKey::new(modulus, exponent);
    let mut plain = zero_ended(password);
    if plain.len() + PADDING_BYTES > key.num_octets() {
        return Err("the RSA key is too short for the password");
    }
    for (byte, mask) in plain.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(key.encrypt_block(&plain, Pkcs1OaepPadding::new(GetRandom)))
}

/// Whether the bytes have the form of an RSA key (RFC 5280, `SubjectPublicKeyInfo`): the library
/// that reads the numbers from it panics where they have not.
fn is_rsa_key(der: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    const INTEGER: u8 = 0x02;
    let numbers = || {
        let (info, _) = element(der, SEQUENCE)?;
        let (_algorithm, rest) = element(info, SEQUENCE)?;
        let (bits, _) = element(rest, BIT_STRING)?;
        let (key, _) = element(bits.strip_prefix(&[0])?, SEQUENCE)?;
        let (modulus, rest) = element(key, INTEGER)?;
        let (exponent, _) = element(rest, INTEGER)?;
        Some((modulus, exponent))
    };
    numbers().is_some_and(|(modulus, exponent)| !modulus.is_empty() && !exponent.is_empty())
}

/// An element's content and what follows it; lengths of at most two bytes.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der.strip_prefix(&[tag])? {
        [length @ 0..=0x7f, rest @ ..] | [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
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

    /// A key of 1,024 bits, made for this test.
    const KEY: &[u8] = b"-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCddm8kOLxeDa/py4/cIrRFgWfT\n\
        9qa1em92tC2lKrwFU/vIlZSSM4+ywRA3Ipphzu2KiuFxbFOT1ZUMUbMrnrdhpqdY\n\
        zm8LhjgKrXFbKMdLXrDTu9DPqYu3TWzkVFpMQZ3INoDvC76hX2xqttIKZEQkFe/2\n\
        cp4A9hDrsWioxyCpkwIDAQAB\n\
        -----END PUBLIC KEY-----";

    #[test]
    fn good_keys_are_used_as_far_as_they_reach() {
        let (nonce, password) = (b"abcdefghijklmnopqrst", [b'x'; 85]);
        assert_eq!(encrypted(&password, nonce, KEY).unwrap().len(), 128);
        assert!(encrypted(&[b'x'; 86], nonce, KEY).is_err());
        // Damage at any place is an error or another key, never a panic.
        for index in 0..KEY.len() {
            for byte in [0, b'A', b'/', b'-', b'\n', 0xff] {
                let mut key = KEY.to_vec();
                key[index] = byte;
                let _either = encrypted(b"secret", nonce, &key);
            }
            let _either = encrypted(b"secret", nonce, &KEY[..index]);
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
        let costly = [b"P\x0a".as_slice(), &[1; 18]].concat();
        assert_eq!(login.more(&costly), Err("it asks for too many iterations"));
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
