//! The server among others: what it keeps, what it receives, what it filters, who else reads.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Flavor, ServerInfo, Severity, access,
    findings::{Intent, List, line, set},
};

/// A retention below this does not outlive a long weekend.
const RETENTION_MIN: Duration = Duration::from_secs(72 * 3_600);
const HOUR_SECS: f64 = 3_600.0;

pub(super) fn check(info: &ServerInfo, intent: &Intent<'_>, list: &mut List) {
    retention(info, list);
    replica(info, list);
    replication_filters(info, intent.databases, list);
    binlog_filters(info, intent.databases, list);
    ids(info, intent.server_id, list);
}

fn retention(info: &ServerInfo, list: &mut List) {
    match info.binlogs_kept {
        None => list.ok("retention", "the server purges no binlogs because of their age"),
        Some(kept) if kept >= RETENTION_MIN => {
            let days = kept.as_secs_f64() / (24.0 * HOUR_SECS);
            list.ok("retention", format!("binlogs are kept for {days:.1} days"));
        }
        Some(kept) => {
            let hours = kept.as_secs_f64() / HOUR_SECS;
            let what = format!(
                "binlogs are kept for {hours:.1} hours only: a longer stop of phiwatch leaves a gap"
            );
            list.warn("retention", what, longer(info));
        }
    }
    if let Some(bytes) = info.binlogs_bytes_max {
        let what = format!(
            "the server drops the oldest binlogs beyond {bytes} bytes, however young: a burst of \
             changes may push out what was not read yet"
        );
        list.warn("retention-size", what, set(info, "max_binlog_total_size", "0"));
    }
}

/// Seven days.
fn longer(info: &ServerInfo) -> String {
    if info.is_managed {
        return "CALL mysql.rds_set_configuration('binlog retention hours', 168);".to_owned();
    }
    let has_seconds = info.variables.contains_key("binlog_expire_logs_seconds");
    if has_seconds {
        set(info, "binlog_expire_logs_seconds", "604800")
    } else {
        set(info, "expire_logs_days", "7")
    }
}

fn replica(info: &ServerInfo, list: &mut List) {
    let Some(channels) = &info.channels else {
        let grant = match info.flavor {
            Flavor::MySql => "REPLICATION CLIENT",
            Flavor::MariaDb => "SLAVE MONITOR",
        };
        let what = format!(
            "the account may not see whether this server is a replica ({grant} is missing): what \
             it filters, how far it lags and whether it may still receive what it lacks is unknown"
        );
        let fix = format!("GRANT {grant} ON *.* TO {};", access::account(info));
        return list.warn("replica", what, fix);
    };
    if channels.is_empty() {
        return list.ok("replica", "the server is no replica");
    }
    let name = match info.flavor {
        Flavor::MySql if info.variables.contains_key("log_replica_updates") => {
            "log_replica_updates"
        }
        _ => "log_slave_updates",
    };
    if info.is_on(name) {
        list.ok("replica", "this replica logs what it receives");
    } else {
        let what =
            "this replica does not log what it receives: its binlog lacks the shop's changes";
        list.fail("replica", what, line(&format!("{name} = ON")));
    }
}

/// Filters of a replica that are set: name and value, each once.
fn active(channels: &[BTreeMap<String, String>]) -> BTreeMap<&str, &str> {
    channels
        .iter()
        .flatten()
        .filter(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let is_filter = ["_do_", "_ignore_"].iter().any(|word| name.contains(word));
            // Replicate_Ignore_Server_Ids keeps a ring from going round.
            let is_ring = name.contains("server_ids");
            name.starts_with("replicate_") && is_filter && !is_ring && !value.is_empty()
        })
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

