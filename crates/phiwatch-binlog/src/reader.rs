//! A cursor over bytes that never reads past their end.

use crate::Malformed;

/// What is left to read of an event, a field or a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left; the reader stays where it is.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn take(
        &mut self,
        bytes: usize,
        field: &'static str,
    ) -> Result<&'a [u8], Malformed> {
        match self.rest.split_at_checked(bytes) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(self.short(bytes as u64, field)),
        }
    }

    /// As [`Reader::take`] for a length that the log claims.
    pub(crate) fn take_claimed(
        &mut self,
        bytes: u64,
        field: &'static str,
    ) -> Result<&'a [u8], Malformed> {
        match usize::try_from(bytes) {
            Ok(bytes) => self.take(bytes, field),
            Err(_) => Err(self.short(bytes, field)),
        }
    }

    #[inline]
    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], Malformed> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(self.short(N as u64, field)),
        }
    }

    #[inline]
    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A little-endian integer of at most 8 bytes.
    pub(crate) fn uint_le(&mut self, bytes: usize, field: &'static str) -> Result<u64, Malformed> {
        let taken = self.take(bytes.min(8), field)?;
        Ok(taken.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// MySQL's length-encoded integer; 0xfb (NULL) and 0xff are refused.
    pub(crate) fn lenenc(&mut self, field: &'static str) -> Result<u64, Malformed> {
        match self.u8(field)? {
            small @ 0..=0xfa => Ok(u64::from(small)),
            0xfc => self.uint_le(2, field),
            0xfd => self.uint_le(3, field),
            0xfe => self.uint_le(8, field),
            other => Err(Malformed::OutOfRange { field, value: u64::from(other), max: 0xfe }),
        }
    }

    pub(crate) fn lenenc_bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let bytes = self.lenenc(field)?;
        self.take_claimed(bytes, field)
    }

    /// A string with one byte of length before it.
    pub(crate) fn short_bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let bytes = self.u8(field)?;
        self.take(usize::from(bytes), field)
    }

    fn short(&self, needed: u64, field: &'static str) -> Malformed {
        Malformed::Truncated { field, needed, left: self.rest.len() as u64 }
    }
}

/// A big-endian integer of at most 8 bytes; further bytes push the first ones out.
#[inline]
pub(crate) fn uint_be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// A little-endian integer of at most 8 bytes.
#[inline]
pub(crate) fn uint_le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Bit `index` of a bitmap whose first bit is the lowest of the first byte; false beyond its end.
#[inline]
pub(crate) fn bit_lsb(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// Bit `index` of a bitmap whose first bit is the highest of the first byte; false beyond its end.
#[inline]
pub(crate) fn bit_msb(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte << (index % 8) & 0x80 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_encoded_integers_read_at_every_width() {
        let check = |bytes: &[u8], want: Option<u64>| {
            assert_eq!(Reader::new(bytes).lenenc("n").ok(), want, "{bytes:?}");
        };
        check(&[0xfa], Some(0xfa));
        check(&[0xfc, 1, 2], Some(0x201));
        check(&[0xfd, 1, 2, 3], Some(0x3_0201));
        check(&[0xfe, 1, 0, 0, 0, 0, 0, 0, 0x80], Some(0x8000_0000_0000_0001));
        check(&[0xfb], None);
        check(&[0xff], None);
        check(&[0xfc, 1], None);
        check(&[], None);
    }

    #[test]
    fn a_claim_beyond_the_end_names_field_and_sizes() {
        let mut reader = Reader::new(&[0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 7]);
        let refused = reader.lenenc_bytes("path");
        assert_eq!(refused, Err(Malformed::Truncated { field: "path", needed: u64::MAX, left: 1 }));
    }

    #[test]
    fn bitmaps_read_from_either_end_of_a_byte() {
        assert!(bit_lsb(&[0b0000_0010, 0b1], 1) && bit_lsb(&[0, 1], 8) && !bit_lsb(&[0xff], 8));
        assert!(bit_msb(&[0b0100_0000], 1) && !bit_msb(&[0b0100_0000], 0) && !bit_msb(&[], 0));
    }
}
