//! Where transactions begin and end, what statements and gaps are told in between.

use std::fmt::Write as _;

use phiwatch_binlog::{
    BinlogPosition, Decoder, End, Gap, Limits, Plan, Projection, RowChange, Seen, Statement, Table,
    Transaction, Visitor,
};

use crate::build::{self, Builder};
use crate::files;

/// Everything that a visitor is told, as one word after the other.
#[derive(Default)]
pub struct Log {
    pub text: String,
    pub gaps: Vec<Gap>,
    pub rows: u64,
}

impl Log {
    fn word(&mut self, word: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(word);
    }
}

impl Visitor for Log {
    fn table(&mut self, table: &Table) -> Plan {
        self.word(&format!("map:{}", table.name));
        let projection =
            if table.name.starts_with("ignored") { Projection::Ignore } else { Projection::All };
        Plan { projection, handle: 0 }
    }
    fn file(&mut self, name: &std::sync::Arc<str>, _: u32, _: &str) {
        self.word(&format!("file:{name}"));
    }
    fn begin(&mut self, transaction: &Transaction) {
        self.word(&format!("begin:{}", number(transaction)));
    }
    fn row(&mut self, transaction: &Transaction, change: &RowChange<'_>) {
        self.rows += 1;
        let thread = transaction.thread.map_or_else(|| "-".into(), |thread| thread.to_string());
        let RowChange { row, statement, .. } = change;
        self.word(&format!("row:{}/{thread}/{statement}.{row}", number(transaction)));
    }
    fn ignored(&mut self, table: &Table, bytes: usize) {
        self.word(&format!("ignored:{}:{bytes}", table.name));
    }
    fn statement(&mut self, transaction: &Transaction, statement: &Statement<'_>) {
        let mut word = format!("{:?}", statement.kind);
        for name in &statement.tables {
            write!(word, ":{}.{}", name.database, name.table).unwrap();
        }
        for name in &statement.sources {
            write!(word, "<{}.{}", name.database, name.table).unwrap();
        }
        assert!(!format!("{statement:?} {transaction:?}").contains("SECRET"));
        self.word(&word);
    }
    fn end(&mut self, _: &Transaction, end: &End, next: &BinlogPosition) {
        let name = match end {
            End::XaPrepared(xid) => format!("prepared({})", xid.0),
            End::XaCommit(xid) => format!("xacommit({})", xid.0),
            End::XaRollback(xid) => format!("xarollback({})", xid.0),
            other => format!("{other:?}").to_lowercase(),
        };
        assert!(next.offset >= 4);
        self.word(&name);
    }
    fn gap(&mut self, gap: &Gap) {
        self.word(&format!("gap:{}", gap.cause.label()));
        self.gaps.push(gap.clone());
    }
}

fn number(transaction: &Transaction) -> String {
    let Some(gtid) = &transaction.gtid else { return "-".into() };
    let gtid = gtid.to_string();
    gtid.rsplit([':', '-']).next().unwrap().to_owned()
}

#[track_caller]
fn check(file: &Builder, want: &str) -> Log {
    let mut log = Log::default();
    files::decode("d/f", &file.bytes, &mut log);
    let got = log.text.strip_prefix("file:f ").unwrap_or(&log.text).to_owned();
    assert_eq!(got, want);
    log
}

fn file() -> Builder {
    Builder::new("9.7.0", true)
}

#[test]
fn a_transaction_of_two_statements() {
    let mut file = file();
    file.gtid(5);
    file.query("BEGIN");
    file.event(19, 0, &build::table_map(9));
    file.event(30, 0, &build::write_rows(9, &[1, 2]));
    file.event(19, 0, &build::table_map(9));
    file.event(30, 0, &build::write_rows(9, &[3]));
    file.xid();
    check(&file, "begin:5 map:t row:5/7/0.0 row:5/7/0.1 row:5/7/1.0 commit");
}

