//! Binlog files as a source.
//!
//! Input: paths, read in the given order. Output: each event once, with its offset; each stretch
//! that is none as one [`Item::Damage`], after which reading goes on at the next event.
//!
//! # Invariants
//! - A size in a header is a claim: no memory is set aside for it, and one that nothing confirms
//!   is not followed ([`framing`]).
//! - Memory is one chunk, or one event of at most the limit; a larger one is handed over in parts.

mod ahead;
mod framing;

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use phiwatch_binlog::{
    Malformed,
    framing::{HEADER_BYTES, Header, Magic, magic},
};

use crate::{
    Batch, Item, Source, SourceError, WHOLE_BYTES_MAX,
    batch::Spares,
    live::event::{has_checksums, kind},
};
pub use ahead::Ahead;
use framing::{Framing, Verdict};

/// Read at a time; also about the size of a batch.
const CHUNK_BYTES: usize = 512 << 10;
const MAGIC_BYTES: u64 = 4;

/// Reads binlog files, one after the other.
#[derive(Debug)]
pub struct FileSource {
    paths: VecDeque<PathBuf>,
    open: Option<OpenFile>,
    start: Option<u64>,
    whole_bytes_max: u32,
    progress: Arc<FileProgress>,
    spares: Spares,
    /// The file that is read, or was last.
    reading: Arc<str>,
}

/// How far a [`FileSource`] has come; readable from any thread.
#[derive(Debug, Default)]
pub struct FileProgress {
    read_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

impl FileProgress {
    /// Bytes read so far, over all files.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }
    /// Size of all files when reading began.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Ordering::Relaxed)
    }
}

impl FileSource {
    /// Reads these files in this order.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let progress = FileProgress::default();
        let sizes = paths.iter().filter_map(|path| Some(path.metadata().ok()?.len()));
        progress.total_bytes.store(sizes.sum(), Ordering::Relaxed);
        Self {
            paths: paths.into(),
            open: None,
            start: None,
            whole_bytes_max: WHOLE_BYTES_MAX,
            progress: Arc::new(progress),
            spares: Spares::default(),
            reading: "".into(),
        }
    }

    /// Begins in the first file at this offset, an event's start; its format description still
    /// comes first.
    #[must_use]
    pub fn with_start(mut self, offset: u64) -> Self {
        self.start = Some(offset);
        self
    }

    /// Another limit than [`WHOLE_BYTES_MAX`].
    #[must_use]
    pub fn with_whole_bytes_max(mut self, whole_bytes_max: u32) -> Self {
        self.whole_bytes_max = whole_bytes_max;
        self
    }

    /// How far reading has come.
    #[must_use]
    pub fn progress(&self) -> Arc<FileProgress> {
        self.progress.clone()
    }

    /// The file that is read, or was last, as given.
    fn reading(&self) -> Arc<str> {
        Arc::clone(&self.reading)
    }

    /// Opens the next file; a batch if there is something to say about it.
    fn advance(&mut self, path: PathBuf) -> Result<Option<Batch>, SourceError> {
        let fail = |cause| SourceError::File { file: path.display().to_string(), cause };
        self.reading = path.display().to_string().into();
        let start = self.start.take().filter(|start| *start > MAGIC_BYTES);
        let mut file = File::open(&path).map_err(fail)?;
        let mut first = Vec::new();
        (&mut file).take(MAGIC_BYTES).read_to_end(&mut first).map_err(fail)?;
        self.progress.read_bytes.fetch_add(first.len() as u64, Ordering::Relaxed);
        let name = last_component(&path);
        let cause = match magic(&first) {
            Magic::Plain => {
                self.open = Some(OpenFile {
                    file,
                    path,
                    name: Some(name),
                    at: MAGIC_BYTES,
                    carry: Vec::new(),
                    checksums: false,
                    large_bytes: 0,
                    large_left: 0,
                    start,
                });
                return Ok(None);
            }
            Magic::Encrypted => Malformed::Encrypted,
            Magic::NotBinlog => Malformed::NotBinlog,
        };
        let bytes = file.metadata().map_err(fail)?.len();
        self.progress
            .read_bytes
            .fetch_add(bytes.saturating_sub(first.len() as u64), Ordering::Relaxed);
        let items = vec![Item::File { name, offset: 0 }, Item::Damage { offset: 0, bytes, cause }];
        Ok(Some(Batch { items, ..Batch::default() }))
    }
}

impl Source for FileSource {
    fn recycle(&mut self, batch: Batch) {
        self.spares.put(batch);
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(path) = self.paths.pop_front() else { return Ok(None) };
                if let Some(batch) = self.advance(path)? {
                    return Ok(Some(batch));
                }
                continue;
            };
            let (mut batch, is_done) =
                open.batch(self.spares.take(), self.whole_bytes_max, &self.progress).map_err(
                    |cause| SourceError::File { file: open.path.display().to_string(), cause },
                )?;
            batch.has_checksums = open.checksums;
            if is_done {
                self.open = None;
            }
            if !batch.items.is_empty() {
                return Ok(Some(batch));
            }
        }
    }
}

fn last_component(path: &Path) -> Arc<str> {
    path.file_name().map_or_else(|| "".into(), |name| name.to_string_lossy()).into()
}

