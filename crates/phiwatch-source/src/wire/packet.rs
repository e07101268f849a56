//! Packets: 3 bytes length, 1 byte sequence number, payload; a payload of 2^24 - 1 bytes or more
//! goes on in further frames.
//!
//! # Invariants
//! - A payload grows as its bytes arrive; a length is never allocated.
//! - One over the limit is read to its end and thrown away, but for its first bytes.
//! - [`PacketStream::fill`] may be cancelled at any point: all state is in the stream.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest payload of one frame; exactly this means that another frame follows.
const FRAME_BYTES_MAX: usize = 0xff_ffff;
/// What is kept of a refused payload: enough for a status byte and an event's header.
const KEPT_BYTES: usize = 64;
/// Read buffer: many small events in one system call.
const BUFFER_BYTES: usize = 128 << 10;

/// Anything that bytes can be exchanged with.
pub(crate) trait Link: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Link for T {}

/// How a packet arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Its payload was appended, from `start` on.
    Whole { start: usize },
    /// Its payload of `bytes` was over the limit; only the first ones were appended.
    Refused { start: usize, bytes: u64 },
}

/// A connection cut into packets.
pub(crate) struct PacketStream {
    link: Box<dyn Link>,
    buffer: Box<[u8]>,
    head: usize,
    tail: usize,
    sequence: u8,
    /// The payload being read, if one is.
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    /// Where it begins in the caller's vector.
    start: usize,
    frame_left: usize,
    last_frame: bool,
    bytes: u64,
    refused: bool,
}

