//! What an operator meets: doctor, wrong passwords, a second instance, `--once`.

use std::{fs, time::Duration};

use phiwatch_testkit::{Finished, Server, ocsf};

use crate::{
    program,
    shop::{READY, Shop},
};

fn doctor(shop: &Shop, change: impl Fn(String) -> String) -> Finished {
    let folder = shop.folder("doctor");
    let config = folder.join("phiwatch.toml");
    fs::write(&config, change(shop.config(&folder, &shop.kafka_sink()))).unwrap();
    program().run(&["doctor", "--config", config.to_str().unwrap()])
}

fn said(done: &Finished) -> String {
    [done.text(), &done.stderr].concat()
}

fn doctor_tells(server: Server) {
    let shop = Shop::new(server, "doctor");
    let _topic = shop.topic();
    server.fill(shop.database(), (10, 10));
    let good = doctor(&shop, |config| config).expect(0);
    assert!(said(&good).contains("kafka"), "{}", said(&good));

    let none = server.fresh_name("none");
    server.execute(&format!("SET sql_log_bin=0; CREATE USER {none}@'%' IDENTIFIED BY 'phi_repl'"));
    let poor = doctor(&shop, |config| config.replace("phi_repl@", &format!("{none}@")));
    server.execute(&format!("SET sql_log_bin=0; DROP USER {none}@'%'"));
    let poor = poor.expect(1);
    // The exact statement that mends it.
    assert!(said(&poor).contains("GRANT REPLICATION SLAVE"), "{}", said(&poor));

    let wrong = doctor(&shop, |config| {
        let password = shop.folder("doctor").join("wrong");
        fs::write(&password, "zq-not-the-password").unwrap();
        config.replace("doctor/password", "doctor/wrong")
    });
    let wrong = wrong.expect(1);
    assert!(said(&wrong).contains("Access denied"), "{}", said(&wrong));
    assert!(!said(&wrong).contains("zq-not-the-password"), "{}", said(&wrong));

    // A watched table without a key, seen by an account that may see tables.
    server.execute(&format!(
        "SET sql_log_bin=0; USE {}; ALTER TABLE newsletter_subscriber \
         MODIFY subscriber_id INT UNSIGNED NOT NULL, DROP PRIMARY KEY; CREATE TABLE own_notes (a INT)",
        shop.database()
    ));
    let keyless = doctor(&shop, |config| {
        fs::write(shop.folder("doctor").join("password"), "phi_admin").unwrap();
        config.replace("phi_repl@", "phi_admin@")
    });
    let keyless = keyless.expect(0);
    let table = format!("{}.newsletter_subscriber without a primary key", shop.database());
    assert!(said(&keyless).contains(&table), "{}", said(&keyless));
    assert!(!said(&keyless).contains("own_notes"), "{}", said(&keyless));

    let away = doctor(&shop, |config| config.replace(&shop.bootstrap, "127.0.0.1:1")).expect(1);
    assert!(said(&away).contains("127.0.0.1:1"), "{}", said(&away));
}

#[test]
fn mysql_doctor_tells() {
    doctor_tells(Server::MySql);
}

#[test]
fn mariadb_doctor_tells() {
    doctor_tells(Server::MariaDb);
}

#[test]
fn a_wrong_password_ends_a_run_at_once() {
    let shop = Shop::new(Server::MySql, "wrong");
    let folder = shop.folder("run");
    let config = shop.config(&folder, "");
    fs::write(folder.join("password"), "zq-not-the-password").unwrap();
    let mut daemon = program().follow(&folder, &config, &shop.listen, &[]);
    assert_eq!(daemon.wait_end(Duration::from_secs(20)), Some(1), "{}", daemon.log());
    let log = daemon.log();
    assert!(log.contains("Access denied") && log.contains("phi_repl"), "{log}");
    assert!(!log.contains("zq-not-the-password"), "{log}");
}

