//! Simulated transactions to the engine, as the classifier would hand them over.

use std::sync::Arc;

use phiwatch_binlog::{BinlogPosition, End, EventTime, Gtid, Op, Transaction};
use phiwatch_detect::{Alert, Engine};
use phiwatch_magento::{
    Fact, ImportPhase, Observation, Ordinal, PhiClasses, Subject, TableClass, TableInfo, Tenant,
};
use phiwatch_testkit::months::people::{What, Write};

/// Feeds the transactions of one shop.
#[derive(Debug, Clone)]
pub(crate) struct Feeder {
    file: Arc<str>,
    number: u64,
    customer: Observation,
    order: Observation,
    import: Observation,
}

impl Feeder {
    pub(crate) fn new(website: u32) -> Self {
        let customer = observation("customer_entity", TableClass::Customer, website);
        Self {
            file: Arc::from("binlog.000001"),
            number: 0,
            order: observation("sales_order", TableClass::Order, website),
            import: Observation {
                tenant: Tenant::Global,
                ..observation("import_history", TableClass::Control, website)
            },
            customer,
        }
    }

    /// Feeds one transaction; alerts are appended.
    pub(crate) fn feed(&mut self, engine: &mut Engine, write: &Write, out: &mut Vec<Alert>) {
        self.number += 1;
        let transaction = Transaction {
            start: BinlogPosition { file: Arc::clone(&self.file), offset: 100 * self.number },
            gtid: Some(Gtid::MySql { uuid: [7; 16], tag: String::new(), number: self.number }),
            time: EventTime(write.secs * 1_000_000),
            server_id: 1,
            thread: Some(write.thread),
        };
        engine.begin(&transaction);
        match &write.what {
            What::Change(ids) => {
                for id in ids {
                    engine.push(&edited(&self.customer, *id));
                }
            }
            What::SignUp(id) => engine.push(&about(&self.customer, Op::Create, *id)),
            What::Delete(id) => engine.push(&about(&self.customer, Op::Delete, *id)),
            What::Order(id) => engine.push(&about(&self.order, Op::Create, *id)),
            What::ImportBegins(rows) => {
                let rows = u64::from(*rows);
                self.announce(engine, Fact::Import { phase: ImportPhase::Data, rows });
                self.announce(engine, Fact::Import { phase: ImportPhase::Begin, rows: 0 });
            }
            What::ImportEnds => {
                self.announce(engine, Fact::Import { phase: ImportPhase::End, rows: 0 });
            }
        }
        engine.end(&transaction, &End::Commit, out);
    }

    fn announce(&self, engine: &mut Engine, fact: Fact) {
        engine.push(&Observation { fact: Some(fact), ..self.import.clone() });
    }
}

fn observation(table: &str, class: TableClass, website: u32) -> Observation {
    let table = TableInfo {
        database: Arc::from("shop"),
        name: Arc::from(table),
        class,
        phi: if class.is_personal() { PhiClasses::NAME } else { PhiClasses::default() },
        is_grid: false,
    };
    Observation {
        offset: 4,
        statement: 0,
        table: Arc::new(table),
        op: Some(Op::Create),
        tenant: Tenant::Website(website),
        subject: None,
        ordinal: None,
        columns_changed: 0,
        is_touch: false,
        is_inferred: false,
        fact: None,
    }
}

fn about(like: &Observation, op: Op, id: u64) -> Observation {
    let subject = Some(Subject::customer(&like.table.database, id));
    Observation { op: Some(op), subject, ..like.clone() }
}

fn edited(like: &Observation, id: u64) -> Observation {
    let ordinal = Some(Ordinal::new(id));
    Observation { ordinal, columns_changed: 7, ..about(like, Op::Update, id) }
}
