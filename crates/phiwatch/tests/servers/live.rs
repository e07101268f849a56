//! Incidents by hand amid ordinary load: each arrives once, fast and valid; nothing else does.

use std::{
    path::PathBuf,
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

use phiwatch_testkit::{
    Incident, Server,
    ocsf::{self, State},
};
use serde_json::Value;

use crate::{
    program,
    shop::{READY, Shop, assert_same, by_id},
    topic::{Message, Topic, now_us},
};

/// Incident of the workload, rule, tenant.
const INCIDENTS: [(&str, &str, &str); 6] = [
    ("update-3000", "bulk-change", "website-2"),
    ("ctas", "bulk-copy", "global"),
    ("cross-tenant-order", "cross-tenant-write", "website-2"),
    ("export-message", "bulk-export", "global"),
    ("session-lifetime", "config-weakened", "global"),
    ("new-admin", "privilege-granted", "global"),
];
/// From the commit to the consumer. The promise is 2 s; the rest is for a machine that does other
/// things beside.
const LATENCY_MAX: Duration = Duration::from_secs(10);

/// What setting up a shop is rightly told for: its attributes and its first administrators.
const SET_UP: [&str; 2] = ["phi-surface", "privilege-granted"];

/// What one live run left, for several tests.
struct Run {
    shop: Shop,
    /// When the shop was set up and ordinary traffic began, ms since 1970.
    opened_ms: u64,
    /// In the order of [`INCIDENTS`], with the first message of each.
    found: Vec<(Incident, Message)>,
    messages: Vec<Message>,
    binlogs: Vec<PathBuf>,
}

impl Run {
    fn states(&self) -> Vec<State> {
        self.messages.iter().map(Message::state).collect()
    }
}

static MYSQL: LazyLock<Mutex<Run>> = LazyLock::new(|| Mutex::new(run(Server::MySql)));
static MARIADB: LazyLock<Mutex<Run>> = LazyLock::new(|| Mutex::new(run(Server::MariaDb)));

fn with_run(server: Server, test: impl FnOnce(&Run)) {
    let run = match server {
        Server::MySql => &MYSQL,
        Server::MariaDb => &MARIADB,
    };
    // A failed test must not hide the others' results.
    let run = run.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    test(&run);
}

fn run(server: Server) -> Run {
    let shop = Shop::new(server, "live");
    let mut topic = shop.topic();
    let mut daemon = shop.follow(&[]);
    daemon.wait_ready(READY);
    server.fill(shop.database(), (3_200, 3_200));
    let opened_ms = now_us() / 1_000;
    let load = server.load(shop.database(), 30, 24);
    topic.read_for(Duration::from_secs(4));
    let mut found = Vec::new();
    for (name, rule, _) in INCIDENTS {
        let incident = server.incidents(shop.database(), &[name]).remove(0);
        found.push(arrival(&mut topic, incident, rule, &daemon.log()));
        topic.read_for(Duration::from_secs(1));
    }
    let done = load.finish();
    assert!(done["rate"].as_f64().unwrap() > 20.0, "too little load: {done}");
    topic.read_for(Duration::from_secs(3));
    let metrics = daemon.metrics();
    assert!(metrics.contains("phiwatch_alerts_delivered_total"), "{metrics}");
    assert_eq!(daemon.terminate(), Some(0));
    stays_silent(&shop, &mut topic);
    let binlogs = server.copy_binlogs(&shop.first_binlog, &shop.folder("binlogs"));
    // A static is never dropped, and from here on only the files count.
    shop.schema.remove();
    Run { opened_ms, found, messages: topic.messages, binlogs, shop }
}

/// Waits for an incident's first message and prints how long it took.
fn arrival(topic: &mut Topic, incident: Incident, rule: &str, log: &str) -> (Incident, Message) {
    let is_it = |message: &Message| {
        let state = message.state();
        state.rule == rule
            && (incident.gtid.is_none() || state.gtids.contains(incident.gtid.as_ref().unwrap()))
    };
    let has = topic.read_until(LATENCY_MAX, |messages| messages.iter().any(is_it));
    let others: Vec<String> = topic.states().iter().map(State::brief).collect();
    assert!(has, "no {rule} for {incident:?} in {LATENCY_MAX:?}; there are {others:#?}\n{log}");
    let message = topic.messages.iter().find(|message| is_it(message)).unwrap().clone();
    let latency = message.arrived_us.saturating_sub(incident.committed_at_us);
    eprintln!("{}: {} ms from commit to consumer", incident.name, latency / 1_000);
    (incident, message)
}

/// After a clean stop a further run has nothing to say.
fn stays_silent(shop: &Shop, topic: &mut Topic) {
    let before = topic.messages.len();
    let mut again = shop.follow(&["--once"]);
    assert_eq!(again.wait_end(Duration::from_secs(60)), Some(0), "{}", again.log());
    topic.read_for(Duration::from_secs(2));
    let new: Vec<String> = topic.states().split_off(before).iter().map(State::brief).collect();
    assert!(new.is_empty(), "said again after SIGTERM: {new:#?}");
}

fn incidents_arrive_once(server: Server) {
    with_run(server, |run| {
        let states = run.states();
        let _each_once = by_id(states.clone());
        let mut creates: Vec<(&str, &str)> = states
            .iter()
            .filter(|state| state.activity == 1 && state.severity > 1)
            .filter(|state| {
                state.time_ms >= run.opened_ms || !SET_UP.contains(&state.rule.as_str())
            })
            .map(|state| (state.rule.as_str(), state.tenant.as_str()))
            .collect();
        let mut want: Vec<(&str, &str)> =
            INCIDENTS.iter().map(|(_, rule, tenant)| (*rule, *tenant)).collect();
        creates.sort_unstable();
        want.sort_unstable();
        let briefs: Vec<String> = states.iter().map(State::brief).collect();
        assert_eq!(creates, want, "{briefs:#?}");
        for (incident, message) in &run.found {
            // The time that the alert states is that of the commit, not of the reading.
            let committed_ms = incident.committed_at_us / 1_000;
            let off_ms = committed_ms.abs_diff(message.state().time_ms);
            assert!(off_ms < 2_000, "{}: time is {off_ms} ms off", incident.name);
        }
    });
}

fn messages_keep_the_contract(server: Server) {
    with_run(server, |run| {
        let lines: Vec<String> = run.messages.iter().map(|message| message.value.clone()).collect();
        ocsf::validate(&lines);
        for message in &run.messages {
            let state = message.state();
            assert_eq!(message.key, state.tenant, "the key is the tenant");
            let header = |name: &str| message.headers.get(name).map_or("", String::as_str);
            assert!(header("content-type").starts_with("application/json"), "{message:?}");
            assert_eq!(header("ce_specversion"), "1.0", "{message:?}");
            for name in ["ce_id", "ce_source", "ce_type", "ce_time"] {
                assert_ne!(header(name), "", "{name}: {message:?}");
            }
            assert!(header("ce_id").contains(&state.uid), "{message:?}");
            assert!(message.timestamp_ms > 0, "{message:?}");
        }
        let mut ids: Vec<&String> = run.messages.iter().map(|one| &one.headers["ce_id"]).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), run.messages.len(), "CloudEvents ids are unique");
        evidence_counts(run);
    });
}

