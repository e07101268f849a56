//! Row changes of a Magento shop to observations.
//!
//! Input: tables, row changes and statements from `phiwatch-binlog`, in binlog order.
//! Output: [`Observation`]s: what happened to whom, in closed terms and keyed tokens.
//!
//! # Invariants
//! - No column value leaves this crate (canary test here and in the binary's crate).
//! - What Magento looks like is data ([`Catalog`]), columns are found by name.
//! - Unknown tenants give no verdict; they are counted ([`Fact::Unverified`]).
//! - Pure: no files, sockets, clocks, randomness or hash order.

mod binding;
mod cascade;
mod catalog;
mod cipher;
mod classifier;
mod companies;
mod control;
mod counters;
mod emails;
mod emit;
mod export;
mod inspect;
mod invariants;
mod journal;
mod learn;
mod map;
mod marks;
mod observation;
mod policy;
mod recognise;
mod row;
mod save;
mod setting;
mod settings;
mod shop;
mod signs;
mod sql;
mod statements;
mod taint;
mod token;
mod values;

pub use catalog::{Cascade, CascadeAction, Catalog, CatalogError, OperatorRule, Shape};
pub use classifier::{Classifier, RuleOff};
pub use counters::Counters;
pub use marks::{Because, Cleartext, Mark, ValuePlace, ValueSeen};
pub use observation::{
    AccountChange, CodeChange, ConfigChange, ConfigVerdict, CopyForm, CrossTenant, ExportEntity,
    Fact, ImportPhase, Observation, Ordinal, PhiClasses, Resource, ScheduleChange, Subject,
    TableClass, TableInfo, Tenant, Weight,
};
pub use policy::{AttributeOf, Policy};
pub use recognise::{Found, Identifier, TEXT_BYTES_MAX, recognise, recognise_each};
pub use save::RestoreError;
pub use settings::{Limits, Settings, ShareScope};
pub use signs::{Account, Keep, LookedBy, Period, Sign, TrailHow};
pub use token::TokenKey;
