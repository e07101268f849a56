//! MySQL's binary JSON to JSON text (`sql-common/json_binary.h`, `json_diff.h`).
//!
//! # Invariants
//! - Containers nested more than [`DEPTH_MAX`] deep are refused, as the server refuses them.
//! - Offsets may point anywhere, also at what was written before: elements and text are counted,
//!   and no document is allowed more of them than one of its length can hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::json::{display, float, string};
use crate::reader::Reader;
use crate::{Malformed, decimal, temporal};

/// Deepest nesting of containers.
pub(crate) const DEPTH_MAX: usize = 100;

const SMALL_OBJECT: u8 = 0;
const LARGE_OBJECT: u8 = 1;
const LARGE_ARRAY: u8 = 3;

/// Appends a document; the empty one is JSON null.
pub(crate) fn write(out: &mut Vec<u8>, document: &[u8]) -> Result<(), Malformed> {
    let Some((kind, data)) = document.split_first() else {
        out.extend(b"null");
        return Ok(());
    };
    Writer::new(out, document.len()).document(*kind, data)
}

/// Appends the diffs of a partial update: `{"json_diff":[{"op","path","value"}]}`.
pub(crate) fn write_diffs(out: &mut Vec<u8>, diffs: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(diffs);
    out.extend(b"{\"json_diff\":[");
    let mut is_first = true;
    while !reader.is_empty() {
        if !std::mem::replace(&mut is_first, false) {
            out.push(b',');
        }
        let op = match reader.u8("JSON diff")? {
            0 => "replace",
            1 => "insert",
            2 => "remove",
            _ => return Err(Malformed::Json("unknown diff operation")),
        };
        display(out, format_args!("{{\"op\":\"{op}\",\"path\":"));
        string(out, utf8(reader.lenenc_bytes("JSON path")?)?);
        if op != "remove" {
            out.extend(b",\"value\":");
            write(out, reader.lenenc_bytes("JSON diff value")?)?;
        }
        out.push(b'}');
    }
    out.extend(b"]}");
    Ok(())
}

pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::Json("text that is not UTF-8"))
}

/// A container whose elements are being written.
#[derive(Debug)]
struct Frame<'a> {
    /// From the first byte of its count: offsets count from there.
    data: &'a [u8],
    is_object: bool,
    is_large: bool,
    count: u32,
    next: u32,
}

impl<'a> Frame<'a> {
    fn parse(kind: u8, data: &'a [u8]) -> Result<Self, Malformed> {
        let is_object = is_object(kind);
        let is_large = matches!(kind, LARGE_OBJECT | LARGE_ARRAY);
        let mut reader = Reader::new(data);
        let count = offset(&mut reader, is_large)?;
        let bytes = offset(&mut reader, is_large)?;
        let data = Reader::new(data).take_claimed(bytes.into(), "JSON container")?;
        Ok(Self { data, is_object, is_large, count, next: 0 })
    }

    fn element(&self, index: u32) -> Result<Element<'a>, Malformed> {
        let (data, is_large) = (self.data, self.is_large);
        // Bytes of count and size, of a key entry, of a value entry.
        let (head, key_entry, value_entry): (u64, u64, u64) =
            if is_large { (8, 6, 5) } else { (4, 4, 3) };
        let keys = if self.is_object { u64::from(self.count).saturating_mul(key_entry) } else { 0 };
        let mut key = None;
        if self.is_object {
            let at = u64::from(index).saturating_mul(key_entry).saturating_add(head);
            let mut reader = from(data, at)?;
            let offset = offset(&mut reader, is_large)?;
            let bytes = reader.u16("JSON key length")?;
            key = Some(from(data, offset.into())?.take(bytes.into(), "JSON key")?);
        }
        let entries = head.saturating_add(keys);
        let mut reader =
            from(data, u64::from(index).saturating_mul(value_entry).saturating_add(entries))?;
        let kind = reader.u8("JSON value type")?;
        if matches!(kind, 4..=6) || is_large && matches!(kind, 7 | 8) {
            return Ok(Element { key, kind, data: reader.rest() });
        }
        let offset = offset(&mut reader, is_large)?;
        Ok(Element { key, kind, data: from(data, offset.into())?.rest() })
    }
}

/// An element of a container: the key of an object's, and the value from its first byte on.
#[derive(Debug)]
pub(crate) struct Element<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) kind: u8,
    pub(crate) data: &'a [u8],
}

pub(crate) fn is_object(kind: u8) -> bool {
    matches!(kind, SMALL_OBJECT | LARGE_OBJECT)
}

/// The elements of a container, at most `elements_max`.
pub(crate) fn elements(
    kind: u8,
    data: &[u8],
    elements_max: usize,
) -> Result<Vec<Element<'_>>, Malformed> {
    if kind > LARGE_ARRAY {
        return Err(Malformed::Json("a difference inside of a scalar"));
    }
    let frame = Frame::parse(kind, data)?;
    let count = usize::try_from(frame.count).unwrap_or(usize::MAX);
    // Each takes three bytes at least, so a claim of more is false.
    if count > elements_max.min(frame.data.len() / 3) {
        return Err(Malformed::Json("more elements than are taken apart"));
    }
    (0..frame.count).map(|index| frame.element(index)).collect()
}

