//! How far the stream has come: file, offset, and the last transaction that was delivered whole.
//!
//! Input: every event of the dump, in order. Output: [`Tracker::resume`], where a new connection
//! goes on without a transaction lost or repeated.
//!
//! # Invariants
//! - A GTID counts as done only when its transaction's last event was delivered.
//! - `boundary` is never inside a transaction: table maps and rows stay together.

use std::{fmt, sync::Arc};

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

impl fmt::Display for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gtid(state) => state.fmt(f),
            Self::Position(position) => position.fmt(f),
        }
    }
}

/// What a connection's dump needs from the tracker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dump {
    /// Events of the first file before this offset are passed over; 0 = none.
    pub(crate) skip_until: u64,
    /// From a file's head: its GTID_LIST or PREVIOUS_GTIDS says which transactions came before.
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
    /// Started from a file's head: its GTID_LIST or PREVIOUS_GTIDS tells what came before.
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
    /// What `done` was before the first event, until it is told.
    announced: Option<GtidState>,
    /// A transaction had no room in `done`.
    is_full: bool,
    /// End of the last transaction that this server delivered whole.
    last_end: Option<BinlogPosition>,
    /// The start lies inside an event.
    is_misplaced: bool,
    /// The file and when it was begun, by its format description.
    begun: Option<(Arc<str>, u32)>,
}

impl Tracker {
    /// `resume` is where the first connection starts.
    pub(crate) fn new(resume: Resume) -> Self {
        let nowhere = BinlogPosition { file: Arc::from(""), offset: 4 };
        let (done, boundary) = match resume {
            Resume::Gtid(done) => (Some(done), nowhere),
            Resume::Position(position) => (None, position),
        };
        let announced = done.clone();
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
            announced,
            is_full: false,
            last_end: None,
            is_misplaced: false,
            begun: None,
        }
    }

    /// More sources of GTIDs came than any topology has: reading cannot go on.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Once: the transactions that count as done before the first event. A reader that keeps
    /// only what it saw would ask for them again, purged or not.
    pub(crate) fn take_announced(&mut self) -> Option<GtidState> {
        self.announced.take()
    }

    /// Where the next connection goes on.
    pub(crate) fn resume(&self) -> Resume {
        match &self.done {
            Some(done) if self.skip_until == 0 => Resume::Gtid(done.clone()),
            _ => Resume::Position(self.boundary.clone()),
        }
    }

    pub(crate) fn boundary(&self) -> &BinlogPosition {
        &self.boundary
    }

    /// End of the last transaction that was delivered whole from the current server, where it is
    /// in one of its files.
    pub(crate) fn last_end(&self) -> Option<&BinlogPosition> {
        self.last_end.as_ref()
    }

    /// Transactions delivered whole, and those before the start, once they are known.
    pub(crate) fn done(&self) -> Option<&GtidState> {
        self.done.as_ref().filter(|_| self.skip_until == 0)
    }

    /// Another server: places in the last one's files mean nothing there.
    pub(crate) fn change_server(&mut self) {
        self.last_end = None;
        self.begun = None;
    }

    /// The start lies inside an event.
    pub(crate) fn is_misplaced(&self) -> bool {
        self.is_misplaced
    }

    /// Notes when the current file was begun; false if it was begun at another time before, so
    /// that it is another file of the same name.
    pub(crate) fn begun(&mut self, secs: u32) -> bool {
        let is_other = matches!(
            &self.begun, Some((file, known)) if *file == self.file && *known != secs
        );
        self.begun = Some((self.file.clone(), secs));
        !is_other
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

    /// Events of the current file before this offset are not delivered; 0 = all are.
    pub(crate) fn starts_at(&self) -> u64 {
        self.skip_until
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
        self.mark(offset);
        self.file.clone()
    }

    /// Where an event stands that has this header.
    pub(crate) fn place(&self, header: &Header) -> u64 {
        match header.kind {
            // At a file's head, also where it is sent before a start in the middle.
            kind::FORMAT_DESCRIPTION if self.offset <= 4 || !header.advances() => 4,
            _ => offset_in_dump(header, self.offset),
        }
    }

    /// The next event begins not before `at`.
    pub(crate) fn reach(&mut self, at: u64) {
        self.offset = self.offset.max(at);
    }

    /// Bytes that are no event, or none that is read: they take up room.
    pub(crate) fn damage(&mut self, bytes: u64) -> u64 {
        let at = self.offset;
        self.offset = self.offset.saturating_add(bytes);
        at
    }

    /// Whether an event at `at`, inside a transaction, is one that was not delivered before.
    pub(crate) fn delivers(&self, at: u64) -> bool {
        !self.skipping && at >= self.skip_until
    }

    /// Takes note of an event that stands at `at`; false if it was delivered before. `event` may
    /// be only the first bytes of a large one.
    pub(crate) fn event(&mut self, header: &Header, event: &[u8], at: u64) -> bool {
        if header.kind == kind::FORMAT_DESCRIPTION {
            self.checksums = event::has_checksums(event);
        }
        if !header.advances() {
            return true;
        }
        let end = at.saturating_add(header.event_bytes.into());
        self.offset = end;
        if self.skip_until > 0 && at >= self.skip_until {
            self.reach_start();
        }
        let is_before_start = self.skip_until > 0;
        if header.kind == kind::MARIA_GTID_LIST && self.adopt_list {
            self.adopt(event);
        }
        if header.kind == kind::PREVIOUS_GTIDS && self.adopt_list {
            self.adopt_previous(event);
        }
        let begins = matches!(
            header.kind,
            kind::GTID | kind::ANONYMOUS_GTID | kind::GTID_TAGGED | kind::MARIA_GTID
        );
        if begins {
            self.begin(header, event);
        }
        let deliver = match is_before_start {
            true => header.kind == kind::FORMAT_DESCRIPTION,
            false => !self.skipping,
        };
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
        if is_before_start && end >= self.skip_until {
            self.is_misplaced = end > self.skip_until;
            self.reach_start();
        }
        deliver
    }

    /// All that comes before the start was passed over, and its transactions are known.
    fn reach_start(&mut self) {
        self.skip_until = 0;
        self.announced.clone_from(&self.done);
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
            self.announce();
            self.adopt_list = false;
        }
    }

    fn announce(&mut self) {
        if self.skip_until == 0 {
            self.announced.clone_from(&self.done);
        }
    }

    fn adopt_previous(&mut self, event: &[u8]) {
        if let Some(before) = event::previous_gtids(event, self.checksums) {
            let ours = match &self.done {
                Some(GtidState::MySql(ours)) => before.union(ours),
                _ => before,
            };
            self.done = Some(GtidState::MySql(ours));
            self.announce();
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
        let gtid = self.pending.take();
        let is_transaction = gtid.is_some() || self.group != Group::Outside;
        if let (Some(gtid), Some(done), false) = (gtid, &mut self.done, self.skipping) {
            if done.has_room(&gtid) {
                done.insert(&gtid);
            } else {
                self.is_full = true;
            }
        }
        self.group = Group::Outside;
        self.mark(end);
        if is_transaction && !self.skipping && self.skip_until == 0 {
            self.last_end = Some(self.boundary.clone());
        }
        self.skipping = false;
    }

    fn mark(&mut self, offset: u64) {
        if self.skip_until > 0 {
            return;
        }
        self.boundary = BinlogPosition { file: self.file.clone(), offset };
    }
}

