//! Servers that lie: each ends in a clear error, in time, without a panic and without memory.

use std::time::{Duration, Instant};

use phiwatch_binlog::{GtidSet, GtidState};
use phiwatch_source::{
    Address, Item, LiveConfig, LiveSource, Login, Server, Source, SourceError, StartAt, Tls,
    TlsMode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::build;

/// One connection of a made-up server.
struct Peer {
    tcp: TcpStream,
    sequence: u8,
}

impl Peer {
    async fn send(&mut self, payload: &[u8]) {
        let [a, b, c, ..] = payload.len().to_le_bytes();
        let bytes = [&[a, b, c, self.sequence], payload].concat();
        self.sequence = self.sequence.wrapping_add(1);
        // The client may have left.
        let _gone = self.tcp.write_all(&bytes).await;
    }

    /// One packet of the client; None when it has left.
    async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 4];
        self.tcp.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8];
        self.tcp.read_exact(&mut payload).await.ok()?;
        self.sequence = head[3].wrapping_add(1);
        Some(payload)
    }

    async fn greet(&mut self, plugin: &str) {
        let mut bytes = b"\x0a9.7.4\0".to_vec();
        bytes.extend([7, 0, 0, 0]);
        bytes.extend(b"abcdefgh\0");
        // All capabilities but TLS.
        bytes.extend([0xff, 0xf7, 255, 2, 0, 0xff, 0xff, 21]);
        bytes.extend([0; 10]);
        bytes.extend(b"ijklmnopqrst\0");
        bytes.extend(plugin.bytes());
        bytes.push(0);
        self.send(&bytes).await;
    }

    async fn ok(&mut self) {
        self.send(&[0, 0, 0, 2, 0, 0, 0]).await;
    }

    /// An answer of one row.
    async fn row(&mut self, values: &[&str]) {
        self.send(&[values.len() as u8]).await;
        for _ in values {
            self.send(b"\x03def\0\0\0\x01c\x01c\x0c-\0\0\0\0\0\xfd\0\0\0\0\0").await;
        }
        self.send(&[0xfe, 0, 0, 2, 0]).await;
        let mut row = Vec::new();
        for value in values {
            row.push(value.len() as u8);
            row.extend(value.bytes());
        }
        self.send(&row).await;
        self.send(&[0xfe, 0, 0, 2, 0]).await;
    }

    /// Greeting to the dump request, as MySQL with GTIDs.
    async fn up_to_dump(&mut self) {
        self.up_to_dump_of("9.7.4", "").await;
    }

    /// The same as a server of this version that has executed and purged this set; returns the
    /// request.
    async fn up_to_dump_of(&mut self, version: &str, gtids: &str) -> Vec<u8> {
        self.greet("caching_sha2_password").await;
        self.receive().await;
        self.send(&[1, 3]).await;
        self.ok().await;
        while let Some(command) = self.receive().await {
            match command.first() {
                Some(0x15) => self.ok().await,
                Some(0x1e | 0x12) => return command,
                _ if command.starts_with(b"\x03SELECT @@version") => {
                    self.row(&[version, "", "1", "1"]).await;
                }
                _ if command.starts_with(b"\x03SELECT @@global.server_uuid") => {
                    let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
                    self.row(&[uuid, "ON", gtids, gtids]).await;
                }
                _ if command.starts_with(b"\x03SELECT @@global.gtid_binlog_pos") => {
                    self.row(&[gtids]).await;
                }
                _ if command.starts_with(b"\x03SHOW BINARY LOGS") => {
                    self.row(&["binlog.000001", "900"]).await;
                }
                _ => self.ok().await,
            }
        }
        Vec::new()
    }

    async fn event(&mut self, event: &[u8]) {
        self.send(&[&[0], event].concat()).await;
    }

    async fn fake_rotate(&mut self) {
        self.fake_rotate_to(4).await;
    }

    async fn fake_rotate_to(&mut self, offset: u64) {
        let body = [&offset.to_le_bytes()[..], b"binlog.000001"].concat();
        let size = 19 + body.len() as u32;
        self.event(&build::event(4, &body, size, 0, 0x20)).await;
    }
}

