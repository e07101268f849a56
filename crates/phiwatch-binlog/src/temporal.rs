//! Dates and times: the packed forms of MySQL (`sql-common/my_time.cc`) to text.

use std::fmt::Write as _;

use crate::reader::{uint_be, uint_le};

/// `.` and exactly `fsp` digits, cut from a fraction of the width that `fsp` is stored in.
fn push_fraction(text: &mut String, stored: u64, fsp: u8) {
    // Stored in units of 10^-2, 10^-4 or 10^-6.
    let micros = match fsp {
        0 => return,
        1 | 2 => stored.wrapping_mul(10_000),
        3 | 4 => stored.wrapping_mul(100),
        _ => stored,
    };
    let digits = format!("{micros:06}");
    text.push('.');
    text.extend(digits.chars().take(fsp.into()));
}

fn date_text(year: u64, month: u64, day: u64) -> String {
    format!("{year:04}-{month:02}-{day:02}")
}

/// Splits the integer part of DATETIME2: year and month, day, hour, minute, second.
fn datetime_text(packed: u64) -> String {
    let (ymd, hms) = (packed >> 17, packed & 0x1_ffff);
    let (year_month, day) = (ymd >> 5, ymd & 31);
    let mut text = date_text(year_month / 13, year_month % 13, day);
    push_clock(&mut text, " ", hms >> 12, hms >> 6 & 63, hms & 63);
    text
}

fn push_clock(text: &mut String, before: &str, hours: u64, minutes: u64, seconds: u64) {
    // Writing to a string cannot fail.
    if write!(text, "{before}{hours:02}:{minutes:02}:{seconds:02}").is_err() {
        text.clear();
    }
}

/// DATE, 3 bytes.
pub(crate) fn date(value: &[u8]) -> String {
    let packed = uint_le(value);
    date_text(packed >> 9, packed >> 5 & 15, packed & 31)
}

/// TIME before 5.6, 3 bytes: `HHMMSS` as a signed decimal number.
pub(crate) fn time_old(value: &[u8]) -> String {
    let raw = uint_le(value) & 0xff_ffff;
    let is_negative = raw & 0x80_0000 != 0;
    let number = if is_negative { 0x100_0000_u64.saturating_sub(raw) } else { raw };
    let mut text = String::from(if is_negative { "-" } else { "" });
    push_clock(&mut text, "", number / 10_000, number / 100 % 100, number % 100);
    text
}

/// DATETIME before 5.6, 8 bytes: `YYYYMMDDhhmmss` as a decimal number.
pub(crate) fn datetime_old(value: &[u8]) -> String {
    let number = uint_le(value);
    let (day, clock) = (number / 1_000_000, number % 1_000_000);
    let mut text = date_text(day / 10_000, day / 100 % 100, day % 100);
    push_clock(&mut text, " ", clock / 10_000, clock / 100 % 100, clock % 100);
    text
}

/// DATETIME(fsp); None for a value below zero.
pub(crate) fn datetime2(value: &[u8], fsp: u8) -> Option<String> {
    let (whole, fraction) = value.split_at_checked(5)?;
    let mut text = datetime_text(uint_be(whole).checked_sub(0x80_0000_0000)?);
    push_fraction(&mut text, uint_be(fraction), fsp);
    Some(text)
}

/// TIME(fsp). A negative time is the two's complement of whole and fraction together.
pub(crate) fn time2(value: &[u8], fsp: u8) -> String {
    let fraction_bits = u32::from(fsp.div_ceil(2)).wrapping_mul(8);
    let offset = 1_u64.wrapping_shl(fraction_bits.wrapping_add(23));
    let stored = uint_be(value);
    let is_negative = stored < offset;
    let size = stored.abs_diff(offset);
    let whole = size.wrapping_shr(fraction_bits);
    let fraction = size ^ whole.wrapping_shl(fraction_bits);
    let mut text = String::from(if is_negative { "-" } else { "" });
    push_clock(&mut text, "", whole >> 12 & 0x3ff, whole >> 6 & 63, whole & 63);
    push_fraction(&mut text, fraction, fsp);
    text
}

/// TIMESTAMP of either age: seconds since 1970 as read, and the stored fraction. Zero is a value
/// of its own, not a time.
pub(crate) fn timestamp(seconds: u32, fraction: &[u8], fsp: u8) -> String {
    let stored = uint_be(fraction);
    let is_zero = seconds == 0 && stored == 0;
    let mut text = if is_zero {
        "0000-00-00 00:00:00".to_owned()
    } else {
        let (day, clock) = (u64::from(seconds / 86_400), u64::from(seconds % 86_400));
        let (year, month, day) = civil(day);
        let mut text = date_text(year, month, day);
        push_clock(&mut text, " ", clock / 3_600, clock / 60 % 60, clock % 60);
        text
    };
    push_fraction(&mut text, stored, fsp);
    if !is_zero {
        text.push('Z');
    }
    text
}