#[derive(Debug)]
pub(crate) struct Writer<'a, 'b> {
    pub(crate) out: &'b mut Vec<u8>,
    frames: Vec<Frame<'a>>,
    /// Elements that the document may still have.
    elements_left: usize,
    /// Bytes of text that it may still have.
    text_left: usize,
}

impl<'a, 'b> Writer<'a, 'b> {
    /// Writes documents that have so many bytes together.
    pub(crate) fn new(out: &'b mut Vec<u8>, bytes: usize) -> Self {
        // An element takes at least three bytes of its container, text its own length.
        Self { out, frames: Vec::new(), elements_left: bytes / 3, text_left: bytes }
    }

    /// Writes a document, or a part of one.
    pub(crate) fn document(&mut self, kind: u8, data: &'a [u8]) -> Result<(), Malformed> {
        self.value(kind, data)?;
        while let Some(frame) = self.frames.last_mut() {
            if frame.next == frame.count {
                self.out.push(if frame.is_object { b'}' } else { b']' });
                self.frames.pop();
                continue;
            }
            if frame.next > 0 {
                self.out.push(b',');
            }
            let index = frame.next;
            frame.next = index.saturating_add(1);
            self.elements_left = match self.elements_left.checked_sub(1) {
                Some(left) => left,
                None => return Err(Malformed::Json("more elements than it can hold")),
            };
            self.element(index)?;
        }
        Ok(())
    }

    fn element(&mut self, index: u32) -> Result<(), Malformed> {
        let Some(frame) = self.frames.last() else { return Ok(()) };
        let element = frame.element(index)?;
        if let Some(key) = element.key {
            self.text(key)?;
            self.out.push(b':');
        }
        self.value(element.kind, element.data)
    }

    /// Writes a scalar, or opens a container.
    fn value(&mut self, kind: u8, data: &'a [u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(data);
        match kind {
            SMALL_OBJECT..=LARGE_ARRAY => self.container(kind, data)?,
            4 => self.out.extend(match reader.u8("JSON literal")? {
                0 => &b"null"[..],
                1 => b"true",
                2 => b"false",
                _ => return Err(Malformed::Json("unknown literal")),
            }),
            5 => display(self.out, reader.u16("JSON number")?.cast_signed()),
            6 => display(self.out, reader.u16("JSON number")?),
            7 => display(self.out, reader.u32("JSON number")?.cast_signed()),
            8 => display(self.out, reader.u32("JSON number")?),
            9 => display(self.out, reader.u64("JSON number")?.cast_signed()),
            10 => display(self.out, reader.u64("JSON number")?),
            11 => {
                let number = f64::from_bits(reader.u64("JSON number")?);
                float(self.out, number, number.is_finite());
            }
            12 => {
                let bytes = variable_length(&mut reader)?;
                let text = reader.take_claimed(bytes, "JSON string")?;
                self.text(text)?;
            }
            15 => {
                let field = reader.u8("JSON opaque type")?;
                let bytes = variable_length(&mut reader)?;
                let value = reader.take_claimed(bytes, "JSON opaque value")?;
                self.opaque(field, value)?;
            }
            _ => return Err(Malformed::Json("unknown value type")),
        }
        Ok(())
    }

    fn container(&mut self, kind: u8, data: &'a [u8]) -> Result<(), Malformed> {
        let frame = Frame::parse(kind, data)?;
        if self.frames.len() >= DEPTH_MAX {
            return Err(Malformed::Json("nested more than 100 deep"));
        }
        self.out.push(if frame.is_object { b'{' } else { b'[' });
        self.frames.push(frame);
        Ok(())
    }

    fn opaque(&mut self, field: u8, value: &[u8]) -> Result<(), Malformed> {
        self.spend(value.len())?;
        if field == 246
            && let Some(([precision, scale], packed)) = value.split_first_chunk::<2>()
            && *precision <= 65
            && scale <= precision
        {
            display(self.out, decimal::decode(packed, *precision, *scale)?);
            return Ok(());
        }
        if let Ok(packed) = <[u8; 8]>::try_from(value)
            && let Some(text) = temporal::in_json(field, i64::from_le_bytes(packed))
        {
            string(self.out, &text);
            return Ok(());
        }
        let data = STANDARD.encode(value);
        display(self.out, format_args!("\"base64:type{field}:{data}\""));
        Ok(())
    }

    /// Writes a string.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.spend(bytes.len())?;
        string(self.out, utf8(bytes)?);
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Malformed> {
        let left = self.text_left.checked_sub(bytes);
        self.text_left = left.ok_or(Malformed::Json("more text than it can hold"))?;
        Ok(())
    }
}

fn from(data: &[u8], at: u64) -> Result<Reader<'_>, Malformed> {
    let mut reader = Reader::new(data);
    reader.take_claimed(at, "JSON offset")?;
    Ok(reader)
}

/// An offset, a size or a count: two bytes, four in the large form.
fn offset(reader: &mut Reader<'_>, is_large: bool) -> Result<u32, Malformed> {
    if is_large { reader.u32("JSON offset") } else { reader.u16("JSON offset").map(u32::from) }
}

/// Seven bits a byte, the lowest first; the high bit says that more follow. At most five bytes.
fn variable_length(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = reader.u8("JSON length")?;
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed::Json("length of more than five bytes"))
}
