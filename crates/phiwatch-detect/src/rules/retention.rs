//! `retention-overdue`: disposal jobs that stopped, and data kept past its period.
//!
//! A job is known by the row in which cron says that it succeeded; the clean-up of carts also by the
//! carts that it deletes. One that ran regularly and has not for twice its longest pause so far (and
//! a day more than it) is overdue. Rows of tables that must be emptied are counted in and out, the
//! oldest out first.
//!
//! # Invariants
//! - Time is event time: a stream that stood still for a day, or that lacks transactions, begins
//!   anew.
//! - One finding per database; it stays open while something is overdue.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use phiwatch_binlog::EventTime;
use phiwatch_magento::{Period, Sign, TableClass, Tenant};

use crate::{
    alert::{Evidence, RuleId, Severity},
    finding::{Key, Signal},
    signs::Moved,
    state::state_struct,
    summary::{Scope, Summary},
};

const DAY_SECS: i64 = 86_400;
/// Silence of the stream that makes it a new beginning.
const RESUME_SECS: i64 = DAY_SECS;
/// Jobs and tables followed.
const CLOCKS_MAX: usize = 4096;
/// Pauses of a job that are remembered.
const PAUSES_MAX: usize = 16;
/// Runs from which a job is regular, and how far apart: a week holds a weekend.
const RUNS_MIN: u32 = 5;
const KNOWN_SECS: i64 = 8 * DAY_SECS;
/// Times that a table was cleaned from which it is known to be.
const CLEANINGS_MIN: u32 = 2;
/// Runs closer together than this are one.
const RUN_SECS: i64 = 50;
/// Deletions of carts closer together than this are one run.
const CARTS_SECS: i64 = 6 * 3_600;
/// Days of rows kept apart; more are the oldest's.
const DAYS_MAX: usize = 400;
/// What is overdue is said again so often, so that its finding stays open, seconds.
const AGAIN_SECS: i64 = DAY_SECS;
/// The clean-up of carts: its deletions, and its job.
const CARTS: &str = "carts";
const CARTS_JOB: &str = "sales_clean_quotes";

/// When a job ran.
#[derive(Debug, Clone, PartialEq)]
struct Clock {
    first: EventTime,
    last: EventTime,
    runs: u32,
    /// Seconds between runs, the latest last.
    pauses: VecDeque<u64>,
    /// Runs that failed since the last that did not.
    failed: u32,
    evidence: Evidence,
}

/// Rows of a table that must go.
#[derive(Debug, Clone, PartialEq, Default)]
struct Kept {
    /// Day since 1970, and rows that came then and are still there.
    days: VecDeque<(i64, u64)>,
    /// Times that rows were removed, and the most days that one stayed until then.
    cleanings: u32,
    longest: i64,
}

/// Jobs, rows and periods.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Retention {
    periods: BTreeMap<(Arc<str>, Period), u64>,
    clocks: BTreeMap<(Arc<str>, Arc<str>), Clock>,
    kept: BTreeMap<(Arc<str>, Arc<str>), Kept>,
    last: Option<EventTime>,
    /// Hour since 1970 of the last look.
    looked: i64,
    /// What is overdue per database, and when it was last said.
    overdue: BTreeMap<Arc<str>, (u64, EventTime)>,
}

/// Something that is overdue.
struct Overdue {
    words: String,
    severity: Severity,
    evidence: Option<Evidence>,
}

impl Retention {
    /// The period that the shop set, seconds.
    pub(crate) fn period(&self, database: &Arc<str>, of: Period) -> Option<u64> {
        self.periods.get(&(Arc::clone(database), of)).copied()
    }

    /// Transactions were not seen: what did not come may have.
    pub(crate) fn blind(&mut self, now: EventTime) {
        self.kept.clear();
        self.overdue.clear();
        self.clocks.values_mut().for_each(|clock| clock.last = clock.last.max(now));
    }

    pub(crate) fn judge(&mut self, summary: &Summary, now: EventTime, out: &mut Vec<Signal>) {
        let silence = self.last.map_or(0, |last| now.secs().saturating_sub(last.secs()));
        self.last = Some(now);
        if silence >= RESUME_SECS {
            self.blind(now);
        }
        self.learn(summary, now);
        let hour = now.secs().div_euclid(3_600);
        if hour > self.looked {
            self.looked = hour;
            self.look(summary, now, out);
        }
    }

    fn learn(&mut self, summary: &Summary, now: EventTime) {
        for signed in &summary.signs.list {
            match &signed.sign {
                Sign::Job { code, is_done } => {
                    let key = (Arc::clone(&signed.database), Arc::clone(code));
                    self.ran(key, *is_done, RUN_SECS, summary, now);
                }
                Sign::Period { of, secs } => {
                    let key = (Arc::clone(&signed.database), *of);
                    // Messages have a period per outcome: the longest counts.
                    let before = self.periods.get(&key).copied().unwrap_or(0);
                    let secs = if *of == Period::Messages { before.max(*secs) } else { *secs };
                    if self.periods.len() < CLOCKS_MAX {
                        self.periods.insert(key, secs);
                    }
                }
                _ => {}
            }
        }
        for tally in &summary.tallies {
            let is_cart = tally.class == TableClass::Quote && &*tally.table == "quote";
            if is_cart && !tally.is_inferred && tally.counts.deletes > 0 {
                let key = (Arc::clone(&tally.database), Arc::from(CARTS));
                self.ran(key, true, CARTS_SECS, summary, now);
            }
        }
        for (key, moved) in &summary.signs.moved {
            if self.kept.len() < CLOCKS_MAX || self.kept.contains_key(key) {
                self.kept.entry(key.clone()).or_default().learn(moved, now);
            }
        }
    }

