//! What the operator's policy says about columns and persons, and what each column of a table is
//! looked at for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use phiwatch_binlog::{Column, ColumnType};

use crate::{
    PhiClasses, TokenKey,
    catalog::{Rule, TableSpec},
    row::Slot,
    values::Hasher,
};

/// String columns of one table that are looked at, at most.
const COLUMNS_MAX: usize = 32;

/// The part of `[policy]` that is about values. Tables are named without the shop's prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Columns (table, column) that must hold ciphertext, beside the catalogue's.
    pub encrypted_columns: BTreeSet<(String, String)>,
    /// EAV attributes that must hold ciphertext.
    pub encrypted_attributes: BTreeSet<(AttributeOf, String)>,
    /// Columns (table, column) in which no identifier may stand, not even an address or a telephone
    /// number.
    pub free_text_columns: BTreeSet<(String, String)>,
    /// `customer_entity.entity_id` of seeded persons, in the order of the configuration.
    pub canary_customers: Vec<u64>,
    /// Their e-mail addresses. The classifier keeps tokens of them only.
    pub canary_emails: Vec<String>,
}

/// Entities whose attributes may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeOf {
    /// `customer/...`
    Customer,
    /// `customer_address/...`
    Address,
}

impl AttributeOf {
    /// As in the configuration and in `eav_entity_type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Address => "customer_address",
        }
    }

    /// By that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Customer, Self::Address].into_iter().find(|of| of.name() == name)
    }

    /// Table with the static attributes.
    fn table(self) -> &'static str {
        match self {
            Self::Customer => "customer_entity",
            Self::Address => "customer_address_entity",
        }
    }
}

/// What a column is looked at for, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Duty(u16);

impl Duty {
    /// Holds e-mail addresses of persons: they are learned.
    pub(crate) const EMAIL: Self = Self(1);
    /// Holds telephone numbers: they are learned.
    pub(crate) const PHONE: Self = Self(1 << 1);
    /// Holds full names: they are learned.
    pub(crate) const NAME: Self = Self(1 << 2);
    /// Holds first or last names; the columns of one person follow each other.
    pub(crate) const NAME_PART: Self = Self(1 << 3);
    /// Must hold ciphertext.
    pub(crate) const CIPHER: Self = Self(1 << 4);
    /// May have a history of ciphertext.
    pub(crate) const SHAPE: Self = Self(1 << 5);
    /// Text in which identifiers do not belong.
    pub(crate) const FREE: Self = Self(1 << 6);
    /// Policy names it: no identifier at all may stand there.
    pub(crate) const STRICT: Self = Self(1 << 7);
    /// A place where values of persons turn up again: a column outside the catalogue.
    pub(crate) const SINK: Self = Self(1 << 8);
    /// The same inside a table of the catalogue: a body that holds anything.
    pub(crate) const BODY: Self = Self(1 << 9);
    /// A program's field: only identifiers that are out of place anywhere count.
    pub(crate) const FIELD: Self = Self(1 << 10);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A column that is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Inspected {
    pub(crate) slot: Slot,
    pub(crate) name: Arc<str>,
    pub(crate) duty: Duty,
    pub(crate) is_text: bool,
}

/// The policy, ready for use.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) hasher: Hasher,
    encrypted: BTreeMap<String, BTreeSet<String>>,
    free: BTreeMap<String, BTreeSet<String>>,
    pub(crate) attributes: BTreeSet<(AttributeOf, String)>,
    /// Place in the configuration by id.
    pub(crate) customers: BTreeMap<u32, u32>,
    /// Place in the configuration by token.
    pub(crate) emails: BTreeMap<u64, u32>,
}

impl Watch {
    pub(crate) fn new(policy: &Policy, key: &TokenKey) -> Self {
        let hasher = Hasher::new(key);
        let by_table = |columns: &BTreeSet<(String, String)>| {
            let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (table, column) in columns {
                tables.entry(table.clone()).or_default().insert(column.to_ascii_lowercase());
            }
            tables
        };
        let mut encrypted = by_table(&policy.encrypted_columns);
        for (of, code) in &policy.encrypted_attributes {
            // An attribute without a table of its own is a column.
            encrypted.entry(of.table().to_owned()).or_default().insert(code.clone());
        }
        let place = |at: usize| u32::try_from(at + 1).unwrap_or(u32::MAX);
        let customers = policy.canary_customers.iter().enumerate();
        let emails = policy.canary_emails.iter().enumerate();
        Self {
            encrypted,
            free: by_table(&policy.free_text_columns),
            attributes: policy.encrypted_attributes.clone(),
            customers: customers
                .filter_map(|(at, id)| Some((u32::try_from(*id).ok()?, place(at))))
                .collect(),
            emails: emails
                .filter_map(|(at, email)| Some((hasher.email(email.as_bytes())?.token, place(at))))
                .collect(),
            hasher,
        }
    }

