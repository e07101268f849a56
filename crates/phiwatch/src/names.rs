//! Column names for logs whose table maps carry none (`binlog_row_metadata` is not FULL).
//!
//! Input: what the server says of its tables, the DDL of the stream, the stream's place. Output:
//! names for a table map, or none: then its rows are a gap.
//!
//! # Invariants
//! - Names that were told while the stream is read are used only where they are known to be true:
//!   the description holds every DDL before `before` and none behind `after`, so it counts once
//!   the stream has passed `after` without a DDL on the table from `before` on. What comes until
//!   then is a gap: nothing is buffered, nothing guessed.
//! - A DDL on a table, or a loss in the log that may have held one, ends its names.
//! - Names always have to fit the map by number, type, length and sign of the columns.
//! - At most [`TABLES_MAX`] tables are known; each is asked for once at a time.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::{BinlogPosition, Malformed, Statement, StatementKind, Table, TableName};
use phiwatch_source::{Found, TableColumns, TableDescription, TableKey};

/// Most tables that are known of.
const TABLES_MAX: usize = 16_384;
/// A statement lists at most so many tables: of one with as many, some may not be listed.
const LISTED_MAX: usize = 256;

/// A column as `information_schema` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DescribedColumn {
    name: Arc<str>,
    /// `column_type`.
    column_type: String,
    /// `character_octet_length`.
    octets: Option<u64>,
}

type Columns = Vec<DescribedColumn>;

fn described(table: TableColumns) -> Columns {
    let column = |(name, (column_type, octets)): (String, (String, Option<u64>))| DescribedColumn {
        name: Arc::from(name),
        column_type,
        octets,
    };
    table.columns.into_iter().zip(table.types).map(column).collect()
}

#[derive(Debug, Default)]
struct Entry {
    /// True at the stream's place.
    columns: Option<Columns>,
    answer: Answer,
    /// Its maps carry no names, and its rows are of interest.
    is_used: bool,
}

/// What the server was asked.
#[derive(Debug, Default)]
enum Answer {
    #[default]
    None,
    /// Not told yet; where the last DDL since then stands.
    Asked(Option<BinlogPosition>),
    /// Told, and not yet known to be true.
    Told { columns: Columns, before: BinlogPosition, after: BinlogPosition },
}

/// The names that are known, and those that are still to come.
#[derive(Debug, Default)]
pub(crate) struct Names {
    tables: BTreeMap<TableKey, Entry>,
    /// To be asked for.
    wanted: Vec<TableKey>,
    /// There are so many [`Answer::Told`].
    told: usize,
    revision: u64,
    /// Somebody takes what is wanted.
    can_ask: bool,
    /// The server that the stream comes from.
    server: String,
}

fn key_of(table: &Table) -> TableKey {
    (table.database.to_string(), table.name.to_string())
}

/// Whether `at` lies at or behind `end`; None if their files are not of one series.
fn is_behind(at: &BinlogPosition, end: &BinlogPosition) -> Option<bool> {
    let (at_base, at_number) = at.file.rsplit_once('.')?;
    let (end_base, end_number) = end.file.rsplit_once('.')?;
    // The numbers grow by a digit after 999999.
    let order = |number: &str, offset: u64| (number.len(), number.to_owned(), offset);
    (at_base == end_base).then(|| order(at_number, at.offset) >= order(end_number, end.offset))
}

impl Names {
    /// What the server says of all its tables before the stream begins: used as far as it fits.
    pub(crate) fn at_start(&mut self, tables: Vec<TableColumns>) {
        for table in tables.into_iter().take(TABLES_MAX) {
            let key = (table.database.clone(), table.table.clone());
            self.tables.entry(key).or_default().columns = Some(described(table));
        }
        self.revision += 1;
    }

    /// Somebody takes what [`Self::take_wanted`] gives, and answers.
    pub(crate) fn can_ask(&mut self) {
        self.can_ask = true;
    }

