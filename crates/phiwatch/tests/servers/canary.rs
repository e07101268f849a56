//! Markers in every text and birth date column: none comes out anywhere.

use std::{fmt::Write as _, fs, time::Duration};

use phiwatch_testkit::{Program, Random, Server, binlog, http, program::all_bytes};

use crate::{
    program,
    shop::{READY, Shop},
};

/// Every marker begins so; nothing of ours does.
const MARKER: &str = "zqk";
/// A birth date that nobody has.
const BIRTH_DATE: &str = "1911-02-03";

/// A social security number that was withdrawn, in a comment.
const SOCIAL: &str = "219-09-9999";

/// A text column that can hold a marker, or a date.
struct Column {
    table: String,
    name: String,
    is_date: bool,
}

fn columns(shop: &Shop) -> Vec<Column> {
    let rows = shop.server.query(&format!(
        "SELECT table_name, column_name, data_type FROM information_schema.columns \
         WHERE table_schema = '{}' AND table_name NOT LIKE 'eav%' AND COALESCE(generation_expression, '') = '' \
         AND (data_type = 'date' OR (data_type LIKE '%text' OR data_type LIKE '%char' \
         OR data_type LIKE '%blob') AND character_maximum_length >= 12) \
         ORDER BY table_name, ordinal_position",
        shop.database()
    ));
    let column = |row: &str| {
        let mut parts = row.split('\t').map(str::to_owned);
        Column {
            table: parts.next().unwrap(),
            name: parts.next().unwrap(),
            is_date: parts.next().unwrap() == "date",
        }
    };
    rows.lines().map(column).collect()
}

/// Inserts a row of markers into every table, writes others over rows that are there, and deletes
/// some.
fn plant(shop: &Shop, columns: &[Column]) {
    let mut sql =
        format!("SET SESSION sql_mode='', foreign_key_checks=0; USE {};\n", shop.database());
    let mut number = 0;
    let mut marker = |column: &Column| {
        number += 1;
        if column.is_date { BIRTH_DATE.to_owned() } else { format!("{MARKER}{number:05}") }
    };
    let mut tables: Vec<&str> = columns.iter().map(|column| column.table.as_str()).collect();
    tables.dedup();
    for table in tables {
        let own: Vec<&Column> = columns.iter().filter(|column| column.table == table).collect();
        let names: Vec<String> = own.iter().map(|column| format!("`{}`", column.name)).collect();
        let values: Vec<String> =
            own.iter().map(|column| format!("'{}'", marker(column))).collect();
        let sets: Vec<String> =
            own.iter().map(|column| format!("`{}`='{}'", column.name, marker(column))).collect();
        // Within IGNORE: unique keys refuse some rows, which then keep what they had.
        writeln!(
            sql,
            "INSERT IGNORE INTO `{table}` ({}) VALUES ({});\n\
             UPDATE IGNORE `{table}` SET {} LIMIT 40;\n",
            names.join(","),
            values.join(","),
            sets.join(",")
        )
        .unwrap();
    }
    shop.server.execute(&sql);
}

/// Things that must be found, each with markers in it.
fn incidents(shop: &Shop) {
    let body = format!(
        r#"{{"entity":"customer","file_format":"csv","file_name":"{MARKER}file.csv","export_filter":"{{\"email\":\"{MARKER}mail\"}}"}}"#
    );
    let body = body.replace('\\', "\\\\");
    shop.server.execute(&format!(
        "SET SESSION sql_mode=''; USE {database};\n\
         CREATE TABLE staging AS SELECT entity_id,email,firstname,lastname,dob FROM customer_entity;\n\
         INSERT INTO staging SELECT entity_id,email,firstname,lastname,dob FROM customer_entity;\n\
         CREATE TABLE zz1 (a varchar(255), b varchar(255));\n\
         INSERT INTO zz1 SELECT email,CONCAT('{MARKER}',firstname) FROM customer_entity;\n\
         INSERT INTO sales_order_status_history (parent_id,comment,entity_name) \
         SELECT entity_id,'SSN {SOCIAL} of {MARKER}note','order' FROM sales_order LIMIT 3;\n\
         UPDATE sales_order_payment SET cc_number_enc='{MARKER}clear';\n\
         UPDATE customer_entity SET lastname='{MARKER}last', dob='{BIRTH_DATE}';\n\
         UPDATE IGNORE sales_order SET store_id=IF(store_id=2,1,2), customer_email='{MARKER}mail';\n\
         INSERT INTO queue_message (topic_name, body) VALUES ('import_export.export', '{body}');\n\
         REPLACE INTO core_config_data (scope,scope_id,path,value) VALUES \
         ('default',0,'admin/security/session_lifetime','86400'),\
         ('default',0,'trans_email/ident_general/email','{MARKER}mail@example.com'),\
         ('default',0,'sales_email/order/copy_to','{MARKER}mail@example.com'),\
         ('default',0,'design/head/includes','<script>{MARKER}</script>');\n\
         DELETE FROM customer_entity WHERE website_id=1 LIMIT 120;\n",
        database = shop.database(),
    ));
    let _made = shop
        .server
        .incidents(shop.database(), &["cross-tenant-order", "export-message", "new-admin"]);
}