/// Year, month and day of a day number since 1970 (proleptic Gregorian; counted from 0000-03-01,
/// so that the leap day ends the year).
fn civil(day: u64) -> (u64, u64, u64) {
    let shifted = day.saturating_add(719_468);
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let leap_days = (of_era / 1_460).saturating_add(of_era / 146_096);
    let year_of_era = of_era.saturating_add(of_era / 36_524).saturating_sub(leap_days) / 365;
    let before = (year_of_era.saturating_mul(365)).saturating_add(year_of_era / 4);
    let of_year = of_era.saturating_sub(before.saturating_sub(year_of_era / 100));
    let from_march = of_year.saturating_mul(5).saturating_add(2) / 153;
    let day = of_year.saturating_sub(from_march.saturating_mul(153).saturating_add(2) / 5);
    let month =
        if from_march < 10 { from_march.saturating_add(3) } else { from_march.saturating_sub(9) };
    let year = era.saturating_mul(400).saturating_add(year_of_era);
    (year.saturating_add(u64::from(month <= 2)), month, day.saturating_add(1))
}

/// A date or time within binary JSON: a signed 64-bit number, microseconds in the low 24 bits.
/// `kind` is the column type number; None if it is none of these.
pub(crate) fn in_json(kind: u8, packed: i64) -> Option<String> {
    let size = packed.unsigned_abs();
    let (whole, micros) = (size >> 24, size & 0xff_ffff);
    let mut text = match kind {
        10 => {
            let mut text = datetime_text(whole);
            text.truncate(text.len().saturating_sub(9));
            return Some(text);
        }
        7 | 12 | 17 | 18 => datetime_text(whole),
        11 | 19 => {
            let mut text = String::from(if packed < 0 { "-" } else { "" });
            push_clock(&mut text, "", whole >> 12 & 0x3ff, whole >> 6 & 63, whole & 63);
            text
        }
        _ => return None,
    };
    push_fraction(&mut text, micros, 6);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(&[0, 0, 0]), "0000-00-00");
        assert_eq!(date(&[0x9f, 0x1f, 0x4e]), "9999-12-31");
        assert_eq!(datetime_old(&20_240_229_235_959_u64.to_le_bytes()), "2024-02-29 23:59:59");
        assert_eq!(time_old(&[0xff, 0xff, 0xff]), "-00:00:01");
        assert_eq!(time_old(&8_385_959_u32.to_le_bytes()[..3]), "838:59:59");
    }

    #[test]
    fn negative_times_borrow_from_the_fraction() {
        assert_eq!(time2(&[0x80, 0, 0], 0), "00:00:00");
        assert_eq!(time2(&[0x7f, 0xff, 0xff, 0xff], 2), "-00:00:00.01");
        assert_eq!(time2(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff], 6), "-00:00:00.000001");
        assert_eq!(time2(&[0xb4, 0x6e, 0xfb], 0), "838:59:59");
        assert_eq!(time2(&[0x4b, 0x91, 0x05], 0), "-838:59:59");
        assert_eq!(time2(&[0x7f, 0xff, 0xff, 0xce], 1), "-00:00:00.5");
    }

    #[test]
    fn timestamps_are_utc() {
        assert_eq!(timestamp(0, &[], 0), "0000-00-00 00:00:00");
        assert_eq!(timestamp(0, &[0], 1), "0000-00-00 00:00:00.0");
        assert_eq!(timestamp(1, &[], 0), "1970-01-01 00:00:01Z");
        assert_eq!(timestamp(1_709_251_199, &[0x0f, 0x42, 0x3f], 6), "2024-02-29 23:59:59.999999Z");
        assert_eq!(timestamp(951_782_400, &[], 0), "2000-02-29 00:00:00Z");
        assert_eq!(timestamp(u32::MAX, &[], 0), "2106-02-07 06:28:15Z");
    }

    #[test]
    fn datetimes_split_year_and_month_by_thirteen() {
        assert_eq!(datetime2(&[0x80, 0, 0, 0, 0], 0).unwrap(), "0000-00-00 00:00:00");
        assert_eq!(
            datetime2(&[0xfe, 0xf3, 0xff, 0x7e, 0xfb, 99], 2).unwrap(),
            "9999-12-31 23:59:59.99"
        );
        assert_eq!(datetime2(&[0x7f, 0, 0, 0, 0], 0), None);
    }
}
