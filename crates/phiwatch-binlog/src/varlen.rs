//! MySQL's variable-length integers (`mysql::serialization`), as in tagged GTID events and sets:
//! the number of trailing one-bits of the first byte tells how many bytes follow it.

use crate::Malformed;
use crate::reader::Reader;

pub(crate) fn read_varlen(reader: &mut Reader<'_>, field: &'static str) -> Result<u64, Malformed> {
    let first = reader.u8(field)?;
    let more = first.trailing_ones();
    if more == 8 {
        return reader.u64(field);
    }
    let rest = reader.uint_le(usize::try_from(more).unwrap_or(8), field)?;
    // With 7 following bytes the first byte holds marker bits only.
    let low = u64::from(first).checked_shr(more.saturating_add(1)).unwrap_or(0);
    let shift = 7_u32.saturating_sub(more);
    Ok(low | rest.checked_shl(shift).unwrap_or(0))
}

/// The zigzag form of a signed integer.
pub(crate) fn read_varlen_signed(
    reader: &mut Reader<'_>,
    field: &'static str,
) -> Result<i64, Malformed> {
    let raw = read_varlen(reader, field)?;
    let half = (raw >> 1).cast_signed();
    Ok(if raw & 1 == 1 { !half } else { half })
}

/// Appends a value below 2^14, which is all that is ever written here; larger ones are clamped.
pub(crate) fn write_varlen(out: &mut Vec<u8>, value: u64) {
    let value = u16::try_from(value.min(0x3fff)).unwrap_or(0x3fff);
    match u8::try_from(value) {
        Ok(small) if small < 0x80 => out.push(small << 1),
        _ => out.extend((value << 2 | 1).to_le_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_follow_the_trailing_ones() {
        let check = |bytes: &[u8], want: u64| {
            let mut reader = Reader::new(bytes);
            assert_eq!(read_varlen(&mut reader, "n"), Ok(want), "{bytes:?}");
            assert!(reader.is_empty());
        };
        check(&[0b0000_0110], 3);
        check(&[0b0000_0101, 2], 1 | 2 << 6);
        check(&[0b0000_0011, 1, 0], 1 << 5);
        check(&[0x7f, 1, 0, 0, 0, 0, 0, 0], 1);
        check(&[0xff, 1, 2, 0, 0, 0, 0, 0, 0], 0x201);
        let signed = |byte: u8| read_varlen_signed(&mut Reader::new(&[byte]), "n").unwrap();
        assert_eq!((signed(0b10), signed(0b100), signed(0b110)), (-1, 1, -2));
    }

    #[test]
    fn written_values_read_back() {
        for value in [0, 1, 127, 128, 300, 0x3fff] {
            let mut out = Vec::new();
            write_varlen(&mut out, value);
            assert_eq!(read_varlen(&mut Reader::new(&out), "n"), Ok(value));
        }
    }
}
