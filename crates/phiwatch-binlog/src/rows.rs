//! Row images: walked by lengths, materialised only where somebody asked.
//!
//! Input: a table and a projection, compiled once per table map ([`Walk`]), and the bytes of rows
//! events. Output: one [`Cell`] per projected column, borrowing the event's bytes.
//!
//! Columns are taken in groups of eight, as the null bitmap has them: a group in which nothing is
//! wanted, nothing is NULL and every length is fixed costs one addition.

use crate::reader::{Reader, bit_lsb};
use crate::{Bytes, Cell, ColumnType, Malformed, Op, Projection, Table};

/// No slot: the column is not wanted.
const UNWANTED: u16 = u16::MAX;

/// How many bytes a column's value takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Fixed(u16),
    /// A little-endian length of 1 to 4 bytes, then so many bytes.
    Prefix1,
    Prefix2,
    Prefix3,
    Prefix4,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) length: Length,
    slot: u16,
    is_json: bool,
}

impl Step {
    pub(crate) fn is_wanted(self) -> bool {
        self.slot != UNWANTED
    }
}

/// Eight columns that share a byte of the null bitmap.
#[derive(Debug, Clone, Copy)]
struct Group {
    wanted: bool,
    /// Bytes of all its columns, if each has a fixed length.
    fixed: Option<usize>,
    /// The null byte when all its columns are NULL.
    all_null: u8,
}

/// The layout of a table's row images.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) steps: Vec<Step>,
    groups: Vec<Group>,
    slots: usize,
    pub(crate) json_columns: usize,
}

impl Walk {
    pub(crate) fn compile(table: &Table, projection: &Projection) -> Self {
        let mut steps: Vec<Step> = (table.columns.iter())
            .map(|column| Step {
                length: length_of(column.ty),
                slot: UNWANTED,
                is_json: matches!(column.ty, ColumnType::Json { .. }),
            })
            .collect();
        let slots = match projection {
            Projection::Ignore => 0,
            Projection::All => {
                for (slot, step) in (0..UNWANTED).zip(&mut steps) {
                    step.slot = slot;
                }
                steps.len()
            }
            Projection::Columns(wanted) => {
                for (slot, column) in (0..UNWANTED).zip(wanted) {
                    if let Some(step) = steps.get_mut(usize::from(*column)) {
                        step.slot = slot;
                    }
                }
                wanted.len()
            }
        };
        let groups = steps.chunks(8).map(group_of).collect();
        let json_columns = steps.iter().filter(|step| step.is_json).count();
        Self { steps, groups, slots, json_columns }
    }

    /// Cells for one image.
    pub(crate) fn cells<'a>(&self) -> Vec<Cell<'a>> {
        vec![Cell::Absent; self.slots]
    }

    /// Walks one image; `diffs` has a bit for each JSON column of the table whose value is a diff.
    fn image<'a>(
        &self,
        reader: &mut Reader<'a>,
        present: &Present<'_>,
        diffs: Option<&[u8]>,
        cells: &mut [Cell<'a>],
    ) -> Result<(), Malformed> {
        let nulls = reader.take(present.count.div_ceil(8), "null bitmap")?;
        if present.is_full && diffs.is_none() {
            return self.full_image(reader, nulls, cells);
        }
        cells.fill(Cell::Absent);
        let (mut column, mut json) = (0_usize, 0_usize);
        for (index, step) in self.steps.iter().enumerate() {
            let is_diff = step.is_json && diffs.is_some_and(|diffs| bit_lsb(diffs, json));
            json = json.saturating_add(usize::from(step.is_json));
            if !bit_lsb(present.bitmap, index) {
                continue;
            }
            let cell = if bit_lsb(nulls, column) {
                Cell::Null
            } else {
                let value = Bytes::new(value(reader, step.length)?);
                if is_diff { Cell::JsonDiff(value) } else { Cell::Value(value) }
            };
            column = column.saturating_add(1);
            if let Some(slot) = cells.get_mut(usize::from(step.slot)) {
                *slot = cell;
            }
        }
        Ok(())
    }

    fn full_image<'a>(
        &self,
        reader: &mut Reader<'a>,
        nulls: &[u8],
        cells: &mut [Cell<'a>],
    ) -> Result<(), Malformed> {
        for ((steps, group), nulls) in self.steps.chunks(8).zip(&self.groups).zip(nulls) {
            if !group.wanted {
                match group.fixed {
                    Some(bytes) if *nulls & group.all_null == 0 => {
                        reader.take(bytes, "column values")?;
                        continue;
                    }
                    _ if *nulls & group.all_null == group.all_null => continue,
                    _ => {}
                }
            }
            let mut bits = *nulls;
            for step in steps {
                let is_null = bits & 1 == 1;
                bits >>= 1;
                let cell = if is_null {
                    Cell::Null
                } else {
                    Cell::Value(Bytes::new(value(reader, step.length)?))
                };
                if let Some(slot) = cells.get_mut(usize::from(step.slot)) {
                    *slot = cell;
                }
            }
        }
        Ok(())
    }
}

