//! Files read ahead: reading, checksums and decompression on other cores than decoding.
//!
//! From the first compressed transaction on, one thread reads batches and checks them, workers
//! inflate what is compressed, and they are handed out in the order in which they were read:
//! decoding sees the same events, only prepared.
//!
//! # Invariants
//! - A worker never refuses anything: what does not fit its checksum or does not inflate stays as
//!   it is, for the decoder to tell.
//! - A thread of ours that ends badly is an error with the place, never the end of the files.
//! - At most [`BATCHES_MAX`] batches wait; each grows by at most [`INFLATED_BYTES_MAX`].

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use phiwatch_binlog::{Inflater, framing::crc32_fits};

use super::FileSource;
use crate::{Batch, Item, Source, SourceError, batch::Spares, live::event::kind};

/// Batches between reading and decoding.
const BATCHES_MAX: usize = 6;
/// A batch's payloads are inflated up to this many bytes; further ones are left to the decoder.
const INFLATED_BYTES_MAX: usize = 2 << 20;
/// Where an event's type stands in its header.
const KIND_AT: usize = 4;
/// More would wait for the decoder.
const WORKERS_MAX: usize = 3;

type Answer = Result<Batch, SourceError>;
/// A batch to prepare, and where it goes.
type Job = (Batch, SyncSender<Answer>);

/// [`FileSource`] with the work on compressed files spread over the cores.
///
/// Files are read by the caller's thread until the first compressed transaction. What is not
/// compressed is decoded so fast that handing it from core to core costs as much as it saves.
#[derive(Debug)]
pub struct Ahead(State);

#[derive(Debug)]
enum State {
    Plain(FileSource),
    Spread(Spread),
    /// Between the two, or at the end.
    Ended,
}

#[derive(Debug)]
struct Spread {
    /// A slot for each batch, in order; None after the last.
    slots: Receiver<Option<Slot>>,
    spares: Spares,
    /// Where the last batch begins.
    file: Arc<str>,
    offset: u64,
}

/// Where a batch comes from, and where it will come.
#[derive(Debug)]
struct Slot {
    file: Arc<str>,
    offset: u64,
    answer: Receiver<Answer>,
}

impl Spread {
    /// None at the end.
    fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        match self.slots.recv() {
            Ok(Some(slot)) => {
                (self.file, self.offset) = (slot.file, slot.offset);
                // A worker that panicked has dropped the slot.
                slot.answer.recv().map_err(|_| self.broken())?.map(Some)
            }
            Ok(None) => Ok(None),
            // The thread that reads has not said that it was the end.
            Err(_) => Err(self.broken()),
        }
    }

    fn broken(&self) -> SourceError {
        SourceError::Thread { file: self.file.to_string(), offset: self.offset }
    }
}

impl Ahead {
    /// Threads end with the files, or when this is dropped.
    #[must_use]
    pub fn new(source: FileSource) -> Self {
        Self(State::Plain(source))
    }
}

impl State {
    /// Starts to read ahead.
    fn spread(source: FileSource) -> Self {
        let (slot_sender, slots) = sync_channel(BATCHES_MAX);
        let (job_sender, jobs) = sync_channel::<Job>(BATCHES_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores.saturating_sub(1).clamp(1, WORKERS_MAX) {
            let jobs = Arc::clone(&jobs);
            thread::spawn(move || work(&jobs));
        }
        let (spares, file) = (source.spares.clone(), source.reading());
        thread::spawn(move || read(source, &slot_sender, &job_sender));
        Self::Spread(Spread { slots, spares, file, offset: 0 })
    }
}

impl Source for Ahead {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        match &mut self.0 {
            State::Plain(source) => {
                let batch = source.next_batch()?;
                if batch.as_ref().is_some_and(has_payloads)
                    && let State::Plain(source) = std::mem::replace(&mut self.0, State::Ended)
                {
                    self.0 = State::spread(source);
                }
                Ok(batch)
            }
            State::Spread(spread) => {
                let batch = spread.next()?;
                if batch.is_none() {
                    self.0 = State::Ended;
                }
                Ok(batch)
            }
            State::Ended => Ok(None),
        }
    }

    fn recycle(&mut self, batch: Batch) {
        match &mut self.0 {
            State::Plain(source) => source.recycle(batch),
            State::Spread(spread) => spread.spares.put(batch),
            State::Ended => {}
        }
    }
}

fn has_payloads(batch: &Batch) -> bool {
    let is_payload = |item: &Item| match item {
        Item::Event { range, .. } => {
            batch.bytes.get(range.start + KIND_AT) == Some(&kind::TRANSACTION_PAYLOAD)
        }
        _ => false,
    };
    batch.items.iter().any(is_payload)
}

