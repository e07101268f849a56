//! A table map bound to the catalogue: which columns to read, and what each is for.
//!
//! Input: a table map with column names. Output: a projection and the places of columns in it.
//!
//! # Invariants
//! - Columns are found by name, never by position; an absent one switches its part off.
//! - At most [`COLUMNS_MAX`] columns are read, beside those of the operator's own rules; columns
//!   that rules need come before others.

use std::{collections::BTreeSet, sync::Arc};

use phiwatch_binlog::{Column, Op, Table};

use crate::{
    Catalog, OperatorRule, PhiClasses, TableClass, TableInfo, Weight,
    catalog::{Entity, OperatorSpec, Path, Rule, Step, TableSpec, Wanted},
    policy::{Duty, Inspected, Watch},
    row::{Row, Slot, is_integer, is_text},
    signs::TrailSlots,
    token,
};

/// Columns that are read of one table at most.
pub(crate) const COLUMNS_MAX: usize = 128;
/// Tables with more columns than this compare only those that the catalogue names.
const COMPARED_WHOLE_MAX: usize = 64;
/// Columns that one rule names at most.
const KEYS_MAX: usize = 8;

/// What the rows of a table are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A table of the catalogue.
    Known(Option<Rule>),
    /// Not in the catalogue, looks personal.
    Copy {
        classes: PhiClasses,
        columns: u32,
        /// Made by a statement that copies: flagged wherever it stands.
        is_made: bool,
    },
    /// Not in the catalogue, and its columns say nothing: only values may.
    Stranger,
}

impl Kind {
    /// The rule of a table of the catalogue.
    pub(crate) fn rule(self) -> Option<Rule> {
        match self {
            Self::Known(rule) => rule,
            Self::Copy { .. } | Self::Stranger => None,
        }
    }
}

/// One version of a table, bound.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) info: Arc<TableInfo>,
    /// Index of its database's state.
    pub(crate) shop: usize,
    pub(crate) kind: Kind,
    /// 0-based ordinals of the columns to read, ascending.
    pub(crate) projection: Vec<u16>,
    /// Those columns.
    pub(crate) columns: Vec<Column>,
    /// Of each, a fixed hash of its name; 0 = not compared (time stamps and the like).
    pub(crate) names: Vec<u64>,
    pub(crate) tenant: Vec<(Step, Slot)>,
    pub(crate) subject: Vec<(Step, Slot)>,
    pub(crate) defines: Option<(Entity, Slot)>,
    keys: [Slot; KEYS_MAX],
    /// The table is an audit trail.
    pub(crate) trail: Option<TrailSlots>,
    /// Columns whose values are looked at.
    pub(crate) inspected: Vec<Inspected>,
    /// The operator's rules that can be judged on this version.
    pub(crate) operator: Vec<BoundRule>,
    /// Those that cannot: rule and column.
    pub(crate) operator_off: Vec<(Arc<str>, String)>,
    /// Names of columns that a rule needs and the table does not have.
    pub(crate) absent: Vec<String>,
}

/// A rule of the operator, bound.
#[derive(Debug)]
pub(crate) struct BoundRule {
    pub(crate) rule: Arc<OperatorRule>,
    on: Vec<Op>,
    changed: Vec<Slot>,
    conditions: Vec<(Slot, Wanted)>,
}

impl BoundRule {
    /// Whether the row fits; none if its images lack a column that decides it.
    pub(crate) fn fits(&self, row: &Row<'_>) -> Option<bool> {
        let is_changed = row.op != Op::Update
            || self.changed.is_empty()
            || self.changed.iter().any(|slot| row.is_written(*slot));
        if !self.on.contains(&row.op) || !is_changed {
            return Some(false);
        }
        let mut is_whole = true;
        for (slot, wanted) in &self.conditions {
            if row.lacks(*slot) {
                is_whole = false;
            } else if !is_one_of(row, *slot, wanted) {
                return Some(false);
            }
        }
        is_whole.then_some(true)
    }
}