    fn ran(
        &mut self,
        key: (Arc<str>, Arc<str>),
        is_done: bool,
        least_secs: i64,
        summary: &Summary,
        now: EventTime,
    ) {
        if !self.clocks.contains_key(&key) && (self.clocks.len() >= CLOCKS_MAX || !is_done) {
            return;
        }
        let scope = Scope { database: Some(Arc::clone(&key.0)), tenant: None };
        let evidence = || summary.evidence(&scope, now);
        let clock = self.clocks.entry(key).or_insert_with(|| Clock {
            first: now,
            last: EventTime(i64::MIN),
            runs: 0,
            pauses: VecDeque::new(),
            failed: 0,
            evidence: evidence(),
        });
        if !is_done {
            clock.failed = clock.failed.saturating_add(1);
            return;
        }
        let pause = now.secs().saturating_sub(clock.last.secs());
        clock.failed = 0;
        if clock.runs > 0 && pause < least_secs {
            return;
        }
        if clock.runs > 0 {
            clock.pauses.push_back(u64::try_from(pause).unwrap_or(0));
            if clock.pauses.len() > PAUSES_MAX {
                clock.pauses.pop_front();
            }
        }
        clock.runs = clock.runs.saturating_add(1);
        clock.last = now;
        clock.evidence = evidence();
    }

    /// Says what is overdue, when it is new or a day has passed.
    fn look(&mut self, summary: &Summary, now: EventTime, out: &mut Vec<Signal>) {
        let mut found: BTreeMap<Arc<str>, Vec<Overdue>> = BTreeMap::new();
        for ((database, code), clock) in &self.clocks {
            // Where the job is seen to run, there was nothing to delete.
            let job = (Arc::clone(database), Arc::from(CARTS_JOB));
            let is_seen = &**code == CARTS && self.clocks.contains_key(&job);
            if let Some(overdue) = clock.overdue(code, now).filter(|_| !is_seen) {
                found.entry(Arc::clone(database)).or_default().push(overdue);
            }
        }
        for ((database, table), kept) in &self.kept {
            let limit = self.limit(database, table);
            if let Some(overdue) = kept.overdue(table, limit, now) {
                found.entry(Arc::clone(database)).or_default().push(overdue);
            }
        }
        self.overdue.retain(|database, _| found.contains_key(database));
        for (database, list) in found {
            let count = list.len() as u64;
            let said = self.overdue.get(&database).copied();
            let is_more = said.is_none_or(|(before, _)| count > before);
            let is_again =
                said.is_none_or(|(_, time)| now.secs().saturating_sub(time.secs()) >= AGAIN_SECS);
            if !is_more && !is_again {
                continue;
            }
            self.overdue.insert(Arc::clone(&database), (count, now));
            out.push(signal(&database, &list, is_more, summary, now));
        }
    }

    /// How many days rows of a table may stay.
    fn limit(&self, database: &Arc<str>, table: &str) -> i64 {
        let (of, default) = match table {
            "queue_message" => (Period::Messages, 7 * DAY_SECS),
            "magento_bulk" => (Period::Bulk, 60 * DAY_SECS),
            // Import data go with the next import, or the next night.
            _ => return 2,
        };
        let set = self.period(database, of).and_then(|secs| i64::try_from(secs).ok());
        set.unwrap_or(default).clamp(DAY_SECS, 3_650 * DAY_SECS) / DAY_SECS + 2
    }
}

impl Clock {
    fn overdue(&self, code: &str, now: EventTime) -> Option<Overdue> {
        let longest = i64::try_from(self.pauses.iter().max().copied()?).ok()?;
        let limit = longest.saturating_mul(2).max(longest.saturating_add(DAY_SECS));
        let since = now.secs().saturating_sub(self.last.secs());
        let known = self.last.secs().saturating_sub(self.first.secs());
        if self.runs < RUNS_MIN || known < KNOWN_SECS || since < limit {
            return None;
        }
        let periods = since / longest.max(1);
        let failed = match self.failed {
            0 => String::new(),
            n => format!(", though it was tried {n} times"),
        };
        let what = if code == CARTS {
            "carts have been deleted".to_owned()
        } else {
            format!("job {code} has succeeded")
        };
        let words = format!(
            "no {what} since {}{failed}: {} without it, where {} was the longest so far ({periods} \
             periods)",
            date(self.last),
            span(since),
            span(longest),
        );
        let is_long = since >= limit.saturating_mul(2);
        let severity = if is_long { Severity::Medium } else { Severity::Low };
        Some(Overdue { words, severity, evidence: Some(self.evidence.clone()) })
    }
}

