//! The disk fills up: the program waits, says so, and goes on when there is room again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use phiwatch_testkit::{Daemon, Program, Server, http};

use crate::{
    program,
    shop::{READY, Shop, assert_same},
};

/// A disk of the program's own, or a limit on its files where namespaces are not allowed.
enum Disk {
    /// A small file system that only the program's process sees, mounted here.
    Small(PathBuf),
    /// Files cannot grow: writes fail as they do on a full disk.
    Limited,
}

impl Disk {
    fn new(mount: &Path) -> Self {
        let is_allowed = Command::new("unshare")
            .args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs"])
            .arg(mount)
            .status();
        match is_allowed {
            Ok(status) if status.success() => Self::Small(mount.to_owned()),
            _ => Self::Limited,
        }
    }

    fn program(&self) -> Program {
        match self {
            Self::Small(mount) => program().launched_by(&[
                "unshare",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                "mount -t tmpfs -o size=8m tmpfs \"$0\" && exec \"$@\"",
                mount.to_str().unwrap(),
            ]),
            // The signal of the limit would end the process; a full disk sends none.
            Self::Limited => {
                program().launched_by(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"])
            }
        }
    }

    /// The filler, as seen from outside of the program's namespace.
    fn filler(mount: &Path, daemon: &Daemon) -> PathBuf {
        let inside = mount.strip_prefix("/").unwrap().join("filler");
        PathBuf::from(format!("/proc/{}/root", daemon.pid())).join(inside)
    }

    fn fill(&self, daemon: &Daemon) {
        match self {
            Self::Small(mount) => {
                // The write that finds the disk full fails: that is its purpose.
                let full = fs::write(Self::filler(mount, daemon), vec![0; 9 << 20]);
                assert!(full.is_err(), "the disk takes more than it should");
            }
            Self::Limited => limit(daemon, "1"),
        }
    }

    fn free(&self, daemon: &Daemon) {
        match self {
            Self::Small(mount) => fs::remove_file(Self::filler(mount, daemon)).unwrap(),
            Self::Limited => limit(daemon, "unlimited"),
        }
    }
}

/// Sets the soft limit of file sizes.
fn limit(daemon: &Daemon, bytes: &str) {
    let pid = daemon.pid().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--fsize={bytes}:")])
        .status()
        .unwrap();
    assert!(set.success(), "prlimit");
}

#[test]
fn a_full_disk_loses_nothing() {
    let server = Server::MariaDb;
    let shop = Shop::new(server, "full");
    let mut topic = shop.topic();
    // The configuration stands beside the disk, only the state is on it.
    let state = shop.folder("run/state");
    let disk = Disk::new(&state);
    let mut daemon = shop.follow_as(&disk.program(), &[]);
    daemon.wait_ready(READY);
    server.fill(shop.database(), (300, 300));
    let _before = server.incidents(shop.database(), &["new-admin"]);
    assert!(topic.read_until(Duration::from_secs(10), |messages| !messages.is_empty()));

    disk.fill(&daemon);
    let during = server.incidents(shop.database(), &["new-admin", "ctas", "cross-tenant-order"]);
    daemon.wait_for("a failed write to be counted", Duration::from_secs(30), |daemon| {
        http::metric_sum(&daemon.metrics(), "phiwatch_store_errors_total") >= 1.0
    });
    topic.read_for(Duration::from_secs(2));
    assert!(daemon.is_running(), "{}", daemon.log());

    disk.free(&daemon);
    let all = topic.read_until(Duration::from_secs(30), |messages| {
        let states: Vec<_> = messages.iter().map(crate::topic::Message::state).collect();
        during.iter().all(|incident| {
            states.iter().any(|state| state.gtids.contains(incident.gtid.as_ref().unwrap()))
        })
    });
    assert!(all, "alerts of the full disk's time are missing:\n{}", daemon.log());
    assert_eq!(daemon.terminate(), Some(0));
    assert_same(topic.states(), shop.uninterrupted("whole"));
}
