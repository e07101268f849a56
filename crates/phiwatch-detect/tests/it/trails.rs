//! `audit-tampered`: what must be said, and rotation that must not.

use std::sync::Arc;

use phiwatch_binlog::Op;
use phiwatch_detect::{Settings, Severity};
use phiwatch_magento::{
    AccountChange, ConfigChange, ConfigVerdict, Fact, Keep, Observation, Period, Sign, TrailHow,
    Weight,
};

use crate::shop::{Run, Tx, check, fact, row, short, site, tx};

const DAY: i64 = 86_400;
const LOG: &str = "magento_logging_event";

fn sign(table: &str, op: Option<Op>, sign: Sign) -> Observation {
    fact(table, op, Fact::Sign(sign))
}

fn removed(table: &str, keep: Keep, age_secs: i64) -> Observation {
    let age_secs = u64::try_from(age_secs).ok();
    let (how, weight) = (TrailHow::Removed, Weight::High);
    sign(table, Some(Op::Delete), Sign::Trail { keep, how, age_secs, weight })
}

fn rotation(count: usize, age_secs: i64) -> Vec<Observation> {
    vec![removed(LOG, Keep::ActionLog, age_secs); count]
}

#[test]
fn rows_deleted_before_their_time() {
    let alerts = check(&[tx(0, rotation(40, 3 * DAY))], &["audit-tampered/global/4/create"]);
    let want = "40 rows of the audit trail magento_logging_event were deleted before they were 60 \
                days old.";
    assert_eq!(alerts[0].message, want);
    assert_eq!(alerts[0].evidence[0].tables[LOG].deletes, 40);
    let mut mixed = rotation(40, 61 * DAY);
    mixed.extend(rotation(2, 0));
    let alerts = check(&[tx(0, mixed)], &["audit-tampered/global/4/create"]);
    assert!(alerts[0].message.contains("2 of them before"), "{}", alerts[0].message);
    check(
        &[tx(0, vec![removed("admin_user_session", Keep::Day, 7_200)])],
        &["audit-tampered/global/4/create"],
    );
    check(
        &[tx(0, vec![removed("magento_login_as_customer_log", Keep::Always, 400 * DAY)])],
        &["audit-tampered/global/4/create"],
    );
}

#[test]
fn rotation_is_silent() {
    let nights: Vec<Tx> =
        (0..20).map(|night| tx(night * DAY + 7_260, rotation(300, 60 * DAY))).collect();
    check(&nights, &[]);
    let sessions = (0..9)
        .map(|night| tx(night * DAY, vec![removed("admin_user_session", Keep::Day, DAY); 12]));
    check(&sessions.collect::<Vec<_>>(), &[]);
    // A server that logs cascades logs the changes of an event with it.
    let mut both = rotation(3, 61 * DAY);
    both.push(removed("magento_logging_event_changes", Keep::WithParent, 61 * DAY));
    check(&[tx(0, both)], &[]);
}

#[test]
fn rotation_at_another_hour_is_a_weak_sign() {
    let mut nights: Vec<Tx> =
        (0..10).map(|night| tx(night * DAY + 7_260, rotation(300, 60 * DAY))).collect();
    nights.push(tx(10 * DAY + 14 * 3_600, rotation(40, 61 * DAY)));
    check(&nights, &["audit-tampered/global/2/create"]);
}

#[test]
fn a_shorter_rotation_is_told_once() {
    let period = Sign::Period { of: Period::ActionLog, secs: 30 * 86_400 };
    let mut all = vec![tx(0, vec![sign("core_config_data", None, period)])];
    all.extend((1..9).map(|night| tx(night * DAY, rotation(300, 30 * DAY))));
    check(&all, &["audit-tampered/global/3/create", "audit-tampered/global/3/close"]);
    // Younger than even that rotation removes them.
    all.push(tx(9 * DAY, rotation(1, DAY)));
    let mut run = Run::new();
    all.iter().for_each(|tx| {
        run.feed(tx);
    });
    assert_eq!(run.alerts.last().unwrap().severity, Severity::High);
    // Where policy allows it, nothing is told.
    let mut run = Run::with(Settings { action_log_retention_days: 30, ..Settings::default() });
    all[1..9].iter().for_each(|tx| {
        run.feed(tx);
    });
    assert_eq!(short(&run.alerts), Vec::<String>::new());
}

#[test]
fn rows_changed() {
    let change = |how| {
        let (keep, age_secs, weight) = (Keep::ActionLog, Some(60), Weight::High);
        sign(LOG, Some(Op::Update), Sign::Trail { keep, how, age_secs, weight })
    };
    check(&[tx(0, vec![change(TrailHow::Changed)])], &["audit-tampered/global/4/create"]);
    check(&[tx(0, vec![change(TrailHow::Unlinked)])], &["audit-tampered/global/4/create"]);
    // The user is deleted, and a server that logs cascades logs that the rows lose it.
    let gone = fact(
        "admin_user",
        Some(Op::Delete),
        Fact::Account(AccountChange::UserRemoved { user_id: 5 }),
    );
    check(&[tx(0, vec![gone.clone(), change(TrailHow::Unlinked)])], &[]);
    check(&[tx(0, vec![gone, removed("admin_user_session", Keep::Day, 60)])], &[]);
}

#[test]
fn emptied_trails_are_one_finding() {
    let emptied = |table| {
        let (weight, dropped) = (Weight::High, false);
        sign(table, None, Sign::TrailEmptied { weight, dropped })
    };
    let alerts = check(
        &[tx(0, vec![emptied("magento_logging_event_changes")]), tx(1, vec![emptied(LOG)])],
        &["audit-tampered/global/4/create", "audit-tampered/global/4/update"],
    );
    assert_eq!(alerts[0].uid, alerts[1].uid);
    let upgrade = fact("patch_list", Some(Op::Create), Fact::Maintenance { kind: "setup upgrade" });
    check(&[tx(0, vec![upgrade]), tx(5, vec![emptied(LOG)])], &[]);
}

#[test]
fn a_cut_setting_is_one_finding() {
    let path: Arc<str> = Arc::from("admin/magento_logging/actions");
    let why = "2 entries removed".to_owned();
    let change = ConfigChange {
        path: Arc::clone(&path),
        scope: (Arc::from("default"), 0),
        verdict: ConfigVerdict::Opened,
        why: why.clone(),
    };
    let rows = vec![
        fact("core_config_data", Some(Op::Update), Fact::Config(change)),
        sign("core_config_data", None, Sign::TrailSetting { path, why }),
    ];
    let alerts = check(&[tx(0, rows)], &["audit-tampered/global/4/create"]);
    assert!(alerts[0].message.contains("admin/magento_logging/actions"), "{}", alerts[0].message);
    assert!(alerts[0].correlation.is_some());
}

#[test]
fn a_persons_own_trail_goes_with_the_person() {
    let own = |rows: usize| {
        let (keep, how, weight) = (Keep::Always, TrailHow::Removed, Weight::Low);
        let sign = Sign::Trail { keep, how, age_secs: None, weight };
        vec![fact("customer_log", Some(Op::Delete), Fact::Sign(sign)); rows]
    };
    check(&[tx(0, own(30))], &["audit-tampered/global/2/create"]);
    let mut person = own(1);
    person.push(row("customer_entity", Op::Delete, site(1), 7));
    check(&[tx(0, person)], &[]);
}
