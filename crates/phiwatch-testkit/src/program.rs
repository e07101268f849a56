//! The built program: commands that end, and the daemon.

use std::{
    fs::{self, File},
    io::Read as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::http;

/// How long a command may take before it counts as hung.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// Variables of the caller's shell that a run must not see.
const IGNORED: [&str; 5] =
    ["COLUMNS", "PHIWATCH_LOG", "PHIWATCH_SOURCE_PASSWORD", "PHIWATCH_KAFKA_PASSWORD", "RUST_LOG"];

/// The program under test, with the environment that every call gets.
#[derive(Debug, Clone)]
pub struct Program {
    binary: PathBuf,
    env: Vec<(String, String)>,
    launcher: Vec<String>,
}

/// What a command left.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: Vec<u8>,
    /// Words.
    pub stderr: String,
}

impl Finished {
    /// The output as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Panics with the words on stderr unless it ended with this code, and never by a panic.
    #[track_caller]
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert!(!self.stderr.contains("panicked"), "it panicked:\n{}", self.stderr);
        assert_eq!(self.code, Some(code), "exit code; on stderr:\n{}", self.stderr);
        self
    }
}

impl Program {
    /// `binary` is `env!("CARGO_BIN_EXE_phiwatch")` of the calling test.
    #[must_use]
    pub fn new(binary: &str) -> Self {
        Self { binary: PathBuf::from(binary), env: Vec::new(), launcher: Vec::new() }
    }

    /// With an environment variable more.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Started by another program, which takes the place of its own process (`exec`).
    #[must_use]
    pub fn launched_by(mut self, launcher: &[&str]) -> Self {
        self.launcher = launcher.iter().map(|&word| word.to_owned()).collect();
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.launcher.split_first() {
            None => Command::new(&self.binary),
            Some((launcher, words)) => {
                let mut command = Command::new(launcher);
                command.args(words).arg(&self.binary);
                command
            }
        };
        command.args(args).stdin(Stdio::null()).env("NO_COLOR", "1");
        // Whatever the caller's shell sets must not decide a test.
        for variable in IGNORED {
            command.env_remove(variable);
        }
        command.env("RUST_BACKTRACE", "1").envs(self.env.iter().cloned());
        command
    }

    /// Runs a command to its end.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Finished {
        let mut child = self
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.binary.display()));
        let stdout = drain(child.stdout.take().unwrap());
        let stderr = drain(child.stderr.take().unwrap());
        let status = wait(&mut child, COMMAND_LIMIT);
        if status.is_none() {
            kill_child(&mut child);
        }
        let stderr = String::from_utf8_lossy(&stderr.join().unwrap()).into_owned();
        let status = status.unwrap_or_else(|| panic!("{args:?} hangs; on stderr:\n{stderr}"));
        Finished { code: status.code(), stdout: stdout.join().unwrap(), stderr }
    }

    /// The same with files as the last arguments.
    #[must_use]
    pub fn run_on(&self, args: &[&str], files: &[impl AsRef<Path>]) -> Finished {
        let files: Vec<&str> = files.iter().map(|file| file.as_ref().to_str().unwrap()).collect();
        self.run(&[args, &files].concat())
    }

    /// Starts `run` with a configuration, whose text is written to `dir`; `http.listen` in it must
    /// be `listen`. Both outputs are appended to files in `dir`, over restarts too.
    #[must_use]
    pub fn follow(&self, dir: &Path, config: &str, listen: &str, args: &[&str]) -> Daemon {
        let file = dir.join("phiwatch.toml");
        fs::write(&file, config).unwrap();
        let log = dir.join("stderr.log");
        let append = |path: &Path| File::options().create(true).append(true).open(path).unwrap();
        let arguments = [&["run", "--config", file.to_str().unwrap()], args].concat();
        let child = self
            .command(&arguments)
            .stdout(append(&dir.join("stdout.log")))
            .stderr(append(&log))
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.binary.display()));
        Daemon { child, log, listen: listen.to_owned() }
    }
}

/// A running `phiwatch run`; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    /// Address of metrics and page.
    pub listen: String,
}

impl Daemon {
    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far (and earlier runs with the same folder).
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `/-/ready` says so.
    #[track_caller]
    pub fn wait_ready(&mut self, limit: Duration) {
        self.wait_for("/-/ready to say 200", limit, |daemon| {
            http::try_get(&daemon.listen, "/-/ready").is_ok_and(|answer| answer.status == 200)
        });
    }

    /// Waits for something; panics with the log when it takes longer or the process ends.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, limit: Duration, mut is_so: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("phiwatch ended ({status}) while waiting for {what}:\n{}", self.log());
            }
            assert!(begun.elapsed() < limit, "waited {limit:?} for {what}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The metrics page.
    #[must_use]
    pub fn metrics(&self) -> String {
        http::get(&self.listen, "/metrics").body
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        kill_child(&mut self.child);
    }

    /// SIGTERM, and its exit code; panics if it does not end.
    #[track_caller]
    #[must_use]
    pub fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success(), "phiwatch had ended before SIGTERM:\n{}", self.log());
        self.wait_end(Duration::from_secs(30))
    }

    /// Waits for its end by itself (`--once`).
    #[track_caller]
    #[must_use]
    pub fn wait_end(&mut self, limit: Duration) -> Option<i32> {
        let status = wait(&mut self.child, limit);
        let status = status.unwrap_or_else(|| panic!("it does not end:\n{}", self.log()));
        assert!(!self.log().contains("panicked"), "it panicked:\n{}", self.log());
        status.code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        kill_child(&mut self.child);
    }
}

fn kill_child(child: &mut Child) {
    // Both fail only if it has ended already.
    let _gone = child.kill();
    let _gone = child.wait();
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if begun.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn drain<R: std::io::Read + Send + 'static>(mut from: R) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// A loopback address that nobody listens on at present.
#[must_use]
pub fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Every byte of every file under a folder, with the file's name.
#[must_use]
pub fn all_bytes(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(all_bytes(&path));
        } else {
            let mut bytes = Vec::new();
            File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
            out.push((path, bytes));
        }
    }
    out
}
