//! What a row change or statement means, without its values.

use std::{fmt, sync::Arc};

use phiwatch_binlog::Op;

use crate::{Mark, OperatorRule, Sign, token};

/// One row change or statement, in the terms of the rules. Rows of tables without personal data
/// and without a rule give none.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Start of the rows or query event in the file, bytes.
    pub offset: u64,
    /// Ordinal of the statement in its transaction.
    pub statement: u32,
    /// The table; for statements without one, a table with an empty name.
    pub table: Arc<TableInfo>,
    /// None for statements.
    pub op: Option<Op>,
    /// Whose row it is.
    pub tenant: Tenant,
    /// The person that the row is about, if it is about one.
    pub subject: Option<Subject>,
    /// Where the person stands in the order of customer ids, if it is a customer.
    pub ordinal: Option<Ordinal>,
    /// Columns that an UPDATE changed, as a hash of their names (0 for other operations). Equal
    /// hashes over many persons in one statement = an UPDATE by SQL.
    pub columns_changed: u64,
    /// An UPDATE that changed nothing but time stamps, counters of logins and the like: not an
    /// edit of personal data.
    pub is_touch: bool,
    /// Not in the log: what a foreign key did to a dependant of a deleted row, as far as the
    /// dependants are known.
    pub is_inferred: bool,
    /// What rules want to know beyond counting.
    pub fact: Option<Fact>,
}

/// A table as the catalogue knows it. One per (database, table).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableInfo {
    /// Schema.
    pub database: Arc<str>,
    /// Name without the shop's prefix.
    pub name: Arc<str>,
    /// Class.
    pub class: TableClass,
    /// PHI classes of its columns.
    pub phi: PhiClasses,
    /// A derived copy (`customer_grid_flat`, `sales_*_grid`, archives): its rows follow those of
    /// other tables, in batches over all tenants, so they are no persons touched and no evidence
    /// of mixed tenants.
    pub is_grid: bool,
}

/// What a table holds; the unit of baselines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableClass {
    /// `customer_entity`, its attributes and `customer_grid_flat` (weight: see `is_dependant`).
    Customer,
    /// `customer_address_entity` and its attributes.
    CustomerAddress,
    /// `sales_order` and everything below it, invoices, shipments, credit memos, grids.
    Order,
    /// `quote` and everything below it.
    Quote,
    /// Other tables with personal data (newsletter, reviews, vault tokens, B2B, logs ...).
    OtherPersonal,
    /// Configuration, users, roles, integrations, stores, queues: no persons, but rules.
    Control,
    /// Not in the catalogue.
    Unknown,
}

impl TableClass {
    /// Whether rows of the class are about persons.
    #[must_use]
    pub fn is_personal(self) -> bool {
        !matches!(self, Self::Control | Self::Unknown)
    }
}

/// Set of PHI classes (facts: N name, E email, B birth date, A address, P phone, X free text,
/// Y payment, H health, D device, S secret, G gender or id number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhiClasses(pub u16);

#[allow(missing_docs, reason = "named as in the type's sentence")]
impl PhiClasses {
    pub const NAME: Self = Self(1);
    pub const EMAIL: Self = Self(1 << 1);
    pub const BIRTH_DATE: Self = Self(1 << 2);
    pub const ADDRESS: Self = Self(1 << 3);
    pub const PHONE: Self = Self(1 << 4);
    pub const FREE_TEXT: Self = Self(1 << 5);
    pub const PAYMENT: Self = Self(1 << 6);
    pub const HEALTH: Self = Self(1 << 7);
    pub const DEVICE: Self = Self(1 << 8);
    pub const SECRET: Self = Self(1 << 9);
    pub const IDENTITY: Self = Self(1 << 10);

    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Names in lower case, in the order of the constants.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        const NAMES: [&str; 11] = [
            "name",
            "email",
            "birth date",
            "address",
            "phone",
            "free text",
            "payment",
            "health",
            "device",
            "secret",
            "identity number",
        ];
        NAMES
            .iter()
            .enumerate()
            .filter(|(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, n)| *n)
            .collect()
    }
}

/// Whose row it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tenant {
    /// A website, by its id (never 0).
    Website(u32),
    /// Belongs to no tenant by its nature, or to the admin scope (0).
    Global,
    /// Has a tenant that is not known (yet): no verdict.
    Unknown,
}

/// A person, as two 64-bit tokens of the same identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Keyed with the installation's key: for exact sets, in memory and in the store only.
    pub token: u64,
    /// The same on every installation: feeds sketches, so that estimates are reproducible. Never
    /// stored by itself.
    pub sketch: u64,
}