fn is_one_of(row: &Row<'_>, slot: Slot, wanted: &Wanted) -> bool {
    match wanted {
        Wanted::Numbers(numbers) => numbers.iter().any(|number| row.is_number(slot, *number)),
        Wanted::Texts(texts) => {
            let text = row.text_now(slot);
            text.is_some_and(|text| texts.iter().any(|one| one.as_bytes() == &*text))
        }
    }
}

impl Binding {
    /// Place of the rule's `n`th column (see [`rule_columns`]).
    pub(crate) fn key(&self, n: usize) -> Slot {
        self.keys.get(n).copied().unwrap_or(Slot::OFF)
    }

    /// Binds a table of the catalogue. `info.name` is its name without prefix.
    pub(crate) fn known(
        table: &Table,
        spec: &TableSpec,
        info: Arc<TableInfo>,
        shop: usize,
        (watch, catalog): (&Watch, &Catalog),
    ) -> Self {
        let mut builder = Builder::new(table);
        builder.inspect(watch.duties(&info.name, Some(spec), &table.columns));
        builder.absent.extend(watch.absent(&info.name, &table.columns));
        let keys = spec.rule.map_or(&[][..], rule_columns);
        builder.need(keys.iter().copied());
        builder.paths(spec);
        if let Some(trail) = &spec.trail {
            let names = trail.time.iter().chain(&trail.user).chain(&trail.fixed);
            builder.need(names.map(String::as_str));
        }
        builder.take(spec.phi.keys().map(String::as_str), &spec.touch);
        if info.class.is_personal() {
            if table.columns.len() <= COMPARED_WHOLE_MAX {
                builder.take(table.columns.iter().filter_map(|c| c.name.as_deref()), &spec.touch);
            } else {
                builder.take(spec.watch.iter().map(String::as_str), &spec.touch);
            }
        }
        for rule in catalog.rules_of(&info.name) {
            builder.operator(rule);
        }
        let kind = Kind::Known(spec.rule);
        builder.finish(info, shop, kind, keys, spec)
    }

    /// Binds a table outside the catalogue whose columns look personal. `source`: the catalogue
    /// table that it was made from, if a statement said so.
    pub(crate) fn copy(
        table: &Table,
        catalog: &Catalog,
        source: Option<&TableSpec>,
        info: Arc<TableInfo>,
        shop: usize,
        watch: &Watch,
    ) -> Self {
        let guessed = guess(table, catalog);
        let spec = source.unwrap_or(&guessed);
        let shape = catalog.shape(table.columns.iter().filter_map(|column| column.name.as_deref()));
        let mut builder = Builder::new(table);
        builder.inspect(watch.duties(&info.name, None, &table.columns));
        builder.paths(spec);
        let kind = if shape.is_personal() || source.is_some() {
            Kind::Copy { classes: info.phi, columns: shape.columns, is_made: source.is_some() }
        } else {
            Kind::Stranger
        };
        let mut bound = builder.finish(info, shop, kind, &[], spec);
        bound.absent.clear();
        bound
    }

    /// Whether values of its rows are looked at.
    pub(crate) fn is_inspected(&self) -> bool {
        !self.inspected.is_empty()
            || matches!(self.kind, Kind::Known(Some(Rule::Setting | Rule::Attribute)))
    }

    /// Whether nothing of its rows could matter.
    pub(crate) fn is_idle(&self) -> bool {
        self.kind == Kind::Stranger && self.inspected.is_empty()
    }
}

/// What the columns of an unknown table probably lead to.
fn guess(table: &Table, catalog: &Catalog) -> TableSpec {
    let path = |step, column: &str| Path { step, column: column.to_owned() };
    let mut subject = vec![path(Step::Entity(Entity::Customer), "customer_id")];
    let names = table.columns.iter().filter_map(|column| column.name.as_deref());
    let email =
        names.into_iter().find(|name| catalog.column_classes(name).contains(PhiClasses::EMAIL));
    subject.extend(email.map(|name| path(Step::Email, name)));
    TableSpec {
        class: TableClass::Unknown,
        rule: None,
        tenant: vec![
            path(Step::Website, "website_id"),
            path(Step::Store, "store_id"),
            path(Step::Entity(Entity::Customer), "customer_id"),
            path(Step::Entity(Entity::Order), "order_id"),
        ],
        subject,
        defines: None,
        touch: Vec::new(),
        watch: Vec::new(),
        is_grid: false,
        is_mark: false,
        trail: None,
        encrypted: Vec::new(),
        bodies: Vec::new(),
        own_bodies: Vec::new(),
        texts: Vec::new(),
        phi: std::collections::BTreeMap::new(),
    }
}

