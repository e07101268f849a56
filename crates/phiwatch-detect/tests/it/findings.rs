//! Life cycle of findings, transactions that do not commit, gaps.

use std::sync::Arc;

use phiwatch_binlog::{BinlogPosition, End, Gap, Malformed, Op, Xid};
use phiwatch_detect::{Activity, Exception, MaintenanceWindow, RuleId, Settings, Severity};
use phiwatch_magento::{CopyForm, Fact, Observation, OperatorRule, PhiClasses};

use crate::shop::{Run, Tx, at, check, fact, row, short, site, tx};

fn update(who: std::ops::Range<u64>) -> Vec<Observation> {
    who.map(|n| row("customer_entity", Op::Update, site(1), n)).collect()
}

/// Rows with e-mail addresses for a table that is not in the catalogue.
fn copied(count: usize) -> Vec<Observation> {
    let copy = Fact::Copy {
        form: CopyForm::RowUnknownTable,
        classes: PhiClasses::EMAIL,
        columns: 1,
        sources: Vec::new(),
    };
    vec![fact("x_stage", Some(Op::Create), copy); count]
}

fn quiet(secs: i64) -> Tx {
    tx(secs, Vec::new())
}

#[test]
fn growth_updates_and_quiet_closes() {
    let alerts = check(
        &[
            tx(0, copied(100)),
            tx(10, copied(50)),
            tx(20, copied(150)),
            quiet(599),
            quiet(601),
            quiet(20 + 7_200),
        ],
        &["bulk-copy/global/3/create", "bulk-copy/global/3/update", "bulk-copy/global/3/close"],
    );
    assert_eq!(alerts.iter().map(|a| a.revision).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(alerts.iter().all(|alert| alert.uid == alerts[0].uid));
    assert_eq!((alerts[1].time, alerts[2].time), (at(600), at(7_220)));
    assert_eq!((alerts[2].first_seen, alerts[2].last_seen), (at(0), at(20)));
    assert!(alerts[2].message.ends_with("so far 300 rows in 3 transactions."));
}

/// The finding of a transaction whose number an earlier one had must not take its id: the store
/// would take it for that one, said again.
#[test]
fn a_number_that_comes_again_after_a_reset_has_another_id() {
    for resets in [0, 1, 2] {
        let mut run = Run::new();
        run.feed(&tx(0, copied(100))).feed(&quiet(20 + 7_200));
        run.reset(resets);
        run.feed(&tx(8_000, copied(100)));
        let created: Vec<_> =
            run.alerts.iter().filter(|alert| alert.activity == Activity::Create).collect();
        let [first, second] = created[..] else { panic!("{:?}", short(&run.alerts)) };
        assert_eq!(first.evidence[0].gtid, second.evidence[0].gtid);
        assert_eq!(first.uid == second.uid, resets == 0, "{resets}");
    }
}

#[test]
fn rising_severity_is_told_at_once() {
    check(
        &[tx(0, copied(100)), tx(1, copied(600))],
        &["bulk-copy/global/3/create", "bulk-copy/global/4/update"],
    );
}

#[test]
fn further_acts_are_told_at_once_but_not_for_ever() {
    let mut run = Run::new();
    for n in 0..30 {
        run.feed(&tx(n, update(n as u64 * 100..n as u64 * 100 + 100)));
    }
    assert_eq!(run.alerts.len(), 8);
    run.engine.finish(&mut run.alerts);
    assert_eq!(run.alerts.len(), 9);
    assert_eq!(run.alerts[8].subjects, (3_000, true));
}

#[test]
fn waiting_updates_are_told_when_files_end() {
    let mut run = Run::new();
    run.feed(&tx(0, copied(100))).feed(&tx(1, copied(200)));
    assert_eq!(run.alerts.len(), 1);
    run.engine.finish(&mut run.alerts);
    assert_eq!((run.alerts[1].activity, run.alerts[1].time), (Activity::Update, at(600)));
    run.engine.finish(&mut run.alerts);
    assert_eq!(run.alerts.len(), 2);
}

#[test]
fn evidence_is_the_first_and_the_last() {
    let mut run = Run::new();
    for n in 0..20 {
        run.feed(&tx(n, update(n as u64 * 100..n as u64 * 100 + 100)));
    }
    run.feed(&quiet(9_000));
    let last = run.alerts.last().unwrap();
    let times: Vec<i64> = last.evidence.iter().map(|e| e.time.secs() - at(0).secs()).collect();
    assert_eq!(times, [0, 1, 2, 3, 16, 17, 18, 19]);
}

#[test]
fn only_commits_count() {
    let xid = || Xid("X'61',X'',1".to_owned());
    let big = |secs: i64, end: End| Tx { end, ..tx(secs, update(0..100)) };
    let end = |secs: i64, end: End| Tx { end, ..quiet(secs) };
    check(&[big(0, End::Rollback), big(1, End::Torn)], &[]);
    check(&[big(0, End::XaPrepared(xid())), end(5, End::XaRollback(xid()))], &[]);
    let alerts = check(
        &[big(0, End::XaPrepared(xid())), end(5, End::XaCommit(xid()))],
        &["bulk-change/website-1/3/create"],
    );
    assert_eq!(alerts[0].time, at(5));
    assert_eq!(alerts[0].evidence[0].position.offset, 100);
}

#[test]
fn a_commit_of_what_was_never_seen_prepared_is_a_gap() {
    let xid = Xid("X'61',X'',1".to_owned());
    let commit = Tx { end: End::XaCommit(xid.clone()), ..quiet(5) };
    let alerts = check(std::slice::from_ref(&commit), &["coverage-gap/global/3/create"]);
    assert!(alerts[0].message.contains("prepared before what was read"), "{}", alerts[0].message);
    let mut run = Run::new();
    run.feed(&Tx { end: End::XaRollback(xid), ..quiet(5) });
    assert_eq!((run.gaps.len(), run.alerts.len()), (0, 0));
    run.feed(&commit);
    assert_eq!(run.gaps[0].cause, Malformed::PreparedUnknown);
    assert_eq!(run.gaps[0].at.offset, 200);
}

#[test]
fn prepared_transactions_are_held_up_to_a_bound_and_what_is_over_it_is_told() {
    let xid = |n: u64| Xid(format!("X'{n:04x}',X'',1"));
    let prepared = |n: u64, persons: u64| Tx {
        end: End::XaPrepared(xid(n)),
        ..tx(n as i64, update(n * 100_000..n * 100_000 + persons))
    };
    let mut run = Run::new();
    // 48 bytes a person: six of these are 14 MB, the seventh is over 16 MiB.
    for n in 0..6 {
        run.feed(&prepared(n, 50_000));
    }
    assert_eq!((run.gaps.len(), run.engine.stats().prepared), (0, 6));
    run.feed(&prepared(6, 50_000));
    assert_eq!((run.gaps.len(), run.engine.stats().prepared), (1, 6));
    // The oldest was given up: where it was prepared is what the gap names.
    assert_eq!((&run.gaps[0].cause, run.gaps[0].at.offset), (&Malformed::PreparedOverBound, 100));
    assert_eq!(short(&run.alerts), ["coverage-gap/global/3/create"]);
    // Held is what was observed, not the rows: many rows of few persons take no room.
    let few = (0..200_000).flat_map(|n| update(n % 10..n % 10 + 1)).collect();
    run.feed(&Tx { end: End::XaPrepared(xid(7)), ..tx(7, few) });
    assert_eq!((run.gaps.len(), run.engine.stats().prepared), (1, 7));
    run.restart(Settings::default());
    run.feed(&Tx { end: End::XaCommit(xid(6)), ..quiet(8) });
    assert_eq!(short(&run.alerts[1..]), ["bulk-change/website-1/4/create"]);
    run.feed(&Tx { end: End::XaCommit(xid(0)), ..quiet(9) });
    assert_eq!(run.gaps.last().unwrap().cause, Malformed::PreparedUnknown);
}

#[test]
fn rules_off_and_low_severities_are_withheld() {
    let mut run =
        Run::with(Settings { rules_off: [RuleId::BulkChange].into(), ..Settings::default() });
    run.feed(&tx(0, update(0..900))).feed(&quiet(9_000));
    assert!(run.alerts.is_empty());
    assert_eq!(run.engine.stats().signals[&RuleId::BulkChange], 1);

    let mut run = Run::with(Settings { severity_min: Severity::High, ..Settings::default() });
    run.feed(&tx(0, update(0..100))).feed(&tx(1, update(100..900))).feed(&quiet(9_000));
    assert_eq!(
        short(&run.alerts),
        ["bulk-change/website-1/4/create", "bulk-change/website-1/4/close",]
    );
    assert_eq!(run.alerts[0].revision, 0);
}

fn own_rule(persons_min: u64) -> Arc<OperatorRule> {
    Arc::new(OperatorRule {
        id: "x-moved".into(),
        title: "Somebody was moved".into(),
        remediation: "Ask.".into(),
        severity: 3,
        persons_min,
    })
}

/// An operator's rule fits a row of each person.
fn fitting(rule: &Arc<OperatorRule>, website: u32, who: std::ops::Range<u64>) -> Vec<Observation> {
    let each = |n| {
        let fact = Some(Fact::Operator { rule: Arc::clone(rule), op: Op::Update });
        let plain = row("customer_entity", Op::Update, site(website), n);
        [plain.clone(), Observation { op: None, fact, ..plain }]
    };
    who.flat_map(each).collect()
}

#[test]
fn a_rule_of_the_operator_is_one_finding_a_tenant() {
    let mut run = Run::new();
    let rule = own_rule(3);
    run.feed(&tx(0, fitting(&rule, 1, 0..2)));
    assert!(run.alerts.is_empty(), "two persons are too few");
    let rows = [fitting(&rule, 1, 0..2), fitting(&rule, 2, 5..6)].concat();
    run.feed(&tx(10, rows)).feed(&tx(700, fitting(&rule, 1, 10..20)));
    // Rows of two websites in one transaction are a finding of their own.
    run.alerts.retain(|alert| alert.rule == RuleId::Operator);
    let told: Vec<_> =
        run.alerts.iter().map(|a| (a.rule_id(), &*a.tenant, a.activity, a.subjects)).collect();
    assert_eq!(
        told,
        [
            ("x-moved", "website-1", Activity::Create, (2, true)),
            ("x-moved", "website-2", Activity::Create, (1, true)),
            ("x-moved", "website-1", Activity::Update, (12, true)),
        ]
    );
    assert_eq!(run.alerts[0].evidence[0].tables["customer_entity"].updates, 2);
    assert_eq!(
        run.alerts[0].message,
        "Somebody was moved: 2 rows of customer_entity of 2 persons."
    );
}

#[test]
fn a_finding_of_a_rule_that_is_gone_is_closed() {
    let mut run = Run::new();
    run.feed(&tx(0, fitting(&own_rule(0), 1, 0..2)));
    // The file without the rule: nothing gives its fact any more.
    run.restart(Settings::default());
    run.feed(&quiet(9_000));
    let told: Vec<_> = run.alerts.iter().map(|a| (a.rule_id(), a.title(), a.activity)).collect();
    let words = ("x-moved", "Somebody was moved");
    assert_eq!(told, [(words.0, words.1, Activity::Create), (words.0, words.1, Activity::Close)]);
    let off = Settings { operator_off: ["x-moved".to_owned()].into(), ..Settings::default() };
    let mut run = Run::with(off);
    run.feed(&tx(0, fitting(&own_rule(0), 1, 0..2))).feed(&quiet(9_000));
    assert!(run.alerts.is_empty());
}

#[test]
fn maintenance_windows_lower_what_fits_them() {
    let window = MaintenanceWindow {
        name: "merge".into(),
        tables: vec!["customer_entity".into()],
        from_secs: 3_600,
        until_secs: 7_200,
        rows_max: 1_000,
        expires: at(90 * 86_400),
    };
    let settings = Settings {
        maintenance: vec![window],
        severity_min: Severity::Informational,
        ..Settings::default()
    };
    let mut run = Run::with(settings);
    run.feed(&tx(3_700, update(0..900)));
    assert_eq!(short(&run.alerts), ["bulk-change/website-1/1/create"]);
    assert_eq!(run.alerts[0].benign.as_deref(), Some("maintenance window merge"));
    // More rows than it may write.
    run.feed(&tx(3_800, update(0..900)));
    assert_eq!(run.alerts[1].severity, Severity::Critical);
    assert_eq!(run.alerts[1].benign, None);
}

fn merge() -> Exception {
    Exception {
        name: "merge".into(),
        owner: "shop team".into(),
        expires: at(90 * 86_400),
        until: "2027-03-01".into(),
        rules: [RuleId::BulkChange].into(),
        tenants: vec!["website-1".into()],
        databases: Vec::new(),
        tables: vec!["customer_entity".into()],
        persons_max: Some(1_000),
    }
}

fn excepted(exception: Exception) -> Run {
    Run::with(Settings { exceptions: vec![exception], ..Settings::default() })
}

#[test]
fn an_exception_lowers_what_fits_it_and_hides_nothing() {
    let mut run = excepted(merge());
    run.feed(&tx(0, update(0..900))).feed(&quiet(9_000));
    // Also below `severity_min`, which is 2.
    assert_eq!(
        short(&run.alerts),
        ["bulk-change/website-1/1/create", "bulk-change/website-1/1/close"]
    );
    let said = "expected: exception merge of shop team until 2027-03-01";
    assert!(run.alerts.iter().all(|alert| alert.benign.as_deref() == Some(said)));
    assert_eq!(run.engine.stats().excepted["merge"], 1);
    // Its id is that of the same finding without the exception.
    let mut plain = Run::new();
    plain.feed(&tx(0, update(0..900)));
    assert_eq!(plain.alerts[0].uid, run.alerts[0].uid);
    assert!(plain.alerts[0].severity > Severity::Medium);
}

#[test]
fn a_finding_that_outgrows_its_exception_is_raised_at_once_and_stays_so() {
    let mut run = excepted(merge());
    run.feed(&tx(0, update(0..900))).feed(&tx(10, update(900..1_100))).feed(&quiet(9_000));
    let severity: Vec<_> = run.alerts.iter().map(|alert| alert.severity as u8).collect();
    assert_eq!(severity[0], 1);
    assert!(severity.len() == 3 && severity[1] > 3 && severity[2] == severity[1], "{severity:?}");
    assert_eq!((run.alerts[1].time, &run.alerts[1].benign), (at(10), &None));
    // Another table, which leaves the evidence that is kept, is not forgotten.
    let mut run = excepted(merge());
    run.feed(&tx(0, update(0..300)));
    let other = (300..400).map(|n| row("customer_address_entity", Op::Update, site(1), n));
    run.feed(&tx(10, other.collect()));
    for n in 0..10 {
        run.feed(&tx(20 + n, update(0..300)));
    }
    run.feed(&quiet(9_000));
    assert_eq!(run.alerts[0].severity as u8, 1);
    assert!(run.alerts[1..].iter().all(|alert| alert.severity as u8 > 1));
}

#[test]
fn an_exception_ends_and_is_for_its_own_rules_and_tenants() {
    for other in [
        Exception { rules: [RuleId::BulkCopy].into(), ..merge() },
        Exception { tenants: vec!["website-2".into()], ..merge() },
        Exception { databases: vec!["elsewhere".into()], ..merge() },
        Exception { tables: vec!["sales_order".into()], ..merge() },
        Exception { persons_max: Some(899), ..merge() },
        Exception { expires: at(0), ..merge() },
    ] {
        let mut run = excepted(other.clone());
        run.feed(&tx(0, update(0..900)));
        assert!(run.alerts[0].severity as u8 > 1, "{other:?}");
        assert_eq!(run.engine.stats().excepted["merge"], 0);
    }
    // A finding that was expected is closed as such, also after the end.
    let mut run = excepted(Exception { expires: at(1), ..merge() });
    run.feed(&tx(0, update(0..900))).feed(&quiet(9_000));
    assert_eq!(run.alerts.iter().map(|a| a.severity as u8).collect::<Vec<_>>(), [1, 1]);
    // Nobody answers for what was not read.
    let mut run = excepted(Exception {
        rules: RuleId::ALL.into(),
        tables: Vec::new(),
        tenants: Vec::new(),
        ..merge()
    });
    let at = BinlogPosition { file: Arc::from("binlog.000001"), offset: 4 };
    let gap = Gap { at, bytes: 9, gtid: None, table: None, cause: Malformed::NoEvent };
    run.engine.gap(&gap, &mut run.alerts);
    assert_eq!(run.alerts[0].severity, Severity::Medium);
}

#[test]
fn late_transactions_are_judged_as_of_the_latest_time() {
    let mut run = Run::new();
    run.feed(&quiet(100)).feed(&tx(40, update(0..100)));
    assert_eq!(run.alerts[0].time, at(100));
    assert_eq!(run.engine.stats().late, 1);
}

#[test]
fn gaps_of_one_kind_and_file_are_one_finding() {
    let mut run = Run::new();
    run.feed(&quiet(0));
    let gap = |offset: u64, cause: Malformed| Gap {
        at: BinlogPosition { file: Arc::from("binlog.000001"), offset },
        bytes: 10,
        gtid: None,
        table: None,
        cause,
    };
    let checksum = || Malformed::Checksum { found: 1, computed: 2 };
    run.engine.gap(&gap(10, checksum()), &mut run.alerts);
    run.engine.gap(&gap(20, checksum()), &mut run.alerts);
    run.engine.gap(&gap(30, Malformed::Encrypted), &mut run.alerts);
    let missing = BinlogPosition { file: Arc::from("binlog.000007"), offset: 4 };
    run.engine.missing("uuid:1-40", &missing, &mut run.alerts);
    run.feed(&quiet(86_400));
    assert_eq!(
        short(&run.alerts),
        [
            "coverage-gap/global/3/create",
            "coverage-gap/global/3/create",
            "coverage-gap/global/3/create",
            "coverage-gap/global/3/update",
        ]
    );
    assert_eq!(run.alerts[3].uid, run.alerts[0].uid);
    assert!(run.alerts[2].message.contains("uuid:1-40"));
}