impl Subject {
    /// A customer of a shop's database.
    #[must_use]
    pub fn customer(database: &str, id: u64) -> Self {
        token::customer(token::fixed(database.as_bytes()), id)
    }
}

/// Place of a customer in the order of ids: tells whether changes walk through the customers.
///
/// It is not printed, and leaves memory as a token only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ordinal(u64);

impl Ordinal {
    /// Of a customer id.
    #[must_use]
    pub fn new(id: u64) -> Self {
        Self(id)
    }

    /// Ids between two customers.
    #[must_use]
    pub fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }

    /// As a token, for a checkpoint.
    #[must_use]
    pub fn token(self) -> u64 {
        token::mix(self.0)
    }

    /// Back from a token.
    #[must_use]
    pub fn from_token(token: u64) -> Self {
        Self(token::unmix(token))
    }
}

impl fmt::Debug for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ordinal(<hidden>)")
    }
}

/// How serious a broken invariant is (facts/magento 2.3: H, M, L).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "plain words")]
pub enum Weight {
    Low,
    Medium,
    High,
}

/// Input of exact rules.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A row that breaks a tenancy invariant.
    CrossTenant(CrossTenant),
    /// An invariant could not be judged because a tenant is unknown (1-23).
    Unverified(u8),
    /// A store, group or website moved to another tenant, or the account sharing changed.
    TenantRemap {
        /// What moved, in words without values: "store 3 from website 1 to website 2".
        what: String,
    },
    /// An export was queued (`import_export.export`).
    ExportQueued {
        /// `queue_message.id`; correlates with [`Fact::ExportStatus`].
        message_id: u64,
        /// What is exported.
        entity: ExportEntity,
        /// Whether the request carries a filter.
        is_filtered: bool,
    },
    /// The status of a queue message changed.
    ExportStatus {
        /// `queue_message.id`.
        message_id: u64,
        /// 2 new, 3 in progress, 4 complete, 5 retry, 6 error, 7 to be deleted.
        status: u8,
    },
    /// A scheduled export (Commerce, `magento_scheduled_operations`) was set up, or ran.
    ExportScheduled {
        /// `magento_scheduled_operations.id`.
        operation_id: u64,
        /// What is exported.
        entity: ExportEntity,
        /// What is new.
        change: ScheduleChange,
    },
    /// The inbox says that an export file is ready.
    ExportNotice,
    /// A watched setting was written or deleted.
    Config(ConfigChange),
    /// A user, role, integration or token changed.
    Account(AccountChange),
    /// Rows with personal data in a table that is not in the catalogue, or a copy into one.
    Copy {
        /// How it looks.
        form: CopyForm,
        /// Classes recognised, by column name or content.
        classes: PhiClasses,
        /// Number of columns recognised.
        columns: u32,
        /// Catalogue tables that it copies from, if the statement says (without prefix).
        sources: Vec<Arc<str>>,
    },
    /// The shadow of a personal table took its place, by RENAME in one statement, or is gone.
    Migration {
        /// The shadow's name.
        shadow: Arc<str>,
        /// It took the table's place (else it was dropped, or renamed to something else).
        is_swapped: bool,
    },
    /// A table of personal data was truncated or dropped.
    TableEmptied {
        /// DROP (else TRUNCATE).
        dropped: bool,
    },
    /// A trigger, event, routine or script was installed.
    Code(CodeChange),
    /// A new place for personal data: attribute, column or table.
    NewSurface {
        /// "customer attribute", "address attribute", "table", "column".
        kind: &'static str,
        /// Classes recognised.
        classes: PhiClasses,
    },
    /// An announced import begins or ends.
    Import {
        /// Begin or end.
        phase: ImportPhase,
        /// Rows announced (bunches counted), 0 if unknown.
        rows: u64,
    },
    /// DDL on a catalogue table that a reindex or an upgrade explains (noise windows).
    Maintenance {
        /// "grid reindex", "setup upgrade", "re-encryption".
        kind: &'static str,
    },
    /// A row that says something about other rows, or about who reads them.
    Sign(Sign),
    /// What a look at the row's values said.
    Mark(Mark),
    /// A statement-format change of a catalogue table: rows that nobody saw.
    UnseenRows,
    /// A rule of the operator fits the row.
    Operator {
        /// Which.
        rule: Arc<OperatorRule>,
        /// What was done to the row.
        op: Op,
    },
}

