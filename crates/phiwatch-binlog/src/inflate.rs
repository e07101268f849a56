//! Decompression in bounded memory: MariaDB's events and columns (zlib), MySQL's payloads (zstd).

use std::fmt;
use std::io::Read;

use flate2::bufread::{DeflateDecoder, ZlibDecoder};
use flate2::{Decompress, FlushDecompress};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::Malformed;
use crate::reader::{Reader, uint_be};

/// A frame that needs a larger window (32 MiB) is refused, so that memory stays bounded: only the
/// levels 21 and 22 ask for more, and the default level for 2 MiB.
const WINDOW_LOG_MAX: u32 = 25;
/// Output is made in pieces of this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A MariaDB compressed block, as QUERY_COMPRESSED and the compressed rows events hold it
/// (`binlog_buf_uncompress`): 0x80 | algorithm << 4 | n, n bytes of length (big-endian), zlib.
pub(crate) fn maria_block(
    block: &[u8],
    bytes_max: u32,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    const FIELD: &str = "compressed event";
    let mut reader = Reader::new(block);
    let head = reader.u8(FIELD)?;
    if head & 0xf0 != 0x80 {
        return Err(Malformed::Unsupported("compression algorithm"));
    }
    let bytes = match head & 7 {
        n @ 1..=4 => uint_be(reader.take(n.into(), FIELD)?),
        _ => return Err(Malformed::Compression(FIELD)),
    };
    let bytes_max = u64::from(bytes_max);
    if bytes > bytes_max {
        return Err(Malformed::TooLarge { field: FIELD, bytes, bytes_max });
    }
    inflate(ZlibDecoder::new(reader.rest()), bytes, FIELD, out)
}

/// A value of a MariaDB COMPRESSED column (`Field_longstr::uncompress`): empty, or a byte with
/// the method in its high half (0 plain, 8 zlib), and behind zlib's the length.
pub(crate) fn maria_column(value: &[u8], bytes_max: u64) -> Result<Vec<u8>, Malformed> {
    const FIELD: &str = "compressed column";
    let Some((head, rest)) = value.split_first() else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    match head >> 4 {
        0 => out.extend(rest),
        8 => {
            let mut reader = Reader::new(rest);
            let bytes = match head & 7 {
                n @ 1..=4 => uint_be(reader.take(n.into(), FIELD)?),
                _ => return Err(Malformed::Compression(FIELD)),
            };
            if bytes > bytes_max {
                return Err(Malformed::TooLarge { field: FIELD, bytes, bytes_max });
            }
            if head & 8 == 0 {
                inflate(ZlibDecoder::new(reader.rest()), bytes, FIELD, &mut out)?;
            } else {
                inflate(DeflateDecoder::new(reader.rest()), bytes, FIELD, &mut out)?;
            }
        }
        _ => return Err(Malformed::Unsupported("compression algorithm")),
    }
    Ok(out)
}

/// Reads exactly `bytes`; the output grows with what really comes.
fn inflate(
    decoder: impl Read,
    bytes: u64,
    field: &'static str,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    out.clear();
    let read = decoder.take(bytes.saturating_add(1)).read_to_end(out);
    match read {
        Ok(read) if read as u64 == bytes => Ok(()),
        _ => Err(Malformed::Compression(field)),
    }
}

/// zstd output of one payload after the other, with what has not been used of it.
///
/// The room is kept between payloads and never cleared: most payloads are a few KiB.
#[derive(Default)]
pub(crate) struct Zstd {
    decoder: Option<Decoder<'static>>,
    room: Vec<u8>,
    /// What has been made and not used: `room[start..end]`.
    start: usize,
    end: usize,
    frame_ended: bool,
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zstd")
    }
}

const PAYLOAD: &str = "transaction payload";

impl Zstd {
    /// Another payload begins.
    pub(crate) fn restart(&mut self) -> Result<(), Malformed> {
        let failed = |_| Malformed::Compression(PAYLOAD);
        match &mut self.decoder {
            Some(decoder) => decoder.reinit().map_err(failed)?,
            None => {
                let mut decoder = Decoder::new().map_err(failed)?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(failed)?;
                self.decoder = Some(decoder);
            }
        }
        Ok(())
    }

