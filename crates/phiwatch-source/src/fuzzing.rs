//! The client against a scripted server: for the fuzz targets in `fuzz/`, no part of the interface.
//!
//! Input: the bytes that the server sends, as packets or as they are. Output: what a caller would
//! get, and what was sent to the server. No socket and no clock: the script is always ready, and
//! at its end the connection is closed.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    Address, Batch, LiveConfig, Login, Server, ServerInfo, SourceError, StartAt, Tls, TlsMode,
    live::script::{Opened, Reader, Shared, bounded, first_packet, identify, request, resolve},
    wire::Connection,
};

/// The account's password: must not be in what is sent without TLS.
pub const PASSWORD: &str = "correct-horse-battery";
/// Largest event of [`dump`] that comes whole, bytes.
pub const WHOLE_BYTES_MAX: u32 = 400;

/// What the server sends.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Payloads that come first, each in frames of its own, numbered as the client expects them.
    pub packets: Vec<Vec<u8>>,
    /// Bytes that come then, as they are.
    pub raw: Vec<u8>,
    /// At most so many bytes arrive at a time (0 counts as 1).
    pub piece_bytes: usize,
}

/// Logs in and asks all that `phiwatch doctor` asks. Returns the answers, or the error, and the
/// bytes that were sent.
pub fn login(script: Script, tls: TlsMode) -> (Result<ServerInfo, SourceError>, Vec<u8>) {
    let (link, sent) = Link::new(script);
    let login = account(tls);
    let asked = block_on(async {
        let mut server = Server::over(Connection::over(&login, &login.address, link).await?);
        let info = server.info().await?;
        let databases = server.shop_databases("").await?;
        server.column_names(&databases).await?;
        Ok(info)
    });
    let sent = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
    (asked, sent)
}

/// Sets up a dump from `start` and reads it to the first error, which is returned with the batches
/// before it. The script begins with the greeting.
pub fn dump(script: Script, start: StartAt) -> (Result<(), SourceError>, Vec<Batch>) {
    let (link, _sent) = Link::new(script);
    let mut config = LiveConfig::new(account(TlsMode::Off), 99);
    config.start = start;
    config.whole_bytes_max = WHOLE_BYTES_MAX;
    // Nobody reads before the end: the queue has to take it all.
    let (sender, receiver) = bounded(usize::MAX);
    let end = block_on(async {
        let address = config.login.address.clone();
        let mut connection = Connection::over(&config.login, &address, link).await?;
        let identity = identify(&mut connection, &config).await?;
        let resume = resolve(
            &mut connection,
            &identity,
            &config.start,
            &crate::live::open::Known::default(),
        )
        .await?;
        let dump = request(&mut connection, &identity, &config, &resume).await?;
        let first = first_packet(&mut connection, &config, &resume).await?;
        let opened = Opened { connection, identity, resume, dump, purged: None, first };
        let shared = Arc::new(Shared::default());
        Reader::over(config, vec![address], 0, sender, shared, opened).run_once().await
    });
    let mut batches = Vec::new();
    while let Ok(Some(batch)) = receiver.next() {
        batches.push(batch);
    }
    (end, batches)
}

fn account(tls: TlsMode) -> Login {
    Login {
        address: Address { host: "db.example.com".to_owned(), port: 3306 },
        user: "phi".to_owned(),
        password: PASSWORD.into(),
        tls: Tls::with_mode(tls),
        timeout: Duration::from_secs(10),
    }
}

fn block_on<T>(future: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
    thread_local! {
        static RUNTIME: io::Result<tokio::runtime::Runtime> =
            tokio::runtime::Builder::new_current_thread().enable_time().build();
    }
    RUNTIME.with(|runtime| match runtime {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => Err(SourceError::Connect {
            address: String::new(),
            cause: io::Error::other(error.to_string()),
        }),
    })
}

/// A connection whose other side is a [`Script`].
struct Link {
    packets: std::vec::IntoIter<Vec<u8>>,
    /// Bytes on their way, from `at` on.
    pending: Vec<u8>,
    at: usize,
    raw: Vec<u8>,
    piece_bytes: usize,
    /// Number of the next frame.
    sequence: u8,
    /// The client's frame: head as far as it has come, and how much of its payload is to come.
    head: Vec<u8>,
    payload_left: usize,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Link {
    fn new(script: Script) -> (Self, Arc<Mutex<Vec<u8>>>) {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let link = Self {
            packets: script.packets.into_iter(),
            pending: Vec::new(),
            at: 0,
            raw: script.raw,
            piece_bytes: script.piece_bytes.max(1),
            sequence: 0,
            head: Vec::new(),
            payload_left: 0,
            sent: sent.clone(),
        };
        (link, sent)
    }

    /// The next packet in frames; else what comes after the packets; else nothing.
    fn next(&mut self) {
        const FRAME_BYTES_MAX: usize = 0xff_ffff;
        self.at = 0;
        self.pending.clear();
        let Some(payload) = self.packets.next() else {
            self.pending = std::mem::take(&mut self.raw);
            return;
        };
        let mut rest = payload.as_slice();
        loop {
            let (frame, tail) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
            let [a, b, c, ..] = frame.len().to_le_bytes();
            self.pending.extend([a, b, c, self.sequence]);
            self.pending.extend_from_slice(frame);
            self.sequence = self.sequence.wrapping_add(1);
            rest = tail;
            if frame.len() < FRAME_BYTES_MAX {
                return;
            }
        }
    }

    /// Follows the client's frames: the answer goes on counting.
    fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((first, tail)) = bytes.split_first() {
            if self.payload_left > 0 {
                let passed = self.payload_left.min(bytes.len());
                self.payload_left -= passed;
                bytes = bytes.get(passed..).unwrap_or_default();
                continue;
            }
            self.head.push(*first);
            bytes = tail;
            if let [a, b, c, sequence] = *self.head.as_slice() {
                self.payload_left = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
                self.sequence = sequence.wrapping_add(1);
                self.head.clear();
            }
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.at == self.pending.len() {
            self.next();
        }
        let end = self.pending.len().min(self.at + self.piece_bytes.min(out.remaining()));
        out.put_slice(self.pending.get(self.at..end).unwrap_or_default());
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.follow(bytes);
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
