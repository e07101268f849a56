//! An event too large to be held whole: handed over in parts as its packet arrives.

use std::sync::atomic::Ordering;

use phiwatch_binlog::{
    Malformed,
    framing::{HEADER_BYTES, Header},
};

use super::reader::Reader;
use crate::{Item, SourceError};

/// What the tracker reads of an event; the text of a statement begins after at most 64 KiB.
const HEAD_BYTES: usize = 80 << 10;

/// The packet under way, once so much of it has arrived that it is not held whole.
pub(super) enum LargePacket {
    /// It holds an event.
    Event {
        header: Header,
        offset: u64,
        /// The event's first bytes.
        head: Vec<u8>,
        /// Bytes of the event that have not arrived.
        left: u64,
        /// It was not delivered before.
        deliver: bool,
    },
    /// It holds more than the event that it begins with says: read to its end.
    Damage { claimed: u64, bytes: u64 },
}

impl Reader {
    /// Uses what has arrived of an unfinished packet, if that is much. False if nobody reads the
    /// queue.
    pub(super) async fn large_packet(&mut self) -> Result<bool, SourceError> {
        let Some(start) = self.connection.packets.unfinished() else { return Ok(true) };
        let arrived = self.batch.bytes.len().saturating_sub(start);
        if self.large.is_none() && arrived <= self.config.whole_bytes_max as usize {
            return Ok(true);
        }
        self.large_part(start)?;
        self.connection.packets.used_up_to(self.batch.bytes.len());
        Ok(self.flush().await)
    }

    /// The rest of a packet that was used in parts has arrived.
    pub(super) fn large_ends(&mut self, start: usize) -> Result<(), SourceError> {
        self.large_part(start)?;
        match self.large.take() {
            Some(LargePacket::Event { header, offset, head, left: 0, .. }) => {
                // Whether it was delivered is decided: no honest server has a format description
                // or an event of its own making of this size, about which the tracker would differ.
                let _decided = self.tracker.event(&header, &head, offset);
                self.after_event(&header)?;
                self.is_settled = true;
            }
            Some(LargePacket::Event { header, left, .. }) => {
                let claimed = u64::from(header.event_bytes);
                self.damage(
                    start,
                    claimed - left,
                    Malformed::EventSize { claimed, found: claimed - left },
                );
            }
            Some(LargePacket::Damage { claimed, bytes }) => {
                self.damage(start, bytes, Malformed::EventSize { claimed, found: bytes });
            }
            None => {}
        }
        Ok(())
    }

    fn large_part(&mut self, start: usize) -> Result<(), SourceError> {
        let arrived = self.batch.bytes.len() - start;
        let (mut large, skip) = match self.large.take() {
            Some(large) => (large, 0),
            // One byte of the packet is its status.
            None => (self.large_begins(start)?, 1),
        };
        let bytes = (arrived - skip) as u64;
        self.shared.received_bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut keep = false;
        match &mut large {
            LargePacket::Event { offset, left, deliver, .. } if bytes <= *left => {
                *left -= bytes;
                if *deliver && bytes > 0 {
                    let range = start + skip..self.batch.bytes.len();
                    self.batch.items.push(Item::Part { offset: *offset, range, left: *left });
                    keep = true;
                }
            }
            LargePacket::Event { header, left, .. } => {
                let claimed = u64::from(header.event_bytes);
                large = LargePacket::Damage { claimed, bytes: claimed - *left + bytes };
            }
            LargePacket::Damage { bytes: sum, .. } => *sum += bytes,
        }
        if !keep {
            self.batch.bytes.truncate(start);
        }
        if let LargePacket::Damage { bytes, .. } = large
            && bytes > u64::from(u32::MAX)
        {
            return Err(self.connection.protocol("a packet longer than any event"));
        }
        self.large = Some(large);
        Ok(())
    }

    fn large_begins(&mut self, start: usize) -> Result<LargePacket, SourceError> {
        let packet = &self.batch.bytes[start..];
        let event = match packet.split_first() {
            Some((0, event)) if event.len() >= HEADER_BYTES => event,
            _ => return Err(self.connection.protocol("a long packet that is no event")),
        };
        let Ok(header) = Header::parse(event) else {
            return Err(self.connection.protocol("a long packet that is no event"));
        };
        let left = u64::from(header.event_bytes);
        if left < event.len() as u64 {
            return Ok(LargePacket::Damage { claimed: left, bytes: 0 });
        }
        let offset = self.tracker.place(&header);
        if header.advances() {
            // What is wrong with it from here on is told where it begins.
            self.tracker.reach(offset);
        }
        let head = event[..event.len().min(HEAD_BYTES)].to_vec();
        let deliver = self.tracker.delivers(offset);
        Ok(LargePacket::Event { header, offset, head, left, deliver })
    }
}
