//! One logged-in connection: connect, TLS, login, text queries, raw commands.

use std::{
    io,
    time::{Duration, SystemTime},
};

use tokio::{net::TcpStream, time::timeout};

use super::{
    auth::{Credentials, Exchange, Plugin, Step},
    handshake::{self, Greeting, capability},
    packet::{Link, Packet, PacketStream},
    tls,
};
use crate::{Login, SourceError, TlsMode, config::Address};

/// Largest packet of the login.
const LOGIN_BYTES_MAX: usize = 64 << 10;
/// Largest row of a query's answer: far above what is asked for (the longest is a GTID set).
const ROW_BYTES_MAX: usize = 8 << 20;
/// Most memory for an answer that is kept as a whole: its values, and what each costs beside.
const ANSWER_BYTES_MAX: usize = 24 << 20;
/// Columns of a query's answer: as many as a table can have.
const COLUMNS_MAX: u64 = 4096;
/// Packets of one login, at most: no server needs more than six.
const LOGIN_PACKETS_MAX: usize = 16;

const COM_QUIT: u8 = 0x01;
const COM_QUERY: u8 = 0x03;

/// One row of a query's answer: a value as the server prints it, None = NULL.
pub(crate) type Row = Vec<Option<String>>;

/// A logged-in connection.
pub(crate) struct Connection {
    pub(crate) packets: PacketStream,
    address: Address,
    timeout: Duration,
    version: String,
    thread_id: u32,
    encrypted: bool,
    /// When the server's certificate ends, seconds since 1970, if that can be read.
    certificate_ends: Option<u64>,
    /// A command's answer was not read to its end: what comes next belongs to it.
    is_busy: bool,
}