/// A server that does this with every connection.
async fn serve<F>(what: impl Fn(Peer) -> F + Send + 'static) -> LiveConfig
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(what(Peer { tcp, sequence: 0 }));
        }
    });
    let login = Login {
        address: Address { host: "127.0.0.1".to_owned(), port },
        user: "phi".to_owned(),
        password: "secret".into(),
        tls: Tls::with_mode(TlsMode::Preferred),
        timeout: Duration::from_millis(500),
    };
    let mut config = LiveConfig::new(login, 99);
    config.heartbeat = Duration::from_millis(100);
    config.start = StartAt::Oldest;
    config
}

/// The error that a connection ends in, in time.
async fn refused<F>(what: impl Fn(Peer) -> F + Send + 'static) -> SourceError
where
    F: Future<Output = ()> + Send + 'static,
{
    let config = serve(what).await;
    let begin = Instant::now();
    let error = LiveSource::connect(config).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(!format!("{error:?}").contains("secret"));
    error
}

#[tokio::test]
async fn greetings_that_are_none() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\x05\x00\x00\x00hello",
        b"\xff\xff\xff\x00",
        b"\x00\x00\x00\x00",
        b"\x03\x00\x00\x00\xff\x10\x04",
    ] {
        let error = refused(move |mut peer: Peer| async move {
            let _gone = peer.tcp.write_all(bytes).await;
            // Until the client leaves.
            while peer.receive().await.is_some() {}
        })
        .await;
        assert!(
            matches!(error, SourceError::Protocol { .. } | SourceError::Server { .. }),
            "{bytes:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn silent_server_is_given_up() {
    let error = refused(|mut peer: Peer| async move {
        let mut byte = [0];
        let _gone = peer.tcp.read(&mut byte).await;
    })
    .await;
    assert!(matches!(error, SourceError::Silent { .. }), "{error:?}");
    assert!(error.is_transient());
}

/// One byte now and then keeps no login alive.
#[tokio::test]
async fn dribbling_server_is_given_up() {
    let error = refused(|mut peer: Peer| async move {
        peer.greet("caching_sha2_password").await;
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        while peer.tcp.write_all(&[1]).await.is_ok() {
            pause.tick().await;
        }
    })
    .await;
    let is_error = matches!(error, SourceError::Silent { .. } | SourceError::Protocol { .. });
    assert!(is_error, "{error:?}");
}

#[tokio::test]
async fn endless_login_is_given_up() {
    let error = refused(|mut peer: Peer| async move {
        peer.greet("caching_sha2_password").await;
        peer.receive().await;
        for _ in 0..1_000 {
            peer.send(&[1, 3]).await;
        }
        while peer.receive().await.is_some() {}
    })
    .await;
    assert!(matches!(error, SourceError::Protocol { .. }), "{error:?}");
}

/// A server in the middle that asks for the password in the clear gets nothing.
#[tokio::test]
async fn password_is_not_sent_in_the_clear() {
    for request in [&b"\xfemysql_clear_password\0"[..], b"\xfe", b"\xfedialog\0"] {
        let error = refused(move |mut peer: Peer| async move {
            peer.greet("caching_sha2_password").await;
            peer.receive().await;
            peer.send(request).await;
            while let Some(answer) = peer.receive().await {
                assert!(!answer.starts_with(b"secret"));
            }
        })
        .await;
        assert!(matches!(error, SourceError::Login { .. }), "{error:?}");
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn required_tls_is_not_given_up() {
    let mut config = serve(|mut peer: Peer| async move {
        peer.greet("caching_sha2_password").await;
        assert!(peer.receive().await.is_none(), "the client went on");
    })
    .await;
    config.login.tls.mode = TlsMode::Required;
    let error = LiveSource::connect(config).await.unwrap_err();
    assert!(matches!(error, SourceError::TlsNotOffered { .. }), "{error:?}");
}

/// MariaDB's ed25519 and parsec, as far as the shape of the answers goes.
#[tokio::test]
async fn mariadb_logins_are_answered() {
    for (request, salt, size) in [
        (b"\xfeclient_ed25519\0abcdefghijklmnopqrstuvwxyz012345".to_vec(), None, 64),
        (
            b"\xfeparsec\0abcdefghijklmnopqrstuvwxyz012345".to_vec(),
            Some(b"\x01P\x00aaaaaaaaaaaaaaaaaa"),
            96,
        ),
    ] {
        let error = refused(move |mut peer: Peer| {
            let request = request.clone();
            async move {
                peer.greet("mysql_native_password").await;
                peer.receive().await;
                peer.send(&request).await;
                let mut answer = peer.receive().await.unwrap();
                if let Some(salt) = salt {
                    assert!(answer.is_empty());
                    peer.send(salt).await;
                    answer = peer.receive().await.unwrap();
                }
                let text = format!("\u{0}\u{0}answer of {} bytes", answer.len());
                let packet = [&[0xff], text.as_bytes()].concat();
                peer.send(&packet).await;
                while peer.receive().await.is_some() {}
            }
        })
        .await;
        let want = format!("answer of {size} bytes");
        assert!(error.to_string().ends_with(&want), "{error}");
    }
}

/// Reads what a server's dump gives, to the first `wanted` items or the error; without what
/// is told of the server and of the transactions done before, and without parts of large events.
async fn items(config: LiveConfig, wanted: usize) -> Result<Vec<Item>, SourceError> {
    let mut source = LiveSource::connect(config).await?;
    let mut items = Vec::new();
    while items.len() < wanted {
        match tokio::task::block_in_place(|| source.next_batch())? {
            Some(batch) => items.extend(batch.items.into_iter().filter(|item| {
                use Item::{Executed, Part, Server};
                !matches!(item, Server { .. } | Executed { .. } | Part { .. })
            })),
            None => break,
        }
    }
    Ok(items)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_none_are_damage() {
    let config = serve(|mut peer: Peer| async move {
        peer.up_to_dump().await;
        peer.fake_rotate().await;
        // Too short for a header; a size that is not the packet's; a good one.
        peer.event(b"abc").await;
        peer.event(&build::event(30, b"abcdef", 0x7fff_ffff, 0, 0)).await;
        peer.event(&build::event(30, b"abcdef", 25, 0, 0)).await;
        while peer.receive().await.is_some() {}
    })
    .await;
    let items = items(config, 4).await.unwrap();
    let [Item::File { offset: 4, .. }, first, second, third, ..] = &items[..] else {
        panic!("{items:?}")
    };
    assert!(matches!(first, Item::Damage { offset: 4, bytes: 3, .. }), "{first:?}");
    assert!(matches!(second, Item::Damage { offset: 7, bytes: 25, .. }), "{second:?}");
    assert!(matches!(third, Item::Event { offset: 32, .. }), "{third:?}");
}

/// A gigabyte in one packet, whose header says that it ends before: read, thrown away, named.
#[tokio::test(flavor = "multi_thread")]
async fn packet_longer_than_its_event_is_refused_within_bounds() {
    let mut config = serve(|mut peer: Peer| async move {
        peer.up_to_dump().await;
        peer.fake_rotate().await;
        let mut head = vec![0];
        head.extend(build::event(30, &[], 5_000_000, 0, 0));
        head.resize(0xff_ffff, 7);
        for _ in 0..64 {
            peer.send(&head).await;
        }
        peer.send(b"").await;
        peer.event(&build::event(30, b"abcdef", 25, 0, 0)).await;
        while peer.receive().await.is_some() {}
    })
    .await;
    config.whole_bytes_max = 1 << 20;
    let before = resident_bytes();
    let items = items(config, 3).await.unwrap();
    let size = 64 * 0xff_ffff - 1;
    assert!(matches!(items[1], Item::Damage { bytes, .. } if bytes == size), "{items:?}");
    assert!(matches!(items[2], Item::Event { .. }), "{items:?}");
    // The made-up server itself holds some buffers of 16 MiB.
    assert!(resident_bytes() < before + (200 << 20));
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_the_dump_ends_it() {
    for garbage in [&b"\x07garbage"[..], b""] {
        let config = serve(move |mut peer: Peer| async move {
            peer.up_to_dump().await;
            peer.fake_rotate().await;
            peer.send(garbage).await;
            while peer.receive().await.is_some() {}
        })
        .await;
        let error = items(config, 100).await.unwrap_err();
        assert!(matches!(error, SourceError::Protocol { .. }), "{error:?}");
    }
}

/// A server that falls silent, or leaves, is asked again where the last transaction ended.
#[tokio::test(flavor = "multi_thread")]
async fn dead_link_is_made_again() {
    let config = serve(|mut peer: Peer| async move {
        peer.up_to_dump().await;
        peer.fake_rotate().await;
        peer.event(&build::event(27, b"binlog.000001", 32, 4, 0)).await;
        let mut byte = [0];
        let _gone = peer.tcp.read(&mut byte).await;
    })
    .await;
    let items = items(config, 6).await.unwrap();
    let files = items.iter().filter(|item| matches!(item, Item::File { offset: 4, .. })).count();
    let signs = items.iter().filter(|item| matches!(item, Item::CaughtUp)).count();
    assert_eq!((files, signs), (3, 3), "{items:?}");
}

/// MySQL breaks long sets into lines, and so do configuration files.
#[tokio::test(flavor = "multi_thread")]
async fn field_22_line_breaks_in_gtid_sets_are_no_matter() {
    let set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7,\n\
               4e11fa47-71ca-11e1-9e33-c80aa9429562:1-3,\r\n 5e11fa47-71ca-11e1-9e33-c80aa9429562 : 9";
    let one_line: String = set.chars().filter(|letter| !letter.is_whitespace()).collect();
    let want: GtidSet = one_line.parse().unwrap();
    assert_eq!(set.parse::<StartAt>().unwrap(), StartAt::Gtid(GtidState::MySql(want.clone())));
    let (tell, asked) = std::sync::mpsc::channel();
    let config = serve(move |mut peer: Peer| {
        let tell = tell.clone();
        async move {
            let request = peer.up_to_dump_of("9.7.4", set).await;
            tell.send(request).unwrap();
            peer.fake_rotate().await;
            peer.event(&build::event(27, b"binlog.000001", 32, 4, 0)).await;
            while peer.receive().await.is_some() {}
        }
    })
    .await;
    let _items = items(config, 2).await.unwrap();
    // What was purged counts as done: the whole set is in the request, behind 23 other bytes.
    let request = asked.recv().unwrap();
    assert_eq!(GtidSet::decode(&request[23..]), Ok(want));
}

/// The header's 32 bits start again at each 4 GiB.
#[tokio::test(flavor = "multi_thread")]
async fn field_23_positions_go_past_4_gib() {
    const BEFORE: u64 = (1 << 32) - 60;
    let config = serve(|mut peer: Peer| async move {
        peer.up_to_dump().await;
        peer.fake_rotate_to(BEFORE).await;
        let mut end = BEFORE;
        for number in 0..5 {
            end += 25;
            // What stands in the header is the low half.
            peer.event(&build::event(30, &[number; 6], 25, end as u32, 0)).await;
        }
        peer.event(&build::event(27, b"binlog.000001", 32, end as u32, 0)).await;
        while peer.receive().await.is_some() {}
    })
    .await;
    let items = items(config, 7).await.unwrap();
    let places: Vec<u64> = items
        .iter()
        .filter_map(|item| match item {
            Item::Event { offset, .. } => Some(*offset),
            _ => None,
        })
        .collect();
    assert_eq!(places, [0, 25, 50, 75, 100].map(|far| BEFORE + far), "{items:?}");
}

/// MariaDB since 11.4 writes the events of a transaction with position 0, but for the first and
/// the last.
#[tokio::test(flavor = "multi_thread")]
async fn field_24_position_0_within_a_group_says_nothing() {
    let config = serve(|mut peer: Peer| async move {
        peer.up_to_dump_of("11.8.2-MariaDB-log", "0-1-4").await;
        peer.fake_rotate_to(300).await;
        let gtid = [&5_u64.to_le_bytes()[..], &[0; 11]].concat();
        peer.event(&build::event(162, &gtid, 38, 338, 0)).await;
        for kind in [19, 23, 19, 24] {
            peer.event(&build::event(kind, &[1; 31], 50, 0, 0)).await;
        }
        peer.event(&build::event(16, &[1; 8], 27, 338 + 4 * 50 + 27, 0)).await;
        peer.event(&build::event(27, b"binlog.000001", 32, 0, 0)).await;
        while peer.receive().await.is_some() {}
    })
    .await;
    let items = items(config, 8).await.unwrap();
    let places: Vec<u64> = items
        .iter()
        .filter_map(|item| match item {
            Item::Event { offset, .. } => Some(*offset),
            _ => None,
        })
        .collect();
    assert_eq!(places, [300, 338, 388, 438, 488, 538], "{items:?}");
}

/// What takes no room in a batch must not gather in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_heartbeats_does_not_gather() {
    const HEARTBEATS: usize = 200_000;
    let config = serve(|mut peer: Peer| async move {
        peer.up_to_dump().await;
        peer.fake_rotate().await;
        let packet = [&[0], &build::event(27, b"binlog.000001", 32, 4, 0)[..]].concat();
        let mut sent = 0;
        while sent < HEARTBEATS {
            let mut storm = Vec::new();
            for _ in 0..1_000 {
                storm.extend([packet.len() as u8, 0, 0, peer.sequence]);
                storm.extend(&packet);
                peer.sequence = peer.sequence.wrapping_add(1);
            }
            sent += 1_000;
            let _gone = peer.tcp.write_all(&storm).await;
        }
        while peer.receive().await.is_some() {}
    })
    .await;
    let mut source = LiveSource::connect(config).await.unwrap();
    let mut seen = 0;
    while seen < HEARTBEATS {
        let batch = tokio::task::block_in_place(|| source.next_batch()).unwrap().unwrap();
        assert!(batch.items.len() <= 4_096, "{} items in a batch", batch.items.len());
        seen += batch.items.iter().filter(|item| matches!(item, Item::CaughtUp)).count();
    }
}

/// The answer that came too late must not be taken for that of the next question.
#[tokio::test(flavor = "multi_thread")]
async fn field_12_a_connection_is_not_used_after_a_read_that_broke_off() {
    let config = serve(|mut peer: Peer| async move {
        peer.greet("caching_sha2_password").await;
        peer.receive().await;
        peer.send(&[1, 3]).await;
        peer.ok().await;
        while let Some(question) = peer.receive().await {
            match question.as_slice() {
                b"\x03SELECT 1" => {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    peer.row(&["one"]).await;
                }
                b"\x03SELECT 2" => peer.row(&["two"]).await,
                _ => peer.ok().await,
            }
        }
    })
    .await;
    let mut server = Server::connect(&config.login).await.unwrap();
    assert_eq!(server.query_rows("SELECT 2").await.unwrap(), [[Some("two".to_owned())]]);
    let late = server.query_rows("SELECT 1").await.unwrap_err();
    assert!(late.is_transient() && late.to_string().contains("127.0.0.1"), "{late}");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let next = server.query_rows("SELECT 2").await.unwrap_err();
    assert!(next.is_transient(), "{next}");
    // The same where nobody waited: the question was dropped.
    let mut server = Server::connect(&config.login).await.unwrap();
    let dropped = tokio::time::timeout(Duration::from_millis(100), server.query_rows("SELECT 1"));
    assert!(dropped.await.is_err());
    assert!(server.query_rows("SELECT 2").await.is_err());
}
