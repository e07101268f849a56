//! Signs: rows that say something about other rows, or about who reads them.
//!
//! Input: a row change of a table that the catalogue marks. Output: [`Sign`]s: the audit trail was
//! cut, a logon failed, somebody looked at a person, a disposal job ran, data came to be kept.
//!
//! # Invariants
//! - Accounts and persons are tokens; user names, addresses and texts of the log are never kept.
//! - What an image lacks (row image MINIMAL) gives no verdict, and is said.

use std::sync::Arc;

use phiwatch_binlog::{EventTime, Op};
use serde::Deserialize;

use crate::{
    Catalog, Weight,
    binding::Binding,
    catalog::Rule,
    row::{Field, Row, Slot},
    token::{self, Tokens},
};

/// What a row says about other rows, or about who reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// A row of an audit trail was removed or changed.
    Trail {
        /// How long rows of its table stay.
        keep: Keep,
        /// What was done.
        how: TrailHow,
        /// Age of the row at its change, seconds; None if the row does not say.
        age_secs: Option<u64>,
        /// How serious.
        weight: Weight,
    },
    /// A whole audit trail was truncated or dropped.
    TrailEmptied {
        /// How serious.
        weight: Weight,
        /// DROP (else TRUNCATE).
        dropped: bool,
    },
    /// A setting of the audit trail was cut.
    TrailSetting {
        /// Path of the watch list.
        path: Arc<str>,
        /// What was done, in words without values.
        why: String,
    },
    /// A logon failed.
    Failure {
        /// Whose account.
        of: Account,
        /// The account, as a token.
        account: u64,
        /// Failures of the account in a row, as the shop counts them.
        failures: u64,
    },
    /// An account was locked after too many failures.
    Locked {
        /// Whose account.
        of: Account,
        /// The account, as a token.
        account: u64,
    },
    /// A new password was asked for.
    ResetAsked {
        /// Whose account.
        of: Account,
        /// The account, as a token.
        account: u64,
    },
    /// An admin user opened a person's data, and that left a row.
    Looked {
        /// `admin_user.user_id`.
        user: u64,
        /// What was opened, as a token.
        person: u64,
        /// By what.
        by: LookedBy,
    },
    /// An admin user exported something, says the action log (Commerce).
    ExportLogged {
        /// `admin_user.user_id`.
        user: u64,
        /// It was persons, by the page or the kind; else it is not known what.
        is_personal: bool,
    },
    /// An access token of a customer was made.
    Token {
        /// The customer, as a token.
        person: u64,
    },
    /// A disposal job ended.
    Job {
        /// Its code, one of the catalogue's.
        code: Arc<str>,
        /// It succeeded.
        is_done: bool,
    },
    /// A row came into, or left, a table whose rows must go after a while.
    Kept {
        /// It left.
        removed: bool,
    },
    /// Such a table was truncated or dropped.
    KeptEmptied,
    /// A new customer has the e-mail address of another website's customer.
    SameEmail {
        /// The other website.
        website: u32,
    },
    /// A store went from one website to another.
    Moved {
        /// `store_website.website_id` before.
        from: u32,
        /// And after.
        to: u32,
    },
    /// A period of disposal was set.
    Period {
        /// Of what.
        of: Period,
        /// How long, seconds.
        secs: u64,
    },
}

/// How long rows of an audit trail stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// As long as the policy for the action log says.
    ActionLog,
    /// A day, then Magento's own job removes them.
    Day,
    /// Magento never removes them.
    Always,
    /// As long as the row that they belong to.
    WithParent,
}

/// What was done to a row of an audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrailHow {
    /// It was deleted.
    Removed,
    /// What it says was changed.
    Changed,
    /// Its user was set to NULL, as the deletion of a user does.
    Unlinked,
}

/// Whose account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// A customer of the storefront.
    Customer,
    /// A user of the admin area.
    Admin,
    /// An account that asked for an API token.
    Api,
}

/// What left the row of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LookedBy {
    /// A page that the action log (Commerce) recorded.
    View,
    /// "Login as customer".
    Login,
}

/// What a period of disposal is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Carts without change.
    Carts,
    /// Rows of the action log.
    ActionLog,
    /// Bulk operations.
    Bulk,
    /// Queue messages.
    Messages,
}