/// A file being read.
#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
    /// Not yet announced.
    name: Option<Arc<str>>,
    /// Offset of the next event.
    at: u64,
    /// Bytes from there on that were read already.
    carry: Vec<u8>,
    checksums: bool,
    /// Size of the event at `at` that is handed over in parts, and how much of it still comes.
    large_bytes: u64,
    large_left: u64,
    /// Go on there after the format description.
    start: Option<u64>,
}

impl OpenFile {
    /// The next events, and whether the file is read.
    fn batch(
        &mut self,
        mut batch: Batch,
        whole_bytes_max: u32,
        progress: &FileProgress,
    ) -> io::Result<(Batch, bool)> {
        batch.bytes.append(&mut self.carry);
        if let Some(name) = self.name.take() {
            batch.items.push(Item::File { name, offset: self.start.unwrap_or(self.at) });
        }
        // Index of the next event in the batch's bytes.
        let mut next = 0;
        let mut is_end = false;
        loop {
            if self.large_left > 0 {
                if next > 0 && next == batch.bytes.len() {
                    return Ok((batch, false));
                }
                next = self.part(&mut batch, next, progress)?;
                continue;
            }
            let verdict = self.judge(&batch.bytes[next..], whole_bytes_max, is_end)?;
            match verdict {
                Verdict::Large(size) => (self.large_bytes, self.large_left) = (size, size),
                Verdict::Event(bytes) => {
                    let range = next..next + bytes;
                    let event = &batch.bytes[range.clone()];
                    if event.get(4) == Some(&kind::FORMAT_DESCRIPTION) {
                        self.checksums = has_checksums(event);
                    }
                    batch.items.push(Item::Event { offset: self.at, range });
                    next += bytes;
                    self.at += bytes as u64;
                    if let Some(start) = self.start.take().filter(|start| *start > self.at) {
                        self.jump(start, &mut batch.bytes, next)?;
                    }
                }
                Verdict::More if is_end => return Ok((batch, true)),
                Verdict::More => {
                    if next > 0 {
                        self.carry.extend_from_slice(&batch.bytes[next..]);
                        batch.bytes.truncate(next);
                        return Ok((batch, false));
                    }
                    let count = self.read(&mut batch.bytes)?;
                    progress.read_bytes.fetch_add(count as u64, Ordering::Relaxed);
                    is_end = count == 0;
                }
                Verdict::Damage { bytes, cause } => {
                    batch.items.push(Item::Damage { offset: self.at, bytes, cause });
                    // What is passed over counts as read.
                    let known = (batch.bytes.len() - next) as u64;
                    progress.read_bytes.fetch_add(bytes.saturating_sub(known), Ordering::Relaxed);
                    self.jump(self.at + bytes, &mut batch.bytes, next)?;
                    is_end = false;
                }
            }
        }
    }

    /// Hands over the next part of a large event; returns where the next one begins.
    fn part(
        &mut self,
        batch: &mut Batch,
        next: usize,
        progress: &FileProgress,
    ) -> io::Result<usize> {
        if next == batch.bytes.len() {
            let count = self.read(&mut batch.bytes)?;
            progress.read_bytes.fetch_add(count as u64, Ordering::Relaxed);
            if count == 0 {
                // The file was cut while it was read.
                let cause =
                    Malformed::Truncated { field: "event", needed: self.large_left, left: 0 };
                batch.items.push(Item::Damage { offset: self.at, bytes: 0, cause });
                self.large_left = 0;
                return Ok(next);
            }
        }
        let there = batch.bytes.len() - next;
        let count = usize::try_from(self.large_left).unwrap_or(usize::MAX).min(there);
        self.large_left -= count as u64;
        let range = next..next + count;
        batch.items.push(Item::Part { offset: self.at, range, left: self.large_left });
        if self.large_left == 0 {
            self.at += self.large_bytes;
        }
        Ok(next + count)
    }

    fn judge(&self, bytes: &[u8], whole_bytes_max: u32, is_end: bool) -> io::Result<Verdict> {
        let framing = Framing { file: &self.file, checksums: self.checksums, whole_bytes_max };
        if bytes.len() < HEADER_BYTES {
            return Ok(match bytes.len() as u64 {
                left @ 1.. if is_end => Verdict::Damage {
                    bytes: left,
                    cause: Malformed::Truncated { field: "event header", needed: 19, left },
                },
                _ => Verdict::More,
            });
        }
        let Ok(header) = Header::parse(bytes) else { return Ok(Verdict::More) };
        framing.judge(&header, bytes, self.at)
    }

    /// Goes on at `offset`; keeps the batch's first `keep` bytes.
    fn jump(&mut self, offset: u64, bytes: &mut Vec<u8>, keep: usize) -> io::Result<()> {
        let known = self.at + (bytes.len() - keep) as u64;
        if offset <= known {
            let passed = usize::try_from(offset - self.at).unwrap_or(0);
            bytes.drain(keep..keep + passed);
        } else {
            if offset > self.file.metadata()?.len() {
                return Err(io::Error::other("the start is beyond the file's end"));
            }
            bytes.truncate(keep);
            self.file.seek(SeekFrom::Start(offset))?;
        }
        self.at = offset;
        Ok(())
    }

    /// Appends the next chunk; 0 at the file's end.
    fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        bytes.reserve(CHUNK_BYTES);
        (&self.file).take(CHUNK_BYTES as u64).read_to_end(bytes)
    }
}
