//! Persons and names as 64-bit tokens.
//!
//! Two kinds. Fixed hashes ([`fixed`], [`mix`]) are the same on every installation: for names (of
//! columns, of ACL resources) and for numbers that mean nothing outside the shop's database. Keyed
//! ones ([`TokenKey`]) are for e-mail addresses, which could be guessed and tried.
//!
//! # Invariants
//! - A keyed token never reaches a sketch, and the key is never printed.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Subject;

/// The installation's secret: 32 random bytes, made once and kept in a file of mode 0600.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey(pub [u8; 32]);

impl TokenKey {
    /// A keyed hash of texts that nobody can guess from it.
    pub fn fingerprint<'a>(&self, texts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
        let mut mac = Tokens::new(self).mac;
        for text in texts {
            mac.update(&(text.len() as u64).to_le_bytes());
            mac.update(text);
        }
        let digest = mac.finalize().into_bytes();
        digest.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(<hidden>)")
    }
}

/// Longest e-mail address that is hashed whole; the rest of a longer one is left out (RFC 5321
/// allows 254 octets, the widest column of Magento holds 255 characters).
const EMAIL_BYTES_MAX: usize = 512;

/// Makes tokens of persons.
#[derive(Clone)]
pub(crate) struct Tokens {
    mac: Hmac<Sha256>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(<hidden>)")
    }
}

impl Tokens {
    pub(crate) fn new(key: &TokenKey) -> Self {
        let mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
        Self { mac }
    }

    /// A person by an e-mail address; none if the address is empty.
    pub(crate) fn email(&self, address: &[u8]) -> Option<Subject> {
        let mut lower = [0_u8; EMAIL_BYTES_MAX];
        let address = normalised(address, &mut lower)?;
        let mut mac = self.mac.clone();
        mac.update(address);
        let digest = mac.finalize().into_bytes();
        let mut token = [0_u8; 8];
        token.copy_from_slice(digest.get(..8)?);
        Some(Subject { token: u64::from_le_bytes(token), sketch: fixed(address) })
    }

    /// 32 bits of an e-mail address, to tell whether two are equal; never 0.
    pub(crate) fn email_check(&self, address: &[u8]) -> Option<u32> {
        self.email(address).map(|subject| {
            let [a, b, c, d, ..] = subject.token.to_le_bytes();
            u32::from_le_bytes([a, b, c, d]).max(1)
        })
    }
}

/// A person by the customer's id in one database.
pub(crate) fn customer(database: u64, id: u64) -> Subject {
    let token = mix(database ^ mix(id));
    Subject { token, sketch: token }
}

/// Lower case without surrounding blanks; none if nothing is left.
fn normalised<'a>(address: &[u8], lower: &'a mut [u8; EMAIL_BYTES_MAX]) -> Option<&'a [u8]> {
    let address = address.trim_ascii();
    let len = address.len().min(EMAIL_BYTES_MAX);
    for (to, from) in lower.iter_mut().zip(address) {
        *to = from.to_ascii_lowercase();
    }
    lower.get(..len).filter(|address| !address.is_empty())
}

/// Fixed 64-bit hash of bytes (FNV-1a with a finisher).
pub(crate) fn fixed(bytes: &[u8]) -> u64 {
    let folded = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(folded)
}

/// Fixed 64-bit permutation with full avalanche (the finisher of `SplitMix64`, Steele et al. 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The value that [`mix`] made a token of.
pub(crate) fn unmix(token: u64) -> u64 {
    let unshift = |value: u64, by: u32| {
        let mut out = value;
        for _ in 0..64 / by {
            out = value ^ (out >> by);
        }
        out
    };
    // Inverses of the factors modulo 2^64.
    let value = unshift(token, 31).wrapping_mul(0x3196_42b2_d24d_8ec3);
    let value = unshift(value, 27).wrapping_mul(0x96de_1b17_3f11_9089);
    unshift(value, 30).wrapping_sub(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmix_undoes_mix() {
        for value in [0, 1, 77, 1 << 40, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
            assert_eq!(unmix(mix(value)), value);
        }
    }

    #[test]
    fn email_tokens_fold_case_and_depend_on_the_key() {
        let one = Tokens::new(&TokenKey([1; 32]));
        let two = Tokens::new(&TokenKey([2; 32]));
        let a = one.email(b" Ann@Example.com ").unwrap();
        assert_eq!(Some(a), one.email(b"ann@example.com"));
        let b = two.email(b"ann@example.com").unwrap();
        assert_ne!(a.token, b.token);
        assert_eq!(a.sketch, b.sketch);
        assert_eq!(one.email(b"  "), None);
        assert_ne!(one.email_check(b"a@example.com"), one.email_check(b"b@example.com"));
    }

    #[test]
    fn long_addresses_are_cut_not_refused() {
        let tokens = Tokens::new(&TokenKey([1; 32]));
        let at_max = vec![b'a'; EMAIL_BYTES_MAX];
        let over = vec![b'a'; EMAIL_BYTES_MAX + 1];
        assert_eq!(tokens.email(&at_max), tokens.email(&over));
    }

    #[test]
    fn key_is_not_printed() {
        assert_eq!(format!("{:?}", TokenKey([7; 32])), "TokenKey(<hidden>)");
        assert_eq!(format!("{:?}", Tokens::new(&TokenKey([7; 32]))), "Tokens(<hidden>)");
    }

    #[test]
    fn customers_of_two_databases_differ() {
        assert_ne!(customer(fixed(b"a"), 1), customer(fixed(b"b"), 1));
        assert_eq!(customer(fixed(b"a"), 1), customer(fixed(b"a"), 1));
    }
}
