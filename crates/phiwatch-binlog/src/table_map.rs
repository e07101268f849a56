//! TABLE_MAP: a table's columns, as the rows events after it lay them out.
//!
//! Source: MySQL `Table_map_event` (`libs/mysql/binlog/event/rows_event.h`), MariaDB
//! `Table_map_log_event`.

use std::sync::Arc;

use crate::charset::Charset;
use crate::reader::{Reader, bit_msb};
use crate::{Column, ColumnType, Malformed, Table, TableName};

/// More columns than any server allows in one table.
pub(crate) const COLUMNS_MAX: u64 = 4_096;
/// More members than the ENUM and SET columns of one table have together: an ENUM has at most
/// 65,535. Each costs far more than its bytes in the event.
const MEMBERS_MAX: u64 = 1 << 18;

/// The part of a table map that can always be read.
#[derive(Debug)]
pub(crate) struct TableMap<'a> {
    pub(crate) name: TableName,
    reader: Reader<'a>,
}

impl<'a> TableMap<'a> {
    /// Reads the names; `body` begins behind the table id.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.u16("table map flags")?;
        let database = reader.short_bytes("schema name")?;
        reader.u8("schema name's end")?;
        let table = reader.short_bytes("table name")?;
        reader.u8("table name's end")?;
        Ok(Self { name: TableName { database: text(database), table: text(table) }, reader })
    }

    /// Reads the columns.
    pub(crate) fn table(mut self, id: u64, is_mariadb: bool) -> Result<Table, Malformed> {
        let reader = &mut self.reader;
        let count = reader.lenenc("number of columns")?;
        if count > COLUMNS_MAX {
            let max = COLUMNS_MAX;
            return Err(Malformed::OutOfRange { field: "number of columns", value: count, max });
        }
        let types = reader.take_claimed(count, "column types")?;
        let mut meta = Reader::new(reader.lenenc_bytes("column metadata")?);
        reader.take(types.len().div_ceil(8), "nullable columns")?;
        let mut columns = Vec::with_capacity(types.len());
        for code in types {
            let number = u32::try_from(columns.len()).unwrap_or(u32::MAX).saturating_add(1);
            columns.push(Column {
                name: None,
                ty: column_type(*code, &mut meta, number)?,
                unsigned: None,
                collation: None,
                members: Arc::new([]),
            });
        }
        if !meta.is_empty() {
            return Err(Malformed::Unsupported("column metadata that no column uses"));
        }
        let TableName { database, table: name } = self.name;
        let mut table = Table { id, database, name, columns, primary_key: Vec::new() };
        optional_metadata(reader, types, &mut table, is_mariadb)?;
        Ok(table)
    }
}

fn text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}

/// The type and what its metadata bytes say (sizes checked, so that later code can rely on them).
fn column_type(code: u8, meta: &mut Reader<'_>, column: u32) -> Result<ColumnType, Malformed> {
    const FIELD: &str = "column metadata";
    let refused = || Malformed::ColumnType { column, code };
    let at_most = |value: u8, max: u8| {
        if value <= max {
            return Ok(value);
        }
        Err(Malformed::OutOfRange { field: FIELD, value: value.into(), max: max.into() })
    };
    let pack = |meta: &mut Reader<'_>| match meta.u8(FIELD)? {
        length @ 1..=4 => Ok(length),
        other => Err(Malformed::OutOfRange { field: FIELD, value: other.into(), max: 4 }),
    };
    Ok(match code {
        1 => ColumnType::Tiny,
        2 => ColumnType::Short,
        3 => ColumnType::Long,
        4 if meta.u8(FIELD)? == 4 => ColumnType::Float,
        5 if meta.u8(FIELD)? == 8 => ColumnType::Double,
        6 => ColumnType::Null,
        7 => ColumnType::Timestamp,
        8 => ColumnType::LongLong,
        9 => ColumnType::Int24,
        10 | 14 => ColumnType::Date,
        11 => ColumnType::Time,
        12 => ColumnType::DateTime,
        13 => ColumnType::Year,
        15 | 253 => ColumnType::VarChar { bytes_max: meta.u16(FIELD)? },
        16 => {
            let [bits, bytes] = meta.array(FIELD)?;
            let (bits, bytes) = (at_most(bits, 7)?, at_most(bytes, 8)?);
            let bits = u16::from(bytes).wrapping_mul(8).wrapping_add(bits.into());
            if bits > 64 {
                return Err(Malformed::OutOfRange { field: FIELD, value: bits.into(), max: 64 });
            }
            ColumnType::Bit { bits }
        }
        17 => ColumnType::Timestamp2 { fsp: at_most(meta.u8(FIELD)?, 6)? },
        18 => ColumnType::DateTime2 { fsp: at_most(meta.u8(FIELD)?, 6)? },
        19 => ColumnType::Time2 { fsp: at_most(meta.u8(FIELD)?, 6)? },
        140 => ColumnType::BlobCompressed { length_bytes: pack(meta)? },
        141 => ColumnType::VarCharCompressed { bytes_max: meta.u16(FIELD)? },
        242 => ColumnType::Vector { length_bytes: pack(meta)? },
        245 => ColumnType::Json { length_bytes: pack(meta)? },
        246 => {
            let [precision, scale] = meta.array(FIELD)?;
            let precision = at_most(precision, 65)?;
            ColumnType::Decimal { precision, scale: at_most(scale, precision.min(38))? }
        }
        247 | 248 | 254 => string_type(code, meta.array(FIELD)?, refused())?,
        249..=252 => ColumnType::Blob { length_bytes: pack(meta)? },
        255 => ColumnType::Geometry { length_bytes: pack(meta)? },
        _ => return Err(refused()),
    })
}

