//! Character sets: a collation id to text.
//!
//! The ids are those of MySQL 9.7 and MariaDB 11 (`information_schema.collations`); MariaDB adds
//! 1024 for NO PAD, and ids from 2048 on for its UCA 14.0.0 collations, 256 per character set.

use std::borrow::Cow;

use encoding_rs::Encoding;

/// How the bytes of a text column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Binary,
    Ascii,
    Utf8,
    Utf16 {
        is_little: bool,
    },
    Utf32,
    /// A table of 128 characters for the upper half.
    Table(&'static str),
    /// As the encoding, but 0x80 to 0x9f are the C1 control characters.
    WithC1(&'static Encoding),
    Encoding(&'static Encoding),
    /// Not known, or not known here: text if it is valid UTF-8.
    Unknown,
}

impl Charset {
    pub(crate) fn of(collation: Option<u16>) -> Self {
        let Some(id) = collation else { return Self::Unknown };
        match id {
            63 => Self::Binary,
            33 | 76 | 83 | 192..=215 | 223 | 576..=578 | 1057 | 1107 | 1216 | 1238 => Self::Utf8,
            45 | 46 | 224..=247 | 255..=323 | 608..=610 | 1069 | 1070 | 1248 | 1270 => Self::Utf8,
            // MariaDB UCA 14.0.0: utf8mb3, utf8mb4, ucs2, utf16, utf32.
            2048..=2559 => Self::Utf8,
            2560..=3071 => Self::Utf16 { is_little: false },
            3072..=3327 => Self::Utf32,
            35 | 90 | 128..=151 | 159 | 640..=642 | 1059 | 1114 | 1152 | 1174 => {
                Self::Utf16 { is_little: false }
            }
            54 | 55 | 101..=124 | 672..=674 | 1078 | 1079 | 1125 | 1147 => {
                Self::Utf16 { is_little: false }
            }
            56 | 62 | 1080 | 1086 => Self::Utf16 { is_little: true },
            60 | 61 | 160..=183 | 736..=738 | 1084 | 1085 | 1184 | 1206 => Self::Utf32,
            11 | 65 | 1035 | 1089 => Self::Ascii,
            // The standard's windows-1252 keeps the five holes as C1 controls, as MySQL does.
            5 | 8 | 15 | 31 | 47..=49 | 94 | 1032 | 1071 => {
                Self::Encoding(encoding_rs::WINDOWS_1252)
            }
            _ => Self::regional(id),
        }
    }

    fn regional(id: u16) -> Self {
        // Here a NO PAD collation has the same character set as the one 1024 below it.
        let encoding = match if id > 1024 { id & 1023 } else { id } {
            1 | 84 => encoding_rs::BIG5,
            2 | 9 | 21 | 27 | 77 => encoding_rs::ISO_8859_2,
            4 | 80 => return Self::Table(CP850),
            7 | 74 => encoding_rs::KOI8_R,
            12 | 91 | 97 | 98 => encoding_rs::EUC_JP,
            13 | 88 | 95 | 96 => encoding_rs::SHIFT_JIS,
            14 | 23 | 50..=52 => encoding_rs::WINDOWS_1251,
            16 | 71 => encoding_rs::ISO_8859_8,
            18 | 89 => return Self::WithC1(encoding_rs::WINDOWS_874),
            19 | 85 => encoding_rs::EUC_KR,
            20 | 41 | 42 | 79 => encoding_rs::ISO_8859_13,
            22 | 75 => encoding_rs::KOI8_U,
            24 | 28 | 86 | 87 => encoding_rs::GBK,
            25 | 70 => encoding_rs::ISO_8859_7,
            26 | 34 | 44 | 66 | 99 => encoding_rs::WINDOWS_1250,
            29 | 58 | 59 => encoding_rs::WINDOWS_1257,
            30 | 78 => return Self::WithC1(encoding_rs::WINDOWS_1254),
            36 | 68 => encoding_rs::IBM866,
            39 | 53 => encoding_rs::MACINTOSH,
            40 | 81 => return Self::Table(CP852),
            57 | 67 => encoding_rs::WINDOWS_1256,
            248..=250 => encoding_rs::GB18030,
            _ => return Self::Unknown,
        };
        Self::Encoding(encoding)
    }

    /// The text, or None if the bytes are not valid in the character set.
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Binary => None,
            Self::Utf8 | Self::Unknown => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            _ if bytes.is_ascii() && self.keeps_ascii() => {
                std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
            }
            Self::Ascii => None,
            Self::Utf16 { is_little } => utf16(bytes, is_little).map(Cow::Owned),
            Self::Utf32 => utf32(bytes).map(Cow::Owned),
            Self::Table(upper) => table(bytes, upper).map(Cow::Owned),
            Self::Encoding(encoding) => {
                encoding.decode_without_bom_handling_and_without_replacement(bytes)
            }
            Self::WithC1(encoding) => with_c1(bytes, encoding).map(Cow::Owned),
        }
    }

    fn keeps_ascii(self) -> bool {
        !matches!(self, Self::Utf16 { .. } | Self::Utf32)
    }
}