fn read(mut source: FileSource, slots: &SyncSender<Option<Slot>>, jobs: &SyncSender<Job>) {
    loop {
        let answer = match source.next_batch() {
            Ok(Some(batch)) => Ok(batch),
            Ok(None) => {
                let _gone = slots.send(None);
                return;
            }
            Err(error) => Err(error),
        };
        let (sender, receiver) = sync_channel(1);
        let offset = answer.as_ref().map_or(0, first_offset);
        let slot = Slot { file: source.reading(), offset, answer: receiver };
        // Nobody waits for it any more: the reader was dropped.
        if slots.send(Some(slot)).is_err() {
            return;
        }
        match answer {
            // What was just read is still in this core's cache.
            Ok(mut batch) => {
                if !verify(&mut batch) {
                    let _gone = sender.send(Ok(batch));
                } else if jobs.send((batch, sender)).is_err() {
                    return;
                }
            }
            Err(error) => {
                let _gone = sender.send(Err(error));
                return;
            }
        }
    }
}

/// Where a batch begins in its file.
fn first_offset(batch: &Batch) -> u64 {
    let offset = |item: &Item| match item {
        Item::File { offset, .. }
        | Item::Event { offset, .. }
        | Item::Inflated { offset, .. }
        | Item::Part { offset, .. }
        | Item::Damage { offset, .. } => Some(*offset),
        Item::Server { .. } | Item::Purged { .. } | Item::Executed { .. } | Item::CaughtUp => None,
    };
    batch.items.iter().find_map(offset).unwrap_or(0)
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    let mut inflater = Inflater::default();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((mut batch, slot)) = job else { return };
        inflate(&mut batch, &mut inflater);
        let _gone = slot.send(Ok(batch));
    }
}

/// Checks the checksums of whole events; whether there are payloads to inflate.
fn verify(batch: &mut Batch) -> bool {
    let Batch { bytes, items, has_checksums, is_verified } = batch;
    let mut has_payloads = false;
    *is_verified = *has_checksums;
    for item in items {
        let Item::Event { range, .. } = item else { continue };
        let Some(event) = bytes.get(range.clone()) else { continue };
        match event.get(KIND_AT) {
            // Its checksum is of another kind.
            Some(&kind::FORMAT_DESCRIPTION) => {}
            Some(kind) => {
                has_payloads |= *kind == kind::TRANSACTION_PAYLOAD;
                *is_verified = *is_verified && crc32_fits(event);
            }
            None => *is_verified = false,
        }
    }
    has_payloads
}

/// Inflates payloads whose checksums were found right.
fn inflate(batch: &mut Batch, inflater: &mut Inflater) {
    let Batch { bytes, items, has_checksums, is_verified } = batch;
    if *has_checksums && !*is_verified {
        return;
    }
    let mut inflated = 0;
    for item in items {
        let Item::Event { offset, range } = item else { continue };
        let Some(event) = bytes.get(range.clone()) else { continue };
        if event.get(KIND_AT) != Some(&kind::TRANSACTION_PAYLOAD) || inflated >= INFLATED_BYTES_MAX
        {
            continue;
        }
        let room = INFLATED_BYTES_MAX - inflated;
        let Some(plain) = inflater.payload(event, *has_checksums, room) else { continue };
        inflated += plain.len();
        let start = bytes.len();
        bytes.extend_from_slice(plain);
        let (offset, range) = (*offset, range.clone());
        *item = Item::Inflated { offset, range, events: start..bytes.len() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread() -> (SyncSender<Option<Slot>>, Ahead) {
        let (sender, slots) = sync_channel(2);
        let (spares, file) = (Spares::default(), "first".into());
        (sender, Ahead(State::Spread(Spread { slots, spares, file, offset: 4 })))
    }

    fn place(error: &SourceError) -> (&str, u64) {
        match error {
            SourceError::Thread { file, offset } => (file, *offset),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_thread_that_ended_badly_is_an_error_with_its_place() {
        let (sender, mut ahead) = spread();
        let (worker, answer) = sync_channel(1);
        sender.send(Some(Slot { file: "second".into(), offset: 120, answer })).unwrap();
        drop(worker);
        assert_eq!(place(&ahead.next_batch().unwrap_err()), ("second", 120));
        let (sender, mut ahead) = spread();
        drop(sender);
        let error = ahead.next_batch().unwrap_err();
        assert_eq!(place(&error), ("first", 4));
        assert!(error.hint().is_some());
    }

    #[test]
    fn the_end_is_said() {
        let (sender, mut ahead) = spread();
        sender.send(None).unwrap();
        drop(sender);
        assert!(ahead.next_batch().unwrap().is_none());
        assert!(ahead.next_batch().unwrap().is_none());
    }
}
