//! Whether files follow each other: each file's head says which transactions came before it.
//!
//! Input: what the heads say, and what was executed. Output: the transactions between, which
//! nobody examined. The first head is where a run begins, not a hole.

use phiwatch_binlog::{Gtid, GtidSet, GtidState, MariaGtidState};

/// What is known to lie before the next file.
#[derive(Debug, Default)]
pub(crate) struct Continuity {
    before: Option<GtidState>,
    /// Events refused since the last head: a damaged GTID event hides one transaction each.
    gaps: u64,
}

impl Continuity {
    /// An event was refused; it may have named a transaction.
    pub(crate) fn gap(&mut self) {
        self.gaps += 1;
    }

    /// A head was read. Gives the text of the transactions that were never there, if any.
    pub(crate) fn head(
        &mut self,
        done: &GtidState,
        executed: Option<&GtidState>,
    ) -> Option<String> {
        let gaps = std::mem::take(&mut self.gaps);
        let before = self.before.take();
        self.before = Some(done.clone());
        match (before?, done, executed) {
            (GtidState::MySql(before), GtidState::MySql(done), executed) => {
                let mut missing = done.subtract(&before);
                if let Some(GtidState::MySql(executed)) = executed {
                    missing = missing.subtract(executed);
                }
                is_hole(&missing, gaps).then(|| missing.to_string())
            }
            (GtidState::MariaDb(before), GtidState::MariaDb(done), executed) => {
                let executed = match executed {
                    Some(GtidState::MariaDb(executed)) => executed,
                    _ => &MariaGtidState::default(),
                };
                maria_hole(&before, done, executed, gaps)
            }
            _ => None,
        }
    }
}

fn is_hole(missing: &GtidSet, gaps: u64) -> bool {
    missing.count() > gaps
}

fn maria_hole(
    before: &MariaGtidState,
    done: &MariaGtidState,
    executed: &MariaGtidState,
    gaps: u64,
) -> Option<String> {
    let last = |state: &MariaGtidState, wanted: u32| {
        state.iter().find_map(|gtid| match gtid {
            Gtid::MariaDb { domain, sequence, .. } if domain == wanted => Some(sequence),
            _ => None,
        })
    };
    let holes: Vec<String> = done
        .iter()
        .filter_map(|gtid| {
            let Gtid::MariaDb { domain, sequence, .. } = gtid else { return None };
            let known = last(before, domain).max(last(executed, domain)).unwrap_or(0);
            let is_hole = sequence.saturating_sub(known) > gaps;
            is_hole.then(|| format!("after sequence {known} of domain {domain} up to {gtid}"))
        })
        .collect();
    (!holes.is_empty()).then(|| holes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[track_caller]
    fn check(first: &str, executed: &str, gaps: u64, second: &str, want: Option<&str>) {
        let mut continuity = Continuity::default();
        assert_eq!(continuity.head(&first.parse().unwrap(), None), None, "a run begins anywhere");
        (0..gaps).for_each(|_| continuity.gap());
        let executed: GtidState = executed.parse().unwrap();
        let got = continuity.head(&second.parse().unwrap(), Some(&executed));
        assert_eq!(got.as_deref(), want);
    }

    #[test]
    fn a_file_that_is_not_there_is_a_hole() {
        let set = |range: &str| format!("{UUID}:{range}");
        check(&set("1-5"), &set("6-9"), 0, &set("1-9"), None);
        check(&set("1-5"), &set("6-9"), 0, &set("1-12"), Some(&set("10-12")));
        check("", &set("1-9"), 0, &set("1-9"), None);
        check(&set("1-5"), &set("6-8"), 1, &set("1-9"), None);
        check("0-1-5", "0-1-9", 0, "0-1-9", None);
        let hole = "after sequence 9 of domain 0 up to 0-1-12";
        check("0-1-5", "0-1-9", 0, "0-1-12", Some(hole));
    }
}
