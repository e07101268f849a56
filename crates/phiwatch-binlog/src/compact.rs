//! Rows of an event that comes in parts, made small enough to be kept: long values that nobody
//! wants are left out (as empty values), all else is copied.
//!
//! Input: the bytes behind a rows event's bitmaps, in parts. Output: the event's body with those
//! values empty, to be walked as any other once its checksum is known.

use std::sync::Arc;

use crate::inflate::MariaStream;
use crate::reader::{bit_lsb, uint_le};
use crate::rows::{Images, Length};
use crate::table_cache::Mapped;
use crate::{Malformed, TableName};

/// Shorter values are copied, wanted or not.
const LEFT_OUT_BYTES_MIN: u64 = 4 << 10;
const FIELD: &str = "rows event";

/// A field of fixed size that must be whole before the walk goes on.
#[derive(Debug, Clone, Copy)]
enum Field {
    Nulls,
    /// Partial updates: whether JSON values may be diffs.
    Options,
    Diffs,
    Prefix,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Small {
        field: Field,
        bytes: usize,
    },
    Copy {
        left: u64,
    },
    LeaveOut {
        left: u64,
    },
    /// Rows of no column, of which there can be none.
    NoRows,
}

/// The walk.
#[derive(Debug)]
pub(crate) struct Compactor {
    rows: Walker,
    compressed: Option<MariaStream>,
}

#[derive(Debug)]
struct Walker {
    mapped: Arc<Mapped>,
    images: Images,
    out: Vec<u8>,
    bytes_max: u64,
    /// The second image of an UPDATE.
    is_after: bool,
    column: usize,
    /// How many columns before it are in the image.
    present: usize,
    nulls: Vec<u8>,
    small: Vec<u8>,
    state: State,
    is_row_start: bool,
}

impl Compactor {
    /// `head`: the body up to its first row. At most `bytes_max` bytes are kept.
    pub(crate) fn new(
        mapped: Arc<Mapped>,
        images: Images,
        head: &[u8],
        bytes_max: u32,
    ) -> Result<Self, Malformed> {
        let compressed = images.is_compressed.then(MariaStream::new);
        let mut rows = Walker {
            mapped,
            images,
            out: head.to_vec(),
            bytes_max: bytes_max.into(),
            is_after: false,
            column: 0,
            present: 0,
            nulls: Vec::new(),
            small: Vec::new(),
            state: State::Copy { left: 0 },
            is_row_start: true,
        };
        rows.start_image(false)?;
        Ok(Self { rows, compressed })
    }

    /// The next part.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let rows = &mut self.rows;
        match &mut self.compressed {
            None => rows.push(bytes),
            Some(compressed) => compressed.push(bytes, |piece| rows.push(piece)),
        }
    }

    /// The rows' table.
    pub(crate) fn table(&self) -> TableName {
        self.rows.mapped.name()
    }

    /// The body, uncompressed.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Malformed> {
        if self.compressed.is_some_and(|compressed| !compressed.is_complete()) {
            return Err(Malformed::Compression("compressed event"));
        }
        if !self.rows.is_row_start {
            return Err(Malformed::Truncated { field: FIELD, needed: 1, left: 0 });
        }
        Ok(self.rows.out)
    }
}

