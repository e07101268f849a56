//! Whether a value is ciphertext, by its form.
//!
//! Magento writes `<key>:<cipher>:<base64>` (`Encryptor::encrypt`; cipher 3 is ChaCha20-Poly1305:
//! 12 bytes of nonce, the text, 16 bytes of tag), earlier versions `<key>:<cipher>:<iv>:<base64>`,
//! `<cipher>:<base64>` or bare base64. Others' ciphertext is told by its alphabet and entropy:
//! base64 of random bytes has over 4.4 bits a character from 40 characters on, words of a language
//! and ids stay below 4.15; hexadecimal digits of random bytes have over 92 % of their 4 bits.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Characters from which on entropy tells.
const RANDOM_MIN: usize = 40;

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Nothing that could be judged.
    Empty,
    /// Magento's own ciphertext, whole.
    Magento,
    /// Others', or random by its entropy.
    Random,
    /// Begins like Magento's ciphertext, but cannot be decrypted: cut, or damaged.
    Corrupt,
    /// Anything else.
    Plain,
}

/// Judges a value.
pub(crate) fn form(value: &[u8]) -> Form {
    let value = value.trim_ascii();
    if value.is_empty() {
        return Form::Empty;
    }
    if let Some(form) = magento(value) {
        return form;
    }
    if is_random(value) { Form::Random } else { Form::Plain }
}

/// The parts of Magento's form; none if the value has another.
fn magento(value: &[u8]) -> Option<Form> {
    let mut parts: Vec<&[u8]> = value.splitn(4, |byte| *byte == b':').collect();
    let data = parts.pop()?;
    let number = |part: &[u8], max: u32| {
        let text = std::str::from_utf8(part).ok().filter(|text| text.len() <= 2)?;
        text.parse::<u32>().ok().filter(|number| *number <= max)
    };
    let is_iv = |part: &[u8]| part.len() == 32 && part.iter().all(u8::is_ascii_graphic);
    let cipher = match parts[..] {
        [key, cipher] => number(key, 99).and(number(cipher, 3))?,
        [key, cipher, iv] if is_iv(iv) => number(key, 99).and(number(cipher, 3))?,
        [cipher] if data.len() >= 16 => number(cipher, 3)?,
        _ => return None,
    };
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    if data.is_empty() || (parts.len() == 1 && !data.iter().all(is_base64)) {
        return None;
    }
    let bytes_min = if cipher == 3 { 28 } else { 8 };
    let is_whole = STANDARD.decode(data).is_ok_and(|bytes| bytes.len() >= bytes_min);
    Some(if is_whole { Form::Magento } else { Form::Corrupt })
}

/// Whether the value looks like random bytes.
fn is_random(value: &[u8]) -> bool {
    let is_text = std::str::from_utf8(value).is_ok_and(|text| !text.chars().any(char::is_control));
    if !is_text {
        return value.len() >= 16 && std::str::from_utf8(value).is_err();
    }
    // Vault's and other key managers' prefixes.
    let value = match value.strip_prefix(b"vault:v") {
        Some(rest) => rest.splitn(2, |byte| *byte == b':').nth(1).unwrap_or(rest),
        None => value,
    };
    if value.len() >= 32 && value.iter().all(u8::is_ascii_hexdigit) {
        return value.len().is_multiple_of(2) && entropy(value) >= 0.88 * 4.0;
    }
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-.:$".contains(byte);
    value.len() >= RANDOM_MIN && value.iter().all(is_base64) && entropy(value) >= 4.4
}

/// Shannon entropy, bits a byte.
fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value.iter().take(4_096) {
        counts[usize::from(*byte)] += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 4,096")]
    let all = value.len().min(4_096) as f64;
    let share = |count: &u32| {
        let share = f64::from(*count) / all;
        -share * libm::log2(share)
    };
    counts.iter().filter(|count| **count > 0).map(share).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(bytes: usize) -> String {
        let random: Vec<u8> =
            (0..bytes).map(|n| crate::token::mix(n as u64).to_le_bytes()[3]).collect();
        format!("0:3:{}", STANDARD.encode(random))
    }

    #[test]
    fn forms_of_ciphertext_and_look_alikes() {
        let whole = sealed(28 + 9);
        let cut: String = whole.chars().take(whole.len() - 3).collect();
        let short = sealed(20);
        let old = format!("0:2:{}:{}", "x".repeat(32), STANDARD.encode([7; 32]));
        let legacy = format!("1:{}", STANDARD.encode([9; 24]));
        let vendor = STANDARD
            .encode((0..64_u64).map(|n| crate::token::mix(n).to_le_bytes()[0]).collect::<Vec<_>>());
        let hex: String =
            (0..32_u64).map(|n| format!("{:02x}", crate::token::mix(n).to_le_bytes()[5])).collect();
        let random: Vec<u8> = (0..32_u64).map(|n| crate::token::mix(n).to_le_bytes()[1]).collect();
        for (value, want) in [
            (&b""[..], Form::Empty),
            (b"  ", Form::Empty),
            (whole.as_bytes(), Form::Magento),
            (old.as_bytes(), Form::Magento),
            (legacy.as_bytes(), Form::Magento),
            (cut.as_bytes(), Form::Corrupt),
            (short.as_bytes(), Form::Corrupt),
            (b"0:3:not base64 at all", Form::Corrupt),
            (vendor.as_bytes(), Form::Random),
            (hex.as_bytes(), Form::Random),
            (&random, Form::Random),
            (b"4111111111111111", Form::Plain),
            (b"Jane Roe", Form::Plain),
            (b"12:30", Form::Plain),
            (b"1:2", Form::Plain),
            (b"10:20:30", Form::Plain),
            (
                b"a long sentence that nobody has encrypted, with forty characters and more",
                Form::Plain,
            ),
            (b"11111111111111111111111111111111", Form::Plain),
            (b"jane.roe.with-a-long-address@clinic.example.com", Form::Plain),
        ] {
            assert_eq!(form(value), want, "{}", String::from_utf8_lossy(value));
        }
    }
}
