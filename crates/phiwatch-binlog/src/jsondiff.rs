//! Partial JSON updates: a document and its differences to the new document.
//!
//! Input: the binary JSON of the before image and the diffs of the after image. Output: the text
//! of the new document. Only the containers on a diff's path are taken apart; the rest is written
//! from the bytes that are there.
//!
//! Source: MySQL `Json_diff` (`sql-common/json_diff.h`), `apply_json_diffs` (`sql/json_diff.cc`),
//! `Json_path` (`sql-common/json_path.h`).
//!
//! # Invariants
//! - Paths are followed exactly: one that does not fit the document is refused, never guessed.
//! - At most [`NODES_MAX`] elements are taken apart, and no path is longer than [`DEPTH_MAX`] legs.

use std::borrow::Cow;

use crate::Malformed;
use crate::jsonb::{self, DEPTH_MAX, Writer};
use crate::reader::Reader;

/// Elements of containers that are taken apart (40 bytes each).
const NODES_MAX: usize = 262_144;

/// A part of a document.
#[derive(Debug)]
enum Node<'a> {
    /// As it is in the bytes.
    Raw {
        kind: u8,
        data: &'a [u8],
    },
    Array(Vec<Node<'a>>),
    /// In the server's order: by length of the key, then by its bytes.
    Object(Vec<(Cow<'a, [u8]>, Node<'a>)>),
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Leg<'a> {
    Member(Cow<'a, [u8]>),
    Cell(usize),
}

/// Appends the text of `document` with its diffs applied.
pub(crate) fn write_applied(
    out: &mut Vec<u8>,
    document: &[u8],
    diffs: &[u8],
) -> Result<(), Malformed> {
    let mut root = raw(document);
    let mut room = NODES_MAX;
    let mut reader = Reader::new(diffs);
    while !reader.is_empty() {
        let op = reader.u8("JSON diff")?;
        let path = legs(reader.lenenc_bytes("JSON path")?)?;
        let value = match op {
            0 | 1 => Some(raw(reader.lenenc_bytes("JSON diff value")?)),
            2 => None,
            _ => return Err(Malformed::Json("unknown diff operation")),
        };
        apply(&mut root, op == 1, &path, value, &mut room)?;
    }
    // One budget for all of it, as parts may lie on each other.
    write(&mut Writer::new(out, document.len().saturating_add(diffs.len())), &root)
}

/// A whole document; the empty one is JSON null.
fn raw(document: &[u8]) -> Node<'_> {
    match document.split_first() {
        Some((kind, data)) => Node::Raw { kind: *kind, data },
        // The literal null.
        None => Node::Raw { kind: 4, data: &[0] },
    }
}

const MISSING: Malformed = Malformed::Json("a difference at a place that the document has not");

fn apply<'a>(
    root: &mut Node<'a>,
    is_insert: bool,
    path: &[Leg<'_>],
    value: Option<Node<'a>>,
    room: &mut usize,
) -> Result<(), Malformed> {
    let Some((last, before)) = path.split_last() else {
        // `$`: the whole document; it can neither be inserted nor removed.
        return match value {
            Some(value) if !is_insert => {
                *root = value;
                Ok(())
            }
            _ => Err(MISSING),
        };
    };
    let mut parent = root;
    for leg in before {
        open(parent, room)?;
        parent = child(parent, leg).ok_or(MISSING)?;
    }
    open(parent, room)?;
    match (value, is_insert) {
        (Some(value), false) => *child(parent, last).ok_or(MISSING)? = value,
        (Some(value), true) => insert(parent, last, value)?,
        (None, _) => remove(parent, last)?,
    }
    Ok(())
}

/// Takes a container apart, one level.
fn open(node: &mut Node<'_>, room: &mut usize) -> Result<(), Malformed> {
    let Node::Raw { kind, data } = *node else { return Ok(()) };
    let elements = jsonb::elements(kind, data, *room)?;
    *room = room.saturating_sub(elements.len());
    let is_object = elements.iter().any(|element| element.key.is_some()) || jsonb::is_object(kind);
    *node = if is_object {
        let members = elements.into_iter().map(|element| {
            let key = Cow::Borrowed(element.key.unwrap_or_default());
            (key, Node::Raw { kind: element.kind, data: element.data })
        });
        Node::Object(members.collect())
    } else {
        let cells = elements.into_iter();
        Node::Array(cells.map(|one| Node::Raw { kind: one.kind, data: one.data }).collect())
    };
    Ok(())
}

fn child<'n, 'a>(node: &'n mut Node<'a>, leg: &Leg<'_>) -> Option<&'n mut Node<'a>> {
    match (node, leg) {
        (Node::Object(members), Leg::Member(name)) => {
            members.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value)
        }
        (Node::Array(cells), Leg::Cell(index)) => cells.get_mut(*index),
        _ => None,
    }
}