impl Connection {
    /// Connects to `address` and logs in.
    pub(crate) async fn open(login: &Login, address: &Address) -> Result<Self, SourceError> {
        let doing = "connecting";
        let tcp = TcpStream::connect((address.host.as_str(), address.port));
        let tcp = match timeout(login.timeout, tcp).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(cause)) => {
                return Err(SourceError::Connect { address: address.to_string(), cause });
            }
            Err(_) => return Err(silent(address, login.timeout, doing)),
        };
        // Requests are small and answered at once.
        tcp.set_nodelay(true)
            .map_err(|cause| SourceError::Connect { address: address.to_string(), cause })?;
        Self::over(login, address, tcp).await
    }

    /// Logs in over a link that stands.
    pub(crate) async fn over(
        login: &Login,
        address: &Address,
        link: impl Link + 'static,
    ) -> Result<Self, SourceError> {
        // Over the steps of a login the timeout counts as a whole: a server that dribbles must
        // not hold us up for ever.
        match timeout(login.timeout, Self::greet(login, address, link)).await {
            Ok(connection) => connection,
            Err(_) => Err(silent(address, login.timeout, "logging in")),
        }
    }

    async fn greet(
        login: &Login,
        address: &Address,
        mut link: impl Link + 'static,
    ) -> Result<Self, SourceError> {
        let greeting = read_greeting(address, &mut link).await?;
        let offered = greeting.capabilities & capability::SSL != 0;
        let encrypted = match login.tls.mode {
            TlsMode::Off => false,
            TlsMode::Preferred => offered,
            TlsMode::Required if offered => true,
            TlsMode::Required => {
                return Err(SourceError::TlsNotOffered { address: address.to_string() });
            }
        };
        let mut certificate_ends = None;
        let mut packets = if encrypted {
            let request = handshake::tls_request(greeting.common(true));
            send_tls_request(&mut link, &request)
                .await
                .map_err(|cause| lost(address, LOGGING_IN, cause))?;
            let link = tls::wrap(link, address, &login.tls).await?;
            certificate_ends = tls::certificate_ends(&link);
            let mut packets = PacketStream::new(Box::new(link));
            packets.set_sequence(2);
            packets
        } else {
            let mut packets = PacketStream::new(Box::new(link));
            packets.set_sequence(1);
            packets
        };
        log_in(login, address, &mut packets, &greeting, encrypted).await?;
        Ok(Self {
            packets,
            address: address.clone(),
            timeout: login.timeout,
            version: greeting.version,
            thread_id: greeting.thread_id,
            encrypted,
            certificate_ends,
            is_busy: false,
        })
    }

    /// The server's version without the `5.5.5-` that MariaDB 10 puts before it.
    pub(crate) fn version(&self) -> &str {
        self.version.strip_prefix("5.5.5-").unwrap_or(&self.version)
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn thread_id(&self) -> u32 {
        self.thread_id
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Seconds until the server's certificate ends, by our clock; negative if it has.
    pub(crate) fn certificate_secs(&self) -> Option<i64> {
        let ends = i64::try_from(self.certificate_ends?).ok()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Some(ends.saturating_sub(i64::try_from(now.as_secs()).ok()?))
    }

    /// Rows of a query, all of them: for small answers.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<Row>, SourceError> {
        let mut rows = Vec::new();
        self.each_kept_row(sql, |row| rows.push(row)).await?;
        Ok(rows)
    }

    /// The first row; an error if there is none.
    pub(crate) async fn row(&mut self, sql: &str) -> Result<Row, SourceError> {
        let rows = self.rows(sql).await?;
        rows.into_iter().next().ok_or_else(|| self.protocol("no row in the answer"))
    }

    /// Runs a statement that has no rows.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<(), SourceError> {
        self.command(&[&[COM_QUERY], sql.as_bytes()].concat(), ASKING).await?;
        self.expect_ok(ASKING).await
    }

    /// Runs a query and hands over each row as it arrives: memory does not grow with the answer,
    /// and the answer may be of any length.
    pub(crate) async fn each_row(
        &mut self,
        sql: &str,
        take: impl FnMut(Row),
    ) -> Result<(), SourceError> {
        self.answer(sql, usize::MAX, |_| (), take).await
    }

    /// The same for a caller that keeps what it gets: an answer without end is an error.
    pub(crate) async fn each_kept_row(
        &mut self,
        sql: &str,
        take: impl FnMut(Row),
    ) -> Result<(), SourceError> {
        self.answer(sql, ANSWER_BYTES_MAX, |_| (), take).await
    }

    /// Rows of a query, each as pairs of column name and value.
    pub(crate) async fn named_rows(
        &mut self,
        sql: &str,
    ) -> Result<Vec<Vec<(String, String)>>, SourceError> {
        let (mut names, mut rows) = (Vec::new(), Vec::new());
        let name = |name| names.push(name);
        self.answer(sql, ANSWER_BYTES_MAX, name, |row| rows.push(row)).await?;
        let pair = |row: Row| {
            names.iter().cloned().zip(row.into_iter().map(Option::unwrap_or_default)).collect()
        };
        Ok(rows.into_iter().map(pair).collect())
    }

    async fn answer(
        &mut self,
        sql: &str,
        bytes_max: usize,
        mut name: impl FnMut(String),
        mut take: impl FnMut(Row),
    ) -> Result<(), SourceError> {
        let doing = ASKING;
        self.command(&[&[COM_QUERY], sql.as_bytes()].concat(), doing).await?;
        let mut payload = Vec::new();
        self.read(&mut payload, doing).await?;
        self.is_busy = !matches!(payload.first(), Some(0x00 | 0xff));
        let columns = match payload.first() {
            Some(0x00) => return Ok(()),
            Some(0xff) => return Err(self.server(&payload, doing)),
            // A request for a local file: never asked for, never answered.
            Some(0xfb) => return Err(self.protocol("request for a local file")),
            Some(_) => {
                lenenc(&mut payload.as_slice()).ok_or_else(|| self.protocol("bad answer"))?
            }
            None => return Err(self.protocol("empty answer")),
        };
        if columns > COLUMNS_MAX {
            return Err(self.protocol("an answer with too many columns"));
        }
        // Column descriptions, then an EOF packet.
        let mut kept_bytes = 0_usize;
        for _ in 0..columns {
            self.read(&mut payload, doing).await?;
            let column = column_name(&payload).ok_or_else(|| self.protocol("bad column"))?;
            kept_bytes = kept_bytes.saturating_add(column.len());
            if kept_bytes > bytes_max {
                return Err(self.protocol("an answer with too long column names"));
            }
            name(column);
        }
        self.read(&mut payload, doing).await?;
        loop {
            self.read(&mut payload, doing).await?;
            let is_end = payload.first() == Some(&0xfe) && payload.len() < 9;
            let is_error = payload.first() == Some(&0xff);
            self.is_busy = !(is_end || is_error);
            if is_end {
                return Ok(());
            }
            if is_error {
                return Err(self.server(&payload, doing));
            }
            let row = text_row(&payload, columns).ok_or_else(|| self.protocol("bad row"))?;
            kept_bytes = kept_bytes.saturating_add(row_bytes(&row));
            if kept_bytes > bytes_max {
                return Err(self.protocol("an answer with too many rows"));
            }
            take(row);
        }
    }

    /// Sends a command; the answer is the caller's to read.
    pub(crate) async fn command(
        &mut self,
        bytes: &[u8],
        doing: &'static str,
    ) -> Result<(), SourceError> {
        if std::mem::replace(&mut self.is_busy, true) && *bytes != [COM_QUIT] {
            let cause = io::Error::other("the last answer was not read to its end");
            return Err(lost(&self.address, doing, cause));
        }
        self.packets.reset_sequence();
        match timeout(self.timeout, self.packets.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => Err(lost(&self.address, doing, cause)),
            Err(_) => Err(silent(&self.address, self.timeout, doing)),
        }
    }

    /// Reads the answer to a command that has only OK or an error.
    pub(crate) async fn expect_ok(&mut self, doing: &'static str) -> Result<(), SourceError> {
        let mut payload = Vec::new();
        self.read(&mut payload, doing).await?;
        self.is_busy = !matches!(payload.first(), Some(0x00 | 0xff));
        match payload.first() {
            Some(0x00) => Ok(()),
            Some(0xff) => Err(self.server(&payload, doing)),
            _ => Err(self.protocol("unexpected answer")),
        }
    }

    /// Says goodbye, so that the server does not count an aborted client.
    pub(crate) async fn close(mut self) {
        if let Err(error) = self.command(&[COM_QUIT], "closing").await {
            tracing::debug!(%error, "connection did not close cleanly");
        }
    }

    async fn read(
        &mut self,
        payload: &mut Vec<u8>,
        doing: &'static str,
    ) -> Result<(), SourceError> {
        let next = next_packet(&self.address, &mut self.packets, payload, ROW_BYTES_MAX, doing);
        match timeout(self.timeout, next).await {
            Ok(done) => done,
            Err(_) => Err(silent(&self.address, self.timeout, doing)),
        }
    }

    /// An error packet as an error.
    pub(crate) fn server(&self, payload: &[u8], doing: &'static str) -> SourceError {
        server(&self.address, payload, doing)
    }

    pub(crate) fn protocol(&self, what: &'static str) -> SourceError {
        SourceError::Protocol { address: self.address.to_string(), what }
    }
}

