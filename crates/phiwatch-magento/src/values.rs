//! Values of persons as keyed tokens: to know an address, a telephone number or a name again when
//! it turns up in another table, without keeping it.
//!
//! Tokens are 40 bits of SipHash-2-4 (Aumasson, Bernstein, "SipHash: a fast short-input PRF", 2012)
//! under a key that is derived from the installation's. Two values share a token with a probability
//! of 2^-40, so that what is found does not depend on the key in practice, and a million of them
//! are three megabytes of a checkpoint.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Subject, TokenKey, recognise, token};

/// Bits of a token.
pub(crate) const TOKEN_BITS: u32 = 40;
/// Bytes of a value that are read.
const VALUE_BYTES_MAX: usize = 256;
/// Digits of a telephone number that count: without country and trunk prefixes.
const PHONE_DIGITS: usize = 9;
/// Words of a name at most.
const WORDS_MAX: usize = 8;

/// What kind of value a token stands for: equal bytes of two kinds are two tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueKind {
    Email = 1,
    Phone = 2,
    Name = 3,
}

/// A value that names a person: its token, and the person for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) token: u64,
    pub(crate) kind: ValueKind,
    /// The same on every installation.
    sketch: u64,
}

impl Value {
    pub(crate) fn subject(self) -> Subject {
        Subject { token: token::mix(self.token), sketch: self.sketch }
    }
}

/// Makes the tokens.
#[derive(Clone)]
pub(crate) struct Hasher {
    key: (u64, u64),
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher(<hidden>)")
    }
}

impl Hasher {
    pub(crate) fn new(key: &TokenKey) -> Self {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
        mac.update(b"phiwatch values 1");
        let digest = mac.finalize().into_bytes();
        let mut halves = digest.chunks_exact(8).map(|half| {
            half.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        });
        Self { key: (halves.next().unwrap_or(0), halves.next().unwrap_or(0)) }
    }

    fn value(&self, kind: ValueKind, bytes: &[u8]) -> Value {
        let hash = sip((self.key.0, self.key.1 ^ kind as u64), bytes);
        let sketch = token::mix(token::fixed(bytes) ^ kind as u64);
        Value { token: hash >> (64 - TOKEN_BITS), kind, sketch }
    }

    /// An e-mail address, whatever the case of its letters.
    pub(crate) fn email(&self, address: &[u8]) -> Option<Value> {
        let address = address.trim_ascii();
        let mut lower = [0_u8; VALUE_BYTES_MAX];
        let lower = lower.get_mut(..address.len()).filter(|lower| !lower.is_empty())?;
        lower.copy_from_slice(address);
        lower.make_ascii_lowercase();
        Some(self.value(ValueKind::Email, lower))
    }

    /// A telephone number by its last digits; none if the text is anything else.
    pub(crate) fn phone(&self, text: &[u8]) -> Option<Value> {
        let text = text.trim_ascii();
        let is_phone = (7..=24).contains(&text.len())
            && text.iter().all(|byte| byte.is_ascii_digit() || b"+()-. /".contains(byte));
        if !is_phone {
            return None;
        }
        let mut digits = [0_u8; PHONE_DIGITS];
        let mut count = 0;
        for digit in text.iter().rev().filter(|byte| byte.is_ascii_digit()) {
            if let Some(place) = digits.get_mut(count) {
                *place = *digit;
            }
            count += 1;
        }
        let held = digits.get(..count.min(PHONE_DIGITS))?;
        // Dates and zeros are no telephone numbers.
        let is_varied = held.iter().any(|digit| Some(digit) != held.first());
        ((7..=15).contains(&count) && is_varied).then(|| self.value(ValueKind::Phone, held))
    }

    /// A full name from its parts, whatever their order and the case of their letters; none if it
    /// has less than two words, or is no name.
    pub(crate) fn name(&self, parts: &[&[u8]]) -> Option<Value> {
        let mut words = [(0_u64, 0_u64); WORDS_MAX];
        let mut count = 0;
        for part in parts.iter().filter(|part| is_name(part)) {
            for word in name_words(part) {
                let value = self.value(ValueKind::Name, &lower_word(word)?);
                *words.get_mut(count)? = (value.token, value.sketch);
                count += 1;
            }
        }
        let words = words.get_mut(..count).filter(|words| words.len() >= 2)?;
        words.sort_unstable();
        let token = words.iter().fold(0, |all, (token, _)| token::mix(all ^ token));
        words.sort_unstable_by_key(|(_, sketch)| *sketch);
        let sketch = words.iter().fold(0, |all, (_, sketch)| token::mix(all ^ sketch));
        Some(Value { token: token >> (64 - TOKEN_BITS), kind: ValueKind::Name, sketch })
    }
}

/// Whether a text may be a name or a part of one: letters, and the signs that names have.
pub(crate) fn is_name(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let is_part =
        |byte: &u8| byte.is_ascii_alphabetic() || *byte >= 0x80 || b" -'.,".contains(byte);
    (2..=80).contains(&text.len())
        && text.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80)
        && text.iter().all(is_part)
}

