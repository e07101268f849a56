//! The program against a server that lies: it ends with words that name the server and a next
//! step, or goes on with a gap; and its memory stays within bounds.
//!
//! The peak is the kernel's own count (`VmHWM`), read while the program runs.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use phiwatch_testkit::liar::{self, FRAME_BYTES_MAX, Peer};

/// Beyond what a start against an honest server takes: the promise for any input.
const BEYOND_BYTES_MAX: u64 = 64 << 20;
/// How long one lie may take on a machine that does other things.
const LIMIT: Duration = Duration::from_secs(240);

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    pub(crate) peak_bytes: u64,
    pub(crate) threads_max: u64,
}

/// Follows the server until it has caught up, or cannot.
pub(crate) fn follow(what: impl Fn(Peer) + Send + Sync + 'static) -> Ended {
    let address = liar::serve(what);
    let dir = tempfile::tempdir().unwrap();
    let url = format!("mysql://phi:secret@{address}");
    let state = dir.path().to_str().unwrap();
    measured(&["run", "--once", "--source", &url, "--state", state, "--listen", ""])
}

/// The same: the server sends this as its dump, and has nothing more.
pub(crate) fn dump(what: impl Fn(&mut Peer) + Send + Sync + 'static) -> Ended {
    follow(move |mut peer| {
        if peer.up_to_dump() {
            peer.dump_begins();
            what(&mut peer);
            caught_up(&mut peer);
        }
    })
}

/// The same: what the server does once it was asked its first question.
fn asked(what: impl Fn(Peer) + Send + Sync + 'static) -> Ended {
    follow(move |mut peer| {
        if peer.log_in() && peer.receive().is_some() {
            what(peer);
        }
    })
}

/// Runs the program to its end and looks at its memory meanwhile.
pub(crate) fn measured(args: &[&str]) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("stderr");
    let mut child = Command::new(env!("CARGO_BIN_EXE_phiwatch"))
        .args(args)
        .env("NO_COLOR", "1")
        .env("PHIWATCH_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let (code, peak_bytes, threads_max) = watch(&mut child);
    let stderr = fs::read_to_string(&log).unwrap();
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    assert!(!stderr.contains("secret"), "a password in: {stderr}");
    Ended { code, stderr, peak_bytes, threads_max }
}