#[test]
fn ddl_commits_by_itself_and_control_is_silent() {
    let mut file = file();
    file.gtid(1);
    file.query("CREATE TABLE x (a int)");
    file.gtid(2);
    file.query("BEGIN");
    file.query("SAVEPOINT `s`");
    file.query("ROLLBACK TO `s`");
    file.query("COMMIT");
    file.gtid(3);
    file.query("BEGIN");
    file.query("ROLLBACK");
    file.query("DROP TABLE x");
    file.query("# Dummy");
    check(
        &file,
        "begin:1 CreateTable:d.x commit begin:2 commit begin:3 rollback begin:- DropTable:d.x commit",
    );
}

#[test]
fn rows_of_a_created_table_belong_to_its_statement() {
    let mut file = file();
    file.gtid(1);
    file.query("BEGIN");
    file.query("CREATE TABLE `t` (a int) START TRANSACTION");
    file.event(19, 0, &build::table_map(9));
    file.event(30, 0, &build::write_rows(9, &[1]));
    file.xid();
    file.query("BEGIN");
    file.query("CREATE TABLE `t` (a int)");
    file.query("COMMIT");
    let group = "begin:1 CreateTableSelect:d.t map:t row:1/7/0.0 commit";
    check(&file, &format!("{group} begin:- CreateTableSelect:d.t commit"));
}

#[test]
fn changes_as_text_are_gaps() {
    let mut file = file();
    file.gtid(1);
    file.query("BEGIN");
    file.event(5, 0, &[2, 1, 0, 0, 0, 0, 0, 0, 0]);
    file.query("INSERT INTO t VALUES ('SECRET')");
    file.xid();
    file.query("UPDATE t SET a = 'SECRET'");
    let log = check(
        &file,
        "begin:1 Dml:d.t gap:statement_format commit begin:- Dml:d.t gap:statement_format commit",
    );
    let gap = log.gaps.first().unwrap();
    assert_eq!(gap.table.as_ref().unwrap().table.as_ref(), "t");
    assert!(gap.gtid.is_some() && !gap.cause.to_string().contains("SECRET"));
}

#[test]
fn a_statement_that_failed_midway_is_a_gap() {
    let mut file = file();
    let mut body = build::query("DROP TABLE a, b");
    body[9..11].copy_from_slice(&1051_u16.to_le_bytes());
    file.event(2, 0, &body);
    check(&file, "begin:- DropTable:d.a:d.b gap:partial_statement commit");
}

#[test]
fn load_data_as_text_is_one_gap() {
    let mut file = file();
    file.query("BEGIN");
    file.event(17, 0, &[1, 0, 0, 0, b'S', b'E', b'C']);
    let mut body = build::query("LOAD DATA INFILE 'SECRET' INTO TABLE t");
    body.splice(13..13, [0; 13]);
    file.event(18, 0, &body);
    file.xid();
    check(&file, "begin:- LoadData:d.t gap:statement_format commit");
}

#[test]
fn what_has_no_end_is_torn() {
    let mut file = file();
    file.gtid(1);
    file.query("BEGIN");
    file.gtid(2);
    file.query("BEGIN");
    file.query("BEGIN");
    check(&file, "begin:1 torn begin:2 torn begin:- torn");
}

#[test]
fn xa_ends_twice() {
    let mut file = file();
    file.gtid(1);
    file.query("XA START X'7831',X'',1");
    file.event(19, 0, &build::table_map(9));
    file.event(30, 0, &build::write_rows(9, &[1]));
    file.query("XA END X'7831',X'',1");
    file.event(38, 0, &[&[0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0][..], b"x1"].concat());
    file.gtid(2);
    file.query("XA COMMIT X'7831',X'',1");
    file.gtid(3);
    file.query("XA ROLLBACK X'7832',X'',1");
    let first = "begin:1 map:t row:1/7/0.0 prepared(X'7831',X'',1)";
    check(
        &file,
        &format!("{first} begin:2 xacommit(X'7831',X'',1) begin:3 xarollback(X'7832',X'',1)"),
    );
}

