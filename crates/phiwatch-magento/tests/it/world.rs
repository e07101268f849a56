//! A classifier and the tables of `fixtures/magento/schema.sql`, to push rows through by hand.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use phiwatch_binlog::{
    BinlogPosition, Bytes, Cell, Column, ColumnType, End, EventTime, Image, Op, Projection,
    RowChange, SqlText, Statement, StatementKind, Table, TableName, Transaction,
};
use phiwatch_magento::{Catalog, Classifier, Fact, Observation, Settings, TokenKey};

/// In every text column that a test does not set.
pub(crate) const MARKER: &str = "MARKER-jane.roe@example.com-555-0100";

/// A value by column name.
pub(crate) type Cells<'a> = &'a [(&'a str, V<'a>)];

/// A value of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum V<'a> {
    /// An integer, encoded by the column's type.
    I(u64),
    /// Text.
    T(&'a str),
    /// A date and time, encoded by the column's type: seconds since 1970.
    At(i64),
    /// SQL NULL.
    Null,
    /// Not in the image.
    Absent,
}

pub(crate) use V::{Absent, At, I, Null, T};

/// The folder of this crate's fixtures.
pub(crate) fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// Tables of the schema with their columns.
pub(crate) fn schema() -> BTreeMap<String, Vec<Column>> {
    let text = fs::read_to_string(fixtures().join("magento/schema.sql")).unwrap();
    let mut tables = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        let mut quoted = line.split('`');
        let (before, first) = (quoted.next().unwrap_or_default(), quoted.next());
        let (Some(first), Some(after)) = (first, quoted.next()) else { continue };
        if before == "CREATE TABLE " {
            name = first.to_owned();
        } else if before.trim().is_empty() && before.starts_with(' ') {
            let columns: &mut Vec<Column> = tables.entry(name.clone()).or_default();
            columns.push(column(first, after.trim()));
        }
    }
    tables
}

/// A column by the start of its definition.
pub(crate) fn column(name: &str, definition: &str) -> Column {
    let word: String = definition.chars().take_while(char::is_ascii_alphabetic).collect();
    let ty = match word.as_str() {
        "tinyint" => ColumnType::Tiny,
        "smallint" => ColumnType::Short,
        "mediumint" => ColumnType::Int24,
        "int" => ColumnType::Long,
        "bigint" => ColumnType::LongLong,
        "varchar" | "varbinary" => ColumnType::VarChar { bytes_max: 1_020 },
        "text" | "blob" => ColumnType::Blob { length_bytes: 2 },
        "mediumtext" | "mediumblob" => ColumnType::Blob { length_bytes: 3 },
        "longtext" => ColumnType::Blob { length_bytes: 4 },
        "date" => ColumnType::Date,
        "datetime" => ColumnType::DateTime2 { fsp: 0 },
        "timestamp" => ColumnType::Timestamp2 { fsp: 0 },
        "decimal" => ColumnType::Decimal { precision: 20, scale: 4 },
        other => panic!("column type {other}"),
    };
    let unsigned = Some(definition.contains("unsigned"));
    Column { name: Some(name.into()), ty, unsigned, collation: Some(45), members: Arc::new([]) }
}

/// A classifier, the tables that it has seen, and the transaction under way.
pub(crate) struct World {
    pub(crate) classifier: Classifier,
    pub(crate) schema: BTreeMap<String, Vec<Column>>,
    pub(crate) database: &'static str,
    /// Foreign keys work in the engine, and are not logged.
    pub(crate) cascades_unseen: bool,
    pub(crate) transaction: Transaction,
}

impl World {
    /// A world with stores 1 and 3 in website 1, store 2 in website 2.
    pub(crate) fn new() -> Self {
        let mut world = Self::with(Settings::default());
        world.stores();
        world
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self::of(Catalog::builtin(), settings)
    }

