//! What is good or bad about a server as a source, and the statement that mends it.

use std::collections::BTreeMap;

use super::{Flavor, ServerInfo, access, logging, topology};

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
    /// What was found, and why it matters, in a sentence.
    pub what: String,
    /// The statement that mends it, or the line of a configuration file.
    pub fix: Option<String>,
}

/// What a server is to be used for.
#[derive(Debug, Clone, Copy)]
pub struct Intent<'a> {
    /// Our id as a replica.
    pub server_id: u32,
    /// Databases that are watched; empty if none is known.
    pub databases: &'a [String],
    /// Of their watched tables those without a key: database and name.
    pub keyless: &'a [(String, String)],
}

/// Checks a server for a reader.
#[must_use]
pub fn findings(info: &ServerInfo, intent: &Intent<'_>) -> Vec<Finding> {
    let mut list = List::default();
    version(info, &mut list);
    logging::check(info, &mut list);
    topology::check(info, intent, &mut list);
    keys(info, intent.keyless, &mut list);
    access::check(info, &mut list);
    list.0
}

/// Findings so far.
#[derive(Debug, Default)]
pub(super) struct List(Vec<Finding>);

impl List {
    pub(super) fn ok(&mut self, name: &'static str, what: impl Into<String>) {
        self.0.push(Finding { name, severity: Severity::Ok, what: what.into(), fix: None });
    }

    pub(super) fn warn(
        &mut self,
        name: &'static str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.bad(name, Severity::Warn, what, fix);
    }

    pub(super) fn fail(
        &mut self,
        name: &'static str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.bad(name, Severity::Fail, what, fix);
    }

    pub(super) fn bad(
        &mut self,
        name: &'static str,
        severity: Severity,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let fix = Some(fix.into()).filter(|fix| !fix.is_empty());
        self.0.push(Finding { name, severity, what: what.into(), fix });
    }
}

/// The statement that sets a global variable for good on this server.
pub(super) fn set(info: &ServerInfo, variable: &str, value: &str) -> String {
    set_all(info, &[(variable, value)])
}

/// The same for several, in this order.
pub(super) fn set_all(info: &ServerInfo, values: &[(&str, &str)]) -> String {
    let (word, section) = match info.flavor {
        Flavor::MySql if info.release() >= (8, 0, 0) => ("PERSIST", None),
        Flavor::MySql => ("GLOBAL", Some("mysqld")),
        Flavor::MariaDb => ("GLOBAL", Some("mariadbd")),
    };
    let statements: Vec<_> = values
        .iter()
        .map(|(variable, value)| format!("SET {word} {variable} = {value};"))
        .collect();
    let statements = statements.join(" ");
    let Some(section) = section else { return statements };
    // At its start a server takes the last value at once.
    let last: BTreeMap<_, _> = values.iter().copied().collect();
    let lines: Vec<_> = last
        .iter()
        .map(|(variable, value)| format!("{variable} = {}", value.trim_matches('\'')))
        .collect();
    let lines = lines.join(", ");
    format!("{statements} -- and {lines} under [{section}] in the server's configuration")
}

/// A line of the server's configuration that counts from its next start on.
pub(super) fn line(text: &str) -> String {
    format!("{text} -- in the server's configuration, then restart it")
}

fn version(info: &ServerInfo, list: &mut List) {
    let (name, oldest) = match info.flavor {
        Flavor::MySql => ("MySQL", (5, 7, 0)),
        Flavor::MariaDb => ("MariaDB", (10, 5, 0)),
    };
    let what = format!("{name} {}", info.version);
    if info.release() >= oldest {
        list.ok("version", what);
    } else {
        let (major, minor, _) = oldest;
        list.warn(
            "version",
            format!("{what} is older than {major}.{minor}, the oldest that is tested"),
            "",
        );
    }
}

/// Tables that are told at most.
const KEYLESS_MAX: usize = 5;

