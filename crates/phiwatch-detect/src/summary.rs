//! What one transaction did, in bounded form.
//!
//! Input: the [`Observation`]s of one transaction, as they come. Output: rows by table and tenant,
//! distinct persons by kind of change, and the facts for the rules, judged at the commit.
//!
//! # Invariants
//! - Memory is bounded whatever the transaction's size: each list has a named maximum, what is over
//!   it is folded or dropped, and counted in `dropped`.
//! - Sums do not depend on the order of rows within a statement.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::{BinlogPosition, EventTime, Gtid, Op, Transaction};
use phiwatch_magento::{
    AccountChange, ConfigVerdict, CopyForm, CrossTenant, ExportEntity, Fact, ImportPhase, Mark,
    Observation, OperatorRule, Ordinal, PhiClasses, ScheduleChange, Sign, Subject, TableClass,
    TableInfo, Tenant, Weight,
};

use crate::{
    alert::{Evidence, EvidenceTables, TableCounts},
    marks::Marks,
    own::Own,
    persons::{Kinds, Persons},
    signs::Signs,
    state::{state_enum, state_struct},
};

/// Tables (by tenant) counted one by one in a transaction.
const TALLIES_MAX: usize = 512;
/// Tenants whose persons are counted apart in a transaction.
const GROUPS_MAX: usize = 1024;
/// Edited customers kept in their order: so many or more are a job's statement, judged by its persons.
pub(crate) const ORDINALS_MAX: usize = 5;
/// Persons counted exactly per tenant in a transaction.
pub(crate) const PERSONS_EXACT_MAX: usize = 65_536;
/// Persons counted exactly in a transaction over all tenants.
const PERSONS_HELD_MAX: usize = 262_144;
/// Broken invariants told apart in a transaction.
const CROSS_MAX: usize = 256;
/// Copied tables told apart in a transaction.
const COPIES_MAX: usize = 256;
/// Changes of accounts and roles kept (a role has some 300 resources).
const ACCOUNTS_MAX: usize = 16_384;
/// Other facts kept.
const NOTES_MAX: usize = 1024;

/// Tables that Magento's own clean-up empties: their deletions say nothing about persons.
const DISPOSED: [&str; 12] = [
    "captcha_log",
    "customer_log",
    "customer_visitor",
    "importexport_importdata",
    "login_as_customer",
    "magento_operation",
    "oauth_token",
    "password_reset_request_event",
    "persistent_session",
    "queue_message",
    "sales_data_exporter_orders",
    "session",
];

/// Where a transaction stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Origin {
    pub(crate) start: BinlogPosition,
    pub(crate) gtid: Option<Gtid>,
    pub(crate) server_id: u32,
    pub(crate) thread: Option<u32>,
}

impl Origin {
    pub(crate) fn of(transaction: &Transaction) -> Self {
        Self {
            start: transaction.start.clone(),
            gtid: transaction.gtid.clone(),
            server_id: transaction.server_id,
            thread: transaction.thread,
        }
    }

    /// The evidence of a transaction that stands here.
    pub(crate) fn evidence(
        &self,
        time: EventTime,
        tables: EvidenceTables,
        subjects: (u64, bool),
    ) -> Evidence {
        Evidence {
            gtid: self.gtid.as_ref().map(ToString::to_string),
            position: self.start.clone(),
            server_uuid: self.gtid.as_ref().and_then(|gtid| match gtid {
                Gtid::MySql { uuid, .. } => {
                    Some(uuid::Uuid::from_bytes(*uuid).hyphenated().to_string())
                }
                Gtid::MariaDb { .. } => None,
            }),
            server_id: self.server_id,
            thread: self.thread,
            time,
            tables,
            inferred: EvidenceTables::new(),
            subjects,
        }
    }

    /// The transaction's identity on every replay: its GTID, else where it stands.
    pub(crate) fn identity(&self) -> String {
        match &self.gtid {
            Some(gtid) => format!("{}|{gtid}", self.server_id),
            None => format!("{}|{}", self.server_id, self.start),
        }
    }
}

/// Rows of one table and tenant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tally {
    pub(crate) database: Arc<str>,
    pub(crate) table: Arc<str>,
    pub(crate) class: TableClass,
    pub(crate) is_grid: bool,
    pub(crate) phi: PhiClasses,
    pub(crate) tenant: Tenant,
    /// Rows that are not in the log: what foreign keys did.
    pub(crate) is_inferred: bool,
    pub(crate) counts: TableCounts,
}

