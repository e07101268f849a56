//! Whether a header can be trusted, and where reading goes on if not.
//!
//! A header's size and end position confirm each other. Where they do not (damage, relay logs,
//! MariaDB's events without a position), the checksum or the following header must speak for the
//! size; else the event's end position is tried, and last the file is searched for the next event.

use std::{fs::File, io, os::unix::fs::FileExt};

use phiwatch_binlog::{
    Malformed,
    framing::{HEADER_BYTES, Header, plausible_next, resync},
};

use crate::live::event::kind;

/// No server writes larger events (`max_allowed_packet` is at most 1 GiB, and there is a header).
const EVENT_BYTES_MAX: u32 = (1 << 30) + (1 << 20);
/// The checksum of a larger event cannot speak for its size.
const CHECKED_BYTES_MAX: u32 = 128 << 20;
/// Searched at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// What stands at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An event of this many bytes, all there.
    Event(usize),
    /// An event of this many bytes, to be handed over in parts.
    Large(u64),
    /// Not decided before more is read.
    More,
    /// None; the next one stands behind these bytes.
    Damage { bytes: u64, cause: Malformed },
}

pub(super) struct Framing<'a> {
    pub(super) file: &'a File,
    pub(super) checksums: bool,
    /// A larger event is handed over in parts.
    pub(super) whole_bytes_max: u32,
}

impl Framing<'_> {
    /// Judges the event at `at`, of which `bytes` (with the header) were read.
    pub(super) fn judge(&self, header: &Header, bytes: &[u8], at: u64) -> io::Result<Verdict> {
        let size = u64::from(header.event_bytes);
        let end = at + size;
        let confirmed = size >= HEADER_BYTES as u64 && low(end) == header.log_pos;
        if header.kind == kind::START_ENCRYPTION && confirmed {
            let bytes = self.file_bytes()?.saturating_sub(at);
            return Ok(Verdict::Damage { bytes, cause: Malformed::Encrypted });
        }
        if confirmed && header.event_bytes <= self.whole_bytes_max {
            return match usize::try_from(size) {
                Ok(size) if size <= bytes.len() => Ok(Verdict::Event(size)),
                _ => self.more(at, end, size),
            };
        }
        if confirmed && end <= self.file_bytes()? {
            return Ok(Verdict::Large(size));
        }
        self.judge_unconfirmed(header, bytes, at)
    }

    /// The event's size is good, but not all of it was read: is it there at all?
    fn more(&self, at: u64, end: u64, needed: u64) -> io::Result<Verdict> {
        let file_bytes = self.file_bytes()?;
        if end <= file_bytes {
            return Ok(Verdict::More);
        }
        let left = file_bytes.saturating_sub(at);
        Ok(Verdict::Damage {
            bytes: left,
            cause: Malformed::Truncated { field: "event", needed, left },
        })
    }

    /// Size and end position do not fit each other.
    fn judge_unconfirmed(&self, header: &Header, bytes: &[u8], at: u64) -> io::Result<Verdict> {
        let size = u64::from(header.event_bytes);
        let end = at + size;
        let file_bytes = self.file_bytes()?;
        let possible = header.check(EVENT_BYTES_MAX, self.checksums).is_ok() && end <= file_bytes;
        if possible && self.speaks_for(header, bytes, at, end, file_bytes)? {
            return Ok(match usize::try_from(size) {
                _ if header.event_bytes > self.whole_bytes_max => Verdict::Large(size),
                Ok(size) if size <= bytes.len() => Verdict::Event(size),
                _ => Verdict::More,
            });
        }
        let cause = if end > file_bytes && size <= u64::from(EVENT_BYTES_MAX) {
            Malformed::Truncated {
                field: "event",
                needed: size,
                left: file_bytes.saturating_sub(at),
            }
        } else {
            header.check(EVENT_BYTES_MAX, self.checksums).err().unwrap_or(Malformed::NoEvent)
        };
        // The size is wrong, but the end position may be right.
        let distance = header.log_pos.wrapping_sub(low(at));
        let told = at + u64::from(distance);
        if header.log_pos != 0
            && distance as usize >= HEADER_BYTES
            && distance <= EVENT_BYTES_MAX
            && (told == file_bytes || self.event_at(told, true)?)
        {
            let found = u64::from(distance);
            let cause = Malformed::EventSize { claimed: size, found };
            return Ok(Verdict::Damage { bytes: found, cause });
        }
        let next = self.search(at + 1, file_bytes)?;
        Ok(Verdict::Damage { bytes: next.unwrap_or(file_bytes).saturating_sub(at), cause })
    }

    /// Whether the following header or the checksum confirms the size.
    fn speaks_for(
        &self,
        header: &Header,
        bytes: &[u8],
        at: u64,
        end: u64,
        file_bytes: u64,
    ) -> io::Result<bool> {
        // An event's own position is wrong, not missing: only a position in the next one counts.
        let strict = header.log_pos != 0;
        let size = header.event_bytes as usize;
        let follows = match bytes.get(size..).map(Header::parse) {
            Some(Ok(next)) => {
                plausible_next(&next, end, EVENT_BYTES_MAX) && !(strict && next.log_pos == 0)
            }
            // Nothing follows, or a cut header that cannot speak for anything.
            _ if file_bytes.saturating_sub(end) < HEADER_BYTES as u64 => !strict || !self.checksums,
            _ => self.event_at(end, strict)?,
        };
        // A claim of a gigabyte is not worth reading one.
        let is_checked = self.checksums && header.event_bytes <= CHECKED_BYTES_MAX;
        Ok(follows || is_checked && self.crc32_fits(at, end)?)
    }

    fn event_at(&self, offset: u64, strict: bool) -> io::Result<bool> {
        let mut bytes = [0; HEADER_BYTES];
        if self.read_at(&mut bytes, offset)? < HEADER_BYTES {
            return Ok(false);
        }
        Ok(Header::parse(&bytes).is_ok_and(|next| {
            plausible_next(&next, offset, EVENT_BYTES_MAX) && !(strict && next.log_pos == 0)
        }))
    }

    /// Whether the last four of the bytes are the CRC32 of the others.
    fn crc32_fits(&self, at: u64, end: u64) -> io::Result<bool> {
        let Some(covered) = end.checked_sub(4) else { return Ok(false) };
        let mut hasher = crc32fast::Hasher::new();
        let mut buffer = vec![0; 64 << 10];
        let mut offset = at;
        while offset < covered {
            let want = usize::try_from(covered - offset).unwrap_or(usize::MAX).min(buffer.len());
            let count = self.read_at(&mut buffer[..want], offset)?;
            if count == 0 {
                return Ok(false);
            }
            hasher.update(&buffer[..count]);
            offset += count as u64;
        }
        let mut found = [0; 4];
        let count = self.read_at(&mut found, covered)?;
        Ok(count == 4 && hasher.finalize() == u32::from_le_bytes(found))
    }

    fn search(&self, from: u64, file_bytes: u64) -> io::Result<Option<u64>> {
        let mut window = vec![0; WINDOW_BYTES];
        let mut at = from;
        while at < file_bytes {
            let count = self.read_at(&mut window, at)?;
            if let Some(index) = resync(&window[..count], at, self.checksums, EVENT_BYTES_MAX) {
                return Ok(Some(at + index as u64));
            }
            if count < HEADER_BYTES {
                break;
            }
            at += (count - (HEADER_BYTES - 1)) as u64;
        }
        Ok(None)
    }

    fn file_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// As much of the buffer as the file has.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

fn low(offset: u64) -> u32 {
    let [a, b, c, d, ..] = offset.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
