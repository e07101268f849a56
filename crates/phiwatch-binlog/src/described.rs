//! A column of a table map against the description that a server gives of its tables today.
//!
//! A map without names is named from `information_schema`, which tells the table as it is now, not
//! as it was when the rows were written. What the map does say of a column (type, length,
//! precision, sign) must fit the description, or the name is of another column.

use crate::{Column, ColumnType};

impl Column {
    /// Whether this can be the column that a server describes with `column_type` (as in
    /// `information_schema.columns`, such as `int(10) unsigned`) and, for character columns,
    /// `octets` (`character_octet_length`). A description that is not known fits nothing.
    #[must_use]
    pub fn could_be(&self, column_type: &str, octets: Option<u64>) -> bool {
        let text = column_type.to_ascii_lowercase();
        let word: &str = text.split([' ', '(']).next().unwrap_or_default();
        let arguments = arguments(&text);
        let first = arguments.first().copied().unwrap_or(0);
        if is_numeric(self.ty)
            && self.unsigned.is_some_and(|unsigned| unsigned != is_unsigned(&text, word))
        {
            return false;
        }
        let of_length = |bytes_max: u16| octets.is_none_or(|octets| octets == u64::from(bytes_max));
        let blob = |length_bytes: u8| match word {
            "tinytext" | "tinyblob" => length_bytes == 1,
            "text" | "blob" => length_bytes == 2,
            "mediumtext" | "mediumblob" => length_bytes == 3,
            // MariaDB's JSON is a LONGTEXT.
            "longtext" | "longblob" | "json" => length_bytes == 4,
            _ => false,
        };
        match self.ty {
            ColumnType::Tiny => matches!(word, "tinyint" | "bool" | "boolean"),
            ColumnType::Short => word == "smallint",
            ColumnType::Int24 => word == "mediumint",
            ColumnType::Long => matches!(word, "int" | "integer"),
            ColumnType::LongLong => word == "bigint",
            ColumnType::Float => word == "float",
            ColumnType::Double => matches!(word, "double" | "real"),
            ColumnType::Null => false,
            ColumnType::Year => word == "year",
            ColumnType::Date => word == "date",
            ColumnType::Time => word == "time" && first == 0,
            ColumnType::DateTime => word == "datetime" && first == 0,
            ColumnType::Timestamp => word == "timestamp" && first == 0,
            ColumnType::Time2 { fsp } => word == "time" && first == u64::from(fsp),
            ColumnType::DateTime2 { fsp } => word == "datetime" && first == u64::from(fsp),
            ColumnType::Timestamp2 { fsp } => word == "timestamp" && first == u64::from(fsp),
            ColumnType::Decimal { precision, scale } => {
                let scale_is = arguments.get(1).copied().unwrap_or(0);
                word == "decimal" && first == u64::from(precision) && scale_is == u64::from(scale)
            }
            ColumnType::Bit { bits } => word == "bit" && first == u64::from(bits),
            ColumnType::Enum { .. } => word == "enum",
            ColumnType::Set { .. } => word == "set",
            ColumnType::String { bytes_max } => match word {
                "char" | "binary" => of_length(bytes_max),
                "uuid" | "inet6" => bytes_max == 16,
                "inet4" => bytes_max == 4,
                _ => false,
            },
            ColumnType::VarChar { bytes_max } => {
                matches!(word, "varchar" | "varbinary") && of_length(bytes_max)
            }
            // A byte of it tells how the value is compressed.
            ColumnType::VarCharCompressed { .. } => matches!(word, "varchar" | "varbinary"),
            ColumnType::Blob { length_bytes } | ColumnType::BlobCompressed { length_bytes } => {
                blob(length_bytes)
            }
            ColumnType::Json { .. } => word == "json",
            ColumnType::Geometry { .. } => matches!(
                word,
                "geometry"
                    | "point"
                    | "linestring"
                    | "polygon"
                    | "multipoint"
                    | "multilinestring"
                    | "multipolygon"
                    | "geometrycollection"
                    | "geomcollection"
            ),
            ColumnType::Vector { .. } => word == "vector",
        }
    }
}

