//! The client's side of a login and of questions: greeting, TLS or not, every login plugin, OK,
//! error and end-of-file packets, result sets, and the frames below them.
//!
//! Input: a byte of options (bit 0: the bytes come as they are, else as packets; bit 1: TLS if the
//! server offers it; the rest: bytes that arrive at a time), then the bytes, or packets, each with
//! a byte of length before it (255: two more bytes follow, little-endian).
//!
//! Asserts that the password is in nothing that is sent without TLS, and in no error.

use phiwatch_source::TlsMode;
use phiwatch_source::fuzzing::{PASSWORD, Script, login};

/// Logs in to the server that says this, and asks it.
pub fn run(data: &[u8]) {
    let Some((options, rest)) = data.split_first() else { return };
    let tls = if options & 2 == 2 { TlsMode::Preferred } else { TlsMode::Off };
    let mut script = Script { piece_bytes: piece_bytes(*options), ..Script::default() };
    if options & 1 == 1 {
        script.raw = rest.to_vec();
    } else {
        script.packets = packets(rest);
    }
    let (asked, sent) = login(script, tls);
    assert!(!contains(&sent, PASSWORD.as_bytes()), "the password went out in the clear");
    if let Err(error) = asked {
        let text = format!("{error} {error:?} {}", error.hint().unwrap_or_default());
        assert!(!text.contains(PASSWORD), "the password is in an error");
        assert!(!error.to_string().chars().any(char::is_control), "a server's control characters");
    }
}

/// From a byte at a time to all at once.
#[must_use]
pub fn piece_bytes(options: u8) -> usize {
    [usize::MAX, 1, 3, 64][usize::from(options >> 6)]
}

/// Payloads, each with its length before it.
#[must_use]
pub fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (length, rest) = match (length, rest.split_first_chunk::<2>()) {
            (255, Some((wide, rest))) => (usize::from(u16::from_le_bytes(*wide)), rest),
            (short, _) => (usize::from(*short), rest),
        };
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        packets.push(payload.to_vec());
        bytes = rest;
    }
    packets
}

/// The reverse of [`packets`], for seeds.
#[must_use]
pub fn written(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for payload in packets {
        match u8::try_from(payload.len()) {
            Ok(length) if length < 255 => out.push(length),
            _ => {
                out.push(255);
                out.extend((payload.len() as u16).to_le_bytes());
            }
        }
        out.extend(payload);
    }
    out
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