/// Words of a name.
pub(crate) fn name_words(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|byte| b" ,.".contains(byte)).filter(|word| !word.is_empty())
}

fn lower_word(word: &[u8]) -> Option<Vec<u8>> {
    (word.len() <= VALUE_BYTES_MAX).then(|| word.to_ascii_lowercase())
}

/// E-mail addresses in a text, at most `max` of them.
pub(crate) fn emails(text: &[u8], max: usize, mut tell: impl FnMut(&[u8])) {
    let mut at = 0;
    let mut count = 0;
    while count < max {
        let rest = text.get(at..).unwrap_or_default();
        let Some(sign) = rest.iter().position(|byte| *byte == b'@') else { return };
        at += sign + 1;
        if let Some(range) = recognise::email(text, at - 1) {
            at = range.end;
            count += 1;
            if let Some(address) = text.get(range) {
                tell(address);
            }
        }
    }
}

/// SipHash-2-4.
fn sip(key: (u64, u64), bytes: &[u8]) -> u64 {
    let mut state = [
        key.0 ^ 0x736f_6d65_7073_6575,
        key.1 ^ 0x646f_7261_6e64_6f6d,
        key.0 ^ 0x6c79_6765_6e65_7261,
        key.1 ^ 0x7465_6462_7974_6573,
    ];
    let number = |bytes: &[u8]| {
        bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let mut take = |word: u64| {
        state[3] ^= word;
        sip_round(&mut state);
        sip_round(&mut state);
        state[0] ^= word;
    };
    let chunks = bytes.chunks_exact(8);
    let rest = number(chunks.remainder());
    chunks.for_each(|chunk| take(number(chunk)));
    take(rest | (bytes.len() as u64 & 0xff) << 56);
    state[2] ^= 0xff;
    for _ in 0..4 {
        sip_round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

fn sip_round(state: &mut [u64; 4]) {
    let [a, b, c, d] = state;
    *a = a.wrapping_add(*b);
    *c = c.wrapping_add(*d);
    *b = b.rotate_left(13) ^ *a;
    *d = d.rotate_left(16) ^ *c;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*b);
    *a = a.wrapping_add(*d);
    *b = b.rotate_left(17) ^ *c;
    *d = d.rotate_left(21) ^ *a;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher() -> Hasher {
        Hasher::new(&TokenKey([1; 32]))
    }

    /// Vectors of the paper's appendix and its reference implementation: key 00..0f, message
    /// 00, 00 01, ...
    #[test]
    fn sip_gives_the_papers_values() {
        let key = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(sip(key, &message), 0xa129_ca61_49be_45e5);
        assert_eq!(sip(key, b""), 0x726f_db47_dd0e_0e31);
    }

    #[test]
    fn forms_of_one_value_are_one_token() {
        let hash = hasher();
        let phone = |text: &str| hash.phone(text.as_bytes()).map(|value| value.token);
        assert_eq!(phone("+1 (212) 555-0123"), phone("2125550123"));
        assert_eq!(phone("+49 664 1234567"), phone("0664/1234567"));
        assert_ne!(phone("2125550123"), phone("2125550124"));
        for text in ["123456", "0000000000", "12.5.x", "12345678901234567", ""] {
            assert_eq!(phone(text), None, "{text}");
        }
        let name = |parts: &[&str]| {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            hash.name(&parts).map(|value| value.token)
        };
        assert_eq!(name(&["Jane", "Roe"]), name(&["ROE, jane"]));
        assert_ne!(name(&["Jane", "Roe"]), name(&["Jane", "Doe"]));
        assert_eq!(name(&["Jane"]), None);
        assert_eq!(name(&["Item 42", "Roe"]), None);
    }

    #[test]
    fn tokens_depend_on_key_and_kind() {
        let (one, two) = (hasher(), Hasher::new(&TokenKey([2; 32])));
        let (a, b) = (one.email(b"a@example.com").unwrap(), two.email(b" A@example.com").unwrap());
        assert_ne!(a.token, b.token);
        assert_eq!(a.sketch, b.sketch);
        assert!(a.token < 1 << TOKEN_BITS);
        assert_eq!(one.email(b"  "), None);
        assert_eq!(format!("{one:?}"), "Hasher(<hidden>)");
    }

    #[test]
    fn addresses_are_found_in_texts() {
        let mut all = Vec::new();
        let text = br#"[{"email":"a@example.com"},{"to":"<b@example.org>, c@x"}] @ d@example.net"#;
        emails(text, 10, |address| all.push(String::from_utf8_lossy(address).into_owned()));
        assert_eq!(all, ["a@example.com", "b@example.org", "d@example.net"]);
        let mut count = 0;
        emails(text, 2, |_| count += 1);
        assert_eq!(count, 2);
    }
}
