//! Progress of long replays on stderr: a bar on a terminal, plain lines otherwise.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::commands::{is_interactive, say};

/// Time between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar or lines, counted in bytes.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// `total` bytes are to be read.
    pub(crate) fn new(total: u64) -> Self {
        let bar = is_interactive().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(
                "{bar:30} {percent:>3} %  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
            );
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar
        });
        let now = Instant::now();
        Self { bar, total, started: now, last_line: now }
    }

    /// `read` bytes have been read.
    pub(crate) fn set(&mut self, read: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(read);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let percent = (read * 100).checked_div(self.total).unwrap_or(100);
            let secs = self.started.elapsed().as_secs().max(1);
            say(&format!("read {percent} % ({read} bytes, {} MB/s)", read / secs / 1_000_000));
        }
    }

    /// Done: the bar goes.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
