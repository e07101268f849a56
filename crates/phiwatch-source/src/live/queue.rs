//! The queue between the connection and the decode thread, bounded in bytes.
//!
//! A full queue stops the reader, the socket fills, and the server keeps what we have not read.

use std::sync::{Arc, mpsc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Batch, Item, SourceError, batch::Spares};

/// What one queued batch costs beyond its bytes: bounds the number of small ones.
const BATCH_BYTES: usize = 256;

type Entry = (Result<Batch, SourceError>, Option<OwnedSemaphorePermit>);

/// The reader's end.
pub(crate) struct Sender {
    room: Arc<Semaphore>,
    bytes_max: u32,
    entries: mpsc::Sender<Entry>,
    spares: Spares,
}

/// The decode thread's end.
#[derive(Debug)]
pub(crate) struct Receiver {
    entries: mpsc::Receiver<Entry>,
    spares: Spares,
}

/// A queue of at most `bytes_max` bytes; a larger batch goes through alone.
pub(crate) fn bounded(bytes_max: usize) -> (Sender, Receiver) {
    // Above this nobody needs a bound, and the semaphore counts in u32.
    let bytes_max = u32::try_from(bytes_max.max(1)).unwrap_or(u32::MAX >> 3).min(u32::MAX >> 3);
    let (entries, receiver) = mpsc::channel();
    let room = Arc::new(Semaphore::new(bytes_max as usize));
    let spares = Spares::default();
    let receiver = Receiver { entries: receiver, spares: spares.clone() };
    (Sender { room, bytes_max, entries, spares }, receiver)
}

impl Sender {
    /// An empty batch.
    pub(crate) fn batch(&self) -> Batch {
        self.spares.take()
    }

    /// Waits for room; false if nobody reads any more.
    pub(crate) async fn send(&self, batch: Batch) -> bool {
        // What it takes, not what it holds.
        let items = batch.items.capacity() * size_of::<Item>();
        let cost = batch.bytes.capacity() + items + BATCH_BYTES;
        let cost = u32::try_from(cost).unwrap_or(self.bytes_max).min(self.bytes_max);
        let permit = self.room.clone().acquire_many_owned(cost).await.ok();
        self.entries.send((Ok(batch), permit)).is_ok()
    }

    /// The last entry.
    pub(crate) fn fail(&self, error: SourceError) {
        // Nobody to tell if nobody reads.
        let _gone = self.entries.send((Err(error), None));
    }
}

impl Receiver {
    /// Takes a used batch back.
    pub(crate) fn recycle(&self, batch: Batch) {
        self.spares.put(batch);
    }

    /// Blocks for the next batch; None when the sender is gone.
    pub(crate) fn next(&self) -> Result<Option<Batch>, SourceError> {
        match self.entries.recv() {
            Ok((batch, _room)) => batch.map(Some),
            Err(mpsc::RecvError) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{pin::pin, task};

    fn batch(bytes: usize) -> Batch {
        Batch { bytes: vec![0; bytes], ..Batch::default() }
    }

    #[tokio::test]
    async fn full_queue_stops_the_sender() {
        let (sender, receiver) = bounded(1000);
        assert!(sender.send(batch(500)).await);
        let mut second = pin!(sender.send(batch(500)));
        let mut context = task::Context::from_waker(task::Waker::noop());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert_eq!(receiver.next().unwrap().unwrap().bytes.len(), 500);
        assert!(second.await);
        assert_eq!(receiver.next().unwrap().unwrap().bytes.len(), 500);
    }

    #[tokio::test]
    async fn batch_over_the_bound_goes_through_alone() {
        let (sender, receiver) = bounded(1000);
        assert!(sender.send(batch(5000)).await);
        assert_eq!(receiver.next().unwrap().unwrap().bytes.len(), 5000);
        drop(sender);
        assert!(receiver.next().unwrap().is_none());
    }
}
