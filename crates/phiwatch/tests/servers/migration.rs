//! Online schema changes on real servers, in the statements of the tools that make them.

use phiwatch_testkit::{Server, ocsf::State};

use crate::shop::Shop;

const TABLE: &str = "customer_entity";

fn shop(server: Server, what: &str) -> Shop {
    let shop = Shop::with_kafka(server, what, "127.0.0.1:1");
    server.fill(shop.database(), (300, 300));
    shop
}

fn columns(shop: &Shop) -> String {
    let sql = format!(
        "SET SESSION group_concat_max_len = 65536; SELECT GROUP_CONCAT('`', column_name, '`' ORDER BY \
         ordinal_position) FROM information_schema.columns WHERE table_schema = '{}' AND table_name = '{TABLE}'",
        shop.database()
    );
    shop.server.query(&sql).trim().to_owned()
}

/// Copies the table chunk by chunk: `head` is the INSERT up to the shadow's name.
fn chunks(shop: &Shop, head: &str, shadow: &str) -> String {
    let (database, columns) = (shop.database(), columns(shop));
    let chunk = |from: u32| {
        format!(
            "{head} `{database}`.`{shadow}` ({columns}) (SELECT {columns} FROM `{database}`.`{TABLE}` FORCE INDEX \
             (`PRIMARY`) WHERE entity_id > {from} AND entity_id <= {} LOCK IN SHARE MODE);",
            from + 100
        )
    };
    (0..8).map(|n| chunk(n * 100)).collect()
}

/// gh-ost: changelog, shadow, chunks, changes carried over by the tool, cut-over.
fn gh_ost(shop: &Shop) -> String {
    let (database, columns) = (shop.database(), columns(shop));
    let copy = chunks(shop, "INSERT /* gh-ost */ IGNORE INTO", "_customer_entity_gho");
    format!(
        "create /* gh-ost */ table `{database}`.`_{TABLE}_ghc` (id bigint auto_increment, last_update timestamp not \
         null DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, hint varchar(64) charset ascii not null, value \
         varchar(4096) charset ascii not null, primary key(id), unique key hint_uidx(hint)) auto_increment=256;\
         insert /* gh-ost */ into `{database}`.`_{TABLE}_ghc` (id, hint, value) values (2, 'state', \
         'GhostTableMigrated') on duplicate key update last_update=NOW(), value=VALUES(value);\
         create /* gh-ost */ table `{database}`.`_{TABLE}_gho` like `{database}`.`{TABLE}`;\
         alter /* gh-ost */ table `{database}`.`_{TABLE}_gho` add column `loyalty_level` int;\
         {copy}\
         update `{database}`.`{TABLE}` set firstname = 'Changed' where entity_id = 7;\
         replace /* gh-ost */ into `{database}`.`_{TABLE}_gho` ({columns}) select {columns} from \
         `{database}`.`{TABLE}` where entity_id = 7;\
         create /* gh-ost */ table `{database}`.`_{TABLE}_del` (id int auto_increment primary key) engine=InnoDB \
         comment='ghost-cut-over-sentry';\
         drop /* gh-ost */ table if exists `{database}`.`_{TABLE}_del`;\
         rename /* gh-ost */ table `{database}`.`{TABLE}` to `{database}`.`_{TABLE}_del`, \
         `{database}`.`_{TABLE}_gho` to `{database}`.`{TABLE}`;\
         drop /* gh-ost */ table if exists `{database}`.`_{TABLE}_ghc`;\
         drop /* gh-ost */ table if exists `{database}`.`_{TABLE}_del`;"
    )
}

/// pt-online-schema-change: shadow by its columns, three triggers, chunks, swap.
fn pt_osc(shop: &Shop) -> String {
    let (database, columns) = (shop.database(), columns(shop));
    let copy = chunks(shop, "INSERT LOW_PRIORITY IGNORE INTO", "_customer_entity_new");
    let new =
        columns.replace('`', "").split(',').map(|name| format!("NEW.`{name}`")).collect::<Vec<_>>();
    let new = new.join(", ");
    let create = shop.server.query(&format!("SHOW CREATE TABLE {database}.{TABLE}"));
    // The tool renames the constraints; a shadow without them does for us.
    let create = create.split_once('\t').unwrap().1.replace("\\n", "\n");
    let body: Vec<&str> = create.lines().filter(|line| !line.contains("CONSTRAINT")).collect();
    let body = body.join("\n").replace(",\n)", "\n)");
    let body = body.split_once('(').unwrap().1.replace("`email` varchar", "\n `email` varchar");
    let trigger = |short: &str, event: &str, code: &str| {
        format!(
            "CREATE TRIGGER `{database}`.`pt_osc_{short}` AFTER {event} ON `{database}`.`{TABLE}` FOR EACH ROW {code}"
        )
    };
    let gone = format!("DELETE IGNORE FROM `{database}`.`_{TABLE}_new` WHERE");
    let put = format!("REPLACE INTO `{database}`.`_{TABLE}_new` ({columns}) VALUES ({new})");
    let triggers = [
        trigger("del", "DELETE", &format!("{gone} `{database}`.`_{TABLE}_new`.`entity_id` <=> OLD.`entity_id`;")),
        "\nDELIMITER //\n".to_owned(),
        trigger(
            "upd",
            "UPDATE",
            &format!("BEGIN {gone} !(OLD.`entity_id` <=> NEW.`entity_id`) AND `{database}`.`_{TABLE}_new`.`entity_id` <=> OLD.`entity_id`; {put}; END//\n"),
        ),
        "DELIMITER ;\n".to_owned(),
        trigger("ins", "INSERT", &format!("{put};")),
    ]
    .concat();
    format!(
        "CREATE TABLE `{database}`.`_{TABLE}_new` ({body};\n\
         ALTER TABLE `{database}`.`_{TABLE}_new` ADD COLUMN `loyalty_level` int;\n\
         {triggers}\n\
         {copy}\n\
         UPDATE `{database}`.`{TABLE}` SET firstname = 'Changed' WHERE entity_id = 7;\n\
         ANALYZE TABLE `{database}`.`_{TABLE}_new` /* pt-online-schema-change */;\n\
         RENAME TABLE `{database}`.`{TABLE}` TO `{database}`.`_{TABLE}_old`, `{database}`.`_{TABLE}_new` TO \
         `{database}`.`{TABLE}`;\n\
         DROP TABLE IF EXISTS `{database}`.`_{TABLE}_old`;\n\
         DROP TRIGGER IF EXISTS `{database}`.`pt_osc_del`; DROP TRIGGER IF EXISTS `{database}`.`pt_osc_upd`;\n\
         DROP TRIGGER IF EXISTS `{database}`.`pt_osc_ins`;\n"
    )
}

