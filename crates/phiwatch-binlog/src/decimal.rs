//! DECIMAL: MySQL's packed form to text (`strings/decimal.cc`, `bin2decimal`).
//!
//! Nine digits take four bytes, fewer take fewer; all big-endian, the very first bit inverted,
//! and every bit of a negative number inverted.

use std::fmt::Write as _;

use crate::Malformed;
use crate::reader::uint_be;

/// Bytes of so many digits, 0 to 8.
fn partial_bytes(digits: u8) -> u8 {
    digits.div_ceil(2)
}

/// Bytes of a whole value.
pub(crate) fn bytes(precision: u8, scale: u8) -> u8 {
    let half = |digits: u8| (digits / 9).wrapping_mul(4).wrapping_add(partial_bytes(digits % 9));
    half(precision.saturating_sub(scale)).wrapping_add(half(scale))
}

/// The text that MySQL prints: no leading zeros, exactly `scale` digits behind the point.
pub(crate) fn decode(value: &[u8], precision: u8, scale: u8) -> Result<String, Malformed> {
    let refused = || Malformed::Value { ty: "DECIMAL", bytes: value.len() as u64 };
    let mut packed = [0; 40];
    let packed = packed.get_mut(..value.len()).ok_or_else(refused)?;
    packed.copy_from_slice(value);
    if value.len() != usize::from(bytes(precision, scale)) {
        return Err(refused());
    }
    let is_negative = value.first().is_some_and(|first| first & 0x80 == 0);
    if let Some(first) = packed.first_mut() {
        *first ^= 0x80;
    }
    if is_negative {
        packed.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let whole = precision.saturating_sub(scale);
    let mut rest = &*packed;
    let mut digits = String::new();
    group(&mut digits, &mut rest, whole % 9).ok_or_else(refused)?;
    for _ in 0..whole / 9 {
        group(&mut digits, &mut rest, 9).ok_or_else(refused)?;
    }
    let significant = digits.trim_start_matches('0');
    let mut text = String::from(if is_negative { "-" } else { "" });
    text.push_str(if significant.is_empty() { "0" } else { significant });
    if scale > 0 {
        text.push('.');
        for _ in 0..scale / 9 {
            group(&mut text, &mut rest, 9).ok_or_else(refused)?;
        }
        group(&mut text, &mut rest, scale % 9).ok_or_else(refused)?;
    }
    Ok(text)
}

/// Appends the next `digits` (0 to 9); None if the bytes hold a greater number.
fn group(text: &mut String, rest: &mut &[u8], digits: u8) -> Option<()> {
    if digits == 0 {
        return Some(());
    }
    let bytes = if digits == 9 { 4 } else { partial_bytes(digits) };
    let (head, tail) = rest.split_at_checked(usize::from(bytes))?;
    *rest = tail;
    let number = uint_be(head);
    if number >= 10_u64.checked_pow(digits.into())? {
        return None;
    }
    let width = usize::from(digits);
    write!(text, "{number:0width$}").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &[u8], precision: u8, scale: u8, want: Option<&str>) {
        assert_eq!(decode(value, precision, scale).ok().as_deref(), want, "{value:02x?}");
    }

    #[test]
    fn packed_decimals_become_text() {
        check(&[0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2], 14, 4, Some("1234567890.1234"));
        check(&[0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d], 14, 4, Some("-1234567890.1234"));
        check(&[0x80, 0, 0], 4, 2, None);
        check(&[0x80, 0x00], 4, 2, Some("0.00"));
        check(&[0x80 + 99, 99], 4, 2, Some("99.99"));
        check(&[0x80 + 100, 99], 4, 2, None);
        check(&[0x80 + 12], 2, 2, Some("0.12"));
        check(&[0x80, 7], 3, 0, Some("7"));
        check(&[], 4, 2, None);
    }
}
