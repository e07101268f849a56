//! A row change as the rules read it: ids as numbers, texts as bytes, old and new.
//!
//! # Invariants
//! - Ids are read from the bytes by the column's type; nothing is allocated.
//! - What is not in an image (row image MINIMAL or NOBLOB) is absent, never a default.

use std::{borrow::Cow, cell::Cell as Counter};

use phiwatch_binlog::{Cell, Column, ColumnType, Image, Op, RowChange, Value, write_json_update};

/// Place of a column in the projection; [`Slot::OFF`] if the table has no such column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u16);

impl Slot {
    pub(crate) const OFF: Self = Self(u16::MAX);

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// An id in a row image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// Not in the image, or the table has no such column.
    Absent,
    /// SQL NULL.
    Null,
    /// A number.
    Is(u64),
}

impl Field {
    /// The id, if there is one that names something (not NULL, not 0).
    pub(crate) fn id(self) -> Option<u64> {
        match self {
            Self::Is(id) if id != 0 => Some(id),
            Self::Is(_) | Self::Null | Self::Absent => None,
        }
    }

    /// The id if it names something and fits the maps.
    pub(crate) fn key(self) -> Option<u32> {
        self.id().and_then(|id| u32::try_from(id).ok())
    }
}

/// One row change and the types of its cells.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) op: Op,
    pub(crate) cascades_unseen: bool,
    before: Option<Image<'a>>,
    after: Option<Image<'a>>,
    columns: &'a [Column],
    undecodable: Counter<u64>,
    lost_json: Counter<bool>,
}

impl<'a> Row<'a> {
    /// `columns`: those of the projection, in its order.
    pub(crate) fn new(change: &RowChange<'a>, columns: &'a [Column]) -> Self {
        let (before, after) = (change.before, change.after);
        let (op, cascades_unseen) = (change.op, change.cascades_unseen);
        Self {
            op,
            cascades_unseen,
            before,
            after,
            columns,
            undecodable: Counter::new(0),
            lost_json: Counter::new(false),
        }
    }

    /// Cells that were asked for and did not fit their type.
    pub(crate) fn undecodable(&self) -> u64 {
        self.undecodable.get()
    }

    /// A document was asked for that came as differences, and its old state is not in the images.
    pub(crate) fn has_lost_json(&self) -> bool {
        self.lost_json.get()
    }

    /// Whether no image holds the column, which the table has.
    pub(crate) fn lacks(&self, slot: Slot) -> bool {
        slot != Slot::OFF
            && self.cell(self.after, slot) == Cell::Absent
            && self.cell(self.before, slot) == Cell::Absent
    }

    /// Whether the column holds a value (not NULL) after the change.
    pub(crate) fn has_value(&self, slot: Slot) -> bool {
        matches!(self.cell(self.after, slot), Cell::Value(_) | Cell::JsonDiff(_))
    }

    /// Whether the column was written: by an INSERT, or changed by an UPDATE.
    pub(crate) fn is_written(&self, slot: Slot) -> bool {
        match self.op {
            Op::Create => true,
            Op::Delete => false,
            Op::Update => self.is_changed(slot.index()),
        }
    }

    fn is_changed(&self, index: usize) -> bool {
        let cell = |image: Option<Image<'a>>| image.map_or(Cell::Absent, |image| image.cell(index));
        let after = cell(self.after);
        after != Cell::Absent && after != cell(self.before)
    }

    /// Sum of `weights` of the columns that an UPDATE changed.
    pub(crate) fn changed(&self, weights: &[u64]) -> u64 {
        let (Some(before), Some(after)) = (self.before, self.after) else { return 0 };
        let cells = before.cells.iter().zip(after.cells).zip(weights);
        cells.fold(0, |sum, ((before, after), weight)| {
            let is_changed = *after != Cell::Absent && after != before;
            sum.wrapping_add(if is_changed { *weight } else { 0 })
        })
    }

    /// The id after the change; of a DELETE, before it. What an UPDATE does not write keeps its
    /// old value.
    pub(crate) fn now(&self, slot: Slot) -> Field {
        match self.field(self.after, slot) {
            Field::Absent => self.field(self.before, slot),
            known => known,
        }
    }

    /// The id before an UPDATE or DELETE.
    pub(crate) fn old(&self, slot: Slot) -> Field {
        self.field(self.before, slot)
    }

    /// Whether the column holds the number after the change (of a DELETE, before it).
    pub(crate) fn is_number(&self, slot: Slot, number: i64) -> bool {
        let Field::Is(bits) = self.now(slot) else { return false };
        let Some(column) = self.columns.get(slot.index()) else { return false };
        let bytes = integer_bytes(column.ty).unwrap_or(8);
        let unsigned = i128::from(bits);
        let is_negative = bits >> (bytes * 8 - 1) & 1 == 1;
        let signed = if is_negative { unsigned - (1i128 << (bytes * 8)) } else { unsigned };
        let number = i128::from(number);
        match column.unsigned {
            Some(true) => number == unsigned,
            Some(false) => number == signed,
            None => number == unsigned || number == signed,
        }
    }