/// Persons of one tenant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) database: Arc<str>,
    pub(crate) tenant: Tenant,
    pub(crate) persons: Persons,
    /// `sales_order` rows inserted.
    pub(crate) orders: u64,
    /// Rows of customers, addresses and orders, neither touches nor derived copies.
    pub(crate) core_rows: u64,
    /// PHI classes of the rows behind `persons`.
    pub(crate) phi: PhiClasses,
    /// Customers whose rows were edited, as they came, the first few.
    pub(crate) ordinals: Vec<Ordinal>,
}

/// A broken invariant, summed over its rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cross {
    pub(crate) tenant: Tenant,
    pub(crate) statement: Arc<str>,
    pub(crate) found: Tenant,
    pub(crate) expected: Tenant,
    pub(crate) weight: Weight,
    pub(crate) rows: u64,
    pub(crate) phi: PhiClasses,
}

/// A copy, summed over its rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Copied {
    /// CREATE statement seen.
    pub(crate) created: Option<CopyForm>,
    /// By its name the shadow of its source in an online schema change.
    pub(crate) is_shadow: bool,
    pub(crate) rows: u64,
    pub(crate) classes: PhiClasses,
    pub(crate) columns: u32,
    pub(crate) sources: Vec<Arc<str>>,
}

/// A fact that needs no summing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    pub(crate) database: Arc<str>,
    pub(crate) table: Arc<str>,
    pub(crate) class: TableClass,
    pub(crate) is_grid: bool,
    pub(crate) phi: PhiClasses,
    pub(crate) tenant: Tenant,
    pub(crate) item: Item,
}

/// What it says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Remap { what: String },
    ExportQueued { message: u64, entity: ExportEntity, is_filtered: bool },
    ExportStatus { message: u64, status: u8 },
    ExportNotice,
    ExportScheduled { operation: u64, entity: ExportEntity, change: ScheduleChange },
    Config { path: Arc<str>, scope: Arc<str>, scope_id: u32, opened: bool, why: String },
    Emptied { dropped: bool },
    Migration { shadow: Arc<str>, is_swapped: bool },
    Code { kind: String },
    Surface { kind: String, classes: PhiClasses },
    Import { phase: ImportPhase, rows: u64 },
    Maintenance { kind: String },
    Unseen,
}

/// The UPDATE or DELETE statement with the most persons.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Widest {
    pub(crate) statement: u32,
    /// Hash of the changed columns; None once rows differ.
    pub(crate) columns: Option<u64>,
    /// Changes from one person to the next: at least the distinct persons if they come sorted.
    pub(crate) persons: u64,
    last: u64,
}

/// What one transaction did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summary {
    pub(crate) origin: Origin,
    pub(crate) tallies: Vec<Tally>,
    pub(crate) groups: Vec<Group>,
    pub(crate) cross: BTreeMap<(Arc<str>, u8, Tenant), Cross>,
    pub(crate) copies: BTreeMap<(Arc<str>, Arc<str>), Copied>,
    pub(crate) accounts: Vec<(Arc<str>, AccountChange)>,
    pub(crate) notes: Vec<Note>,
    pub(crate) widest: Widest,
    current: Widest,
    /// A statement touched the core rows of two websites.
    pub(crate) has_mixed_statement: bool,
    statement_website: Option<(u32, u32)>,
    /// Facts that the lists had no room for.
    pub(crate) dropped: u64,
    /// Facts without a verdict, because a tenant is unknown.
    pub(crate) unverified: u64,
    held: usize,
    /// A gap was told for rows that a statement hides.
    pub(crate) has_gap: bool,
    pub(crate) signs: Signs,
    /// What looks at values said.
    pub(crate) marks: Marks,
    /// Rows that the operator's rules fit.
    pub(crate) own: Own,
}

