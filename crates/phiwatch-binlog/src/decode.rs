//! Column values: a cell's bytes to a [`Value`].

use std::borrow::Cow;
use std::sync::Arc;

use crate::charset::Charset;
use crate::reader::{uint_be, uint_le};
use crate::{Column, ColumnType, Malformed, Value, decimal, inflate, temporal};

/// A compressed column is not inflated beyond this.
const INFLATED_BYTES_MAX: u64 = 128 << 20;

pub(crate) fn decode<'a>(column: &Column, bytes: &'a [u8]) -> Result<Value<'a>, Malformed> {
    Ok(match column.ty {
        ColumnType::Tiny => integer(column, &fixed::<1>(bytes, "TINYINT")?),
        ColumnType::Short => integer(column, &fixed::<2>(bytes, "SMALLINT")?),
        ColumnType::Int24 => integer(column, &fixed::<3>(bytes, "MEDIUMINT")?),
        ColumnType::Long => integer(column, &fixed::<4>(bytes, "INT")?),
        ColumnType::LongLong => integer(column, &fixed::<8>(bytes, "BIGINT")?),
        ColumnType::Float => Value::Float(f32::from_le_bytes(fixed(bytes, "FLOAT")?)),
        ColumnType::Double => Value::Double(f64::from_le_bytes(fixed(bytes, "DOUBLE")?)),
        ColumnType::Null => return Err(refused("NULL", bytes)),
        ColumnType::Decimal { precision, scale } => {
            Value::Decimal(decimal::decode(bytes, precision, scale)?)
        }
        ColumnType::Bit { bits } => bit(bytes, bits)?,
        ColumnType::Enum { bytes: width } => member(column, bytes, width)?,
        ColumnType::Set { bytes: width } => set(column, bytes, width)?,
        ColumnType::String { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. } => {
            text(column, Cow::Borrowed(bytes))
        }
        ColumnType::Json { .. } => Value::Json(bytes),
        ColumnType::Geometry { .. } | ColumnType::Vector { .. } => {
            Value::Binary(Cow::Borrowed(bytes))
        }
        ColumnType::VarCharCompressed { bytes_max } => {
            text(column, Cow::Owned(inflate::maria_column(bytes, bytes_max.into())?))
        }
        ColumnType::BlobCompressed { length_bytes } => {
            let bits = u32::from(length_bytes).saturating_mul(8);
            let bytes_max = (1_u64 << bits.min(32)).saturating_sub(1).min(INFLATED_BYTES_MAX);
            text(column, Cow::Owned(inflate::maria_column(bytes, bytes_max)?))
        }
        _ => return time(column.ty, bytes),
    })
}

fn time<'a>(ty: ColumnType, bytes: &[u8]) -> Result<Value<'a>, Malformed> {
    let sized = |whole: usize, fsp: u8, name: &'static str| {
        let want = whole.saturating_add(usize::from(fsp.div_ceil(2)));
        if bytes.len() == want { Ok(bytes) } else { Err(refused(name, bytes)) }
    };
    Ok(match ty {
        ColumnType::Year => match fixed(bytes, "YEAR")? {
            [0] => Value::Year(0),
            [year] => Value::Year(u16::from(year).saturating_add(1_900)),
        },
        ColumnType::Date => Value::Date(temporal::date(sized(3, 0, "DATE")?)),
        ColumnType::Time => Value::Time(temporal::time_old(sized(3, 0, "TIME")?)),
        ColumnType::DateTime => Value::DateTime(temporal::datetime_old(sized(8, 0, "DATETIME")?)),
        ColumnType::Timestamp => {
            let seconds = u32::from_le_bytes(fixed(bytes, "TIMESTAMP")?);
            Value::Timestamp(temporal::timestamp(seconds, &[], 0))
        }
        ColumnType::Time2 { fsp } => Value::Time(temporal::time2(sized(3, fsp, "TIME")?, fsp)),
        ColumnType::DateTime2 { fsp } => {
            let text = temporal::datetime2(sized(5, fsp, "DATETIME")?, fsp);
            Value::DateTime(text.ok_or_else(|| refused("DATETIME", bytes))?)
        }
        ColumnType::Timestamp2 { fsp } => {
            let value = sized(4, fsp, "TIMESTAMP")?;
            let (seconds, fraction) =
                value.split_first_chunk().ok_or_else(|| refused("TIMESTAMP", bytes))?;
            Value::Timestamp(temporal::timestamp(u32::from_be_bytes(*seconds), fraction, fsp))
        }
        _ => return Err(refused("value of its type", bytes)),
    })
}

fn refused(ty: &'static str, bytes: &[u8]) -> Malformed {
    Malformed::Value { ty, bytes: bytes.len() as u64 }
}

fn fixed<const N: usize>(bytes: &[u8], ty: &'static str) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| refused(ty, bytes))
}

fn integer<'a>(column: &Column, bytes: &[u8]) -> Value<'a> {
    let raw = uint_le(bytes);
    if column.unsigned == Some(true) {
        return Value::UInt(raw);
    }
    // Moves the sign bit up to bit 63, and back with copies of it.
    let unused = 64_u32.saturating_sub(u32::try_from(bytes.len()).unwrap_or(8).saturating_mul(8));
    Value::Int(raw.wrapping_shl(unused).cast_signed().wrapping_shr(unused))
}