fn utf16(bytes: &[u8], is_little: bool) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let unit = |pair: &[u8; 2]| {
        if is_little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) }
    };
    char::decode_utf16(units.iter().map(unit)).collect::<Result<_, _>>().ok()
}

fn utf32(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect()
}

fn table(bytes: &[u8], upper: &'static str) -> Option<String> {
    let upper: Vec<char> = upper.chars().collect();
    let one = |byte: &u8| match byte.checked_sub(0x80) {
        None => Some(char::from(*byte)),
        Some(index) => upper.get(usize::from(index)).copied(),
    };
    bytes.iter().map(one).collect()
}

fn with_c1(bytes: &[u8], encoding: &'static Encoding) -> Option<String> {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if *byte < 0xa0 {
            text.push(char::from(*byte));
        } else {
            let one = std::slice::from_ref(byte);
            text.push_str(&encoding.decode_without_bom_handling_and_without_replacement(one)?);
        }
    }
    Some(text)
}

/// The upper half of cp850.
const CP850: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐\
    └┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";

/// The upper half of cp852.
const CP852: &str = "\
    ÇüéâäůćçłëŐőîŹÄĆÉĹĺôöĽľŚśÖÜŤťŁ×čáíóúĄąŽžĘę¬źČş«»░▒▓│┤ÁÂĚŞ╣║╗╝Żż┐\
    └┴┬├─┼Ăă╚╔╩╦╠═╬¤đĐĎËďŇÍÎě┘┌█▄ŢŮ▀ÓßÔŃńňŠšŔÚŕŰýÝţ´\u{ad}˝˛ˇ˘§÷¸°¨˙űŘř■\u{a0}";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(collation: u16, bytes: &[u8], want: Option<&str>) {
        assert_eq!(Charset::of(Some(collation)).decode(bytes).as_deref(), want, "{collation}");
    }

    #[test]
    fn collations_decode_their_text() {
        check(255, "łódź 🦀".as_bytes(), Some("łódź 🦀"));
        check(2304, "ü".as_bytes(), Some("ü"));
        check(1069, "ü".as_bytes(), Some("ü"));
        check(33, b"\xff", None);
        check(63, b"abc", None);
        check(8, b"\x80\x81\xfc", Some("€\u{81}ü"));
        check(11, b"abc", Some("abc"));
        check(11, b"\xe4", None);
        check(35, b"\x20\xac", Some("€"));
        check(35, b"\x20", None);
        check(54, b"\xd8\x3e\xdd\x80", Some("🦀"));
        check(54, b"\xd8\x3e", None);
        check(56, b"\xac\x20", Some("€"));
        check(60, b"\0\x01\xf9\x80", Some("🦀"));
        check(28, b"\xd6\xd0", Some("中"));
        check(13, b"\x83\x65", Some("テ"));
        check(26, b"\xb3", Some("ł"));
        check(30, b"\x80\xfd", Some("\u{80}ı"));
        check(4, b"\x84\xd5", Some("äı"));
        check(40, b"\x88", Some("ł"));
        check(1028, b"\x84", Some("ä"));
        check(10, b"abc", Some("abc"));
        check(10, b"\xe4", None);
    }

    #[test]
    fn tables_have_128_characters() {
        assert_eq!((CP850.chars().count(), CP852.chars().count()), (128, 128));
    }
}
