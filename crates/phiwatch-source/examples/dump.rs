//! Prints file, offset, type and size of each event of a live server or of binlog files.
//!
//! `cargo run -p phiwatch-source --example dump -- mysql://user@host:port [START]`, with the
//! password in `PHIWATCH_SOURCE_PASSWORD`; or `... --example dump -- FILE...`. START is `oldest`
//! (default), `latest`, a GTID set or `file:position`. Ends when caught up if `ONCE` is set.
#![allow(clippy::print_stdout, reason = "its purpose")]

use std::{error::Error, path::PathBuf};

use phiwatch_binlog::framing::Header;
use phiwatch_source::{
    FileSource, Item, LOGIN_TIMEOUT, LiveConfig, LiveSource, Login, Source, SourceUrl, Tls, TlsMode,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let first = arguments.first().ok_or("expected a URL or files")?;
    if !first.contains("://") {
        return print(FileSource::new(arguments.iter().map(PathBuf::from).collect()));
    }
    let url: SourceUrl = first.parse()?;
    let password = std::env::var("PHIWATCH_SOURCE_PASSWORD").unwrap_or_default().into();
    let mut config = LiveConfig::new(
        Login {
            address: url.address,
            user: url.user,
            password: url.password.unwrap_or(password),
            tls: Tls::with_mode(TlsMode::Preferred),
            timeout: LOGIN_TIMEOUT,
        },
        4_000_009,
    );
    config.once = std::env::var_os("ONCE").is_some();
    if let Some(start) = arguments.get(1) {
        config.start = start.parse()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let source = runtime.block_on(LiveSource::connect(config))?;
    print(source)
}

fn print(mut source: impl Source) -> Result<(), Box<dyn Error>> {
    let mut file = String::new();
    while let Some(batch) = source.next_batch()? {
        for item in &batch.items {
            match item {
                Item::Server { name, version } => println!("server {name}, version {version}"),
                Item::File { name, offset } => {
                    file = name.to_string();
                    println!("{name} {offset} file");
                }
                Item::Event { offset, range } | Item::Inflated { offset, range, .. } => {
                    let event = batch.bytes.get(range.clone()).unwrap_or_default();
                    let kind = Header::parse(event)?.kind;
                    println!("{file} {offset} type {kind} bytes {}", event.len());
                }
                Item::Part { offset, range, left } => {
                    println!("{file} {offset} part bytes {} left {left}", range.len());
                }
                Item::Damage { offset, bytes, cause } => {
                    println!("{file} {offset} damage {bytes} bytes: {cause}");
                }
                Item::Purged { missing } => println!("purged {missing}"),
                Item::Executed { done } => println!("done before: {done}"),
                Item::CaughtUp => println!("caught up"),
            }
        }
    }
    Ok(())
}
