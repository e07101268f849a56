//! What the server's binlog holds: format, images, names, compression, checksums, numbers.

use super::{
    Flavor, ServerInfo,
    findings::{List, line, set, set_all},
};

/// The highest zstd level whose frames need a window that is read: 32 MiB.
const ZSTD_LEVEL_MAX: u32 = 20;

pub(super) fn check(info: &ServerInfo, list: &mut List) {
    log_bin(info, list);
    format(info, list);
    row_image(info, list);
    row_metadata(info, list);
    partial_json(info, list);
    compression(info, list);
    remarks(info, list);
    checksum(info, list);
    gtids(info, list);
    durability(info, list);
}

fn log_bin(info: &ServerInfo, list: &mut List) {
    if info.is_on("log_bin") {
        list.ok("log-bin", "the binary log is on");
    } else {
        let what = "the server writes no binary log: there is nothing to read";
        list.fail("log-bin", what, line("log_bin = binlog"));
    }
}

fn format(info: &ServerInfo, list: &mut List) {
    match info.variable("binlog_format") {
        // MySQL 9 is about to drop the variable: ROW is all it has then.
        "ROW" | "" => list.ok("binlog-format", "changes are logged as rows"),
        other => {
            let what =
                format!("binlog_format is {other}: some changes are logged as text, without rows");
            list.fail("binlog-format", what, set(info, "binlog_format", "'ROW'"));
        }
    }
}

fn row_image(info: &ServerInfo, list: &mut List) {
    let fix = set(info, "binlog_row_image", "'FULL'");
    match info.variable("binlog_row_image") {
        "FULL" => list.ok("row-image", "rows are logged whole"),
        "FULL_NODUP" => {
            list.warn("row-image", "unchanged columns stand in the before image only", fix);
        }
        other => {
            let what = format!(
                "binlog_row_image is {other}: a change may hold neither the person nor the tenant"
            );
            list.fail("row-image", what, fix);
        }
    }
}

fn row_metadata(info: &ServerInfo, list: &mut List) {
    match info.variable("binlog_row_metadata") {
        "FULL" => list.ok("row-metadata", "column names are in the log"),
        other => {
            let other = if other.is_empty() { "missing" } else { other };
            let what = format!(
                "binlog_row_metadata is {other}: column names come from information_schema, which \
                 shows tables as they are now, not as they were"
            );
            list.warn("row-metadata", what, set(info, "binlog_row_metadata", "'FULL'"));
        }
    }
}

fn partial_json(info: &ServerInfo, list: &mut List) {
    if info.variable("binlog_row_value_options").is_empty() {
        list.ok("row-value-options", "JSON columns are logged whole");
    } else {
        let what = "JSON updates are logged as differences, which say nothing where the value \
                    before is not in the log";
        list.warn("row-value-options", what, set(info, "binlog_row_value_options", "''"));
    }
}

fn compression(info: &ServerInfo, list: &mut List) {
    const LEVEL: &str = "binlog_transaction_compression_level_zstd";
    let level = info.variable(LEVEL).parse().unwrap_or(0_u32);
    let names = ["binlog_transaction_compression", "log_bin_compress"];
    let Some(name) = names.into_iter().find(|name| info.is_on(name)) else {
        return list.ok("compression", "transactions are not compressed");
    };
    if level > ZSTD_LEVEL_MAX && name != "log_bin_compress" {
        let what = format!(
            "{LEVEL} is {level}: levels over {ZSTD_LEVEL_MAX} need more than 32 MiB to inflate, so \
             that such transactions are not examined, each one a gap"
        );
        list.fail("compression", what, set(info, LEVEL, "3"));
    } else {
        list.ok("compression", format!("{name} is on, which is read as any other"));
    }
}

/// What is neither good nor bad, but should be known.
fn remarks(info: &ServerInfo, list: &mut List) {
    for name in ["binlog_encryption", "encrypt_binlog"] {
        if info.is_on(name) {
            let what = format!("{name} is on: following works, `replay` of the files does not");
            list.ok("encryption", what);
        }
    }
    for name in ["binlog_rows_query_log_events", "binlog_annotate_row_events"] {
        if info.is_on(name) {
            let what = format!("{name} is on: statement texts with patient data are in the log");
            list.ok("query-events", what);
        }
    }
}

fn checksum(info: &ServerInfo, list: &mut List) {
    if info.variable("binlog_checksum") == "CRC32" {
        list.ok("checksum", "events have checksums");
    } else {
        let what = "events have no checksum: damage may go unnoticed";
        list.warn("checksum", what, set(info, "binlog_checksum", "'CRC32'"));
    }
}

fn gtids(info: &ServerInfo, list: &mut List) {
    let steps = ["OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
    match (info.flavor, info.variable("gtid_mode")) {
        (Flavor::MariaDb, _) if info.variable("gtid_strict_mode").eq_ignore_ascii_case("OFF") => {
            let what = "gtid_strict_mode is off: numbers of a domain may go backwards, and what \
                        comes with a smaller one counts as examined";
            list.warn("gtid", what, set(info, "gtid_strict_mode", "ON"));
        }
        (Flavor::MariaDb, _) | (Flavor::MySql, "ON") => {
            list.ok("gtid", "transactions are numbered: reading survives a failover");
        }
        (Flavor::MySql, mode) => {
            let what = format!(
                "gtid_mode is {mode}: reading resumes by file and position, on this server only"
            );
            let mut values = vec![("enforce_gtid_consistency", "ON")];
            // From one mode to the next, not further.
            let done = steps.iter().position(|step| *step == mode).map_or(0, |at| at + 1);
            values.extend(steps.iter().skip(done).map(|step| ("gtid_mode", *step)));
            list.warn("gtid", what, set_all(info, &values));
        }
    }
}

fn durability(info: &ServerInfo, list: &mut List) {
    let is_one = |name: &&str| info.variable(name) == "1";
    let names = ["sync_binlog", "innodb_flush_log_at_trx_commit"];
    let loose: Vec<_> = names.into_iter().filter(|name| !is_one(name)).collect();
    if loose.is_empty() {
        return list.ok("durability", "each commit is on disk before it is read");
    }
    let what = format!(
        "{} is not 1: a crash of the server may lose transactions that were read, and another \
         transaction may get their numbers",
        loose.join(" and ")
    );
    let values: Vec<_> = loose.iter().map(|name| (*name, "1")).collect();
    list.warn("durability", what, set_all(info, &values));
}