#[test]
fn a_second_instance_is_refused() {
    let shop = Shop::new(Server::MySql, "second");
    let _topic = shop.topic();
    let mut daemon = shop.follow(&[]);
    daemon.wait_ready(READY);
    let config = shop.folder("run").join("phiwatch.toml");
    let args = ["run", "--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let second = program().run(&args).expect(1);
    assert!(second.stderr.contains("in use by another phiwatch"), "{}", second.stderr);
    assert!(daemon.is_running(), "the first one goes on");
    assert_eq!(daemon.terminate(), Some(0));
}

/// `--once`: 0 when all was examined, 3 with a gap, and the gap is told once.
#[test]
fn once_tells_a_gap_by_its_code() {
    let server = Server::MariaDb;
    let shop = Shop::new(server, "once");
    let mut topic = shop.topic();
    server.fill(shop.database(), (10, 10));
    let once = || {
        let mut daemon = shop.follow(&["--once"]);
        (daemon.wait_end(Duration::from_secs(60)), daemon.log())
    };
    let (code, log) = once();
    assert_eq!(code, Some(0), "{log}");
    // A change in statement format has no rows: what it touched is not known.
    server.execute(&format!(
        "SET SESSION binlog_format=STATEMENT; USE {}; \
         UPDATE customer_entity SET lastname='Sample' WHERE entity_id=1",
        shop.database()
    ));
    let (code, log) = once();
    assert_eq!(code, Some(3), "{log}");
    let (code, log) = once();
    assert_eq!(code, Some(0), "{log}");
    topic.read_for(Duration::from_secs(2));
    let is_gap = |state: &ocsf::State| state.rule == "coverage-gap";
    assert_eq!(topic.states().into_iter().filter(is_gap).count(), 1);
}

/// Each way to start, stopped and started again: what came before it stays out, what comes after
/// is found once.
fn starts_are_kept(server: Server) {
    let shop = Shop::new(server, "start");
    server.fill(shop.database(), (20, 20));
    let _before = server.incidents(shop.database(), &["new-admin"]);
    for is_latest in [true, false] {
        let start = if is_latest { "latest".to_owned() } else { server.position() };
        let folder = shop.folder(if is_latest { "latest" } else { "position" });
        let lines = folder.join("alerts.jsonl");
        let sink = format!("[[sink]]\ntype = \"jsonl\"\npath = {lines:?}\n");
        let config = shop.config(&folder, &sink);
        let config = config.replace(&format!("{}:4", shop.first_binlog), &start);
        let once = || {
            let mut daemon = program().follow(&folder, &config, &shop.listen, &["--once"]);
            assert_eq!(daemon.wait_end(Duration::from_secs(60)), Some(0), "{}", daemon.log());
            fs::read_to_string(&lines).unwrap_or_default()
        };
        assert_eq!(once(), "", "{start}: nothing came after it");
        let made = server.incidents(shop.database(), &["ctas"]).remove(0);
        let found = ocsf::states(&once());
        assert_eq!(found.len(), 1, "{start}: {found:#?}");
        assert_eq!(found[0].gtids, [made.gtid.unwrap()], "{start}");
        assert_eq!(ocsf::states(&once()).len(), 1, "{start}: said again");
    }
}

#[test]
fn mysql_starts_are_kept() {
    starts_are_kept(Server::MySql);
}

#[test]
fn mariadb_starts_are_kept() {
    starts_are_kept(Server::MariaDb);
}

/// Rows of a live server and of its copied files are the same lines.
#[test]
fn decode_of_a_server_equals_its_files() {
    let shop = Shop::new(Server::MySql, "decode");
    shop.server.fill(shop.database(), (50, 50));
    let files = shop.server.copy_binlogs(&shop.first_binlog, &shop.folder("binlogs"));
    let from_files = program().run_on(&["decode"], &files).expect(0);
    let live = program().env("PHIWATCH_SOURCE_PASSWORD", "phi_repl").run(&[
        "decode",
        "--source",
        &shop.server.url("phi_repl"),
    ]);
    // Older files of the server hold what other tests did, statement format included.
    assert!(matches!(live.code, Some(0 | 3)), "{}", live.stderr);
    let ours = |text: &str| -> Vec<String> {
        let mark = format!("\"db\":\"{}\"", shop.database());
        text.lines().filter(|line| line.contains(&mark)).map(str::to_owned).collect()
    };
    let (live, from_files) = (ours(live.text()), ours(from_files.text()));
    assert!(from_files.len() > 300, "{}", from_files.len());
    assert!(live == from_files, "the rows differ");
}