    /// Changes whenever [`Self::of`] may answer otherwise.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Names for a table map without any, if the table is known to be what was described.
    pub(crate) fn of(&self, table: &Table) -> Option<Vec<Arc<str>>> {
        let columns = self.tables.get(&key_of(table))?.columns.as_ref()?;
        let fits = columns.len() == table.columns.len()
            && (table.columns.iter().zip(columns))
                .all(|(column, one)| column.could_be(&one.column_type, one.octets));
        fits.then(|| columns.iter().map(|one| one.name.clone()).collect())
    }

    /// A table's map has no names of its own, and its rows are of interest: after its next DDL it
    /// is asked for at once.
    pub(crate) fn uses(&mut self, table: &Table) {
        if let Some(entry) = self.tables.get_mut(&key_of(table)) {
            entry.is_used = true;
        }
    }

    /// The same for a table whose names are missing now.
    pub(crate) fn want(&mut self, table: &Table) {
        if !self.can_ask {
            return;
        }
        let key = key_of(table);
        if self.tables.len() >= TABLES_MAX && !self.tables.contains_key(&key) {
            return;
        }
        let entry = self.tables.entry(key.clone()).or_default();
        entry.is_used = true;
        if matches!(entry.answer, Answer::None) {
            entry.answer = Answer::Asked(None);
            self.wanted.push(key);
        }
    }

    /// Tables to be asked for.
    pub(crate) fn take_wanted(&mut self) -> Vec<TableKey> {
        std::mem::take(&mut self.wanted)
    }

    /// The stream comes from this server, over a new connection: places that were told before may
    /// not be in its files.
    pub(crate) fn connected(&mut self, server: &str) {
        self.server = server.to_owned();
        if self.told > 0 {
            let is_told = |entry: &Entry| matches!(entry.answer, Answer::Told { .. });
            self.ask_again(|_, entry| is_told(entry));
        }
    }

    /// The server's answer.
    pub(crate) fn told(&mut self, description: TableDescription) {
        let TableDescription { server, table, found } = description;
        let Some(entry) = self.tables.get_mut(&table) else { return };
        let Answer::Asked(altered) = std::mem::take(&mut entry.answer) else { return };
        // Absent or hidden: rows will ask again.
        let Found::Columns { columns, before, after } = found else { return };
        let is_true = altered.is_none_or(|altered| is_behind(&altered, &before) == Some(false));
        if server == self.server && is_true {
            entry.answer = Answer::Told { columns: described(columns), before, after };
            self.told += 1;
        } else {
            entry.answer = Answer::Asked(None);
            self.wanted.push(table);
        }
    }

    /// A transaction begins at `start`: what was told and is passed by now counts.
    pub(crate) fn begin(&mut self, start: &BinlogPosition) {
        if self.told == 0 {
            return;
        }
        for ((database, table), entry) in &mut self.tables {
            let Answer::Told { after, .. } = &entry.answer else { continue };
            if is_behind(start, after) != Some(true) {
                continue;
            }
            if let Answer::Told { columns, .. } = std::mem::take(&mut entry.answer) {
                tracing::info!(database, table, at = %start, "column names of the server count");
                entry.columns = Some(columns);
                self.told -= 1;
                self.revision += 1;
            }
        }
    }

    /// A statement of the log that stands at `at`.
    pub(crate) fn statement(&mut self, statement: &Statement<'_>, at: &BinlogPosition) {
        let is_renamed = statement.kind == StatementKind::RenameTable;
        match statement.kind {
            StatementKind::CreateTable
            | StatementKind::CreateTableSelect
            | StatementKind::CreateTableLike
            | StatementKind::AlterTable
            | StatementKind::RenameTable
            | StatementKind::DropTable
            | StatementKind::Database => {}
            // It may be any of these.
            StatementKind::Unknown => return self.altered(at, |_| true),
            StatementKind::Dml
            | StatementKind::LoadData
            | StatementKind::TruncateTable
            | StatementKind::CreateCode
            | StatementKind::ChangeCode
            | StatementKind::Grant
            | StatementKind::Account
            | StatementKind::AccountRemoved
            | StatementKind::Harmless => return,
        }
        if statement.tables.len() >= LISTED_MAX {
            return self.altered(at, |_| true);
        }
        let old: &[TableName] = if is_renamed { &statement.sources } else { &[] };
        self.altered(at, |(database, table)| {
            statement.tables.iter().chain(old).any(|name| {
                // Servers differ in whether case matters; too much is only asked again.
                name.database.eq_ignore_ascii_case(database)
                    && (name.table.is_empty() || name.table.eq_ignore_ascii_case(table))
            })
        });
    }

