//! The real servers of deploy/dev, and the workloads of fixtures/workload.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::repository;

/// What to do when a server is away.
const HINT: &str = "run deploy/dev/up.sh (make test does), or set the address in the environment";

/// A database server that tests write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// MySQL 9.7.
    MySql,
    /// MariaDB 10.11.
    MariaDb,
}

/// An incident that was made, as `fixtures/workload/incidents.py` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// `update-3000`, `ctas`, ...
    pub name: String,
    /// GTID of its transaction.
    pub gtid: Option<String>,
    /// When the server had answered the commit, µs since 1970 UTC.
    pub committed_at_us: u64,
}

impl Server {
    /// For file names, schemas and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
        }
    }

    /// The configured address; nobody need answer there.
    pub(crate) fn configured(self) -> String {
        let (variable, default) = self.variable();
        std::env::var(variable).unwrap_or_else(|_| default.to_owned())
    }

    fn variable(self) -> (&'static str, &'static str) {
        match self {
            Self::MySql => ("PHIWATCH_TEST_MYSQL", "127.0.0.1:33097"),
            Self::MariaDb => ("PHIWATCH_TEST_MARIADB", "127.0.0.1:33110"),
        }
    }

    fn port_variable(self) -> &'static str {
        match self {
            Self::MySql => "MYSQL_PORT",
            Self::MariaDb => "MARIADB_PORT",
        }
    }

    /// `host:port`; panics with the next step if nobody answers there.
    #[must_use]
    pub fn address(self) -> String {
        let (variable, default) = self.variable();
        reachable(variable, default)
    }

    fn port(self) -> String {
        self.address().rsplit_once(':').unwrap().1.to_owned()
    }

    /// Source URL for an account.
    #[must_use]
    pub fn url(self, user: &str) -> String {
        format!("{}://{user}@{}", self.name(), self.address())
    }

    fn script(self, args: &[&str]) -> Command {
        let mut command = Command::new(repository::path(&format!("deploy/dev/{}.sh", self.name())));
        command.args(args).env(self.port_variable(), self.port()).stdin(Stdio::null());
        command
    }

    /// Runs SQL as root; tab-separated rows without headings.
    #[track_caller]
    #[must_use]
    pub fn query(self, sql: &str) -> String {
        rows(self.script(&["client", "--batch", "-N", "--force"]), sql)
            .unwrap_or_else(|errors| panic!("{}: {errors}", self.name()))
    }

    /// Runs SQL whose result does not matter.
    #[track_caller]
    pub fn execute(self, sql: &str) {
        let _rows = self.query(sql);
    }

    /// Begins a new binlog file; its name.
    #[must_use]
    pub fn new_binlog(self) -> String {
        self.execute("FLUSH BINARY LOGS");
        self.binlogs().pop().unwrap()
    }

    /// Names of the binlog files, oldest first.
    #[must_use]
    pub fn binlogs(self) -> Vec<String> {
        let rows = self.query("SHOW BINARY LOGS");
        rows.lines().map(|row| row.split('\t').next().unwrap().to_owned()).collect()
    }

    /// Where the server writes next: `file:position`.
    #[must_use]
    pub fn position(self) -> String {
        let sql = match self {
            Self::MySql => "SHOW BINARY LOG STATUS",
            Self::MariaDb => "SHOW MASTER STATUS",
        };
        let row = self.query(sql);
        let mut parts = row.split('\t');
        format!("{}:{}", parts.next().unwrap(), parts.next().unwrap())
    }

    /// Closes the file that is written to, and copies all from `first` to the closed one.
    #[must_use]
    pub fn copy_binlogs(self, first: &str, to: &Path) -> Vec<PathBuf> {
        let newest = self.new_binlog();
        let folder = PathBuf::from(self.place("datadir"));
        let mut out = Vec::new();
        for name in self.binlogs() {
            if name.as_str() >= first && name < newest {
                fs::copy(folder.join(&name), to.join(&name)).unwrap();
                out.push(to.join(&name));
            }
        }
        assert!(!out.is_empty(), "no binlog from {first} on");
        out
    }

    fn place(self, what: &str) -> String {
        let output = self.script(&["print"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{what}=")));
        line.unwrap_or_else(|| panic!("{} has no {what}", self.name())).to_owned()
    }

    /// What the server's own mysqlbinlog says of a file, with decoded rows.
    #[must_use]
    pub fn mysqlbinlog(self, file: &Path) -> String {
        let arguments = ["binlog", "-v", "--base64-output=decode-rows", file.to_str().unwrap()];
        let output = self.script(&arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A schema name that no other run uses.
    #[must_use]
    pub fn fresh_name(self, what: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        format!("phitest_{what}_{now}")
    }

    /// Makes and fills a shop's schema with that many customers of websites 1 and 2.
    pub fn fill(self, database: &str, customers: (u32, u32)) {
        let (one, two) = (customers.0.to_string(), customers.1.to_string());
        let arguments = ["--fill-only", "--customers", &one, &two];
        let output = self.workload("oltp.py", database, &arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts ordinary load that ends by itself after `seconds`.
    #[must_use]
    pub fn load(self, database: &str, rate: u32, seconds: u32) -> Load {
        let (rate, seconds) = (rate.to_string(), seconds.to_string());
        let child = self
            .workload("oltp.py", database, &["--rate", &rate, "--seconds", &seconds])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Load(Some(child))
    }

    /// Makes incidents, one after the other.
    #[must_use]
    pub fn incidents(self, database: &str, names: &[&str]) -> Vec<Incident> {
        let output = self.workload("incidents.py", database, names).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(incident).collect()
    }

    fn workload(self, script: &str, database: &str, args: &[&str]) -> Command {
        let address = self.address();
        let (host, port) = address.rsplit_once(':').unwrap();
        let mut command = Command::new(python());
        command
            .arg(repository::path("fixtures/workload").join(script))
            .args(["--host", host, "--port", port, "--database", database])
            .args(args)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null());
        command
    }
}

/// Gives SQL to a server's shell: tab-separated rows, or what the server refused.
pub(crate) fn rows(mut client: Command, sql: &str) -> Result<String, String> {
    let mut child = client
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let stdin = child.stdin.take();
    let text = sql.to_owned();
    // A shell that could not connect does not read.
    let writer = std::thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(text.as_bytes())));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    writer.join().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() || errors.contains("ERROR") {
        return Err(errors);
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

/// Removes a test's schemas when it ends, without a trace in the binlog.
#[derive(Debug)]
pub struct Schema {
    /// Where.
    pub server: Server,
    /// Its name.
    pub name: String,
}

impl Schema {
    /// Removes it now: for tests whose statics are never dropped.
    pub fn remove(&self) {
        let name = &self.name;
        self.server.execute(&format!("SET sql_log_bin=0; DROP DATABASE IF EXISTS {name}"));
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Ordinary load that runs beside a test; ended when dropped.
#[derive(Debug)]
pub struct Load(Option<Child>);

impl Load {
    /// Waits for its end; what it did, as JSON.
    #[track_caller]
    pub fn finish(mut self) -> Value {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Whether it still writes.
    pub fn is_running(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Both fail only if it has ended already.
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

fn incident(line: &str) -> Incident {
    let value: Value = serde_json::from_str(line).unwrap();
    Incident {
        name: value["incident"].as_str().unwrap().to_owned(),
        gtid: value["gtid"].as_str().map(str::to_owned),
        committed_at_us: value["committed_at_us"].as_u64().unwrap(),
    }
}

fn python() -> String {
    let output = Command::new(repository::path("deploy/dev/python.sh")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The Kafka broker's `host:port`; panics with the next step if nobody answers there.
#[must_use]
pub fn kafka() -> String {
    reachable("PHIWATCH_TEST_KAFKA", "127.0.0.1:39092")
}

fn reachable(variable: &str, default: &str) -> String {
    let address = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    let answers = address
        .parse()
        .map(|socket| TcpStream::connect_timeout(&socket, Duration::from_secs(3)).is_ok());
    match answers {
        Ok(true) => address,
        Ok(false) => panic!("nothing answers at {variable}={address}; {HINT}"),
        Err(error) => panic!("{variable}={address} is no IP:port ({error}); {HINT}"),
    }
}

/// A broker of a test's own, that it can stop without harm to others; wiped when dropped.
#[derive(Debug)]
pub struct OwnBroker {
    port: u16,
}

impl OwnBroker {
    /// Starts one on a free pair of ports.
    #[must_use]
    pub fn start(port: u16) -> Self {
        let broker = Self { port };
        broker.script(&["wipe"]);
        broker.script(&["start"]);
        broker
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, as a power cut would.
    pub fn crash(&self) {
        self.script(&["crash"]);
    }

    /// Starts it again, with its data.
    pub fn restart(&self) {
        self.script(&["start"]);
    }

    /// What Kafka's own console consumer prints of a topic: headers, key and value a line.
    #[must_use]
    pub fn consume(&self, topic: &str, messages: usize) -> String {
        self.script(&["consume", topic, "--max-messages", &messages.to_string()])
    }

    fn script(&self, args: &[&str]) -> String {
        // Files instead of pipes: the broker that `start` leaves behind would hold a pipe open.
        let mut output = tempfile::tempfile().unwrap();
        let give = |file: &File| Stdio::from(file.try_clone().unwrap());
        let status = Command::new(repository::path("deploy/dev/kafka.sh"))
            .args(args)
            .env("KAFKA_PORT", self.port.to_string())
            .stdin(Stdio::null())
            .stdout(give(&output))
            .stderr(give(&output))
            .status()
            .unwrap();
        let mut text = String::new();
        std::io::Seek::rewind(&mut output).unwrap();
        output.read_to_string(&mut text).unwrap();
        assert!(status.success(), "kafka.sh {args:?}: {text}");
        text
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        self.script(&["wipe"]);
    }
}