    /// Nothing is left of the payload before.
    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        self.frame_ended = true;
    }

    /// What has been made and not consumed.
    pub(crate) fn made(&self) -> &[u8] {
        self.room.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// All input was used, and it ended where a frame ends.
    pub(crate) fn is_complete(&self) -> bool {
        self.frame_ended && self.start == self.end
    }

    /// Decompresses one more piece; false if that needs more input.
    pub(crate) fn make(&mut self, input: &mut &[u8]) -> Result<bool, Malformed> {
        if input.is_empty() && self.frame_ended {
            return Ok(false);
        }
        self.make_room();
        let failed = Malformed::Compression(PAYLOAD);
        let Some(decoder) = &mut self.decoder else { return Err(failed) };
        let mut source = InBuffer::around(input);
        let (hint, made) = {
            let mut target = OutBuffer::around_pos(self.room.as_mut_slice(), self.end);
            let hint = decoder.run(&mut source, &mut target);
            (hint, target.pos())
        };
        let read = source.pos();
        let is_progress = read > 0 || made > self.end;
        self.end = made;
        *input = input.get(read..).unwrap_or_default();
        self.frame_ended = hint.map_err(|_| failed)? == 0;
        Ok(is_progress)
    }

    /// As [`Zstd::make`], for a payload that is not compressed.
    pub(crate) fn copy(&mut self, input: &mut &[u8]) -> Result<bool, Malformed> {
        self.make_room();
        let (piece, rest) = input.split_at(input.len().min(PIECE_BYTES));
        let end = self.end.saturating_add(piece.len());
        if let Some(room) = self.room.get_mut(self.end..end) {
            room.copy_from_slice(piece);
            self.end = end;
        }
        *input = rest;
        Ok(!piece.is_empty())
    }

    fn make_room(&mut self) {
        if self.room.len().saturating_sub(self.end) >= PIECE_BYTES {
            return;
        }
        self.room.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end.saturating_sub(self.start));
        let needed = self.end.saturating_add(PIECE_BYTES);
        if self.room.len() < needed {
            self.room.reserve_exact(needed.saturating_sub(self.room.len()));
            self.room.resize(needed, 0);
        }
    }
}

/// Decompression of a MariaDB block whose bytes come in parts; as [`maria_block`].
#[derive(Debug)]
pub(crate) struct MariaStream {
    head: Vec<u8>,
    zlib: Option<Decompress>,
    /// Bytes still to come out, as claimed.
    left: u64,
}

impl MariaStream {
    pub(crate) fn new() -> Self {
        Self { head: Vec::new(), zlib: None, left: 0 }
    }

    /// Gives what comes out of the next part to `take`, piece by piece.
    pub(crate) fn push(
        &mut self,
        mut input: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        const FIELD: &str = "compressed event";
        while self.zlib.is_none() {
            let Some((first, rest)) = input.split_first() else { return Ok(()) };
            self.head.push(*first);
            input = rest;
            let Some((head, length)) = self.head.split_first() else { return Ok(()) };
            if head & 0xf0 != 0x80 {
                return Err(Malformed::Unsupported("compression algorithm"));
            }
            match usize::from(head & 7) {
                bytes @ 1..=4 if bytes == length.len() => {
                    self.left = uint_be(length);
                    self.zlib = Some(Decompress::new(true));
                }
                1..=4 => {}
                _ => return Err(Malformed::Compression(FIELD)),
            }
        }
        let Some(zlib) = &mut self.zlib else { return Ok(()) };
        let mut room = vec![0; PIECE_BYTES];
        loop {
            let (read, made) = (zlib.total_in(), zlib.total_out());
            zlib.decompress(input, &mut room, FlushDecompress::None)
                .map_err(|_| Malformed::Compression(FIELD))?;
            let read = usize::try_from(zlib.total_in().saturating_sub(read)).unwrap_or(usize::MAX);
            let made = zlib.total_out().saturating_sub(made);
            input = input.get(read..).unwrap_or_default();
            self.left = self.left.checked_sub(made).ok_or(Malformed::Compression(FIELD))?;
            let made = usize::try_from(made).unwrap_or(usize::MAX);
            take(room.get(..made).unwrap_or_default())?;
            if read == 0 && made == 0 {
                return Ok(());
            }
        }
    }

