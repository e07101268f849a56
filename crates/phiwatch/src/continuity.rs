//! Whether files follow each other: each file's head says which transactions came before it, and
//! where transactions have no numbers the files have.
//!
//! Input: what the heads say, and what was executed. Output: the transactions or files between,
//! which nobody examined. The first head is where a run begins, not a hole.

use std::sync::Arc;

use phiwatch_binlog::{Gtid, GtidSet, GtidState, MariaGtidState};

/// What is known to lie before the next file.
#[derive(Debug, Default)]
pub(crate) struct Continuity {
    before: Option<GtidState>,
    /// Events refused since the last head: a damaged GTID event hides one transaction each.
    gaps: u64,
    /// A transaction without a number came since the last head.
    is_anonymous: bool,
    /// Name and writer of the file that is read, and of the one whose head was read last.
    file: Option<File>,
    last: Option<File>,
}

/// A file's name and its writer's id, if known.
type File = (Arc<str>, Option<u32>);

impl Continuity {
    /// Goes on after a checkpoint in `file`. `before`: what came before everything that was ever
    /// read; `is_anonymous`: no transaction had a number so far.
    pub(crate) fn resume(&mut self, before: Option<GtidState>, file: Arc<str>, is_anonymous: bool) {
        self.before = before;
        self.file = Some((file, None));
        self.last.clone_from(&self.file);
        self.is_anonymous = is_anonymous;
    }

    /// An event was refused; it may have named a transaction.
    pub(crate) fn gap(&mut self) {
        self.gaps += 1;
    }

    /// A transaction without a number came.
    pub(crate) fn anonymous(&mut self) {
        self.is_anonymous = true;
    }

    /// A file begins; its head may follow.
    pub(crate) fn file(&mut self, name: &Arc<str>, server_id: u32) {
        self.file = Some((name.clone(), Some(server_id)));
    }

    /// A head was read. Gives the text of what was never there, if any.
    pub(crate) fn head(
        &mut self,
        done: &GtidState,
        executed: Option<&GtidState>,
    ) -> Option<String> {
        let gaps = std::mem::take(&mut self.gaps);
        let is_anonymous = std::mem::take(&mut self.is_anonymous);
        let before = self.before.take();
        self.before = Some(done.clone());
        let last = std::mem::replace(&mut self.last, self.file.clone());
        match (before?, done, executed) {
            (GtidState::MySql(before), GtidState::MySql(done), executed) => {
                let mut missing = done.subtract(&before);
                if let Some(GtidState::MySql(executed)) = executed {
                    missing = missing.subtract(executed);
                }
                if is_hole(&missing, gaps) {
                    return Some(missing.to_string());
                }
                let is_unnumbered = is_anonymous || done.is_empty();
                is_unnumbered.then(|| files_between(last.as_ref()?, self.file.as_ref()?))?
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

/// A binlog file's name without its number, and the number.
pub(crate) fn sequence(file: &str) -> Option<(&str, u64)> {
    let (base, digits) = file.rsplit_once('.')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(())?;
    Some((base, digits.parse().ok()?))
}

/// The files whose numbers lie between those of two files of one server.
fn files_between((last, writer): &File, (next, other): &File) -> Option<String> {
    let is_one = writer.is_none() || writer == other;
    is_one.then(|| files_missing(last, next))?
}

/// The files whose numbers lie between two.
pub(crate) fn files_missing(last: &str, next: &str) -> Option<String> {
    let ((base, number), (other, following)) = (sequence(last)?, sequence(next)?);
    if base != other || following <= number.checked_add(1)? {
        return None;
    }
    let width = next.len() - other.len() - 1;
    let name = |number: u64| format!("{base}.{number:0width$}");
    let (first, last) = (number + 1, following - 1);
    Some(if first == last { name(first) } else { format!("{} to {}", name(first), name(last)) })
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
        check("", "", 0, "", None);
        let hole = "after sequence 9 of domain 0 up to 0-1-12";
        check("0-1-5", "0-1-9", 0, "0-1-12", Some(hole));
    }

    #[track_caller]
    fn check_files(first: (&str, u32), second: (&str, u32), want: Option<&str>) {
        let mut continuity = Continuity::default();
        let none = "".parse().unwrap();
        continuity.file(&first.0.into(), first.1);
        assert_eq!(continuity.head(&none, None), None);
        continuity.file(&second.0.into(), second.1);
        assert_eq!(continuity.head(&none, None).as_deref(), want, "{first:?} {second:?}");
    }

    #[test]
    fn without_gtids_the_numbers_of_the_files_tell() {
        check_files(("binlog.000009", 1), ("binlog.000010", 1), None);
        check_files(("binlog.000009", 1), ("binlog.000011", 1), Some("binlog.000010"));
        let three = Some("binlog.000010 to binlog.000012");
        check_files(("binlog.000009", 1), ("binlog.000013", 1), three);
        check_files(("binlog.000009", 1), ("binlog.000013", 2), None);
        check_files(("binlog.000009", 1), ("other.000013", 1), None);
        check_files(("binlog.000009", 1), ("binlog.000003", 1), None);
        check_files(("binlog.000009", 1), ("binlog", 1), None);
        check_files(("types.binlog", 1), ("binlog.000003", 1), None);
    }
}
