//! Row changes and statements to observations: the crate's front.
//!
//! Input: tables, row changes, statements and ends of transactions, in binlog order. Output:
//! projections for the decoder, and [`Observation`]s.
//!
//! # Invariants
//! - An invariant is judged by what was known before the row; then the row is learned.
//! - No allocation per row of a known table, except where a fact needs words.
//! - Memory is bounded by [`crate::Limits`] and [`REMEMBERED_MAX`](crate::shop::REMEMBERED_MAX).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use phiwatch_binlog::{
    Column, End, EventTime, Gap, Malformed, Op, Plan, Projection, RowChange, Statement, Table,
    Transaction,
};

use crate::{
    Catalog, CopyForm, Counters, Fact, Observation, Ordinal, PhiClasses, Settings, Sign, Subject,
    TableClass, TableInfo, Tenant, TokenKey,
    binding::{Binding, Kind},
    catalog::{Entity, Rule, Step},
    companies,
    control::Control,
    emit::Emit,
    inspect::{Inspector, Tour},
    invariants,
    journal::{LESSONS_MAX, Lesson, Prepared},
    map::{NO_CUSTOMER, Owner},
    policy::Watch,
    row::{Field, Row, Slot},
    setting,
    shop::{Series, Shop, Site, narrow, site_of_website_column},
    signs::Signer,
    statements::{self, table_info},
    taint::Taint,
    token::{self, Tokens},
};

const LOST_JSON: &str = "a change of a column came as differences only, without the document";

/// Handle of tables that are not examined.
const NO_BINDING: u32 = u32::MAX;

/// All columns of a bound table and its handle.
type Version = (Vec<Column>, u32);

/// State of all databases.
#[derive(Debug, Default)]
pub(crate) struct Shops {
    pub(crate) list: Vec<Shop>,
    by_name: BTreeMap<Arc<str>, usize>,
}

impl Shops {
    pub(crate) fn find(&self, database: &str) -> Option<&Shop> {
        self.by_name.get(database).map(|at| &self.list[*at])
    }

    pub(crate) fn find_mut(&mut self, database: &str) -> Option<&mut Shop> {
        self.by_name.get(database).map(|at| &mut self.list[*at])
    }

    /// The state of a database, new if there is none; none at the limit.
    pub(crate) fn open(&mut self, database: &str, settings: &Settings) -> Option<&mut Shop> {
        self.index(database, settings).map(|at| &mut self.list[at])
    }

    pub(crate) fn index(&mut self, database: &str, settings: &Settings) -> Option<usize> {
        if let Some(at) = self.by_name.get(database) {
            return Some(*at);
        }
        if self.list.len() >= settings.limits.databases_max as usize {
            return None;
        }
        let shop = Shop::new(database, settings);
        let at = self.list.len();
        self.by_name.insert(Arc::clone(&shop.database), at);
        self.list.push(shop);
        Some(at)
    }
}

/// Turns row changes and statements into observations.
#[derive(Debug)]
pub struct Classifier {
    catalog: Arc<Catalog>,
    pub(crate) settings: Settings,
    tokens: Tokens,
    pub(crate) watch: Watch,
    /// Values of persons that were seen.
    pub(crate) taint: Taint,
    tour: Tour,
    pub(crate) shops: Shops,
    bindings: Vec<Binding>,
    /// Versions of a table that are bound, with all its columns.
    bound: BTreeMap<(Arc<str>, Arc<str>), Vec<Version>>,
    /// Catalogue tables whose columns have no names.
    names_missing: BTreeSet<(Arc<str>, Arc<str>)>,
    /// The last table would be looked at if its columns had names.
    is_name_wanted: bool,
    absent: BTreeSet<(Arc<str>, String)>,
    /// Rules of the operator that are off for want of a column, not told yet.
    rules_off: Vec<RuleOff>,
    /// What prepared XA transactions taught, in the order of their PREPARE.
    pub(crate) prepared: Vec<Prepared>,
    nothing: Arc<TableInfo>,
    counters: Counters,
    lost: Lost,
}

/// A rule of the operator that cannot be judged on a table, because the table has no such column,
/// or one of another type than the rule compares with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "names")]
pub struct RuleOff {
    pub rule: Arc<str>,
    pub database: Arc<str>,
    pub table: Arc<str>,
    pub column: String,
}

