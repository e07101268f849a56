//! Coverage for people: aligned, 80 columns.

use super::{Counts, Coverage, Gap, Server, Start, Stretch};

const WIDTH: usize = 80;
/// Above it a line stands for a day.
const LINES_MAX: usize = 48;

/// The whole text.
pub(crate) fn of(coverage: &Coverage) -> String {
    let mut out = String::new();
    match (&coverage.from, &coverage.until) {
        (None, None) => {}
        (from, until) => {
            let or = |at: &Option<String>, none: &str| at.clone().unwrap_or_else(|| none.into());
            line(&mut out, &format!("from {}", or(from, "the beginning")));
            line(&mut out, &format!("until {}\n", or(until, "now")));
        }
    }
    if coverage.servers.is_empty() {
        line(&mut out, "Nothing was examined.\n");
    }
    coverage.servers.iter().for_each(|one| server(&mut out, one));
    if !coverage.starts.is_empty() {
        line(&mut out, "Where reading began (what lies before was not asked for):");
        coverage.starts.iter().for_each(|one| start(&mut out, one));
        line(&mut out, "");
    }
    if coverage.gaps.is_empty() {
        line(&mut out, "Gaps: none. Nothing was left out.");
    } else {
        line(&mut out, &format!("Gaps: {}", coverage.gaps.len()));
        let numbered = (1..).zip(&coverage.gaps);
        numbered.for_each(|(number, one): (usize, _)| gap(&mut out, number, one));
    }
    line(&mut out, "\nNever in a binlog, so never examined:");
    coverage.blind.iter().for_each(|what| wrapped(&mut out, "  - ", what));
    out
}

fn server(out: &mut String, server: &Server) {
    let mut versions: Vec<&str> =
        server.intervals.iter().map(|one| one.server_version.as_str()).collect();
    versions.dedup();
    wrapped(out, "Server ", &format!("{} ({})", named(&server.server), versions.join(", ")));
    line(
        out,
        &format!(
            "  {:<16} {:<16} {:>10} {:>10} {:>10} {:>10}",
            "committed from", "until (UTC)", "transact.", "created", "updated", "deleted"
        ),
    );
    let is_daily = server.intervals.len() > LINES_MAX;
    let mut lines: Vec<Line<'_>> = Vec::new();
    for one in &server.intervals {
        match lines.last_mut() {
            Some(last) if is_daily && day(last.from) == day(&one.from) => last.add(one),
            _ => lines.push(Line::new(one)),
        }
    }
    lines.iter().for_each(|one| counts(out, minute(one.from), minute(one.until), &one.counts));
    let total = &server.total;
    let sums = [total.transactions, total.creates, total.updates, total.deletes];
    counts(out, "total", "", &sums);
    let Counts { statements, bytes, unwatched_bytes, .. } = total;
    wrapped(
        out,
        "  ",
        &format!(
            "{statements} statements; {} of transactions, {} of it rows of tables without a rule",
            size(*bytes),
            size(*unwatched_bytes)
        ),
    );
    if let (Some(first), Some(last)) = (server.intervals.first(), server.intervals.last()) {
        let text = format!("{} to {}", first.from_position, last.until_position);
        wrapped(out, "  positions ", &text);
    }
    if !server.gtids.is_empty() {
        wrapped(out, "  GTIDs ", &server.gtids);
    }
    if is_daily {
        line(out, "  (a line a day; --json has each hour)");
    }
    line(out, "");
}

/// One line of a server's table: an interval, or the sum of a day's.
struct Line<'a> {
    from: &'a str,
    until: &'a str,
    counts: [u64; 4],
}

impl<'a> Line<'a> {
    fn new(one: &'a Stretch) -> Self {
        let Counts { transactions, creates, updates, deletes, .. } = one.numbers;
        let counts = [transactions, creates, updates, deletes];
        Self { from: &one.from, until: &one.until, counts }
    }

    fn add(&mut self, one: &'a Stretch) {
        let more = Self::new(one);
        self.until = more.until;
        self.counts.iter_mut().zip(more.counts).for_each(|(sum, count)| *sum += count);
    }
}

fn counts(out: &mut String, from: &str, until: &str, counts: &[u64; 4]) {
    let [transactions, creates, updates, deletes] = counts;
    let text = format!(
        "  {:<16} {:<16} {transactions:>10} {creates:>10} {updates:>10} {deletes:>10}",
        from.replace('T', " "),
        until.replace('T', " "),
    );
    line(out, text.trim_end());
}

fn start(out: &mut String, start: &Start) {
    let server = named(&start.server);
    wrapped(out, "  - ", &format!("{}: server {server} at {}", start.reason, start.position));
    if !start.gtids_before.is_empty() {
        wrapped(out, "    after ", &start.gtids_before);
    }
}

fn gap(out: &mut String, number: usize, gap: &Gap) {
    wrapped(out, &format!("  {number}. "), &format!("{}: {}", gap.cause, gap.detail));
    let mut fact = |name: &str, text: &str| {
        if !text.is_empty() {
            wrapped(out, &format!("     {name:<9}"), text);
        }
    };
    fact("missing", &gap.missing);
    fact("table", &gap.table);
    fact("at", gap.position.as_deref().unwrap_or_default());
    fact("server", &named(&gap.server));
    let bytes = if gap.bytes == 0 { String::new() } else { size(gap.bytes) };
    fact("size", &bytes);
    fact("met", gap.met.as_deref().unwrap_or_default());
    fact("mend", gap.next_step);
}

/// A uuid as it is; an id as such.
fn named(server: &str) -> String {
    let is_id = !server.is_empty() && server.bytes().all(|byte| byte.is_ascii_digit());
    if is_id { format!("id {server}") } else { server.to_owned() }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// Breaks after blanks, commas and colons, so that sets of GTIDs fit, too; further lines are
/// indented as far as the head.
fn wrapped(out: &mut String, head: &str, text: &str) {
    let mut width = head.chars().count();
    let indent = " ".repeat(width);
    out.push_str(head);
    let start = width;
    for word in text.split_inclusive([' ', ',', ':']) {
        let needed = word.trim_end().chars().count();
        if width + needed > WIDTH && width > start {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.push_str(&indent);
            width = start;
        }
        out.push_str(word);
        width += word.chars().count();
    }
    out.push('\n');
}

/// `2026-11-24T10:59`.
fn minute(time: &str) -> &str {
    time.get(..16).unwrap_or(time)
}

fn day(time: &str) -> &str {
    time.get(..10).unwrap_or(time)
}

/// Bytes in a readable unit.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    if bytes < 1_000 {
        return format!("{bytes} bytes");
    }
    let mut rest = bytes;
    let mut unit = 0;
    while rest >= 1_000_000 && unit + 1 < UNITS.len() {
        rest /= 1_000;
        unit += 1;
    }
    format!("{}.{} {}", rest / 1_000, rest % 1_000 / 100, UNITS[unit])
}
