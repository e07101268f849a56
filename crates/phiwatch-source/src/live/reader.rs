//! The task that connects, reads the dump into batches, and connects again.

use std::{
    io, mem,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use phiwatch_binlog::{Malformed, framing::Header};
use tokio::time::timeout;

use super::{
    event::{self, kind},
    large::LargePacket,
    open::{Known, Opened, Start, classify, open},
    queue::Sender,
    session::Identity,
    status::{Notice, Shared},
    tracker::Tracker,
};
use crate::{
    Batch, Item, LiveConfig, OnPurged, SourceError,
    config::Address,
    wire::{Connection, lost, silent},
};

/// A batch is handed over at this size, or earlier when nothing more has arrived.
const BATCH_BYTES: usize = 256 << 10;
/// Or at so many items: some have no bytes.
const BATCH_ITEMS: usize = 4_096;
/// Pauses between tries: doubled from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Silence of so many heartbeat periods means that the link is dead.
const HEARTBEATS_MISSED_MAX: u32 = 3;
/// Until then a server may pass over known transactions, without a word (MariaDB).
const SEARCH_MAX: Duration = Duration::from_secs(60);
const READING: &str = "reading the binlog";

/// Tries each address once, from `first` on. A definite error counts only if there is one
/// everywhere: but what it tells of that server's history is put on record.
async fn first_of(
    start: &mut Start<'_>,
    addresses: &[Address],
    first: usize,
    shared: &Shared,
) -> Result<(usize, Opened), SourceError> {
    let mut failed: Option<SourceError> = None;
    for step in 0..addresses.len() {
        let index = (first + step) % addresses.len();
        let error = match Box::pin(open(start, &addresses[index])).await {
            Ok(opened) => return Ok((index, opened)),
            Err(error) => error,
        };
        if addresses.len() > 1 {
            tracing::warn!(%error, address = %addresses[index], "cannot read from this address");
            if let SourceError::History { address, what } = &error {
                let what = what.clone();
                shared.notice(Notice::History { address: address.clone(), what });
            }
        }
        if failed.as_ref().is_none_or(|old| rank(&error) > rank(old)) {
            failed = Some(error);
        }
    }
    Err(failed.unwrap_or_else(|| SourceError::Setting { key: "url", what: "no address".into() }))
}

/// Which of several addresses' errors decides: one that may pass, then one that has a setting.
fn rank(error: &SourceError) -> u8 {
    match error {
        SourceError::Behind { .. } => 3,
        _ if error.is_transient() => 2,
        SourceError::Purged { .. } => 1,
        _ => 0,
    }
}

/// Why a dump ended without an error.
enum Ended {
    /// All was delivered (`once`).
    CaughtUp,
    /// Nobody reads the queue.
    Unread,
}

pub(crate) struct Reader {
    pub(super) config: LiveConfig,
    addresses: Vec<Address>,
    /// Index of the address of the last connection.
    current: usize,
    queue: Sender,
    pub(super) shared: Arc<Shared>,
    pub(super) tracker: Tracker,
    pub(super) connection: Connection,
    /// Payload of the dump's first packet, which was read to know that the dump began.
    first: Vec<u8>,
    /// `server_uuid` or `server_id` of the last connection.
    server: String,
    pub(super) batch: Batch,
    /// A packet that is used in parts.
    pub(super) large: Option<LargePacket>,
    pause: Duration,
    /// This connection has brought a transaction or a heartbeat.
    pub(super) is_settled: bool,
}

/// Tells whom the next items come from: in the stream, so that it is said of the right ones.
fn server_item(connection: &Connection, identity: &Identity) -> Item {
    Item::Server { name: Arc::from(&*identity.name), version: Arc::from(connection.version()) }
}

impl Reader {
    /// Makes the first connection.
    pub(crate) async fn start(
        config: LiveConfig,
        queue: Sender,
        shared: Arc<Shared>,
    ) -> Result<Self, SourceError> {
        let mut addresses = vec![config.login.address.clone()];
        addresses.extend(config.failover.iter().cloned());
        let known =
            Known { server: config.known_server.clone(), place: config.known_place.clone() };
        let mut start =
            Start { config: &config, resume: None, known: &known, on_purged: OnPurged::Stop };
        let (current, opened) = match first_of(&mut start, &addresses, 0, &shared).await {
            Err(SourceError::Purged { .. }) if config.on_purged == OnPurged::Continue => {
                start.on_purged = OnPurged::Continue;
                first_of(&mut start, &addresses, 0, &shared).await?
            }
            other => other?,
        };
        Ok(Self::over(config, addresses, current, queue, shared, opened))
    }

    /// Reads a dump that has begun, from the address with the index `current`.
    pub(crate) fn over(
        config: LiveConfig,
        addresses: Vec<Address>,
        current: usize,
        queue: Sender,
        shared: Arc<Shared>,
        opened: Opened,
    ) -> Self {
        let Opened { connection, identity, resume, dump, purged, first } = opened;
        let mut tracker = Tracker::new(resume);
        tracker.reconnect(&dump);
        let mut batch = Batch::default();
        batch.items.push(server_item(&connection, &identity));
        batch.items.extend(purged.map(|missing| Item::Purged { missing }));
        let server = identity.name.clone();
        let reader = Self {
            config,
            addresses,
            current,
            queue,
            shared,
            tracker,
            connection,
            first,
            server,
            batch,
            large: None,
            pause: PAUSE_MIN,
            is_settled: false,
        };
        reader.note(&identity);
        reader
    }

    fn note(&self, identity: &Identity) {
        let address = self.connection.address().to_string();
        let version = self.connection.version();
        let is_encrypted = self.connection.is_encrypted();
        let connection = self.connection.thread_id();
        tracing::info!(server = address, version, connection, is_encrypted, "reading the binlog");
        self.shared.update(|status| {
            status.is_connected = true;
            status.server = address;
            status.server_name.clone_from(&identity.name);
            status.server_version = version.to_owned();
            status.is_mariadb = identity.is_mariadb;
            status.is_encrypted = is_encrypted;
            // Names of the last connection's server.
            status.file.clear();
        });
        self.shared.is_connected.notify_one();
    }

    /// Reads until stopped, caught up (`once`), or an error that somebody must mend.
    pub(crate) async fn run(mut self) {
        loop {
            let mut error = match self.dump().await {
                Ok(Ended::CaughtUp) => {
                    self.batch.items.push(Item::CaughtUp);
                    // The end either way.
                    let _read = self.flush().await;
                    return;
                }
                Ok(Ended::Unread) => return,
                Err(error) => error,
            };
            // What is whole in the batch was counted as delivered: it must go out.
            if !self.flush().await {
                return;
            }
            self.batch = Batch::default();
            // Another address may have what this one has not any more.
            let is_elsewhere = match &error {
                SourceError::Purged { .. } => true,
                SourceError::History { address, what } if self.addresses.len() > 1 => {
                    let (address, what) = (address.clone(), what.clone());
                    self.shared.notice(Notice::History { address, what });
                    true
                }
                _ => false,
            };
            if !is_elsewhere && !error.is_transient() {
                return self.fail(error);
            }
            while let Err(next) = self.again(&error).await {
                if !next.is_transient() {
                    return self.fail(next);
                }
                error = next;
            }
        }
    }

    /// Reads this connection only, to its end or its first error.
    pub(crate) async fn run_once(mut self) -> Result<(), SourceError> {
        let ended = self.dump().await;
        self.flush().await;
        ended.map(|_| ())
    }

    fn fail(&self, error: SourceError) {
        tracing::error!(%error, "reading the binlog ended");
        self.shared.update(|status| {
            status.is_connected = false;
            status.last_error = Some(error.to_string());
        });
        self.queue.fail(error);
    }

    /// After a pause, one try at each address.
    async fn again(&mut self, why: &SourceError) -> Result<(), SourceError> {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        tracing::warn!(error = %why, pause_ms = pause.as_millis(), "connecting again");
        self.shared.is_caught_up.store(false, Ordering::Relaxed);
        self.shared.update(|status| {
            status.is_connected = false;
            status.last_error = Some(why.to_string());
        });
        tokio::time::sleep(pause).await;
        let known =
            Known { server: Some(self.server.clone()), place: self.tracker.last_end().cloned() };
        let resume = Some(self.tracker.resume());
        let on_purged = OnPurged::Stop;
        let mut start = Start { config: &self.config, resume, known: &known, on_purged };
        let mut found = first_of(&mut start, &self.addresses, self.current, &self.shared).await;
        // Another address may still have what was purged at one, once it is back.
        let is_over = match &found {
            Err(SourceError::Purged { .. }) => true,
            Err(_) => pause >= PAUSE_MAX,
            Ok(_) => false,
        };
        if is_over && self.config.on_purged == OnPurged::Continue {
            start.on_purged = OnPurged::Continue;
            found = first_of(&mut start, &self.addresses, self.current, &self.shared).await;
        }
        let (current, opened) = found?;
        self.current = current;
        self.take_over(opened);
        Ok(())
    }

    fn take_over(&mut self, opened: Opened) {
        let Opened { connection, identity, resume, dump, purged, first } = opened;
        if identity.name != self.server {
            self.tracker.change_server();
        }
        if let (Some(missing), super::tracker::Resume::Gtid(done)) = (&purged, resume) {
            tracing::warn!(missing, "binlogs were purged before they were read");
            self.tracker.set_done(done);
        }
        self.tracker.reconnect(&dump);
        self.batch.items.push(server_item(&connection, &identity));
        self.batch.items.extend(purged.map(|missing| Item::Purged { missing }));
        self.connection = connection;
        self.first = first;
        self.server.clone_from(&identity.name);
        self.note(&identity);
        self.shared.update(|status| status.reconnects += 1);
    }

    /// Reads one connection's packets to its end.
    async fn dump(&mut self) -> Result<Ended, SourceError> {
        let patience = self.config.heartbeat * HEARTBEATS_MISSED_MAX;
        self.is_settled = false;
        self.large = None;
        let start = self.batch.bytes.len();
        self.batch.bytes.append(&mut self.first);
        let mut arrived = Some(start);
        let mut entered = false;
        loop {
            if let Some(start) = arrived.take() {
                if self.packet(start, &mut entered)? {
                    return Ok(Ended::CaughtUp);
                }
                if self.shared.is_done_wanted.load(Ordering::Relaxed)
                    && let Some(done) = self.tracker.done()
                {
                    self.shared.is_done_wanted.store(false, Ordering::Relaxed);
                    self.shared.set_done(&self.server, done.clone());
                }
                if let Some(what) = self.shared.take_alarm() {
                    let address = self.connection.address().to_string();
                    return Err(SourceError::History { address, what });
                }
                let is_full =
                    self.batch.bytes.len() >= BATCH_BYTES || self.batch.items.len() >= BATCH_ITEMS;
                if is_full && !self.flush().await {
                    return Ok(Ended::Unread);
                }
            }
            arrived = self
                .connection
                .packets
                .advance_whole(&mut self.batch.bytes)
                .map_err(|what| self.connection.protocol(what))?;
            if arrived.is_none() && !self.large_packet().await? {
                return Ok(Ended::Unread);
            }
            let patience = if self.is_settled { patience } else { patience.max(SEARCH_MAX) };
            if arrived.is_none() && !self.wait(patience).await? {
                return Ok(Ended::Unread);
            }
        }
    }

    /// Waits for more bytes; what is complete goes out first if there are none yet. False if
    /// nobody reads the queue.
    async fn wait(&mut self, patience: Duration) -> Result<bool, SourceError> {
        if !self.batch.items.is_empty() {
            let filled = tokio::select! {
                biased;
                filled = self.connection.packets.fill() => Some(filled),
                () = std::future::ready(()) => None,
            };
            match filled {
                Some(filled) => return self.filled(filled),
                None if !self.flush().await => return Ok(false),
                None => {}
            }
        }
        match timeout(patience, self.connection.packets.fill()).await {
            Ok(filled) => self.filled(filled),
            Err(_) => Err(silent(self.connection.address(), patience, READING)),
        }
    }

    fn filled(&self, filled: io::Result<usize>) -> Result<bool, SourceError> {
        match filled {
            Ok(0) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(true),
            Err(cause) => Err(self.lost(cause)),
        }
    }

    fn lost(&self, cause: io::Error) -> SourceError {
        lost(self.connection.address(), READING, cause)
    }

    /// Hands the batch over; what has arrived of an unfinished packet stays.
    pub(super) async fn flush(&mut self) -> bool {
        if self.batch.items.is_empty() {
            return true;
        }
        let mut next = self.queue.batch();
        self.connection.packets.detach(&mut self.batch.bytes, &mut next.bytes);
        let full = mem::replace(&mut self.batch, next);
        let boundary = self.tracker.boundary();
        let mut is_first = false;
        self.shared.update(|status| {
            is_first = status.file.is_empty();
            status.file = boundary.file.to_string();
            status.offset = boundary.offset;
        });
        if is_first {
            self.shared.is_connected.notify_one();
        }
        self.queue.send(full).await
    }

    /// One packet of the dump, which stands at `start` of the batch; true at the dump's end.
    /// `entered`: a file was named on this connection.
    fn packet(&mut self, start: usize, entered: &mut bool) -> Result<bool, SourceError> {
        if self.large.is_some() {
            return self.large_ends(start).map(|()| false);
        }
        let bytes = (self.batch.bytes.len() - start) as u64;
        match self.batch.bytes.get(start) {
            Some(0) => {}
            Some(0xfe) if bytes < 9 => {
                self.batch.bytes.truncate(start);
                return match self.config.once {
                    true if self.tracker.is_before_start() => Err(self.beyond_end()),
                    true => Ok(true),
                    false => Err(self.lost(io::Error::other("the server ended the dump"))),
                };
            }
            Some(0xff) => {
                let error = self.connection.server(&self.batch.bytes[start..], READING);
                self.batch.bytes.truncate(start);
                return Err(classify(error, &self.config, &self.tracker.resume()));
            }
            _ => {
                self.batch.bytes.truncate(start);
                return Err(self.connection.protocol("a packet that is no event"));
            }
        }
        let size = bytes - 1;
        self.shared.received_bytes.fetch_add(size, Ordering::Relaxed);
        let event = &self.batch.bytes[start + 1..];
        match Header::parse(event) {
            Ok(header) if u64::from(header.event_bytes) == size => {
                self.event(&header, start, entered)?;
            }
            Ok(header) => {
                let claimed = u64::from(header.event_bytes);
                self.damage(start, size, Malformed::EventSize { claimed, found: size });
            }
            Err(cause) => self.damage(start, size, cause),
        }
        Ok(false)
    }

    pub(super) fn damage(&mut self, start: usize, bytes: u64, cause: Malformed) {
        self.batch.bytes.truncate(start);
        let offset = self.tracker.damage(bytes);
        let end = offset.saturating_add(bytes);
        // What comes before the start is not delivered, damaged or not.
        let offset = offset.max(self.tracker.starts_at());
        if offset < end || bytes == 0 {
            let bytes = end.saturating_sub(offset);
            self.batch.items.push(Item::Damage { offset, bytes, cause });
        }
    }

    /// An event whose status byte stands at `start` of the batch.
    fn event(
        &mut self,
        header: &Header,
        start: usize,
        entered: &mut bool,
    ) -> Result<(), SourceError> {
        let event = &self.batch.bytes[start + 1..];
        let offset = self.tracker.place(header);
        if let Some((here, original)) = event::commit_times(event, header) {
            self.shared.committed(here, original);
        }
        let deliver = match header.kind {
            kind::HEARTBEAT | kind::HEARTBEAT_V2 if self.tracker.is_before_start() => {
                return Err(self.beyond_end());
            }
            kind::HEARTBEAT | kind::HEARTBEAT_V2 => {
                self.is_settled = true;
                // MySQL sends one also while it passes over known transactions, before the first
                // new one: only the end of a dump that ends says that there is no more.
                if !self.config.once {
                    self.shared.is_caught_up.store(true, Ordering::Relaxed);
                    self.batch.items.push(Item::CaughtUp);
                }
                false
            }
            kind::ROTATE if !header.advances() => {
                let Some((at, name)) = event::rotate(event) else {
                    return Err(self.connection.protocol("a file change without a name"));
                };
                if *entered && self.tracker.is_before_start() {
                    return Err(self.beyond_end());
                }
                *entered = true;
                let name = self.tracker.enter(name, at);
                // What comes before the start is not delivered.
                let offset = at.max(self.tracker.starts_at());
                self.batch.items.push(Item::File { name, offset });
                false
            }
            // Invented for this connection, or already undone by the server.
            kind::MARIA_GTID_LIST if header.is_artificial() => false,
            kind::START_ENCRYPTION => {
                self.tracker.event(header, event, offset);
                false
            }
            kind::QUERY | kind::XID | kind::TRANSACTION_PAYLOAD => {
                self.is_settled = true;
                self.tracker.event(header, event, offset)
            }
            _ => self.tracker.event(header, event, offset),
        };
        if header.kind == kind::FORMAT_DESCRIPTION && !self.tracker.begun(header.timestamp_secs) {
            return Err(self.broken(
                "stands in a file that was begun anew since it was read; the server was reset",
            ));
        }
        if self.tracker.is_misplaced() {
            return Err(self.broken("lies inside an event"));
        }
        self.after_event(header)?;
        if deliver {
            let range = start + 1..self.batch.bytes.len();
            self.batch.items.push(Item::Event { offset, range });
        } else {
            self.batch.bytes.truncate(start);
        }
        Ok(())
    }

    pub(super) fn after_event(&mut self, header: &Header) -> Result<(), SourceError> {
        if self.tracker.is_full() {
            return Err(self.connection.protocol("GTIDs of more sources than a topology has"));
        }
        if let Some(done) = self.tracker.take_announced() {
            self.batch.items.push(Item::Executed { done });
        }
        if header.advances() {
            self.shared.is_caught_up.store(false, Ordering::Relaxed);
            self.pause = PAUSE_MIN;
        }
        Ok(())
    }

    fn beyond_end(&self) -> SourceError {
        self.broken("is beyond the end of its file")
    }

    fn broken(&self, how: &str) -> SourceError {
        SourceError::History {
            address: self.connection.address().to_string(),
            what: format!("{} {how}", self.tracker.boundary()),
        }
    }
}
