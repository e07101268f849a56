//! The signs of one transaction, folded so that a mass of rows takes little room.
//!
//! # Invariants
//! - At most [`SIGNS_MAX`] signs, [`TABLES_MAX`] tables and [`DAYS_MAX`] ages per table are held.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_magento::{
    Account, Keep, LookedBy, Observation, Period, Sign, Tenant, TrailHow, Weight,
};

use crate::state::{state_enum, state_struct};

/// Signs that are not folded, per transaction.
const SIGNS_MAX: usize = 4096;
/// Tables of trails, and of rows that must go, per transaction.
const TABLES_MAX: usize = 256;
/// Ages in days are told apart up to here.
const DAYS_MAX: u64 = 3_650;
/// Clocks of the shop and its server differ by so much at most, seconds.
const CLOCKS_SECS: u64 = 3_600;

/// Rows of one audit trail to which one thing was done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trail {
    pub(crate) keep: Keep,
    pub(crate) weight: Weight,
    pub(crate) rows: u64,
    /// Rows by their age in whole days; rows without a time are not in it.
    pub(crate) ages: BTreeMap<u64, u64>,
}

/// A sign and whose table it stood in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Signed {
    pub(crate) database: Arc<str>,
    pub(crate) table: Arc<str>,
    pub(crate) tenant: Tenant,
    pub(crate) sign: Sign,
}

/// Rows that came into and left a table whose rows must go.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Moved {
    pub(crate) added: u64,
    pub(crate) removed: u64,
    pub(crate) is_emptied: bool,
}

/// The signs of one transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Signs {
    pub(crate) trails: BTreeMap<(Arc<str>, Arc<str>, TrailHow), Trail>,
    pub(crate) moved: BTreeMap<(Arc<str>, Arc<str>), Moved>,
    pub(crate) list: Vec<Signed>,
    /// New customers with the e-mail address of another website's: by tenant and that website.
    pub(crate) same: BTreeMap<(Arc<str>, Tenant, u32), u64>,
}

impl Signs {
    pub(crate) fn is_empty(&self) -> bool {
        self.trails.is_empty()
            && self.moved.is_empty()
            && self.list.is_empty()
            && self.same.is_empty()
    }

    /// Memory that they take, in items of a list.
    pub(crate) fn items(&self) -> usize {
        let ages: usize = self.trails.values().map(|trail| trail.ages.len() / 8 + 1).sum();
        ages + self.moved.len() + self.list.len() + self.same.len()
    }

    /// Adds a sign; false if there is no room.
    pub(crate) fn push(&mut self, observation: &Observation, sign: &Sign) -> bool {
        let table = &observation.table;
        let key = (Arc::clone(&table.database), Arc::clone(&table.name));
        match sign {
            Sign::Trail { keep, how, age_secs, weight } => {
                let key = (key.0, key.1, *how);
                if !self.trails.contains_key(&key) && self.trails.len() >= TABLES_MAX {
                    return false;
                }
                let (keep, weight) = (*keep, *weight);
                let new = || Trail { keep, weight, rows: 0, ages: BTreeMap::new() };
                let trail = self.trails.entry(key).or_insert_with(new);
                trail.rows += 1;
                if let Some(secs) = age_secs {
                    let days = (secs.saturating_add(CLOCKS_SECS) / 86_400).min(DAYS_MAX);
                    *trail.ages.entry(days).or_default() += 1;
                }
            }
            Sign::Kept { .. } | Sign::KeptEmptied => {
                if !self.moved.contains_key(&key) && self.moved.len() >= TABLES_MAX {
                    return false;
                }
                let moved = self.moved.entry(key).or_default();
                match sign {
                    Sign::Kept { removed: true } => moved.removed += 1,
                    Sign::Kept { removed: false } => moved.added += 1,
                    _ => moved.is_emptied = true,
                }
            }
            Sign::SameEmail { website } => {
                let key = (key.0, observation.tenant, *website);
                if !self.same.contains_key(&key) && self.same.len() >= TABLES_MAX {
                    return false;
                }
                *self.same.entry(key).or_default() += 1;
            }
            _ if self.list.len() >= SIGNS_MAX => return false,
            _ => {
                let (database, table) = key;
                let (tenant, sign) = (observation.tenant, sign.clone());
                self.list.push(Signed { database, table, tenant, sign });
            }
        }
        true
    }
}

state_struct!(Trail { keep, weight, rows, ages });
state_struct!(Signed { database, table, tenant, sign });
state_struct!(Moved { added, removed, is_emptied });
state_struct!(Signs { trails, moved, list, same });
state_enum!(Keep { 0 => ActionLog, 1 => Day, 2 => Always, 3 => WithParent });
state_enum!(TrailHow { 0 => Removed, 1 => Changed, 2 => Unlinked });
state_enum!(Account { 0 => Customer, 1 => Admin, 2 => Api });
state_enum!(LookedBy { 0 => View, 1 => Login });
state_enum!(Period { 0 => Carts, 1 => ActionLog, 2 => Bulk, 3 => Messages });
state_enum!(Sign {
    0 => Trail { keep, how, age_secs, weight },
    1 => TrailEmptied { weight, dropped },
    2 => TrailSetting { path, why },
    3 => Failure { of, account, failures },
    4 => Locked { of, account },
    5 => ResetAsked { of, account },
    6 => Looked { user, person, by },
    7 => Token { person },
    8 => Job { code, is_done },
    9 => Kept { removed },
    10 => Period { of, secs },
    11 => KeptEmptied,
    12 => SameEmail { website },
    13 => Moved { from, to },
    14 => ExportLogged { user, is_personal },
});
