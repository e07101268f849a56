//! What is good or bad about a server as a source, and the statement that mends it.

use super::{Flavor, ServerInfo};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works, with less certainty or comfort.
    Warn,
    /// Reading would fail, or changes would be missed.
    Fail,
}

/// One checked property of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Name of the check: lower case, dashes.
    pub name: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What was found, in a sentence.
    pub what: String,
    /// The statement that mends it.
    pub fix: Option<String>,
}

/// A retention below this does not outlive a long weekend.
const RETENTION_HOURS_MIN: f64 = 72.0;
/// Event times are the server's: a clock further off than this makes alerts look late or early.
const CLOCK_OFF_MS_MAX: i64 = 5_000;

/// Checks a server for a reader with this `server_id`.
#[must_use]
pub fn findings(info: &ServerInfo, server_id: u32) -> Vec<Finding> {
    let mut list = Vec::new();
    let checks: [fn(&ServerInfo, &mut Vec<Finding>); 14] = [
        version,
        log_bin,
        format,
        row_image,
        row_metadata,
        partial_json,
        checksum,
        gtids,
        durability,
        retention,
        replica,
        filters,
        grants,
        session,
    ];
    for check in checks {
        check(info, &mut list);
    }
    ids(info, server_id, &mut list);
    list
}

fn ok(list: &mut Vec<Finding>, name: &'static str, what: impl Into<String>) {
    list.push(Finding { name, severity: Severity::Ok, what: what.into(), fix: None });
}

fn bad(
    list: &mut Vec<Finding>,
    name: &'static str,
    severity: Severity,
    what: impl Into<String>,
    fix: &str,
) {
    let fix = (!fix.is_empty()).then(|| fix.to_owned());
    list.push(Finding { name, severity, what: what.into(), fix });
}

/// The statement that sets a global variable for good on this server.
fn set(info: &ServerInfo, variable: &str, value: &str) -> String {
    match info.flavor {
        Flavor::MySql => format!("SET PERSIST {variable} = {value};"),
        Flavor::MariaDb => {
            format!("SET GLOBAL {variable} = {value}; -- and {variable} = {value} under [mariadbd]")
        }
    }
}

fn version(info: &ServerInfo, list: &mut Vec<Finding>) {
    let mut numbers = info.version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    let version = (next(), next());
    let (name, oldest) = match info.flavor {
        Flavor::MySql => ("MySQL", (5, 7)),
        Flavor::MariaDb => ("MariaDB", (10, 5)),
    };
    let what = format!("{name} {}", info.version);
    if version >= oldest {
        ok(list, "version", what);
    } else {
        let what =
            format!("{what} is older than {}.{}, the oldest that is tested", oldest.0, oldest.1);
        bad(list, "version", Severity::Warn, what, "");
    }
}

fn log_bin(info: &ServerInfo, list: &mut Vec<Finding>) {
    if info.variable("log_bin").eq_ignore_ascii_case("ON") {
        ok(list, "log-bin", "the binary log is on");
    } else {
        let fix = "log_bin = binlog -- in the server's configuration, then restart it";
        bad(list, "log-bin", Severity::Fail, "the server writes no binary log", fix);
    }
}

fn format(info: &ServerInfo, list: &mut Vec<Finding>) {
    match info.variable("binlog_format") {
        // MySQL 9 is about to drop the variable: ROW is all it has then.
        "ROW" | "" => ok(list, "binlog-format", "changes are logged as rows"),
        other => {
            let what =
                format!("binlog_format is {other}: some changes are logged as text, without rows");
            bad(list, "binlog-format", Severity::Fail, what, &set(info, "binlog_format", "'ROW'"));
        }
    }
}

fn row_image(info: &ServerInfo, list: &mut Vec<Finding>) {
    match info.variable("binlog_row_image") {
        "FULL" => ok(list, "row-image", "rows are logged whole"),
        "FULL_NODUP" => {
            let what = "unchanged columns stand in the before image only";
            bad(list, "row-image", Severity::Warn, what, &set(info, "binlog_row_image", "'FULL'"));
        }
        other => {
            let what = format!(
                "binlog_row_image is {other}: a change may hold neither the person nor the tenant"
            );
            bad(list, "row-image", Severity::Fail, what, &set(info, "binlog_row_image", "'FULL'"));
        }
    }
}

fn row_metadata(info: &ServerInfo, list: &mut Vec<Finding>) {
    match info.variable("binlog_row_metadata") {
        "FULL" => ok(list, "row-metadata", "column names are in the log"),
        other => {
            let other = if other.is_empty() { "missing" } else { other };
            let what = format!(
                "binlog_row_metadata is {other}: column names come from information_schema, which \
                 shows tables as they are now, not as they were"
            );
            let fix = set(info, "binlog_row_metadata", "'FULL'");
            bad(list, "row-metadata", Severity::Warn, what, &fix);
        }
    }
}