    pub(crate) fn of(catalog: Catalog, settings: Settings) -> Self {
        let catalog = Arc::new(catalog);
        let transaction = Transaction {
            start: BinlogPosition { file: "binlog.000001".into(), offset: 4 },
            gtid: None,
            time: EventTime(0),
            server_id: 1,
            thread: None,
        };
        Self {
            classifier: Classifier::new(catalog, settings, &TokenKey([7; 32])),
            schema: schema(),
            database: "shop",
            cascades_unseen: false,
            transaction,
        }
    }

    pub(crate) fn stores(&mut self) {
        for (store, website) in [(0, 0), (1, 1), (3, 1), (2, 2)] {
            let row: Cells<'_> =
                &[("store_id", I(store)), ("website_id", I(website)), ("group_id", I(website))];
            assert_eq!(self.insert("store", row), []);
        }
    }

    /// Customers 11, 12 of website 1 and 21, 22 of website 2; orders 110 of 11 in store 1 and 210
    /// of 21 in store 2, 100 of a guest in store 1; the same quotes.
    pub(crate) fn people(&mut self) {
        for (id, website, store) in [(11, 1, 1), (12, 1, 3), (21, 2, 2), (22, 2, 2)] {
            let email = format!("c{id}@example.com");
            let row = [
                ("entity_id", I(id)),
                ("website_id", I(website)),
                ("store_id", I(store)),
                ("email", T(&email)),
            ];
            assert!(judged(&self.insert("customer_entity", &row)).is_empty());
        }
        for (id, customer, store) in [(110, I(11), 1), (210, I(21), 2), (100, Null, 1)] {
            let row = [("entity_id", I(id)), ("customer_id", customer), ("store_id", I(store))];
            assert!(judged(&self.insert("sales_order", &row)).is_empty());
            assert!(judged(&self.insert("quote", &row)).is_empty());
        }
        self.commit();
    }

    pub(crate) fn table(&self, name: &str) -> Table {
        let columns = self.schema.get(name).unwrap_or_else(|| panic!("no table {name}")).clone();
        let database = self.database.into();
        Table { id: 1, database, name: name.into(), columns, primary_key: vec![0] }
    }

    pub(crate) fn insert(&mut self, table: &str, after: Cells<'_>) -> Vec<Observation> {
        self.change(&self.table(table), Op::Create, None, Some(after))
    }

    pub(crate) fn delete(&mut self, table: &str, before: Cells<'_>) -> Vec<Observation> {
        self.change(&self.table(table), Op::Delete, Some(before), None)
    }

    /// `after` holds what differs from `before`.
    pub(crate) fn update(
        &mut self,
        table: &str,
        before: Cells<'_>,
        after: Cells<'_>,
    ) -> Vec<Observation> {
        let kept = before.iter().filter(|(name, _)| !after.iter().any(|(other, _)| other == name));
        let merged: Vec<_> = kept.chain(after).copied().collect();
        self.change(&self.table(table), Op::Update, Some(before), Some(&merged))
    }

    pub(crate) fn change(
        &mut self,
        table: &Table,
        op: Op,
        before: Option<Cells<'_>>,
        after: Option<Cells<'_>>,
    ) -> Vec<Observation> {
        let plan = self.classifier.table(table);
        let ordinals: Vec<usize> = match plan.projection {
            Projection::Ignore => return Vec::new(),
            Projection::All => (0..table.columns.len()).collect(),
            Projection::Columns(columns) => columns.into_iter().map(usize::from).collect(),
        };
        let image = |cells: Option<Cells<'_>>| -> Option<Vec<Option<Vec<u8>>>> {
            cells
                .map(|cells| ordinals.iter().map(|at| encode(&table.columns[*at], cells)).collect())
        };
        let (before_bytes, after_bytes) = (image(before), image(after));
        let before_cells = wire(&before_bytes, &ordinals, table, before.unwrap_or_default());
        let after_cells = wire(&after_bytes, &ordinals, table, after.unwrap_or_default());
        let change = RowChange {
            table,
            handle: plan.handle,
            offset: 4,
            row: 0,
            statement: 0,
            op,
            cascades_unseen: self.cascades_unseen,
            before: before.map(|_| Image { cells: &before_cells }),
            after: after.map(|_| Image { cells: &after_cells }),
        };
        let mut out = Vec::new();
        self.classifier.row(&self.transaction, &change, &mut out);
        out
    }

    pub(crate) fn commit(&mut self) {
        self.classifier.end(&self.transaction, &End::Commit);
    }

    pub(crate) fn statement(
        &mut self,
        kind: StatementKind,
        tables: &[&str],
        sources: &[&str],
        text: &str,
    ) -> Vec<Observation> {
        let names = |names: &[&str]| -> Vec<TableName> {
            let name = |name: &&str| match name.split_once('.') {
                Some((database, table)) => {
                    TableName { database: database.into(), table: table.into() }
                }
                None => TableName { database: self.database.into(), table: (*name).into() },
            };
            names.iter().map(name).collect()
        };
        let statement = Statement {
            offset: 4,
            kind,
            tables: names(tables),
            sources: names(sources),
            grant: None,
            database: self.database.into(),
            text: SqlText::new(text.as_bytes()),
            error_code: 0,
        };
        let mut out = Vec::new();
        self.classifier.statement(&self.transaction, &statement, &mut out);
        out
    }
}