/// A new member, or a cell before the one that is there (behind the last one, at the end).
fn insert<'a>(parent: &mut Node<'a>, leg: &Leg<'_>, value: Node<'a>) -> Result<(), Malformed> {
    match (parent, leg) {
        (Node::Object(members), Leg::Member(name)) => {
            let order = |key: &[u8]| (key.len(), key.to_vec());
            let place = members.partition_point(|(key, _)| order(key) < order(name));
            if members.get(place).is_some_and(|(key, _)| key == name) {
                return Err(MISSING);
            }
            members.insert(place, (Cow::Owned(name.clone().into_owned()), value));
        }
        (Node::Array(cells), Leg::Cell(index)) => cells.insert(cells.len().min(*index), value),
        _ => return Err(MISSING),
    }
    Ok(())
}

fn remove(parent: &mut Node<'_>, leg: &Leg<'_>) -> Result<(), Malformed> {
    match (parent, leg) {
        (Node::Object(members), Leg::Member(name)) => {
            let place = members.iter().position(|(key, _)| key == name).ok_or(MISSING)?;
            members.remove(place);
        }
        (Node::Array(cells), Leg::Cell(index)) if *index < cells.len() => {
            cells.remove(*index);
        }
        _ => return Err(MISSING),
    }
    Ok(())
}

/// Recursion is as deep as the longest path at most.
fn write<'a>(writer: &mut Writer<'a, '_>, node: &Node<'a>) -> Result<(), Malformed> {
    match node {
        Node::Raw { kind, data } => writer.document(*kind, data)?,
        Node::Array(cells) => {
            writer.out.push(b'[');
            for (index, cell) in cells.iter().enumerate() {
                if index > 0 {
                    writer.out.push(b',');
                }
                write(writer, cell)?;
            }
            writer.out.push(b']');
        }
        Node::Object(members) => {
            writer.out.push(b'{');
            for (index, (key, value)) in members.iter().enumerate() {
                if index > 0 {
                    writer.out.push(b',');
                }
                writer.text(key)?;
                writer.out.push(b':');
                write(writer, value)?;
            }
            writer.out.push(b'}');
        }
    }
    Ok(())
}

/// The legs of a path as the server writes it: `$.name`, `$."quoted name"`, `$[0]`. No wildcards,
/// ranges or `last`: a difference is at one place.
fn legs(path: &[u8]) -> Result<Vec<Leg<'_>>, Malformed> {
    const BROKEN: Malformed = Malformed::Json("a path that is none");
    let mut rest = jsonb::utf8(path)?.trim().strip_prefix('$').ok_or(BROKEN)?;
    let mut legs = Vec::new();
    while !rest.is_empty() {
        if legs.len() >= DEPTH_MAX {
            return Err(Malformed::Json("nested more than 100 deep"));
        }
        let (leg, tail) = if let Some(tail) = rest.strip_prefix('[') {
            let (index, tail) = tail.split_once(']').ok_or(BROKEN)?;
            (Leg::Cell(index.trim().parse().map_err(|_| BROKEN)?), tail)
        } else {
            let tail = rest.strip_prefix('.').ok_or(BROKEN)?.trim_start();
            if tail.starts_with('"') {
                let end = quoted_end(tail.as_bytes()).ok_or(BROKEN)?;
                let (quoted, tail) = tail.split_at_checked(end).ok_or(BROKEN)?;
                let name = unescaped(quoted).ok_or(BROKEN)?;
                (Leg::Member(Cow::Owned(name.into_bytes())), tail)
            } else {
                let end = tail.find(['.', '[']).unwrap_or(tail.len());
                let (name, tail) = tail.split_at_checked(end).ok_or(BROKEN)?;
                if name.is_empty() || name.contains('*') {
                    return Err(BROKEN);
                }
                (Leg::Member(Cow::Borrowed(name.trim_end().as_bytes())), tail)
            }
        };
        legs.push(leg);
        rest = tail.trim_start();
    }
    Ok(legs)
}

/// Length of a JSON string with its quotes.
fn quoted_end(text: &[u8]) -> Option<usize> {
    let mut bytes = text.iter().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return Some(at.saturating_add(1)),
            _ => {}
        }
    }
    None
}

