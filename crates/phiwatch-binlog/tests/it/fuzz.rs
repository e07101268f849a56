//! Bytes that nobody wrote: random ones, and recorded events with mutations, checksums mended.

use phiwatch_binlog::framing::Header;
use phiwatch_binlog::{Decoder, Limits};
use proptest::prelude::*;

use crate::build;
use crate::files;
use crate::transactions::Log;

/// Every event of some recordings, without its checksum, after the format description of its file.
fn recorded() -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
    let names = [
        "mysql-9.7/all-types-full.binlog",
        "mysql-9.7/transactions-compressed.binlog",
        "mysql-9.7/partial-json.binlog",
        "mysql-9.7/tagged-gtid.binlog",
        "mysql-9.7/accounts.binlog",
        "mariadb-10.11/all-types-compressed.binlog",
        "mariadb-11.8/transactions.binlog",
        "mariadb-11.8/xa.binlog",
    ];
    let split = |name: &&str| {
        let bytes = files::binlog(name);
        let mut rest = &bytes[4..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let size = Header::parse(rest).unwrap().event_bytes as usize;
            let keep = if events.is_empty() { size } else { size - 4 };
            events.push(rest[..keep].to_vec());
            rest = &rest[size..];
        }
        (events.remove(0), events)
    };
    names.iter().map(split).collect()
}

fn mend(mut event: Vec<u8>) -> Vec<u8> {
    let size = u32::try_from(event.len() + 4).unwrap();
    if let Some(field) = event.get_mut(9..13) {
        field.copy_from_slice(&size.to_le_bytes());
    }
    event.extend(crc32fast::hash(&event).to_le_bytes());
    event
}

#[derive(Debug, Clone)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Kind(u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0xfe), Just(0xfc), Just(0x7f)];
    prop_oneof![
        6 => (any::<prop::sample::Index>(), byte).prop_map(|(index, byte)| Mutation::Set(index, byte)),
        1 => any::<prop::sample::Index>().prop_map(Mutation::Cut),
        1 => (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(index, bytes)| Mutation::Insert(index, bytes)),
        1 => any::<u8>().prop_map(Mutation::Kind),
    ]
}

fn apply(event: &mut Vec<u8>, mutation: &Mutation) {
    let body = event.len().saturating_sub(19);
    match mutation {
        Mutation::Set(index, byte) if body > 0 => event[19 + index.index(body)] = *byte,
        Mutation::Cut(index) if body > 0 => event.truncate(19 + index.index(body)),
        Mutation::Insert(index, bytes) => {
            let at = 19 + index.index(body + 1);
            event.splice(at..at, bytes.iter().copied());
        }
        Mutation::Kind(kind) => event[4] = *kind,
        _ => {}
    }
}

fn rows_as_json(log: &Log) -> usize {
    log.text.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn mutated_events_never_panic(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), mutation()), 1..12),
    ) {
        thread_local!(static FILES: Vec<(Vec<u8>, Vec<Vec<u8>>)> = recorded());
        FILES.with(|files| {
            let (format, events) = file.get(files);
            let mut events = events.clone();
            for (which, mutation) in &changes {
                let index = which.index(events.len());
                apply(&mut events[index], mutation);
            }
            let mut decoder = Decoder::new(Limits { event_bytes_max: 1 << 22 });
            let mut log = JsonLog::default();
            decoder.start_file("f");
            decoder.event(4, format, &mut log);
            let mut offset = 4 + format.len() as u64;
            for event in events {
                let event = mend(event);
                decoder.event(offset, &event, &mut log);
                offset += event.len() as u64;
            }
            decoder.finish(&mut log);
            prop_assert!(log.balance == 0, "every begin has one end");
            Ok(())
        })?;
    }

    #[test]
    fn random_bodies_never_panic(kind in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::default();
        let mut log = Log::default();
        decoder.start_file("f");
        decoder.event(4, &build::event(19, 0, &build::table_map(9), 0, true), &mut log);
        decoder.event(4, &build::event(kind, 0, &body, 0, true), &mut log);
        decoder.event(4, &body, &mut log);
        decoder.finish(&mut log);
        prop_assert!(rows_as_json(&log) > 0);
    }

    #[test]
    fn random_files_end(bytes in prop::collection::vec(any::<u8>(), 4..2_000)) {
        let mut log = Log::default();
        files::decode("f", &bytes, &mut log);
        prop_assert!(bytes.len() == 4 || !log.gaps.is_empty());
    }
}

/// Decodes every column, and counts begins and ends.
#[derive(Default)]
struct JsonLog {
    out: Vec<u8>,
    balance: i64,
}

impl phiwatch_binlog::Visitor for JsonLog {
    fn table(&mut self, _: &phiwatch_binlog::Table) -> phiwatch_binlog::Plan {
        phiwatch_binlog::Plan { projection: phiwatch_binlog::Projection::All, handle: 0 }
    }
    fn begin(&mut self, _: &phiwatch_binlog::Transaction) {
        self.balance += 1;
    }
    fn row(
        &mut self,
        transaction: &phiwatch_binlog::Transaction,
        change: &phiwatch_binlog::RowChange<'_>,
    ) {
        self.out.clear();
        if phiwatch_binlog::write_row_json(&mut self.out, "f", transaction, change).is_ok() {
            let line = serde_json::from_slice::<serde_json::Value>(&self.out);
            assert!(line.is_ok(), "{}", String::from_utf8_lossy(&self.out));
        } else {
            assert!(self.out.is_empty());
        }
    }
    fn statement(
        &mut self,
        _: &phiwatch_binlog::Transaction,
        statement: &phiwatch_binlog::Statement<'_>,
    ) {
        assert!(statement.tables.len() <= 256);
    }
    fn end(
        &mut self,
        _: &phiwatch_binlog::Transaction,
        _: &phiwatch_binlog::End,
        _: &phiwatch_binlog::BinlogPosition,
    ) {
        self.balance -= 1;
    }
    fn gap(&mut self, gap: &phiwatch_binlog::Gap) {
        self.out.clear();
        phiwatch_binlog::write_gap_json(&mut self.out, gap);
        assert!(serde_json::from_slice::<serde_json::Value>(&self.out).is_ok());
    }
}
