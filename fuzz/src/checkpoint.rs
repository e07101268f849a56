//! The engine's checkpoint.
//!
//! Input: a checkpoint. Asserts that accepted bytes of the present format are the ones that the
//! restored engine writes, and that this engine can go on: a transaction later it still saves and
//! restores. Bytes of the format before are written in the present one, and go on from there.

use phiwatch_binlog::{BinlogPosition, End, EventTime, Transaction};
use phiwatch_detect::Engine;

use crate::pipeline::engine_settings;

/// The four bytes of the kind, the two of the format.
const HEAD_BYTES: usize = 6;

/// Restores, saves, and goes on.
pub fn run(data: &[u8]) {
    let Ok(mut engine) = Engine::restore(engine_settings(), data) else { return };
    let written = engine.checkpoint();
    let is_present = data.get(..HEAD_BYTES) == written.get(..HEAD_BYTES);
    assert!(!is_present || written == data, "one state, one encoding");
    let last = engine.now().map_or(0, |time| time.0);
    let mut alerts = Vec::new();
    // An hour on, a year on, and back.
    for step in [3_600_000_000, 31_536_000_000_000, -1] {
        let transaction = Transaction {
            start: BinlogPosition { file: "binlog.000001".into(), offset: 4 },
            gtid: None,
            time: EventTime(last.saturating_add(step)),
            server_id: 1,
            thread: None,
        };
        engine.begin(&transaction);
        engine.end(&transaction, &End::Commit, &mut alerts);
    }
    let saved = engine.checkpoint();
    let restored = Engine::restore(engine_settings(), &saved);
    assert!(restored.expect("an engine reads its own checkpoint").checkpoint() == saved);
    engine.finish(&mut alerts);
}