#[cfg(test)]
mod tests {
    use phiwatch_binlog::GtidSet;

    use super::*;

    const UUID: [u8; 16] = [7; 16];

    /// A dump made of events one after the other.
    struct Dumped {
        tracker: Tracker,
        at: u64,
    }

    impl Dumped {
        fn new(resume: Resume, dump: Dump) -> Self {
            let mut tracker = Tracker::new(resume);
            tracker.reconnect(&dump);
            tracker.enter("binlog.000001", 4);
            Self { tracker, at: 4 }
        }

        /// Whether the event was delivered.
        fn event(&mut self, kind: u8, body: &[u8]) -> bool {
            let size = u32::try_from(19 + body.len()).unwrap();
            self.at += u64::from(size);
            let [a, b, c, d, ..] = self.at.to_le_bytes();
            let mut event = vec![0; 4];
            event.push(kind);
            event.extend(9_u32.to_le_bytes());
            event.extend(size.to_le_bytes());
            event.extend([a, b, c, d, 0, 0]);
            event.extend(body);
            let header = Header::parse(&event).unwrap();
            let at = self.tracker.place(&header);
            self.tracker.event(&header, &event, at)
        }

        fn gtid(&mut self, number: u64) -> bool {
            let body = [&[0], &UUID[..], &number.to_le_bytes()].concat();
            self.event(kind::GTID, &body)
        }

        fn maria_gtid(&mut self, sequence: u64, flags: u8) -> bool {
            let body = [&sequence.to_le_bytes()[..], &0_u32.to_le_bytes(), &[flags]].concat();
            self.event(kind::MARIA_GTID, &body)
        }