#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "measured: a call for each column costs a fifth of the walk"
)]
fn value<'a>(reader: &mut Reader<'a>, length: Length) -> Result<&'a [u8], Malformed> {
    const FIELD: &str = "column value";
    let bytes = match length {
        Length::Fixed(bytes) => usize::from(bytes),
        Length::Prefix1 => usize::from(reader.u8(FIELD)?),
        Length::Prefix2 => usize::from(reader.u16(FIELD)?),
        Length::Prefix3 => {
            let bytes = reader.uint_le(3, FIELD)?;
            return reader.take_claimed(bytes, FIELD);
        }
        Length::Prefix4 => {
            return reader.u32(FIELD).and_then(|n| reader.take_claimed(n.into(), FIELD));
        }
    };
    reader.take(bytes, FIELD)
}

fn group_of(steps: &[Step]) -> Group {
    let mut group = Group { wanted: false, fixed: Some(0), all_null: 0 };
    for step in steps {
        group.wanted |= step.slot != UNWANTED;
        group.all_null = group.all_null << 1 | 1;
        group.fixed = match (group.fixed, step.length) {
            (Some(sum), Length::Fixed(bytes)) => Some(sum.saturating_add(usize::from(bytes))),
            _ => None,
        };
    }
    group
}

/// The length rule of a column (MySQL `Field::pack`, `calc_field_size`).
fn length_of(ty: ColumnType) -> Length {
    let fraction =
        |whole: u16, fsp: u8| Length::Fixed(whole.wrapping_add(u16::from(fsp.div_ceil(2))));
    let by_max = |bytes_max: u16| if bytes_max < 256 { Length::Prefix1 } else { Length::Prefix2 };
    match ty {
        ColumnType::Null => Length::Fixed(0),
        ColumnType::Tiny | ColumnType::Year => Length::Fixed(1),
        ColumnType::Short => Length::Fixed(2),
        ColumnType::Int24 | ColumnType::Date | ColumnType::Time => Length::Fixed(3),
        ColumnType::Long | ColumnType::Float | ColumnType::Timestamp => Length::Fixed(4),
        ColumnType::LongLong | ColumnType::Double | ColumnType::DateTime => Length::Fixed(8),
        ColumnType::Time2 { fsp } => fraction(3, fsp),
        ColumnType::Timestamp2 { fsp } => fraction(4, fsp),
        ColumnType::DateTime2 { fsp } => fraction(5, fsp),
        ColumnType::Decimal { precision, scale } => {
            Length::Fixed(crate::decimal::bytes(precision, scale).into())
        }
        ColumnType::Bit { bits } => Length::Fixed(bits.div_ceil(8)),
        ColumnType::Enum { bytes } | ColumnType::Set { bytes } => Length::Fixed(bytes.into()),
        ColumnType::String { bytes_max }
        | ColumnType::VarChar { bytes_max }
        | ColumnType::VarCharCompressed { bytes_max } => by_max(bytes_max),
        ColumnType::Blob { length_bytes }
        | ColumnType::Json { length_bytes }
        | ColumnType::Geometry { length_bytes }
        | ColumnType::Vector { length_bytes }
        | ColumnType::BlobCompressed { length_bytes } => match length_bytes {
            0 | 1 => Length::Prefix1,
            2 => Length::Prefix2,
            3 => Length::Prefix3,
            _ => Length::Prefix4,
        },
    }
}

/// Which columns an image holds.
#[derive(Debug, Clone, Copy)]
struct Present<'a> {
    bitmap: &'a [u8],
    count: usize,
    is_full: bool,
}

impl<'a> Present<'a> {
    fn parse(reader: &mut Reader<'a>, columns: usize) -> Result<Self, Malformed> {
        let bitmap = reader.take(columns.div_ceil(8), "present columns")?;
        // The bits beyond the last column may be set; they count for nothing.
        let count = if columns.is_multiple_of(8) {
            bitmap.iter().map(|byte| byte.count_ones() as usize).sum()
        } else {
            (0..columns).filter(|index| bit_lsb(bitmap, *index)).count()
        };
        Ok(Self { bitmap, count, is_full: count == columns })
    }
}

/// What the type of a rows event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowsKind {
    pub(crate) op: Op,
    /// An extra-data field follows the flags.
    has_extra: bool,
    /// JSON values may be diffs.
    is_partial: bool,
    /// MariaDB: everything behind the bitmaps is compressed.
    pub(crate) is_compressed: bool,
}

impl RowsKind {
    pub(crate) fn of(code: u8) -> Option<Self> {
        let op = match code {
            23 | 30 | 166 | 169 => Op::Create,
            24 | 31 | 39 | 167 | 170 => Op::Update,
            25 | 32 | 168 | 171 => Op::Delete,
            _ => return None,
        };
        Some(Self {
            op,
            has_extra: matches!(code, 30..=32 | 39 | 169..=171),
            is_partial: code == 39,
            is_compressed: code >= 166,
        })
    }
}

