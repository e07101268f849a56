//! What the source says beside the stream, made durable: alerts that need no engine.

use jiff::Timestamp;
use phiwatch_binlog::{BinlogPosition, EventTime};
use phiwatch_detect::{Alert, source_notice};
use phiwatch_source::{Found, Notice, SourceError, TableDescription};

use crate::{
    ledger::{Written, server_after},
    pipeline::Produced,
    store::{Checkpoint, GapRecord, RESET},
};

/// An alert for something that does not stop reading.
pub(crate) fn of_notice(notice: &Notice, resets: u32) -> Alert {
    match notice {
        Notice::History { address, what } => history(address, what, resets),
        Notice::PurgeNear { address, file, margin } => {
            let message = format!(
                "{file} on {address} is still needed and may be purged in {} min: what was not \
                 read by then will never be examined. Find out why reading lags, or raise \
                 binlog_expire_logs_seconds.",
                margin.as_secs() / 60
            );
            let at = BinlogPosition { file: file.as_str().into(), offset: 4 };
            let fact = format!("purge-near|{address}|{file}");
            source_notice(&server_after(&fact, resets), message, at, now())
        }
    }
}

/// That column names are neither in the log nor to be asked for, and what makes it one finding: one
/// for each schema. Its further tables are on record one by one.
pub(crate) fn of_hidden(description: &TableDescription) -> Option<(String, Alert)> {
    let Found::Hidden { fix, is_global } = &description.found else { return None };
    let (database, table) = &description.table;
    let of = if *is_global { "*" } else { database };
    let fact = format!("names-hidden|{}|{of}", description.server);
    let message = format!(
        "Rows of {database}.{table} are not examined: their columns have no names in the log, and \
         the account may not ask the server for them. Run {fix} or SET GLOBAL binlog_row_metadata = \
         FULL; phiwatch coverage lists every table that this concerns."
    );
    Some((fact.clone(), source_notice(&fact, message, nowhere(), now())))
}

/// What is to be told and recorded of an error that ended reading; None if the message is enough.
pub(crate) fn of_end(error: &anyhow::Error, server: &str, resets: u32) -> Option<Produced> {
    let error = error.chain().find_map(|cause| cause.downcast_ref::<SourceError>())?;
    let mut produced = Produced::default();
    match error {
        SourceError::History { address, what } => {
            produced.alerts.push(history(address, what, resets));
        }
        SourceError::Purged { missing } => {
            let message = format!(
                "Reading stopped: the server purged binlogs before they were read; missing: \
                 {missing}. on_purged = \"continue\" goes on behind them."
            );
            let server = server_after(server, resets);
            let fact = format!("purged|{server}|{missing}");
            produced.alerts.push(source_notice(&fact, message, nowhere(), now()));
            produced.gaps.push(GapRecord {
                server,
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

/// What an operator's decision to go on after a reset leaves: the gap, the alert, and a checkpoint
/// that knows what was known, but no place in the log.
pub(crate) fn of_accepted(checkpoint: Checkpoint, address: &str, what: &str) -> Produced {
    let resets = checkpoint.resets;
    let at = BinlogPosition { file: checkpoint.file.as_str().into(), offset: checkpoint.offset };
    let done = if checkpoint.gtids.is_empty() { at.to_string() } else { checkpoint.gtids };
    let time = now();
    let said = Timestamp::from_microsecond(time.0).map(|time| time.to_string());
    let Written { mut closed, open, .. } = checkpoint.ledger;
    let gap = GapRecord {
        server: server_after(&checkpoint.server, resets),
        file: checkpoint.file,
        offset: checkpoint.offset,
        bytes: 0,
        gtid: format!("all after {done}, until reset {}", resets + 1),
        table: String::new(),
        cause: RESET.into(),
        detail: format!("{address}: {what}; accepted at {}", said.unwrap_or_default()),
        time_us: open.as_ref().map_or(0, |open| open.to_us),
        once_per_file: false,
    };
    let message = format!(
        "{address} has not the history that was read: {what}. It was accepted: what was written \
         after {done} and before the reset is not examined; reading goes on with the oldest \
         binlog that the server has now."
    );
    let fact = server_after(&format!("accepted|{address}|{what}"), resets + 1);
    closed.extend(open);
    let ledger = Written { closed, open: None, starts: Vec::new() };
    Produced {
        alerts: vec![source_notice(&fact, message, at, time)],
        gaps: vec![gap],
        checkpoint: Some(Checkpoint {
            gtids: String::new(),
            flavor: String::new(),
            file: String::new(),
            offset: 0,
            server: String::new(),
            classifier: checkpoint.classifier,
            engine: checkpoint.engine,
            ledger,
            resets: resets + 1,
        }),
        ..Produced::default()
    }
}

fn history(address: &str, what: &str, resets: u32) -> Alert {
    let message = format!(
        "{address} has not the history that was read: {what}. What was written there since is not \
         examined. Find out whether it was reset, restored or replaced; phiwatch accept-reset \
         goes on with it."
    );
    let fact = format!("history|{address}|{what}");
    source_notice(&server_after(&fact, resets), message, nowhere(), now())
}

fn nowhere() -> BinlogPosition {
    BinlogPosition { file: "".into(), offset: 0 }
}

fn now() -> EventTime {
    EventTime(Timestamp::now().as_microsecond())
}