        fn query(&mut self, text: &str) -> bool {
            let body = [&[0; 13][..], &[0], text.as_bytes()].concat();
            self.event(kind::QUERY, &body)
        }

        #[track_caller]
        fn check(&self, done: &str, boundary: u64) {
            let got = self.tracker.done.as_ref().map(ToString::to_string).unwrap_or_default();
            assert_eq!((got.as_str(), self.tracker.boundary.offset), (done, boundary));
        }
    }

    fn mysql() -> Dumped {
        Dumped::new(Resume::Gtid("".parse().unwrap()), Dump::default())
    }

    const ROWS: u8 = 30;
    const ONE: &str = "07070707-0707-0707-0707-070707070707:1";

    #[test]
    fn transaction_counts_when_its_end_has_come() {
        let mut dump = mysql();
        dump.gtid(1);
        dump.query("BEGIN");
        dump.event(ROWS, b"row");
        dump.query("SAVEPOINT `a`");
        dump.query("ROLLBACK TO `a`");
        dump.check("", 4);
        dump.event(kind::XID, &[0; 8]);
        dump.check(ONE, dump.at);
    }

    #[test]
    fn each_form_of_a_transaction_ends() {
        for forms in [
            &["BEGIN", "COMMIT"][..],
            &["BEGIN", "CREATE TABLE t (i int) START TRANSACTION", "ROLLBACK"],
            &["CREATE TABLE t (i int)"],
            &["XA START X'61',X'',1", "XA END X'61',X'',1", "XA ROLLBACK X'61',X'',1"],
            &["XA COMMIT X'61',X'',1"],
        ] {
            let mut dump = mysql();
            dump.gtid(1);
            for text in forms {
                dump.check("", 4);
                dump.query(text);
            }
            dump.check(ONE, dump.at);
        }
        for last in [kind::XA_PREPARE, kind::TRANSACTION_PAYLOAD, kind::INCIDENT] {
            let mut dump = mysql();
            dump.gtid(1);
            dump.check("", 4);
            dump.event(last, b"");
            dump.check(ONE, dump.at);
        }
    }

    #[test]
    fn torn_transaction_does_not_count_and_comes_again() {
        let mut dump = mysql();
        dump.gtid(1);
        dump.query("BEGIN");
        dump.tracker.reconnect(&Dump::default());
        dump.tracker.enter("binlog.000001", 4);
        assert!(dump.gtid(1));
        dump.query("BEGIN");
        dump.event(kind::XID, &[0; 8]);
        dump.check(ONE, dump.at);
        // What was delivered whole is passed over should a server send it again.
        let boundary = dump.at;
        assert!(!dump.gtid(1) && !dump.query("BEGIN") && !dump.event(kind::XID, &[0; 8]));
        assert!(dump.at > boundary && dump.gtid(2));
    }

    #[test]
    fn mariadb_group_and_single_statement() {
        let mut dump = Dumped::new(Resume::Gtid("0-9-4".parse().unwrap()), Dump::default());
        dump.maria_gtid(5, 0);
        dump.query("CREATE TABLE t (i int)");
        dump.check("0-9-4", 4);
        dump.event(kind::XID, &[0; 8]);
        dump.check("0-9-5", dump.at);
        dump.maria_gtid(6, 1);
        dump.query("DROP TABLE t");
        dump.check("0-9-6", dump.at);
        // Without strict mode numbers may go backwards: never a reason to pass over.
        assert!(dump.maria_gtid(3, 1));
        dump.query("DROP TABLE t");
        dump.check("0-9-3", dump.at);
    }

    #[test]
    fn gtid_list_at_a_files_head_is_the_start() {
        let list = |sequence: u32| {
            let words = [1, 0, 9, sequence, 0].map(u32::to_le_bytes);
            words.concat()
        };
        let position = BinlogPosition { file: Arc::from("binlog.000001"), offset: 4 };
        let adopt = Dump { adopt_list: true, ..Dump::default() };
        let mut dump = Dumped::new(Resume::Position(position), adopt);
        dump.event(kind::MARIA_GTID_LIST, &list(40));
        dump.check("0-9-40", dump.at);
        assert!(matches!(dump.tracker.resume(), Resume::Gtid(_)));
        // After a purge: what was read further than the file's head is passed over.
        let again = Dump { filter_known: true, ..adopt };
        let mut dump = Dumped::new(Resume::Gtid("0-9-41".parse().unwrap()), again);
        dump.event(kind::MARIA_GTID_LIST, &list(40));
        dump.check("0-9-41", dump.at);
        assert!(!dump.maria_gtid(41, 1) && !dump.query("x"));
        assert!(dump.maria_gtid(42, 1) && dump.query("x"));
        dump.check("0-9-42", dump.at);
    }