/// CHAR, BINARY, ENUM and SET share one type number; the first metadata byte tells them apart.
fn string_type(
    code: u8,
    [real, low]: [u8; 2],
    refused: Malformed,
) -> Result<ColumnType, Malformed> {
    match (if code == 254 { real } else { code }, low) {
        (247, 1..=2) => Ok(ColumnType::Enum { bytes: low }),
        (248, 1..=8) => Ok(ColumnType::Set { bytes: low }),
        (247 | 248, _) => Err(refused),
        // Field_string::do_save_field_metadata hides two bits of the length in the type byte.
        _ => Ok(ColumnType::String {
            bytes_max: u16::from((real & 0x30) ^ 0x30) << 4 | u16::from(low),
        }),
    }
}

/// What a table map may say beyond the layout; unknown kinds are skipped.
fn optional_metadata(
    reader: &mut Reader<'_>,
    types: &[u8],
    table: &mut Table,
    is_mariadb: bool,
) -> Result<(), Malformed> {
    let mut sets = None;
    let mut enums = None;
    while !reader.is_empty() {
        let kind = reader.u8("optional metadata type")?;
        let mut value = Reader::new(reader.lenenc_bytes("optional metadata")?);
        let columns = &mut table.columns;
        match kind {
            1 => signedness(value.rest(), types, columns),
            2 => default_charset(&mut value, columns, |column| is_character(column, is_mariadb))?,
            3 => column_charset(&mut value, columns, |column| is_character(column, is_mariadb))?,
            4 => column_names(&mut value, columns)?,
            5 => sets = Some(value),
            6 => enums = Some(value),
            8 | 9 => table.primary_key = primary_key(&mut value, kind == 9, types.len())?,
            10 => default_charset(&mut value, columns, is_enum_or_set)?,
            11 => column_charset(&mut value, columns, is_enum_or_set)?,
            _ => {}
        }
    }
    // Only now are the collations known in which the names are written.
    if let Some(mut names) = sets {
        member_names(&mut names, &mut table.columns, |ty| matches!(ty, ColumnType::Set { .. }))?;
    }
    if let Some(mut names) = enums {
        member_names(&mut names, &mut table.columns, |ty| matches!(ty, ColumnType::Enum { .. }))?;
    }
    Ok(())
}

fn is_numeric(code: u8) -> bool {
    matches!(code, 0..=5 | 8 | 9 | 13 | 246)
}

/// The columns that a charset list counts. VECTOR counts although it has no charset; GEOMETRY and
/// the compressed types count for MariaDB only.
fn is_character(column: &Column, is_mariadb: bool) -> bool {
    match column.ty {
        ColumnType::String { .. }
        | ColumnType::VarChar { .. }
        | ColumnType::Blob { .. }
        | ColumnType::Vector { .. } => true,
        ColumnType::Geometry { .. }
        | ColumnType::VarCharCompressed { .. }
        | ColumnType::BlobCompressed { .. } => is_mariadb,
        _ => false,
    }
}

fn is_enum_or_set(column: &Column) -> bool {
    matches!(column.ty, ColumnType::Enum { .. } | ColumnType::Set { .. })
}

fn signedness(bits: &[u8], types: &[u8], columns: &mut [Column]) {
    let numeric = columns.iter_mut().zip(types).filter(|(_, code)| is_numeric(**code));
    for (index, (column, _)) in numeric.enumerate() {
        column.unsigned = Some(bit_msb(bits, index));
    }
}

fn collation(reader: &mut Reader<'_>) -> Result<u16, Malformed> {
    let id = reader.lenenc("collation")?;
    let max = u64::from(u16::MAX);
    u16::try_from(id).map_err(|_| Malformed::OutOfRange { field: "collation", value: id, max })
}

fn default_charset(
    reader: &mut Reader<'_>,
    columns: &mut [Column],
    counts: impl Fn(&Column) -> bool,
) -> Result<(), Malformed> {
    let default = collation(reader)?;
    let mut counted: Vec<&mut Column> =
        columns.iter_mut().filter(|column| counts(column)).collect();
    for column in &mut counted {
        column.collation = Some(default);
    }
    while !reader.is_empty() {
        let index = reader.lenenc("column with a collation")?;
        let id = collation(reader)?;
        let column = usize::try_from(index).ok().and_then(|index| counted.get_mut(index));
        let Some(column) = column else {
            return Err(Malformed::OutOfRange {
                field: "column with a collation",
                value: index,
                max: counted.len() as u64,
            });
        };
        column.collation = Some(id);
    }
    Ok(())
}

