//! MySQL's GTID set: text form, wire form, set operations.
//!
//! Input: text of a server variable or of a configuration, bytes of a dump request. Output: the
//! same, canonical: sources and tags in order, intervals merged.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::{fmt, str::FromStr};

use crate::gtid::{
    NUMBER_MAX, TAG_BYTES_MAX, is_tag, parse_number, parse_tag, parse_uuid, write_uuid,
};
use crate::reader::Reader;
use crate::varlen::{read_varlen, write_varlen};
use crate::{Gtid, Malformed, ParseGtidError};

/// A source and a tag (empty if none).
type Key = ([u8; 16], String);

/// Both ends inclusive, `first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    first: u64,
    last: u64,
}

/// A MySQL GTID set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GtidSet {
    /// Intervals ascending, neither overlapping nor touching; no empty list.
    sources: BTreeMap<Key, Vec<Interval>>,
}

impl GtidSet {
    /// Adds one transaction; a MariaDB GTID changes nothing.
    pub fn insert(&mut self, gtid: &Gtid) {
        let Gtid::MySql { uuid, tag, number } = gtid else { return };
        // The tail is where a stream adds: no search, no new key.
        if let Some(intervals) = self.sources.get_mut(&(*uuid, tag.clone())) {
            add(intervals, Interval { first: *number, last: *number });
        } else {
            let one = Interval { first: *number, last: *number };
            self.sources.insert((*uuid, tag.clone()), vec![one]);
        }
    }

    /// Most sources (each with one tag) that a stream may add to.
    pub(crate) const SOURCES_MAX: usize = 20_000;
    /// Most intervals of one source that a stream may add to.
    pub(crate) const INTERVALS_MAX: usize = 1 << 18;

    /// See [`crate::GtidState::has_room`].
    pub(crate) fn has_room(&self, gtid: &Gtid) -> bool {
        let Gtid::MySql { uuid, tag, .. } = gtid else { return true };
        match self.sources.get(&(*uuid, tag.clone())) {
            Some(intervals) => intervals.len() < Self::INTERVALS_MAX,
            None => self.sources.len() < Self::SOURCES_MAX,
        }
    }

    /// Whether the transaction is in the set.
    #[must_use]
    pub fn contains(&self, gtid: &Gtid) -> bool {
        let Gtid::MySql { uuid, tag, number } = gtid else { return false };
        let Some(intervals) = self.sources.get(&(*uuid, tag.clone())) else { return false };
        let index = intervals.partition_point(|interval| interval.last < *number);
        intervals.get(index).is_some_and(|interval| interval.first <= *number)
    }

    /// Whether every transaction of this set is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.subtract(other).is_empty()
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut sources = BTreeMap::new();
        for (key, intervals) in &self.sources {
            let taken = other.sources.get(key).map_or(&[][..], Vec::as_slice);
            let left = without(intervals, taken);
            if !left.is_empty() {
                sources.insert(key.clone(), left);
            }
        }
        Self { sources }
    }

    /// What is in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (key, intervals) in &other.sources {
            both.extend(key.clone(), intervals);
        }
        both
    }

    /// Each source and tag from its first to its last number, with all that lies between.
    #[must_use]
    pub fn hull(&self) -> Self {
        let mut sources = BTreeMap::new();
        for (key, intervals) in &self.sources {
            if let (Some(first), Some(last)) = (intervals.first(), intervals.last()) {
                let hull = Interval { first: first.first, last: last.last };
                sources.insert(key.clone(), vec![hull]);
            }
        }
        Self { sources }
    }

    /// No transaction is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Number of transactions.
    #[must_use]
    pub fn count(&self) -> u64 {
        let one =
            |interval: &Interval| interval.last.saturating_sub(interval.first).saturating_add(1);
        self.sources
            .values()
            .flatten()
            .fold(0, |sum: u64, interval| sum.saturating_add(one(interval)))
    }

    /// Whether a transaction has a tag: only MySQL 8.3 and later read such a set.
    #[must_use]
    pub fn has_tags(&self) -> bool {
        self.sources.keys().any(|(_, tag)| !tag.is_empty())
    }

    /// The bytes for COM_BINLOG_DUMP_GTID (MySQL `Gtid_set::encode`), in the tagged form if any
    /// transaction has a tag.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let tagged = self.has_tags();
        let sources = self.sources.len() as u64;
        let mut out = Vec::new();
        // The tagged form says so in the highest and in the lowest byte.
        let head = if tagged { 1 << 56 | sources << 8 | 1 } else { sources };
        out.extend(head.to_le_bytes());
        for ((uuid, tag), intervals) in &self.sources {
            out.extend(uuid);
            if tagged {
                write_varlen(&mut out, tag.len() as u64);
                out.extend(tag.as_bytes());
            }
            out.extend((intervals.len() as u64).to_le_bytes());
            for interval in intervals {
                out.extend(interval.first.to_le_bytes());
                out.extend(interval.last.saturating_add(1).to_le_bytes());
            }
        }
        out
    }

    /// Reads [`GtidSet::encode`]'s bytes, or those of a PREVIOUS_GTIDS event.
    ///
    /// # Errors
    /// Cut short, or not a set; nothing is allocated for counts that the bytes cannot hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let head = reader.u64("number of sources")?;
        let tagged = head >> 56 == 1;
        let sources = if tagged { head >> 8 & 0xff_ffff_ffff } else { head };
        let mut set = Self::default();
        for _ in 0..sources {
            let uuid = reader.array("source uuid")?;
            let tag = if tagged { read_tag(&mut reader)? } else { String::new() };
            let intervals = reader.u64("number of intervals")?;
            for _ in 0..intervals {
                let first = reader.u64("interval")?;
                let end = reader.u64("interval")?;
                let max = NUMBER_MAX;
                if first == 0 || first >= end || end.saturating_sub(1) > max {
                    return Err(Malformed::OutOfRange { field: "interval", value: end, max });
                }
                let interval = Interval { first, last: end.saturating_sub(1) };
                set.extend((uuid, tag.clone()), &[interval]);
            }
        }
        Ok(set)
    }

    fn extend(&mut self, key: Key, intervals: &[Interval]) {
        match self.sources.entry(key) {
            Entry::Vacant(vacant) => {
                if !intervals.is_empty() {
                    vacant.insert(intervals.to_vec());
                }
            }
            Entry::Occupied(mut occupied) => {
                for interval in intervals {
                    add(occupied.get_mut(), *interval);
                }
            }
        }
    }
}