#[test]
fn maria_groups_have_no_begin() {
    let mut file = Builder::new("10.11.18-MariaDB", true);
    let gtid = |sequence: u64, flags: u8| {
        [&sequence.to_le_bytes()[..], &[0; 4], &[flags], &[0; 6]].concat()
    };
    file.event(162, 8, &gtid(1, 4));
    file.event(160, 0, b"INSERT 'SECRET'");
    file.event(19, 0, &build::table_map(9));
    file.event(23, 0, &{
        let mut rows = build::write_rows(9, &[1]);
        rows.drain(8..10);
        rows
    });
    file.xid();
    file.event(162, 8, &gtid(2, 1));
    file.query("CREATE TABLE x (a int)");
    file.event(162, 8, &gtid(3, 0));
    file.query("CREATE TABLE x (a int)");
    file.query("COMMIT");
    let first = "begin:1 map:t row:1/-/0.0 commit begin:2 CreateTable:d.x commit";
    check(&file, &format!("{first} begin:3 CreateTableSelect:d.x commit"));
}

#[test]
fn unknown_events_are_gaps_unless_ignorable() {
    let mut file = file();
    file.event(200, 0x80, b"x");
    file.event(200, 0, b"x");
    file.event(26, 0, &[1, 0, 0]);
    file.event(172, 0, b"x");
    check(&file, "gap:unknown_event gap:incident gap:unknown_event");
}

#[test]
fn rows_need_their_map_and_ignored_tables_are_counted() {
    let mut file = file();
    file.query("BEGIN");
    file.event(30, 0, &build::write_rows(9, &[1]));
    let name = b"\x07ignored\0";
    let mut map = build::table_map(8);
    map.splice(11..14, name.iter().copied());
    file.event(19, 0, &map);
    file.event(30, 0, &build::write_rows(8, &[1]));
    file.event(30, 0, &[0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 2, 0, 0]);
    file.xid();
    check(&file, "begin:- gap:unmapped_table map:ignored ignored:ignored:17 commit");
}

#[test]
fn a_map_is_told_again_only_if_it_differs() {
    let mut file = file();
    file.query("BEGIN");
    file.event(19, 0, &build::table_map(9));
    file.event(19, 0, &build::table_map(9));
    let mut other = build::table_map(9);
    *other.last_mut().unwrap() = b'b';
    file.event(19, 0, &other);
    let mut refused = build::table_map(9);
    refused[15] = 243;
    file.event(19, 0, &refused);
    file.event(30, 0, &build::write_rows(9, &[1]));
    file.xid();
    check(&file, "begin:- map:t map:t gap:column_type commit");
}

fn payload(events: &[Vec<u8>], compression: u8) -> Vec<u8> {
    let plain = events.concat();
    let data = if compression == 0 {
        zstd::encode_all(plain.as_slice(), 3).unwrap()
    } else {
        plain.clone()
    };
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_le_bytes();
    let mut body = vec![2, 1, compression, 1, 3, 0xfc];
    body.extend(length(data.len()));
    body.extend([3, 3, 0xfc]);
    body.extend(length(plain.len()));
    body.push(0);
    body.extend(data);
    body
}

fn inner() -> Vec<Vec<u8>> {
    let event = |kind: u8, body: &[u8]| build::event(kind, 0, body, 0, false);
    vec![
        event(2, &build::query("BEGIN")),
        event(19, &build::table_map(9)),
        event(30, &build::write_rows(9, &[1, 2])),
        event(30, &build::write_rows(9, &[3])),
        event(16, &[0; 8]),
    ]
}

#[test]
fn rows_of_a_payload_count_on() {
    for (compression, code) in [(0, 0), (255, 0xff)] {
        let mut file = file();
        file.gtid(1);
        let mut body = payload(&inner(), compression);
        if code == 0xff {
            body.splice(2..3, [0xfc, 0xff, 0]);
            body[1] = 3;
        }
        file.event(40, 0, &body);
        check(&file, "begin:1 map:t row:1/7/0.0 row:1/7/0.1 row:1/7/1.2 commit");
    }
}