impl Summary {
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            origin,
            tallies: Vec::new(),
            groups: Vec::new(),
            cross: BTreeMap::new(),
            copies: BTreeMap::new(),
            accounts: Vec::new(),
            notes: Vec::new(),
            widest: Widest::default(),
            current: Widest::default(),
            has_mixed_statement: false,
            statement_website: None,
            dropped: 0,
            unverified: 0,
            held: 0,
            has_gap: false,
            signs: Signs::default(),
            marks: Marks::default(),
            own: Own::default(),
        }
    }

    /// Adds one observation.
    pub(crate) fn push(&mut self, observation: &Observation) {
        if let Some(op) = observation.op {
            self.row(observation, op);
        }
        if let Some(fact) = &observation.fact {
            self.fact(observation, fact);
        }
    }

    /// Ends the last statement.
    pub(crate) fn settle(&mut self) {
        self.close_statement();
    }

    fn row(&mut self, observation: &Observation, op: Op) {
        let table = &observation.table;
        let is_inferred = observation.is_inferred;
        self.tally(table, observation.tenant, op, is_inferred);
        let Some(kinds) = kinds(observation, op) else { return };
        let Some(index) = self.group(&table.database, observation.tenant) else { return };
        let is_core = is_core(table.class);
        let Some(group) = self.groups.get_mut(index) else { return };
        group.phi = group.phi.union(table.phi);
        if op == Op::Create && &*table.name == "sales_order" {
            group.orders += 1;
        }
        if is_core && !observation.is_touch && !is_inferred {
            group.core_rows += 1;
        }
        if let Some(ordinal) = observation.ordinal
            && group.ordinals.len() < ORDINALS_MAX
            && group.ordinals.last() != Some(&ordinal)
        {
            group.ordinals.push(ordinal);
        }
        if let Some(subject) = observation.subject {
            let before = group.persons.held();
            let room = PERSONS_HELD_MAX.saturating_sub(self.held);
            group.persons.insert(subject, kinds, PERSONS_EXACT_MAX.min(before + room));
            self.held = (self.held + group.persons.held()).saturating_sub(before);
            if !is_inferred {
                self.statement(observation, op, subject, is_core);
            }
        }
    }

    fn tally(&mut self, table: &TableInfo, tenant: Tenant, op: Op, is_inferred: bool) {
        let is_it = |tally: &Tally| {
            tally.tenant == tenant
                && tally.is_inferred == is_inferred
                && tally.table == table.name
                && tally.database == table.database
        };
        let index = match self.tallies.iter().rposition(is_it) {
            Some(index) => index,
            None if self.tallies.len() < TALLIES_MAX => {
                self.tallies.push(Tally {
                    database: Arc::clone(&table.database),
                    table: Arc::clone(&table.name),
                    class: table.class,
                    is_grid: table.is_grid,
                    phi: table.phi,
                    tenant,
                    is_inferred,
                    counts: TableCounts::default(),
                });
                self.tallies.len() - 1
            }
            None => {
                self.dropped += 1;
                return;
            }
        };
        if let Some(tally) = self.tallies.get_mut(index) {
            match op {
                Op::Create => tally.counts.inserts += 1,
                Op::Update => tally.counts.updates += 1,
                Op::Delete => tally.counts.deletes += 1,
            }
        }
    }

    fn group(&mut self, database: &Arc<str>, tenant: Tenant) -> Option<usize> {
        let is_it = |group: &Group| group.tenant == tenant && group.database == *database;
        if let Some(index) = self.groups.iter().rposition(is_it) {
            return Some(index);
        }
        if self.groups.len() >= GROUPS_MAX {
            self.dropped += 1;
            return None;
        }
        self.groups.push(Group {
            database: Arc::clone(database),
            tenant,
            persons: Persons::new(),
            orders: 0,
            core_rows: 0,
            phi: PhiClasses::default(),
            ordinals: Vec::new(),
        });
        Some(self.groups.len() - 1)
    }

    /// Follows statements: how many persons the widest UPDATE touched, and over which websites.
    fn statement(&mut self, observation: &Observation, op: Op, subject: Subject, is_core: bool) {
        if observation.statement != self.current.statement {
            self.close_statement();
            self.current.statement = observation.statement;
            self.statement_website = None;
        }
        if let (true, Tenant::Website(website)) = (is_core, observation.tenant) {
            match self.statement_website {
                Some((_, first)) => self.has_mixed_statement |= first != website,
                None => self.statement_website = Some((observation.statement, website)),
            }
        }
        if op == Op::Create || observation.is_touch {
            return;
        }
        let current = &mut self.current;
        if current.persons == 0 {
            current.columns = Some(observation.columns_changed);
        } else if current.columns != Some(observation.columns_changed) {
            current.columns = None;
        }
        if current.persons == 0 || current.last != subject.token {
            current.persons += 1;
            current.last = subject.token;
        }
    }

    fn close_statement(&mut self) {
        if self.current.persons > self.widest.persons {
            self.widest = self.current.clone();
        }
        self.current = Widest::default();
    }

    fn fact(&mut self, observation: &Observation, fact: &Fact) {
        let table = &observation.table;
        let item = match fact {
            Fact::CrossTenant(cross) => return self.crossed(observation, cross),
            Fact::Unverified(_) => {
                self.unverified += 1;
                return;
            }
            Fact::Account(change) => {
                return self.account(&table.database, change);
            }
            Fact::Copy { form, classes, columns, sources } => {
                return self.copied(table, *form, *classes, *columns, sources);
            }
            Fact::TenantRemap { what } => Item::Remap { what: what.clone() },
            &Fact::ExportQueued { message_id: message, entity, is_filtered } => {
                Item::ExportQueued { message, entity, is_filtered }
            }
            &Fact::ExportStatus { message_id: message, status } => {
                Item::ExportStatus { message, status }
            }
            Fact::ExportNotice => Item::ExportNotice,
            &Fact::ExportScheduled { operation_id: operation, entity, change } => {
                Item::ExportScheduled { operation, entity, change }
            }
            Fact::Config(change) => {
                let opened = match change.verdict {
                    ConfigVerdict::Weakened => false,
                    ConfigVerdict::Opened => true,
                    ConfigVerdict::Strengthened | ConfigVerdict::Neutral => return,
                };
                Item::Config {
                    path: Arc::clone(&change.path),
                    scope: Arc::clone(&change.scope.0),
                    scope_id: change.scope.1,
                    opened,
                    why: change.why.clone(),
                }
            }
            Fact::TableEmptied { dropped } => Item::Emptied { dropped: *dropped },
            Fact::Migration { shadow, is_swapped } => {
                Item::Migration { shadow: Arc::clone(shadow), is_swapped: *is_swapped }
            }
            Fact::Code(code) => Item::Code { kind: code_words(*code).to_owned() },
            Fact::NewSurface { kind, classes } => {
                Item::Surface { kind: (*kind).to_owned(), classes: *classes }
            }
            Fact::Import { phase, rows } => Item::Import { phase: *phase, rows: *rows },
            Fact::Maintenance { kind } => Item::Maintenance { kind: (*kind).to_owned() },
            Fact::UnseenRows => Item::Unseen,
            Fact::Sign(sign) => return self.sign(observation, sign),
            Fact::Mark(mark) => return self.marked(observation, mark),
            Fact::Operator { rule, op } => return self.operator(observation, rule, *op),
        };
        if self.notes.len() >= NOTES_MAX {
            self.dropped += 1;
            return;
        }
        self.notes.push(Note {
            database: Arc::clone(&table.database),
            table: Arc::clone(&table.name),
            class: table.class,
            is_grid: table.is_grid,
            phi: table.phi,
            tenant: observation.tenant,
            item,
        });
    }

    fn account(&mut self, database: &Arc<str>, change: &AccountChange) {
        if self.accounts.len() < ACCOUNTS_MAX {
            self.accounts.push((Arc::clone(database), change.clone()));
        } else {
            self.dropped += 1;
        }
    }

    fn sign(&mut self, observation: &Observation, sign: &Sign) {
        self.dropped += u64::from(!self.signs.push(observation, sign));
    }

    fn marked(&mut self, observation: &Observation, mark: &Mark) {
        self.dropped += u64::from(!self.marks.push(observation, mark));
    }

    fn operator(&mut self, observation: &Observation, rule: &Arc<OperatorRule>, op: Op) {
        self.dropped += u64::from(!self.own.push(observation, rule, op));
    }

    fn crossed(&mut self, observation: &Observation, cross: &CrossTenant) {
        let table = &observation.table;
        let key = (Arc::clone(&table.database), cross.invariant, observation.tenant);
        if let Some(sum) = self.cross.get_mut(&key) {
            sum.rows += 1;
            sum.phi = sum.phi.union(table.phi);
            return;
        }
        if self.cross.len() >= CROSS_MAX {
            self.dropped += 1;
            return;
        }
        self.cross.insert(
            key,
            Cross {
                tenant: observation.tenant,
                statement: Arc::from(cross.statement),
                found: cross.found,
                expected: cross.expected,
                weight: cross.weight,
                rows: 1,
                phi: table.phi,
            },
        );
    }

    fn copied(
        &mut self,
        table: &TableInfo,
        form: CopyForm,
        classes: PhiClasses,
        columns: u32,
        sources: &[Arc<str>],
    ) {
        let key = (Arc::clone(&table.database), Arc::clone(&table.name));
        if !self.copies.contains_key(&key) && self.copies.len() >= COPIES_MAX {
            self.dropped += 1;
            return;
        }
        let copied = self.copies.entry(key).or_insert_with(|| Copied {
            created: None,
            is_shadow: false,
            rows: 0,
            classes: PhiClasses::default(),
            columns: 0,
            sources: Vec::new(),
        });
        match form {
            CopyForm::RowUnknownTable => copied.rows += 1,
            CopyForm::RowShadow => {
                copied.rows += 1;
                copied.is_shadow = true;
            }
            CopyForm::CreateShadow => copied.is_shadow = true,
            CopyForm::CreatePlain => {
                copied.created.get_or_insert(form);
            }
            CopyForm::CreateSelect | CopyForm::CreateLike | CopyForm::CreateColumns => {
                copied.created = Some(form);
            }
        }
        copied.classes = copied.classes.union(classes);
        copied.columns = copied.columns.max(columns);
        for source in sources.iter().take(8) {
            if copied.sources.len() < 8 && !copied.sources.contains(source) {
                copied.sources.push(Arc::clone(source));
            }
        }
    }

    /// Memory that it takes, bytes, estimated from above.
    pub(crate) fn bytes(&self) -> usize {
        const EACH: usize = 256;
        let persons: usize = self.groups.iter().map(|group| group.persons.bytes()).sum();
        let lists = self.tallies.len()
            + self.groups.len()
            + self.cross.len()
            + self.copies.len()
            + self.notes.len()
            + self.signs.items()
            + 4;
        // A change of a role's permissions is short, and there are hundreds of them.
        persons + self.marks.bytes() + self.own.bytes() + lists * EACH + self.accounts.len() * 96
    }

    /// Persons of one tenant, or of all.
    pub(crate) fn subjects(&self, scope: &Scope) -> (u64, bool) {
        let mut sum = (0u64, true);
        for group in self.groups.iter().filter(|group| scope.has(&group.database, group.tenant)) {
            let (count, exact) = group.persons.total();
            sum = (sum.0 + count, sum.1 && exact);
        }
        sum
    }

    /// The evidence of this transaction for a finding.
    pub(crate) fn evidence(&self, scope: &Scope, time: EventTime) -> Evidence {
        let mut tables = EvidenceTables::new();
        let mut inferred = EvidenceTables::new();
        for tally in self.tallies.iter().filter(|tally| scope.has(&tally.database, tally.tenant)) {
            let its = if tally.is_inferred { &mut inferred } else { &mut tables };
            let sum = its.entry(Arc::clone(&tally.table)).or_default();
            sum.inserts += tally.counts.inserts;
            sum.updates += tally.counts.updates;
            sum.deletes += tally.counts.deletes;
        }
        let evidence = self.origin.evidence(time, tables, self.subjects(scope));
        Evidence { inferred, ..evidence }
    }

    pub(crate) fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter()
    }

    /// Rows of one tenant that were deleted, or inserted and updated, without derived copies.
    pub(crate) fn rows_of(&self, group: &Group, deleted: bool) -> u64 {
        let is_its = |tally: &&Tally| {
            tally.class.is_personal()
                && !tally.is_grid
                && !tally.is_inferred
                && tally.tenant == group.tenant
                && tally.database == group.database
        };
        let rows = |t: &Tally| {
            if deleted { t.counts.deletes } else { t.counts.inserts + t.counts.updates }
        };
        self.tallies.iter().filter(is_its).map(rows).sum()
    }

    /// Rows written, over all tables.
    pub(crate) fn rows(&self) -> u64 {
        let logged = self.tallies.iter().filter(|tally| !tally.is_inferred);
        logged.map(|t| t.counts.inserts + t.counts.updates + t.counts.deletes).sum()
    }
}