/// The text of a JSON string in quotes (RFC 8259, section 7).
fn unescaped(quoted: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = quoted.strip_prefix('"')?.strip_suffix('"')?.chars();
    let unit = |chars: &mut std::str::Chars<'_>| {
        let digits: String = chars.by_ref().take(4).collect();
        let is_whole = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(&digits, 16).ok().filter(|_| is_whole)
    };
    while let Some(char) = chars.next() {
        if char != '\\' {
            text.push(char);
            continue;
        }
        text.push(match chars.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = unit(&mut chars)?;
                let second = match first {
                    0xd800..=0xdbff if chars.next()? == '\\' && chars.next()? == 'u' => {
                        Some(unit(&mut chars)?)
                    }
                    _ => None,
                };
                let units = std::iter::once(first).chain(second);
                let mut decoded = char::decode_utf16(units);
                let char = decoded.next()?.ok()?;
                if decoded.next().is_some() {
                    return None;
                }
                char
            }
            other @ ('"' | '\\' | '/') => other,
            _ => return None,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a":1,"bb":[1,2,3]}`, as the server stores it.
    const DOCUMENT: &[u8] = &[
        0, 2, 0, 38, 0, 18, 0, 1, 0, 19, 0, 2, 0, 5, 1, 0, 2, 21, 0, b'a', b'b', b'b', 3, 0, 13, 0,
        5, 1, 0, 5, 2, 0, 5, 3, 0, 0, 0, 0, 0,
    ];

    fn diff(op: u8, path: &str, value: &[u8]) -> Vec<u8> {
        let len = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let mut out = vec![op, len(path.as_bytes())];
        out.extend(path.as_bytes());
        if op != 2 {
            out.push(len(value));
            out.extend(value);
        }
        out
    }

    #[track_caller]
    fn check(diffs: &[Vec<u8>], want: Option<&str>) {
        let mut out = Vec::new();
        let done = write_applied(&mut out, DOCUMENT, &diffs.concat());
        let got = done.ok().map(|()| String::from_utf8(out).unwrap());
        assert_eq!(got.as_deref(), want);
    }

    const SEVEN: &[u8] = &[5, 7, 0];

    #[test]
    fn differences_change_members_and_cells() {
        check(&[], Some(r#"{"a":1,"bb":[1,2,3]}"#));
        check(&[diff(0, "$.a", SEVEN)], Some(r#"{"a":7,"bb":[1,2,3]}"#));
        check(&[diff(0, "$.bb[2]", SEVEN)], Some(r#"{"a":1,"bb":[1,2,7]}"#));
        check(&[diff(0, "$", SEVEN)], Some("7"));
        check(&[diff(1, "$.c", SEVEN)], Some(r#"{"a":1,"c":7,"bb":[1,2,3]}"#));
        check(&[diff(1, r#"$."x y\"z""#, b"")], Some(r#"{"a":1,"bb":[1,2,3],"x y\"z":null}"#));
        check(&[diff(1, "$.bb[0]", SEVEN)], Some(r#"{"a":1,"bb":[7,1,2,3]}"#));
        check(&[diff(1, "$.bb[99]", SEVEN)], Some(r#"{"a":1,"bb":[1,2,3,7]}"#));
        check(&[diff(2, "$.a", b""), diff(2, "$.bb[1]", b"")], Some(r#"{"bb":[1,3]}"#));
        // A later difference is of the document that the earlier ones made.
        let all = [diff(1, "$.n", DOCUMENT), diff(0, "$.n.bb[0]", SEVEN), diff(2, "$.bb", b"")];
        check(&all, Some(r#"{"a":1,"n":{"a":1,"bb":[7,2,3]}}"#));
    }

    #[test]
    fn quoted_names_are_unescaped() {
        for (quoted, want) in [
            (r#""a b""#, Some("a b")),
            (r#""\"\\\/\n\u00e9\ud83d\ude00""#, Some("\"\\/\n\u{e9}\u{1f600}")),
            (r#""\ud83d""#, None),
            (r#""\x""#, None),
            (r#""\u12""#, None),
        ] {
            assert_eq!(unescaped(quoted).as_deref(), want, "{quoted}");
        }
    }

    #[test]
    fn differences_that_do_not_fit_are_refused() {
        for (op, path) in [
            (0, "$.x"),
            (0, "$.bb[3]"),
            (0, "$.a.b"),
            (0, "$.bb.a"),
            (0, "$[0]"),
            (1, "$.a"),
            (1, "$.x.y"),
            (1, "$"),
            (2, "$"),
            (2, "$.bb[3]"),
            (2, "$.x"),
            (0, "a"),
            (0, "$a"),
            (0, "$.*"),
            (0, "$[*]"),
            (0, "$[last]"),
            (0, "$[0"),
            (0, "$.\"a"),
            (3, "$.a"),
        ] {
            check(&[diff(op, path, SEVEN)], None);
        }
        let deep = format!("${}", ".a".repeat(101));
        check(&[diff(0, &deep, SEVEN)], None);
        let mut cut = diff(0, "$.a", SEVEN);
        cut.pop();
        check(&[cut], None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(
            document in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
            diffs in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            at in 0_usize..DOCUMENT.len(),
            byte: u8,
        ) {
            let _any = write_applied(&mut Vec::new(), &document, &diffs);
            let mut flipped = DOCUMENT.to_vec();
            flipped[at] = byte;
            let diffs = [diff(1, "$.bb[0]", SEVEN), diff(0, "$.a", SEVEN)].concat();
            let _any = write_applied(&mut Vec::new(), &flipped, &diffs);
        }
    }
}