fn column_charset(
    reader: &mut Reader<'_>,
    columns: &mut [Column],
    counts: impl Fn(&Column) -> bool,
) -> Result<(), Malformed> {
    for column in columns.iter_mut().filter(|column| counts(column)) {
        column.collation = Some(collation(reader)?);
    }
    Ok(())
}

fn column_names(reader: &mut Reader<'_>, columns: &mut [Column]) -> Result<(), Malformed> {
    for column in columns {
        column.name = Some(text(reader.lenenc_bytes("column name")?));
    }
    Ok(())
}

fn primary_key(
    reader: &mut Reader<'_>,
    with_prefix: bool,
    columns: usize,
) -> Result<Vec<u16>, Malformed> {
    const FIELD: &str = "primary key column";
    let max = (columns as u64).saturating_sub(1);
    let mut key = Vec::new();
    while !reader.is_empty() {
        let value = reader.lenenc(FIELD)?;
        if with_prefix {
            reader.lenenc("primary key prefix")?;
        }
        // Whoever reads a key looks its columns up by these.
        match u16::try_from(value) {
            Ok(index) if usize::from(index) < columns => key.push(index),
            _ => return Err(Malformed::OutOfRange { field: FIELD, value, max }),
        }
    }
    Ok(key)
}

fn member_names(
    reader: &mut Reader<'_>,
    columns: &mut [Column],
    has: impl Fn(&ColumnType) -> bool,
) -> Result<(), Malformed> {
    const FIELD: &str = "number of members";
    let mut left = MEMBERS_MAX;
    for column in columns.iter_mut().filter(|column| has(&column.ty)) {
        let count = reader.lenenc(FIELD)?;
        let Some(rest) = left.checked_sub(count) else {
            return Err(Malformed::OutOfRange { field: FIELD, value: count, max: left });
        };
        left = rest;
        let mut members: Vec<Arc<str>> = Vec::new();
        for _ in 0..count {
            let name = reader.lenenc_bytes("member name")?;
            let decoded = Charset::of(column.collation).decode(name);
            members.push(decoded.map_or_else(|| text(name), Into::into));
        }
        column.members = members.into();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: u8, meta: &[u8], want: Option<ColumnType>) {
        assert_eq!(column_type(code, &mut Reader::new(meta), 1).ok(), want, "{code} {meta:?}");
    }

    #[test]
    fn column_metadata_is_checked_before_use() {
        check(4, &[4], Some(ColumnType::Float));
        check(4, &[8], None);
        check(246, &[65, 30], Some(ColumnType::Decimal { precision: 65, scale: 30 }));
        check(246, &[5, 6], None);
        check(246, &[66, 0], None);
        check(16, &[0, 8], Some(ColumnType::Bit { bits: 64 }));
        check(16, &[1, 8], None);
        check(16, &[8, 0], None);
        check(18, &[7], None);
        check(252, &[0], None);
        check(252, &[5], None);
        check(254, &[0xfe, 40], Some(ColumnType::String { bytes_max: 40 }));
        check(254, &[0xee, 40], Some(ColumnType::String { bytes_max: 256 + 40 }));
        check(254, &[247, 2], Some(ColumnType::Enum { bytes: 2 }));
        check(254, &[247, 3], None);
        check(254, &[248, 9], None);
        check(20, &[15, 1, 0], None);
        check(243, &[], None);
        check(0, &[], None);
    }

    #[test]
    fn members_are_counted_before_they_are_kept() {
        let column = Column {
            name: None,
            ty: ColumnType::Enum { bytes: 2 },
            unsigned: None,
            collation: None,
            members: Arc::new([]),
        };
        let check = |count: u32| {
            let bytes = [&[0xfe][..], &u64::from(count).to_le_bytes(), &vec![0; 1 << 19]].concat();
            let mut columns = [column.clone()];
            member_names(&mut Reader::new(&bytes), &mut columns, |_| true)
                .map(|()| columns[0].members.len())
        };
        assert_eq!(check(1 << 18), Ok(1 << 18));
        assert!(matches!(check((1 << 18) + 1), Err(Malformed::OutOfRange { .. })));
    }

    #[test]
    fn primary_keys_name_columns_that_exist() {
        let check = |bytes: &[u8], with_prefix: bool, want: Option<&[u16]>| {
            let key = primary_key(&mut Reader::new(bytes), with_prefix, 3);
            assert_eq!(key.ok().as_deref(), want, "{bytes:?}");
        };
        check(&[0, 2], false, Some(&[0, 2]));
        check(&[2, 10], true, Some(&[2]));
        check(&[3], false, None);
        check(&[0xfc, 0, 1], false, None);
        check(&[0], true, None);
    }
}