/// Exit code, peak memory and most threads.
fn watch(child: &mut Child) -> (Option<i32>, u64, u64) {
    let begun = Instant::now();
    let (mut peak, mut threads) = (0, 0);
    loop {
        // The high-water mark only rises, so that the last look is the peak.
        peak = peak.max(status(child.id(), "VmHWM:").unwrap_or(0) << 10);
        threads = threads.max(status(child.id(), "Threads:").unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code(), peak, threads);
        }
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it goes on after {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A number of `/proc/PID/status` (memory in KiB); None when the process has ended.
fn status(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A start that finds nothing to do.
fn idle() -> &'static Ended {
    static IDLE: OnceLock<Ended> = OnceLock::new();
    IDLE.get_or_init(|| {
        let ended = dump(|_| {});
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.peak_bytes > 1 << 20 && ended.threads_max > 1, "nothing was seen: {ended:?}");
        ended
    })
}

/// Threads of a start that finds nothing to do.
pub(crate) fn idle_threads() -> u64 {
    idle().threads_max
}

/// Nothing more comes: a dump that does not wait ends so.
pub(crate) fn caught_up(peer: &mut Peer) {
    peer.packet(&[0xfe, 0, 0, 2, 0]);
    peer.wait_end();
}

#[track_caller]
pub(crate) fn check_memory(ended: &Ended, what: &str) {
    let beyond = ended.peak_bytes.saturating_sub(idle().peak_bytes);
    eprintln!("{what}: {} KiB beyond an idle start", beyond >> 10);
    assert!(beyond < BEYOND_BYTES_MAX, "{what}: {beyond} bytes beyond an idle start");
}

/// It ends with this error, names the server and says what to do.
#[track_caller]
fn check_refused(ended: &Ended, what: &str, words: &str) {
    check_memory(ended, what);
    assert_eq!(ended.code, Some(1), "{what}: {}", ended.stderr);
    for part in [words, "127.0.0.1:", "hint: "] {
        assert!(ended.stderr.contains(part), "{what}: no {part:?} in: {}", ended.stderr);
    }
}

/// It goes on to the end, and says that something was not examined.
#[track_caller]
fn check_gap(ended: &Ended, what: &str) {
    check_memory(ended, what);
    assert_eq!(ended.code, Some(3), "{what}: {}", ended.stderr);
}

#[test]
fn what_is_no_server_is_refused() {
    let ended = follow(|mut peer| {
        peer.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        peer.wait_end();
    });
    check_refused(&ended, "a web server", "broke the MySQL protocol");
    let ended = follow(|mut peer| {
        peer.greet("caching_sha2_password");
        peer.receive();
        peer.packet(b"\xfeauthentication_windows_client\0abc");
        peer.wait_end();
    });
    check_refused(&ended, "an unknown login", "authentication_windows_client");
    let ended = asked(|mut peer| {
        // Sequence 1 is due.
        peer.raw(&[1, 0, 0, 9, 1]);
        peer.wait_end();
    });
    check_refused(&ended, "frames out of order", "packets out of order");
}

#[test]
fn tls_that_is_garbage_is_refused() {
    let ended = follow(|mut peer| {
        let mut greeting = b"\x0a9.7.4\0\x07\0\0\0abcdefgh\0".to_vec();
        greeting.extend([0xff, 0xff, 255, 2, 0, 0xff, 0xff, 21]);
        greeting.extend([0; 10]);
        greeting.extend(b"ijklmnopqrst\0caching_sha2_password\0");
        peer.packet(&greeting);
        peer.receive();
        peer.raw(&[7; 4096]);
        peer.wait_end();
    });
    check_refused(&ended, "TLS garbage", "no TLS with");
}

#[test]
fn endless_answers_are_given_up() {
    // Rows without end.
    let ended = asked(|mut peer| {
        if peer.columns(4) {
            while peer.packet(b"\x05hello\x05hello\x05hello\xfb") {}
        }
    });
    check_refused(&ended, "endless rows", "too many rows");
    // One row without end.
    let ended = asked(|mut peer| {
        if peer.columns(1) {
            let frame = vec![b'x'; FRAME_BYTES_MAX];
            for _ in 0..20 {
                if !peer.frame(&frame) {
                    return;
                }
            }
            peer.frame(&[]);
            peer.wait_end();
        }
    });
    check_refused(&ended, "a row of 320 MB", "too long");
    // As many columns as there may be, with long names.
    let ended = asked(|mut peer| {
        if peer.packet(&[0xfc, 0, 16]) {
            let mut column = b"\x03def\0\0\0\xfd\0\0\x10".to_vec();
            column.resize(column.len() + (1 << 20), b'n');
            while peer.packet(&column) {}
        }
    });
    check_refused(&ended, "long column names", "too long column names");
    let ended = asked(|mut peer| {
        peer.packet(&[0xfe, 255, 255, 255, 255, 255, 255, 255, 127]);
        peer.wait_end();
    });
    check_refused(&ended, "2^63 columns", "too many columns");
}

#[test]
fn endless_packet_is_passed_over() {
    let ended = dump(|peer| {
        // An event that claims as much as comes, of a table that nobody knows.
        let mut frame = vec![0];
        let event_bytes = u32::try_from(20 * FRAME_BYTES_MAX - 1).unwrap();
        frame.extend(liar::header(30, event_bytes, 0));
        frame.resize(FRAME_BYTES_MAX, 7);
        peer.frame(&frame);
        frame.fill(7);
        for _ in 1..20 {
            peer.frame(&frame);
        }
        peer.frame(&[]);
        // One that says it is small.
        frame[..20].copy_from_slice(&[&[0], &liar::header(30, 100, 0)[..]].concat());
        for _ in 0..4 {
            peer.frame(&frame);
        }
        peer.frame(&[]);
    });
    check_gap(&ended, "a packet of 320 MB");
}

/// A zstd frame (RFC 8878) that begins with these bytes and goes on with `zeros` zero bytes: runs
/// of 128 KiB in four bytes each.
fn zstd_bomb(window: u8, start: &[u8], zeros: u64) -> Vec<u8> {
    const RUN_BYTES: u64 = 128 << 10;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
    let mut block = |kind: u32, bytes: u64, is_last: bool, content: &[u8]| {
        let head = u32::try_from(bytes).unwrap() << 3 | kind << 1 | u32::from(is_last);
        frame.extend(&head.to_le_bytes()[..3]);
        frame.extend(content);
    };
    block(0, start.len() as u64, false, start);
    let mut left = zeros;
    while left > RUN_BYTES {
        block(1, RUN_BYTES, false, &[0]);
        left -= RUN_BYTES;
    }
    block(1, left, true, &[0]);
    frame
}

fn payload(packed: &[u8], claimed: u64) -> Vec<u8> {
    let mut body = vec![2, 1, 0, 3, 9, 0xfe];
    body.extend(claimed.to_le_bytes());
    body.extend([1, 9, 0xfe]);
    body.extend((packed.len() as u64).to_le_bytes());
    body.push(0);
    body.extend(packed);
    liar::event(40, &body, 0)
}

#[test]
fn inflate_bombs_take_no_memory() {
    const WINDOW_OF_128_KIB: u8 = 0x38;
    const WINDOW_OF_128_MIB: u8 = 0x88;
    let ended = dump(|peer| {
        // 1 KB that claims 10 GB; 2 GB in one event, of a kind that is passed over and of one
        // that is not; zeros, which are no events; a window that is too large.
        let long =
            |code| zstd_bomb(WINDOW_OF_128_KIB, &liar::header(code, 1 << 31, 0), (1 << 31) - 19);
        let zeros = zstd_bomb(WINDOW_OF_128_KIB, &[], 32 << 20);
        assert!(zeros.len() < 1_100);
        for (number, event) in [
            payload(&zeros, 10_000_000_000),
            payload(&long(29), 1 << 31),
            payload(&long(30), 1 << 31),
            payload(&long(2), 1 << 31),
            payload(&zstd_bomb(WINDOW_OF_128_MIB, &liar::header(29, 1 << 27, 0), 1 << 27), 1 << 27),
        ]
        .into_iter()
        .enumerate()
        {
            peer.event(&liar::gtid([9; 16], number as u64 + 1));
            peer.event(&event);
        }
    });
    check_gap(&ended, "zstd bombs");
    let ended = dump(|peer| {
        // MariaDB's compressed statement and rows, which claim 4 GB.
        let head = [7, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
        let block = [0x84, 0xff, 0xff, 0xff, 0xff, 0x78, 0x9c, 0xed, 0xc1, 1, 1, 0, 0];
        peer.event(&liar::event(165, &[&head[..], b"shop\0", &block].concat(), 0));
        peer.event(&liar::table_map(5, "t", &[8], &[]));
        let rows = [&[5, 0, 0, 0, 0, 0, 1, 0, 1, 1][..], &block].concat();
        peer.event(&liar::event(166, &rows, 0));
    });
    check_gap(&ended, "zlib bombs");
}

#[test]
fn a_storm_of_damage_stays_within_bounds() {
    let ended = dump(|peer| {
        for _ in 0..20_000 {
            if !peer.event(b"abc") {
                return;
            }
        }
    });
    check_gap(&ended, "20,000 packets that are no events");
}

#[test]
fn a_storm_of_gtids_is_refused() {
    let ended = dump(|peer| {
        for source in 0..30_000_u128 {
            let sent = peer.event(&liar::gtid(source.to_be_bytes(), 1))
                && peer.event(&liar::query("CREATE TABLE t (i int)"));
            if !sent {
                return;
            }
        }
    });
    check_refused(&ended, "30,000 sources of GTIDs", "more sources");
}

#[test]
fn a_storm_of_tables_stays_within_bounds() {
    let ended = dump(|peer| {
        peer.event(&liar::gtid([9; 16], 1));
        peer.event(&liar::query("BEGIN"));
        for id in 0..1_000_000 {
            if !peer.event(&liar::table_map(id, &format!("t{id}"), &[3], &[])) {
                return;
            }
        }
        peer.event(&liar::xid());
    });
    check_memory(&ended, "1,000,000 table maps");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// A megabyte of ENUM members without a name.
#[test]
fn a_table_map_costs_what_it_holds() {
    let ended = dump(|peer| {
        peer.event(&liar::gtid([9; 16], 1));
        peer.event(&liar::query("BEGIN"));
        for id in 0..20 {
            let mut map = liar::table_map(id, "t", &[254], &[247, 2]);
            // ENUM_STR: so many members, each of length 0.
            let members = 6_000_000_u32;
            map.push(6);
            map.push(0xfe);
            map.extend((u64::from(members) + 4).to_le_bytes());
            map.push(0xfd);
            map.extend(&members.to_le_bytes()[..3]);
            map.resize(map.len() + members as usize, 0);
            let bytes = u32::try_from(map.len()).unwrap();
            map[9..13].copy_from_slice(&bytes.to_le_bytes());
            peer.event(&map);
            let rows =
                [&[u8::try_from(id).unwrap(), 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 1, 0][..], &[1, 0]];
            peer.event(&liar::event(30, &rows.concat(), 0));
        }
        peer.event(&liar::xid());
    });
    check_gap(&ended, "table maps of 6 MB");
}