fn partial_json(info: &ServerInfo, list: &mut Vec<Finding>) {
    if info.variable("binlog_row_value_options").is_empty() {
        ok(list, "row-value-options", "JSON columns are logged whole");
    } else {
        let what = "JSON updates are logged as differences";
        let fix = set(info, "binlog_row_value_options", "''");
        bad(list, "row-value-options", Severity::Warn, what, &fix);
    }
    for name in ["binlog_transaction_compression", "log_bin_compress"] {
        if info.variable(name).eq_ignore_ascii_case("ON") {
            ok(list, "compression", format!("{name} is on, which is read as any other"));
        }
    }
    for name in ["binlog_encryption", "encrypt_binlog"] {
        if info.variable(name).eq_ignore_ascii_case("ON") {
            let what = format!("{name} is on: following works, `replay` of the files does not");
            ok(list, "encryption", what);
        }
    }
    for name in ["binlog_rows_query_log_events", "binlog_annotate_row_events"] {
        if info.variable(name).eq_ignore_ascii_case("ON") {
            let what = format!("{name} is on: statement texts with patient data are in the log");
            ok(list, "query-events", what);
        }
    }
}

fn checksum(info: &ServerInfo, list: &mut Vec<Finding>) {
    if info.variable("binlog_checksum") == "CRC32" {
        ok(list, "checksum", "events have checksums");
    } else {
        let what = "events have no checksum: damage may go unnoticed";
        bad(list, "checksum", Severity::Warn, what, "SET GLOBAL binlog_checksum = 'CRC32';");
    }
}

fn gtids(info: &ServerInfo, list: &mut Vec<Finding>) {
    match (info.flavor, info.variable("gtid_mode")) {
        (Flavor::MariaDb, _) if info.variable("gtid_strict_mode").eq_ignore_ascii_case("OFF") => {
            let what = "gtid_strict_mode is off: numbers of a domain may go backwards";
            bad(list, "gtid", Severity::Warn, what, &set(info, "gtid_strict_mode", "ON"));
        }
        (Flavor::MariaDb, _) | (Flavor::MySql, "ON") => {
            ok(list, "gtid", "transactions are numbered: reading survives a failover");
        }
        (Flavor::MySql, mode) => {
            let what = format!(
                "gtid_mode is {mode}: reading resumes by file and position, on this server only"
            );
            let fix = "SET PERSIST enforce_gtid_consistency = ON; SET PERSIST gtid_mode = \
                       OFF_PERMISSIVE; SET PERSIST gtid_mode = ON_PERMISSIVE; SET PERSIST gtid_mode = ON;";
            bad(list, "gtid", Severity::Warn, what, fix);
        }
    }
}

fn durability(info: &ServerInfo, list: &mut Vec<Finding>) {
    if info.variable("sync_binlog") == "1" {
        ok(list, "durability", "each commit is on disk before it is read");
    } else {
        let what =
            "sync_binlog is not 1: a crash of the server may lose transactions that were read";
        bad(list, "durability", Severity::Warn, what, &set(info, "sync_binlog", "1"));
    }
}

fn retention(info: &ServerInfo, list: &mut Vec<Finding>) {
    // MariaDB allows fractions of a day.
    let number = |name: &str| info.variable(name).parse::<f64>().unwrap_or(0.0);
    let hours = match number("binlog_expire_logs_seconds") {
        0.0 => number("expire_logs_days") * 24.0,
        secs => secs / 3_600.0,
    };
    if info.variable("binlog_expire_logs_auto_purge").eq_ignore_ascii_case("OFF") || hours == 0.0 {
        ok(list, "retention", "the server purges no binlogs by itself");
    } else if hours >= RETENTION_HOURS_MIN {
        ok(list, "retention", format!("binlogs are kept for {:.1} days", hours / 24.0));
    } else {
        let what = format!(
            "binlogs are kept for {hours:.1} hours only: a longer stop of phiwatch leaves a gap"
        );
        let fix = set(info, "binlog_expire_logs_seconds", "604800");
        bad(list, "retention", Severity::Warn, what, &fix);
    }
}

fn replica(info: &ServerInfo, list: &mut Vec<Finding>) {
    if info.replica_status.is_none() {
        return;
    }
    let logs = ["log_replica_updates", "log_slave_updates"];
    if logs.iter().any(|name| info.variable(name).eq_ignore_ascii_case("ON")) {
        ok(list, "replica-updates", "this replica logs what it receives");
    } else {
        let name = match info.flavor {
            Flavor::MySql => "log_replica_updates",
            Flavor::MariaDb => "log_slave_updates",
        };
        let fix = format!("{name} = ON -- in the server's configuration, then restart it");
        let what =
            "this replica does not log what it receives: its binlog lacks the shop's changes";
        bad(list, "replica-updates", Severity::Fail, what, &fix);
    }
}

