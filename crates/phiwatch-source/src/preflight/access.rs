//! The account, the connection and the clocks.

use super::{Flavor, ServerInfo, Severity, findings::List};

/// Event times are the server's: a clock further off than this makes alerts look late or early.
const CLOCK_OFF_MS_MAX: i64 = 5_000;
/// So long before its end a certificate should be renewed.
const CERTIFICATE_DAYS_MIN: i64 = 30;
const DAY_SECS: i64 = 86_400;

pub(super) fn check(info: &ServerInfo, list: &mut List) {
    grants(info, list);
    tls(info, list);
    certificate(info, list);
    clock(info, list);
    let what = "a privileged session with sql_log_bin = 0 leaves no trace in the log; nobody can see it here";
    list.ok("unlogged-sessions", what);
}

fn grants(info: &ServerInfo, list: &mut List) {
    let text = info.grants.join("\n").to_ascii_uppercase();
    let global = |name: &str| {
        text.lines().any(|line| {
            line.contains(" ON *.* ")
                && (line.contains(name) || line.starts_with("GRANT ALL PRIVILEGES"))
        })
    };
    let (status, needed) = match info.flavor {
        Flavor::MySql => ("REPLICATION CLIENT", "REPLICATION SLAVE, REPLICATION CLIENT"),
        Flavor::MariaDb => ("BINLOG MONITOR", "REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR"),
    };
    let has_status = global(status) || global("REPLICATION CLIENT") || info.binary_logs.is_some();
    // A role's grants are not listed here.
    let severity = if text.lines().any(|line| !line.contains(" ON ")) {
        Severity::Warn
    } else {
        Severity::Fail
    };
    let fix = format!("GRANT {needed} ON *.* TO {};", account(info));
    if !global("REPLICATION SLAVE") && !global("REPLICATION REPLICA") {
        let what = "the account may not read the binlog: REPLICATION SLAVE is missing";
        list.bad("grants", severity, what, fix);
    } else if has_status {
        list.ok("grants", "the account may read the binlog and its status");
    } else {
        let what = format!(
            "the account may not see the list of binlogs: {status} is missing, so that nobody can \
             tell when they are purged, or what is filtered"
        );
        list.warn("grants", what, fix);
    }
    let selects = |line: &str| line.contains("SELECT") || line.contains("ALL PRIVILEGES");
    if text.lines().any(selects) {
        list.ok("select", "the account may read tables");
    } else {
        let fix = format!("GRANT SELECT ON `shop`.* TO {}; -- the shop's database", account(info));
        let what =
            "the account may not read tables: stores and column names must come from the log";
        list.warn("select", what, fix);
    }
}

/// Our account as the grants write it.
pub(super) fn account(info: &ServerInfo) -> String {
    let name = info.grants.first().and_then(|grant| {
        let (_, to) = grant.rsplit_once(" TO ")?;
        Some(to.split(" WITH ").next()?.trim().to_owned())
    });
    name.unwrap_or_else(|| "the account".to_owned())
}

fn tls(info: &ServerInfo, list: &mut List) {
    if info.is_encrypted {
        list.ok("tls", "the connection is encrypted");
    } else {
        let what =
            "the connection is not encrypted: rows with patient data cross the network in clear";
        list.warn("tls", what, "tls = \"required\" -- in phiwatch.toml, [source]");
    }
}

fn certificate(info: &ServerInfo, list: &mut List) {
    let Some(secs) = info.certificate_secs else { return };
    let days = secs.div_euclid(DAY_SECS);
    // Without a word on the statement: 5.7 and MariaDB before 10.4 need a restart.
    let fix = match info.flavor {
        Flavor::MySql => {
            "ALTER INSTANCE RELOAD TLS; -- after renewing the files of ssl_cert and ssl_key"
        }
        Flavor::MariaDb => "FLUSH SSL; -- after renewing the files of ssl_cert and ssl_key",
    };
    if secs < 0 {
        let what = format!(
            "the server's certificate expired {} days ago: tls = \"required\" refuses it",
            -days
        );
        list.warn("certificate", what, fix);
    } else if days < CERTIFICATE_DAYS_MIN {
        let what = format!(
            "the server's certificate expires in {days} days: from then on tls = \"required\" \
             refuses it, and reading ends"
        );
        list.warn("certificate", what, fix);
    } else {
        list.ok("certificate", format!("the server's certificate is good for {days} days"));
    }
}

fn clock(info: &ServerInfo, list: &mut List) {
    let ahead = info.clock_ahead_ms;
    if ahead.saturating_abs() <= CLOCK_OFF_MS_MAX {
        list.ok("clock", "the server's clock and ours agree");
    } else {
        let what = format!(
            "the server's clock is {} s ahead of ours: alerts bear its times",
            ahead / 1_000
        );
        list.warn("clock", what, "timedatectl set-ntp true -- on both machines");
    }
}
