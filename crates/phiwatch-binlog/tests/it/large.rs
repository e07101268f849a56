//! Events that come in parts: the same is told as of whole ones, in bounded memory.

use phiwatch_binlog::framing::{HEADER_BYTES, Header};
use phiwatch_binlog::{
    BinlogPosition, Cell, Decoder, End, Gap, Inflater, Limits, Malformed, Plan, Projection,
    RowChange, Statement, Table, Transaction, Visitor,
};

use crate::build::{self, Builder};
use crate::files;
use crate::transactions::Log;

/// Feeds every event in parts of these sizes, in turn.
fn feed_parts(decoder: &mut Decoder, bytes: &[u8], sizes: &[usize], visitor: &mut impl Visitor) {
    let mut sizes = sizes.iter().cycle();
    let mut offset = 4;
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        let size = Header::parse(rest).unwrap().event_bytes as usize;
        let mut event = &rest[..size];
        let mut least = HEADER_BYTES;
        while !event.is_empty() {
            let (part, left) = event.split_at(event.len().min(*sizes.next().unwrap()).max(least));
            decoder.part(offset as u64, part, left.len() as u64, visitor);
            event = left;
            least = 0;
        }
        offset += size;
    }
    decoder.finish(visitor);
}

#[test]
fn parts_of_recorded_events_tell_the_same_as_the_whole() {
    for (name, bytes) in files::binlogs() {
        let is_whole = |log: &Log| log.gaps.iter().all(|gap| gap.cause.label() != "event_size");
        let mut whole = Log::default();
        files::decode(&name, &bytes, &mut whole);
        if !is_whole(&whole) || name.contains("cut") || name.contains("damaged") {
            continue;
        }
        let mut parts = Log::default();
        let mut decoder = Decoder::new(Limits::default());
        decoder.start_file(&name);
        feed_parts(&mut decoder, &bytes, &[700, 20, 19, 1, 5_000, 3], &mut parts);
        assert_eq!(parts.text, whole.text, "{name}");
        assert_eq!(parts.rows, whole.rows, "{name}");
    }
}

type Values = Vec<Option<Vec<u8>>>;

/// Keeps the wanted columns of each row.
#[derive(Default)]
struct First {
    projection: Vec<u16>,
    seen: Vec<(Values, Values)>,
    ends: Vec<String>,
    gaps: Vec<Gap>,
    ignored: usize,
}

