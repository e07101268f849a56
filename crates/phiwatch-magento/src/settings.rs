//! What the operator says about the shop.

use std::collections::BTreeMap;

use crate::Policy;

/// The part of the configuration that this crate needs (`[magento]`, `[policy]`, and
/// `source.databases`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// In front of every table name of the shop; empty if none.
    pub table_prefix: String,
    /// Whether customer accounts belong to a website or to all.
    pub share_scope: ShareScope,
    /// Titles of the inbox notice "your export file is ready" in other languages.
    pub export_notice_titles: Vec<String>,
    /// `store_id` = `website_id`, for stores whose rows are older than the log.
    pub stores: BTreeMap<u32, u32>,
    /// A longer admin session is weaker than policy allows, seconds.
    pub admin_session_max_secs: u64,
    /// Domains to which copies of mails may go without an alert.
    pub mail_domains: Vec<String>,
    /// What policy says about columns and seeded persons.
    pub policy: Policy,
    /// Schemas to examine; empty = every one that looks like a shop.
    pub databases: Vec<String>,
    /// Bounds on memory.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            table_prefix: String::new(),
            share_scope: ShareScope::Auto,
            export_notice_titles: Vec::new(),
            stores: BTreeMap::new(),
            admin_session_max_secs: 3_600,
            mail_domains: Vec::new(),
            policy: Policy::default(),
            databases: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// `magento.share_scope`: `customer/account_share/scope` of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ShareScope {
    /// From the shop's configuration table, else per website (Magento's default).
    #[default]
    Auto,
    /// A customer belongs to one website.
    Website,
    /// Customers are shared by all websites.
    Global,
}

/// Bounds on memory. What is over them is dropped and counted, oldest ids first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Ids per kind (customers, orders, ...) and database; 8 bytes each where ids are dense.
    pub ids_max: u32,
    /// Versions of tables that are bound at once, over all databases.
    pub tables_max: u32,
    /// Values of persons (addresses, telephone numbers, names) that are known again: in each of
    /// two generations.
    pub values_max: u32,
    /// Databases with state of their own.
    pub databases_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ids_max: 8_000_000, tables_max: 65_536, databases_max: 256, values_max: 2_000_000 }
    }
}