/// Which of a transaction's rows a finding is about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scope {
    /// None: any.
    pub(crate) database: Option<Arc<str>>,
    /// None: any.
    pub(crate) tenant: Option<Tenant>,
}

impl Scope {
    pub(crate) fn has(&self, database: &Arc<str>, tenant: Tenant) -> bool {
        self.database.as_ref().is_none_or(|wanted| wanted == database)
            && self.tenant.is_none_or(|wanted| wanted == tenant)
    }
}

fn is_core(class: TableClass) -> bool {
    matches!(class, TableClass::Customer | TableClass::CustomerAddress | TableClass::Order)
}

/// What a row says happened to its person; None = nothing to count.
fn kinds(observation: &Observation, op: Op) -> Option<Kinds> {
    let table = &observation.table;
    if table.is_grid {
        return None;
    }
    if observation.is_touch {
        return table.class.is_personal().then_some(Kinds::SEEN);
    }
    let kinds = match (table.class, op) {
        (TableClass::Control | TableClass::Unknown, _) => return None,
        (TableClass::Customer, Op::Delete) => match &*table.name {
            "customer_entity" => Kinds(Kinds::DELETED.0 | Kinds::PARENT_DELETED.0),
            // An attribute that is emptied loses its row: an edit, not a deletion.
            _ => Kinds::CHANGED,
        },
        (TableClass::CustomerAddress, Op::Delete) => match &*table.name {
            "customer_address_entity" => Kinds::DELETED,
            _ => Kinds::CHANGED,
        },
        (TableClass::Customer | TableClass::CustomerAddress, _) => Kinds::CHANGED,
        (TableClass::OtherPersonal, Op::Delete) => {
            if DISPOSED.binary_search(&&*table.name).is_ok() {
                Kinds::SEEN
            } else {
                Kinds::OTHER_DELETED
            }
        }
        (TableClass::OtherPersonal, _) => Kinds::OTHER_CHANGED,
        (TableClass::Order, Op::Update) => Kinds::ORDERS_CHANGED,
        (TableClass::Order, Op::Delete) => Kinds::ORDERS_DELETED,
        (TableClass::Quote, Op::Update) => Kinds::QUOTES_CHANGED,
        (TableClass::Quote, Op::Delete) => Kinds::QUOTES_DELETED,
        (TableClass::Order | TableClass::Quote, Op::Create) => Kinds::SEEN,
    };
    Some(kinds)
}

