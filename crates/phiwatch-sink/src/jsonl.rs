//! JSON lines: one alert a line, appended to a file or written to standard output.
//!
//! Input: [`Outgoing`]s. Output: their values, each with a newline, in order.
//!
//! # Invariants
//! - A file's alert is [`Ack::Durable`] after fdatasync, never before. Standard output's after it
//!   was flushed: what reads the pipe has the rest of the duty.
//! - The file is opened anew when its name leads elsewhere (rotation by rename), and is only
//!   appended to, so that rotation by truncation works too.
//! - A line that a crash cut short is taken away before the next one is written, if it is one of
//!   ours; any other unfinished line is ended with a newline. So every line is whole JSON.
//! - After an error nothing is known about the tail: the file is opened and mended anew.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::sink::{Ack, ErrorKind, Outgoing, Sink, SinkError};

const NAME: &str = "jsonl";
/// How every line of [`crate::wire::ocsf`] begins.
const LINE_START: &[u8] = b"{\"class_uid\":2004,";
/// How far back the end of the last whole line is looked for, bytes.
const TORN_MAX: u64 = 4 << 20;
/// How much of the file's end is read for alerts that were under way at a crash, bytes.
const TAIL_MAX: u64 = 64 << 20;

/// Appends alerts to a file, or writes them to standard output.
#[derive(Debug)]
pub struct JsonLinesSink {
    target: Arc<Target>,
}

#[derive(Debug)]
enum Target {
    Stdout(Mutex<()>),
    File {
        path: PathBuf,
        /// None: to be opened and mended.
        file: Mutex<Option<File>>,
    },
}

impl JsonLinesSink {
    /// Appends to the file, which is made if absent (mode 0600: alerts name tables and tenants).
    /// Nothing is opened yet; see [`Sink::check`].
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let target = Target::File { path: path.into(), file: Mutex::new(None) };
        Self { target: Arc::new(target) }
    }

    /// Writes to standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self { target: Arc::new(Target::Stdout(Mutex::new(()))) }
    }

    /// Runs the work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Target) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        let target = Arc::clone(&self.target);
        match tokio::task::spawn_blocking(move || work(&target)).await {
            Ok(result) => result,
            Err(_) => Err(SinkError::new(
                ErrorKind::Transient,
                NAME,
                "the writing task was stopped",
                "retrying",
            )),
        }
    }
}

impl Sink for JsonLinesSink {
    fn name(&self) -> &str {
        NAME
    }

    /// All or none: one write, one fdatasync. After an error a part of the batch may stand in the
    /// file; it is then written again.
    async fn deliver(&self, alerts: &[Outgoing]) -> Vec<Result<Ack, SinkError>> {
        let count = alerts.len();
        let mut bytes = Vec::with_capacity(alerts.iter().map(|alert| alert.value.len() + 1).sum());
        for alert in alerts {
            bytes.extend_from_slice(&alert.value);
            bytes.push(b'\n');
        }
        let outcome = self.blocking(move |target| target.append(&bytes)).await;
        vec![outcome.map(|()| Ack::Durable); count]
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.blocking(|target| target.append(&[])).await
    }

    /// Reads the end of the file, at most 64 MiB of it. Standard output cannot be read: none.
    async fn already_delivered(
        &self,
        candidates: &[(String, u32)],
        newest_max: u64,
    ) -> Result<Vec<(String, u32)>, SinkError> {
        let candidates = candidates.to_vec();
        self.blocking(move |target| target.find(&candidates, newest_max)).await
    }
}