impl Kept {
    fn learn(&mut self, moved: &Moved, now: EventTime) {
        let today = now.secs().div_euclid(DAY_SECS);
        if moved.is_emptied || moved.removed > 0 {
            let stayed = self.days.front().map_or(0, |(day, _)| today.saturating_sub(*day));
            self.longest = self.longest.max(stayed);
            self.cleanings = self.cleanings.saturating_add(1);
        }
        if moved.is_emptied {
            self.days.clear();
        }
        let mut removed = moved.removed;
        while let Some((_, rows)) = self.days.front_mut().filter(|_| removed > 0) {
            let gone = removed.min(*rows);
            removed -= gone;
            *rows -= gone;
            if *rows == 0 {
                self.days.pop_front();
            }
        }
        let added = moved.added.saturating_sub(removed);
        let day = now.secs().div_euclid(DAY_SECS);
        match self.days.back_mut() {
            _ if added == 0 => {}
            Some((last, rows)) if *last >= day => *rows = rows.saturating_add(added),
            _ => self.days.push_back((day, added)),
        }
        if self.days.len() > DAYS_MAX
            && let (Some((day, rows)), Some((_, more))) =
                (self.days.pop_front(), self.days.front().copied())
            && let Some(front) = self.days.front_mut()
        {
            *front = (day, rows.saturating_add(more));
        }
    }

    fn overdue(&self, table: &str, limit: i64, now: EventTime) -> Option<Overdue> {
        let (day, _) = *self.days.front()?;
        let age = now.secs().div_euclid(DAY_SECS).saturating_sub(day);
        // Where nobody ever cleans, it is no job that stopped.
        let limit = limit.max(self.longest.saturating_mul(2));
        if self.cleanings < CLEANINGS_MIN || age <= limit {
            return None;
        }
        let today = now.secs().div_euclid(DAY_SECS);
        let old = self.days.iter().take_while(|(day, _)| today.saturating_sub(*day) > limit);
        let rows = old.fold(0u64, |sum, (_, rows)| sum.saturating_add(*rows));
        let since = EventTime(day.saturating_mul(DAY_SECS * 1_000_000));
        let words = format!(
            "table {table} still holds {} that came by {}, {age} days ago, where {limit} are the most",
            super::count(rows, "row", "rows"),
            date(since),
        );
        Some(Overdue { words, severity: Severity::Low, evidence: None })
    }
}

fn signal(
    database: &Arc<str>,
    list: &[Overdue],
    is_more: bool,
    summary: &Summary,
    now: EventTime,
) -> Signal {
    let severity = list.iter().map(|overdue| overdue.severity).max().unwrap_or(Severity::Low);
    let words: Vec<&str> = list.iter().take(3).map(|overdue| overdue.words.as_str()).collect();
    let more = match list.len().saturating_sub(words.len()) {
        0 => String::new(),
        n => format!("; and {n} more"),
    };
    let lead = format!("Disposal is overdue: {}{more}", words.join("; "));
    let key = Key { database: super::named(database), tenant: Tenant::Global, what: String::new() };
    let mut signal = Signal::exact(RuleId::RetentionOverdue, key, severity, lead);
    signal.is_news = is_more;
    // Where it was last seen, not the transaction at which time was up.
    let nothing = || summary.origin.evidence(now, crate::alert::EvidenceTables::new(), (0, true));
    let evidence = list.iter().find_map(|overdue| overdue.evidence.clone());
    signal.evidence = Some(evidence.unwrap_or_else(nothing));
    signal
}

/// "2 days", "5 hours".
fn span(secs: i64) -> String {
    match secs {
        ..7_200 => format!("{} minutes", secs / 60),
        7_200..172_800 => format!("{} hours", secs / 3_600),
        _ => format!("{} days", secs / DAY_SECS),
    }
}

/// `2026-10-01 00:00 UTC`. Civil from days, years beginning in March (H. Hinnant's algorithm).
fn date(time: EventTime) -> String {
    let secs = time.secs();
    let days = secs.div_euclid(DAY_SECS).saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let of_day = secs.rem_euclid(DAY_SECS);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", of_day / 3_600, of_day / 60 % 60)
}

state_struct!(Clock { first, last, runs, pauses, failed, evidence });
state_struct!(Kept { days, cleanings, longest });
state_struct!(Retention { periods, clocks, kept, last, looked, overdue });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_spans_in_words() {
        let at = |secs: i64| date(EventTime(secs * 1_000_000));
        assert_eq!(at(0), "1970-01-01 00:00 UTC");
        assert_eq!(at(951_825_660), "2000-02-29 12:01 UTC");
        assert_eq!(at(1_790_812_800), "2026-10-01 00:00 UTC");
        assert_eq!(at(-1), "1969-12-31 23:59 UTC");
        assert_eq!([span(3_599), span(7_200), span(180_000)], ["59 minutes", "2 hours", "2 days"]);
    }
}