fn copy(cells: Option<&[Cell<'_>]>) -> Values {
    (cells.unwrap_or_default().iter())
        .map(|cell| match cell {
            Cell::Value(bytes) => Some(bytes.expose().to_vec()),
            _ => None,
        })
        .collect()
}

impl Visitor for First {
    fn table(&mut self, table: &Table) -> Plan {
        let projection = if &*table.name == "ignored" {
            Projection::Ignore
        } else {
            Projection::Columns(self.projection.clone())
        };
        Plan { projection, handle: 0 }
    }
    fn begin(&mut self, _: &Transaction) {}
    fn row(&mut self, _: &Transaction, change: &RowChange<'_>) {
        let images = (change.before, change.after);
        let cells = images.0.as_ref().map(|image| image.cells);
        let after = images.1.as_ref().map(|image| image.cells);
        self.seen.push((copy(cells), copy(after)));
    }
    fn ignored(&mut self, _: &Table, _: usize) {
        self.ignored += 1;
    }
    fn statement(&mut self, _: &Transaction, _: &Statement<'_>) {}
    fn end(&mut self, _: &Transaction, end: &End, _: &BinlogPosition) {
        self.ends.push(format!("{end:?}"));
    }
    fn gap(&mut self, gap: &Gap) {
        self.gaps.push(gap.clone());
    }
}

const LONG: usize = 3 << 20;

/// `d.NAME`: INT a, LONGBLOB b, VARCHAR(9) c, INT NULL d.
fn map(name: &str) -> Vec<u8> {
    let mut body = vec![9, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, u8::try_from(name.len()).unwrap()];
    body.extend(name.as_bytes());
    body.extend([0, 4, 3, 252, 15, 3, 3, 4, 9, 0, 0b1111]);
    body
}

fn image(a: i32, blob: usize, c: &str) -> Vec<u8> {
    let mut image = vec![0b1000];
    image.extend(a.to_le_bytes());
    image.extend(u32::try_from(blob).unwrap().to_le_bytes());
    image.extend((0..blob).map(|n| (n % 255) as u8));
    image.push(u8::try_from(c.len()).unwrap());
    image.extend(c.as_bytes());
    image
}

fn rows_body(images: &[Vec<u8>], is_update: bool) -> Vec<u8> {
    let mut body = vec![9, 0, 0, 0, 0, 0, 1, 0, 2, 0, 4, 0xff];
    if is_update {
        body.push(0xff);
    }
    body.extend(images.concat());
    body
}

fn file_of(table: &str, kind: u8, body: &[u8]) -> Builder {
    let mut file = Builder::new("9.7.0", true);
    file.gtid(1);
    file.query("BEGIN");
    file.event(19, 0, &map(table));
    file.event(kind, 0, body);
    file.xid();
    file
}

fn read(bytes: &[u8], limit: u32, projection: &[u16], parts: &[usize]) -> First {
    let mut first = First { projection: projection.to_vec(), ..First::default() };
    let mut decoder = Decoder::new(Limits { event_bytes_max: limit });
    decoder.start_file("f");
    feed_parts(&mut decoder, bytes, parts, &mut first);
    first
}

fn long_update() -> Vec<u8> {
    let images = [image(1, LONG, "one"), image(2, 10, "two"), image(3, 7, ""), image(4, LONG, "x")];
    rows_body(&images, true)
}

#[test]
fn long_values_that_nobody_wants_are_left_out() {
    let file = file_of("t", 31, &long_update());
    for parts in [&[100_000][..], &[19, 4_000_000], &[262_144, 1, 2, 3]] {
        let got = read(&file.bytes, 1 << 20, &[0, 2, 3], parts);
        assert!(got.gaps.is_empty(), "{:?}", got.gaps);
        let row = |n: i32, text: &str| {
            vec![Some(n.to_le_bytes().to_vec()), Some(text.as_bytes().to_vec()), None]
        };
        let want = [(row(1, "one"), row(2, "two")), (row(3, ""), row(4, "x"))];
        assert_eq!(got.seen, want);
        assert_eq!(got.ends, ["Commit"]);
    }
}

#[test]
fn long_value_that_is_wanted_is_a_gap_of_its_table_only() {
    let file = file_of("t", 31, &long_update());
    let got = read(&file.bytes, 1 << 20, &[1], &[262_144]);
    let [gap] = got.gaps.as_slice() else { panic!("{:?}", got.gaps) };
    assert_eq!(&*gap.table.as_ref().unwrap().table, "t");
    assert!(matches!(gap.cause, Malformed::TooLarge { bytes_max: 1_048_576, .. }), "{gap:?}");
    assert_eq!((got.seen.len(), got.ends.len()), (0, 1));
    // With room for it there is none.
    let got = read(&file.bytes, 8 << 20, &[1], &[262_144]);
    assert!(got.gaps.is_empty() && got.seen.len() == 2);
    assert_eq!(got.seen[0].0[0].as_ref().unwrap().len(), LONG);
    // Nor if nobody looks at the table at all.
    let ignored = file_of("ignored", 31, &long_update());
    let got = read(&ignored.bytes, 1 << 20, &[1], &[262_144]);
    assert!(got.gaps.is_empty() && got.ignored == 1 && got.ends == ["Commit"]);
}

#[test]
fn wrong_checksum_of_a_long_event_tells_no_row() {
    let mut file = file_of("t", 31, &long_update());
    let middle = file.bytes.len() / 2;
    file.bytes[middle] ^= 1;
    let got = read(&file.bytes, 8 << 20, &[0], &[262_144]);
    assert!(matches!(got.gaps[0].cause, Malformed::Checksum { .. }));
    assert_eq!((got.seen.len(), got.gaps.len()), (0, 1));
}

#[test]
fn mariadb_compressed_rows_are_inflated_as_they_come() {
    use std::io::Write as _;
    let plain = [image(1, LONG, "one"), image(2, LONG, "two")].concat();
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&plain).unwrap();
    let mut body = vec![9, 0, 0, 0, 0, 0, 1, 0, 4, 0xff];
    body.push(0x84);
    body.extend(u32::try_from(plain.len()).unwrap().to_be_bytes());
    body.extend(encoder.finish().unwrap());
    let mut file = Builder::new("10.11.18-MariaDB-log", true);
    file.query("BEGIN");
    file.event(19, 0, &map("t"));
    file.event(166, 0, &body);
    file.xid();
    let got = read(&file.bytes, 1 << 20, &[0], &[262_144]);
    assert!(got.gaps.is_empty(), "{:?}", got.gaps);
    let numbers: Vec<_> = got.seen.iter().map(|(_, after)| after[0].clone().unwrap()[0]).collect();
    assert_eq!(numbers, [1, 2]);
    // Short on the wire and long inside: the same.
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&plain).unwrap();
    body.truncate(15);
    body.extend(encoder.finish().unwrap());
    assert!(body.len() < 1 << 20);
    let mut file = Builder::new("10.11.18-MariaDB-log", true);
    file.query("BEGIN");
    file.event(19, 0, &map("t"));
    file.event(166, 0, &body);
    file.xid();
    let mut first = First { projection: vec![0], ..First::default() };
    let mut decoder = Decoder::new(Limits { event_bytes_max: 1 << 20 });
    decoder.start_file("f");
    files::feed(&mut decoder, &file.bytes, &mut first);
    assert!(first.gaps.is_empty() && first.seen.len() == 2, "{:?}", first.gaps);
}

