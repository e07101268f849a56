//! Transactions by number: MySQL's GTID set, and for MariaDB ranges per domain and server.
//!
//! MariaDB has no text for a set; here it is `0-1-5..0-1-9,1-1-3`: single GTIDs, or the first and
//! the last one of a run. In what nobody has seen the server is `*`.

use std::{collections::BTreeMap, fmt, str::FromStr};

use phiwatch_binlog::{Gtid, GtidSet, GtidState, MariaGtidState, ParseGtidError};

/// Both ends inclusive, ascending, neither overlapping nor touching.
type Ranges = Vec<(u64, u64)>;

/// Which transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GtidRanges {
    mysql: GtidSet,
    /// By domain and server id.
    maria: BTreeMap<(u32, u32), Ranges>,
}

impl GtidRanges {
    pub(crate) fn insert(&mut self, gtid: &Gtid) {
        match gtid {
            Gtid::MySql { .. } => self.mysql.insert(gtid),
            Gtid::MariaDb { domain, server_id, sequence } => {
                let ranges = self.maria.entry((*domain, *server_id)).or_default();
                add(ranges, (*sequence, *sequence));
            }
        }
    }

    pub(crate) fn union(&mut self, other: &Self) {
        self.mysql = self.mysql.union(&other.mysql);
        for (key, ranges) in &other.maria {
            let ours = self.maria.entry(*key).or_default();
            ranges.iter().for_each(|range| add(ours, *range));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mysql.is_empty() && self.maria.is_empty()
    }

    /// All that a server's state covers.
    pub(crate) fn up_to(state: &GtidState) -> Self {
        match state {
            GtidState::MySql(set) => Self { mysql: set.clone(), maria: BTreeMap::new() },
            GtidState::MariaDb(state) => {
                let mut all = Self::default();
                for gtid in state.iter() {
                    if let Gtid::MariaDb { domain, server_id, sequence } = gtid {
                        all.maria.insert((domain, server_id), vec![(1, sequence)]);
                    }
                }
                all
            }
        }
    }

    /// The last ones, as a server would say it.
    pub(crate) fn state(&self) -> GtidState {
        if self.maria.is_empty() {
            return GtidState::MySql(self.mysql.clone());
        }
        let mut state = MariaGtidState::default();
        let lasts = self.maria.iter().filter_map(|((domain, server_id), ranges)| {
            let (_, sequence) = *ranges.last()?;
            Some(Gtid::MariaDb { domain: *domain, server_id: *server_id, sequence })
        });
        lasts.for_each(|gtid| {
            if !state.contains(&gtid) {
                state.update(&gtid);
            }
        });
        GtidState::MariaDb(state)
    }

    /// Numbers between the first and the last one of these that are neither in them nor in
    /// `known`. `heads`: sets that the server itself has said, of which a number that is missing
    /// in the middle was never given to a transaction.
    pub(crate) fn holes(&self, known: &Self, heads: &GtidSet) -> Vec<String> {
        let never = heads.hull().subtract(heads);
        let mysql = self.mysql.hull().subtract(&self.mysql).subtract(&known.mysql).subtract(&never);
        let mut holes = Vec::new();
        if !mysql.is_empty() {
            holes.push(mysql.to_string());
        }
        let mut domains: Vec<u32> = self.maria.keys().map(|(domain, _)| *domain).collect();
        domains.dedup();
        for domain in domains {
            let ours = self.domain(domain);
            let mut all = ours.clone();
            known.domain(domain).into_iter().for_each(|range| add(&mut all, range));
            let (Some((first, _)), Some((_, last))) = (ours.first(), ours.last()) else { continue };
            for pair in all.windows(2) {
                let &[(_, before), (after, _)] = pair else { continue };
                if before >= *first && after <= *last {
                    holes.push(run(domain, "*", (before + 1, after - 1)));
                }
            }
        }
        holes
    }

    fn domain(&self, wanted: u32) -> Ranges {
        let mut all = Ranges::new();
        for ((_, _), ranges) in self.maria.iter().filter(|((domain, _), _)| *domain == wanted) {
            ranges.iter().for_each(|range| add(&mut all, *range));
        }
        all
    }
}

/// Merges `new` with all that it overlaps or touches; at the end, where a stream adds, at once.
fn add(ranges: &mut Ranges, new: (u64, u64)) {
    let from = ranges.partition_point(|old| old.1.saturating_add(1) < new.0);
    let to = ranges.partition_point(|old| old.0 <= new.1.saturating_add(1)).max(from);
    let (mut first, mut last) = new;
    for old in ranges.get(from..to).unwrap_or_default() {
        first = first.min(old.0);
        last = last.max(old.1);
    }
    ranges.splice(from..to, [(first, last)]);
}

fn run(domain: u32, server: &str, (first, last): (u64, u64)) -> String {
    let first_text = format!("{domain}-{server}-{first}");
    if first == last { first_text } else { format!("{first_text}..{domain}-{server}-{last}") }
}

impl fmt::Display for GtidRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.maria.is_empty() {
            return self.mysql.fmt(f);
        }
        let mut comma = "";
        for ((domain, server), ranges) in &self.maria {
            for range in ranges {
                write!(f, "{comma}{}", run(*domain, &server.to_string(), *range))?;
                comma = ",";
            }
        }
        Ok(())
    }
}

