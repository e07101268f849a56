//! SIGHUP: a bad file is refused, a good one counts from the next transaction on.

use std::{fs, process::Command};

use phiwatch_testkit::{Daemon, Server, http};

use crate::shop::{READY, Shop};

const RULE: &str = "[[rule]]\nid = \"x-group-moved\"\ntitle = \"Moved\"\ntable = \"customer_entity\"\n\
                    on = [\"update\"]\nchanged = [\"group_id\"]\nseverity = 3\nremediation = \"Ask.\"\n";

fn hang_up(daemon: &Daemon) {
    let done = Command::new("kill").args(["-HUP", &daemon.pid().to_string()]).status().unwrap();
    assert!(done.success());
}

fn reloads(daemon: &mut Daemon, result: &'static str, want: f64) {
    let series = format!("phiwatch_config_reloads_total{{result=\"{result}\"}}");
    daemon.wait_for(result, READY, |daemon| {
        http::metric(&daemon.metrics(), &series).is_some_and(|count| count >= want)
    });
}

fn signal_reloads(server: Server) {
    let shop = Shop::new(server, "reload");
    let mut topic = shop.topic();
    server.fill(shop.database(), (10, 10));
    let folder = shop.folder("run");
    let rules = folder.join("rules.toml");
    fs::write(&rules, "").unwrap();
    let config = shop.config(&folder, &shop.kafka_sink());
    let config = format!("{config}\n[magento]\ncatalog_files = [{rules:?}]\n");
    let mut daemon = crate::program().follow(&folder, &config, &shop.listen, &[]);
    daemon.wait_ready(READY);
    let moved = |group: u32| {
        let database = shop.database();
        server.execute(&format!(
            "UPDATE {database}.customer_entity SET group_id = {group} ORDER BY entity_id LIMIT 1"
        ));
    };
    moved(2);
    fs::write(&rules, RULE.replace("x-group", "group")).unwrap();
    hang_up(&daemon);
    reloads(&mut daemon, "refused", 1.0);
    assert!(daemon.log().contains("rules.toml, line 2"), "{}", daemon.log());
    fs::write(&rules, RULE).unwrap();
    hang_up(&daemon);
    daemon.wait_for("the files were read", READY, |daemon| {
        daemon.log().contains("the files were read")
    });
    moved(3);
    reloads(&mut daemon, "applied", 1.0);
    let is_it = |rule: &str| rule == "x-group-moved";
    topic.read_until(READY, |messages| messages.iter().any(|message| is_it(&message.state().rule)));
    let told = topic.states().into_iter().filter(|state| is_it(&state.rule)).count();
    assert_eq!(told, 1, "what came before the signal is not judged by it");
    assert_eq!(daemon.terminate(), Some(0));
    // The start and the reload that counts; not the one that was refused.
    let state = folder.join("state");
    let decisions = crate::program().run(&["decisions", "--state", &state.display().to_string()]);
    assert_eq!(decisions.text().matches("sha256:").count(), 2, "{}", decisions.text());
}

#[test]
fn mysql_signal_reloads() {
    signal_reloads(Server::MySql);
}

#[test]
fn mariadb_signal_reloads() {
    signal_reloads(Server::MariaDb);
}
