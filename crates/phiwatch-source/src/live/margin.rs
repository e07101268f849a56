//! How long a binlog file stays on the server: from its list of files, its settings, and when
//! files were begun.
//!
//! Servers purge when they begin a file, or are told to: then every file goes that was closed
//! longer ago than the retention, and MariaDB 11.4 also the oldest ones beyond a total size. The
//! file that is written to never goes. A file was closed when the next one was begun.

use std::{collections::BTreeMap, time::Duration};

use super::{
    history::{BinlogFile, is_later},
    retention::{Retention, SECS_MAX},
};

/// Time until what a reader needs may be purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeMargin {
    /// The server does not tell: to be taken as no time at all.
    Unknown,
    /// It purges nothing by itself.
    Never,
    /// So long; zero if it may happen at any moment.
    Within(Duration),
}

/// Below this share of the retention, and below a day, the margin is short.
const SHORT_SHARE: u32 = 4;
const SHORT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What is known of a server's files.
pub(crate) struct Files<'a> {
    /// Oldest first.
    pub(crate) files: &'a [BinlogFile],
    /// When some of them were begun, seconds since 1970 by the server's clock.
    pub(crate) begun: &'a BTreeMap<String, u32>,
    /// Now by the server's clock.
    pub(crate) now_secs: u64,
}

impl Files<'_> {
    /// The files whose beginning [`Self::margin`] must know.
    pub(crate) fn wanted(&self, needed: &str, retention: Retention) -> Vec<String> {
        let index = self.files.iter().position(|file| file.name == needed);
        let next = index.and_then(|index| self.files.get(index + 1));
        let oldest = self.files.first().filter(|_| retention.bytes_max.is_some());
        next.into_iter().chain(oldest).map(|file| file.name.clone()).collect()
    }

    /// Time until the file `needed` may go, and whether that is short.
    pub(crate) fn margin(&self, needed: &str, retention: Retention) -> (PurgeMargin, bool) {
        let Some(index) = self.files.iter().position(|file| file.name == needed) else {
            return match self.files.last() {
                Some(last) if !is_later(needed, &last.name) => {
                    (PurgeMargin::Within(Duration::ZERO), true)
                }
                _ => (PurgeMargin::Unknown, false),
            };
        };
        let mut margins = Vec::new();
        if let Some(age) = retention.age {
            margins.push((self.until_too_old(index, age), age));
        }
        if let Some(bytes_max) = retention.bytes_max {
            margins.push(self.until_too_large(index, bytes_max));
        }
        match margins.into_iter().min_by_key(|(margin, _)| *margin) {
            None => (PurgeMargin::Never, false),
            Some((margin, whole)) => {
                let is_short = margin.is_zero() || margin < SHORT_MAX.min(whole / SHORT_SHARE);
                (PurgeMargin::Within(margin), is_short)
            }
        }
    }

    fn since_begun(&self, index: usize) -> Option<Duration> {
        let begun = self.begun.get(&self.files.get(index)?.name)?;
        Some(Duration::from_secs(self.now_secs.saturating_sub(u64::from(*begun))))
    }

    fn until_too_old(&self, index: usize, age: Duration) -> Duration {
        if index + 1 == self.files.len() {
            return age;
        }
        // Not known: the worst case.
        age.saturating_sub(self.since_begun(index + 1).unwrap_or(age))
    }

    /// By how fast the files have grown so far. Also: how long a file stays at that pace.
    fn until_too_large(&self, index: usize, bytes_max: u64) -> (Duration, Duration) {
        let bytes = |from: usize| -> u64 {
            self.files.get(from..).unwrap_or_default().iter().map(|file| file.bytes).sum()
        };
        /// What a log younger than this has grown by is no pace yet.
        const YOUNG: Duration = Duration::from_secs(60);
        // Not known: the worst case.
        let Some(time) = self.since_begun(0) else { return (Duration::ZERO, Duration::ZERO) };
        let time = time.max(YOUNG);
        let per_byte = time.as_secs_f64() / bytes(0).max(1) as f64;
        let lasts =
            |bytes: u64| Duration::from_secs_f64((bytes as f64 * per_byte).clamp(0.0, SECS_MAX));
        (lasts(bytes_max.saturating_sub(bytes(index))), lasts(bytes_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    /// Three files, begun at 0 h, 10 h and 20 h; now is 30 h.
    #[track_caller]
    fn check(settings: &[(&str, &str)], needed: &str, want: PurgeMargin, is_short: bool) {
        let settings =
            settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let files: Vec<BinlogFile> = (1..=3)
            .map(|number| BinlogFile { name: format!("b.{number:06}"), bytes: 100 })
            .collect();
        let begun = (1..=3).map(|number| (format!("b.{number:06}"), (number - 1) * 36_000));
        let files = Files { files: &files, begun: &begun.collect(), now_secs: 30 * HOUR };
        assert_eq!(files.margin(needed, Retention::from_settings(&settings)), (want, is_short));
    }

    fn hours(hours: u64) -> PurgeMargin {
        PurgeMargin::Within(Duration::from_secs(hours * HOUR))
    }

    #[test]
    fn file_stays_for_the_retention_from_when_it_was_closed() {
        let days = [("binlog_expire_logs_seconds", "108000")];
        check(&days, "b.000001", hours(10), false);
        check(&days, "b.000002", hours(20), false);
        check(&days, "b.000003", hours(30), false);
        check(&[("binlog_expire_logs_seconds", "90000")], "b.000001", hours(5), true);
        check(&[("binlog_expire_logs_seconds", "3600")], "b.000001", hours(0), true);
        check(&[("expire_logs_days", "1.25")], "b.000001", hours(10), false);
    }

    #[test]
    fn nothing_expires_or_is_gone() {
        check(&[("binlog_expire_logs_seconds", "0")], "b.000001", PurgeMargin::Never, false);
        check(
            &[("binlog_expire_logs_seconds", "60"), ("binlog_expire_logs_auto_purge", "OFF")],
            "b.000001",
            PurgeMargin::Never,
            false,
        );
        check(&[], "b.000000", hours(0), true);
        check(&[], "b.000004", PurgeMargin::Unknown, false);
    }

    #[test]
    fn total_size_counts_at_the_pace_so_far() {
        // 300 bytes in 30 hours: 10 an hour.
        check(&[("max_binlog_total_size", "500")], "b.000001", hours(20), false);
        check(&[("max_binlog_total_size", "500")], "b.000003", hours(40), false);
        check(&[("max_binlog_total_size", "300")], "b.000001", hours(0), true);
        let both = [("max_binlog_total_size", "500"), ("binlog_expire_logs_seconds", "46800")];
        check(&both, "b.000002", hours(3), true);
    }
}