#[test]
fn a_broken_payload_is_one_gap_and_tears_its_transaction() {
    let mut file = file();
    file.gtid(1);
    let mut body = payload(&inner(), 0);
    body.truncate(body.len() - 9);
    let at = file.event(40, 0, &body);
    file.gtid(2);
    file.query("COMMIT");
    let log = check(&file, "begin:1 gap:truncated torn begin:2 commit");
    assert_eq!(log.gaps.first().unwrap().at.offset, at);

    let mut events = inner();
    events[2] = build::event(30, 0, b"short", 0, false);
    events.insert(1, build::event(33, 0, &[0; 25], 0, false));
    let mut other = self::file();
    other.gtid(1);
    other.event(40, 0, &payload(&events, 0));
    check(&other, "begin:1 gap:unsupported map:t row:1/7/0.0 commit");
}

#[test]
fn a_live_stream_names_its_files() {
    let mut log = Log::default();
    let mut decoder = Decoder::new(Limits::default());
    decoder.start_file("");
    let rotate = |name: &str| [&4_u64.to_le_bytes()[..], name.as_bytes()].concat();
    // MariaDB's fake ROTATE has a checksum although no format description came.
    for checksum in [false, true] {
        let fake = build::event(4, 0x20, &rotate("b.000007"), 0, checksum);
        let seen = decoder.event(0, &fake, &mut log);
        assert_eq!(seen, Seen::Rotate { file: "b.000007".into(), offset: 4, artificial: true });
        assert_eq!(decoder.file().as_ref(), "b.000007");
    }
    let format = file().bytes.split_off(4);
    assert_eq!(decoder.event(4, &format, &mut log), Seen::FormatDescription);
    assert!(decoder.checksums());
    let beat = build::event(27, 0, b"b.000007", 1234, true);
    assert_eq!(decoder.event(1234, &beat, &mut log), Seen::Heartbeat { offset: Some(1234) });
    let beat = build::event(41, 0, &[1, 1, b'b', 2, 9, 0xfe, 0, 0, 0, 0, 2, 0, 0, 0, 0], 0, true);
    assert_eq!(decoder.event(1234, &beat, &mut log), Seen::Heartbeat { offset: Some(2 << 32) });
    // Decrypted by the server.
    decoder.event(200, &build::event(164, 0, &[1; 17], 300, true), &mut log);
    assert!(!decoder.is_encrypted());
    let real = build::event(4, 0, &rotate("b.000008"), 400, true);
    let seen = decoder.event(360, &real, &mut log);
    assert_eq!(seen, Seen::Rotate { file: "b.000008".into(), offset: 4, artificial: false });
    assert_eq!(log.text, "file:b.000007");
}

#[test]
fn a_reconnect_tears_what_was_open() {
    let mut log = Log::default();
    let mut decoder = Decoder::default();
    let mut first = file();
    first.gtid(1);
    first.query("BEGIN");
    decoder.start_file("a.1");
    let bytes = first.bytes.clone();
    let mut offset = 4;
    while offset < bytes.len() {
        let size = u32::from_le_bytes(bytes[offset + 9..offset + 13].try_into().unwrap()) as usize;
        decoder.event(offset as u64, &bytes[offset..offset + size], &mut log);
        offset += size;
    }
    assert!(decoder.in_transaction());
    decoder.start_file("/x/a.2");
    assert!(!decoder.in_transaction());
    files::feed(&mut decoder, &first.bytes, &mut log);
    assert_eq!(log.text, "file:a.1 begin:1 torn file:a.2 begin:1 torn");
}

#[test]
fn the_rest_of_an_encrypted_file_is_one_gap() {
    let mut file = Builder::new("10.11.18-MariaDB", true);
    file.event(164, 0, &[1; 17]);
    file.gtid(1);
    file.query("BEGIN");
    check(&file, "gap:encrypted");
}