fn read_tag(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let bytes = read_varlen(reader, "tag length")?;
    let max = TAG_BYTES_MAX as u64;
    if bytes > max {
        return Err(Malformed::OutOfRange { field: "tag length", value: bytes, max });
    }
    let tag = reader.take_claimed(bytes, "tag")?;
    match std::str::from_utf8(tag) {
        Ok(tag) if tag.is_empty() || is_tag(tag) => Ok(tag.to_owned()),
        _ => Err(Malformed::Value { ty: "tag", bytes }),
    }
}

/// Merges `new` with all that it overlaps or touches.
fn add(intervals: &mut Vec<Interval>, new: Interval) {
    let from = intervals.partition_point(|old| old.last.saturating_add(1) < new.first);
    let to = intervals.partition_point(|old| old.first <= new.last.saturating_add(1));
    let merged = match (intervals.get(from), to.checked_sub(1).and_then(|last| intervals.get(last)))
    {
        (Some(first), Some(last)) if from < to => {
            Interval { first: first.first.min(new.first), last: last.last.max(new.last) }
        }
        _ => new,
    };
    intervals.splice(from..to.max(from), [merged]);
}

fn without(intervals: &[Interval], taken: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    let mut taken = taken.iter().peekable();
    for interval in intervals {
        let mut first = interval.first;
        while let Some(cut) = taken.peek() {
            if cut.first > interval.last {
                break;
            }
            if cut.first > first {
                left.push(Interval { first, last: cut.first.saturating_sub(1) });
            }
            first = first.max(cut.last.saturating_add(1));
            if cut.last >= interval.last {
                break;
            }
            taken.next();
        }
        if first <= interval.last {
            left.push(Interval { first, last: interval.last });
        }
    }
    left
}