fn keys(info: &ServerInfo, keyless: &[(String, String)], list: &mut List) {
    let Some((database, table)) = keyless.first() else {
        return list.ok("primary-keys", "no watched table that the account sees lacks a key");
    };
    let names: Vec<_> = keyless
        .iter()
        .take(KEYLESS_MAX)
        .map(|(database, table)| format!("{database}.{table}"))
        .collect();
    let more = match keyless.len().saturating_sub(KEYLESS_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = format!(
        "{}{more} without a primary key: which row a change concerns cannot be told from the log, \
         and a replica searches the whole table for each row and falls behind",
        names.join(", ")
    );
    let is_hidden = match info.flavor {
        Flavor::MySql => info.release() >= (8, 0, 23),
        Flavor::MariaDb => true,
    };
    // A column that SELECT * and INSERT without names do not meet.
    let hidden = if is_hidden { " INVISIBLE" } else { "" };
    let column = format!("row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT{hidden}");
    let name = |text: &str| format!("`{}`", text.replace('`', "``"));
    let fix = format!(
        "ALTER TABLE {}.{} ADD COLUMN {column}, ADD PRIMARY KEY (row_id);{}",
        name(database),
        name(table),
        if keyless.len() > 1 { " -- the same for the others" } else { "" }
    );
    list.warn("primary-keys", what, fix);
}

#[cfg(test)]
mod tests {
    use super::{super::Retention, *};

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// A good server with other settings.
    fn info(flavor: Flavor, settings: &[(&str, &str)]) -> ServerInfo {
        let mut variables = map(&[
            ("log_bin", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_row_image", "FULL"),
            ("binlog_row_metadata", "FULL"),
            ("binlog_row_value_options", ""),
            ("binlog_checksum", "CRC32"),
            ("binlog_transaction_compression_level_zstd", "3"),
            ("gtid_mode", "ON"),
            ("gtid_strict_mode", "ON"),
            ("sync_binlog", "1"),
            ("innodb_flush_log_at_trx_commit", "1"),
            ("binlog_expire_logs_seconds", "2592000"),
            ("log_replica_updates", "ON"),
            ("log_slave_updates", "ON"),
        ]);
        variables.extend(map(settings));
        let retention = Retention::from_settings(&variables);
        let version = match flavor {
            Flavor::MySql => "9.7.4",
            Flavor::MariaDb => "10.11.18-MariaDB",
        };
        ServerInfo {
            flavor,
            version: version.to_owned(),
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
            channels: Some(Vec::new()),
            binlog_filters: Some([String::new(), String::new()]),
            binlogs_kept: retention.age,
            binlogs_bytes_max: retention.bytes_max,
            is_managed: false,
            clock_ahead_ms: 100,
            is_encrypted: true,
            certificate_secs: Some(90 * 86_400),
        }
    }

    fn of(info: &ServerInfo, server_id: u32) -> Vec<Finding> {
        findings(info, &Intent { server_id, databases: &["shop".to_owned()], keyless: &[] })
    }

    /// Names and severities of all that is not good; each says what mends it.
    #[track_caller]
    fn check(info: &ServerInfo, server_id: u32, want: &[(&str, Severity)]) -> Vec<String> {
        let list = of(info, server_id);
        let bad = list.iter().filter(|finding| finding.severity > Severity::Ok);
        let got: Vec<_> = bad.clone().map(|finding| (finding.name, finding.severity)).collect();
        assert_eq!(got, want);
        bad.map(|finding| finding.fix.clone().unwrap()).collect()
    }

    #[test]
    fn good_server_has_no_bad_findings() {
        for flavor in [Flavor::MySql, Flavor::MariaDb] {
            check(&info(flavor, &[]), 9, &[]);
        }
    }

    /// Name and value of a variable, the finding, its severity, and the statement that mends it.
    const BAD: [(&str, &str, &str, Severity, &str); 16] = {
        use Severity::{Fail, Warn};
        [
            ("log_bin", "OFF", "log-bin", Fail, "log_bin = binlog -- "),
            ("binlog_format", "MIXED", "binlog-format", Fail, "binlog_format = 'ROW'"),
            ("binlog_format", "STATEMENT", "binlog-format", Fail, "binlog_format = 'ROW'"),
            ("binlog_row_image", "MINIMAL", "row-image", Fail, "binlog_row_image = 'FULL'"),
            ("binlog_row_image", "NOBLOB", "row-image", Fail, "binlog_row_image = 'FULL'"),
            ("binlog_row_image", "FULL_NODUP", "row-image", Warn, "binlog_row_image = 'FULL'"),
            ("binlog_row_metadata", "NO_LOG", "row-metadata", Warn, "metadata = 'FULL'"),
            ("binlog_row_metadata", "MINIMAL", "row-metadata", Warn, "metadata = 'FULL'"),
            (
                "binlog_row_value_options",
                "PARTIAL_JSON",
                "row-value-options",
                Warn,
                "binlog_row_value_options = ''",
            ),
            ("binlog_checksum", "NONE", "checksum", Warn, "binlog_checksum = 'CRC32'"),
            ("sync_binlog", "0", "durability", Warn, "sync_binlog = 1"),
            (
                "innodb_flush_log_at_trx_commit",
                "2",
                "durability",
                Warn,
                "innodb_flush_log_at_trx_commit = 1",
            ),
            ("binlog_expire_logs_seconds", "3600", "retention", Warn, "seconds = 604800"),
            ("max_binlog_total_size", "1000000", "retention-size", Warn, "total_size = 0"),
            ("gtid_mode", "OFF", "gtid", Warn, "gtid_mode = OFF_PERMISSIVE; SET PERSIST"),
            ("gtid_mode", "ON_PERMISSIVE", "gtid", Warn, "gtid_mode = ON;"),
        ]
    };

    #[test]
    fn each_bad_setting_is_found_with_the_statement_that_mends_it() {
        for (name, value, finding, severity, fix) in BAD {
            let fixes = check(&info(Flavor::MySql, &[(name, value)]), 9, &[(finding, severity)]);
            assert!(fixes[0].contains(fix), "{name} = {value}: {}", fixes[0]);
        }
        let loose = info(Flavor::MariaDb, &[("gtid_strict_mode", "OFF")]);
        let fixes = check(&loose, 9, &[("gtid", Severity::Warn)]);
        assert!(fixes[0].starts_with("SET GLOBAL gtid_strict_mode = ON;"), "{}", fixes[0]);
        assert!(fixes[0].contains("under [mariadbd]"), "{}", fixes[0]);
        let fixes = check(&info(Flavor::MySql, &[]), 1, &[("server-id", Severity::Fail)]);
        assert!(fixes[0].contains("phiwatch.toml"));
        check(&info(Flavor::MySql, &[]), 7, &[("server-id", Severity::Warn)]);
        // Several statements are one line that can be run.
        let settings = [("sync_binlog", "0"), ("innodb_flush_log_at_trx_commit", "2")];
        let fixes = check(&info(Flavor::MariaDb, &settings), 9, &[("durability", Severity::Warn)]);
        assert_eq!(
            fixes[0],
            "SET GLOBAL sync_binlog = 1; SET GLOBAL innodb_flush_log_at_trx_commit = 1; -- and \
             innodb_flush_log_at_trx_commit = 1, sync_binlog = 1 under [mariadbd] in the server's \
             configuration"
        );
    }

    /// 5.7 has no SET PERSIST, and knows days only.
    #[test]
    fn statements_are_those_of_the_servers_version() {
        let mut old = info(Flavor::MySql, &[("binlog_row_image", "MINIMAL")]);
        old.version = "5.7.44-log".to_owned();
        old.variables.remove("binlog_expire_logs_seconds");
        old.binlogs_kept = Some(std::time::Duration::from_secs(86_400));
        let want = [("row-image", Severity::Fail), ("retention", Severity::Warn)];
        let fixes = check(&old, 9, &want);
        assert!(fixes[0].starts_with("SET GLOBAL binlog_row_image = 'FULL'; -- and "));
        assert!(fixes[0].contains("binlog_row_image = FULL under [mysqld]"), "{}", fixes[0]);
        assert!(fixes[1].starts_with("SET GLOBAL expire_logs_days = 7;"), "{}", fixes[1]);
        old.is_managed = true;
        assert!(check(&old, 9, &want)[1].starts_with("CALL mysql.rds_set_configuration("));
    }

    #[test]
    fn compression_that_cannot_be_inflated_fails() {
        const LEVEL: &str = "binlog_transaction_compression_level_zstd";
        for (compression, level, want) in [
            ("ON", "20", &[][..]),
            ("ON", "21", &[("compression", Severity::Fail)]),
            ("ON", "22", &[("compression", Severity::Fail)]),
            ("OFF", "22", &[]),
        ] {
            let settings = [("binlog_transaction_compression", compression), (LEVEL, level)];
            let fixes = check(&info(Flavor::MySql, &settings), 9, want);
            let fix = format!("SET PERSIST {LEVEL} = 3;");
            assert_eq!(fixes, vec![fix; want.len()], "{settings:?}");
        }
    }

    #[test]
    fn replica_must_log_what_it_receives() {
        for (flavor, name) in
            [(Flavor::MySql, "log_replica_updates"), (Flavor::MariaDb, "log_slave_updates")]
        {
            let mut replica = info(flavor, &[(name, "OFF")]);
            if flavor == Flavor::MariaDb {
                replica.variables.remove("log_replica_updates");
            }
            check(&replica, 9, &[]);
            replica.channels = Some(vec![BTreeMap::new()]);
            let fixes = check(&replica, 9, &[("replica", Severity::Fail)]);
            assert!(fixes[0].starts_with(&format!("{name} = ON -- in the server's conf")));
        }
    }

    #[test]
    fn who_may_not_see_replication_is_told_the_grant() {
        for (flavor, grant) in
            [(Flavor::MySql, "REPLICATION CLIENT"), (Flavor::MariaDb, "SLAVE MONITOR")]
        {
            let mut blind = info(flavor, &[]);
            blind.channels = None;
            let fixes = check(&blind, 9, &[("replica", Severity::Warn)]);
            assert_eq!(fixes, [format!("GRANT {grant} ON *.* TO `phi`@`%`;")]);
        }
    }

    /// A filter that hits the watched database loses data; another one may.
    #[test]
    fn filters_of_any_channel_are_found() {
        use Severity::{Fail, Warn};
        for (name, value, severity, mysql, mariadb) in [
            ("Replicate_Do_DB", "a,shop", Warn, "REPLICATE_DO_DB = ()", "replicate_do_db = ''"),
            ("Replicate_Do_DB", "other", Fail, "REPLICATE_DO_DB = ()", "replicate_do_db = ''"),
            ("Replicate_Ignore_DB", "x,Shop", Fail, "_IGNORE_DB = ()", "_ignore_db = ''"),
            ("Replicate_Ignore_DB", "x", Warn, "_IGNORE_DB = ()", "_ignore_db = ''"),
            ("Replicate_Wild_Ignore_Table", "s%.log", Warn, "_TABLE = ()", "_table = ''"),
            ("Replicate_Ignore_Domain_Ids", "1", Warn, "_IDS = ()", "MASTER TO IGNORE_DOMAIN_IDS"),
        ] {
            for (flavor, fix) in [(Flavor::MySql, mysql), (Flavor::MariaDb, mariadb)] {
                let mut replica = info(flavor, &[]);
                let ring = map(&[("Replicate_Ignore_Server_Ids", "4"), ("Replicate_Do_DB", "")]);
                replica.channels = Some(vec![ring, map(&[(name, value)])]);
                let fixes = check(&replica, 9, &[("replication-filters", severity)]);
                assert!(fixes[0].contains(fix), "{name}: {}", fixes[0]);
            }
        }
        for (filters, severity, fix) in [
            (["other", ""], Fail, "remove binlog_do_db -- "),
            (["shop", "test"], Warn, "remove binlog_do_db and binlog_ignore_db -- "),
            (["", "shop"], Fail, "remove binlog_ignore_db -- "),
        ] {
            let mut server = info(Flavor::MySql, &[]);
            server.binlog_filters = Some(filters.map(str::to_owned));
            let fixes = check(&server, 9, &[("binlog-filters", severity)]);
            assert!(fixes[0].starts_with(fix), "{}", fixes[0]);
        }
    }

    #[test]
    fn tables_without_a_key_are_named_with_a_statement() {
        let list = |count: usize| -> Vec<(String, String)> {
            (0..count).map(|number| ("shop".to_owned(), format!("t{number}"))).collect()
        };
        let key = |flavor, keyless: &[(String, String)]| {
            let intent = Intent { server_id: 9, databases: &[], keyless };
            let all = findings(&info(flavor, &[]), &intent);
            all.into_iter().find(|finding| finding.name == "primary-keys").unwrap()
        };
        assert_eq!(key(Flavor::MySql, &[]).severity, Severity::Ok);
        let one = key(Flavor::MariaDb, &list(1));
        assert_eq!(one.severity, Severity::Warn);
        let fix = "ALTER TABLE `shop`.`t0` ADD COLUMN row_id BIGINT UNSIGNED NOT NULL \
                   AUTO_INCREMENT INVISIBLE, ADD PRIMARY KEY (row_id);";
        assert_eq!(one.fix.unwrap(), fix);
        let many = key(Flavor::MySql, &list(7));
        assert!(many.what.starts_with("shop.t0, shop.t1, shop.t2, shop.t3, shop.t4 and 2 more"));
        assert!(many.fix.unwrap().ends_with("the same for the others"));
    }

    #[test]
    fn certificate_is_told_before_it_ends() {
        const DAY: i64 = 86_400;
        for (secs, says) in [
            (30 * DAY, None),
            (30 * DAY - 1, Some("expires in 29 days")),
            (-1, Some("expired 1 days ago")),
            (-10 * DAY, Some("expired 10 days ago")),
        ] {
            let mut server = info(Flavor::MySql, &[]);
            server.certificate_secs = Some(secs);
            let all = of(&server, 9);
            let found = all.iter().find(|finding| finding.name == "certificate").unwrap();
            match says {
                None => assert_eq!(found.severity, Severity::Ok),
                Some(says) => {
                    assert_eq!(found.severity, Severity::Warn);
                    assert!(found.what.contains(says), "{}", found.what);
                    assert!(found.fix.as_ref().unwrap().starts_with("ALTER INSTANCE RELOAD TLS;"));
                }
            }
        }
    }

    #[test]
    fn missing_grants_are_found_and_the_fix_names_the_account() {
        let mut server = info(Flavor::MariaDb, &[]);
        server.grants = vec!["GRANT USAGE ON *.* TO `phi`@`%`".to_owned()];
        let want = [("grants", Severity::Fail), ("select", Severity::Warn)];
        let fixes = check(&server, 9, &want);
        assert_eq!(
            fixes[0],
            "GRANT REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR ON *.* TO `phi`@`%`;"
        );
        server.grants =
            vec!["GRANT ALL PRIVILEGES ON *.* TO `phi`@`%` WITH GRANT OPTION".to_owned()];
        check(&server, 9, &[]);
    }

    #[test]
    fn connection_and_clock_are_checked() {
        let mut server = info(Flavor::MySql, &[]);
        (server.is_encrypted, server.certificate_secs) = (false, None);
        server.clock_ahead_ms = -6_000;
        let fixes = check(&server, 9, &[("tls", Severity::Warn), ("clock", Severity::Warn)]);
        assert!(fixes[0].starts_with("tls = \"required\"") && fixes[1].starts_with("timedatectl"));
    }
}
