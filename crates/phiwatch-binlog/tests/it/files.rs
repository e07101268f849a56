//! Recorded binlogs, and the loop that feeds one to a decoder.

use std::path::{Path, PathBuf};

use phiwatch_binlog::framing::{self, HEADER_BYTES, Header};
use phiwatch_binlog::{Decoder, Limits, Malformed, Visitor};

pub fn types() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/types")
}

/// Every recorded binlog, with its name relative to the folder.
pub fn binlogs() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for server in std::fs::read_dir(types()).unwrap() {
        let server = server.unwrap().path();
        for file in std::fs::read_dir(&server).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "binlog") {
                let name = file.strip_prefix(types()).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read(&file).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 40, "the recordings are missing");
    found
}

pub fn binlog(name: &str) -> Vec<u8> {
    std::fs::read(types().join(name)).unwrap()
}

/// Reads a whole file as a file reader does: event by event, and on to the next one after damage.
pub fn feed(decoder: &mut Decoder, bytes: &[u8], visitor: &mut impl Visitor) {
    let max = Limits::default().event_bytes_max;
    let mut offset = 4_usize;
    while offset < bytes.len() {
        let rest = &bytes[offset..];
        let at = offset as u64;
        let header = Header::parse(rest);
        let claim = header.and_then(|header| {
            header.check(max, decoder.checksums())?;
            let claimed = u64::from(header.event_bytes);
            let found = rest.len() as u64;
            let split = rest.split_at_checked(header.event_bytes as usize);
            let (event, next) = split.ok_or(Malformed::EventSize { claimed, found })?;
            // The next header vouches for this one's size.
            let is_next = next.len() < HEADER_BYTES
                || framing::plausible_next(&Header::parse(next)?, at + claimed, max);
            let is_this = framing::plausible_next(&header, at, max);
            let is_whole = framing::crc32_fits(event);
            if is_next || is_this || is_whole {
                Ok(claimed as usize)
            } else {
                Err(Malformed::NoEvent)
            }
        });
        match claim {
            Ok(size) => {
                decoder.event(at, &rest[..size], visitor);
                offset += size;
            }
            Err(cause) => {
                let skip = framing::resync(&rest[1..], at + 1, decoder.checksums(), max);
                let skip = skip.map_or(rest.len(), |skip| skip + 1);
                decoder.damaged(at, skip as u64, cause, visitor);
                offset += skip;
            }
        }
    }
    decoder.finish(visitor);
}

/// Decodes one file.
pub fn decode(name: &str, bytes: &[u8], visitor: &mut impl Visitor) {
    let mut decoder = Decoder::new(Limits::default());
    decoder.start_file(name);
    feed(&mut decoder, bytes, visitor);
}