    #[test]
    fn previous_gtids_at_a_files_head_are_the_start() {
        let before: GtidSet = "07070707-0707-0707-0707-070707070707:1-40".parse().unwrap();
        let position = BinlogPosition { file: Arc::from("binlog.000009"), offset: 4 };
        let adopt = Dump { adopt_list: true, ..Dump::default() };
        let mut dump = Dumped::new(Resume::Position(position), adopt);
        dump.event(kind::PREVIOUS_GTIDS, &before.encode());
        assert_eq!(dump.tracker.take_announced(), Some(GtidState::MySql(before.clone())));
        assert_eq!(dump.tracker.take_announced(), None);
        assert_eq!(dump.tracker.resume(), Resume::Gtid(GtidState::MySql(before.clone())));
        // Later files of the same dump begin with one, too: what was delivered counts.
        dump.gtid(41);
        dump.query("BEGIN");
        dump.event(kind::XID, &[0; 8]);
        dump.event(kind::PREVIOUS_GTIDS, &before.encode());
        let after = "07070707-0707-0707-0707-070707070707:1-41".parse().unwrap();
        assert_eq!(dump.tracker.resume(), Resume::Gtid(GtidState::MySql(after)));
    }

    #[test]
    fn start_beyond_4_gib_passes_over_what_comes_before() {
        let far = (4 << 30) + 500;
        let position = BinlogPosition { file: Arc::from("binlog.000001"), offset: far };
        let dump = Dump { skip_until: far, ..Dump::default() };
        let mut dump = Dumped::new(Resume::Position(position.clone()), dump);
        assert!(!dump.query("BEGIN") && !dump.event(kind::XID, &[0; 8]));
        assert!(dump.tracker.is_before_start());
        assert_eq!(dump.tracker.resume(), Resume::Position(position));
        // One event of almost two gigabytes after the other, until there.
        let mut damage = far - dump.at;
        while damage > 0 {
            let bytes = damage.min(1 << 31);
            dump.tracker.damage(bytes);
            dump.at += bytes;
            damage -= bytes;
        }
        assert!(dump.query("BEGIN") && dump.event(kind::XID, &[0; 8]));
        dump.check("", dump.at);
    }

    #[test]
    fn format_description_in_mid_file_does_not_lead_back() {
        let mut dump = mysql();
        dump.event(kind::FORMAT_DESCRIPTION, &[0; 80]);
        dump.gtid(1);
        dump.query("CREATE TABLE t (i int)");
        let before = dump.tracker.boundary.offset;
        dump.event(kind::FORMAT_DESCRIPTION, &[0; 80]);
        dump.gtid(2);
        dump.query("CREATE TABLE t (i int)");
        assert!(dump.tracker.boundary.offset > before);
        assert_eq!(dump.tracker.boundary.offset, dump.at);
    }

    #[test]
    fn offsets_end_where_numbers_end() {
        let mut dump = mysql();
        dump.tracker.enter("binlog.000001", u64::MAX - 1);
        dump.gtid(1);
        dump.tracker.damage(9);
        dump.query("CREATE TABLE t (i int)");
        assert_eq!(dump.tracker.boundary.offset, u64::MAX);
    }

    #[test]
    fn endless_sources_of_gtids_are_too_many() {
        let mut tracker = Tracker::new(Resume::Gtid("".parse().unwrap()));
        let mut sources = 0_u128;
        while !tracker.is_full() {
            assert!(sources < 30_000);
            let uuid = sources.to_be_bytes();
            tracker.pending = Some(Gtid::MySql { uuid, tag: String::new(), number: 1 });
            tracker.finish(100);
            sources += 1;
        }
        assert_eq!(sources, 20_001);
    }

    #[test]
    fn anonymous_transactions_move_the_position() {
        let position = BinlogPosition { file: Arc::from("binlog.000001"), offset: 4 };
        let mut dump = Dumped::new(Resume::Position(position), Dump::default());
        dump.event(kind::ANONYMOUS_GTID, &[0; 25]);
        dump.query("BEGIN");
        dump.check("", 4);
        dump.event(kind::XID, &[0; 8]);
        dump.check("", dump.at);
    }
}
