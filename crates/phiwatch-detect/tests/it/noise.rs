//! Magento's own bursts: what fools a naive detector must be silent here, and what only looks like it
//! must not.

use phiwatch_binlog::Op;
use phiwatch_magento::{Fact, ImportPhase, Observation, TableClass, Tenant};

use crate::shop::{Run, Tx, check, class_of, fact, row, short, site, tx};

/// Persons of both websites in turn.
fn both(table: &str, op: Op, persons: std::ops::Range<u64>) -> Vec<Observation> {
    persons.map(|n| row(table, op, site(1 + n as u32 % 2), n)).collect()
}

#[test]
fn full_reindex_of_the_customer_grid() {
    let made = Fact::Maintenance { kind: "grid reindex" };
    let mut all = vec![
        tx(0, vec![fact("customer_grid_flat", None, made.clone())]),
        tx(1, vec![fact("customer_grid_flat", None, made)]),
    ];
    all.extend((0..300).map(|n| {
        let first = 100 * n as u64;
        tx(2 + n / 10, both("customer_grid_flat", Op::Create, first..first + 100))
    }));
    check(&all, &[]);
}

#[test]
fn a_reindex_does_not_hide_a_copy() {
    let made = Fact::Maintenance { kind: "grid reindex" };
    let copy = Fact::Copy {
        form: phiwatch_magento::CopyForm::CreateSelect,
        classes: phiwatch_magento::PhiClasses::EMAIL,
        columns: 3,
        sources: Vec::new(),
    };
    check(
        &[
            tx(0, vec![fact("customer_grid_flat", None, made)]),
            tx(5, vec![fact("x_stage", None, copy)]),
        ],
        &["bulk-copy/global/3/create"],
    );
}

#[test]
fn grids_of_sales_in_batches() {
    let batches: Vec<Tx> = (0..60)
        .map(|n| {
            let first = n as u64 * 100;
            tx(n * 60, both("sales_order_grid", Op::Create, first..first + 100))
        })
        .collect();
    check(&batches, &[]);
}

#[test]
fn a_customers_new_address_in_orders_and_carts() {
    let mut run = Run::new();
    for person in 0..20u64 {
        let mut rows = vec![row("customer_entity", Op::Update, site(1), person)];
        rows.extend((0..200).map(|_| row("sales_order", Op::Update, site(1), person)));
        rows.extend((0..50).map(|_| row("quote", Op::Update, site(1), person)));
        run.feed(&tx(person as i64 * 400, rows));
    }
    assert_eq!(short(&run.alerts), Vec::<String>::new());
}

#[test]
fn an_import_of_customers_of_two_websites() {
    let import = |phase, rows| fact("import_history", None, Fact::Import { phase, rows });
    let mut all = vec![
        tx(0, vec![import(ImportPhase::Data, 4_000)]),
        tx(1, vec![import(ImportPhase::Begin, 0)]),
    ];
    all.extend((0..40).map(|n| {
        let first = n as u64 * 100;
        let mut rows = both("customer_entity", Op::Create, first..first + 100);
        rows.extend(both("customer_address_entity", Op::Create, first..first + 100));
        tx(2 + n, rows)
    }));
    all.push(tx(60, vec![import(ImportPhase::End, 4_000)]));
    check(&all, &[]);
    // The same without what announces it.
    let mut run = Run::new();
    all[2..42].iter().for_each(|tx| {
        run.feed(&Tx { secs: tx.secs + 90_000, ..tx.clone() });
    });
    assert!(run.alerts.is_empty(), "a shop that moves in: {:?}", short(&run.alerts));
    all[2..42].iter().for_each(|tx| {
        run.feed(&Tx { secs: tx.secs + 290_000, ..tx.clone() });
    });
    assert!(!run.alerts.is_empty());
}

#[test]
fn new_keys_change_no_data() {
    // The classifier knows that only the key is another one: a touch.
    let mut rows = both("sales_order_payment", Op::Update, 0..5_000);
    rows.iter_mut().for_each(|row| row.is_touch = true);
    rows.push(fact("core_config_data", None, Fact::Maintenance { kind: "re-encryption" }));
    check(&[tx(0, rows)], &[]);
}

#[test]
fn a_data_patch_of_an_upgrade() {
    let patch =
        || fact("patch_list", Some(Op::Create), Fact::Maintenance { kind: "setup upgrade" });
    let mut rows = both("customer_entity", Op::Update, 0..3_000);
    rows.push(patch());
    check(&[tx(0, rows)], &[]);
    // What a patch deletes is told, and so is what comes later.
    let mut rows: Vec<Observation> =
        (0..3_000).map(|n| row("customer_entity", Op::Delete, site(1), n)).collect();
    rows.push(patch());
    check(&[tx(0, rows)], &["mass-deletion/website-1/4/create"]);
    let later = (0..3_000).map(|n| row("customer_entity", Op::Update, site(1), n)).collect();
    check(&[tx(0, vec![patch()]), tx(60, later)], &["bulk-change/website-1/4/create"]);
}

#[test]
fn visitors_sessions_and_logs() {
    assert_eq!(class_of("persistent_session"), TableClass::OtherPersonal);
    let mut run = Run::new();
    for night in 0..10 {
        let rows: Vec<Observation> = (0..500)
            .map(|n| row("persistent_session", Op::Delete, site(1), night as u64 * 500 + n))
            .collect();
        run.feed(&tx(night * 86_400, rows));
        let tokens = (0..300).map(|n| row("oauth_token", Op::Delete, Tenant::Unknown, n));
        run.feed(&tx(night * 86_400 + 60, tokens.collect()));
    }
    assert_eq!(short(&run.alerts), Vec::<String>::new());
}

#[test]
fn deletions_count_alike_whether_the_server_logs_cascades_or_not() {
    let measure = |is_logged: bool| {
        let mut run = Run::new();
        for n in 0..60u64 {
            let mut rows = vec![row("customer_entity", Op::Delete, site(1), n)];
            if is_logged {
                rows.extend((0..3).map(|_| row("customer_address_entity", Op::Delete, site(1), n)));
                rows.extend((0..9).map(|_| row("sales_order", Op::Update, site(1), n)));
                rows.push(row("newsletter_subscriber", Op::Delete, site(1), n));
            }
            run.feed(&tx(3 * 86_400 + n as i64 * 10, rows));
        }
        short(&run.alerts)
    };
    assert_eq!(measure(true), measure(false));
}
