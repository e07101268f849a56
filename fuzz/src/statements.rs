//! Statements in the log: QUERY events, the SQL tokenizer, and what the classifier makes of them.
//!
//! Input: a byte of options (bit 0: the rest is a whole QUERY body, else SQL text; bits 1 and 2:
//! `ANSI_QUOTES` and `NO_BACKSLASH_ESCAPES`; bit 3: MariaDB), then body or text.

use crate::lines::Lines;
use crate::log::{QUERY, Writer, query};
use crate::pipeline::Pipeline;

/// Reads the statement, alone and after a shop is known.
pub fn run(data: &[u8]) {
    let Some((options, rest)) = data.split_first() else { return };
    let mode = u64::from(options >> 1 & 1) << 2 | u64::from(options >> 2 & 1) << 20;
    let body = if options & 1 == 1 { rest.to_vec() } else { query(rest, mode) };
    let is_mariadb = options & 8 != 0;
    let mut lines = Lines::default();
    let mut writer = Writer::new(is_mariadb, &mut lines);
    writer.event(QUERY, &body, &mut lines);
    writer.begin(&mut lines);
    writer.event(QUERY, &body, &mut lines);
    writer.finish(&mut lines);
    lines.check();

    let mut pipeline = Pipeline::new();
    let mut writer = Writer::new(is_mariadb, &mut pipeline);
    writer.event(QUERY, &body, &mut pipeline);
    writer.begin(&mut pipeline);
    writer.event(QUERY, &body, &mut pipeline);
    writer.finish(&mut pipeline);
    pipeline.check();
}