fn payload_file(change: impl FnOnce(&mut Vec<u8>)) -> Builder {
    let event = |kind: u8, body: &[u8]| build::event(kind, 0, body, 0, false);
    let mut events = vec![event(2, &build::query("BEGIN")), event(19, &map("t"))];
    for n in 0..20 {
        events.push(event(30, &rows_body(&[image(n, 200_000, "short")], false)));
    }
    events.push(event(30, &rows_body(&[image(20, LONG, "long")], false)));
    events.push(event(30, &rows_body(&[image(21, 0, "last")], false)));
    events.push(event(16, &[0; 8]));
    let plain = events.concat();
    // Level 1 of incompressible bytes would be as good; what counts is that it is over 1 MiB.
    let data = zstd::encode_all(plain.as_slice(), -7).unwrap();
    let mut body = vec![2, 1, 0, 1, 5, 0xfd];
    body[4] = 4;
    body.extend(&u32::try_from(data.len()).unwrap().to_le_bytes()[..3]);
    body.extend([3, 4, 0xfd]);
    body.extend(&u32::try_from(plain.len()).unwrap().to_le_bytes()[..3]);
    body.push(0);
    body.extend(data);
    change(&mut body);
    let mut file = Builder::new("9.7.0", true);
    file.gtid(1);
    file.event(40, 0, &body);
    file
}

#[test]
fn payload_in_parts_tells_its_rows_and_its_end() {
    let file = payload_file(|_| {});
    for parts in [&[262_144][..], &[19, 1, 40_000], &[1 << 30]] {
        let got = read(&file.bytes, 1 << 20, &[0], parts);
        assert!(got.gaps.is_empty(), "{:?}", got.gaps);
        let numbers: Vec<_> =
            got.seen.iter().map(|(_, after)| after[0].as_ref().unwrap()[0]).collect();
        assert_eq!(numbers, (0..22).collect::<Vec<u8>>());
        assert_eq!(got.ends, ["Commit"]);
    }
}

