//! Row changes of a Magento shop to observations.
//!
//! Input: tables, row changes and statements from `phiwatch-binlog`, in binlog order.
//! Output: [`Observation`]s: what happened to whom, in closed terms and keyed tokens.
//!
//! # Invariants
//! - No column value leaves this crate (canary test in the binary's crate).
//! - What Magento looks like is data ([`Catalog`]), columns are found by name.
//! - Unknown tenants give no verdict; they are counted ([`Fact::Unverified`]).
//! - Pure: no files, sockets, clocks, randomness or hash order.

mod observation;

pub use observation::{
    AccountChange, CodeChange, ConfigChange, ConfigVerdict, CopyForm, CrossTenant, ExportEntity,
    Fact, ImportPhase, Observation, PhiClasses, Resource, Subject, TableClass, TableInfo, Tenant,
    Weight,
};
