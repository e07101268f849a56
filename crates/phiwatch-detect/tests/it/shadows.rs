//! Shadows of online schema changes: explained while they are filled and once they are swapped in,
//! copies otherwise.

use std::sync::Arc;

use phiwatch_binlog::Op;
use phiwatch_detect::{Activity, Settings, Severity};
use phiwatch_magento::{CopyForm, Fact, Observation, PhiClasses};

use crate::shop::{Run, Tx, check, fact, row, short, site, tx};

fn shadow(form: CopyForm) -> Observation {
    let op = (form == CopyForm::RowShadow).then_some(Op::Create);
    let sources = vec![Arc::from("customer_entity")];
    let classes = PhiClasses::EMAIL;
    fact("x_gho", op, Fact::Copy { form, classes, columns: 9, sources })
}

fn migration(is_swapped: bool) -> Observation {
    fact("customer_entity", None, Fact::Migration { shadow: Arc::from("x_gho"), is_swapped })
}

/// A shadow made, and filled with as many rows an hour as the log's length allows.
fn filling(hours: i64, rows: usize) -> Vec<Tx> {
    let mut all = vec![tx(0, vec![shadow(CopyForm::CreateShadow)])];
    for n in 0..hours {
        all.push(tx(n * 3_600 + 1, vec![shadow(CopyForm::RowShadow); rows]));
    }
    all
}

#[test]
fn a_migration_that_is_swapped_in_is_explained_and_no_copy() {
    let mut all = filling(5, 700);
    all.push(tx(4 * 3_600 + 60, vec![migration(true)]));
    all.push(tx(200_000, Vec::new()));
    check(&all, &[]);
    let mut run =
        Run::with(Settings { severity_min: Severity::Informational, ..Settings::default() });
    for tx in &all {
        run.feed(tx);
    }
    let told = &run.alerts;
    assert!(told.iter().all(|alert| alert.severity == Severity::Informational), "{told:#?}");
    let last = told.iter().rfind(|alert| alert.activity != Activity::Close).unwrap();
    assert!(
        last.message.contains("took the place of customer_entity after it had taken 3500 rows")
    );
    assert_eq!(last.benign.as_deref(), Some("an online schema change of customer_entity"));
}

#[test]
fn a_shadow_that_never_takes_the_place_is_a_copy() {
    for (hours, rows, end, want) in [
        // Dropped, or renamed to something else.
        (1, 100, Some(tx(60, vec![migration(false)])), "bulk-copy/global/3/create"),
        (1, 700, Some(tx(60, vec![migration(false)])), "bulk-copy/global/4/create"),
        // Left standing: told by the next commit after an hour without a row.
        (1, 100, Some(tx(3_700, Vec::new())), "bulk-copy/global/3/create"),
        // Filled for more than a day.
        (26, 10, None, "bulk-copy/global/3/create"),
    ] {
        let mut all = filling(hours, rows);
        all.extend(end);
        let mut run = Run::new();
        for tx in &all {
            run.feed(tx);
            run.restart(Settings::default());
        }
        assert_eq!(short(&run.alerts), [want], "{hours} {rows}");
        assert!(run.alerts[0].message.contains("the shadow of customer_entity"));
        // What wrote to it, not what happened to be committed when time was up.
        let evidence = run.alerts[0].evidence.last().unwrap();
        assert!(evidence.tables.contains_key("x_gho") || hours == 1, "{evidence:?}");
    }
    // Nothing came into it: no copy.
    check(&[filling(0, 0).remove(0), tx(9_000, vec![migration(false)])], &[]);
}

#[test]
fn rows_that_a_told_shadow_takes_go_on_counting() {
    let mut all = filling(1, 100);
    all.push(tx(3_700, Vec::new()));
    all.push(tx(3_800, vec![shadow(CopyForm::RowShadow); 600]));
    check(&all, &["bulk-copy/global/3/create", "bulk-copy/global/4/update"]);
}

#[test]
fn a_swap_that_loses_the_customers_is_a_mass_deletion() {
    let customers = (0..400).map(|n| row("customer_entity", Op::Create, site(1), n)).collect();
    let mut all = vec![tx(-10, customers)];
    all.extend(filling(1, 3));
    all.push(tx(60, vec![migration(true)]));
    let alerts = check(&all, &["mass-deletion/global/4/create"]);
    assert!(
        alerts[0].message.contains("with 3 rows of about 398 persons"),
        "{}",
        alerts[0].message
    );
}