#[test]
fn payload_in_parts_ends_only_if_its_checksum_fits() {
    let mut file = payload_file(|_| {});
    let last = file.bytes.len() - 1;
    file.bytes[last] ^= 1;
    let got = read(&file.bytes, 1 << 20, &[0], &[100_000]);
    assert!(matches!(got.gaps[0].cause, Malformed::Checksum { .. }));
    assert_eq!((got.gaps.len(), got.ends), (1, vec!["Torn".to_owned()]));
    // A payload that is cut short inside its event: one gap, and torn.
    let file = payload_file(|body| body.truncate(body.len() / 2));
    let got = read(&file.bytes, 1 << 20, &[0], &[100_000]);
    assert_eq!((got.gaps.len(), got.ends), (1, vec!["Torn".to_owned()]));
}

#[test]
fn parts_that_break_off_are_a_gap_or_come_again() {
    let file = payload_file(|_| {});
    let start = 4 + Header::parse(&file.bytes[4..]).unwrap().event_bytes as usize;
    let gtid = Header::parse(&file.bytes[start..]).unwrap().event_bytes as usize;
    let (head, payload) = file.bytes.split_at(start + gtid);
    let begin = || {
        let mut first = First { projection: vec![0], ..First::default() };
        let mut decoder = Decoder::new(Limits::default());
        decoder.start_file("f");
        decoder.event(4, &head[4..start], &mut first);
        decoder.event(start as u64, &head[start..], &mut first);
        let half = payload.len() / 2;
        let at = head.len() as u64;
        decoder.part(at, &payload[..half], (payload.len() - half) as u64, &mut first);
        (first, decoder)
    };
    let (mut first, mut decoder) = begin();
    decoder.finish(&mut first);
    assert_eq!((first.gaps.len(), first.ends.as_slice()), (1, &["Torn".to_owned()][..]));
    // A new connection brings the transaction again: no gap.
    let (mut first, mut decoder) = begin();
    decoder.start_file("f");
    decoder.event(4, &head[4..start], &mut first);
    assert_eq!((first.gaps.len(), first.ends.as_slice()), (0, &["Torn".to_owned()][..]));
}

#[test]
fn texts_that_are_not_read_are_passed_over() {
    let mut file = Builder::new("9.7.0", true);
    file.gtid(1);
    file.query("BEGIN");
    file.event(29, 0, &vec![b'x'; 4 << 20]);
    file.query(&format!("INSERT INTO t VALUES ('{}')", "x".repeat(4 << 20)));
    file.xid();
    let got = read(&file.bytes, 1 << 20, &[0], &[262_144]);
    // The statement is over the limit; its text is not guessed at.
    assert_eq!((got.gaps.len(), got.ends), (1, vec!["Commit".to_owned()]));
    assert!(matches!(got.gaps[0].cause, Malformed::TooLarge { .. }));
}

#[test]
fn payload_inflated_before_tells_the_same() {
    let mut inflater = Inflater::default();
    let mut inflated = 0;
    for (name, bytes) in files::binlogs() {
        let mut whole = Log::default();
        files::decode(&name, &bytes, &mut whole);
        if !whole.gaps.is_empty() {
            continue;
        }
        let mut ahead = Log::default();
        let mut decoder = Decoder::new(Limits::default());
        decoder.start_file(&name);
        let mut offset = 4;
        while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            let header = Header::parse(rest).unwrap();
            let event = &rest[..header.event_bytes as usize];
            let is_payload = header.kind == 40;
            match inflater.payload(event, decoder.checksums(), 1 << 20).filter(|_| is_payload) {
                Some(plain) => {
                    inflated += 1;
                    decoder.inflated(offset as u64, event, plain, &mut ahead);
                }
                None => drop(decoder.event(offset as u64, event, &mut ahead)),
            }
            offset += event.len();
        }
        decoder.finish(&mut ahead);
        assert_eq!(ahead.text, whole.text, "{name}");
    }
    assert!(inflated > 0);
}
