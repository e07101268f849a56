//! The server's greeting and our answer (protocol 10; MySQL `sql_authentication.cc`).
//!
//! Read by hand: the published parser computes with a length byte of the greeting unchecked.

/// Capability flags (MySQL `mysql_com.h`).
pub(crate) mod capability {
    pub(crate) const LONG_PASSWORD: u32 = 1;
    pub(crate) const LONG_FLAG: u32 = 1 << 2;
    pub(crate) const PROTOCOL_41: u32 = 1 << 9;
    pub(crate) const SSL: u32 = 1 << 11;
    pub(crate) const TRANSACTIONS: u32 = 1 << 13;
    pub(crate) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(crate) const PLUGIN_AUTH: u32 = 1 << 19;
    pub(crate) const CONNECT_ATTRS: u32 = 1 << 20;
    pub(crate) const PLUGIN_AUTH_LENENC_DATA: u32 = 1 << 21;
}

/// Without these there is no login that we do.
const NEEDED: u32 =
    capability::PROTOCOL_41 | capability::SECURE_CONNECTION | capability::PLUGIN_AUTH;
/// Offered where the server has them. No local files, no several statements, no compression.
const WANTED: u32 = NEEDED
    | capability::LONG_PASSWORD
    | capability::LONG_FLAG
    | capability::TRANSACTIONS
    | capability::CONNECT_ATTRS
    | capability::PLUGIN_AUTH_LENENC_DATA;

/// `utf8mb4_general_ci`, known to every server.
const COLLATION: u8 = 45;
/// What we tell the server that we take; our own limit is a setting.
const PACKET_BYTES_MAX: u32 = 1 << 30;

/// The server's greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// As sent: MariaDB 10 puts `5.5.5-` before it.
    pub(crate) version: String,
    pub(crate) thread_id: u32,
    pub(crate) capabilities: u32,
    /// Challenge, without its final zero.
    pub(crate) nonce: Vec<u8>,
    /// The login that the server proposes.
    pub(crate) plugin: String,
}

impl Greeting {
    /// Reads the payload of the first packet, which is no error packet.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, &'static str> {
        let (protocol, rest) = payload.split_first().ok_or("empty greeting")?;
        if *protocol != 10 {
            return Err("greeting of another protocol: is this a MySQL server?");
        }
        let end = rest.iter().position(|byte| *byte == 0).ok_or("greeting without a version")?;
        let (version, rest) = rest.split_at(end);
        // After the version's zero: thread u32, 8 bytes of challenge, 0, capabilities (low u16),
        // collation, status u16, capabilities (high u16), length of the challenge, 10 bytes.
        let fixed = rest.get(1..32).ok_or("greeting is cut short")?;
        let rest = rest.get(32..).ok_or("greeting is cut short")?;
        let thread_id = fixed.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let capabilities = u32::from_le_bytes([fixed[13], fixed[14], fixed[18], fixed[19]]);
        if capabilities & NEEDED != NEEDED {
            return Err("server is too old: no pluggable login");
        }
        let mut nonce = fixed[4..12].to_vec();
        let length = usize::from(fixed[20]).saturating_sub(8).max(13);
        let (second, plugin) = rest.split_at_checked(length).ok_or("greeting is cut short")?;
        nonce.extend_from_slice(second);
        if nonce.last() == Some(&0) {
            nonce.pop();
        }
        let plugin = plugin.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Self {
            version: printable(version),
            thread_id,
            capabilities,
            nonce,
            plugin: printable(plugin),
        })
    }

    /// What both sides can do.
    pub(crate) fn common(&self, tls: bool) -> u32 {
        self.capabilities & WANTED | if tls { capability::SSL } else { 0 }
    }
}

/// Text of the server for messages: bounded, no control characters.
pub(crate) fn printable(bytes: &[u8]) -> String {
    const CHARS_MAX: usize = 512;
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect()
}

/// The packet that asks for TLS: the first half of the answer.
pub(crate) fn tls_request(capabilities: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.extend(capabilities.to_le_bytes());
    out.extend(PACKET_BYTES_MAX.to_le_bytes());
    out.push(COLLATION);
    out.extend([0; 23]);
    out
}

/// The answer to the greeting: who we are, and the reply to the challenge.
pub(crate) fn response(capabilities: u32, user: &str, reply: &[u8], plugin: &str) -> Vec<u8> {
    let mut out = tls_request(capabilities);
    out.extend(user.bytes().filter(|byte| *byte != 0));
    out.push(0);
    // Replies are at most 64 bytes, so that both forms of the length are one byte.
    out.push(u8::try_from(reply.len()).unwrap_or(0));
    out.extend_from_slice(reply);
    out.extend(plugin.bytes());
    out.push(0);
    if capabilities & capability::CONNECT_ATTRS != 0 {
        let pairs = [
            ("_client_name", "phiwatch"),
            ("_client_version", env!("CARGO_PKG_VERSION")),
            ("program_name", "phiwatch"),
        ];
        let mut attributes = Vec::new();
        for text in pairs.into_iter().flat_map(|(name, value)| [name, value]) {
            attributes.push(u8::try_from(text.len()).unwrap_or(0));
            attributes.extend(text.bytes());
        }
        out.push(u8::try_from(attributes.len()).unwrap_or(0));
        out.extend(attributes);
    }
    out
}

/// An error packet's number and text; `payload` starts with 0xff.
pub(crate) fn server_error(payload: &[u8]) -> (u16, String) {
    let code = payload.get(1..3).map_or(0, |code| u16::from_le_bytes([code[0], code[1]]));
    let rest = payload.get(3..).unwrap_or_default();
    let text = if rest.first() == Some(&b'#') { rest.get(6..).unwrap_or_default() } else { rest };
    (code, printable(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(challenge_length: u8) -> Vec<u8> {
        let mut bytes = b"\x0a9.7.4\0".to_vec();
        bytes.extend([7, 0, 0, 0]);
        bytes.extend(b"abcdefgh\0");
        bytes.extend([0xff, 0xff, 255, 2, 0, 0xff, 0xff, challenge_length]);
        bytes.extend([0; 10]);
        bytes.extend(b"ijklmnopqrst\0caching_sha2_password\0");
        bytes
    }

    #[test]
    fn greeting_reads() {
        let got = Greeting::parse(&greeting(21)).unwrap();
        assert_eq!((got.version.as_str(), got.thread_id), ("9.7.4", 7));
        assert_eq!(got.nonce, b"abcdefghijklmnopqrst");
        assert_eq!(got.plugin, "caching_sha2_password");
    }

    #[test]
    fn every_greeting_is_an_answer_or_an_error() {
        for length in 0..=255 {
            let bytes = greeting(length);
            for end in 0..bytes.len() {
                let _either = Greeting::parse(&bytes[..end]);
            }
            let _either = Greeting::parse(&bytes);
        }
        assert!(Greeting::parse(b"SSH-2.0-OpenSSH").is_err());
    }

    #[test]
    fn server_errors_read() {
        assert_eq!(server_error(b"\xff\x15\x04#28000no\x1b way"), (1045, "no way".to_owned()));
        assert_eq!(server_error(b"\xff\x15\x04bare"), (1045, "bare".to_owned()));
        assert_eq!(server_error(b"\xff\x15\x04#28"), (1045, String::new()));
        assert_eq!(server_error(b"\xff"), (0, String::new()));
    }
}
