//! TRANSACTION_PAYLOAD events: their fields, decompression, the events inside.
//!
//! Input: a byte of options (bit 0: the rest is a whole payload body, which may be compressed;
//! else it is the events inside, which are stored as they are; bit 1: MariaDB; the rest: size of
//! the parts in which it comes a third time), then the bytes.

use crate::lines::Lines;
use crate::log::{TRANSACTION_PAYLOAD, Writer};
use crate::pipeline::Pipeline;

/// Reads the payload twice with one decoder: what the first leaves behind must not matter.
pub fn run(data: &[u8]) {
    let Some((options, rest)) = data.split_first() else { return };
    let body = if options & 1 == 1 { rest.to_vec() } else { stored(rest) };
    let mut lines = Lines::default();
    let mut writer = Writer::new(options & 2 == 2, &mut lines);
    writer.event(TRANSACTION_PAYLOAD, &body, &mut lines);
    let first = (lines.rows, lines.gaps);
    writer.event(TRANSACTION_PAYLOAD, &body, &mut lines);
    assert!(options & 1 == 0 || first.0 * 2 == lines.rows || lines.gaps > 0);
    writer.finish(&mut lines);
    lines.check();

    let mut parts = Lines::default();
    let part_bytes = usize::from(options >> 2) * 8;
    let mut writer = Writer::in_parts(options & 2 == 2, part_bytes, &mut parts);
    writer.event(TRANSACTION_PAYLOAD, &body, &mut parts);
    writer.finish(&mut parts);
    parts.check();
    if first.1 == 0 && parts.gaps == 0 {
        assert_eq!(first.0, parts.rows, "rows do not depend on parts");
    }

    let mut pipeline = Pipeline::new();
    let mut writer = Writer::new(options & 2 == 2, &mut pipeline);
    writer.event(TRANSACTION_PAYLOAD, &body, &mut pipeline);
    writer.finish(&mut pipeline);
    pipeline.check();
}

/// A payload without compression: method 255, then the end of the fields.
fn stored(events: &[u8]) -> Vec<u8> {
    let mut body = vec![2, 3, 0xfc, 255, 0, 0];
    body.extend(events);
    body
}