impl RowsKind {
    /// The type of the same event, not compressed.
    pub(crate) fn plain(code: u8) -> u8 {
        match code {
            166..=168 => code.saturating_sub(166).saturating_add(23),
            169..=171 => code.saturating_sub(169).saturating_add(30),
            _ => code,
        }
    }
}

/// Which columns the images of an event's rows hold, and in which form.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) first: Vec<u8>,
    pub(crate) second: Vec<u8>,
    pub(crate) is_update: bool,
    pub(crate) is_partial: bool,
    pub(crate) is_compressed: bool,
}

/// A rows event up to its first row.
#[derive(Debug)]
pub(crate) struct RowsHead<'a> {
    pub(crate) table_id: u64,
    /// The last event of its statement (STMT_END_F).
    pub(crate) ends_statement: bool,
    /// Neither NO_FOREIGN_KEY_CHECKS_F nor the flag of foreign keys in the SQL layer (MySQL 9.6).
    pub(crate) cascades_unseen: bool,
    kind: RowsKind,
    reader: Reader<'a>,
}

impl<'a> RowsHead<'a> {
    pub(crate) fn parse(
        kind: RowsKind,
        body: &'a [u8],
        id_bytes: usize,
    ) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let table_id = reader.uint_le(id_bytes, "table id")?;
        let flags = reader.u16("rows flags")?;
        if kind.has_extra {
            let bytes = usize::from(reader.u16("extra row data")?);
            reader.take(bytes.saturating_sub(2), "extra row data")?;
        }
        let (ends_statement, cascades_unseen) = (flags & 1 == 1, flags & 0x12 == 0);
        Ok(Self { table_id, ends_statement, cascades_unseen, kind, reader })
    }

    /// Reads the bitmaps; what is left are the rows.
    pub(crate) fn rows(mut self, columns: usize) -> Result<Rows<'a>, Malformed> {
        let reader = &mut self.reader;
        let count = reader.lenenc("number of columns")?;
        if count != columns as u64 {
            let max = columns as u64;
            return Err(Malformed::OutOfRange { field: "number of columns", value: count, max });
        }
        let first = Present::parse(reader, columns)?;
        let second = match self.kind.op {
            Op::Update => Present::parse(reader, columns)?,
            Op::Create | Op::Delete => first,
        };
        let cascades_unseen = self.cascades_unseen;
        Ok(Rows { kind: self.kind, cascades_unseen, first, second, reader: self.reader })
    }
}

/// The rows of an event.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    kind: RowsKind,
    pub(crate) cascades_unseen: bool,
    first: Present<'a>,
    second: Present<'a>,
    reader: Reader<'a>,
}

impl<'a> Rows<'a> {
    /// The bytes of the rows, still compressed in a compressed event.
    pub(crate) fn data(&self) -> &'a [u8] {
        self.reader.rest()
    }

    /// What is known of the images before the first.
    pub(crate) fn images(&self) -> Images {
        Images {
            first: self.first.bitmap.to_vec(),
            second: self.second.bitmap.to_vec(),
            is_update: self.kind.op == Op::Update,
            is_partial: self.kind.is_partial,
            is_compressed: self.kind.is_compressed,
        }
    }

    /// The same rows, decompressed.
    pub(crate) fn with_data<'b>(&self, data: &'b [u8]) -> Rows<'b>
    where
        'a: 'b,
    {
        let (first, second) = (self.first, self.second);
        let (kind, cascades_unseen) = (self.kind, self.cascades_unseen);
        Rows { kind, cascades_unseen, first, second, reader: Reader::new(data) }
    }

    pub(crate) fn is_end(&self) -> bool {
        self.reader.is_empty()
    }

    /// Walks the next row: an INSERT fills `after`, a DELETE `before`, an UPDATE both.
    pub(crate) fn next(
        &mut self,
        walk: &Walk,
        before: &mut [Cell<'a>],
        after: &mut [Cell<'a>],
    ) -> Result<(), Malformed> {
        // Such a row takes no room: there would be no end of them.
        if self.first.count == 0 && self.second.count == 0 {
            return Err(Malformed::Unsupported("rows without a column"));
        }
        let left = self.reader.left();
        match self.kind.op {
            Op::Create => walk.image(&mut self.reader, &self.first, None, after)?,
            Op::Delete => walk.image(&mut self.reader, &self.first, None, before)?,
            Op::Update => {
                walk.image(&mut self.reader, &self.first, None, before)?;
                let diffs = self.diffs(walk)?;
                walk.image(&mut self.reader, &self.second, diffs, after)?;
            }
        }
        if self.reader.left() == left {
            return Err(Malformed::Unsupported("rows without a column"));
        }
        Ok(())
    }

    /// Partial updates: which JSON columns of the table come as diffs.
    fn diffs(&mut self, walk: &Walk) -> Result<Option<&'a [u8]>, Malformed> {
        if !self.kind.is_partial {
            return Ok(None);
        }
        match self.reader.u8("row value options")? {
            0 => return Ok(None),
            1 => {}
            _ => return Err(Malformed::Unsupported("row value options")),
        }
        self.reader.take(walk.json_columns.div_ceil(8), "partial JSON columns").map(Some)
    }
}