/// A row that breaks a tenancy invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossTenant {
    /// Number in the list of invariants (1-23).
    pub invariant: u8,
    /// The invariant in words, without values: "an order's store belongs to its customer's website".
    pub statement: &'static str,
    /// The website of the row.
    pub found: Tenant,
    /// The website that it should be of.
    pub expected: Tenant,
    /// How serious.
    pub weight: Weight,
}

/// What an export request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "Magento's entity names")]
pub enum ExportEntity {
    Customer,
    CustomerAddress,
    CustomerFinance,
    /// Products, prices, stock: no persons.
    Impersonal,
    /// An entity that the catalogue does not know.
    Other,
}

/// What is new about a scheduled export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain words")]
pub enum ScheduleChange {
    Made,
    SwitchedOn,
    /// It exports something else, or to another place.
    Redirected,
    Ran,
}

/// A watched setting, written or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// Path of the catalogue's watch list that matched (may hold `*`): never a value.
    pub path: Arc<str>,
    /// `default`, `websites` or `stores`, and its id.
    pub scope: (Arc<str>, u32),
    /// Judgement.
    pub verdict: ConfigVerdict,
    /// Why, in words; numbers of closed settings may be named ("86400 s is over 3600 s").
    pub why: String,
}

/// Judgement of a setting's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "plain words")]
pub enum ConfigVerdict {
    Weakened,
    /// Weaker in a way that opens a door at once (lockout off, mail redirected, 2FA off).
    Opened,
    Strengthened,
    Neutral,
}

/// Changes of who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "ids and flags of Magento's own tables")]
pub enum AccountChange {
    UserCreated {
        user_id: u64,
        is_active: bool,
    },
    UserActivated {
        user_id: u64,
    },
    UserPassword {
        user_id: u64,
    },
    UserEmail {
        user_id: u64,
    },
    UserRemoved {
        user_id: u64,
    },
    /// `admin_passwords` row: the trace that Magento itself leaves beside a new password.
    PasswordRecorded {
        user_id: u64,
    },
    /// `authorization_role` U row; parent = group role (0 none). `removed` = DELETE.
    RoleAssigned {
        role_id: u64,
        user_id: u64,
        is_integration: bool,
        parent_id: u64,
        removed: bool,
    },
    /// `authorization_role` G row.
    RoleGroup {
        role_id: u64,
        removed: bool,
    },
    /// `authorization_rule` row.
    RoleRule {
        role_id: u64,
        resource: Resource,
        allow: bool,
        removed: bool,
    },
    IntegrationActivated {
        integration_id: u64,
    },
    IntegrationCreated {
        integration_id: u64,
    },
    /// oauth_token of type access.
    AccessToken {
        token_id: u64,
    },
    TwoFactorReset {
        user_id: u64,
    },
    /// `admin_user_expiration` removed.
    ExpiryRemoved {
        user_id: u64,
    },
    /// A role reaches more websites or stores than before (Commerce).
    RoleScope {
        role_id: u64,
    },
    /// A company has another admin user who sees its data.
    CompanyKeeper {
        company_id: u64,
        user_id: u64,
    },
    /// A company has another administrator, a customer.
    CompanyAdministrator {
        company_id: u64,
    },
    /// SQL account created or changed.
    SqlAccount,
    SqlAccountRemoved,
    SqlGrant {
        all: bool,
        global: bool,
        grant_option: bool,
    },
}

/// An ACL resource: its id if the catalogue knows it, else only a hash of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// Hash of the resource id (not keyed: resource ids are code, not data).
    pub hash: u64,
    /// Name, for resources of the watch list (`Magento_Backend::all`, ...).
    pub watched: Option<Arc<str>>,
}

/// How a copy of personal data looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CopyForm {
    /// CREATE TABLE .. SELECT (statement seen; its rows follow with `RowsUnknownTable`).
    CreateSelect,
    /// CREATE TABLE .. LIKE a personal table.
    CreateLike,
    /// CREATE TABLE whose columns look personal.
    CreateColumns,
    /// A row in a table that is not in the catalogue whose columns look personal.
    RowUnknownTable,
    /// A table, or a trigger that fills it, that by its name is the shadow of a personal table in
    /// an online schema change; `sources` has that table.
    CreateShadow,
    /// A row in such a table.
    RowShadow,
    /// CREATE TABLE whose columns say nothing.
    CreatePlain,
}

/// Code that runs on personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "plain words")]
pub enum CodeChange {
    SqlTriggerOrRoutine,
    ScriptInSetting,
    ScriptInContent,
    CronModelInSetting,
}

/// Where an announced import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "plain words")]
pub enum ImportPhase {
    Begin,
    Data,
    End,
}