fn value<'a>(column: &Column, cells: &[(&str, V<'a>)]) -> V<'a> {
    let name = column.name.as_deref().unwrap_or_default();
    let set = cells.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    set.unwrap_or(if is_text(column.ty) { T(MARKER) } else { Null })
}

fn is_text(ty: ColumnType) -> bool {
    matches!(ty, ColumnType::VarChar { .. } | ColumnType::Blob { .. })
}

fn encode(column: &Column, cells: Cells<'_>) -> Option<Vec<u8>> {
    let len = match column.ty {
        ColumnType::Tiny => 1,
        ColumnType::Short => 2,
        ColumnType::Int24 => 3,
        ColumnType::Long => 4,
        _ => 8,
    };
    match value(column, cells) {
        I(number) => Some(number.to_le_bytes()[..len].to_vec()),
        T(text) => Some(text.as_bytes().to_vec()),
        At(secs) => Some(moment(column.ty, secs)),
        Null | Absent => None,
    }
}

/// TIMESTAMP2 or DATETIME2 without fractions (`my_timestamp_to_binary`, `my_datetime_packed_to_binary`).
fn moment(ty: ColumnType, secs: i64) -> Vec<u8> {
    if matches!(ty, ColumnType::Timestamp2 { .. }) {
        return u32::try_from(secs).unwrap().to_be_bytes().to_vec();
    }
    let (days, of_day) = (secs.div_euclid(86_400) + 719_468, secs.rem_euclid(86_400));
    let (era, doe) = (days / 146_097, days % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let m = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * m + 2) / 5 + 1, if m < 10 { m + 3 } else { m - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let date = (year * 13 + month) << 5 | day;
    let time = (of_day / 3_600) << 12 | (of_day / 60 % 60) << 6 | (of_day % 60);
    let packed = (date << 17 | time) + 0x80_0000_0000;
    packed.to_be_bytes()[3..].to_vec()
}

fn wire<'a>(
    bytes: &'a Option<Vec<Option<Vec<u8>>>>,
    ordinals: &[usize],
    table: &Table,
    cells: &[(&str, V<'_>)],
) -> Vec<Cell<'a>> {
    let bytes = bytes.iter().flatten();
    let cell = |(bytes, at): (&'a Option<Vec<u8>>, &usize)| match bytes {
        Some(bytes) => Cell::Value(Bytes::new(bytes)),
        None if matches!(value(&table.columns[*at], cells), Absent) => Cell::Absent,
        None => Cell::Null,
    };
    bytes.zip(ordinals).map(cell).collect()
}

/// The facts of observations without those of a look at values.
pub(crate) fn judged(observations: &[Observation]) -> Vec<&Fact> {
    facts(observations).into_iter().filter(|fact| !matches!(fact, Fact::Mark(_))).collect()
}

/// The facts of observations.
pub(crate) fn facts(observations: &[Observation]) -> Vec<&Fact> {
    observations.iter().filter_map(|observation| observation.fact.as_ref()).collect()
}
