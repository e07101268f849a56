//! A log without column names, and DDL while it is followed: the server is asked again.

use std::{fs, path::PathBuf, time::Duration};

use phiwatch_testkit::{Daemon, Server, ocsf::State};

use crate::{
    names::WithoutNames,
    program,
    shop::{READY, Shop},
};

const LIMIT: Duration = Duration::from_secs(90);

/// A shop whose log has no names, and an installation that follows it.
struct Followed {
    shop: Shop,
    lines: PathBuf,
    daemon: Daemon,
    _without: WithoutNames,
}

impl Followed {
    /// `account`: whose password is its name.
    fn new(server: Server, account: &str) -> Self {
        let mut shop = Shop::with_kafka(server, "again", "127.0.0.1:1");
        // Filled with names; the log that is read begins after it.
        server.fill(shop.database(), (200, 20));
        let without = WithoutNames::new(server);
        shop.first_binlog = server.new_binlog();
        let folder = shop.folder("run");
        let lines = folder.join("alerts.jsonl");
        let sink = format!("[[sink]]\ntype = \"jsonl\"\npath = {lines:?}\n");
        let config = shop.config(&folder, &sink).replace("phi_repl@", &format!("{account}@"));
        fs::write(folder.join("password"), format!("{account}\n")).unwrap();
        let daemon = program().follow(&folder, &config, &shop.listen, &[]);
        let mut followed = Self { shop, lines, daemon, _without: without };
        // What is there at the start is described, and read to its end.
        followed.daemon.wait_ready(READY);
        followed
    }

    fn sql(&self, sql: &str) {
        self.shop.server.execute(&format!("USE {}; {sql}", self.shop.database()));
    }

    fn states(&self) -> Vec<State> {
        states(&self.lines)
    }

    #[track_caller]
    fn wait_state(&mut self, what: &str, is_it: impl Fn(&State) -> bool) -> State {
        let lines = self.lines.clone();
        self.daemon.wait_for(what, LIMIT, |_| states(&lines).iter().any(&is_it));
        self.states().into_iter().find(is_it).unwrap()
    }

    /// Touches a table until the names that the server tells of it count; how often that was so
    /// before is `times`.
    #[track_caller]
    fn wait_names(&mut self, table: &str, touch: &str, times: usize) {
        let said = format!(
            "column names of the server count database=\"{}\" table=\"{table}\"",
            self.shop.database()
        );
        let (server, database) = (self.shop.server, self.shop.database().to_owned());
        self.daemon.wait_for(&said, LIMIT, |daemon| {
            server.execute(&format!("USE {database}; {touch}"));
            daemon.log().matches(&said).count() > times
        });
    }
}

fn states(lines: &PathBuf) -> Vec<State> {
    let text = fs::read_to_string(lines).unwrap_or_default();
    // The last line may be under way.
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| State::of(line.trim_end())).collect()
}

/// A row that no rule minds, in the table of settings.
const QUIET_SETTING: &str = "UPDATE core_config_data SET value = CONCAT(value, 'x') \
    WHERE path = 'phiwatch/test/quiet'";

fn weakened(path: &str) -> String {
    format!(
        "INSERT INTO core_config_data (scope, scope_id, path, value) VALUES ('default', 0, '{path}', '1');\
         UPDATE core_config_data SET value = '0' WHERE path = '{path}';"
    )
}

fn is_weakened(state: &State, path: &str) -> bool {
    state.rule == "config-weakened" && state.message.contains(path)
}

fn is_gap_of(state: &State, table: &str) -> bool {
    state.rule == "coverage-gap"
        && state.message.contains(table)
        && state.message.contains("columns without names")
}

fn asks_again_after_a_ddl(server: Server) {
    let mut followed = Followed::new(server, "phi_admin");
    followed.sql(
        "INSERT INTO core_config_data (scope, scope_id, path, value) \
         VALUES ('default', 0, 'phiwatch/test/quiet', 'x');",
    );
    followed.sql(&weakened("web/cookie/cookie_httponly"));
    followed.wait_state("a setting under its first columns", |state| {
        is_weakened(state, "web/cookie/cookie_httponly")
    });

    // Two texts more, the first of them before all others: by the old names everything is
    // something else. The second DDL makes what was asked after the first one old, and nobody asks
    // again at once: the row behind them has no names.
    followed.sql(&format!(
        "ALTER TABLE core_config_data ADD COLUMN note varchar(8) NOT NULL DEFAULT '' FIRST; \
         ALTER TABLE core_config_data ADD COLUMN more varchar(255) NOT NULL DEFAULT '' \
         AFTER scope_id; {QUIET_SETTING}"
    ));
    followed.wait_state("a gap behind the DDL", |state| is_gap_of(state, "core_config_data"));
    followed.wait_names("core_config_data", QUIET_SETTING, 0);
    followed.sql(&weakened("admin/security/use_form_key"));
    followed.wait_state("a setting under its second columns", |state| {
        is_weakened(state, "admin/security/use_form_key")
    });

    // Names change and types do not: nothing but the DDL tells.
    followed.sql("ALTER TABLE core_config_data CHANGE path other varchar(255) NOT NULL DEFAULT '', CHANGE more path varchar(255) NOT NULL DEFAULT '';");
    followed.wait_names(
        "core_config_data",
        "UPDATE core_config_data SET value = CONCAT(value, 'x') WHERE other = 'phiwatch/test/quiet'",
        1,
    );
    followed.sql(
        "INSERT INTO core_config_data (scope, scope_id, path, other, value) \
         VALUES ('default', 0, 'admin/captcha/enable', 'admin/security/password_is_forced', '1');\
         UPDATE core_config_data SET value = '0' WHERE path = 'admin/captcha/enable';",
    );
    followed.wait_state("a setting under its third columns", |state| {
        is_weakened(state, "admin/captcha/enable")
    });
    let states = followed.states();
    assert!(
        !states.iter().any(|state| state.message.contains("password_is_forced")),
        "{states:#?}"
    );
    assert_eq!(followed.daemon.terminate(), Some(0));
}

