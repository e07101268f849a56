//! The shape of a catalogue file (TOML), as serde sees it.

use serde::Deserialize;

use super::operator::RuleEntry;
use crate::{Keep, Period, PhiClasses, TableClass, Weight};

/// A whole file; every part may be missing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) table: Vec<TableEntry>,
    #[serde(default)]
    pub(super) setting: Vec<SettingEntry>,
    #[serde(default)]
    pub(super) cascade: Vec<CascadeEntry>,
    #[serde(default)]
    pub(super) noise: Vec<String>,
    #[serde(default)]
    pub(super) rebuilt: Vec<String>,
    #[serde(default)]
    pub(super) migration: Vec<String>,
    #[serde(default)]
    pub(super) resources: Vec<String>,
    #[serde(default)]
    pub(super) stock_attributes: Vec<String>,
    #[serde(default)]
    pub(super) disposal_jobs: Vec<String>,
    #[serde(default)]
    pub(super) view: ViewEntry,
    #[serde(default)]
    pub(super) encrypted_settings: Vec<String>,
    #[serde(default)]
    pub(super) export: ExportEntry,
    #[serde(default)]
    pub(super) patterns: ByClass,
    #[serde(default)]
    pub(super) pattern_exceptions: Exceptions,
    #[serde(default)]
    pub(super) rule: Vec<RuleEntry>,
}

/// `[[table]]`: a new table, or more about a known one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableEntry {
    pub(super) name: toml::Spanned<String>,
    pub(super) class: Option<Class>,
    pub(super) rule: Option<Rule>,
    pub(super) tenant: Option<Vec<Path>>,
    pub(super) subject: Option<Vec<Path>>,
    pub(super) defines: Option<Path>,
    #[serde(default)]
    pub(super) touch: Vec<String>,
    #[serde(default)]
    pub(super) watch: Vec<String>,
    pub(super) grid: Option<bool>,
    pub(super) mark: Option<bool>,
    pub(super) trail: Option<TrailEntry>,
    /// Columns that hold Magento's ciphertext.
    #[serde(default)]
    pub(super) encrypted: Vec<String>,
    /// Columns that hold anything: request bodies, rows of imports.
    #[serde(default)]
    pub(super) bodies: Vec<String>,
    /// Words of which Magento's own bodies hold one.
    #[serde(default)]
    pub(super) own_bodies: Vec<String>,
    /// Further text columns in which identifiers do not belong.
    #[serde(default)]
    pub(super) texts: Vec<String>,
    #[serde(default)]
    pub(super) phi: ByClass,
}

/// Classes by their names in files.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Class {
    Customer,
    CustomerAddress,
    Order,
    Quote,
    Other,
    Control,
}

impl From<Class> for TableClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Customer => Self::Customer,
            Class::CustomerAddress => Self::CustomerAddress,
            Class::Order => Self::Order,
            Class::Quote => Self::Quote,
            Class::Other => Self::OtherPersonal,
            Class::Control => Self::Control,
        }
    }
}

/// What the code looks for in a table's rows, beside counting them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rule {
    Customer,
    CustomerAttribute,
    Address,
    AddressAttribute,
    CustomerGrid,
    Order,
    OrderAddress,
    OrderChild,
    OrderGrid,
    OrderChildGrid,
    Quote,
    QuoteChild,
    Newsletter,
    Reviewer,
    WishlistItem,
    VaultToken,
    PersistentSession,
    Rma,
    CompanyMember,
    StoreWebsite,
    StoreGroup,
    Store,
    Setting,
    AdminUser,
    AdminPassword,
    Role,
    Permission,
    Integration,
    OauthToken,
    TwoFactor,
    UserExpiration,
    EntityType,
    Attribute,
    QueueMessage,
    QueueStatus,
    ScheduledOperation,
    Inbox,
    ImportData,
    ImportHistory,
    Content,
    Patch,
    Module,
    TokenRequest,
    ResetRequest,
    ActionLog,
    LoginAs,
    LoginAsLog,
    CronJob,
    Bulk,
    Company,
    CompanyRole,
    CompanyUserRole,
    CompanyNode,
    CompanyOrder,
    Payment,
}

/// `trail`: the table is an audit trail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrailEntry {
    pub(crate) keep: Keep,
    /// How serious it is if a row goes or changes; absent: high.
    pub(crate) weight: Option<Weight>,
    /// Column with the row's time.
    pub(crate) time: Option<String>,
    /// Column with the user, which the user's deletion sets to NULL.
    pub(crate) user: Option<String>,
    /// Columns that no ordinary work changes.
    #[serde(default)]
    pub(crate) fixed: Vec<String>,
}

/// `[view]`: which rows of an action log are views of personal data.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ViewEntry {
    pub(super) actions: Vec<String>,
    pub(super) pages: Vec<String>,
    pub(super) kinds: Vec<String>,
    pub(super) export_actions: Vec<String>,
    pub(super) export_pages: Vec<String>,
    pub(super) impersonal_kinds: Vec<String>,
}

/// What a column leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The column is a website id.
    Website,
    /// The column is a store id.
    Store,
    /// The column is an e-mail address (of persons only).
    Email,
    /// The column is an id of an entity whose owner was learned.
    Entity(Entity),
}