fn filters(info: &ServerInfo, list: &mut Vec<Finding>) {
    let Some(status) = &info.replica_status else { return };
    let active: Vec<_> = status
        .iter()
        .filter(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let is_filter = ["_do_", "_ignore_"].iter().any(|word| name.contains(word));
            name.starts_with("replicate_")
                && is_filter
                && !name.contains("server_ids")
                && !value.is_empty()
        })
        .map(|(name, _)| name.as_str())
        .collect();
    if active.is_empty() {
        ok(list, "replication-filters", "this replica filters nothing");
    } else {
        let what = format!("this replica filters by {}: changes may be missing", active.join(", "));
        let fix = "CHANGE REPLICATION FILTER REPLICATE_DO_DB = (), REPLICATE_IGNORE_DB = ();";
        bad(list, "replication-filters", Severity::Warn, what, fix);
    }
}

fn grants(info: &ServerInfo, list: &mut Vec<Finding>) {
    let text = info.grants.join("\n").to_ascii_uppercase();
    let global = |name: &str| {
        text.lines().any(|line| {
            line.contains(" ON *.* ")
                && (line.contains(name) || line.starts_with("GRANT ALL PRIVILEGES"))
        })
    };
    let status = match info.flavor {
        Flavor::MySql => "REPLICATION CLIENT",
        Flavor::MariaDb => "BINLOG MONITOR",
    };
    let has_status = global(status) || global("REPLICATION CLIENT") || info.binary_logs.is_some();
    // A role's grants are not listed here.
    let severity = if text.lines().any(|line| !line.contains(" ON ")) {
        Severity::Warn
    } else {
        Severity::Fail
    };
    let fix = format!("GRANT REPLICATION SLAVE, {status} ON *.* TO CURRENT_USER();");
    let fix = fix.replace("CURRENT_USER()", &account(info));
    if !global("REPLICATION SLAVE") && !global("REPLICATION REPLICA") {
        let what = "the account may not read the binlog: REPLICATION SLAVE is missing";
        bad(list, "grants", severity, what, &fix);
    } else if has_status {
        ok(list, "grants", "the account may read the binlog and its status");
    } else {
        let what = format!("the account may not see the list of binlogs: {status} is missing");
        bad(list, "grants", Severity::Warn, what, &fix);
    }
    let selects = |line: &str| line.contains("SELECT") || line.contains("ALL PRIVILEGES");
    if text.lines().any(selects) {
        ok(list, "select", "the account may read tables");
    } else {
        let fix = format!("GRANT SELECT ON `shop`.* TO {}; -- the shop's database", account(info));
        let what =
            "the account may not read tables: stores and column names must come from the log";
        bad(list, "select", Severity::Warn, what, &fix);
    }
}

/// Our account as the grants write it.
fn account(info: &ServerInfo) -> String {
    let name = info.grants.first().and_then(|grant| {
        let (_, to) = grant.rsplit_once(" TO ")?;
        Some(to.split(" WITH ").next()?.trim().to_owned())
    });
    name.unwrap_or_else(|| "the account".to_owned())
}

fn session(info: &ServerInfo, list: &mut Vec<Finding>) {
    if info.is_encrypted {
        ok(list, "tls", "the connection is encrypted");
    } else {
        let what =
            "the connection is not encrypted: rows with patient data cross the network in clear";
        bad(list, "tls", Severity::Warn, what, "tls = \"required\" -- in phiwatch.toml, [source]");
    }
    let ahead = info.clock_ahead_ms;
    if ahead.saturating_abs() <= CLOCK_OFF_MS_MAX {
        ok(list, "clock", "the server's clock and ours agree");
    } else {
        let what = format!("the server's clock is {} s ahead of ours", ahead / 1_000);
        bad(list, "clock", Severity::Warn, what, "timedatectl set-ntp true -- on both machines");
    }
    let what = "a privileged session with sql_log_bin = 0 leaves no trace in the log; nobody can see it here";
    ok(list, "unlogged-sessions", what);
}