    /// Something of no known table, at `at`, could not be read: whether it held a DDL is not known.
    pub(crate) fn lost(&mut self, cause: &Malformed, at: &BinlogPosition) {
        // These are told beside a statement that was read, or of rows.
        let is_read = matches!(
            cause,
            Malformed::StatementFormat
                | Malformed::UnknownStatement
                | Malformed::PartialStatement { .. }
                | Malformed::PreparedUnknown
                | Malformed::PreparedOverBound
                | Malformed::UnmappedTable { .. }
                | Malformed::RowImage
                | Malformed::ColumnNames
        );
        if !is_read {
            self.altered(at, |_| true);
        }
    }

    /// Ends the names of the tables that `is_meant`, and asks for those that are used.
    fn altered(&mut self, at: &BinlogPosition, is_meant: impl Fn(&TableKey) -> bool) {
        let mut is_changed = false;
        for (_, entry) in self.tables.iter_mut().filter(|(key, _)| is_meant(key)) {
            is_changed |= entry.columns.take().is_some();
            if let Answer::Asked(altered) = &mut entry.answer {
                *altered = Some(at.clone());
            }
        }
        self.revision += u64::from(is_changed);
        self.ask_again(|key, entry| {
            is_meant(key)
                && match &entry.answer {
                    Answer::None => entry.is_used && entry.columns.is_none(),
                    Answer::Asked(_) => false,
                    // Told later than the stream's place: it holds this DDL already.
                    Answer::Told { before, .. } => is_behind(at, before) != Some(false),
                }
        });
    }