    /// Whether policy names a column of the table.
    pub(crate) fn names(&self, table: &str) -> bool {
        self.encrypted.contains_key(table) || self.free.contains_key(table)
    }

    /// Columns that policy names and the table does not have; static attributes may be none.
    pub(crate) fn absent(&self, table: &str, columns: &[Column]) -> Vec<String> {
        let has = |name: &String| {
            columns.iter().any(|column| {
                column.name.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(name))
            })
        };
        let is_static = |name: &&String| self.attributes.iter().any(|(_, code)| code == *name);
        let encrypted = self.encrypted.get(table).into_iter().flatten();
        let free = self.free.get(table).into_iter().flatten();
        let wanted = encrypted.filter(|name| !is_static(name)).chain(free);
        wanted.filter(|name| !has(name)).cloned().collect()
    }

    /// What the columns of a table are looked at for, by ordinal. `spec`: what the catalogue knows
    /// of it, none for a table outside.
    pub(crate) fn duties(
        &self,
        table: &str,
        spec: Option<&TableSpec>,
        columns: &[Column],
    ) -> Vec<(u16, Arc<str>, Duty, bool)> {
        let mut all = Vec::new();
        let mut strings = 0;
        for (ordinal, column) in columns.iter().enumerate() {
            let name = column.name.as_deref().unwrap_or_default().to_ascii_lowercase();
            let is_text = is_text(column.ty);
            let mut duty = self.of_policy(table, &name);
            match spec {
                Some(spec) if is_text => duty = duty.and(of_catalog(spec, &name)),
                Some(spec) => {
                    let is_value =
                        matches!(spec.rule, Some(Rule::CustomerAttribute | Rule::AddressAttribute));
                    // Numbers and dates of an attribute that must be ciphertext.
                    if is_value && name == "value" && !self.attributes.is_empty() {
                        duty = duty.and(Duty::SHAPE);
                    }
                }
                None if is_text => duty = duty.and(Duty::SINK),
                None => {}
            }
            if duty == Duty::default() {
                continue;
            }
            strings += usize::from(duty == Duty::SINK);
            if let (Ok(ordinal), true) = (u16::try_from(ordinal), strings <= COLUMNS_MAX) {
                let name = match &column.name {
                    Some(name) => Arc::clone(name),
                    None => format!("column {}", ordinal + 1).into(),
                };
                all.push((ordinal, name, duty, is_text));
            }
        }
        all
    }

    fn of_policy(&self, table: &str, column: &str) -> Duty {
        let has = |tables: &BTreeMap<String, BTreeSet<String>>| {
            tables.get(table).is_some_and(|columns| columns.contains(column))
        };
        let mut duty = Duty::default();
        if has(&self.encrypted) {
            duty = duty.and(Duty::CIPHER);
        }
        if has(&self.free) {
            duty = duty.and(Duty::FREE).and(Duty::STRICT);
        }
        duty
    }
}

/// What the catalogue says about a text column.
fn of_catalog(spec: &TableSpec, column: &str) -> Duty {
    let is_in = |names: &[String]| names.iter().any(|name| name == column);
    let mut duty = Duty::default();
    if is_in(&spec.encrypted) {
        duty = duty.and(Duty::CIPHER);
    }
    if is_in(&spec.bodies) {
        duty = duty.and(Duty::FREE).and(Duty::FIELD).and(Duty::BODY);
    }
    if is_in(&spec.texts) {
        duty = duty.and(Duty::FREE).and(Duty::FIELD);
    }
    if matches!(spec.rule, Some(Rule::CustomerAttribute | Rule::AddressAttribute)) {
        duty = duty.and(Duty::FIELD);
    }
    if spec.is_grid {
        return duty;
    }
    let classes = spec.phi.get(column).copied().unwrap_or_default();
    if classes.is_empty() || duty == Duty::FIELD && column != "value" {
        return duty;
    }
    duty = duty.and(Duty::SHAPE);
    for (class, its) in [
        (PhiClasses::EMAIL, Duty::EMAIL),
        (PhiClasses::PHONE, Duty::PHONE),
        (PhiClasses::FREE_TEXT, Duty::FREE),
    ] {
        if classes.contains(class) {
            duty = duty.and(its);
        }
    }
    if classes.contains(PhiClasses::NAME) {
        if column.ends_with("firstname") || column.ends_with("lastname") {
            duty = duty.and(Duty::NAME_PART);
        } else if column == "name" || column.ends_with("_name") {
            duty = duty.and(Duty::NAME);
        }
    }
    duty
}

/// Whether a column's bytes are text, or a document.
fn is_text(ty: ColumnType) -> bool {
    matches!(
        ty,
        ColumnType::String { .. }
            | ColumnType::VarChar { .. }
            | ColumnType::Blob { .. }
            | ColumnType::Json { .. }
            | ColumnType::VarCharCompressed { .. }
            | ColumnType::BlobCompressed { .. }
    )
}