const LOGGING_IN: &str = "logging in";
const ASKING: &str = "asking the server";

/// Reads the greeting byte by byte's worth: nothing beyond it may be read before TLS begins.
async fn read_greeting(address: &Address, link: &mut impl Link) -> Result<Greeting, SourceError> {
    use tokio::io::AsyncReadExt;
    let lose = |cause| lost(address, LOGGING_IN, cause);
    let protocol = |what| SourceError::Protocol { address: address.to_string(), what };
    let mut head = [0; 4];
    link.read_exact(&mut head).await.map_err(lose)?;
    let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    if length > GREETING_BYTES_MAX {
        return Err(protocol("the greeting is too long: is this a MySQL server?"));
    }
    let mut payload = vec![0; length];
    link.read_exact(&mut payload).await.map_err(lose)?;
    if payload.first() == Some(&0xff) {
        return Err(server(address, &payload, "connecting"));
    }
    Greeting::parse(&payload).map_err(protocol)
}

/// A greeting has about 100 bytes.
const GREETING_BYTES_MAX: usize = 4 << 10;

async fn send_tls_request(link: &mut impl Link, request: &[u8]) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;
    let length = u8::try_from(request.len()).unwrap_or(0);
    link.write_all(&[&[length, 0, 0, 1], request].concat()).await
}

