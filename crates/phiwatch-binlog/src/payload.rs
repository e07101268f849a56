//! Compressed transactions (MySQL `Transaction_payload_event`), streamed: what comes out is used
//! event by event, so that memory does not grow with the payload.

use crate::Malformed;
use crate::Visitor;
use crate::decoder::{Context, Decoder, Refusal};
use crate::framing::{CHECKSUM_BYTES, HEADER_BYTES, Header};
use crate::inflate::Zstd;
use crate::large::{self, Large};
use crate::reader::Reader;

const FIELD: &str = "event in a payload";

/// A payload under way.
#[derive(Debug)]
pub(crate) struct Payload {
    is_compressed: bool,
    /// Bytes of the payload still to come, as claimed.
    input_left: u64,
    /// Bytes of the events inside still to come, as claimed.
    events_left: u64,
    zstd: Zstd,
    /// An event inside that is used in parts.
    large: Option<Box<Large>>,
    row: u64,
    /// Something was told as a gap; the first counts.
    is_reported: bool,
    /// Nothing more can be read.
    is_broken: bool,
}

impl Payload {
    /// `head` begins with the event's body; returns what belongs to the payload of it.
    pub(crate) fn start<'a>(
        decoder: &mut Decoder,
        head: &'a [u8],
    ) -> Result<(Self, &'a [u8]), Malformed> {
        let (size, bytes, is_compressed, data) = fields(head)?;
        let payload = Self::new(decoder, size, bytes, is_compressed)?;
        Ok((payload, data))
    }

    /// The events of a payload that was inflated before.
    pub(crate) fn inflated(decoder: &mut Decoder, bytes: u64) -> Result<Self, Malformed> {
        Self::new(decoder, Some(bytes), Some(bytes), false)
    }

    fn new(
        decoder: &mut Decoder,
        size: Option<u64>,
        bytes: Option<u64>,
        is_compressed: bool,
    ) -> Result<Self, Malformed> {
        let mut zstd = std::mem::take(&mut decoder.zstd);
        if is_compressed && let Err(cause) = zstd.restart() {
            decoder.zstd = zstd;
            return Err(cause);
        }
        zstd.clear();
        Ok(Self {
            is_compressed,
            input_left: size.unwrap_or(u64::MAX),
            events_left: bytes.unwrap_or(u64::MAX),
            zstd,
            large: None,
            row: 0,
            is_reported: false,
            is_broken: false,
        })
    }

    /// The next bytes of the payload.
    pub(crate) fn push(
        &mut self,
        decoder: &mut Decoder,
        context: &Context,
        input: &[u8],
        visitor: &mut impl Visitor,
    ) {
        let belongs = usize::try_from(self.input_left).unwrap_or(usize::MAX).min(input.len());
        self.input_left = self.input_left.saturating_sub(belongs as u64);
        let mut input = input.get(..belongs).unwrap_or_default();
        while !self.is_broken {
            let made = if self.is_compressed {
                self.zstd.make(&mut input)
            } else {
                self.zstd.copy(&mut input)
            };
            match made {
                Ok(true) => {}
                Ok(false) => return,
                Err(cause) => return self.break_off(decoder, context, cause, visitor),
            }
            if let Err(cause) = self.events(decoder, context, visitor) {
                return self.break_off(decoder, context, cause, visitor);
            }
        }
    }

    /// The payload ends; true if all of it was read.
    pub(crate) fn finish(
        mut self,
        decoder: &mut Decoder,
        context: &Context,
        visitor: &mut impl Visitor,
    ) -> bool {
        if !self.is_broken {
            let left = self.zstd.made().len() as u64;
            let is_whole = self.zstd.is_complete();
            let cause = match self.input_left {
                _ if left > 0 || self.large.is_some() => Some(Malformed::Truncated {
                    field: FIELD,
                    needed: left.saturating_add(1),
                    left,
                }),
                0 | u64::MAX if is_whole => None,
                0 | u64::MAX => Some(Malformed::Compression("transaction payload")),
                needed => Some(Malformed::Truncated { field: "payload", needed, left: 0 }),
            };
            if let Some(cause) = cause {
                self.break_off(decoder, context, cause, visitor);
            }
        }
        decoder.zstd = self.zstd;
        !self.is_reported
    }

    fn break_off(
        &mut self,
        decoder: &mut Decoder,
        context: &Context,
        cause: Malformed,
        visitor: &mut impl Visitor,
    ) {
        self.is_broken = true;
        self.large = None;
        self.report(decoder, context, cause.into(), visitor);
    }

    fn report(
        &mut self,
        decoder: &mut Decoder,
        context: &Context,
        refusal: Refusal,
        visitor: &mut impl Visitor,
    ) {
        if !std::mem::replace(&mut self.is_reported, true) {
            decoder.refuse(context, refusal, visitor);
        }
    }

    /// Uses the events that are whole.
    fn events(
        &mut self,
        decoder: &mut Decoder,
        outer: &Context,
        visitor: &mut impl Visitor,
    ) -> Result<(), Malformed> {
        loop {
            if let Some(mut event) = self.large.take() {
                let used = event.push(decoder, self.zstd.made(), visitor);
                self.zstd.consume(used);
                if !event.is_whole() {
                    self.large = Some(event);
                    return Ok(());
                }
                let outcome = event.finish(decoder, visitor);
                self.row = outcome.row;
                if let Err(refusal) = outcome.result {
                    self.report(decoder, outer, refusal, visitor);
                }
                continue;
            }
            let made = self.zstd.made();
            if made.len() < HEADER_BYTES {
                return Ok(());
            }
            let header = Header::parse(made)?;
            header.check(u32::MAX, false)?;
            let bytes = u64::from(header.event_bytes);
            let left = self.events_left;
            if bytes > left {
                return Err(Malformed::Truncated { field: FIELD, needed: bytes, left });
            }
            let context = Context { header, is_inner: true, row: self.row, ..*outer };
            if bytes > large::WHOLE_BYTES_MAX {
                self.events_left = left.saturating_sub(bytes);
                self.zstd.consume(HEADER_BYTES);
                self.large = Some(Box::new(Large::inner(context)));
                continue;
            }
            let size = usize::try_from(bytes).unwrap_or(usize::MAX);
            let Some(event) = made.get(..size) else { return Ok(()) };
            self.events_left = left.saturating_sub(bytes);
            let mut inner = context;
            let body = event.get(HEADER_BYTES..).unwrap_or_default();
            let result = decoder.dispatch(&mut inner, body, visitor);
            self.row = inner.row;
            self.zstd.consume(size);
            if let Err(refusal) = result {
                self.report(decoder, outer, refusal, visitor);
            }
        }
    }
}