/// Numbers of an evidence that are known beforehand.
fn evidence_counts(run: &Run) {
    let (_, message) = &run.found[0];
    let event: Value = serde_json::from_str(&message.value).unwrap();
    let data = event.pointer("/evidences/0/data").unwrap();
    let counts = data.pointer("/tables/customer_entity").unwrap();
    let want = serde_json::json!({"inserts": 0, "updates": 3000, "deletes": 0});
    assert_eq!(counts, &want, "{data}");
    assert_eq!(data["subjects"], 3000, "{data}");
    assert!(data["file"].as_str().unwrap() >= run.shop.first_binlog.as_str(), "{data}");
}

fn replay_equals_live(server: Server) {
    with_run(server, |run| {
        let first = run.shop.replay(&run.binlogs).expect(0);
        let second = run.shop.replay(&run.binlogs).expect(0);
        assert!(first.stdout == second.stdout, "two replays differ");
        // At the end of the files a replay lets open findings say their last word; a live run
        // would go on.
        let live = by_id(run.states());
        let said: Vec<State> = ocsf::states(first.text())
            .into_iter()
            .filter(|state| state.revision == 0 || live.contains_key(&state.id()))
            .collect();
        assert_same(run.states(), said);
    });
}

fn decode_counts_what_mysqlbinlog_counts(server: Server) {
    with_run(server, |run| {
        let began = Instant::now();
        let done = program().run_on(&["decode", "--count"], &run.binlogs).expect(0);
        let mut ours: Vec<(String, u64)> = done.text().lines().map(count).collect();
        let mut theirs = std::collections::BTreeMap::<String, u64>::new();
        for file in &run.binlogs {
            for line in server.mysqlbinlog(file).lines() {
                let Some((op, table)) = row_heading(line) else { continue };
                *theirs.entry(format!("{op} {table}")).or_default() += 1;
            }
        }
        ours.sort_unstable();
        let theirs: Vec<(String, u64)> = theirs.into_iter().collect();
        assert!(theirs.iter().map(|(_, rows)| rows).sum::<u64>() > 20_000, "{theirs:?}");
        assert_eq!(ours, theirs);
        eprintln!("compared in {:?}", began.elapsed());
    });
}

fn count(line: &str) -> (String, u64) {
    let value: Value = serde_json::from_str(line).unwrap();
    let text = |key: &str| value[key].as_str().unwrap();
    let name = format!("{} {}.{}", text("op"), text("db"), text("table"));
    (name, value["rows"].as_u64().unwrap())
}

/// Kind and table of a line such as ``### UPDATE `shop`.`customer_entity` ``.
fn row_heading(line: &str) -> Option<(&str, String)> {
    let heading = line.strip_prefix("### ")?;
    let (op, table) = [("c", "INSERT INTO "), ("u", "UPDATE "), ("d", "DELETE FROM ")]
        .into_iter()
        .find_map(|(op, words)| Some((op, heading.strip_prefix(words)?)))?;
    table.starts_with('`').then(|| (op, table.replace('`', "")))
}

#[test]
fn mysql_incidents_arrive_once() {
    incidents_arrive_once(Server::MySql);
}

#[test]
fn mysql_messages_keep_the_contract() {
    messages_keep_the_contract(Server::MySql);
}

#[test]
fn mysql_replay_equals_live() {
    replay_equals_live(Server::MySql);
}

#[test]
fn mysql_decode_counts_what_mysqlbinlog_counts() {
    decode_counts_what_mysqlbinlog_counts(Server::MySql);
}

#[test]
fn mariadb_incidents_arrive_once() {
    incidents_arrive_once(Server::MariaDb);
}

#[test]
fn mariadb_messages_keep_the_contract() {
    messages_keep_the_contract(Server::MariaDb);
}

#[test]
fn mariadb_replay_equals_live() {
    replay_equals_live(Server::MariaDb);
}

#[test]
fn mariadb_decode_counts_what_mysqlbinlog_counts() {
    decode_counts_what_mysqlbinlog_counts(Server::MariaDb);
}