impl FromStr for GtidRanges {
    type Err = ParseGtidError;

    fn from_str(text: &str) -> Result<Self, ParseGtidError> {
        let mut all = Self::default();
        if text.contains(':') || text.trim().is_empty() {
            all.mysql = text.parse()?;
            return Ok(all);
        }
        for part in text.split(',') {
            let (first, last) = part.split_once("..").unwrap_or((part, part));
            match (first.parse()?, last.parse()?) {
                (
                    Gtid::MariaDb { domain, server_id, sequence: first },
                    Gtid::MariaDb { domain: same, server_id: also, sequence: last },
                ) if (domain, server_id) == (same, also) && first <= last => {
                    add(all.maria.entry((domain, server_id)).or_default(), (first, last));
                }
                _ => return Err(ParseGtidError("a run within one domain and server is expected")),
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn ranges(text: &str) -> GtidRanges {
        text.replace('A', A).parse().unwrap()
    }

    #[track_caller]
    fn check(numbers: &[&str], want: &str) {
        let mut all = GtidRanges::default();
        numbers.iter().for_each(|gtid| all.insert(&gtid.replace('A', A).parse().unwrap()));
        assert_eq!(all.to_string(), want.replace('A', A));
        assert_eq!(ranges(want), all, "reads back");
    }

    #[test]
    fn runs_are_merged() {
        check(&[], "");
        check(&["A:1", "A:2", "A:5"], "A:1-2:5");
        check(&["0-1-1", "0-1-2", "0-2-3", "0-1-5", "1-1-9"], "0-1-1..0-1-2,0-1-5,0-2-3,1-1-9");
        check(&["0-1-3", "0-1-1", "0-1-2"], "0-1-1..0-1-3");
        assert!("0-1-3..0-2-4".parse::<GtidRanges>().is_err());
        assert!("0-1-3..0-1-2".parse::<GtidRanges>().is_err());
    }

    #[track_caller]
    fn holes(ours: &str, known: &str, heads: &str, want: &[&str]) {
        let heads = heads.replace('A', A).parse().unwrap();
        let want: Vec<String> = want.iter().map(|hole| hole.replace('A', A)).collect();
        assert_eq!(ranges(ours).holes(&ranges(known), &heads), want, "{ours} {known} {heads}");
    }

    #[test]
    fn holes_lie_between_numbers_and_are_not_known() {
        holes("A:5-9", "", "", &[]);
        holes("A:5-9:20-21", "", "", &["A:10-19"]);
        holes("A:5-9:20-21", "A:1-12", "", &["A:13-19"]);
        holes("A:5-9:20-21", "", "A:1-9:15-30", &["A:15-19"]);
        holes("0-1-5..0-1-9,0-2-10,1-1-7", "", "", &[]);
        holes("0-1-5..0-1-9,0-2-20..0-2-30", "0-3-12", "", &["0-*-10..0-*-11", "0-*-13..0-*-19"]);
        holes("0-1-5,0-1-9", "0-1-1..0-1-8", "", &[]);
    }

    #[test]
    fn a_state_covers_all_before_it() {
        let state = "0-2-7,1-1-3".parse().unwrap();
        let ranges = GtidRanges::up_to(&state);
        assert_eq!(ranges.to_string(), "0-2-1..0-2-7,1-1-1..1-1-3");
        assert_eq!(ranges.state(), state);
    }
}