    /// As much came out as was claimed.
    pub(crate) fn is_complete(&self) -> bool {
        self.zlib.is_some() && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn maria_blocks_inflate_to_exactly_what_they_claim() {
        let block = |claim: u8| [&[0x81, claim], zlib(b"hello").as_slice()].concat();
        let mut out = Vec::new();
        assert_eq!(maria_block(&block(5), 5, &mut out), Ok(()));
        assert_eq!(out, b"hello");
        assert_eq!(
            maria_block(&block(4), 9, &mut out),
            Err(Malformed::Compression("compressed event"))
        );
        assert!(maria_block(&block(6), 9, &mut out).is_err());
        assert!(matches!(maria_block(&block(5), 4, &mut out), Err(Malformed::TooLarge { .. })));
        assert!(maria_block(&[], 4, &mut out).is_err());
    }

    #[test]
    fn maria_columns_may_be_plain() {
        assert_eq!(maria_column(b"", 9), Ok(Vec::new()));
        assert_eq!(maria_column(b"\0abc", 9), Ok(b"abc".to_vec()));
        assert_eq!(
            maria_column(&[&[0x81, 3], zlib(b"abc").as_slice()].concat(), 9),
            Ok(b"abc".to_vec())
        );
        assert!(maria_column(&[&[0x81, 3], zlib(b"abc").as_slice()].concat(), 2).is_err());
        assert!(maria_column(&[0x90], 9).is_err());
    }

    #[test]
    fn maria_blocks_inflate_in_parts() {
        let plain: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let [_, a, b, c] = u32::try_from(plain.len()).unwrap().to_be_bytes();
        let block = [&[0x83, a, b, c], zlib(&plain).as_slice()].concat();
        for part in [1, 7, 10_000, block.len()] {
            let mut stream = MariaStream::new();
            let mut out: Vec<u8> = Vec::new();
            for part in block.chunks(part) {
                let keep = |piece: &[u8]| {
                    out.extend(piece);
                    Ok(())
                };
                stream.push(part, keep).unwrap();
            }
            assert!(stream.is_complete() && out == plain);
        }
        let mut cut = MariaStream::new();
        cut.push(&block[..block.len() / 2], |_| Ok(())).unwrap();
        assert!(!cut.is_complete());
        let wrong = [&[0x81, 3], zlib(b"hello").as_slice()].concat();
        assert!(MariaStream::new().push(&wrong, |_| Ok(())).is_err());
    }

    #[test]
    fn zstd_comes_piece_by_piece() {
        let plain: Vec<u8> = (0..1_000_000_u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
        let packed = zstd::encode_all(plain.as_slice(), 3).unwrap();
        let mut zstd = Zstd::default();
        for part in [1_000, packed.len()] {
            zstd.restart().unwrap();
            zstd.clear();
            let mut seen = 0;
            for mut input in packed.chunks(part) {
                while zstd.make(&mut input).unwrap() {
                    let made = zstd.made();
                    assert_eq!(made, &plain[seen..seen + made.len()]);
                    // A few bytes stay for the next time.
                    let taken = made.len() - made.len() % 8;
                    seen += taken;
                    zstd.consume(taken);
                }
            }
            assert!(seen == plain.len() && zstd.is_complete());
            assert!(zstd.room.len() <= 2 * PIECE_BYTES);
        }
        zstd.restart().unwrap();
        zstd.clear();
        let mut cut = packed.split_last().unwrap().1;
        while zstd.make(&mut cut).unwrap() {
            zstd.consume(usize::MAX);
        }
        assert!(!zstd.is_complete());
    }
}
