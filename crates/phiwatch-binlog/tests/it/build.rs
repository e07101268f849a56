//! Events built by hand, for what no recording holds.

use phiwatch_binlog::framing::HEADER_BYTES;

/// A file's bytes while it is written.
pub struct Builder {
    pub bytes: Vec<u8>,
    checksums: bool,
}

impl Builder {
    /// A file with its format description.
    pub fn new(version: &str, checksums: bool) -> Self {
        Self::of_types(version, checksums, 42)
    }

    /// The same for a server that knows so many event types: 5.5 knows 27, 5.6 35, 5.7 38, 8.0 41,
    /// 8.4 and 9 42.
    pub fn of_types(version: &str, checksums: bool, types: usize) -> Self {
        let mut builder = Self { bytes: b"\xfebin".to_vec(), checksums };
        let mut body = vec![4, 0];
        let mut name = version.as_bytes().to_vec();
        name.resize(50, 0);
        body.extend(name);
        body.extend([0, 0, 0, 0, 19]);
        let mut lengths = vec![0; 42];
        lengths[1] = 13;
        lengths[18] = 8;
        for index in 22..25 {
            lengths[index] = 8;
            lengths[index + 7] = 10;
        }
        lengths.truncate(types);
        body.extend(lengths);
        // From 5.6.1 on it says whether events have checksums, and has one itself in any case.
        if types > 27 {
            body.push(u8::from(checksums));
            builder.checksums = true;
        }
        builder.event(15, 0, &body);
        builder.checksums = checksums;
        builder
    }

    /// Appends an event; returns its start.
    pub fn event(&mut self, kind: u8, flags: u16, body: &[u8]) -> u64 {
        let start = self.bytes.len();
        let size = HEADER_BYTES + body.len() + if self.checksums { 4 } else { 0 };
        let log_pos = start + size;
        let event = event(kind, flags, body, u32::try_from(log_pos).unwrap(), self.checksums);
        self.bytes.extend(event);
        start as u64
    }

    pub fn query(&mut self, text: &str) -> u64 {
        self.event(2, 0, &query(text))
    }

    /// MySQL GTID number `number`.
    pub fn gtid(&mut self, number: u64) -> u64 {
        let body = [&[1][..], &[0xaa; 16], &number.to_le_bytes()].concat();
        self.event(33, 0, &body)
    }

    pub fn xid(&mut self) -> u64 {
        self.event(16, 0, &[0; 8])
    }
}

/// One event, with its checksum if `checksum`.
pub fn event(kind: u8, flags: u16, body: &[u8], log_pos: u32, checksum: bool) -> Vec<u8> {
    let size = HEADER_BYTES + body.len() + if checksum { 4 } else { 0 };
    let mut event = 1_700_000_000_u32.to_le_bytes().to_vec();
    event.push(kind);
    event.extend(1_u32.to_le_bytes());
    event.extend(u32::try_from(size).unwrap().to_le_bytes());
    event.extend(log_pos.to_le_bytes());
    event.extend(flags.to_le_bytes());
    event.extend(body);
    if checksum {
        event.extend(crc32fast::hash(&event).to_le_bytes());
    }
    event
}

pub fn query(text: &str) -> Vec<u8> {
    let mut body = 7_u32.to_le_bytes().to_vec();
    body.extend([0, 0, 0, 0, 1, 0, 0, 0, 0]);
    body.extend(b"d\0");
    body.extend(text.as_bytes());
    body
}

/// `d.t` with one INT column named `a`.
pub fn table_map(id: u8) -> Vec<u8> {
    let mut body = vec![id, 0, 0, 0, 0, 0, 1, 0];
    body.extend(b"\x01d\0\x01t\0");
    body.extend([1, 3, 0, 0]);
    body.extend([4, 2, 1, b'a']);
    body
}

/// An INSERT of one INT per row, the last event of its statement.
pub fn write_rows(id: u8, values: &[i32]) -> Vec<u8> {
    let mut body = vec![id, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 1];
    for value in values {
        body.push(0);
        body.extend(value.to_le_bytes());
    }
    body
}
