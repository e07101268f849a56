//! Database servers of a test's own: to be stopped, reset and replicated without harm to others.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    repository,
    servers::{Server, rows},
};

/// How long a replica may take to come up to its source on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fresh server on a port of its own, beside the shared one; wiped when dropped.
#[derive(Debug)]
pub struct OwnServer {
    /// Which program.
    pub kind: Server,
    port: u16,
    settings: Vec<(String, String)>,
}

impl OwnServer {
    /// Starts the `nth` (from 1) beside the shared one, on the port that is so much higher, with
    /// settings of `deploy/dev/mysql.sh` or `mariadb.sh` without their prefix: `("ARGS", "...")`.
    #[must_use]
    pub fn start(kind: Server, nth: u16, settings: &[(&str, &str)]) -> Self {
        let shared = kind.configured();
        let (_, port) = shared.rsplit_once(':').unwrap();
        let mut server =
            Self { kind, port: port.parse::<u16>().unwrap() + nth, settings: Vec::new() };
        server.set("SERVER_ID", &(10 + nth).to_string());
        server.set_arguments("");
        for (name, value) in settings {
            match *name {
                "ARGS" => server.set_arguments(value),
                name => server.set(name, value),
            }
        }
        server.run(&["wipe"]);
        server.run(&["start"]);
        server
    }

    /// A setting that counts from the next [`Self::restart`] on.
    pub fn set(&mut self, name: &str, value: &str) {
        let name = format!("{}_{name}", self.kind.name().to_uppercase());
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_owned()));
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Source URL for an account.
    #[must_use]
    pub fn url(&self, user: &str) -> String {
        format!("{}://{user}@{}", self.kind.name(), self.address())
    }

    /// Ends it in order; its data stay.
    pub fn stop(&self) {
        self.run(&["stop"]);
    }

    /// Kills it, as a power cut would.
    pub fn crash(&self) {
        self.run(&["crash"]);
    }

    /// Starts it again with its data.
    pub fn restart(&self) {
        self.run(&["start"]);
    }

    /// Starts it again as an empty server: another one at the same address.
    pub fn replace(&self) {
        self.run(&["wipe"]);
        self.run(&["start"]);
    }

    /// Where its files lie.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.place("datadir=")
    }

    /// The authority's certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.place("ca=")
    }

    fn place(&self, name: &str) -> PathBuf {
        let text = self.run(&["print"]);
        PathBuf::from(text.lines().find_map(|line| line.strip_prefix(name)).unwrap())
    }

    /// Stops it and starts it with other arguments, as `("ARGS", "...")` at the start.
    pub fn restart_with(&mut self, arguments: &str) {
        self.stop();
        self.set_arguments(arguments);
        self.restart();
    }

    /// Empties its binlog: numbers and places begin anew.
    pub fn reset_log(&self) {
        self.execute(match self.kind {
            Server::MySql => "RESET BINARY LOGS AND GTIDS",
            Server::MariaDb => "RESET MASTER",
        });
    }

    fn set_arguments(&mut self, value: &str) {
        // MariaDB's replicas log nothing of what they apply unless told.
        let always = if self.kind == Server::MariaDb { "--log-slave-updates " } else { "" };
        self.set("ARGS", &format!("{always}{value}"));
    }

    /// Runs SQL as root; tab-separated rows without headings.
    #[track_caller]
    #[must_use]
    pub fn query(&self, sql: &str) -> String {
        self.try_query(sql).unwrap_or_else(|errors| panic!("{}: {errors}", self.address()))
    }

    /// The same; the server may be away or refuse it.
    ///
    /// # Errors
    /// What the shell said.
    pub fn try_query(&self, sql: &str) -> Result<String, String> {
        rows(self.script(&["client", "--batch", "-N"]), sql)
    }

    /// Runs SQL whose result does not matter.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        let _rows = self.query(sql);
    }

    /// Makes it a replica of another one, by GTID.
    pub fn follow(&self, source: &Self) {
        let port = source.port;
        self.execute(&match self.kind {
            Server::MySql => format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, \
                 SOURCE_USER = 'phi_repl', SOURCE_PASSWORD = 'phi_repl', SOURCE_SSL = 1, \
                 SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 1; START REPLICA"
            ),
            Server::MariaDb => format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, \
                 MASTER_USER = 'phi_repl', MASTER_PASSWORD = 'phi_repl', \
                 MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1; START SLAVE"
            ),
        });
    }

    /// Waits until it has applied all that `source` has committed.
    #[track_caller]
    pub fn wait_for(&self, source: &Self) {
        let begun = Instant::now();
        while self.executed() != source.executed() {
            let (ours, theirs) = (self.executed(), source.executed());
            assert!(begun.elapsed() < PATIENCE, "{ours} does not reach {theirs}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends its being a replica: it may be written to.
    pub fn promote(&self) {
        self.execute(match self.kind {
            Server::MySql => "STOP REPLICA; RESET REPLICA ALL",
            Server::MariaDb => "STOP SLAVE; RESET SLAVE ALL",
        });
    }

    /// What it has committed, as it numbers it.
    #[must_use]
    pub fn executed(&self) -> String {
        let text = self.query(match self.kind {
            Server::MySql => "SELECT @@global.gtid_executed",
            Server::MariaDb => "SELECT @@global.gtid_binlog_pos",
        });
        // MySQL breaks long sets into lines, which its shell prints as \\n.
        text.replace("\\n", "").trim().to_owned()
    }

    fn script(&self, args: &[&str]) -> Command {
        let name = self.kind.name();
        let mut command = Command::new(repository::path(&format!("deploy/dev/{name}.sh")));
        let port = (format!("{}_PORT", name.to_uppercase()), self.port.to_string());
        command.args(args).envs(self.settings.iter().cloned()).envs([port]).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> String {
        // A file instead of pipes: the server that `start` leaves behind would hold a pipe open.
        let mut output = tempfile::tempfile().unwrap();
        let give = |file: &File| Stdio::from(file.try_clone().unwrap());
        let mut command = self.script(args);
        let status = command.stdout(give(&output)).stderr(give(&output)).status().unwrap();
        let mut text = String::new();
        output.rewind().unwrap();
        output.read_to_string(&mut text).unwrap();
        assert!(status.success(), "{} {args:?}: {text}", self.address());
        text
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.run(&["wipe"]);
    }
}