    /// The text after the change; of a DELETE, before it.
    pub(crate) fn text_now(&self, slot: Slot) -> Option<Cow<'a, [u8]>> {
        match self.cell(self.after, slot) {
            Cell::Absent => self.text(self.before, slot),
            _ => self.text(self.after, slot),
        }
    }

    /// The text before an UPDATE or DELETE.
    pub(crate) fn text_old(&self, slot: Slot) -> Option<Cow<'a, [u8]>> {
        self.text(self.before, slot)
    }

    /// Seconds since 1970 of a date and time after the change (of a DELETE, before it).
    pub(crate) fn secs_now(&self, slot: Slot) -> Option<i64> {
        match self.cell(self.after, slot) {
            Cell::Absent => self.secs(self.before, slot),
            _ => self.secs(self.after, slot),
        }
    }

    /// The same before an UPDATE or DELETE.
    pub(crate) fn secs_old(&self, slot: Slot) -> Option<i64> {
        self.secs(self.before, slot)
    }

    fn secs(&self, image: Option<Image<'a>>, slot: Slot) -> Option<i64> {
        let column = self.columns.get(slot.index())?;
        let Cell::Value(bytes) = self.cell(image, slot) else { return None };
        match column.decode(bytes) {
            Ok(Value::DateTime(text) | Value::Timestamp(text)) => crate::signs::seconds(&text),
            Ok(_) => None,
            Err(_) => {
                self.undecodable.set(self.undecodable.get() + 1);
                None
            }
        }
    }

    fn cell(&self, image: Option<Image<'a>>, slot: Slot) -> Cell<'a> {
        image.map_or(Cell::Absent, |image| image.cell(slot.index()))
    }

    fn field(&self, image: Option<Image<'a>>, slot: Slot) -> Field {
        match self.cell(image, slot) {
            Cell::Absent => Field::Absent,
            Cell::Null => Field::Null,
            Cell::Value(bytes) => {
                let ty = self.columns.get(slot.index()).map(|column| column.ty);
                match ty.and_then(|ty| integer(ty, bytes.expose())) {
                    Some(number) => Field::Is(number),
                    None => self.undecodable_field(),
                }
            }
            Cell::JsonDiff(_) => self.undecodable_field(),
        }
    }

    fn undecodable_field(&self) -> Field {
        self.undecodable.set(self.undecodable.get() + 1);
        Field::Absent
    }

    /// A JSON document as text; what a partial update makes of the old one.
    fn json(&self, image: Option<Image<'a>>, slot: Slot) -> Option<Cow<'a, [u8]>> {
        let cell = self.cell(image, slot);
        if matches!(cell, Cell::Absent | Cell::Null) {
            return None;
        }
        let mut text = Vec::new();
        let done = write_json_update(&mut text, self.cell(self.before, slot), cell);
        if done.is_err() {
            self.undecodable.set(self.undecodable.get() + 1);
            self.lost_json.set(true);
            return None;
        }
        Some(Cow::Owned(text))
    }

    /// Bytes of a text cell; none for NULL and absent ones.
    fn text(&self, image: Option<Image<'a>>, slot: Slot) -> Option<Cow<'a, [u8]>> {
        let column = self.columns.get(slot.index())?;
        if matches!(column.ty, ColumnType::Json { .. }) {
            return self.json(image, slot);
        }
        let Cell::Value(bytes) = self.cell(image, slot) else { return None };
        if is_plain_text(column.ty) {
            return Some(Cow::Borrowed(bytes.expose()));
        }
        let text = match column.decode(bytes) {
            Ok(Value::Text(Cow::Borrowed(text))) => Some(Cow::Borrowed(text.as_bytes())),
            Ok(Value::Text(Cow::Owned(text))) => Some(Cow::Owned(text.into_bytes())),
            Ok(Value::Binary(bytes)) => Some(bytes),
            Ok(Value::Int(number)) => Some(Cow::Owned(number.to_string().into_bytes())),
            Ok(Value::UInt(number)) => Some(Cow::Owned(number.to_string().into_bytes())),
            Ok(Value::Enum(_, Some(name))) => Some(Cow::Owned(name.as_bytes().to_vec())),
            Ok(_) | Err(_) => None,
        };
        if text.is_none() {
            self.undecodable.set(self.undecodable.get() + 1);
        }
        text
    }
}

/// Whether the wire bytes of the type are the text itself.
fn is_plain_text(ty: ColumnType) -> bool {
    matches!(ty, ColumnType::String { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. })
}

/// Whether texts can be compared with columns of the type, byte for byte.
pub(crate) fn is_text(ty: ColumnType) -> bool {
    is_plain_text(ty) || matches!(ty, ColumnType::Enum { .. })
}

/// Whether ids can be read from columns of the type.
pub(crate) fn is_integer(ty: ColumnType) -> bool {
    integer_bytes(ty).is_some()
}

fn integer_bytes(ty: ColumnType) -> Option<usize> {
    Some(match ty {
        ColumnType::Tiny => 1,
        ColumnType::Short => 2,
        ColumnType::Int24 => 3,
        ColumnType::Long => 4,
        ColumnType::LongLong => 8,
        _ => return None,
    })
}

/// A little-endian integer. Ids are never negative: a negative one reads as a large one, which
/// names nothing.
fn integer(ty: ColumnType, bytes: &[u8]) -> Option<u64> {
    if integer_bytes(ty)? != bytes.len() {
        return None;
    }
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_little_endian_and_of_the_types_length() {
        assert_eq!(integer(ColumnType::Short, &[3, 1]), Some(259));
        assert_eq!(integer(ColumnType::Int24, &[1, 0, 1]), Some(65_537));
        assert_eq!(integer(ColumnType::Long, &[1, 0]), None);
        assert_eq!(integer(ColumnType::Float, &[1, 0, 0, 0]), None);
        assert_eq!(integer(ColumnType::LongLong, &[255; 8]), Some(u64::MAX));
    }
}
