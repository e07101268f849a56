//! A server that says anything: for what no real server can be made to send.
//!
//! One thread a connection, blocking. What is sent is the test's own; logins and questions before
//! a dump are answered as a MySQL 9.7 with GTIDs and without a shop would.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

/// Largest payload of one frame; exactly this means that another frame follows.
pub const FRAME_BYTES_MAX: usize = 0xff_ffff;
/// `server_uuid` of the made-up server.
pub const SERVER_UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
/// Bytes of an event's header.
const HEADER_BYTES: usize = 19;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP: u8 = 0x12;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;

/// One connection. Each method that sends says whether the client still listens.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    sequence: u8,
}

/// A server on a free port that does this with every connection; returns its address.
#[must_use]
pub fn serve(what: impl Fn(Peer) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let what = Arc::new(what);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, what) = (stream.unwrap(), what.clone());
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || what(Peer { stream, sequence: 0 }));
        }
    });
    address
}

impl Peer {
    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// One frame: the last of its packet, unless it has [`FRAME_BYTES_MAX`] bytes.
    pub fn frame(&mut self, payload: &[u8]) -> bool {
        assert!(payload.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", payload.len());
        let [a, b, c, ..] = payload.len().to_le_bytes();
        let head = [a, b, c, self.sequence];
        self.sequence = self.sequence.wrapping_add(1);
        if payload.len() < 1 << 16 {
            return self.raw(&[&head, payload].concat());
        }
        self.raw(&head) && self.raw(payload)
    }

    /// One packet, in as many frames as it needs.
    pub fn packet(&mut self, payload: &[u8]) -> bool {
        let mut rest = payload;
        loop {
            let (frame, tail) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
            if !self.frame(frame) {
                return false;
            }
            if frame.len() < FRAME_BYTES_MAX {
                return true;
            }
            rest = tail;
        }
    }

    /// One packet of the client; None when it has left.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).ok()?;
        let [a, b, c, _] = head.map(usize::from);
        let mut payload = vec![0; a | b << 8 | c << 16];
        self.stream.read_exact(&mut payload).ok()?;
        self.sequence = head[3].wrapping_add(1);
        Some(payload)
    }

    /// Waits until the client leaves.
    pub fn wait_end(&mut self) {
        while self.receive().is_some() {}
    }

    /// Protocol 10, every capability but TLS.
    pub fn greet(&mut self, plugin: &str) -> bool {
        let mut bytes = b"\x0a9.7.4\0\x07\0\0\0abcdefgh\0".to_vec();
        bytes.extend([0xff, 0xf7, 255, 2, 0, 0xff, 0xff, 21]);
        bytes.extend([0; 10]);
        bytes.extend(b"ijklmnopqrst\0");
        bytes.extend(plugin.bytes());
        bytes.push(0);
        self.packet(&bytes)
    }

    /// An OK packet; as an answer to a query: no rows.
    pub fn ok(&mut self) -> bool {
        self.packet(&[0, 0, 0, 2, 0, 0, 0])
    }

    /// The head of an answer: so many columns.
    pub fn columns(&mut self, count: u8) -> bool {
        let column = b"\x03def\0\0\0\x01c\x01c\x0c-\0\0\0\0\0\xfd\0\0\0\0\0";
        self.packet(&[count])
            && (0..count).all(|_| self.packet(column))
            && self.packet(&[0xfe, 0, 0, 2, 0])
    }