/// What rows did not hold.
#[derive(Debug, Default)]
struct Lost {
    cause: Option<Malformed>,
    /// Handles of tables told in this transaction.
    tables: BTreeSet<u32>,
}

impl Classifier {
    /// A classifier that has seen nothing.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, mut settings: Settings, key: &TokenKey) -> Self {
        let watch = Watch::new(&settings.policy, key);
        // From here on there are tokens of them only.
        settings.policy.canary_emails.clear();
        let nothing = TableInfo {
            database: "".into(),
            name: "".into(),
            class: TableClass::Unknown,
            phi: PhiClasses::default(),
            is_grid: false,
        };
        Self {
            catalog,
            settings,
            tokens: Tokens::new(key),
            watch,
            taint: Taint::default(),
            tour: Tour::default(),
            shops: Shops::default(),
            bindings: Vec::new(),
            bound: BTreeMap::new(),
            names_missing: BTreeSet::new(),
            is_name_wanted: false,
            absent: BTreeSet::new(),
            rules_off: Vec::new(),
            prepared: Vec::new(),
            nothing: Arc::new(nothing),
            counters: Counters::default(),
            lost: Lost::default(),
        }
    }

    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Counts of what was seen and what could not be judged.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        counters.values_dropped = self.taint.dropped;
        counters.ids_dropped = self.shops.list.iter().map(|shop| shop.dropped).sum();
        counters
    }

    /// Goes on with the counts of a classifier whose place this one takes.
    pub fn count_on(&mut self, from: &Self) {
        self.counters = from.counters();
    }

    /// Catalogue tables (database, name without prefix) whose columns have no names at present:
    /// nothing in them is examined.
    pub fn names_missing(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names_missing.iter().map(|(database, table)| (&**database, &**table))
    }

    /// Whether the last table that [`Self::table`] was given is passed over only for want of
    /// column names.
    pub fn take_name_wanted(&mut self) -> bool {
        std::mem::take(&mut self.is_name_wanted)
    }

    /// Columns (table without prefix, column) that rules want and the shop does not have: the
    /// part of the rule that needs them is off.
    pub fn absent_columns(&self) -> impl Iterator<Item = (&str, &str)> {
        self.absent.iter().map(|(table, column)| (&**table, column.as_str()))
    }

    /// Rules of the operator that were found to be off since this was last asked.
    pub fn take_rules_off(&mut self) -> Vec<RuleOff> {
        std::mem::take(&mut self.rules_off)
    }

    /// Databases that look like a shop, in order of names.
    pub fn shops(&self) -> impl Iterator<Item = &str> {
        let shops = self.shops.by_name.iter();
        shops.filter(|(_, at)| self.shops.list[**at].is_shop).map(|(name, _)| &**name)
    }

    /// A table map: which columns to read. The plan's handle is good for as long as the process
    /// runs.
    pub fn table(&mut self, table: &Table) -> Plan {
        let ignore = Plan { projection: Projection::Ignore, handle: NO_BINDING };
        self.is_name_wanted = false;
        let prefix = &self.settings.table_prefix;
        let info = table_info(&self.catalog, prefix, &table.database, &table.name);
        let copied = self.copied_from(&table.database, &info.name);
        if !self.is_examined(&table.database) && copied.is_none() {
            return ignore;
        }
        let is_known = info.class != TableClass::Unknown;
        if !is_known && self.catalog.is_noise(&info.name) && !self.watch.names(&info.name) {
            return ignore;
        }
        let is_nameless = table.columns.iter().all(|column| column.name.is_none());
        if !is_nameless && !self.names_missing.is_empty() {
            let key = (Arc::clone(&info.database), Arc::clone(&info.name));
            self.names_missing.remove(&key);
        }
        let key = (Arc::clone(&table.database), Arc::clone(&table.name));
        if let Some(versions) = self.bound.get(&key)
            && let Some((_, handle)) = versions.iter().find(|(columns, handle)| {
                *columns == table.columns && self.is_same_source(*handle, copied.is_some())
            })
        {
            return self.plan(*handle);
        }
        if is_nameless {
            let rule = self.catalog.spec(&info.name).and_then(|spec| spec.rule);
            let has_own = self.catalog.rules_of(&info.name).next().is_some();
            let is_wanted = is_known && (rule != Some(Rule::CronJob) || has_own);
            if is_wanted || (!is_known && !self.catalog.is_rebuilt(&info.name)) {
                self.without_names(&info, is_known);
            }
            return ignore;
        }
        let Some(binding) = self.bind(table, info, copied.as_deref()) else { return ignore };
        if self.bindings.len() >= self.settings.limits.tables_max as usize {
            self.counters.tables_refused += 1;
            return ignore;
        }
        for column in &binding.absent {
            self.absent.insert((Arc::clone(&binding.info.name), column.clone()));
        }
        self.rules_off.extend(binding.operator_off.iter().map(|(rule, column)| RuleOff {
            rule: Arc::clone(rule),
            database: Arc::clone(&binding.info.database),
            table: Arc::clone(&binding.info.name),
            column: column.clone(),
        }));
        let handle = u32::try_from(self.bindings.len()).unwrap_or(NO_BINDING);
        self.bindings.push(binding);
        self.bound.entry(key).or_default().push((table.columns.clone(), handle));
        self.plan(handle)
    }

    fn is_examined(&self, database: &str) -> bool {
        let system = ["mysql", "sys", "performance_schema", "information_schema"];
        let databases = &self.settings.databases;
        !system.contains(&database)
            && (databases.is_empty() || databases.iter().any(|name| name == database))
    }

    fn copied_from(&self, database: &str, table: &str) -> Option<Arc<str>> {
        self.shops.find(database)?.copies.get(table).map(Arc::clone)
    }

    fn is_same_source(&self, handle: u32, is_made: bool) -> bool {
        let kind = self.bindings.get(handle as usize).map(|binding| binding.kind);
        match kind {
            Some(Kind::Copy { is_made: was_made, .. }) => was_made == is_made,
            Some(Kind::Stranger) => !is_made,
            Some(Kind::Known(_)) => true,
            None => false,
        }
    }

    fn plan(&self, handle: u32) -> Plan {
        let columns = self.bindings.get(handle as usize).map(|binding| binding.projection.clone());
        Plan { projection: Projection::Columns(columns.unwrap_or_default()), handle }
    }

    fn without_names(&mut self, info: &TableInfo, is_known: bool) {
        self.is_name_wanted = true;
        if is_known {
            let key = (Arc::clone(&info.database), Arc::clone(&info.name));
            self.names_missing.insert(key);
        }
        self.counters.tables_without_names += 1;
    }

    /// Binds a table; none if nothing in its rows matters.
    fn bind(&mut self, table: &Table, info: TableInfo, source: Option<&str>) -> Option<Binding> {
        let catalog = Arc::clone(&self.catalog);
        let names = || table.columns.iter().filter_map(|column| column.name.as_deref());
        let Some(at) = self.shops.index(&table.database, &self.settings) else {
            self.counters.tables_refused += 1;
            return None;
        };
        if let Some(spec) = catalog.spec(&info.name).filter(|_| info.class != TableClass::Unknown) {
            self.shops.list[at].is_shop |= spec.is_mark;
            if info.class.is_personal() {
                self.shops.list[at].saw(&info.name);
            }
            let is_silent =
                info.class == TableClass::Control && spec.rule.is_none() && spec.trail.is_none();
            let with = (&self.watch, &*catalog);
            let bound = Binding::known(table, spec, Arc::new(info), at, with);
            let is_wanted = |bound: &Binding| {
                !is_silent || !bound.inspected.is_empty() || !bound.operator.is_empty()
            };
            return Some(bound).filter(is_wanted);
        }
        let shape = catalog.shape(names());
        let info = Arc::new(TableInfo { phi: shape.classes, ..info });
        let spec = source.and_then(|source| catalog.spec(source));
        let bound = Binding::copy(table, &catalog, spec, info, at, &self.watch);
        Some(bound).filter(|bound| !bound.is_idle())
    }

    /// A transaction begins.
    pub fn begin(&mut self, _transaction: &Transaction) {}

    /// One row change; pushes its observations, if it gives any.
    pub fn row(
        &mut self,
        transaction: &Transaction,
        change: &RowChange<'_>,
        out: &mut Vec<Observation>,
    ) {
        let Some(binding) = self.bindings.get(change.handle as usize) else { return };
        let Some(shop) = self.shops.list.get_mut(binding.shop) else { return };
        let row = Row::new(change, &binding.columns);
        let mut work = Work {
            catalog: &self.catalog,
            settings: &self.settings,
            tokens: &self.tokens,
            binding,
            row: &row,
            shop,
            lost: &mut self.lost,
            counters: &mut self.counters,
            now: transaction.time,
        };
        let before = out.len();
        work.run(change, out);
        if !binding.operator.is_empty() {
            work.operator(change, before, out);
        }
        // The shadow of an online schema change is its table's own copy.
        let form = out.get(before).and_then(|first| first.fact.as_ref());
        let is_shadow = matches!(form, Some(Fact::Copy { form: CopyForm::RowShadow, .. }));
        if !is_shadow && (binding.is_inspected() || !self.watch.customers.is_empty()) {
            let base = match out.get(before) {
                Some(first) => Observation { op: None, fact: None, ..first.clone() },
                None => work.bare(change),
            };
            let mut inspector = Inspector {
                catalog: &self.catalog,
                watch: &self.watch,
                binding,
                handle: change.handle,
                row: &row,
                shop: work.shop,
                taint: &mut self.taint,
                tour: &mut self.tour,
            };
            inspector.run(base, out);
        }
        self.counters.undecodable_cells += row.undecodable();
        if row.has_lost_json() {
            self.lost.cause = Some(Malformed::Json(LOST_JSON));
        }
    }

    /// What of the last row was not examined, though a rule wanted it: a JSON document that could
    /// not be made from its differences (the rest of the row counts), or a row whose images lack
    /// the columns that name what it is about (told once per table and transaction).
    pub fn take_lost(&mut self) -> Option<Malformed> {
        self.lost.cause.take()
    }

    /// A statement; pushes its observations, if it gives any.
    pub fn statement(
        &mut self,
        _transaction: &Transaction,
        statement: &Statement<'_>,
        out: &mut Vec<Observation>,
    ) {
        let base = Observation {
            offset: statement.offset,
            statement: 0,
            table: Arc::clone(&self.nothing),
            op: None,
            tenant: Tenant::Global,
            subject: None,
            ordinal: None,
            columns_changed: 0,
            is_touch: false,
            is_inferred: false,
            fact: None,
        };
        let mut judge = statements::Judge {
            catalog: &self.catalog,
            settings: &self.settings,
            shops: &mut self.shops,
            statement,
            emit: Emit { base, out, is_first: true },
        };
        judge.run();
    }

    /// The transaction that has begun will be prepared (XA).
    pub fn prepares(&mut self, _transaction: &Transaction) {
        self.shops.list.iter_mut().for_each(Shop::prepares);
    }

    /// A transaction, or a piece of it, ended. What its rows taught is kept at a commit and waits
    /// at a PREPARE. Gives the transactions whose lessons there is no room for: ids that only
    /// they name stay unknown.
    pub fn end(&mut self, transaction: &Transaction, end: &End) -> Vec<Gap> {
        self.lost.tables.clear();
        match end {
            End::Commit => self.commit(),
            End::Rollback | End::Torn => drop(self.undo()),
            End::XaPrepared(xid) => return self.prepared(transaction, &xid.0),
            End::XaCommit(xid) => {
                self.commit();
                let ids_max = self.settings.limits.ids_max;
                for (at, lesson) in self.unprepare(&xid.0) {
                    if let Some(shop) = self.shops.list.get_mut(at) {
                        shop.apply(lesson, ids_max);
                    }
                }
            }
            End::XaRollback(xid) => {
                drop(self.undo());
                drop(self.unprepare(&xid.0));
            }
        }
        Vec::new()
    }

    /// What the open transaction taught stands.
    fn commit(&mut self) {
        self.shops.list.iter_mut().for_each(Shop::commit);
        self.taint.commit(self.settings.limits.values_max as usize);
        if !self.tour.is_idle() {
            self.tour.commit(&mut self.shops.list);
        }
    }

    /// Takes back what the open transaction taught; whether there was more of it.
    fn undo(&mut self) -> (Vec<(usize, Lesson)>, bool) {
        self.taint.discard();
        self.tour.discard();
        let ids_max = self.settings.limits.ids_max;
        let mut all = Vec::new();
        let mut is_cut = false;
        for (at, shop) in self.shops.list.iter_mut().enumerate() {
            let (lessons, is_its_cut) = shop.undo(ids_max);
            is_cut |= is_its_cut;
            all.extend(lessons.into_iter().map(|lesson| (at, lesson)));
        }
        (all, is_cut)
    }

    fn prepared(&mut self, transaction: &Transaction, xid: &str) -> Vec<Gap> {
        let (lessons, is_cut) = self.undo();
        drop(self.unprepare(xid));
        let mut gaps = Vec::new();
        let mut gap = |prepared: &Prepared| {
            gaps.push(Gap {
                at: prepared.at.clone(),
                bytes: 0,
                gtid: prepared.gtid.clone(),
                table: None,
                cause: Malformed::PreparedOverBound,
            });
        };
        let (at, gtid) = (transaction.start.clone(), transaction.gtid.clone());
        let new = Prepared { xid: xid.to_owned(), at, gtid, lessons };
        if is_cut {
            gap(&new);
        }
        if !new.lessons.is_empty() {
            self.prepared.push(new);
        }
        let held = |all: &[Prepared]| all.iter().map(|one| one.lessons.len()).sum::<usize>();
        while held(&self.prepared) > LESSONS_MAX {
            gap(&self.prepared.remove(0));
        }
        gaps
    }

    fn unprepare(&mut self, xid: &str) -> Vec<(usize, Lesson)> {
        let found = self.prepared.iter().position(|prepared| prepared.xid == xid);
        found.map(|at| self.prepared.remove(at).lessons).unwrap_or_default()
    }
}