impl Walker {
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            self.is_row_start = false;
            match self.state {
                State::Small { field, bytes: needed } => {
                    let (head, tail) = cut(bytes, needed.saturating_sub(self.small.len()));
                    self.small.extend(head);
                    bytes = tail;
                    if self.small.len() == needed {
                        self.small(field)?;
                    }
                }
                State::Copy { left } => {
                    let (head, tail) = cut(bytes, usize::try_from(left).unwrap_or(usize::MAX));
                    self.keep(head)?;
                    bytes = tail;
                    let left = left.saturating_sub(head.len() as u64);
                    self.state = State::Copy { left };
                    if left == 0 {
                        self.next_value()?;
                    }
                }
                State::NoRows => return Err(Malformed::Unsupported("rows without a column")),
                State::LeaveOut { left } => {
                    let (head, tail) = cut(bytes, usize::try_from(left).unwrap_or(usize::MAX));
                    bytes = tail;
                    let left = left.saturating_sub(head.len() as u64);
                    self.state = State::LeaveOut { left };
                    if left == 0 {
                        self.next_value()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let total = (self.out.len() as u64).saturating_add(bytes.len() as u64);
        if total > self.bytes_max {
            let bytes_max = self.bytes_max;
            return Err(Malformed::TooLarge { field: FIELD, bytes: total, bytes_max });
        }
        self.out.extend(bytes);
        Ok(())
    }

    fn bitmap(&self) -> &[u8] {
        if self.is_after { &self.images.second } else { &self.images.first }
    }

    fn start_image(&mut self, is_after: bool) -> Result<(), Malformed> {
        self.is_after = is_after;
        (self.column, self.present) = (0, 0);
        if is_after && self.images.is_partial {
            self.state = State::Small { field: Field::Options, bytes: 1 };
            return Ok(());
        }
        self.start_nulls()
    }

    fn start_nulls(&mut self) -> Result<(), Malformed> {
        let count = self.columns(self.bitmap());
        if count == 0 {
            return self.empty_image();
        }
        self.state = State::Small { field: Field::Nulls, bytes: count.div_ceil(8) };
        Ok(())
    }

    fn columns(&self, bitmap: &[u8]) -> usize {
        let columns = self.mapped.walk.steps.len();
        (0..columns).filter(|index| bit_lsb(bitmap, *index)).count()
    }

    /// One of an UPDATE's images may have no column; a row without any would never end.
    fn empty_image(&mut self) -> Result<(), Malformed> {
        let other = if self.is_after { &self.images.first } else { &self.images.second };
        if !self.images.is_update || self.columns(other) == 0 {
            self.state = State::NoRows;
            return Ok(());
        }
        let (was_after, was_row_start) = (self.is_after, self.is_row_start);
        self.nulls.clear();
        self.next_value()?;
        if !was_after {
            self.is_row_start = was_row_start;
        }
        Ok(())
    }

    /// A field of fixed size is whole.
    fn small(&mut self, field: Field) -> Result<(), Malformed> {
        let small = std::mem::take(&mut self.small);
        match field {
            Field::Options => {
                self.keep(&small)?;
                match small.as_slice() {
                    [0] => self.start_nulls(),
                    [1] => {
                        let bytes = self.mapped.walk.json_columns.div_ceil(8);
                        self.state = State::Small { field: Field::Diffs, bytes };
                        if bytes == 0 { self.start_nulls() } else { Ok(()) }
                    }
                    _ => Err(Malformed::Unsupported("row value options")),
                }
            }
            Field::Diffs => {
                self.keep(&small)?;
                self.start_nulls()
            }
            Field::Nulls => {
                self.keep(&small)?;
                self.nulls = small;
                self.next_value()
            }
            Field::Prefix => self.prefix(&small),
        }
    }

    /// The length before a value.
    fn prefix(&mut self, small: &[u8]) -> Result<(), Malformed> {
        let left = uint_le(small);
        let before = self.column.saturating_sub(1);
        let is_wanted = self.mapped.walk.steps.get(before).is_some_and(|step| step.is_wanted());
        if is_wanted || left < LEFT_OUT_BYTES_MIN {
            self.keep(small)?;
            self.state = State::Copy { left };
        } else {
            self.keep(&vec![0; small.len()])?;
            self.state = State::LeaveOut { left };
        }
        if left == 0 { self.next_value() } else { Ok(()) }
    }

    /// Goes to the next value of the image that takes room, or to the next image.
    fn next_value(&mut self) -> Result<(), Malformed> {
        while let Some(step) = self.mapped.walk.steps.get(self.column).copied() {
            let index = self.column;
            self.column = self.column.saturating_add(1);
            if !bit_lsb(self.bitmap(), index) {
                continue;
            }
            let is_null = bit_lsb(&self.nulls, self.present);
            self.present = self.present.saturating_add(1);
            if is_null {
                continue;
            }
            let prefix = match step.length {
                Length::Fixed(0) => continue,
                Length::Fixed(bytes) => {
                    self.state = State::Copy { left: bytes.into() };
                    return Ok(());
                }
                Length::Prefix1 => 1,
                Length::Prefix2 => 2,
                Length::Prefix3 => 3,
                Length::Prefix4 => 4,
            };
            self.state = State::Small { field: Field::Prefix, bytes: prefix };
            return Ok(());
        }
        let is_after = self.images.is_update && !self.is_after;
        self.is_row_start = !is_after;
        self.start_image(is_after)
    }
}

fn cut(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}