/// The columns of a trail, bound.
#[derive(Debug, Clone)]
pub(crate) struct TrailSlots {
    pub(crate) keep: Keep,
    pub(crate) weight: Weight,
    pub(crate) time: Slot,
    pub(crate) user: Slot,
    /// What no ordinary work changes.
    pub(crate) fixed: Vec<Slot>,
}

/// One row of a table with signs.
pub(crate) struct Signer<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) tokens: &'a Tokens,
    pub(crate) binding: &'a Binding,
    pub(crate) row: &'a Row<'a>,
    /// Fixed hash of the database's name.
    pub(crate) database: u64,
    pub(crate) now: EventTime,
}

/// Told apart from customers with the same number.
const ADMIN: u64 = 0x61_646d_696e;
const API: u64 = 0x61_7069;

impl Signer<'_> {
    /// The signs of the row.
    pub(crate) fn signs(&self, rule: Option<Rule>) -> Vec<Sign> {
        let mut signs = Vec::new();
        if let Some(trail) = &self.binding.trail {
            signs.extend(self.trail(trail));
        }
        match rule {
            Some(Rule::Customer) => self.failures(Account::Customer, &mut signs),
            Some(Rule::AdminUser) => self.failures(Account::Admin, &mut signs),
            Some(Rule::TokenRequest) => signs.extend(self.token_request()),
            Some(Rule::ResetRequest) => signs.extend(self.reset_request()),
            Some(Rule::ActionLog) => signs.extend(self.view()),
            Some(Rule::LoginAs | Rule::LoginAsLog) => signs.extend(self.login_as()),
            Some(Rule::OauthToken) => signs.extend(self.token()),
            Some(Rule::CronJob) => signs.extend(self.job()),
            Some(Rule::QueueMessage | Rule::Bulk) => signs.extend(self.kept()),
            _ => {}
        }
        signs
    }

    /// Whether the images lack what a verdict on the trail's row needs.
    pub(crate) fn lacks(&self) -> bool {
        let Some(trail) = &self.binding.trail else { return false };
        self.row.op == Op::Delete
            && matches!(trail.keep, Keep::ActionLog | Keep::Day)
            && self.row.lacks(trail.time)
    }

    fn slot(&self, n: usize) -> Slot {
        self.binding.key(n)
    }

    fn number(&self, n: usize) -> u64 {
        self.row.now(self.slot(n)).id().unwrap_or(0)
    }

    fn text(&self, n: usize) -> Option<String> {
        let text = self.row.text_now(self.slot(n))?;
        Some(String::from_utf8_lossy(&text).trim().to_owned())
    }

    fn account(&self, kind: u64, id: u64) -> u64 {
        token::mix(self.database ^ token::mix(id ^ kind))
    }

    fn trail(&self, trail: &TrailSlots) -> Option<Sign> {
        let how = match self.row.op {
            Op::Create => return None,
            Op::Delete => TrailHow::Removed,
            Op::Update => self.changed(trail)?,
        };
        if self.lacks() {
            return None;
        }
        let age = self.row.secs_old(trail.time).map(|written| self.now.secs() - written);
        let age_secs = age.map(|age| u64::try_from(age).unwrap_or(0));
        Some(Sign::Trail { keep: trail.keep, how, age_secs, weight: trail.weight })
    }

    fn changed(&self, trail: &TrailSlots) -> Option<TrailHow> {
        let mut written = trail.fixed.iter().filter(|slot| self.row.is_written(**slot));
        let first = written.next()?;
        let is_unlinked = *first == trail.user && self.row.now(trail.user) == Field::Null;
        let is_only = written.next().is_none();
        Some(if is_unlinked && is_only { TrailHow::Unlinked } else { TrailHow::Changed })
    }

    /// Columns 4 and 5 of the rule: failures in a row, and when the lock ends.
    fn failures(&self, of: Account, out: &mut Vec<Sign>) {
        if self.row.op != Op::Update {
            return;
        }
        let id = self.number(0);
        let account = match of {
            Account::Customer => token::customer(self.database, id).token,
            Account::Admin | Account::Api => self.account(ADMIN, id),
        };
        let count = |field: Field| match field {
            Field::Is(count) => count,
            Field::Null | Field::Absent => 0,
        };
        if self.row.is_written(self.slot(4)) {
            let failures = count(self.row.now(self.slot(4)));
            // Where the image lacks the old count (row image MINIMAL), one that is not 0 came anew.
            if failures > count(self.row.old(self.slot(4))) {
                out.push(Sign::Failure { of, account, failures });
            }
        }
        if self.row.is_written(self.slot(5)) && self.row.secs_now(self.slot(5)).is_some() {
            out.push(Sign::Locked { of, account });
        }
    }

    /// `oauth_token_request_log`: user name, type of user, failures.
    fn token_request(&self) -> Option<Sign> {
        let failures = self.number(2);
        let before =
            if self.row.op == Op::Update { self.row.old(self.slot(2)) } else { Field::Null };
        let is_more = before.id().is_none_or(|before| failures > before);
        if self.row.op == Op::Delete || failures == 0 || !is_more {
            return None;
        }
        let name = self.row.text_now(self.slot(0))?;
        let account = self.tokens.email(&name)?.token ^ token::mix(API);
        Some(Sign::Failure { of: Account::Api, account, failures })
    }

    /// `password_reset_request_event`: type (1 = admin), account.
    fn reset_request(&self) -> Option<Sign> {
        if self.row.op != Op::Create {
            return None;
        }
        let of = if self.number(0) == 1 { Account::Admin } else { Account::Customer };
        let account = self.row.text_now(self.slot(1))?;
        let account = self.tokens.email(&account)?.token;
        Some(Sign::ResetAsked { of, account })
    }

    /// A page of personal data, or an export, in the action log: user, action, page, kind, what.
    fn view(&self) -> Option<Sign> {
        if self.row.op != Op::Create {
            return None;
        }
        let user = self.row.now(self.slot(0)).id()?;
        let (action, page, kind) = (self.text(1)?, self.text(2)?, self.text(3)?);
        if let Some(is_personal) = self.catalog.logged_export(&action, &page, &kind) {
            return Some(Sign::ExportLogged { user, is_personal });
        }
        if !self.catalog.is_view(&action, &page, &kind) {
            return None;
        }
        // Which person a page is of stands in free text only: its hash tells pages apart.
        let what = self.row.text_now(self.slot(4)).unwrap_or_default();
        let person = self.account(token::fixed(kind.as_bytes()), token::fixed(&what));
        Some(Sign::Looked { user, person, by: LookedBy::View })
    }

    /// Admin user, customer.
    fn login_as(&self) -> Option<Sign> {
        if self.row.op != Op::Create {
            return None;
        }
        let user = self.row.now(self.slot(0)).id()?;
        let customer = self.row.now(self.slot(1)).id()?;
        let person = token::customer(self.database, customer).token;
        Some(Sign::Looked { user, person, by: LookedBy::Login })
    }

    fn token(&self) -> Option<Sign> {
        let is_access = self.text(2).as_deref() == Some("access");
        let customer = self.row.now(self.slot(1)).id()?;
        let is_new = self.row.op == Op::Create
            || (self.row.op == Op::Update && self.row.is_written(self.slot(2)));
        let person = token::customer(self.database, customer).token;
        (is_new && is_access).then_some(Sign::Token { person })
    }

    /// Code, status. Only of jobs that dispose of data, and only how they ended.
    fn job(&self) -> Option<Sign> {
        if !self.row.is_written(self.slot(1)) || self.row.op == Op::Delete {
            return None;
        }
        let is_done = match self.text(1)?.as_str() {
            "success" => true,
            "error" | "missed" => false,
            _ => return None,
        };
        let code = self.catalog.disposal_job(&self.text(0)?)?;
        Some(Sign::Job { code, is_done })
    }

    fn kept(&self) -> Option<Sign> {
        match self.row.op {
            Op::Create => Some(Sign::Kept { removed: false }),
            Op::Delete => Some(Sign::Kept { removed: true }),
            Op::Update => None,
        }
    }
}

/// Seconds since 1970 of `YYYY-MM-DD hh:mm:ss...` (UTC); none of zero and impossible dates.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    if year == 0 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from civil: years begin in March, so that the leap day is the last one.
    let shifted = year - i64::from(month < 3);
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_1970() {
        for (text, want) in [
            ("1970-01-01 00:00:00", Some(0)),
            ("2000-02-29 12:00:00Z", Some(951_825_600)),
            ("2026-10-01 00:00:00.123456Z", Some(1_790_812_800)),
            ("1969-12-31 23:59:59", Some(-1)),
            ("0000-00-00 00:00:00", None),
            ("2026-13-01 00:00:00", None),
            ("2026-10-01", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
    }
}