#[test]
fn field_09_names_are_asked_for_again_after_a_ddl_mysql() {
    asks_again_after_a_ddl(Server::MySql);
}

#[test]
fn field_09_names_are_asked_for_again_after_a_ddl_mariadb() {
    asks_again_after_a_ddl(Server::MariaDb);
}

/// The tenant is read by name also while the table is altered under load: never a guess.
fn persons_keep_their_tenant(server: Server) {
    let mut followed = Followed::new(server, "phi_admin");
    followed.sql("SET foreign_key_checks = 0; ALTER TABLE customer_entity ADD COLUMN points int unsigned FIRST");
    followed.wait_names(
        "customer_entity",
        "UPDATE customer_entity SET updated_at = updated_at + INTERVAL 1 SECOND WHERE website_id = 2 LIMIT 1",
        0,
    );
    followed
        .sql("UPDATE customer_entity SET lastname = CONCAT(lastname, 'x') WHERE website_id = 1");
    let state = followed.wait_state("the change of many", |state| state.rule == "bulk-change");
    assert_eq!(state.tenant, "website-1");
    let states = followed.states();
    assert!(!states.iter().any(|state| state.rule == "cross-tenant-write"), "{states:#?}");
    assert_eq!(followed.daemon.terminate(), Some(0));
}

#[test]
fn field_09_persons_keep_their_tenant_after_a_ddl_mysql() {
    persons_keep_their_tenant(Server::MySql);
}

#[test]
fn field_09_persons_keep_their_tenant_after_a_ddl_mariadb() {
    persons_keep_their_tenant(Server::MariaDb);
}

/// An account that may follow and nothing else.
fn says_which_grant_is_missing(server: Server) {
    let mut followed = Followed::new(server, "phi_repl");
    followed
        .sql("ALTER TABLE core_config_data ADD COLUMN note varchar(8) NOT NULL DEFAULT '' FIRST;");
    followed.sql(&weakened("web/cookie/cookie_httponly"));
    followed.wait_state("rows without names", |state| is_gap_of(state, "core_config_data"));
    let hidden = followed.wait_state("the missing grant", |state| {
        state.rule == "coverage-gap" && state.message.contains("GRANT")
    });
    let wanted = format!(
        "GRANT SELECT ON `{}`.`core_config_data` TO 'phi_repl'@'%';",
        followed.shop.database()
    );
    assert!(hidden.message.contains(&wanted), "{}", hidden.message);
    let state = followed.shop.folder("run").join("state");
    let arguments = ["coverage", "--json", "--state", state.to_str().unwrap()];
    let told = program().run(&arguments).expect(3);
    assert!(told.text().contains(&wanted), "{}", told.text());
    // The statement is what mends it.
    server.execute(&format!("SET sql_log_bin = 0; {wanted}"));
    followed.wait_names(
        "core_config_data",
        "INSERT INTO core_config_data (scope, scope_id, path, value) \
         VALUES ('default', 0, 'phiwatch/test/quiet', 'x') ON DUPLICATE KEY UPDATE value = CONCAT(value, 'x')",
        0,
    );
    followed.sql(&weakened("admin/security/use_form_key"));
    followed.wait_state("a setting after the grant", |state| {
        is_weakened(state, "admin/security/use_form_key")
    });
    let revoke = wanted.replace("GRANT", "REVOKE").replace(" TO ", " FROM ");
    server.execute(&format!("SET sql_log_bin = 0; {revoke}"));
    assert_eq!(followed.daemon.terminate(), Some(0));
}

#[test]
fn field_09_a_missing_grant_is_told_and_mends_mysql() {
    says_which_grant_is_missing(Server::MySql);
}

#[test]
fn field_09_a_missing_grant_is_told_and_mends_mariadb() {
    says_which_grant_is_missing(Server::MariaDb);
}