/// Columns of a rule (by their places in `rule_columns`) without which its row says nothing, or the
/// wrong thing: a role's permissions that go without a name would make all that come new ones.
fn identity(rule: Rule) -> &'static [usize] {
    match rule {
        Rule::Setting => &[0, 1, 2],
        Rule::Role => &[0, 2, 3, 4],
        Rule::Permission => &[0, 1, 2],
        _ => &[],
    }
}

/// One row of one binding.
struct Work<'a> {
    catalog: &'a Catalog,
    settings: &'a Settings,
    tokens: &'a Tokens,
    binding: &'a Binding,
    row: &'a Row<'a>,
    shop: &'a mut Shop,
    lost: &'a mut Lost,
    counters: &'a mut Counters,
    now: EventTime,
}

impl Work<'_> {
    fn run(&mut self, change: &RowChange<'_>, out: &mut Vec<Observation>) {
        let binding = self.binding;
        let fact = match binding.kind {
            Kind::Known(rule) if binding.info.class == TableClass::Control => {
                self.counters.add_row(binding.info.class);
                let before = out.len();
                if let Some(rule) = rule {
                    if self.is_unjudged(rule, change.handle) {
                        return;
                    }
                    self.control(rule, change, out);
                    if let Some(fact) = self.verdict(rule) {
                        let base = self.base(change, Tenant::Global);
                        let is_first = out.len() == before;
                        Emit { base, out, is_first }.fact(fact);
                    }
                    self.learn_company(rule);
                }
                let is_first = out.len() == before;
                return self.signs(rule, (change, Tenant::Global), is_first, out);
            }
            Kind::Known(None) if binding.info.class == TableClass::Control => return,
            Kind::Known(rule) => rule.and_then(|rule| self.verdict(rule)),
            Kind::Stranger => return,
            Kind::Copy { classes, columns, is_made } => {
                let of = if is_made { None } else { self.shadowed() };
                if !is_made && !self.shop.is_shop && of.is_none() {
                    return;
                }
                self.counters.migration_rows += u64::from(of.is_some());
                let form = match of {
                    Some(_) => CopyForm::RowShadow,
                    None => CopyForm::RowUnknownTable,
                };
                Some(Fact::Copy { form, classes, columns, sources: of.into_iter().collect() })
            }
        };
        self.counters.add_row(binding.info.class);
        let tenant = self.tenant();
        self.counters.tenant_unknown_rows += u64::from(tenant == Tenant::Unknown);
        let mut observation = self.base(change, tenant);
        observation.subject = if binding.info.is_grid { None } else { self.subject() };
        observation.fact = fact;
        observation.columns_changed = self.row.changed(&binding.names);
        observation.is_touch = change.op == Op::Update
            && (observation.columns_changed == 0
                || self.is_reencrypted(observation.columns_changed));
        observation.ordinal = self.ordinal(&observation);
        out.push(observation);
        if let Kind::Known(rule) = binding.kind
            && (rule.is_some() || binding.trail.is_some())
        {
            self.signs(rule, (change, tenant), false, out);
        }
        self.learn();
        if let Some(rule) = binding.kind.rule() {
            self.learn_company(rule);
        }
    }

    fn learn_company(&mut self, rule: Rule) {
        let ids_max = self.settings.limits.ids_max;
        companies::learn(rule, self.binding, self.row, self.shop, ids_max);
    }

    /// Whether all that changed is a ciphertext, made with a later key: the same data.
    fn is_reencrypted(&self, changed: u64) -> bool {
        if self.binding.kind != Kind::Known(Some(Rule::Payment)) {
            return false;
        }
        let slot = self.binding.key(0);
        let name = self.binding.names.get(usize::from(slot.0)).copied();
        let text = |text: Option<std::borrow::Cow<'_, [u8]>>| {
            text.map(|text| String::from_utf8_lossy(&text).into_owned())
        };
        let (old, new) = (text(self.row.text_old(slot)), text(self.row.text_now(slot)));
        name == Some(changed) && setting::is_reencrypted(old.as_deref(), new.as_deref())
    }

    /// Whether a new customer has the e-mail address of another website's.
    fn same_email(&mut self) -> Option<Sign> {
        let id = self.row.now(self.binding.key(0)).key()?;
        let website = narrow(self.row.now(self.binding.key(1)).id());
        let check = self.row.text_now(self.binding.key(3))?;
        let check = self.tokens.email_check(&check)?;
        let website = self.shop.email_elsewhere(check, id, website)?;
        Some(Sign::SameEmail { website: website.into() })
    }

    /// Learns what the store's order numbers begin with.
    fn learn_series(&mut self) {
        let key = |n: usize| self.binding.key(n);
        let (Some(store), Some(number)) = (self.row.now(key(1)).key(), self.row.text_now(key(4)))
        else {
            return;
        };
        let prefix = invariants::series(&number);
        let new = Series { prefix, seen: 1, other: 0 };
        let known = self.shop.series.get(&store);
        let series = Some(known.map_or(new, |known| known.with(prefix)));
        self.shop.take(Lesson::Series { store, series }, self.settings.limits.ids_max);
    }

    /// What the row says about other rows, or about who reads them.
    fn signs(
        &mut self,
        rule: Option<Rule>,
        (change, tenant): (&RowChange<'_>, Tenant),
        is_first: bool,
        out: &mut Vec<Observation>,
    ) {
        let signer = Signer {
            catalog: self.catalog,
            tokens: self.tokens,
            binding: self.binding,
            row: self.row,
            database: self.shop.hash,
            now: self.now,
        };
        if signer.lacks() {
            self.unjudged(change.handle);
            return;
        }
        let mut facts: Vec<Fact> = signer.signs(rule).into_iter().map(Fact::Sign).collect();
        match (rule, self.row.op) {
            (Some(Rule::Customer), Op::Create) => facts.extend(self.same_email().map(Fact::Sign)),
            (Some(Rule::Order), Op::Create) => self.learn_series(),
            (Some(Rule::Company), Op::Update) => {
                let changes = companies::changes(self.binding, self.row);
                facts.extend(changes.into_iter().map(Fact::Account));
            }
            _ => {}
        }
        if facts.is_empty() {
            return;
        }
        let mut emit = Emit { base: self.base(change, tenant), out, is_first };
        facts.into_iter().for_each(|fact| emit.fact(fact));
    }

    /// Whether the row's images lack what its rule needs; told once per table and transaction. Of
    /// permissions, what comes after one without a name is not judged either: it may be the same.
    fn is_unjudged(&mut self, rule: Rule, handle: u32) -> bool {
        let lacks = identity(rule).iter().any(|n| self.row.lacks(self.binding.key(*n)));
        if !lacks && (rule != Rule::Permission || !self.lost.tables.contains(&handle)) {
            return false;
        }
        self.unjudged(handle);
        true
    }

    fn unjudged(&mut self, handle: u32) {
        self.counters.columns_lacking += 1;
        if self.lost.tables.len() < crate::shop::REMEMBERED_MAX && self.lost.tables.insert(handle) {
            self.lost.cause = Some(Malformed::RowImage);
        }
    }

    /// The operator's rules that the row fits. `first`: where its observations begin in `out`.
    fn operator(&mut self, change: &RowChange<'_>, first: usize, out: &mut Vec<Observation>) {
        for bound in &self.binding.operator {
            match bound.fits(self.row) {
                Some(true) => {}
                Some(false) => continue,
                None => {
                    self.unjudged(change.handle);
                    continue;
                }
            }
            let rule = Arc::clone(&bound.rule);
            let fact = Some(Fact::Operator { rule, op: change.op });
            let observation = match out.get(first) {
                Some(row) => Observation { op: None, fact, ..row.clone() },
                None => Observation { fact, ..self.bare(change) },
            };
            out.push(observation);
        }
    }

    /// The observation of a row that said nothing so far.
    fn bare(&self, change: &RowChange<'_>) -> Observation {
        let is_control = self.binding.info.class == TableClass::Control;
        let tenant = if is_control { Tenant::Global } else { self.tenant() };
        Observation { columns_changed: 0, ..self.base(change, tenant) }
    }

    fn base(&self, change: &RowChange<'_>, tenant: Tenant) -> Observation {
        Observation {
            offset: change.offset,
            statement: change.statement,
            table: Arc::clone(&self.binding.info),
            op: Some(change.op),
            tenant,
            subject: None,
            ordinal: None,
            columns_changed: 0,
            is_touch: false,
            is_inferred: false,
            fact: None,
        }
    }

    fn control(&mut self, rule: Rule, change: &RowChange<'_>, out: &mut Vec<Observation>) {
        let base = self.base(change, Tenant::Global);
        let mut control = Control {
            catalog: self.catalog,
            settings: self.settings,
            binding: self.binding,
            row: self.row,
            shop: self.shop,
            emit: Emit { base, out, is_first: true },
        };
        control.run(rule);
    }

    /// The personal table whose shadow this one is in an online schema change.
    fn shadowed(&self) -> Option<Arc<str>> {
        let name = &self.binding.info.name;
        self.shop.shadowed(self.catalog, &self.settings.table_prefix, name)
    }

    fn verdict(&mut self, rule: Rule) -> Option<Fact> {
        let judge = invariants::Judge {
            binding: self.binding,
            row: self.row,
            shop: self.shop,
            tokens: self.tokens,
            is_shared: self.shop.is_shared(self.settings),
        };
        let fact = judge.verdict(rule).into_fact();
        match &fact {
            Some(Fact::CrossTenant(breach)) => {
                self.counters.cross_tenant[usize::from(breach.invariant)] += 1;
            }
            Some(Fact::Unverified(invariant)) => {
                self.counters.unverified[usize::from(*invariant)] += 1;
            }
            _ => {}
        }
        fact
    }

    fn site(&self, step: Step, slot: Slot) -> Site {
        let field = self.row.now(slot);
        match step {
            Step::Website => site_of_website_column(field),
            Step::Store => self.shop.site_of_store(field),
            Step::Entity(entity) => self.shop.site_of(entity, field),
            Step::Email => Site::Exempt,
        }
    }

    /// The first website on the tenant path; the admin scope if a column says 0; else unknown.
    fn tenant(&self) -> Tenant {
        let mut is_admin = false;
        for (step, slot) in &self.binding.tenant {
            if let Site::Is(website) = self.site(*step, *slot) {
                return Tenant::Website(website);
            }
            is_admin |=
                matches!(step, Step::Website | Step::Store) && self.row.now(*slot) == Field::Is(0);
        }
        let has_none = self.binding.tenant.is_empty() && self.binding.info.class.is_personal();
        if is_admin || has_none { Tenant::Global } else { Tenant::Unknown }
    }

    /// The customer on the subject path, 0 for a guest; none if the path says nothing.
    fn customer(&self) -> Option<u32> {
        let mut is_guest = false;
        for (step, slot) in &self.binding.subject {
            let Step::Entity(entity) = step else { continue };
            let field = self.row.now(*slot);
            if *entity == Entity::Customer {
                match field.key() {
                    Some(customer) => return Some(customer),
                    None => is_guest |= field != Field::Absent,
                }
                continue;
            }
            match field.key().and_then(|id| self.shop.owner(*entity, id)).map(|o| o.customer) {
                None | Some(NO_CUSTOMER) => {}
                Some(0) => is_guest = true,
                Some(customer) => return Some(customer),
            }
        }
        is_guest.then_some(0)
    }

    /// Of customers whose data is edited.
    fn ordinal(&self, observation: &Observation) -> Option<Ordinal> {
        let info = &self.binding.info;
        let is_customer = matches!(info.class, TableClass::Customer | TableClass::CustomerAddress);
        let is_edit = observation.op == Some(Op::Update) && !observation.is_touch;
        if !is_customer || !is_edit || info.is_grid {
            return None;
        }
        let customer = self.customer().filter(|customer| *customer != 0)?;
        Some(Ordinal::new(u64::from(customer)))
    }

    fn subject(&self) -> Option<Subject> {
        if let Some(customer) = self.customer().filter(|customer| *customer != 0) {
            return Some(token::customer(self.shop.hash, u64::from(customer)));
        }
        let emails = self.binding.subject.iter().filter(|(step, _)| *step == Step::Email);
        let mut texts = emails.filter_map(|(_, slot)| self.row.text_now(*slot));
        texts.find_map(|address| self.tokens.email(&address))
    }

    /// Learns whose the row's entity is.
    fn learn(&mut self) {
        let Some((entity, slot)) = self.binding.defines else { return };
        let Some(id) = self.row.now(slot).key() else { return };
        if self.row.op == Op::Delete {
            if self.row.cascades_unseen {
                self.shop.gone(&self.binding.info.name, id);
            }
            self.shop.forget_later(entity, id);
            return;
        }
        let known = self.shop.owner(entity, id);
        let owner = self.owner(entity, known.unwrap_or(Owner::UNKNOWN));
        if self.row.op == Op::Create {
            self.shop.keep(entity, id);
        }
        if owner.is_some_and(|owner| known != Some(owner)) {
            let lesson = Lesson::Owner { entity, id, owner };
            self.shop.take(lesson, self.settings.limits.ids_max);
        }
    }

    /// The owner after the row; none if nothing is known of it.
    fn owner(&self, entity: Entity, mut owner: Owner) -> Option<Owner> {
        let mut is_known = owner != Owner::UNKNOWN;
        if entity == Entity::Customer {
            if owner.customer == NO_CUSTOMER {
                owner.customer = 0;
            }
            let email = self.row.text_now(self.binding.key(3));
            if let Some(check) = email.filter(|_| self.row.is_written(self.binding.key(3))) {
                owner.customer = self.tokens.email_check(&check).unwrap_or(0);
            }
        } else if let Some(customer) = self.customer() {
            owner.customer = customer;
            is_known = true;
        }
        for (step, slot) in &self.binding.tenant {
            let field = self.row.now(*slot);
            match step {
                Step::Website if field != Field::Absent => {
                    owner.website = narrow(field.id());
                    is_known = true;
                }
                Step::Store if field != Field::Absent => {
                    owner.store = narrow(field.id());
                    is_known = true;
                }
                Step::Entity(parent) if *parent != entity && owner.store == crate::map::NO_SITE => {
                    if let Some(of) = field.key().and_then(|id| self.shop.owner(*parent, id)) {
                        owner.store = of.store;
                        is_known = true;
                    }
                }
                Step::Website | Step::Store | Step::Entity(_) | Step::Email => {}
            }
        }
        is_known.then_some(owner)
    }
}
