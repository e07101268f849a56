//! Decompression in bounded memory: MariaDB's events and columns (zlib), MySQL's payloads (zstd).

use std::fmt;
use std::io::Read;

use flate2::bufread::{DeflateDecoder, ZlibDecoder};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::Malformed;
use crate::reader::{Reader, uint_be};

/// A frame that needs a larger window is refused: the most that any compression level asks for.
const WINDOW_LOG_MAX: u32 = 27;
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

/// The zstd state that one payload after the other uses.
#[derive(Default)]
pub(crate) struct Zstd {
    decoder: Option<Decoder<'static>>,
    buffer: Vec<u8>,
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zstd")
    }
}

/// Bytes that come out of a payload, piece by piece.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    input: &'a [u8],
    zstd: Option<Zstd>,
    /// Start of what has not been consumed of the buffer.
    start: usize,
    frame_ended: bool,
}

const PAYLOAD: &str = "transaction payload";

impl<'a> Payload<'a> {
    /// Payload stored as it is.
    pub(crate) fn plain(input: &'a [u8]) -> Self {
        Self { input, zstd: None, start: 0, frame_ended: true }
    }

    /// zstd payload. [`Payload::into_state`] gives the state back.
    pub(crate) fn zstd(input: &'a [u8], mut zstd: Zstd) -> Result<Self, Malformed> {
        let failed = |_| Malformed::Compression(PAYLOAD);
        match &mut zstd.decoder {
            Some(decoder) => decoder.reinit().map_err(failed)?,
            None => {
                let mut decoder = Decoder::new().map_err(failed)?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(failed)?;
                zstd.decoder = Some(decoder);
            }
        }
        zstd.buffer.clear();
        Ok(Self { input, zstd: Some(zstd), start: 0, frame_ended: true })
    }

    pub(crate) fn into_state(self) -> Zstd {
        let mut zstd = self.zstd.unwrap_or_default();
        // A single huge event must not keep its memory for ever.
        if zstd.buffer.capacity() > 16 * PIECE_BYTES {
            zstd.buffer = Vec::new();
        }
        zstd
    }

    /// At least `bytes` bytes if there are so many left, all that are left otherwise.
    pub(crate) fn peek(&mut self, bytes: usize) -> Result<&[u8], Malformed> {
        let Some(zstd) = &mut self.zstd else { return Ok(self.input) };
        if zstd.buffer.len().saturating_sub(self.start) < bytes {
            zstd.buffer.drain(..self.start);
            self.start = 0;
            while zstd.buffer.len() < bytes && !(self.input.is_empty() && self.frame_ended) {
                let room = bytes.min(zstd.buffer.len().saturating_mul(2)).max(PIECE_BYTES);
                zstd.buffer.reserve_exact(room.saturating_sub(zstd.buffer.len()));
                self.frame_ended = run(zstd, &mut self.input)?;
            }
        }
        Ok(zstd.buffer.get(self.start..).unwrap_or_default())
    }

    /// Drops bytes that were peeked at.
    pub(crate) fn consume(&mut self, bytes: usize) {
        if self.zstd.is_some() {
            self.start = self.start.saturating_add(bytes);
        } else {
            self.input = self.input.get(bytes..).unwrap_or_default();
        }
    }
}

/// Decompresses one piece to the end of the buffer; true at a frame's end. An error if nothing
/// goes forward: the input is cut short.
fn run(zstd: &mut Zstd, input: &mut &[u8]) -> Result<bool, Malformed> {
    let failed = Malformed::Compression(PAYLOAD);
    let Some(decoder) = &mut zstd.decoder else { return Err(failed) };
    let old = zstd.buffer.len();
    zstd.buffer.resize(old.saturating_add(PIECE_BYTES), 0);
    let mut source = InBuffer::around(input);
    let (hint, made) = {
        let mut target = OutBuffer::around_pos(zstd.buffer.as_mut_slice(), old);
        let hint = decoder.run(&mut source, &mut target);
        (hint, target.pos())
    };
    zstd.buffer.truncate(made);
    let read = source.pos();
    *input = input.get(read..).unwrap_or_default();
    let Ok(hint) = hint else { return Err(failed) };
    if read == 0 && made == old && hint != 0 {
        return Err(failed);
    }
    Ok(hint == 0)
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
    fn payload_comes_piece_by_piece() {
        let plain: Vec<u8> = (0..1_000_000_u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
        let packed = zstd::encode_all(plain.as_slice(), 3).unwrap();
        let mut payload = Payload::zstd(&packed, Zstd::default()).unwrap();
        let mut seen = 0;
        loop {
            let piece = payload.peek(1_000).unwrap();
            assert_eq!(piece.get(..4), plain.get(seen..seen + 4));
            let taken = piece.len().min(1_000);
            seen += taken;
            payload.consume(taken);
            if seen == plain.len() {
                break;
            }
        }
        assert_eq!(payload.peek(1), Ok(&[][..]));
        let mut again = Payload::zstd(&packed, payload.into_state()).unwrap();
        assert_eq!(again.peek(plain.len()).unwrap(), plain);
        let mut cut = Payload::zstd(packed.split_last().unwrap().1, again.into_state()).unwrap();
        assert!(cut.peek(plain.len() + 1).is_err());
    }
}