fn code_words(code: phiwatch_magento::CodeChange) -> &'static str {
    use phiwatch_magento::CodeChange;
    match code {
        CodeChange::SqlTriggerOrRoutine => "a trigger, event or routine in the database",
        CodeChange::ScriptInSetting => "a script in a setting",
        CodeChange::ScriptInContent => "a script in page content",
        CodeChange::CronModelInSetting => "a cron job's code in a setting",
    }
}

state_struct!(Origin { start, gtid, server_id, thread });
state_struct!(Tally { database, table, class, is_grid, phi, tenant, is_inferred, counts });
state_struct!(Group { database, tenant, persons, orders, core_rows, phi, ordinals since 3 });
state_struct!(Cross { tenant, statement, found, expected, weight, rows, phi });
state_struct!(Copied { created, is_shadow, rows, classes, columns, sources });
state_struct!(Note { database, table, class, is_grid, phi, tenant, item });
state_struct!(Widest { statement, columns, persons, last });
state_struct!(Summary {
    origin,
    tallies,
    groups,
    cross,
    copies,
    accounts,
    notes,
    widest,
    current,
    has_mixed_statement,
    statement_website,
    dropped,
    unverified,
    held,
    has_gap,
    signs since 3,
    marks since 3,
    own since 3,
});
state_enum!(Item {
    0 => Remap { what },
    1 => ExportQueued { message, entity, is_filtered },
    2 => ExportStatus { message, status },
    3 => ExportNotice,
    4 => Config { path, scope, scope_id, opened, why },
    5 => Emptied { dropped },
    6 => Code { kind },
    7 => Surface { kind, classes },
    8 => Import { phase, rows },
    9 => Maintenance { kind },
    10 => Unseen,
    11 => Migration { shadow, is_swapped },
    12 => ExportScheduled { operation, entity, change },
});