fn bit<'a>(bytes: &[u8], bits: u16) -> Result<Value<'a>, Malformed> {
    if bytes.len() != usize::from(bits.div_ceil(8)) {
        return Err(refused("BIT", bytes));
    }
    let value = uint_be(bytes);
    let digit = |index: u16| if value.wrapping_shr(index.into()) & 1 == 1 { '1' } else { '0' };
    Ok(Value::Bit((0..bits).rev().map(digit).collect()))
}

fn member<'a>(column: &Column, bytes: &[u8], width: u8) -> Result<Value<'a>, Malformed> {
    if bytes.len() != usize::from(width) {
        return Err(refused("ENUM", bytes));
    }
    let index = u16::try_from(uint_le(bytes)).map_err(|_| refused("ENUM", bytes))?;
    let name = index.checked_sub(1).and_then(|index| column.members.get(usize::from(index)));
    Ok(Value::Enum(index, name.cloned()))
}

fn set<'a>(column: &Column, bytes: &[u8], width: u8) -> Result<Value<'a>, Malformed> {
    if bytes.len() != usize::from(width) {
        return Err(refused("SET", bytes));
    }
    let bits = uint_le(bytes);
    let chosen = (0..64_usize).filter(|index| bits >> index & 1 == 1);
    let names: Option<Vec<Arc<str>>> =
        chosen.map(|index| column.members.get(index).cloned()).collect();
    // Without any names even the empty set is a number: nobody said that it is a set of names.
    Ok(Value::Set(bits, names.filter(|_| !column.members.is_empty())))
}

fn text<'a>(column: &Column, bytes: Cow<'a, [u8]>) -> Value<'a> {
    let charset = Charset::of(column.collation);
    match bytes {
        Cow::Borrowed(bytes) => match charset.decode(bytes) {
            Some(text) => Value::Text(text),
            None => Value::Binary(Cow::Borrowed(bytes)),
        },
        Cow::Owned(bytes) => match charset.decode(&bytes) {
            Some(text) => Value::Text(Cow::Owned(text.into_owned())),
            None => Value::Binary(Cow::Owned(bytes)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(ty: ColumnType) -> Column {
        Column { name: None, ty, unsigned: None, collation: None, members: Arc::new([]) }
    }

    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "shorter calls")]
    fn check(column: &Column, bytes: &[u8], want: Option<Value<'_>>) {
        assert!(decode(column, bytes).ok() == want, "{:?} {bytes:?}", column.ty);
    }

    #[test]
    fn integers_keep_their_sign() {
        let medium = column(ColumnType::Int24);
        check(&medium, &[0xff, 0xff, 0xff], Some(Value::Int(-1)));
        check(&medium, &[0, 0, 0x80], Some(Value::Int(-8_388_608)));
        check(&medium, &[0xff, 0xff, 0x7f], Some(Value::Int(8_388_607)));
        check(&medium, &[0, 0], None);
        let unsigned = Column { unsigned: Some(true), ..column(ColumnType::LongLong) };
        check(&unsigned, &[0xff; 8], Some(Value::UInt(u64::MAX)));
        check(&column(ColumnType::LongLong), &[0xff; 8], Some(Value::Int(-1)));
        check(&column(ColumnType::Tiny), &[0x80], Some(Value::Int(-128)));
    }

    #[test]
    fn bits_print_from_the_highest() {
        check(
            &column(ColumnType::Bit { bits: 10 }),
            &[0b10, 1],
            Some(Value::Bit("1000000001".into())),
        );
        check(&column(ColumnType::Bit { bits: 64 }), &[0xff; 8], Some(Value::Bit("1".repeat(64))));
        check(&column(ColumnType::Bit { bits: 10 }), &[1], None);
    }

    #[test]
    fn members_have_names_if_all_are_known() {
        let members: Arc<[Arc<str>]> = Arc::new(["a".into(), "b".into()]);
        let one = Column { members: members.clone(), ..column(ColumnType::Enum { bytes: 1 }) };
        check(&one, &[2], Some(Value::Enum(2, Some("b".into()))));
        check(&one, &[3], Some(Value::Enum(3, None)));
        check(&one, &[0], Some(Value::Enum(0, None)));
        let some = Column { members, ..column(ColumnType::Set { bytes: 1 }) };
        check(&some, &[3], Some(Value::Set(3, Some(vec!["a".into(), "b".into()]))));
        check(&some, &[5], Some(Value::Set(5, None)));
        check(&some, &[0], Some(Value::Set(0, Some(vec![]))));
        check(&column(ColumnType::Set { bytes: 1 }), &[0], Some(Value::Set(0, None)));
    }

    #[test]
    fn text_that_is_not_valid_is_binary() {
        let utf8 = Column { collation: Some(255), ..column(ColumnType::VarChar { bytes_max: 9 }) };
        check(&utf8, "ü".as_bytes(), Some(Value::Text("ü".into())));
        check(&utf8, b"\xff", Some(Value::Binary(Cow::Borrowed(b"\xff"))));
        let binary = Column { collation: Some(63), ..column(ColumnType::Blob { length_bytes: 1 }) };
        check(&binary, b"ab", Some(Value::Binary(Cow::Borrowed(b"ab"))));
        let packed = column(ColumnType::VarCharCompressed { bytes_max: 9 });
        check(&packed, b"\0ab", Some(Value::Text("ab".into())));
        check(&packed, b"\x30ab", None);
    }

    #[test]
    fn years_count_from_1900() {
        check(&column(ColumnType::Year), &[0], Some(Value::Year(0)));
        check(&column(ColumnType::Year), &[255], Some(Value::Year(2155)));
    }
}
