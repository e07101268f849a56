//! What the source says beside the stream, made durable: alerts that need no engine.

use jiff::Timestamp;
use phiwatch_binlog::{BinlogPosition, EventTime};
use phiwatch_detect::{Alert, source_notice};
use phiwatch_source::{Notice, SourceError};

use crate::{pipeline::Produced, store::GapRecord};

/// An alert for something that does not stop reading.
pub(crate) fn of_notice(notice: &Notice) -> Alert {
    match notice {
        Notice::History { address, what } => history(address, what),
        Notice::PurgeNear { address, file, margin } => {
            let message = format!(
                "{file} on {address} is still needed and may be purged in {} min: what was not \
                 read by then will never be examined. Find out why reading lags, or raise \
                 binlog_expire_logs_seconds.",
                margin.as_secs() / 60
            );
            let at = BinlogPosition { file: file.as_str().into(), offset: 4 };
            source_notice(&format!("purge-near|{address}|{file}"), message, at, now())
        }
    }
}

/// What is to be told and recorded of an error that ended reading; None if the message is enough.
pub(crate) fn of_end(error: &anyhow::Error, server: &str) -> Option<Produced> {
    let error = error.chain().find_map(|cause| cause.downcast_ref::<SourceError>())?;
    let mut produced = Produced::default();
    match error {
        SourceError::History { address, what } => produced.alerts.push(history(address, what)),
        SourceError::Purged { missing } => {
            let message = format!(
                "Reading stopped: the server purged binlogs before they were read; missing: \
                 {missing}. on_purged = \"continue\" goes on behind them."
            );
            let fact = format!("purged|{server}|{missing}");
            produced.alerts.push(source_notice(&fact, message, nowhere(), now()));
            produced.gaps.push(GapRecord {
                server: server.to_owned(),
                file: String::new(),
                offset: 0,
                bytes: 0,
                gtid: missing.clone(),
                table: String::new(),
                cause: "purged".into(),
                detail: "purged on the server before they were read; reading stopped".into(),
                time_us: 0,
                once_per_file: false,
            });
        }
        _ => return None,
    }
    Some(produced)
}

fn history(address: &str, what: &str) -> Alert {
    let message = format!(
        "{address} has not the history that was read: {what}. What was written there since is not \
         examined. Find out whether it was reset, restored or replaced."
    );
    source_notice(&format!("history|{address}|{what}"), message, nowhere(), now())
}

fn nowhere() -> BinlogPosition {
    BinlogPosition { file: "".into(), offset: 0 }
}

fn now() -> EventTime {
    EventTime(Timestamp::now().as_microsecond())
}