fn ids(info: &ServerInfo, server_id: u32, list: &mut Vec<Finding>) {
    let fix = "server_id = <a free number> -- in phiwatch.toml, [source]";
    if info.server_id == 0 {
        let what = "the server's own server_id is 0: it accepts no replicas";
        bad(list, "server-id", Severity::Fail, what, &set(info, "server_id", "1"));
    } else if server_id == 0 || server_id == info.server_id {
        let what = format!("server_id {server_id} is the server's own, or none");
        bad(list, "server-id", Severity::Fail, what, fix);
    } else if info.replicas.as_ref().is_some_and(|ids| ids.contains(&server_id)) {
        let what = format!(
            "a replica with server_id {server_id} is connected: another phiwatch, or this one running"
        );
        bad(list, "server-id", Severity::Warn, what, fix);
    } else {
        ok(list, "server-id", format!("server_id {server_id} is free"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn info(flavor: Flavor, settings: &[(&str, &str)]) -> ServerInfo {
        let good = [
            ("log_bin", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_row_image", "FULL"),
            ("binlog_row_metadata", "FULL"),
            ("binlog_row_value_options", ""),
            ("binlog_checksum", "CRC32"),
            ("gtid_mode", "ON"),
            ("sync_binlog", "1"),
            ("binlog_expire_logs_seconds", "2592000"),
        ];
        let variables: BTreeMap<_, _> = good
            .iter()
            .chain(settings)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        ServerInfo {
            flavor,
            version: "10.11.18-MariaDB".to_owned(),
            server_id: 1,
            server_uuid: None,
            variables,
            gtid_executed: String::new(),
            gtid_purged: String::new(),
            binary_logs: Some(Vec::new()),
            grants: vec![
                "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `phi`@`%`".to_owned(),
                "GRANT SELECT ON `shop`.* TO `phi`@`%`".to_owned(),
            ],
            replicas: Some(vec![7]),
            replica_status: None,
            clock_ahead_ms: 100,
            is_encrypted: true,
        }
    }

    /// Names and severities of all that is not good.
    #[track_caller]
    fn check(info: &ServerInfo, server_id: u32, want: &[(&str, Severity)]) {
        let list = findings(info, server_id);
        let got: Vec<_> = list
            .iter()
            .filter(|finding| finding.severity > Severity::Ok)
            .map(|finding| (finding.name, finding.severity))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn good_server_has_no_bad_findings() {
        check(&info(Flavor::MySql, &[]), 9, &[]);
        check(&info(Flavor::MariaDb, &[("gtid_mode", ""), ("gtid_strict_mode", "ON")]), 9, &[]);
    }

    #[test]
    fn each_bad_setting_is_found() {
        use Severity::{Fail, Warn};
        for (name, value, finding, severity) in [
            ("log_bin", "OFF", "log-bin", Fail),
            ("binlog_format", "MIXED", "binlog-format", Fail),
            ("binlog_format", "STATEMENT", "binlog-format", Fail),
            ("binlog_row_image", "MINIMAL", "row-image", Fail),
            ("binlog_row_image", "NOBLOB", "row-image", Fail),
            ("binlog_row_image", "FULL_NODUP", "row-image", Warn),
            ("binlog_row_metadata", "NO_LOG", "row-metadata", Warn),
            ("binlog_row_value_options", "PARTIAL_JSON", "row-value-options", Warn),
            ("binlog_checksum", "NONE", "checksum", Warn),
            ("gtid_mode", "OFF", "gtid", Warn),
            ("sync_binlog", "0", "durability", Warn),
            ("binlog_expire_logs_seconds", "3600", "retention", Warn),
        ] {
            check(&info(Flavor::MySql, &[(name, value)]), 9, &[(finding, severity)]);
        }
        check(&info(Flavor::MySql, &[]), 1, &[("server-id", Fail)]);
        check(&info(Flavor::MySql, &[]), 7, &[("server-id", Warn)]);
    }

    #[test]
    fn replica_must_log_what_it_receives() {
        let mut replica = info(Flavor::MySql, &[("log_replica_updates", "OFF")]);
        replica.replica_status =
            Some(BTreeMap::from([("Replicate_Do_DB".to_owned(), "other".to_owned())]));
        let want = [("replica-updates", Severity::Fail), ("replication-filters", Severity::Warn)];
        check(&replica, 9, &want);
    }

    #[test]
    fn missing_grants_are_found_and_the_fix_names_the_account() {
        let mut server = info(Flavor::MariaDb, &[("gtid_strict_mode", "ON")]);
        server.grants = vec!["GRANT USAGE ON *.* TO `phi`@`%`".to_owned()];
        check(&server, 9, &[("grants", Severity::Fail), ("select", Severity::Warn)]);
        let fixes: Vec<_> =
            findings(&server, 9).into_iter().filter_map(|finding| finding.fix).collect();
        assert_eq!(fixes[0], "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `phi`@`%`;");
        server.grants =
            vec!["GRANT ALL PRIVILEGES ON *.* TO `phi`@`%` WITH GRANT OPTION".to_owned()];
        check(&server, 9, &[]);
    }
}