async fn log_in(
    login: &Login,
    address: &Address,
    packets: &mut PacketStream,
    greeting: &Greeting,
    encrypted: bool,
) -> Result<(), SourceError> {
    let refuse = |plugin: &str, what| SourceError::Login {
        address: address.to_string(),
        plugin: plugin.to_owned(),
        what,
    };
    let lose = |cause| lost(address, LOGGING_IN, cause);
    let verified = encrypted && login.tls.mode == TlsMode::Required;
    let credentials = Credentials { password: &login.password, encrypted, verified };
    // An unknown proposal is answered with one that we know; the server then says what the account
    // really needs.
    let plugin = match Plugin::from_name(&greeting.plugin) {
        None | Some(Plugin::Clear | Plugin::Parsec) => Plugin::Native,
        Some(plugin) => plugin,
    };
    let mut exchange = Exchange::new(credentials, plugin, greeting.nonce.clone());
    let reply = exchange.reply().map_err(|what| refuse(plugin.name(), what))?;
    let response =
        handshake::response(greeting.common(encrypted), &login.user, &reply, plugin.name());
    packets.send(&response).await.map_err(lose)?;
    let mut payload = Vec::new();
    for _ in 0..LOGIN_PACKETS_MAX {
        next_packet(address, packets, &mut payload, LOGIN_BYTES_MAX, LOGGING_IN).await?;
        match payload.first() {
            Some(0x00) => return Ok(()),
            Some(0xff) => return Err(server(address, &payload, LOGGING_IN)),
            Some(0xfe) => {
                let reply =
                    exchange.switch(&payload).map_err(|(name, what)| refuse(&name, what))?;
                packets.send(&reply).await.map_err(lose)?;
            }
            // The first servers with parsec send the salt without a leading 1.
            Some(first @ (0x01 | b'P')) => {
                let more = if *first == 1 { &payload[1..] } else { &payload[..] };
                let step = exchange.more(more);
                match step.map_err(|what| refuse(exchange.plugin().name(), what))? {
                    Step::Send(bytes) => packets.send(&bytes).await.map_err(lose)?,
                    Step::Wait => {}
                }
            }
            _ => break,
        }
    }
    Err(SourceError::Protocol { address: address.to_string(), what: "the login does not end" })
}

/// Reads one packet into `payload`, which is emptied first.
async fn next_packet(
    address: &Address,
    packets: &mut PacketStream,
    payload: &mut Vec<u8>,
    bytes_max: usize,
    doing: &'static str,
) -> Result<(), SourceError> {
    let protocol = |what| SourceError::Protocol { address: address.to_string(), what };
    payload.clear();
    loop {
        match packets.advance(payload, bytes_max).map_err(protocol)? {
            Some(Packet::Whole { .. }) => return Ok(()),
            Some(Packet::Refused { .. }) => return Err(protocol("an answer is too long")),
            None => {}
        }
        match packets.fill().await {
            Ok(0) => return Err(lost(address, doing, io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(cause) => return Err(lost(address, doing, cause)),
        }
    }
}

pub(crate) fn lost(address: &Address, doing: &'static str, cause: io::Error) -> SourceError {
    SourceError::Lost { address: address.to_string(), doing, cause }
}

pub(crate) fn silent(address: &Address, time: Duration, doing: &'static str) -> SourceError {
    SourceError::Silent { address: address.to_string(), doing, secs: time.as_secs() }
}

fn server(address: &Address, payload: &[u8], doing: &'static str) -> SourceError {
    let (code, message) = handshake::server_error(payload);
    SourceError::Server { address: address.to_string(), code, message, doing }
}

/// A length-encoded integer.
fn lenenc(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let width = match first {
        0..=0xfa => {
            *bytes = rest;
            return Some(u64::from(*first));
        }
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let (number, rest) = rest.split_at_checked(width)?;
    *bytes = rest;
    Some(number.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// Catalogue, schema, table, its original name, then the column's name.
fn column_name(payload: &[u8]) -> Option<String> {
    let mut rest = payload;
    let mut name: &[u8] = &[];
    for _ in 0..5 {
        let length = usize::try_from(lenenc(&mut rest)?).ok()?;
        (name, rest) = rest.split_at_checked(length)?;
    }
    Some(String::from_utf8_lossy(name).into_owned())
}

/// What a kept row costs.
fn row_bytes(row: &Row) -> usize {
    let texts: usize = row.iter().flatten().map(String::len).sum();
    texts + size_of::<Row>() + row.len() * size_of::<Option<String>>()
}

fn text_row(payload: &[u8], columns: u64) -> Option<Row> {
    let mut rest = payload;
    let mut row = Vec::new();
    for _ in 0..columns {
        if rest.first() == Some(&0xfb) {
            rest = &rest[1..];
            row.push(None);
            continue;
        }
        let length = usize::try_from(lenenc(&mut rest)?).ok()?;
        let (value, tail) = rest.split_at_checked(length)?;
        rest = tail;
        row.push(Some(String::from_utf8_lossy(value).into_owned()));
    }
    rest.is_empty().then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(text_row(b"\x01a\xfb\x00", 3), Some(vec![some("a"), None, some("")]));
        assert_eq!(text_row(b"\xfc\x01\x00x", 1), Some(vec![some("x")]));
        for bad in [&b"\x02a"[..], b"\x01ab", b"\xff", b"", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            assert_eq!(text_row(bad, 1), None);
        }
        // A claimed number of columns costs nothing.
        assert_eq!(text_row(b"\x01a", u64::MAX), None);
    }
}