impl PacketStream {
    pub(crate) fn new(link: Box<dyn Link>) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { link, buffer, head: 0, tail: 0, sequence: 0, open: None }
    }

    /// The sequence numbers start again: a new command.
    pub(crate) fn reset_sequence(&mut self) {
        self.sequence = 0;
    }

    /// Goes on counting from a number (after TLS was put below).
    pub(crate) fn set_sequence(&mut self, sequence: u8) {
        self.sequence = sequence;
    }

    /// Reads what the other side has sent; 0 = it closed.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        if self.head == self.tail {
            (self.head, self.tail) = (0, 0);
        } else if self.tail == self.buffer.len() {
            // Only the four bytes of a frame's head can be left over.
            self.buffer.copy_within(self.head..self.tail, 0);
            (self.head, self.tail) = (0, self.tail - self.head);
        }
        let count = self.link.read(&mut self.buffer[self.tail..]).await?;
        self.tail += count;
        Ok(count)
    }

    /// Moves bytes that have arrived to the end of `out`; `Some` when a packet is complete.
    ///
    /// # Errors
    /// A frame out of sequence.
    pub(crate) fn advance(
        &mut self,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Option<Packet>, &'static str> {
        let packet = |Open { start, bytes, refused, .. }| match refused {
            true => Packet::Refused { start, bytes },
            false => Packet::Whole { start },
        };
        Ok(self.complete(out, bytes_max)?.map(packet))
    }

    /// The same without a limit: where the complete packet's payload begins in `out`.
    ///
    /// # Errors
    /// A frame out of sequence.
    pub(crate) fn advance_whole(
        &mut self,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, &'static str> {
        Ok(self.complete(out, usize::MAX)?.map(|open| open.start))
    }

    fn complete(
        &mut self,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Option<Open>, &'static str> {
        loop {
            if self.open.is_none_or(|open| open.frame_left == 0) && !self.frame(out, bytes_max)? {
                return Ok(None);
            }
            let Some(mut open) = self.open.take() else { return Ok(None) };
            let count = open.frame_left.min(self.tail - self.head);
            let room = KEPT_BYTES.saturating_sub(out.len() - open.start);
            let kept = if open.refused { count.min(room) } else { count };
            out.extend_from_slice(&self.buffer[self.head..self.head + kept]);
            self.head += count;
            open.frame_left -= count;
            if open.frame_left == 0 && open.last_frame {
                return Ok(Some(open));
            }
            let wait = open.frame_left > 0;
            self.open = Some(open);
            if wait {
                return Ok(None);
            }
        }
    }

    /// Reads a frame's head; false if it has not arrived.
    fn frame(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<bool, &'static str> {
        let Some([a, b, c, sequence]) = self.buffer[self.head..self.tail].first_chunk::<4>() else {
            return Ok(false);
        };
        if *sequence != self.sequence {
            return Err("packets out of order");
        }
        let length = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
        self.sequence = self.sequence.wrapping_add(1);
        self.head += 4;
        let mut open = self.open.take().unwrap_or(Open {
            start: out.len(),
            frame_left: 0,
            last_frame: false,
            bytes: 0,
            refused: false,
        });
        open.frame_left = length;
        open.last_frame = length < FRAME_BYTES_MAX;
        open.bytes += length as u64;
        if !open.refused && open.bytes > bytes_max as u64 {
            open.refused = true;
            out.truncate(out.len().min(open.start + KEPT_BYTES));
        }
        self.open = Some(open);
        Ok(true)
    }

    /// Where what has arrived of an unfinished packet begins in the caller's vector.
    pub(crate) fn unfinished(&self) -> Option<usize> {
        self.open.map(|open| open.start)
    }

    /// What has arrived of an unfinished packet was used: it goes on at `start`.
    pub(crate) fn used_up_to(&mut self, start: usize) {
        if let Some(open) = &mut self.open {
            open.start = start;
        }
    }

    /// Moves what has arrived of an unfinished packet out of `out` into a vector of its own, where
    /// the packet goes on.
    pub(crate) fn detach(&mut self, out: &mut Vec<u8>, rest: &mut Vec<u8>) {
        if let Some(open) = &mut self.open {
            let start = open.start.min(out.len());
            open.start = rest.len();
            rest.extend_from_slice(&out[start..]);
            out.truncate(start);
        }
    }

    /// Sends one packet.
    pub(crate) async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut frames = Vec::with_capacity(payload.len() + 8);
        let mut rest = payload;
        loop {
            let (frame, tail) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
            // Bounded by FRAME_BYTES_MAX: the fourth byte is 0.
            let [a, b, c, ..] = frame.len().to_le_bytes();
            frames.extend([a, b, c, self.sequence]);
            frames.extend_from_slice(frame);
            self.sequence = self.sequence.wrapping_add(1);
            if frame.len() < FRAME_BYTES_MAX {
                break;
            }
            rest = tail;
        }
        self.link.write_all(&frames).await?;
        self.link.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Packet = Packet::Whole { start: 0 };

    fn frame(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let [a, b, c, ..] = payload.len().to_le_bytes();
        [&[a, b, c, sequence], payload].concat()
    }

    /// Feeds the bytes in pieces; returns the packets' payloads and how each arrived.
    async fn read(bytes: Vec<u8>, piece: usize, bytes_max: usize) -> Vec<(Vec<u8>, Packet)> {
        let (mut far, near) = tokio::io::duplex(piece);
        let writer = tokio::spawn(async move {
            far.write_all(&bytes).await.unwrap();
        });
        let mut stream = PacketStream::new(Box::new(near));
        let mut packets = Vec::new();
        let mut out = Vec::new();
        loop {
            while let Some(packet) = stream.advance(&mut out, bytes_max).unwrap() {
                packets.push((std::mem::take(&mut out), packet));
            }
            let mut rest = Vec::new();
            stream.detach(&mut out, &mut rest);
            out = rest;
            if stream.fill().await.unwrap() == 0 {
                break;
            }
        }
        writer.await.unwrap();
        assert!(stream.open.is_none() && stream.head == stream.tail);
        packets
    }

    #[tokio::test]
    async fn pieces_do_not_matter() {
        let bytes = [frame(0, b"a"), frame(1, b""), frame(2, &[7; 1000])].concat();
        for piece in [1, 3, 5, 4096] {
            let packets = read(bytes.clone(), piece, 1000).await;
            let sizes: Vec<_> =
                packets.iter().map(|(payload, packet)| (payload.len(), *packet)).collect();
            assert_eq!(sizes, [(1, WHOLE), (0, WHOLE), (1000, WHOLE)]);
        }
    }

    #[tokio::test]
    async fn payload_over_the_limit_is_passed_over() {
        let bytes = [frame(0, &[7; 1001]), frame(1, b"next")].concat();
        let packets = read(bytes, 100, 1000).await;
        assert_eq!(packets[0], (vec![7; KEPT_BYTES], Packet::Refused { start: 0, bytes: 1001 }));
        assert_eq!(packets[1], (b"next".to_vec(), WHOLE));
    }

    #[tokio::test]
    async fn payload_goes_on_in_further_frames() {
        let long = vec![1; FRAME_BYTES_MAX];
        let bytes = [frame(0, &long), frame(1, b"end"), frame(2, &long), frame(3, b"")].concat();
        let packets = read(bytes, 1 << 20, 1 << 25).await;
        assert_eq!(packets[0].0.len(), FRAME_BYTES_MAX + 3);
        assert!(packets[0].0.ends_with(b"\x01end"));
        assert_eq!(packets[1].0.len(), FRAME_BYTES_MAX);
        assert_eq!(packets.len(), 2);
    }

    #[tokio::test]
    async fn long_payload_over_the_limit_is_passed_over() {
        let long = vec![1; FRAME_BYTES_MAX];
        let bytes =
            [frame(0, &long), frame(1, &long), frame(2, b"end"), frame(3, b"next")].concat();
        let packets = read(bytes, 1 << 20, FRAME_BYTES_MAX + 10).await;
        let size = 2 * FRAME_BYTES_MAX as u64 + 3;
        assert_eq!(packets[0], (vec![1; KEPT_BYTES], Packet::Refused { start: 0, bytes: size }));
        assert_eq!(packets[1].0, b"next");
    }

    #[tokio::test]
    async fn frame_out_of_sequence_is_an_error() {
        let (mut far, near) = tokio::io::duplex(64);
        far.write_all(&frame(5, b"x")).await.unwrap();
        let mut stream = PacketStream::new(Box::new(near));
        stream.fill().await.unwrap();
        assert!(stream.advance(&mut Vec::new(), 100).is_err());
    }

    #[tokio::test]
    async fn sent_payload_reads_back() {
        for size in [0, 5, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1] {
            let (far, near) = tokio::io::duplex(1 << 16);
            let writer = tokio::spawn(async move {
                PacketStream::new(Box::new(far)).send(&vec![9; size]).await.unwrap();
            });
            let mut stream = PacketStream::new(Box::new(near));
            let mut out = Vec::new();
            while stream.advance(&mut out, usize::MAX).unwrap().is_none() {
                assert!(stream.fill().await.unwrap() > 0);
            }
            assert_eq!(out, vec![9; size]);
            writer.await.unwrap();
        }
    }
}
