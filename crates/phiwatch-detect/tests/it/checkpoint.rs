//! Checkpoints: the same alerts wherever a run is cut, and no panic on any bytes.

use std::sync::Arc;

use phiwatch_binlog::{End, Op, Xid};
use phiwatch_detect::{CheckpointError, Engine, Settings};
use phiwatch_magento::{
    Account, AccountChange, CopyForm, CrossTenant, ExportEntity, Fact, Keep, LookedBy, Observation,
    Period, PhiClasses, Sign, TrailHow, Weight,
};
use proptest::prelude::*;

use crate::shop::{Run, Tx, fact, row, site, tx};

/// One of many kinds of transaction, by number.
fn any_tx(kind: u8, n: u64) -> Tx {
    let name = ["customer_entity", "sales_order", "quote", "customer_address_entity"];
    let table = name[n as usize % 4];
    let many = |op: Op, count: u64| -> Vec<Observation> {
        (0..count).map(|i| row(table, op, site(1 + n as u32 % 3), n * 50 + i)).collect()
    };
    let xid = Xid(format!("X'{:02x}',X'',1", n % 3));
    let mut transaction = tx(
        0,
        match kind {
            0 => many(Op::Create, 1),
            1 => many(Op::Update, 1 + n % 4),
            2 => many(Op::Update, 120),
            3 => many(Op::Delete, 90),
            4 => vec![fact(
                "queue_message",
                Some(Op::Create),
                Fact::ExportQueued {
                    message_id: n % 5,
                    entity: ExportEntity::Customer,
                    is_filtered: n.is_multiple_of(2),
                },
            )],
            5 => vec![fact(
                "queue_message_status",
                Some(Op::Update),
                Fact::ExportStatus { message_id: n % 5, status: 3 },
            )],
            6 => vec![fact("adminnotification_inbox", Some(Op::Create), Fact::ExportNotice)],
            7 => (0..n % 70)
                .map(|_| {
                    fact(
                        "x_stage",
                        Some(Op::Create),
                        Fact::Copy {
                            form: CopyForm::RowUnknownTable,
                            classes: PhiClasses::EMAIL,
                            columns: 2,
                            sources: Vec::new(),
                        },
                    )
                })
                .collect(),
            8 => vec![fact(
                "admin_user",
                Some(Op::Create),
                Fact::Account(AccountChange::UserCreated { user_id: n % 3, is_active: true }),
            )],
            9 => many(Op::Update, 40),
            10 | 11 => many(Op::Update, 60),
            13 => signs(n),
            _ => many(Op::Update, 2)
                .into_iter()
                .map(|row| Observation {
                    fact: Some(Fact::CrossTenant(CrossTenant {
                        invariant: 3,
                        statement: "an order's store belongs to its customer's website",
                        found: row.tenant,
                        expected: site(9),
                        weight: Weight::High,
                    })),
                    ..row
                })
                .collect(),
        },
    );
    transaction.thread = n as u32 % 4;
    match kind {
        9 => transaction.end = End::Rollback,
        10 => transaction.end = End::XaPrepared(xid),
        11 => {
            transaction.rows.clear();
            transaction.end = End::XaCommit(xid);
        }
        _ => {}
    }
    transaction
}

/// Signs of every kind.
fn signs(n: u64) -> Vec<Observation> {
    let (keep, weight, age_secs) = (Keep::ActionLog, Weight::High, Some(n * 86_400));
    let account = n % 7;
    let code = Arc::from("sales_clean_quotes");
    let all = [
        Sign::Trail { keep, how: TrailHow::Removed, age_secs, weight },
        Sign::TrailEmptied { weight, dropped: n.is_multiple_of(2) },
        Sign::Failure { of: Account::Customer, account: n, failures: n },
        Sign::Locked { of: Account::Admin, account },
        Sign::ResetAsked { of: Account::Customer, account },
        Sign::Looked { user: n % 2, person: n, by: LookedBy::Login },
        Sign::Token { person: n },
        Sign::Job { code, is_done: !n.is_multiple_of(3) },
        Sign::Kept { removed: n.is_multiple_of(2) },
        Sign::SameEmail { website: 9 },
        Sign::Moved { from: 1, to: 9 },
        Sign::Period { of: Period::ActionLog, secs: n * 86_400 },
    ];
    let sign = |sign: Sign| Observation {
        tenant: site(1),
        ..fact("magento_logging_event", Some(Op::Delete), Fact::Sign(sign))
    };
    all.into_iter().skip(n as usize % 5).map(sign).collect()
}

fn run(transactions: &[Tx], cuts: &[usize]) -> (String, Vec<u8>) {
    let mut run = Run::new();
    for (index, transaction) in transactions.iter().enumerate() {
        if cuts.contains(&index) {
            run.restart(Settings::default());
        }
        run.feed(transaction);
    }
    run.engine.finish(&mut run.alerts);
    (format!("{:#?}", run.alerts), run.engine.checkpoint())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn restart_anywhere_gives_the_same_alerts(
        kinds in prop::collection::vec((0u8..14, 0u64..40, 0i64..40_000), 1..60),
        cuts in prop::collection::vec(0usize..60, 0..5),
    ) {
        let mut secs = 0;
        let transactions: Vec<Tx> = kinds
            .into_iter()
            .map(|(kind, n, gap)| {
                secs += gap;
                Tx { secs, ..any_tx(kind, n) }
            })
            .collect();
        let whole = run(&transactions, &[]);
        prop_assert_eq!(&whole, &run(&transactions, &[]));
        prop_assert_eq!(&whole, &run(&transactions, &cuts));
    }

    #[test]
    fn random_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Engine::restore(Settings::default(), &bytes).is_err());
        bytes.splice(0..0, *b"PHWD\x01\x00");
        prop_assert!(Engine::restore(Settings::default(), &bytes).is_err());
    }

    #[test]
    fn damaged_checkpoints_do_not_panic(at in 0usize..40_000, bit in 0u8..8, cut in 0usize..40_000) {
        let mut run = Run::new();
        for n in 0..26 {
            run.feed(&Tx { secs: n as i64 * 1_000, ..any_tx(n as u8 % 14, n) });
        }
        let mut bytes = run.engine.checkpoint();
        let short = &bytes[..cut % bytes.len()];
        prop_assert!(Engine::restore(Settings::default(), short).is_err());
        let index = at % bytes.len();
        bytes[index] ^= 1 << bit;
        if let Ok(engine) = Engine::restore(Settings::default(), &bytes) {
            // What is read must also run.
            let mut damaged = Run::new();
            damaged.engine = engine;
            damaged.feed(&Tx { secs: 90_000, ..any_tx(2, 3) });
        }
    }
}

#[test]
fn the_version_before_is_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/state/engine-2.bin");
    let old = std::fs::read(path).unwrap();
    let engine = Engine::restore(Settings::default(), &old).unwrap();
    assert!(engine.now().is_some() && engine.stats().keys > 0);
    let new = engine.checkpoint();
    assert_ne!(new, old);
    assert_eq!(Engine::restore(Settings::default(), &new).unwrap().checkpoint(), new);
}

#[test]
fn other_versions_are_refused() {
    let mut bytes = Engine::new(Settings::default()).checkpoint();
    assert!(Engine::restore(Settings::default(), &bytes).is_ok());
    bytes.push(0);
    assert!(matches!(
        Engine::restore(Settings::default(), &bytes),
        Err(CheckpointError::Damaged(_))
    ));
    bytes[4] = 1;
    assert_eq!(
        Engine::restore(Settings::default(), &bytes).err(),
        Some(CheckpointError::Version { expected: 3 })
    );
}
