//! A server is reset: reading ends, an operator accepts it, and reading goes on.

use phiwatch_testkit::{Server, own::OwnServer};
use serde_json::Value;

use crate::{durable::coverage, own::Installation};

/// One transaction, which is told.
const ACT: &str = "CREATE USER evil@'%' IDENTIFIED BY 'x'";
const UNDO: &str = "SET sql_log_bin = 0; DROP USER evil@'%'";
const RULE: &str = "privilege-granted";

fn words(told: &Value, key: &str) -> Vec<String> {
    let list = told["servers"].as_array().unwrap().iter().map(|one| one[key].clone());
    list.map(|value| value.as_str().unwrap().to_owned()).collect()
}

fn an_accepted_reset_goes_on(server: Server) {
    let own = OwnServer::start(server, 1, &[]);
    let mut here = Installation::new(&server.fresh_name("reset"));
    let url = own.url("phi_repl");
    let source = "databases = [\"shop\"]\nstart = \"oldest\"";
    own.execute(ACT);
    here.once(&url, source, 0);
    let first = here.alerts(RULE, 1).remove(0);
    let refused = here.command("accept-reset").expect(1);
    assert!(refused.stderr.contains("nothing to accept"), "{}", refused.stderr);
    let before = coverage(&here.state(), 0);

    own.execute(UNDO);
    own.reset_log();
    // Reading ends, each time, and says what to do; that is told once.
    for _ in 0..2 {
        let mut ended = here.follow(&url, source, &[]);
        assert_eq!(ended.wait_end(crate::own::LONG), Some(1), "{}", ended.log());
        assert!(ended.log().contains("phiwatch accept-reset"), "{}", ended.log());
    }
    let told = here.alerts("coverage-gap", 1);
    assert!(told[0].line.contains("has not the history that was read"), "{}", told[0].line);
    assert_eq!(coverage(&here.state(), 0), before, "nobody has decided yet");

    // Accepted twice is accepted once.
    for _ in 0..2 {
        let _accepted = here.command("accept-reset").expect(0);
    }
    let state = here.state();
    let decided =
        crate::program().run(&["decisions", "--json", "--state", state.to_str().unwrap()]);
    let decided: Value = serde_json::from_str(decided.expect(0).text()).unwrap();
    let rows = decided["audit"].as_array().unwrap();
    let accepts: Vec<&Value> = rows.iter().filter(|row| row["action"] == "accept-reset").collect();
    assert_eq!(accepts.len(), 1, "who accepted it is on record: {rows:?}");
    assert_eq!(rows[0]["action"], "configuration", "as is each start");
    let accepted = coverage(&here.state(), 3);
    let gaps = accepted["gaps"].as_array().unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["cause"], "reset");
    let missing = gaps[0]["missing"].as_str().unwrap();
    assert!(missing.starts_with("all after ") && missing.ends_with(", until reset 1"), "{missing}");
    assert_eq!(accepted["servers"], before["servers"], "what was examined stays examined");

    // The same numbers again, for other transactions: all are read, and told.
    own.execute(ACT);
    here.once(&url, source, 0);
    here.once(&url, source, 0);
    let both = here.alerts(RULE, 2);
    assert!(both[1].gtids.contains(&first.gtids[0]), "{both:#?}");
    assert!(both[1].time_ms > first.time_ms, "the later one of the same number");
    let after = coverage(&here.state(), 3);
    let names = words(&after, "server");
    assert_eq!(names, [words(&before, "server")[0].clone(), format!("{} after reset 1", names[0])]);
    assert_eq!(words(&after, "gtids")[0], words(&before, "gtids")[0]);
    let starts = after["starts"].as_array().unwrap();
    assert_eq!(starts.len(), 2, "{starts:?}");
    assert_eq!(starts[1]["reason"], "reset accepted");
    assert_eq!(after["gaps"], accepted["gaps"]);
    // The alert of the gap came with the next run.
    assert!(here.alerts("coverage-gap", 2)[1].line.contains("It was accepted"));

    // Once more, exactly as before.
    own.execute(UNDO);
    own.reset_log();
    here.once(&url, source, 1);
    let _accepted = here.command("accept-reset").expect(0);
    own.execute(ACT);
    here.once(&url, source, 0);
    here.alerts(RULE, 3);
    let last = coverage(&here.state(), 3);
    assert_eq!(last["gaps"].as_array().unwrap().len(), 2, "{}", last["gaps"]);
    here.alerts("coverage-gap", 4);
}

#[test]
fn mysql_an_accepted_reset_goes_on() {
    an_accepted_reset_goes_on(Server::MySql);
}

#[test]
fn mariadb_an_accepted_reset_goes_on() {
    an_accepted_reset_goes_on(Server::MariaDb);
}