/// The fields before a payload: its size, the size of the events inside, whether it is
/// compressed; and what follows them.
#[allow(clippy::type_complexity, reason = "named in the comment, used once")]
fn fields(body: &[u8]) -> Result<(Option<u64>, Option<u64>, bool, &[u8]), Malformed> {
    const FIELD: &str = "payload field";
    let mut reader = Reader::new(body);
    let (mut size, mut compression, mut bytes) = (None, 255, None);
    loop {
        let field = reader.lenenc(FIELD)?;
        if field == 0 {
            break;
        }
        let mut value = Reader::new(reader.lenenc_bytes(FIELD)?);
        match field {
            1 => size = Some(value.lenenc(FIELD)?),
            2 => compression = value.lenenc(FIELD)?,
            3 => bytes = Some(value.lenenc(FIELD)?),
            _ => {}
        }
    }
    let is_compressed = match compression {
        0 => true,
        255 => false,
        _ => return Err(Malformed::Unsupported("payload compression")),
    };
    Ok((size, bytes, is_compressed, reader.rest()))
}

/// Inflates payload events apart from decoding them, so that another thread can do it.
#[derive(Default)]
pub struct Inflater {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    plain: Vec<u8>,
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inflater")
    }
}

impl Inflater {
    /// The events inside a whole TRANSACTION_PAYLOAD event, if they take at most `bytes_max` bytes;
    /// none also if the payload is not compressed or broken: the decoder then tells what is wrong.
    /// For [`Decoder::inflated`].
    pub fn payload(&mut self, event: &[u8], checksums: bool, bytes_max: usize) -> Option<&[u8]> {
        let end = event.len().checked_sub(if checksums { CHECKSUM_BYTES } else { 0 })?;
        let (size, bytes, is_compressed, data) = fields(event.get(HEADER_BYTES..end)?).ok()?;
        let bytes = usize::try_from(bytes?).ok().filter(|bytes| *bytes <= bytes_max)?;
        let data = data.get(..usize::try_from(size?).ok()?)?;
        if !is_compressed {
            return None;
        }
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(zstd::bulk::Decompressor::new().ok()?),
        };
        if self.plain.len() < bytes {
            self.plain.resize(bytes, 0);
        }
        let made = zstd.decompress_to_buffer(data, self.plain.get_mut(..bytes)?).ok()?;
        (made == bytes).then(|| self.plain.get(..bytes)).flatten()
    }
}
