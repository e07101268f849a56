//! The configuration: the TOML file, files of the catalogue, and the texts in them that have a form
//! of their own (URL, addresses, start).
//!
//! Input: a byte (0 configuration, 1 catalogue, else the texts), then UTF-8 text. In a text the
//! character U+0001 stands for a URL with a password.
//!
//! Asserts that an error never repeats that password, and that what was read writes and reads back
//! as the same.

use phiwatch_magento::Catalog;
use phiwatch_source::{Address, SourceUrl, StartAt};

// The program has no library: this is its very file.
#[path = "../../crates/phiwatch/src/config.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "a part of the program")]
mod file;

const URL: &str = "mysql://phi:swordfish-71@db.example.com:3307";
const PASSWORD: &str = "swordfish-71";

/// Reads the text as what the first byte says.
pub fn run(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let text = text.replace('\u{1}', URL);
    match kind {
        0 => {
            if let Err(error) =
                file::Config::read(&text, "phiwatch.toml", file::Overrides::default())
            {
                check(&error.to_string());
            }
        }
        1 => {
            let before = Catalog::builtin();
            let mut catalog = before.clone();
            if let Err(error) = catalog.extend(&text, "more.toml") {
                assert!(error.to_string().contains("more.toml"), "the file is named");
            }
        }
        _ => texts(&text),
    }
}

fn texts(text: &str) {
    match text.parse::<SourceUrl>() {
        Ok(url) => {
            assert!(!url.user.is_empty());
            assert!(!format!("{url:?}").contains(PASSWORD) || url.user.contains(PASSWORD));
            round_trip(&url.address);
        }
        Err(error) => check(&error.to_string()),
    }
    if let Ok(address) = text.parse::<Address>() {
        round_trip(&address);
    }
    match text.parse::<StartAt>() {
        Ok(StartAt::Position { file, offset }) => {
            assert!(offset >= 4 && !file.contains('/'));
            let again = format!("{file}:{offset}").parse();
            assert_eq!(again.ok(), Some(StartAt::Position { file, offset }));
        }
        Ok(StartAt::Gtid(state)) => {
            assert_eq!(state.is_empty(), state.to_string().is_empty());
        }
        Ok(StartAt::Oldest | StartAt::Latest) => {}
        Err(error) => check(&error.to_string()),
    }
}

fn round_trip(address: &Address) {
    assert_eq!(address.to_string().parse().ok().as_ref(), Some(address), "{address}");
}

fn check(error: &str) {
    assert!(!error.contains(PASSWORD), "a password in an error");
}