fn replication_filters(info: &ServerInfo, databases: &[String], list: &mut List) {
    let Some(channels) = info.channels.as_deref().filter(|channels| !channels.is_empty()) else {
        return;
    };
    let active = active(channels);
    if active.is_empty() {
        return list.ok("replication-filters", "this replica filters nothing");
    }
    let worst = active.iter().map(|(name, value)| loss(name, value, databases)).max();
    let names: Vec<_> = active.keys().copied().collect();
    let what = format!(
        "this replica filters by {}: what it keeps out is missing without a trace",
        names.join(", ")
    );
    let fix = unfilter(info.flavor, &names);
    list.bad("replication-filters", worst.unwrap_or(Severity::Warn), what, fix);
}

/// The statements that end filters, without those that are not set.
fn unfilter(flavor: Flavor, names: &[&str]) -> String {
    let upper = |name: &&str| name.to_ascii_uppercase();
    if flavor == Flavor::MySql {
        let lists: Vec<_> = names.iter().map(|name| format!("{} = ()", upper(name))).collect();
        return format!(
            "STOP REPLICA SQL_THREAD; CHANGE REPLICATION FILTER {}; START REPLICA SQL_THREAD; -- \
             and without the same lines in the server's configuration",
            lists.join(", ")
        );
    }
    let mut fix = "STOP ALL SLAVES;".to_owned();
    for name in names {
        if name.ends_with("Domain_Ids") {
            let list = upper(name).replace("REPLICATE_", "");
            fix += &format!(" CHANGE MASTER TO {list} = ();");
        } else {
            fix += &format!(" SET GLOBAL {} = '';", name.to_ascii_lowercase());
        }
    }
    fix + " START ALL SLAVES; -- and without the same lines in the server's configuration"
}

/// How bad a list of databases is for those that are watched.
fn loss(name: &str, value: &str, databases: &[String]) -> Severity {
    let name = name.to_ascii_lowercase();
    let listed =
        |database: &String| value.split(',').any(|one| one.trim().eq_ignore_ascii_case(database));
    let is_lost = match () {
        () if databases.is_empty() => return Severity::Warn,
        () if name.ends_with("_do_db") => !databases.iter().all(listed),
        () if name.ends_with("_ignore_db") => databases.iter().any(listed),
        // Patterns of tables, domains: which ones they hit is not judged.
        () => return Severity::Warn,
    };
    if is_lost { Severity::Fail } else { Severity::Warn }
}

fn binlog_filters(info: &ServerInfo, databases: &[String], list: &mut List) {
    let Some([only, never]) = &info.binlog_filters else {
        return;
    };
    let set = [("binlog_do_db", only), ("binlog_ignore_db", never)];
    let active: Vec<_> = set.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    if active.is_empty() {
        return list.ok("binlog-filters", "the binary log holds every database");
    }
    let worst = active.iter().map(|(name, value)| loss(name, value, databases)).max();
    let texts: Vec<_> = active.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let names: Vec<_> = active.iter().map(|(name, _)| *name).collect();
    let what = format!(
        "{}: changes of other databases, or of sessions that have chosen another one, are not in \
         the log",
        texts.join(", ")
    );
    let fix = line(&format!("remove {}", names.join(" and ")));
    list.bad("binlog-filters", worst.unwrap_or(Severity::Warn), what, fix);
}

fn ids(info: &ServerInfo, server_id: u32, list: &mut List) {
    let fix = "server_id = <a free number> -- in phiwatch.toml, [source]";
    if info.server_id == 0 {
        let what = "the server's own server_id is 0: it accepts no replicas";
        list.fail("server-id", what, set(info, "server_id", "1"));
    } else if server_id == 0 || server_id == info.server_id {
        let what = format!("server_id {server_id} is the server's own, or none");
        list.fail("server-id", what, fix);
    } else if info.replicas.as_ref().is_some_and(|ids| ids.contains(&server_id)) {
        let what = format!(
            "a replica with server_id {server_id} is connected: another phiwatch, or this one \
             running; two would take the stream from each other"
        );
        list.warn("server-id", what, fix);
    } else if info.replicas.is_none() {
        let what = format!(
            "server_id {server_id} is not the server's own; whether another replica has it the \
             account may not see"
        );
        list.ok("server-id", what);
    } else {
        list.ok("server-id", format!("server_id {server_id} is free"));
    }
}