/// What the recordings of transactions and statements hold, in short: the word per transaction.
#[test]
fn recorded_statements_are_recognised() {
    for server in ["mysql-9.7", "mariadb-10.11", "mariadb-11.8"] {
        let mut log = Log::default();
        for name in ["transactions", "statements", "accounts", "xa", "query-events"] {
            let name = format!("{server}/{name}.binlog");
            files::decode(&name, &files::binlog(&name), &mut log);
        }
        for word in ["Unknown", "torn", "gap:unknown_event", "gap:unmapped_table"] {
            assert!(!log.text.contains(word), "{server}: {word}");
        }
        for word in [
            "Dml:types.st gap:statement_format commit",
            "LoadData:types.st gap:statement_format",
            "CreateTableSelect:types.copied",
            "CreateTableLike:types.like_it<types.parent",
            "RenameTable:types.renamed<types.like_it",
            "TruncateTable:types.log",
            "DropTable:types.copied:types.renamed",
            "CreateCode:types.acted_view<types.acted",
            "Grant:types.",
            "AccountRemoved",
            "Database:types_other.",
            "prepared(X'676f6f64',X'6272616e6368',7)",
            "xacommit(X'676f6f64',X'6272616e6368',7)",
            "xarollback(X'626164',X'',1)",
        ] {
            assert!(log.text.contains(word), "{server}: {word}");
        }
        assert_eq!(log.text.matches("begin:").count(), ends(&log.text), "{server}");
    }
}

/// Ends told.
fn ends(text: &str) -> usize {
    let is_end = |word: &&str| {
        matches!(*word, "commit" | "rollback" | "torn")
            || ["prepared(", "xacommit(", "xarollback("].iter().any(|end| word.starts_with(end))
    };
    text.split(' ').filter(is_end).count()
}

#[test]
fn field_39_a_table_id_used_again_in_the_next_file_is_another_table() {
    let mut first = file();
    first.query("BEGIN");
    first.event(19, 0, &build::table_map(9));
    first.event(30, 0, &build::write_rows(9, &[1]));
    first.xid();
    let mut second = file();
    second.query("BEGIN");
    // The rows of a table whose map was lost: not of the last file's table with this id.
    second.event(30, 0, &build::write_rows(9, &[1]));
    second.xid();
    let mut log = Log::default();
    let mut decoder = Decoder::new(Limits::default());
    for (name, bytes) in [("one", &first.bytes), ("two", &second.bytes)] {
        decoder.start_file(name);
        files::feed(&mut decoder, bytes, &mut log);
    }
    let want =
        "file:one begin:- map:t row:-/7/0.0 commit file:two begin:- gap:unmapped_table commit";
    assert_eq!(log.text, want);
}

/// Servers of which there is no recording differ in what their events end with: built by hand
/// after their sources.
#[test]
fn events_of_older_servers_are_read() {
    // Number 5; 5.7 adds the logical clock, 8.0 the commit time (and the length and version).
    let of_5_6 = [&[1][..], &[0xaa; 16], &5_u64.to_le_bytes()].concat();
    let of_5_7 = [&of_5_6[..], &[2], &[0; 16]].concat();
    let time = 1_700_000_000_000_000_u64.to_le_bytes();
    let of_8_0 = [&of_5_7[..], &time[..7], &[200], &80_034_u32.to_le_bytes()].concat();
    // Without what says names, signs and keys.
    let mut plain_map = build::table_map(9);
    plain_map.truncate(plain_map.len() - 4);
    // Rows of version 1 have no extra field behind the flags.
    let mut rows_v1 = build::write_rows(9, &[1]);
    rows_v1.drain(8..10);
    for (version, types, gtid, map, kind, rows) in [
        ("5.5.62", 27, None, &plain_map, 23, &rows_v1),
        ("5.6.51", 35, Some(&of_5_6), &plain_map, 30, &build::write_rows(9, &[1])),
        ("5.7.44", 38, Some(&of_5_7), &plain_map, 30, &build::write_rows(9, &[1])),
        ("8.0.36", 41, Some(&of_8_0), &build::table_map(9), 30, &build::write_rows(9, &[1])),
        ("8.4.5", 42, Some(&of_8_0), &build::table_map(9), 30, &build::write_rows(9, &[1])),
    ] {
        for checksums in [false, true].into_iter().filter(|checksums| !checksums || types > 27) {
            let mut file = Builder::of_types(version, checksums, types);
            if let Some(gtid) = gtid {
                file.event(33, 0, gtid);
            }
            file.query("BEGIN");
            file.event(19, 0, map);
            file.event(kind, 0, rows);
            file.xid();
            let number = if gtid.is_some() { "5" } else { "-" };
            check(&file, &format!("begin:{number} map:t row:{number}/7/0.0 commit"));
        }
    }
}
