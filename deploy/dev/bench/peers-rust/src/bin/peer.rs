//! Readers to be measured against: `peer raw|mysql_async|mysql_cdc --port N`, `peer zstd FILE`.
//!
//! Each reads the server's binlog from its first file to its present end as a replica would (zstd: a file), and
//! prints what it saw as `{"rows":N,"bytes":N}`. `raw` counts packets' bytes and looks at nothing else.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use anyhow::{Context, bail, ensure};
use bench_peers::{option, server};
use futures_util::StreamExt;
use mysql_async::{BinlogStreamRequest, Conn, binlog::events::EventData};
use mysql_cdc::{
    binlog_client::BinlogClient, binlog_options::BinlogOptions, events::binlog_event::BinlogEvent,
    replica_options::ReplicaOptions,
};

const ACCOUNT: &str = "phi_repl";
const FIRST_FILE: &str = "binlog.000001";

#[derive(Default)]
struct Seen {
    rows: u64,
    bytes: u64,
}

fn main() -> anyhow::Result<()> {
    let seen = match std::env::args().nth(1).as_deref() {
        Some("raw") => raw()?,
        Some("mysql_async") => wait(mysql_async_rows())?,
        Some("mysql_cdc") => mysql_cdc_rows()?,
        Some("zstd") => inflate(&std::env::args().nth(2).context("which file?")?)?,
        _ => bail!("raw, mysql_async, mysql_cdc or zstd"),
    };
    println!(r#"{{"rows":{},"bytes":{}}}"#, seen.rows, seen.bytes);
    Ok(())
}

fn wait<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

async fn replica() -> anyhow::Result<Conn> {
    Ok(Conn::new(server().user(Some(ACCOUNT)).pass(Some(ACCOUNT))).await?)
}

async fn mysql_async_rows() -> anyhow::Result<Seen> {
    let request = BinlogStreamRequest::new(40_001)
        .with_filename(FIRST_FILE.as_bytes())
        .with_pos(4)
        .with_non_blocking();
    let mut stream = replica().await?.get_binlog_stream(request).await?;
    let mut seen = Seen::default();
    while let Some(event) = stream.next().await {
        let event = event?;
        seen.bytes += u64::from(event.header().event_size());
        if let Some(EventData::RowsEvent(rows)) = event.read_data()? {
            let table = stream.get_tme(rows.table_id()).context("rows without a table map")?;
            for row in rows.rows(table) {
                row?;
                seen.rows += 1;
            }
        }
    }
    Ok(seen)
}

fn mysql_cdc_rows() -> anyhow::Result<Seen> {
    let mut client = BinlogClient::new(ReplicaOptions {
        hostname: "127.0.0.1".into(),
        port: option("port", 33097),
        username: ACCOUNT.into(),
        password: ACCOUNT.into(),
        server_id: 40_002,
        blocking: false,
        binlog: BinlogOptions::from_start(),
        ..ReplicaOptions::default()
    });
    let mut seen = Seen::default();
    for result in client.replicate().map_err(|error| anyhow::anyhow!("{error:?}"))? {
        let (header, event) = result.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        seen.bytes += u64::from(header.event_length);
        seen.rows += match event {
            BinlogEvent::WriteRowsEvent(event) => event.rows.len(),
            BinlogEvent::UpdateRowsEvent(event) => event.rows.len(),
            BinlogEvent::DeleteRowsEvent(event) => event.rows.len(),
            _ => 0,
        } as u64;
    }
    Ok(seen)
}

/// The payloads of a file's compressed transactions, inflated with one context into one buffer. Of 256 KiB, as a
/// reader with fixed memory would.
fn inflate(path: &str) -> anyhow::Result<Seen> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    file.read_exact(&mut [0; 4])?;
    let mut context = zstd::zstd_safe::DCtx::create();
    let mut buffer = vec![0; 256 << 10];
    let mut seen = Seen::default();
    let mut header = [0; 19];
    while file.read_exact(&mut header).is_ok() {
        let size = u32::from_le_bytes(header[9..13].try_into()?) as u64 - 19;
        let mut body = (&mut file).take(size);
        if header[4] == 40 {
            let compressed = payload_size(&mut body)?;
            seen.bytes +=
                inflate_one(&mut context, &mut (&mut body).take(compressed), &mut buffer)?;
        }
        std::io::copy(&mut body, &mut std::io::sink())?;
    }
    Ok(seen)
}

/// Reads a payload event up to its payload (type, length, value; types 0 = end, 1 = size of the payload).
fn payload_size(body: &mut impl Read) -> anyhow::Result<u64> {
    let mut size = 0;
    loop {
        let kind = length_encoded(body)?;
        if kind == 0 {
            return Ok(size);
        }
        let length = length_encoded(body)?;
        let mut value = vec![0; usize::try_from(length)?];
        body.read_exact(&mut value)?;
        if kind == 1 {
            size = length_encoded(&mut &value[..])?;
        }
    }
}