impl Target {
    fn append(&self, bytes: &[u8]) -> Result<(), SinkError> {
        match self {
            Self::Stdout(turn) => {
                let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| {
                    failed("cannot write to standard output", &error, "is its reader gone?")
                })
            }
            Self::File { path, file } => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                if file.as_ref().is_some_and(|file| !is_at(file, path)) {
                    *file = None;
                }
                let outcome = write(&mut file, path, bytes);
                if outcome.is_err() {
                    *file = None;
                }
                outcome.map_err(|error| {
                    let what = format!("cannot append to {}", path.display());
                    failed(&what, &error, "check that the folder exists, its owner and free space")
                })
            }
        }
    }

    fn find(
        &self,
        candidates: &[(String, u32)],
        newest_max: u64,
    ) -> Result<Vec<(String, u32)>, SinkError> {
        let Self::File { path, .. } = self else { return Ok(Vec::new()) };
        let tail = match tail(path) {
            Ok(tail) => tail,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let what = format!("cannot read {}", path.display());
                return Err(failed(&what, &error, "check its owner"));
            }
        };
        let newest_max = usize::try_from(newest_max).unwrap_or(usize::MAX);
        let mut found: Vec<(String, u32)> = tail
            .rsplit(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .take(newest_max)
            .filter_map(state)
            .filter(|state| candidates.contains(state))
            .collect();
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// Opens and mends the file if needed, appends, waits for the disk.
fn write(slot: &mut Option<File>, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = match slot {
        Some(file) => file,
        None => slot.insert(open(path)?),
    };
    if bytes.is_empty() {
        return Ok(());
    }
    file.write_all(bytes)?;
    file.sync_data()
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.is_file() {
        mend(&mut file)?;
        // A new file is not there after a power cut unless its folder says so.
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
    }
    Ok(file)
}

/// Takes away or ends an unfinished last line.
fn mend(file: &mut File) -> io::Result<()> {
    let len = file.metadata()?.len();
    let from = len.saturating_sub(TORN_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    Read::by_ref(file).take(TORN_MAX).read_to_end(&mut tail)?;
    if tail.last().is_none_or(|last| *last == b'\n') {
        return Ok(());
    }
    let end = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = tail.get(end..).unwrap_or_default();
    let is_line_start = from == 0 || end > 0;
    let is_ours = torn.starts_with(LINE_START) || LINE_START.starts_with(torn);
    if is_line_start && is_ours {
        // It was never acknowledged, so its alert comes again.
        file.set_len(from + end as u64)?;
    } else {
        file.write_all(b"\n")?;
    }
    file.sync_data()
}

/// Whether the name still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(TAIL_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL_MAX).read_to_end(&mut tail)?;
    Ok(tail)
}

/// `(uid, revision)` of a line; none for a torn or foreign one.
fn state(line: &[u8]) -> Option<(String, u32)> {
    let alert: serde_json::Value = serde_json::from_slice(line).ok()?;
    let uid = alert.pointer("/metadata/uid")?.as_str()?;
    let revision = alert.pointer("/metadata/sequence")?.as_u64()?;
    Some((uid.to_owned(), u32::try_from(revision).ok()?))
}

fn failed(what: &str, error: &io::Error, next: &str) -> SinkError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::BrokenPipe => ErrorKind::Definite,
        _ => ErrorKind::Transient,
    };
    SinkError::new(kind, NAME, format!("{what}: {error}"), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(revision: u32) -> Outgoing {
        let value = format!(
            "{{\"class_uid\":2004,\"metadata\":{{\"uid\":\"u\",\"sequence\":{revision}}}}}"
        );
        Outgoing {
            seq: i64::from(revision),
            uid: "u".into(),
            revision,
            activity: 1,
            tenant: "website-1".into(),
            rule: "bulk-copy".into(),
            time_ms: 0,
            value: value.into_bytes(),
        }
    }

    async fn deliver(sink: &JsonLinesSink, revisions: &[u32]) {
        let alerts: Vec<Outgoing> = revisions.iter().map(|revision| alert(*revision)).collect();
        for result in sink.deliver(&alerts).await {
            assert_eq!(result, Ok(Ack::Durable));
        }
    }

    fn revisions(path: &Path) -> Vec<u32> {
        std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|line| state(line.as_bytes()).expect("a whole line").1)
            .collect()
    }

    #[tokio::test]
    async fn alerts_are_appended_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let sink = JsonLinesSink::file(&path);
        deliver(&sink, &[0, 1]).await;
        deliver(&sink, &[2]).await;
        assert_eq!(revisions(&path), [0, 1, 2]);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_rotated_file_is_left_and_a_new_one_begun() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let old = dir.path().join("alerts.jsonl.1");
        let sink = JsonLinesSink::file(&path);
        deliver(&sink, &[0]).await;
        std::fs::rename(&path, &old).unwrap();
        deliver(&sink, &[1]).await;
        assert_eq!((revisions(&old), revisions(&path)), (vec![0], vec![1]));
        // Rotation by truncation.
        std::fs::write(&path, b"").unwrap();
        deliver(&sink, &[2]).await;
        assert_eq!(revisions(&path), [2]);
    }

    #[tokio::test]
    async fn a_line_cut_by_a_crash_is_mended_on_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        for cut in 1..alert(1).value.len() {
            let mut bytes = alert(0).value;
            bytes.push(b'\n');
            bytes.extend(alert(1).value.get(..cut).unwrap());
            std::fs::write(&path, bytes).unwrap();
            deliver(&JsonLinesSink::file(&path), &[1]).await;
            assert_eq!(revisions(&path), [0, 1], "cut after {cut} bytes");
        }
    }

    #[tokio::test]
    async fn a_foreign_unfinished_line_is_ended_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        std::fs::write(&path, b"somebody's note").unwrap();
        deliver(&JsonLinesSink::file(&path), &[0]).await;
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("somebody's note\n{\"class_uid\":2004,"), "{text}");
    }

    #[tokio::test]
    async fn a_missing_folder_is_definite_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let sink = JsonLinesSink::file(dir.path().join("no/alerts.jsonl"));
        let error = sink.check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Definite);
        assert!(error.to_string().contains("check that the folder exists"), "{error}");
        assert_eq!(sink.deliver(&[alert(0), alert(1)]).await, vec![Err(error.clone()), Err(error)]);
    }

    #[tokio::test]
    async fn alerts_in_the_file_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let sink = JsonLinesSink::file(&path);
        let ask = [("u".to_owned(), 0), ("u".to_owned(), 2), ("x".to_owned(), 1)];
        assert_eq!(sink.already_delivered(&ask, 10).await, Ok(vec![]));
        deliver(&sink, &[0, 1, 2]).await;
        let found = |newest_max| sink.already_delivered(&ask, newest_max);
        assert_eq!(found(10).await, Ok(vec![("u".to_owned(), 0), ("u".to_owned(), 2)]));
        assert_eq!(found(2).await, Ok(vec![("u".to_owned(), 2)]));
    }
}
