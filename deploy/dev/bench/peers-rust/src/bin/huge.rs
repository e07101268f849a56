//! Makes binlogs of a size that no test server would write in reasonable time, from events that a real one has written.
//!
//! - `huge transaction FROM TO BYTES`: the first transaction of FROM with updates; its rows events are repeated
//! - `huge row FROM TO BYTES`: one INSERT into queue_message of FROM; its last column has BYTES bytes
//!
//! Positions, lengths and checksums are made anew, so that every reader must take the file for a real one.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
};

use anyhow::{Context, bail, ensure};

const HEADER: usize = 19;
const QUERY: u8 = 2;
const FORMAT_DESCRIPTION: u8 = 15;
const XID: u8 = 16;
const TABLE_MAP: u8 = 19;
const WRITE_ROWS: u8 = 30;
const UPDATE_ROWS: u8 = 31;
const GTID: u8 = 33;
const PREVIOUS_GTIDS: u8 = 35;
const STATEMENT_ENDS: u8 = 1;
/// Rows events that are repeated, bytes.
const REPEATED: usize = 32 << 20;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, from, to, bytes] = &arguments[..] else { bail!("what, from, to, bytes") };
    let bytes: u64 = bytes.parse()?;
    let mut from = Events { file: BufReader::with_capacity(1 << 20, File::open(from)?) };
    from.file.read_exact(&mut [0; 4])?;
    let mut to = Log { file: BufWriter::with_capacity(1 << 20, File::create(to)?), position: 4 };
    to.file.write_all(b"\xfebin")?;
    match what.as_str() {
        "transaction" => transaction(&mut from, &mut to, bytes)?,
        "row" => row(&mut from, &mut to, bytes)?,
        _ => bail!("transaction or row"),
    }
    Ok(to.file.flush()?)
}

/// Whole events with header, without checksum.
struct Events {
    file: BufReader<File>,
}

impl Events {
    fn next(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut event = vec![0; HEADER];
        self.file.read_exact(&mut event).context("no such transaction in this file")?;
        let size = u32::from_le_bytes(event[9..13].try_into()?) as usize;
        event.resize(size, 0);
        self.file.read_exact(&mut event[HEADER..])?;
        event.truncate(size - 4);
        Ok(event)
    }

    /// Copies the head of the file, then finds the transaction that has an event like that.
    fn find(
        &mut self,
        to: &mut Log,
        is_it: impl Fn(&[u8]) -> bool,
    ) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut open = Vec::new();
        loop {
            let event = self.next()?;
            match event[4] {
                FORMAT_DESCRIPTION | PREVIOUS_GTIDS => to.write(event, 0)?,
                GTID => open = vec![event],
                _ => {
                    let is_found = is_it(&event);
                    open.push(event);
                    if is_found {
                        return Ok(open);
                    }
                }
            }
        }
    }
}

struct Log {
    file: BufWriter<File>,
    position: u64,
}

impl Log {
    /// `filler` is the number of bytes `x` at the end.
    fn write(&mut self, mut event: Vec<u8>, filler: u64) -> anyhow::Result<()> {
        let size = event.len() as u64 + filler + 4;
        self.position += size;
        event[9..13].copy_from_slice(&u32::try_from(size)?.to_le_bytes());
        event[13..17].copy_from_slice(&(self.position as u32).to_le_bytes()); // wraps, as a server's does
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&event);
        self.file.write_all(&event)?;
        let chunk = [b'x'; 1 << 16];
        let mut left = filler as usize;
        while left > 0 {
            let some = &chunk[..left.min(chunk.len())];
            checksum.update(some);
            self.file.write_all(some)?;
            left -= some.len();
        }
        Ok(self.file.write_all(&checksum.finalize().to_le_bytes())?)
    }
}

/// The GTID event tells the length of its transaction, itself included.
fn with_length(mut gtid: Vec<u8>, body: u64) -> anyhow::Result<Vec<u8>> {
    let has_original = gtid[HEADER + 48] & 0x80 != 0;
    let at = HEADER + if has_original { 56 } else { 49 };
    let old = match gtid[at] {
        0xfc => 3,
        0xfd => 4,
        0xfe => 9,
        _ => 1,
    };
    let mut length = vec![0xfe];
    length.extend((gtid.len() as u64 - old as u64 + 9 + 4 + body).to_le_bytes());
    gtid.splice(at..at + old, length);
    Ok(gtid)
}

fn xid(events: &mut Events) -> anyhow::Result<Vec<u8>> {
    loop {
        let event = events.next()?;
        if event[4] == XID {
            return Ok(event);
        }
    }
}

fn transaction(from: &mut Events, to: &mut Log, bytes: u64) -> anyhow::Result<()> {
    let mut head = from.find(to, |event| event[4] == UPDATE_ROWS)?;
    let mut repeated = vec![head.pop().context("no rows")?];
    let mut size = 0;
    while size < REPEATED {
        let event = from.next()?;
        if event[4] != UPDATE_ROWS || event[HEADER + 6] & STATEMENT_ENDS != 0 {
            break;
        }
        size += event.len() + 4;
        repeated.push(event);
    }
    let size: u64 = repeated.iter().map(|event| event.len() as u64 + 4).sum();
    let rounds = bytes.div_ceil(size);
    let end = xid(from)?;
    let others: u64 = head[1..].iter().chain([&end]).map(|event| event.len() as u64 + 4).sum();
    head[0] = with_length(head[0].clone(), others + rounds * size)?;
    for event in head {
        to.write(event, 0)?;
    }
    for round in 1..=rounds {
        for (index, event) in repeated.iter().enumerate() {
            let mut event = event.clone();
            if round == rounds && index + 1 == repeated.len() {
                event[HEADER + 6] |= STATEMENT_ENDS;
            }
            to.write(event, 0)?;
        }
    }
    to.write(end, 0)
}

fn row(from: &mut Events, to: &mut Log, bytes: u64) -> anyhow::Result<()> {
    let name = b"\x0dqueue_message\0";
    let mut open = from.find(to, |event| {
        event[4] == TABLE_MAP && event.windows(name.len()).any(|some| some == name)
    })?;
    let mut rows = from.next()?;
    ensure!(rows[4] == WRITE_ROWS, "queue_message was not inserted into");
    // Table id, flags, no extra data, three columns, all present, none null, id; then topic (length in two bytes) and
    // body (length in four).
    let topic = HEADER + 8 + 2 + 1 + 1 + 1 + 8;
    let body = topic + 2 + u16::from_le_bytes(rows[topic..topic + 2].try_into()?) as usize;
    rows.truncate(body);
    rows.extend(u32::try_from(bytes)?.to_le_bytes());
    rows[HEADER + 6] |= STATEMENT_ENDS;
    let end = xid(from)?;
    let (query, table) = (
        open.iter().find(|event| event[4] == QUERY).context("no BEGIN")?.clone(),
        open.pop().context("no table map")?,
    );
    let length =
        [&query, &table, &rows, &end].iter().map(|event| event.len() as u64 + 4).sum::<u64>()
            + bytes;
    to.write(with_length(open.swap_remove(0), length)?, 0)?;
    to.write(query, 0)?;
    to.write(table, 0)?;
    to.write(rows, bytes)?;
    to.write(end, 0)
}