struct Builder<'a> {
    table: &'a Table,
    chosen: BTreeSet<u16>,
    absent: BTreeSet<String>,
    inspected: Vec<(u16, Arc<str>, Duty, bool)>,
    operator: Vec<Arc<OperatorSpec>>,
    operator_off: Vec<(Arc<str>, String)>,
    /// Columns that only the operator's rules read.
    own: BTreeSet<u16>,
}

impl<'a> Builder<'a> {
    fn new(table: &'a Table) -> Self {
        Self {
            table,
            chosen: BTreeSet::new(),
            absent: BTreeSet::new(),
            inspected: Vec::new(),
            operator: Vec::new(),
            operator_off: Vec::new(),
            own: BTreeSet::new(),
        }
    }

    fn ordinal(&self, name: &str) -> Option<u16> {
        let is_it = |column: &Column| {
            column.name.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(name))
        };
        self.table.columns.iter().position(is_it).and_then(|at| u16::try_from(at).ok())
    }

    fn choose(&mut self, ordinal: u16) {
        if self.chosen.len() < COLUMNS_MAX {
            self.chosen.insert(ordinal);
        }
    }

    /// Columns whose values are looked at.
    fn inspect(&mut self, columns: Vec<(u16, Arc<str>, Duty, bool)>) {
        for (ordinal, ..) in &columns {
            self.choose(*ordinal);
        }
        self.inspected = columns;
    }

    /// Columns that a rule cannot do without.
    fn need<'b>(&mut self, names: impl Iterator<Item = &'b str>) {
        for name in names {
            if let Some(ordinal) = self.ordinal(name) {
                self.choose(ordinal);
            } else {
                self.absent.insert(name.to_owned());
            }
        }
    }

    /// Columns of an operator's rule. Without one of them, or if one is of another type than the
    /// rule compares with, the rule is off. They change nothing for the built-in rules.
    fn operator(&mut self, spec: &Arc<OperatorSpec>) {
        let type_of = |name: &str| {
            self.ordinal(name).and_then(|at| self.table.columns.get(usize::from(at))).map(|c| c.ty)
        };
        let mut absent: Vec<&str> = spec.columns().filter(|name| type_of(name).is_none()).collect();
        absent.extend(spec.conditions.iter().filter_map(|(name, wanted)| {
            let ty = type_of(name)?;
            let is_fit = match wanted {
                Wanted::Numbers(_) => is_integer(ty),
                Wanted::Texts(_) => is_text(ty),
            };
            (!is_fit).then_some(name.as_str())
        }));
        if absent.is_empty() {
            let ordinals: Vec<u16> = spec.columns().filter_map(|name| self.ordinal(name)).collect();
            for ordinal in ordinals {
                if self.chosen.insert(ordinal) {
                    self.own.insert(ordinal);
                }
            }
            self.operator.push(Arc::clone(spec));
        }
        let absent: Vec<String> = absent.into_iter().map(str::to_owned).collect();
        let off = absent.iter().map(|column| (Arc::clone(&spec.rule.id), column.clone()));
        self.operator_off.extend(off);
        self.absent.extend(absent);
    }

    fn bound(&self, spec: &OperatorSpec) -> BoundRule {
        BoundRule {
            rule: Arc::clone(&spec.rule),
            on: spec.on.clone(),
            changed: spec.changed.iter().map(|name| self.slot(name)).collect(),
            conditions: (spec.conditions.iter())
                .map(|(name, wanted)| (self.slot(name), wanted.clone()))
                .collect(),
        }
    }

    fn paths(&mut self, spec: &TableSpec) {
        let paths = spec.tenant.iter().chain(&spec.subject).chain(&spec.defines);
        let names: Vec<&str> = paths.map(|path| path.column.as_str()).collect();
        self.need(names.into_iter());
    }

    /// Columns to compare, except those whose change is no edit.
    fn take<'b>(&mut self, names: impl Iterator<Item = &'b str>, touch: &[String]) {
        for name in names {
            if touch.iter().any(|touch| touch.eq_ignore_ascii_case(name)) {
                continue;
            }
            if let Some(ordinal) = self.ordinal(name) {
                self.choose(ordinal);
            }
        }
    }

    fn slot(&self, name: &str) -> Slot {
        self.ordinal(name).map_or(Slot::OFF, |ordinal| self.at(ordinal))
    }

    fn at(&self, ordinal: u16) -> Slot {
        let place = self.chosen.iter().position(|chosen| *chosen == ordinal);
        place.and_then(|place| u16::try_from(place).ok()).map_or(Slot::OFF, Slot)
    }

    fn path(&mut self, path: &Path) -> Option<(Step, Slot)> {
        let slot = self.slot(&path.column);
        let column = self.ordinal(&path.column).map(|at| &self.table.columns[usize::from(at)])?;
        if path.step != Step::Email && !is_integer(column.ty) {
            self.absent.insert(path.column.clone());
            return None;
        }
        (slot != Slot::OFF).then_some((path.step, slot))
    }

    fn finish(
        mut self,
        info: Arc<TableInfo>,
        shop: usize,
        kind: Kind,
        keys: &[&str],
        spec: &TableSpec,
    ) -> Binding {
        let tenant = spec.tenant.iter().filter_map(|path| self.path(path)).collect();
        let subject = spec.subject.iter().filter_map(|path| self.path(path)).collect();
        let defines = spec.defines.as_ref().and_then(|path| match self.path(path)? {
            (Step::Entity(entity), slot) => Some((entity, slot)),
            (Step::Website | Step::Store | Step::Email, _) => None,
        });
        let mut slots = [Slot::OFF; KEYS_MAX];
        for (slot, name) in slots.iter_mut().zip(keys) {
            *slot = self.slot(name);
        }
        let trail = spec.trail.as_ref().map(|trail| TrailSlots {
            keep: trail.keep,
            weight: trail.weight.unwrap_or(Weight::High),
            time: trail.time.as_deref().map_or(Slot::OFF, |name| self.slot(name)),
            user: trail.user.as_deref().map_or(Slot::OFF, |name| self.slot(name)),
            fixed: (trail.fixed.iter().map(|name| self.slot(name)))
                .filter(|slot| *slot != Slot::OFF)
                .collect(),
        });
        let projection: Vec<u16> = self.chosen.iter().copied().collect();
        let columns: Vec<Column> =
            projection.iter().map(|at| self.table.columns[usize::from(*at)].clone()).collect();
        let names = (projection.iter().zip(&columns))
            .map(
                |(at, column)| {
                    if self.own.contains(at) { 0 } else { name_hash(column, &spec.touch) }
                },
            )
            .collect();
        let operator = self.operator.iter().map(|spec| self.bound(spec)).collect();
        let inspected = std::mem::take(&mut self.inspected)
            .into_iter()
            .map(|(ordinal, name, duty, is_text)| {
                let slot = self.at(ordinal);
                Inspected { slot, name, duty, is_text }
            })
            .filter(|column| column.slot != Slot::OFF)
            .collect();
        let absent = self.absent.into_iter().collect();
        Binding {
            info,
            shop,
            kind,
            projection,
            columns,
            names,
            tenant,
            subject,
            defines,
            keys: slots,
            trail,
            inspected,
            operator,
            operator_off: self.operator_off,
            absent,
        }
    }
}

