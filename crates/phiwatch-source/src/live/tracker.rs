//! How far the stream has come: file, offset, and the last transaction that was delivered whole.
//!
//! Input: every event of the dump, in order. Output: [`Tracker::resume`], where a new connection
//! goes on without a transaction lost or repeated.
//!
//! # Invariants
//! - A GTID counts as done only when its transaction's last event was delivered.
//! - `boundary` is never inside a transaction: table maps and rows stay together.

use std::sync::Arc;

use phiwatch_binlog::{
    BinlogPosition, Gtid, GtidState, MariaGtidState,
    framing::{Header, offset_in_dump},
};

use super::event::{self, Query, kind};

/// Where a connection is to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resume {
    /// After these transactions.
    Gtid(GtidState),
    /// At an event border.
    Position(BinlogPosition),
}

/// What a connection's dump needs from the tracker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dump {
    /// Events of the first file before this offset are passed over; 0 = none.
    pub(crate) skip_until: u64,
    /// MariaDB from a file's head: its GTID_LIST says which transactions came before.
    pub(crate) adopt_list: bool,
    /// MariaDB from a file's head although some transactions are done: pass over these.
    pub(crate) filter_known: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    /// Between transactions.
    Outside,
    /// After a GTID event: the next event tells whether it is a group or a single statement.
    Announced,
    /// In a group that ends with XID, COMMIT, ROLLBACK or XA PREPARE.
    Open,
}

/// The state; one for the life of a source, over all its connections.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// Transactions delivered whole, where the server numbers them and it is known from where.
    done: Option<GtidState>,
    /// MariaDB, started from a file's head: the file's GTID_LIST tells what came before.
    adopt_list: bool,
    /// Pass over MariaDB transactions of `done`, too. Off in general: without strict mode a domain's
    /// numbers need not ascend.
    filter_maria: bool,
    /// Where the next event stands.
    offset: u64,
    file: Arc<str>,
    boundary: BinlogPosition,
    group: Group,
    pending: Option<Gtid>,
    checksums: bool,
    /// The transaction under way was delivered before: it is passed over.
    skipping: bool,
    /// Events before this offset of the first file are passed over (a start beyond 4 GiB).
    skip_until: u64,
}

impl Tracker {
    /// `resume` is where the first connection starts.
    pub(crate) fn new(resume: Resume) -> Self {
        let nowhere = BinlogPosition { file: Arc::from(""), offset: 4 };
        let (done, boundary) = match resume {
            Resume::Gtid(done) => (Some(done), nowhere),
            Resume::Position(position) => (None, position),
        };
        Self {
            done,
            adopt_list: false,
            filter_maria: false,
            offset: 4,
            file: boundary.file.clone(),
            boundary,
            group: Group::Outside,
            pending: None,
            checksums: false,
            skipping: false,
            skip_until: 0,
        }
    }

    /// Where the next connection goes on.
    pub(crate) fn resume(&self) -> Resume {
        match &self.done {
            Some(done) => Resume::Gtid(done.clone()),
            None => Resume::Position(self.boundary.clone()),
        }
    }

    pub(crate) fn boundary(&self) -> &BinlogPosition {
        &self.boundary
    }

    /// Counts purged transactions as done.
    pub(crate) fn set_done(&mut self, done: GtidState) {
        self.done = Some(done);
    }

    /// A new connection: what was under way comes again. `skip_until`: events of the first file
    /// before this offset come, but are passed over.
    pub(crate) fn reconnect(&mut self, dump: &Dump) {
        self.group = Group::Outside;
        self.pending = None;
        self.skipping = false;
        self.skip_until = dump.skip_until;
        self.adopt_list = dump.adopt_list;
        self.filter_maria = dump.filter_known;
    }

    /// The start was not reached yet.
    pub(crate) fn is_before_start(&self) -> bool {
        self.skip_until > 0
    }

    /// A file begins or goes on at `offset`.
    pub(crate) fn enter(&mut self, name: &str, offset: u64) -> Arc<str> {
        if *self.file != *name {
            self.file = Arc::from(name);
        }
        self.offset = offset;
        self.group = Group::Outside;
        self.pending = None;
        if offset >= self.skip_until {
            self.skip_until = 0;
        }
        if self.skip_until == 0 {
            self.mark(offset);
        }
        self.file.clone()
    }