    fn ask_again(&mut self, is_meant: impl Fn(&TableKey, &Entry) -> bool) {
        for (key, entry) in &mut self.tables {
            if !is_meant(key, entry) {
                continue;
            }
            if matches!(entry.answer, Answer::Told { .. }) {
                self.told -= 1;
            }
            entry.answer = Answer::None;
            if self.can_ask {
                entry.answer = Answer::Asked(None);
                self.wanted.push(key.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use phiwatch_binlog::{Column, ColumnType, SqlText};

    use super::*;

    const SERVER: &str = "server-1";

    fn place(offset: u64) -> BinlogPosition {
        BinlogPosition { file: "binlog.000002".into(), offset }
    }

    fn name(table: &str) -> TableName {
        TableName { database: "shop".into(), table: table.into() }
    }

    /// A map without names: two numbers.
    fn map(table: &str) -> Table {
        let column = Column {
            name: None,
            ty: ColumnType::Long,
            unsigned: None,
            collation: None,
            members: Arc::new([]),
        };
        let columns = vec![column.clone(), column];
        let TableName { database, table: name } = name(table);
        Table { id: 1, database, name, columns, primary_key: Vec::new() }
    }

    fn columns(table: &str, names: [&str; 2]) -> TableColumns {
        TableColumns {
            database: "shop".to_owned(),
            table: table.to_owned(),
            columns: names.map(str::to_owned).to_vec(),
            types: vec![("int".to_owned(), None); 2],
        }
    }

    /// The names of a table that is read, the places where things stand, and what is asked.
    struct World(Names);

    impl World {
        fn new() -> Self {
            let mut names = Names::default();
            names.at_start(vec![columns("orders", ["a", "b"]), columns("other", ["x", "y"])]);
            names.can_ask();
            names.connected(SERVER);
            names.uses(&map("orders"));
            Self(names)
        }

        fn statement(&mut self, kind: StatementKind, tables: &[&str], old: &[&str], at: u64) {
            let statement = Statement {
                offset: at,
                kind,
                tables: tables.iter().map(|table| name(table)).collect(),
                sources: old.iter().map(|table| name(table)).collect(),
                grant: None,
                database: "shop".into(),
                text: SqlText::new(b""),
                error_code: 0,
            };
            self.0.statement(&statement, &place(at));
        }

        fn alter(&mut self, at: u64) {
            self.statement(StatementKind::AlterTable, &["orders"], &[], at);
        }

        fn told_by(&mut self, server: &str, before: u64, after: u64) {
            let columns = columns("orders", ["new", "a"]);
            let (before, after) = (place(before), place(after));
            self.0.told(TableDescription {
                server: server.to_owned(),
                table: key_of(&map("orders")),
                found: Found::Columns { columns, before, after },
            });
        }

        fn told(&mut self, before: u64, after: u64) {
            self.told_by(SERVER, before, after);
        }

        /// The first column's name for a transaction that begins at `at`; empty if there is none.
        fn first(&mut self, at: u64) -> String {
            self.0.begin(&place(at));
            self.0.of(&map("orders")).map_or_else(String::new, |names| names[0].to_string())
        }

        fn asked(&mut self) -> usize {
            self.0.take_wanted().len()
        }
    }

    #[test]
    fn names_count_once_the_stream_has_passed_what_was_asked() {
        let mut world = World::new();
        assert_eq!((world.first(50).as_str(), world.asked()), ("a", 0));
        world.alter(100);
        assert_eq!((world.first(200), world.asked()), (String::new(), 1));
        // Rows ask for it, too, but once.
        world.0.want(&map("orders"));
        assert_eq!(world.asked(), 0);
        world.told(300, 400);
        let revision = world.0.revision();
        assert_eq!(world.first(399), "");
        assert_eq!(world.0.revision(), revision);
        assert_eq!(world.first(400), "new");
        assert!(world.0.revision() > revision);
    }

    #[test]
    fn a_ddl_between_the_places_asks_again() {
        for at in [300, 350, 450] {
            let mut world = World::new();
            world.alter(100);
            assert_eq!(world.asked(), 1);
            world.told(300, 400);
            world.alter(at);
            assert_eq!((world.first(500), world.asked()), (String::new(), 1), "{at}");
            world.told(500, 500);
            assert_eq!(world.first(500), "new");
        }
    }

    #[test]
    fn a_ddl_that_the_answer_holds_is_no_reason_to_ask() {
        let mut world = World::new();
        world.alter(100);
        assert_eq!(world.asked(), 1);
        // The answer comes from behind many more that the stream has still to pass.
        world.told(300, 400);
        world.alter(150);
        world.alter(299);
        assert_eq!((world.first(400).as_str(), world.asked()), ("new", 0));
    }

    #[test]
    fn a_ddl_while_the_question_is_under_way_makes_the_answer_old() {
        for (altered, is_old) in [(299, false), (300, true), (900, true)] {
            let mut world = World::new();
            world.alter(100);
            assert_eq!(world.asked(), 1);
            world.alter(altered);
            // Nobody asks twice at a time.
            assert_eq!(world.asked(), 0);
            world.told(300, 400);
            assert_eq!(world.asked(), usize::from(is_old), "{altered}");
            assert_eq!(world.first(950).is_empty(), is_old, "{altered}");
        }
    }

    #[test]
    fn places_of_another_server_or_connection_say_nothing() {
        let mut world = World::new();
        world.alter(100);
        assert_eq!(world.asked(), 1);
        world.told_by("server-2", 300, 400);
        assert_eq!((world.first(500), world.asked()), (String::new(), 1));
        world.told(300, 400);
        world.0.connected("server-2");
        assert_eq!((world.first(500), world.asked()), (String::new(), 1));
        world.told(600, 700);
        assert_eq!((world.first(900), world.asked()), (String::new(), 1));
        world.told_by("server-2", 600, 700);
        assert_eq!(world.first(900), "new");
    }

    #[test]
    fn hidden_and_absent_tables_are_asked_for_by_their_next_rows() {
        for found in [Found::Absent, Found::Hidden { fix: "GRANT".to_owned(), is_global: false }] {
            let mut world = World::new();
            world.alter(100);
            assert_eq!(world.asked(), 1);
            let table = key_of(&map("orders"));
            world.0.told(TableDescription { server: SERVER.to_owned(), table, found });
            assert_eq!((world.first(500), world.asked()), (String::new(), 0));
            world.0.want(&map("orders"));
            assert_eq!(world.asked(), 1);
        }
    }

    #[test]
    fn every_statement_that_may_change_a_table_ends_its_names() {
        use StatementKind::*;
        let check = |kind, tables: &[&str], old: &[&str], ends: bool| {
            let mut world = World::new();
            world.statement(kind, tables, old, 100);
            assert_eq!(world.first(150).is_empty(), ends, "{kind:?} {tables:?} {old:?}");
            assert_eq!(world.asked(), usize::from(ends));
        };
        for kind in [CreateTable, CreateTableSelect, CreateTableLike, AlterTable, DropTable] {
            check(kind, &["orders"], &[], true);
            check(kind, &["ORDERS"], &[], true);
            check(kind, &["other"], &[], false);
            check(kind, &["other"], &["orders"], false);
        }
        check(RenameTable, &["orders"], &["shadow"], true);
        check(RenameTable, &["gone"], &["orders"], true);
        check(Database, &[""], &[], true);
        check(Unknown, &[], &[], true);
        check(AlterTable, &["x"; LISTED_MAX], &[], true);
        for kind in [Dml, LoadData, TruncateTable, CreateCode, Grant, Harmless] {
            check(kind, &["orders"], &[], false);
        }
    }

    #[test]
    fn what_was_lost_in_the_log_may_have_been_a_ddl() {
        let mut world = World::new();
        world.0.lost(&Malformed::StatementFormat, &place(100));
        assert_eq!(world.first(150), "a");
        world.0.lost(&Malformed::Checksum { found: 1, computed: 2 }, &place(200));
        assert_eq!((world.first(250), world.asked()), (String::new(), 1));
    }

    #[test]
    fn names_that_do_not_fit_are_asked_for() {
        let mut world = World::new();
        let mut wider = map("orders");
        wider.columns.push(wider.columns[0].clone());
        assert_eq!(world.0.of(&wider), None);
        world.0.want(&wider);
        assert_eq!(world.asked(), 1);
    }

    #[test]
    fn without_a_server_nothing_is_asked() {
        let mut names = Names::default();
        names.at_start(vec![columns("orders", ["a", "b"])]);
        names.uses(&map("orders"));
        names.want(&map("orders"));
        let mut world = World(names);
        world.alter(100);
        assert_eq!((world.first(200), world.asked()), (String::new(), 0));
    }

    #[test]
    fn places_are_in_the_order_of_files_and_bytes() {
        let at = |file: &str, offset| BinlogPosition { file: file.into(), offset };
        let end = at("binlog.000009", 100);
        assert_eq!(is_behind(&at("binlog.000009", 99), &end), Some(false));
        assert_eq!(is_behind(&at("binlog.000009", 100), &end), Some(true));
        assert_eq!(is_behind(&at("binlog.000010", 4), &end), Some(true));
        assert_eq!(is_behind(&at("binlog.1000000", 4), &at("binlog.999999", 9)), Some(true));
        assert_eq!(is_behind(&at("mysql-bin.000010", 4), &end), None);
        assert_eq!(is_behind(&at("nothing", 4), &end), None);
    }
}