#[track_caller]
fn check(place: &str, bytes: &[u8]) {
    let lower = bytes.to_ascii_lowercase();
    for marker in [MARKER, BIRTH_DATE, SOCIAL] {
        let at = lower.windows(marker.len()).position(|window| window == marker.as_bytes());
        let Some(at) = at else { continue };
        let around = at.saturating_sub(200)..(at + 60).min(bytes.len());
        panic!("a marker in {place}: {}", String::from_utf8_lossy(&bytes[around]));
    }
}

fn no_marker_comes_out(server: Server) {
    let shop = Shop::new(server, "canary");
    let mut topic = shop.topic();
    let talkative: Program = program().env("PHIWATCH_LOG", "debug");
    let mut daemon = shop.follow_as(&talkative, &[]);
    daemon.wait_ready(READY);
    server.fill(shop.database(), (150, 150));
    let _orders = server.load(shop.database(), 0, 2).finish();
    let columns = columns(&shop);
    assert!(columns.len() > 150, "{} columns", columns.len());
    plant(&shop, &columns);
    incidents(&shop);
    if server == Server::MariaDb {
        // The statement's text is in the log instead of rows.
        server.execute(&format!(
            "SET SESSION binlog_format=STATEMENT; USE {}; \
             UPDATE customer_entity SET lastname='{MARKER}statement' WHERE entity_id=1",
            shop.database()
        ));
    }
    let _last = server.incidents(shop.database(), &["session-lifetime"]);
    for rule in [
        "bulk-copy",
        "cross-tenant-write",
        "bulk-export",
        "config-weakened",
        "plaintext-phi",
        "phi-in-free-text",
    ] {
        let has = topic.read_until(Duration::from_secs(15), |messages| {
            messages.iter().any(|message| message.state().rule == rule)
        });
        assert!(has, "no {rule}: nothing is tested");
    }
    topic.read_for(Duration::from_secs(2));

    check("the metrics", daemon.metrics().as_bytes());
    check("the page", http::get(&daemon.listen, "/").body.as_bytes());
    for message in &topic.messages {
        check("an alert", format!("{message:?}").as_bytes());
        let page = http::get(&daemon.listen, &format!("/findings/{}", message.state().uid));
        assert_eq!(page.status, 200, "{}", page.head);
        check("the page of a finding", page.body.as_bytes());
    }
    // The store while it is in use (with its WAL), then after the last checkpoint.
    check_folder(&shop);
    assert_eq!(daemon.terminate(), Some(0));
    check_folder(&shop);
    damaged_copies(&shop);
}

/// Store, checkpoints, configuration, and what was said on both outputs.
fn check_folder(shop: &Shop) {
    let files = all_bytes(&shop.folder("run"));
    assert!(files.iter().any(|(path, _)| path.ends_with("phiwatch.sqlite")), "no store");
    assert!(files.iter().any(|(path, _)| path.ends_with("stderr.log")), "no log");
    for (path, bytes) in files {
        check(&path.display().to_string(), &bytes);
    }
}

/// Errors about damaged events name places, never what is there.
fn damaged_copies(shop: &Shop) {
    let folder = shop.folder("binlogs");
    let files = shop.server.copy_binlogs(&shop.first_binlog, &folder);
    let damaged = folder.join("damaged.000001");
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut bytes = fs::read(&files[0]).unwrap();
        let events = binlog::events(&bytes);
        for _ in 0..30 {
            let event = &events[random.index(events.len())];
            let body = binlog::body_bytes(&bytes, event);
            if body > 0 {
                let bit = u32::try_from(random.between(0, 8)).unwrap();
                binlog::flip_and_seal(&mut bytes, event, random.index(body), bit);
            }
        }
        fs::write(&damaged, bytes).unwrap();
        let decoded = program().run_on(&["decode"], &[&damaged]);
        assert!(!decoded.stderr.contains("panicked"), "seed {seed}: {}", decoded.stderr);
        check(&format!("decode's words, seed {seed}"), decoded.stderr.as_bytes());
        let replayed = shop.replay(std::slice::from_ref(&damaged));
        assert!(!replayed.stderr.contains("panicked"), "seed {seed}: {}", replayed.stderr);
        check(&format!("replay's words, seed {seed}"), replayed.stderr.as_bytes());
        check(&format!("replay's alerts, seed {seed}"), &replayed.stdout);
    }
}

#[test]
fn mysql_no_marker_comes_out() {
    no_marker_comes_out(Server::MySql);
}

#[test]
fn mariadb_no_marker_comes_out() {
    no_marker_comes_out(Server::MariaDb);
}