    /// Where an event stands that has this header.
    pub(crate) fn place(&self, header: &Header) -> u64 {
        match header.kind {
            kind::FORMAT_DESCRIPTION => 4,
            _ => offset_in_dump(header, self.offset),
        }
    }

    /// Bytes that are no event, or none that is read: they take up room.
    pub(crate) fn damage(&mut self, bytes: u64) -> u64 {
        let at = self.offset;
        self.offset += bytes;
        at
    }

    /// Takes note of an event that stands at `at`; false if it was delivered before. `event` may
    /// be only the first bytes of a refused one.
    pub(crate) fn event(&mut self, header: &Header, event: &[u8], at: u64) -> bool {
        if header.kind == kind::FORMAT_DESCRIPTION {
            self.checksums = event::has_checksums(event);
        }
        if !header.advances() {
            return true;
        }
        let end = at + u64::from(header.event_bytes);
        self.offset = end;
        if self.skip_until > 0 {
            if at < self.skip_until {
                return header.kind == kind::FORMAT_DESCRIPTION;
            }
            self.skip_until = 0;
        }
        if header.kind == kind::MARIA_GTID_LIST && self.adopt_list {
            self.adopt(event);
        }
        let begins = matches!(
            header.kind,
            kind::GTID | kind::ANONYMOUS_GTID | kind::GTID_TAGGED | kind::MARIA_GTID
        );
        if begins {
            self.begin(header, event);
        }
        let deliver = !self.skipping;
        let ends = match header.kind {
            _ if begins => false,
            kind::XID | kind::XA_PREPARE | kind::TRANSACTION_PAYLOAD | kind::INCIDENT => true,
            kind::QUERY => self.query(event::query(event, self.checksums)),
            kind::MARIA_QUERY_COMPRESSED => self.query(Query::Other),
            _ => self.group == Group::Outside,
        };
        if ends {
            self.finish(end);
        }
        deliver
    }

    fn adopt(&mut self, event: &[u8]) {
        if let Some(list) = event::gtid_list(event) {
            let mut state = MariaGtidState::default();
            list.iter().for_each(|gtid| state.update(gtid));
            // After a purge in one domain, others may have been read further.
            if let Some(GtidState::MariaDb(ours)) = &self.done {
                let ahead: Vec<_> = ours.iter().filter(|gtid| !state.contains(gtid)).collect();
                ahead.iter().for_each(|gtid| state.update(gtid));
            }
            self.done = Some(GtidState::MariaDb(state));
            self.adopt_list = false;
        }
    }

    fn begin(&mut self, header: &Header, event: &[u8]) {
        let found = event::gtid(event, header.kind, header.server_id);
        // MariaDB's GTID stands for BEGIN, unless one statement follows that commits by itself.
        let is_group = matches!(&found, Some((Gtid::MariaDb { .. }, false)));
        self.group = if is_group { Group::Open } else { Group::Announced };
        self.pending = found.map(|(gtid, _)| gtid);
        self.skipping = match (&self.pending, &self.done) {
            (Some(gtid @ Gtid::MySql { .. }), Some(done)) => done.contains(gtid),
            (Some(gtid), Some(done)) => self.filter_maria && done.contains(gtid),
            _ => false,
        };
    }

    /// Whether the statement ends a transaction.
    fn query(&mut self, query: Query) -> bool {
        match (query, self.group) {
            (Query::Begin, _) => {
                self.group = Group::Open;
                false
            }
            (Query::End, _) => true,
            (Query::Other, group) => group != Group::Open,
        }
    }

    fn finish(&mut self, end: u64) {
        if let (Some(gtid), Some(done), false) =
            (self.pending.take(), &mut self.done, self.skipping)
        {
            done.insert(&gtid);
        }
        self.group = Group::Outside;
        self.skipping = false;
        self.mark(end);
    }

    fn mark(&mut self, offset: u64) {
        self.boundary = BinlogPosition { file: self.file.clone(), offset };
    }
}
