//! Binlog files through the whole data path, for commands that only want the alerts.

use std::{collections::BTreeMap, path::PathBuf};

use phiwatch_binlog::EventTime;
use phiwatch_detect::Alert;
use phiwatch_source::{Ahead, FileSource, Source as _};

use crate::{config::Config, pipeline::Totals, progress::Progress, setup};

/// What came of an examination.
pub(crate) struct Examination {
    /// Every state of every finding, in order.
    pub alerts: Vec<Alert>,
    pub totals: Totals,
    /// Commit times of the first and the last transaction; equal if there is none.
    pub span: (EventTime, EventTime),
}

impl Examination {
    /// Weeks between the first and the last transaction, a day at least.
    #[allow(clippy::cast_precision_loss, reason = "shown as a figure")]
    pub(crate) fn weeks(&self) -> f64 {
        let secs = self.span.1.secs().saturating_sub(self.span.0.secs());
        secs.max(86_400) as f64 / 604_800.0
    }

    /// The last state of each finding, in the order of their first.
    pub(crate) fn findings(&self) -> Vec<&Alert> {
        let mut last: BTreeMap<_, (usize, &Alert)> = BTreeMap::new();
        for (number, alert) in self.alerts.iter().enumerate() {
            last.entry(alert.uid).or_insert((number, alert)).1 = alert;
        }
        let mut findings: Vec<(usize, &Alert)> = last.into_values().collect();
        findings.sort_by_key(|(number, _)| *number);
        findings.into_iter().map(|(_, alert)| alert).collect()
    }
}

/// Examines files from the beginning, without any state.
pub(crate) fn examine(config: &Config, files: &[PathBuf]) -> anyhow::Result<Examination> {
    let mut pipeline = setup::pipeline(config, &setup::passing_key()?, None)?;
    let source = FileSource::new(files.to_vec());
    let read = source.progress();
    let mut progress = Progress::new(read.total_bytes());
    let mut source = Ahead::new(source);
    let mut alerts = Vec::new();
    while let Some(batch) = source.next_batch()? {
        pipeline.feed(&batch);
        source.recycle(batch);
        alerts.extend(pipeline.take().alerts);
        progress.set(read.read_bytes());
    }
    progress.finish();
    pipeline.finish();
    alerts.extend(pipeline.take().alerts);
    let totals = pipeline.totals().clone();
    let last = totals.last_commit_us;
    let span = (EventTime(totals.first_commit_us.unwrap_or(last)), EventTime(last));
    Ok(Examination { alerts, totals, span })
}