/// Entities whose owners are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entity {
    Customer,
    Address,
    Order,
    Quote,
    Invoice,
    Shipment,
    Creditmemo,
    QuoteItem,
    Wishlist,
    WishlistItem,
    Rma,
    /// A user of a company, by customer: whose company that is.
    Member,
    CompanyRole,
    /// A company: its administrator, and its customer group in place of the store.
    Company,
    CompanyNode,
}

impl Entity {
    /// Number of entities.
    pub(crate) const COUNT: usize = 15;
    /// How many of them version 2 of the saved state has.
    pub(crate) const COUNT_2: usize = 11;
    /// All of them; the position is also the number in saved state.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Customer,
        Self::Address,
        Self::Order,
        Self::Quote,
        Self::Invoice,
        Self::Shipment,
        Self::Creditmemo,
        Self::QuoteItem,
        Self::Wishlist,
        Self::WishlistItem,
        Self::Rma,
        Self::Member,
        Self::CompanyRole,
        Self::Company,
        Self::CompanyNode,
    ];

    fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "customer" => Self::Customer,
            "address" => Self::Address,
            "order" => Self::Order,
            "quote" => Self::Quote,
            "invoice" => Self::Invoice,
            "shipment" => Self::Shipment,
            "creditmemo" => Self::Creditmemo,
            "quote_item" => Self::QuoteItem,
            "wishlist" => Self::Wishlist,
            "wishlist_item" => Self::WishlistItem,
            "rma" => Self::Rma,
            _ => return None,
        })
    }
}

/// `kind:column`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Path {
    pub(crate) step: Step,
    pub(crate) column: String,
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (kind, column) = text
            .split_once(':')
            .ok_or("expected \"kind:column\", for example \"order:parent_id\"")?;
        let step = match kind {
            "website" => Step::Website,
            "store" => Step::Store,
            "email" => Step::Email,
            _ => Entity::by_name(kind).map(Step::Entity).ok_or(
                "unknown kind before the colon: website, store, email, customer, address, order, \
                 quote, invoice, shipment, creditmemo, quote_item, wishlist, wishlist_item, rma",
            )?,
        };
        if column.is_empty() {
            return Err("expected a column after the colon".to_owned());
        }
        Ok(Self { step, column: column.to_owned() })
    }
}

/// Names by PHI class.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ByClass {
    name: Vec<String>,
    email: Vec<String>,
    birth_date: Vec<String>,
    address: Vec<String>,
    phone: Vec<String>,
    free_text: Vec<String>,
    payment: Vec<String>,
    health: Vec<String>,
    device: Vec<String>,
    secret: Vec<String>,
    identity: Vec<String>,
}

impl ByClass {
    /// Every name with its class.
    pub(super) fn into_pairs(self) -> impl Iterator<Item = (PhiClasses, String)> {
        [
            (PhiClasses::NAME, self.name),
            (PhiClasses::EMAIL, self.email),
            (PhiClasses::BIRTH_DATE, self.birth_date),
            (PhiClasses::ADDRESS, self.address),
            (PhiClasses::PHONE, self.phone),
            (PhiClasses::FREE_TEXT, self.free_text),
            (PhiClasses::PAYMENT, self.payment),
            (PhiClasses::HEALTH, self.health),
            (PhiClasses::DEVICE, self.device),
            (PhiClasses::SECRET, self.secret),
            (PhiClasses::IDENTITY, self.identity),
        ]
        .into_iter()
        .flat_map(|(class, names)| names.into_iter().map(move |name| (class, name)))
    }
}

/// `[pattern_exceptions]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Exceptions {
    pub(super) last: Vec<String>,
    pub(super) first: Vec<String>,
    pub(super) whole: Vec<String>,
}

/// `[export]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExportEntry {
    pub(super) topic: Option<String>,
    pub(super) notice_titles: Vec<String>,
    pub(super) customer: Vec<String>,
    pub(super) customer_address: Vec<String>,
    pub(super) customer_finance: Vec<String>,
    pub(super) impersonal: Vec<String>,
}

/// `[[setting]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SettingEntry {
    pub(super) path: String,
    pub(super) weaker: Weaker,
    pub(super) default: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) limit: Option<Limit>,
    #[serde(default)]
    pub(super) opens: bool,
    #[serde(default)]
    pub(super) audit: bool,
    pub(super) period: Option<Period>,
}

/// Which change of a setting makes the shop weaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Weaker {
    Larger,
    Smaller,
    ZeroOrLarger,
    ZeroOrSmaller,
    Off,
    On,
    Emptied,
    InsecureUrl,
    Mail,
    Any,
    Never,
    CronModel,
}

/// A limit that policy sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    AdminSession,
}

/// `[[cascade]]`: a foreign key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CascadeEntry {
    pub(super) parent: String,
    pub(super) child: String,
    pub(super) column: String,
    pub(super) action: CascadeAction,
}

/// What a foreign key does to its children when the parent goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CascadeAction {
    /// The child row is deleted.
    Delete,
    /// The column is set to NULL.
    Empty,
}