fn is_numeric(ty: ColumnType) -> bool {
    matches!(
        ty,
        ColumnType::Tiny
            | ColumnType::Short
            | ColumnType::Int24
            | ColumnType::Long
            | ColumnType::LongLong
            | ColumnType::Float
            | ColumnType::Double
            | ColumnType::Decimal { .. }
    )
}

fn is_unsigned(text: &str, word: &str) -> bool {
    !matches!(word, "bool" | "boolean") && text.contains("unsigned")
}

/// The numbers in the parentheses behind the type's name.
fn arguments(text: &str) -> Vec<u64> {
    let inside = text.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let numbers = inside.map(|(inside, _)| inside).unwrap_or_default().split(',');
    numbers.map_while(|number| number.trim().parse().ok()).take(2).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn column(ty: ColumnType, unsigned: Option<bool>) -> Column {
        Column { name: None, ty, unsigned, collation: None, members: Arc::new([]) }
    }

    #[test]
    fn descriptions_fit_by_type_length_and_sign() {
        use ColumnType::*;
        let decimal = Decimal { precision: 20, scale: 4 };
        for (ty, text, octets, fits) in [
            (Long, "int(10) unsigned", None, true),
            (Long, "int", None, true),
            (Long, "bigint", None, false),
            (LongLong, "bigint(20)", None, true),
            (Short, "smallint unsigned", None, true),
            (decimal, "decimal(20,4)", None, true),
            (decimal, "decimal(12,4)", None, false),
            (decimal, "decimal(20,2) unsigned", None, false),
            (VarChar { bytes_max: 1_020 }, "varchar(255)", Some(1_020), true),
            (VarChar { bytes_max: 1_020 }, "varchar(128)", Some(512), false),
            (VarChar { bytes_max: 1_020 }, "text", Some(65_535), false),
            (VarChar { bytes_max: 16 }, "varbinary(16)", Some(16), true),
            (String { bytes_max: 16 }, "uuid", None, true),
            (String { bytes_max: 4 }, "inet4", None, true),
            (String { bytes_max: 8 }, "char(2)", Some(8), true),
            (String { bytes_max: 8 }, "char(3)", Some(12), false),
            (Blob { length_bytes: 2 }, "text", Some(65_535), true),
            (Blob { length_bytes: 4 }, "longtext", None, true),
            (Blob { length_bytes: 2 }, "mediumtext", None, false),
            (BlobCompressed { length_bytes: 2 }, "text /*M!100301 COMPRESSED*/", None, true),
            (Json { length_bytes: 4 }, "json", None, true),
            (DateTime2 { fsp: 0 }, "datetime", None, true),
            (DateTime2 { fsp: 6 }, "datetime(6)", None, true),
            (DateTime2 { fsp: 6 }, "datetime", None, false),
            (Timestamp2 { fsp: 0 }, "timestamp", None, true),
            (Timestamp2 { fsp: 0 }, "datetime", None, false),
            (Date, "date", None, true),
            (Year, "year(4)", None, true),
            (Bit { bits: 10 }, "bit(10)", None, true),
            (Enum { bytes: 1 }, "enum('a(','b')", None, true),
            (Set { bytes: 1 }, "enum('a')", None, false),
            (Geometry { length_bytes: 4 }, "point", None, true),
            (Vector { length_bytes: 4 }, "vector(3)", None, true),
            (Long, "", None, false),
            (Tiny, "frob", None, false),
        ] {
            assert_eq!(column(ty, None).could_be(text, octets), fits, "{ty:?} {text}");
        }
        let unsigned = column(Long, Some(true));
        assert!(unsigned.could_be("INT(10) UNSIGNED", None));
        assert!(!unsigned.could_be("int", None));
        assert!(!column(Long, Some(false)).could_be("int unsigned zerofill", None));
        assert!(column(Tiny, Some(false)).could_be("tinyint(1)", None));
        // YEAR is unsigned by nature.
        assert!(column(Year, Some(true)).could_be("year", None));
    }
}