/// By hand: a table like it, all rows at once, swap.
fn rebuild(shop: &Shop) -> String {
    let database = shop.database();
    format!(
        "USE {database}; CREATE TABLE {TABLE}_new LIKE {TABLE}; INSERT INTO {TABLE}_new SELECT * FROM {TABLE};\
         RENAME TABLE {TABLE} TO {TABLE}_old, {TABLE}_new TO {TABLE}; DROP TABLE {TABLE}_old;"
    )
}

/// What is found from the migration on, without what setting up the shop is told for.
fn found(shop: &Shop, first: &str) -> Vec<State> {
    let all = shop.server.copy_binlogs(&shop.first_binlog, &shop.folder("binlogs"));
    let before: Vec<_> = all
        .iter()
        .filter(|file| file.file_name().unwrap().to_str().unwrap() < first)
        .cloned()
        .collect();
    let states = |files: &[std::path::PathBuf]| -> Vec<State> {
        shop.replay(files).expect(0).text().lines().map(State::of).collect()
    };
    let known: Vec<String> = states(&before).iter().map(State::id).collect();
    states(&all).into_iter().filter(|state| !known.contains(&state.id())).collect()
}

fn briefs(states: &[State]) -> Vec<String> {
    states
        .iter()
        .map(|state| format!("{} {} {}", state.rule, state.tenant, state.severity))
        .collect()
}

/// The migration is quiet, and the table's rules go on after it under its name.
fn followed(server: Server, statements: impl Fn(&Shop) -> String) {
    let shop = shop(server, "osc");
    let sql = statements(&shop);
    let first = server.new_binlog();
    server.execute(&format!("SET foreign_key_checks = 0; {sql}"));
    let after = found(&shop, &first);
    assert_eq!(briefs(&after), Vec::<String>::new(), "{after:#?}");
    server.execute(&format!(
        "USE {}; UPDATE {TABLE} SET website_id = 2 WHERE entity_id = 7;\
         UPDATE {TABLE} SET lastname = CONCAT(lastname, 'x') WHERE website_id = 1",
        shop.database()
    ));
    let after = found(&shop, &first);
    let rules: Vec<(&str, &str)> =
        after.iter().map(|state| (state.rule.as_str(), state.tenant.as_str())).collect();
    assert_eq!(
        rules,
        [("cross-tenant-write", "website-2"), ("bulk-change", "website-1")],
        "{after:#?}"
    );
}

#[test]
fn field_39_rules_follow_a_swapped_table_gh_ost() {
    followed(Server::MySql, gh_ost);
    followed(Server::MariaDb, gh_ost);
}

#[test]
fn field_39_rules_follow_a_swapped_table_pt_online_schema_change() {
    followed(Server::MySql, pt_osc);
    followed(Server::MariaDb, pt_osc);
}

#[test]
fn field_39_rules_follow_a_swapped_table_rebuilt_by_hand() {
    followed(Server::MySql, rebuild);
    followed(Server::MariaDb, rebuild);
}

/// The same copy under the same name, but it never takes the table's place.
#[test]
fn a_shadow_that_is_dropped_instead_of_swapped_in_is_a_copy() {
    for server in [Server::MySql, Server::MariaDb] {
        let shop = shop(server, "forged");
        let first = server.new_binlog();
        let (database, copy) =
            (shop.database(), chunks(&shop, "INSERT IGNORE INTO", "_customer_entity_gho"));
        server.execute(&format!(
            "CREATE TABLE {database}._{TABLE}_gho LIKE {database}.{TABLE}; {copy} DROP TABLE {database}._{TABLE}_gho"
        ));
        let found = found(&shop, &first);
        assert_eq!(briefs(&found), ["bulk-copy global 4"], "{found:#?}");
        assert!(found[0].message.contains("is gone without having taken its place"));
    }
}