fn name_hash(column: &Column, touch: &[String]) -> u64 {
    let name = column.name.as_deref().unwrap_or_default();
    if touch.iter().any(|touch| touch.eq_ignore_ascii_case(name)) {
        return 0;
    }
    token::fixed(name.to_ascii_lowercase().as_bytes()).max(1)
}

/// Columns that a rule reads, in the order in which its code names them.
pub(crate) fn rule_columns(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::Customer => &[
            "entity_id",
            "website_id",
            "store_id",
            "email",
            "failures_num",
            "lock_expires",
            "group_id",
        ],
        Rule::CustomerAttribute | Rule::AddressAttribute => &["entity_id", "attribute_id"],
        Rule::Address => &["entity_id", "parent_id"],
        Rule::CustomerGrid => &["entity_id", "website_id"],
        Rule::Order => &["entity_id", "store_id", "customer_id", "customer_email", "increment_id"],
        Rule::OrderAddress => &["parent_id", "customer_id", "customer_address_id"],
        Rule::OrderChild | Rule::OrderChildGrid => &["order_id", "store_id"],
        Rule::OrderGrid => &["entity_id", "store_id", "customer_id"],
        Rule::Quote => &["entity_id", "store_id", "customer_id"],
        Rule::QuoteChild => &["quote_id"],
        Rule::Newsletter | Rule::Reviewer => &["store_id", "customer_id"],
        Rule::WishlistItem => &["store_id", "wishlist_id"],
        Rule::VaultToken | Rule::PersistentSession => &["customer_id", "website_id"],
        Rule::Rma => &["order_id", "store_id", "customer_id"],
        Rule::CompanyMember => &["customer_id", "company_id"],
        Rule::StoreWebsite => &["website_id"],
        Rule::StoreGroup => &["group_id", "website_id"],
        Rule::Store => &["store_id", "website_id", "group_id"],
        Rule::Setting => &["scope", "scope_id", "path", "value"],
        Rule::AdminUser => {
            &["user_id", "email", "password", "is_active", "failures_num", "lock_expires"]
        }
        Rule::AdminPassword => &["user_id"],
        Rule::Role => &[
            "role_id",
            "parent_id",
            "role_type",
            "user_id",
            "user_type",
            "gws_is_all",
            "gws_websites",
            "gws_store_groups",
        ],
        Rule::Permission => &["role_id", "resource_id", "permission"],
        Rule::Integration => &["integration_id", "status"],
        Rule::OauthToken => &["entity_id", "customer_id", "type"],
        Rule::TwoFactor => &["user_id", "encoded_config", "encoded_providers"],
        Rule::UserExpiration => &["user_id"],
        Rule::EntityType => &["entity_type_id", "entity_type_code"],
        Rule::Attribute => &["entity_type_id", "attribute_code", "attribute_id"],
        Rule::QueueMessage => &["id", "topic_name", "body"],
        Rule::QueueStatus => &["message_id", "status"],
        Rule::ScheduledOperation => {
            &["id", "operation_type", "entity_type", "status", "file_info", "last_run_date"]
        }
        Rule::Inbox => &["title"],
        Rule::ImportData => &["entity", "data"],
        Rule::ImportHistory => &["summary"],
        Rule::Content => &["content", "layout_update_xml"],
        _ => other_columns(rule),
    }
}

/// The same of rules whose rows are about other rows, of companies and of upgrades.
fn other_columns(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::TokenRequest => &["user_name", "user_type", "failures_count"],
        Rule::ResetRequest => &["request_type", "account_reference"],
        Rule::ActionLog => &["user_id", "action", "fullaction", "event_code", "info"],
        Rule::LoginAs => &["admin_id", "customer_id"],
        Rule::LoginAsLog => &["user_id", "customer_id"],
        Rule::CronJob => &["job_code", "status"],
        Rule::Bulk => &["uuid"],
        Rule::Company => {
            &["entity_id", "super_user_id", "customer_group_id", "sales_representative_id"]
        }
        Rule::CompanyRole => &["role_id", "company_id"],
        Rule::CompanyUserRole => &["user_id", "role_id"],
        Rule::CompanyNode => &["structure_id", "parent_id", "entity_id", "entity_type"],
        Rule::CompanyOrder => &["order_id", "company_id"],
        Rule::Payment => &["cc_number_enc"],
        Rule::Patch => &["patch_id"],
        Rule::Module => &["schema_version", "data_version"],
        _ => &[],
    }
}