    /// An answer of one row.
    pub fn row(&mut self, values: &[&str]) -> bool {
        let row: Vec<u8> = values
            .iter()
            .flat_map(|value| [&[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat())
            .collect();
        self.columns(u8::try_from(values.len()).unwrap())
            && self.packet(&row)
            && self.packet(&[0xfe, 0, 0, 2, 0])
    }

    /// Greeting and login.
    pub fn log_in(&mut self) -> bool {
        self.greet("caching_sha2_password")
            && self.receive().is_some()
            && self.packet(&[1, 3])
            && self.ok()
    }

    /// Login, and answers to everything until a dump is asked for; false if none was.
    pub fn up_to_dump(&mut self) -> bool {
        self.up_to_dump_of("")
    }

    /// The same as a server that has executed these transactions.
    pub fn up_to_dump_of(&mut self, executed: &str) -> bool {
        if !self.log_in() {
            return false;
        }
        while let Some(command) = self.receive() {
            match command.first() {
                Some(&(COM_BINLOG_DUMP | COM_BINLOG_DUMP_GTID)) => return true,
                Some(&COM_REGISTER_SLAVE) => self.ok(),
                _ if command.starts_with(b"\x03SELECT @@version") => {
                    self.row(&["9.7.4", "MySQL", "1", "1"])
                }
                _ if command.starts_with(b"\x03SELECT @@global.server_uuid") => {
                    self.row(&[SERVER_UUID, "ON", executed, ""])
                }
                _ => self.ok(),
            };
        }
        false
    }

    /// One event of a dump.
    pub fn event(&mut self, event: &[u8]) -> bool {
        self.packet(&[&[0], event].concat())
    }

    /// What a dump begins with: the file's name, and its format.
    pub fn dump_begins(&mut self) -> bool {
        let name = [&4_u64.to_le_bytes()[..], b"binlog.000001"].concat();
        self.event(&event(4, &name, 0x20)) && self.event(&format_description())
    }
}

/// An event without a checksum; its position says nothing.
#[must_use]
pub fn event(code: u8, body: &[u8], flags: u16) -> Vec<u8> {
    let bytes = u32::try_from(HEADER_BYTES + body.len()).unwrap();
    let mut event = header(code, bytes, flags);
    event.extend_from_slice(body);
    event
}

/// An event's header that claims so many bytes.
#[must_use]
pub fn header(code: u8, bytes: u32, flags: u16) -> Vec<u8> {
    let mut event = 1_764_000_000_u32.to_le_bytes().to_vec();
    event.push(code);
    event.extend(1_u32.to_le_bytes());
    event.extend(bytes.to_le_bytes());
    event.extend(0_u32.to_le_bytes());
    event.extend(flags.to_le_bytes());
    event
}

/// MySQL 9.7, no checksums.
#[must_use]
pub fn format_description() -> Vec<u8> {
    const TYPES: usize = 42;
    let mut body = vec![4, 0];
    body.extend(b"9.7.4");
    body.resize(2 + 50, 0);
    body.extend([0, 0, 0, 0, 19]);
    let mut lengths = [0_u8; TYPES];
    lengths[1] = 13;
    lengths[18] = 8;
    for code in [22, 23, 24] {
        lengths[code] = 8;
        lengths[code + 7] = 10;
    }
    body.extend(lengths);
    body.push(0);
    let bytes = u32::try_from(HEADER_BYTES + body.len() + 4).unwrap();
    let mut event = header(15, bytes, 0x20);
    event.extend(body);
    event.extend(crc32fast::hash(&event).to_le_bytes());
    event
}

/// A GTID event of this source.
#[must_use]
pub fn gtid(uuid: [u8; 16], number: u64) -> Vec<u8> {
    let body = [&[1], &uuid[..], &number.to_le_bytes(), &[2], &[0; 16]].concat();
    event(33, &body, 0)
}

/// A QUERY event.
#[must_use]
pub fn query(text: &str) -> Vec<u8> {
    let body = [&[7, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0], &b"shop\0"[..], text.as_bytes()].concat();
    event(2, &body, 0)
}

/// The end of a transaction.
#[must_use]
pub fn xid() -> Vec<u8> {
    event(16, &[1, 0, 0, 0, 0, 0, 0, 0], 0)
}

/// The map of a table with columns of these types, and their metadata.
#[must_use]
pub fn table_map(id: u32, table: &str, types: &[u8], metadata: &[u8]) -> Vec<u8> {
    let mut body = id.to_le_bytes().to_vec();
    body.extend([0, 0, 1, 0, 4]);
    body.extend(b"shop\0");
    body.push(u8::try_from(table.len()).unwrap());
    body.extend(table.bytes());
    body.push(0);
    body.push(u8::try_from(types.len()).unwrap());
    body.extend(types);
    body.push(u8::try_from(metadata.len()).unwrap());
    body.extend(metadata);
    body.resize(body.len() + types.len().div_ceil(8), 0);
    event(19, &body, 0)
}