fn length_encoded(from: &mut impl Read) -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes[..1])?;
    let length = match bytes[0] {
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        small => return Ok(u64::from(small)),
    };
    bytes[0] = 0;
    from.read_exact(&mut bytes[..length])?;
    Ok(u64::from_le_bytes(bytes))
}

fn inflate_one(
    context: &mut zstd::zstd_safe::DCtx<'_>,
    compressed: &mut std::io::Take<impl BufRead>,
    buffer: &mut [u8],
) -> anyhow::Result<u64> {
    use zstd::zstd_safe::{InBuffer, OutBuffer, ResetDirective, get_error_name};
    let failed = |code| anyhow::anyhow!("zstd: {}", get_error_name(code));
    context.reset(ResetDirective::SessionOnly).map_err(failed)?;
    let mut total = 0;
    loop {
        let available = compressed.fill_buf()?;
        if available.is_empty() {
            return Ok(total);
        }
        let mut input = InBuffer::around(available);
        while input.pos() < available.len() {
            let mut output = OutBuffer::around(buffer);
            context.decompress_stream(&mut output, &mut input).map_err(failed)?;
            total += output.pos() as u64;
        }
        let used = input.pos();
        compressed.consume(used);
    }
}

/// A replica that reads and forgets, with nothing between it and the socket.
fn raw() -> anyhow::Result<Seen> {
    // Fills the server's cache of verified passwords, so that the plain login below is enough.
    wait(async { Ok(replica().await?.disconnect().await?) })?;
    let mut stream = BufReader::with_capacity(
        1 << 20,
        TcpStream::connect(("127.0.0.1", option("port", 33097)))?,
    );
    log_in(&mut stream)?;
    send(
        &mut stream,
        0,
        b"\x03SET @source_binlog_checksum='CRC32', @master_heartbeat_period=30000000000",
    )?;
    ensure!(packet(&mut stream)?.first() == Some(&0), "the settings were refused");
    let mut dump = vec![0x12];
    dump.extend(4u32.to_le_bytes());
    dump.extend(1u16.to_le_bytes()); // ends at the end of the log
    dump.extend(40_003u32.to_le_bytes());
    dump.extend(FIRST_FILE.as_bytes());
    send(&mut stream, 0, &dump)?;
    let mut seen = Seen::default();
    let mut is_continued = false;
    loop {
        let mut header = [0; 4];
        stream.read_exact(&mut header)?;
        let mut left = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        let is_full = left == 0xff_ffff;
        if !is_continued {
            match stream.fill_buf()?.first() {
                Some(0) => {}
                Some(0xfe) if left < 9 => return Ok(seen),
                other => bail!("a packet of kind {other:?} among the events"),
            }
            seen.bytes += left as u64 - 1;
        } else {
            seen.bytes += left as u64;
        }
        while left > 0 {
            let some = stream.fill_buf()?.len().min(left);
            ensure!(some > 0, "the stream was cut off");
            stream.consume(some);
            left -= some;
        }
        is_continued = is_full;
    }
}

/// `caching_sha2_password`, its short way.
fn log_in(stream: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let greeting = packet(stream)?;
    let version_end =
        1 + greeting[1..].iter().position(|byte| *byte == 0).context("no server version")?;
    let first = version_end + 5;
    let nonce = [&greeting[first..first + 8], &greeting[first + 27..first + 39]].concat();
    let answer = mysql_common::scramble::scramble_sha256(&nonce, ACCOUNT.as_bytes())
        .context("no password")?;
    let mut login = Vec::new();
    login.extend(0x0008_8201u32.to_le_bytes()); // long password, protocol 4.1, secure connection, plugin names
    login.extend((1u32 << 24).to_le_bytes());
    login.push(45);
    login.extend([0; 23]);
    login.extend(ACCOUNT.as_bytes());
    login.push(0);
    login.push(answer.len() as u8);
    login.extend(answer);
    login.extend(b"caching_sha2_password\0");
    send(stream, 1, &login)?;
    ensure!(packet(stream)? == [1, 3], "the short login was refused");
    ensure!(packet(stream)?.first() == Some(&0), "the login was refused");
    Ok(())
}

fn packet(stream: &mut impl Read) -> anyhow::Result<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let mut body = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn send(stream: &mut BufReader<TcpStream>, sequence: u8, body: &[u8]) -> anyhow::Result<()> {
    let mut out = (body.len() as u32).to_le_bytes().to_vec();
    out[3] = sequence;
    out.extend(body);
    Ok(stream.get_mut().write_all(&out)?)
}