impl fmt::Display for GtidSet {
    /// MySQL's own form, without line breaks: `uuid:1-5:7:tag:1-3,uuid:1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut previous: Option<&[u8; 16]> = None;
        for ((uuid, tag), intervals) in &self.sources {
            if previous != Some(uuid) {
                if previous.is_some() {
                    f.write_str(",")?;
                }
                write_uuid(f, uuid)?;
                previous = Some(uuid);
            }
            if !tag.is_empty() {
                write!(f, ":{tag}")?;
            }
            for Interval { first, last } in intervals {
                write!(f, ":{first}")?;
                if first != last {
                    write!(f, "-{last}")?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = ParseGtidError;

    /// Blanks and line breaks may stand anywhere between the parts (servers print them).
    fn from_str(text: &str) -> Result<Self, ParseGtidError> {
        let mut set = Self::default();
        for source in text.split(',').map(str::trim).filter(|source| !source.is_empty()) {
            let mut parts = source.split(':').map(str::trim);
            let uuid = parse_uuid(parts.next().unwrap_or_default())?;
            let mut tag = String::new();
            let mut numbers = 0_u32;
            for part in parts {
                if part.starts_with(|c: char| c.is_ascii_digit()) {
                    set.extend((uuid, tag.clone()), &[parse_interval(part)?]);
                    numbers = numbers.saturating_add(1);
                } else {
                    tag = parse_tag(part)?;
                }
            }
            if numbers == 0 {
                return Err(ParseGtidError("a uuid without numbers"));
            }
        }
        Ok(set)
    }
}

fn parse_interval(text: &str) -> Result<Interval, ParseGtidError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_number(first.trim())?, parse_number(last.trim())?);
    if first > last {
        return Err(ParseGtidError("an interval ends before it begins"));
    }
    Ok(Interval { first, last })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> GtidSet {
        text.replace("A", A).replace("B", B).parse().unwrap()
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        let want = want.replace("A", A).replace("B", B);
        assert_eq!(set(text).to_string(), want, "{text}");
    }

    #[test]
    fn text_becomes_canonical() {
        check("", "");
        check("A:1-3:4:7", "A:1-4:7");
        check("B:5,\nA:2:1 , B : 4-6,", "A:1-2,B:4-6");
        check("A:5-7:1-9", "A:1-9");
        check("A:9:3:6:1-20", "A:1-20");
        check("A:Tag:1:2:other:3-4,A:1", "A:1:other:3-4:tag:1-2");
    }

    #[test]
    fn bad_text_is_refused() {
        for text in ["A", "A:", "A:0", "A:3-2", "A:tag", "x:1", "A:1-", "A:9tag:1", "A:-1"] {
            assert!(text.replace('A', A).parse::<GtidSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn operations_agree_with_the_server_functions() {
        assert_eq!(set("A:1-10").subtract(&set("A:3-4:8-20")), set("A:1-2:5-7"));
        assert_eq!(set("A:1-3,B:1").subtract(&set("A:1-9")), set("B:1"));
        assert_eq!(set("A:1-3").union(&set("A:4,B:2")), set("A:1-4,B:2"));
        assert!(set("A:2-3").is_subset(&set("A:1-5")) && !set("A:2-6").is_subset(&set("A:1-5")));
        assert!(!set("A:t:1").is_subset(&set("A:1")) && set("").is_subset(&set("")));
        assert_eq!(set("A:1-10:20,B:t:1").count(), 12);
        assert_eq!(set("A:3-4:9:t:2:5,B:1").hull(), set("A:3-9:t:2-5,B:1"));
    }

    #[test]
    fn wire_form_is_the_documented_one() {
        let plain = set("A:1-5").encode();
        assert_eq!(plain.get(..8), Some(&1_u64.to_le_bytes()[..]));
        assert_eq!(
            plain.get(24..),
            Some(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0][..])
        );
        let tagged = set("A:1:tag:2").encode();
        assert_eq!(tagged.get(..8), Some(&[1, 2, 0, 0, 0, 0, 0, 1][..]));
        assert!(GtidSet::decode(&u64::MAX.to_le_bytes()).is_err());
    }

    /// PREVIOUS_GTIDS of MySQL 9.7.4 whose `gtid_executed` was the text.
    #[test]
    fn a_servers_tagged_set_reads_and_writes_back() {
        let hex = "01020000000000019ec1f785e82c11f19dc602fc0000000100010000000000000001000000000000\
                   00f500000000000000aaaaaaaabbbbccccddddeeeeeeeeeeee0c7461676f6e65010000000000000007\
                   000000000000000800000000000000";
        let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
        let (pairs, _) = hex.as_bytes().as_chunks::<2>();
        let bytes: Vec<u8> =
            pairs.iter().map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
        let set = GtidSet::decode(&bytes).unwrap();
        let text = "9ec1f785-e82c-11f1-9dc6-02fc00000001:1-244,\naaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee:tagone:7";
        assert_eq!(set, text.parse().unwrap());
        assert_eq!(set.encode(), bytes);
    }

    fn numbers() -> impl Strategy<Value = Vec<(u8, u8, u64)>> {
        prop::collection::vec((0..3_u8, 0..3_u8, 1..60_u64), 0..80)
    }

    fn build(numbers: &[(u8, u8, u64)]) -> GtidSet {
        let mut set = GtidSet::default();
        for (source, tag, number) in numbers {
            let tag = ["", "a", "b_1"].get(usize::from(*tag)).unwrap().to_string();
            set.insert(&Gtid::MySql { uuid: [*source; 16], tag, number: *number });
        }
        set
    }

    proptest! {
        #[test]
        fn forms_round_trip(numbers in numbers()) {
            let set = build(&numbers);
            prop_assert_eq!(&GtidSet::decode(&set.encode()).unwrap(), &set);
            prop_assert_eq!(&set.to_string().parse::<GtidSet>().unwrap(), &set);
            let distinct: std::collections::BTreeSet<_> = numbers.iter().collect();
            prop_assert_eq!(set.count(), distinct.len() as u64);
        }

        #[test]
        fn operations_equal_those_on_plain_sets(left in numbers(), right in numbers()) {
            let (a, b) = (build(&left), build(&right));
            let of = |list: &[(u8, u8, u64)]| list.iter().copied().collect::<std::collections::BTreeSet<_>>();
            let (plain_a, plain_b) = (of(&left), of(&right));
            let minus: Vec<_> = plain_a.difference(&plain_b).copied().collect();
            let union: Vec<_> = plain_a.union(&plain_b).copied().collect();
            prop_assert_eq!(a.subtract(&b), build(&minus));
            prop_assert_eq!(a.union(&b), build(&union));
            prop_assert_eq!(a.is_subset(&b), plain_a.is_subset(&plain_b));
        }

        #[test]
        fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ignored = GtidSet::decode(&bytes);
        }
    }
}
