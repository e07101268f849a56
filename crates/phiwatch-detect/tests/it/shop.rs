//! Builds transactions and observations by hand.

use std::sync::Arc;

use phiwatch_binlog::{BinlogPosition, End, EventTime, Gap, Gtid, Op, Transaction};
use phiwatch_detect::{Alert, Engine, Settings};
use phiwatch_magento::{Fact, Observation, PhiClasses, Subject, TableClass, TableInfo, Tenant};

/// 2026-10-01 00:00:00 UTC, a Thursday.
pub(crate) const START: i64 = 1_790_812_800;

pub(crate) fn at(secs: i64) -> EventTime {
    EventTime((START + secs) * 1_000_000)
}

pub(crate) fn site(id: u32) -> Tenant {
    Tenant::Website(id)
}

pub(crate) fn person(n: u64) -> Subject {
    Subject {
        token: n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x55,
        sketch: n.wrapping_mul(0xd134_2543_de82_ef95),
    }
}

pub(crate) fn table(name: &str, class: TableClass) -> Arc<TableInfo> {
    Arc::new(TableInfo {
        database: Arc::from("shop"),
        name: Arc::from(name),
        class,
        phi: if class.is_personal() { PhiClasses::NAME } else { PhiClasses::default() },
        is_grid: name.ends_with("_grid") || name.ends_with("_grid_flat"),
    })
}

pub(crate) fn class_of(name: &str) -> TableClass {
    match name {
        _ if name.starts_with("customer_address") => TableClass::CustomerAddress,
        "customer_visitor" | "newsletter_subscriber" | "persistent_session" | "oauth_token" => {
            TableClass::OtherPersonal
        }
        _ if name.starts_with("customer") => TableClass::Customer,
        _ if name.starts_with("sales") => TableClass::Order,
        _ if name.starts_with("quote") => TableClass::Quote,
        _ if name.starts_with("x_") => TableClass::Unknown,
        _ => TableClass::Control,
    }
}

/// A row of a person.
pub(crate) fn row(name: &str, op: Op, tenant: Tenant, who: u64) -> Observation {
    Observation {
        offset: 4,
        statement: 0,
        table: table(name, class_of(name)),
        op: Some(op),
        tenant,
        subject: Some(person(who)),
        ordinal: None,
        columns_changed: if op == Op::Update { 7 } else { 0 },
        is_touch: false,
        is_inferred: false,
        fact: None,
    }
}

/// A row with a fact and no person.
pub(crate) fn fact(name: &str, op: Option<Op>, fact: Fact) -> Observation {
    Observation {
        subject: None,
        op,
        fact: Some(fact),
        columns_changed: 0,
        ..row(name, Op::Create, Tenant::Global, 0)
    }
}

/// A transaction to come.
#[derive(Debug, Clone)]
pub(crate) struct Tx {
    pub(crate) secs: i64,
    /// 0: the log does not name it.
    pub(crate) thread: u32,
    pub(crate) rows: Vec<Observation>,
    pub(crate) end: End,
}

pub(crate) fn tx(secs: i64, rows: Vec<Observation>) -> Tx {
    Tx { secs, thread: 1, rows, end: End::Commit }
}

/// An engine with its position.
pub(crate) struct Run {
    pub(crate) engine: Engine,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) gaps: Vec<Gap>,
    number: u64,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self { engine: Engine::new(settings), alerts: Vec::new(), gaps: Vec::new(), number: 0 }
    }

    pub(crate) fn feed(&mut self, tx: &Tx) -> &mut Self {
        self.number += 1;
        let transaction = Transaction {
            start: BinlogPosition { file: Arc::from("binlog.000001"), offset: 100 * self.number },
            gtid: Some(Gtid::MySql { uuid: [7; 16], tag: String::new(), number: self.number }),
            time: at(tx.secs),
            server_id: 11,
            thread: (tx.thread > 0).then_some(tx.thread),
        };
        self.engine.begin(&transaction);
        tx.rows.iter().for_each(|row| self.engine.push(row));
        self.gaps.extend(self.engine.end(&transaction, &tx.end, &mut self.alerts));
        self
    }

    /// The log begins anew: its numbers and places come again.
    pub(crate) fn reset(&mut self, resets: u32) {
        self.number = 0;
        self.restart(Settings { resets, ..Settings::default() });
    }

    /// Goes on from a checkpoint with a new engine.
    pub(crate) fn restart(&mut self, settings: Settings) {
        let bytes = self.engine.checkpoint();
        self.engine = Engine::restore(settings, &bytes).unwrap();
        assert_eq!(self.engine.checkpoint(), bytes);
    }
}

/// Alerts in short: `rule/tenant/severity/activity`.
pub(crate) fn short(alerts: &[Alert]) -> Vec<String> {
    alerts
        .iter()
        .map(|a| {
            format!("{}/{}/{}/{:?}", a.rule, a.tenant, a.severity as u8, a.activity).to_lowercase()
        })
        .collect()
}

/// Feeds transactions to a fresh engine and compares the alerts in short.
#[track_caller]
pub(crate) fn check(transactions: &[Tx], want: &[&str]) -> Vec<Alert> {
    let mut run = Run::new();
    for tx in transactions {
        run.feed(tx);
    }
    run.engine.finish(&mut run.alerts);
    assert_eq!(short(&run.alerts), want, "{:#?}", run.alerts);
    for alert in &run.alerts {
        assert!(alert.message.ends_with('.'), "{}", alert.message);
        assert!(alert.evidence.len() <= 8);
    }
    run.alerts
}
