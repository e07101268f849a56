//! `retention-overdue`: jobs that stop, and rows that stay.

use std::sync::Arc;

use phiwatch_binlog::{BinlogPosition, Op};
use phiwatch_detect::Activity;
use phiwatch_magento::{Fact, Observation, Period, Sign};

use crate::shop::{Run, at, fact, row, short, site, tx};

const DAY: i64 = 86_400;

fn sign(table: &str, sign: Sign) -> Vec<Observation> {
    vec![fact(table, Some(Op::Update), Fact::Sign(sign))]
}

fn job(code: &str, is_done: bool) -> Vec<Observation> {
    sign("cron_schedule", Sign::Job { code: Arc::from(code), is_done })
}

/// Something happens each hour.
fn hours(run: &mut Run, days: std::ops::Range<i64>) {
    for hour in days.start * 24..days.end * 24 {
        run.feed(&tx(hour * 3_600 + 1_800, Vec::new()));
    }
}

fn nightly(run: &mut Run, days: std::ops::Range<i64>) {
    for day in days {
        run.feed(&tx(day * DAY + 30, job("sales_clean_quotes", true)));
        hours(run, day..day + 1);
    }
}

#[test]
fn a_job_that_stops_is_told_once_with_its_times() {
    let mut run = Run::new();
    nightly(&mut run, 0..20);
    assert_eq!(short(&run.alerts), Vec::<String>::new());
    hours(&mut run, 20..21);
    assert_eq!(short(&run.alerts), Vec::<String>::new());
    hours(&mut run, 21..28);
    assert_eq!(
        short(&run.alerts),
        ["retention-overdue/global/2/create", "retention-overdue/global/3/update"]
    );
    let first = &run.alerts[0];
    // The last run was that of day 19; two periods later it is overdue.
    assert_eq!(first.time, at(21 * DAY + 1_800));
    let want = "Disposal is overdue: no job sales_clean_quotes has succeeded since 2026-10-20 00:00 \
                UTC: 2 days without it, where 24 hours was the longest so far (2 periods).";
    assert_eq!(first.message, want);
    assert_eq!(first.evidence[0].time, at(19 * DAY + 30));
    // It runs again: the finding is closed, and the next stop is another one.
    nightly(&mut run, 28..33);
    assert_eq!(run.alerts.len(), 3);
    assert_eq!(run.alerts[2].activity, Activity::Close);
}

#[test]
fn a_job_that_fails_is_one_that_has_not_run() {
    let mut run = Run::new();
    nightly(&mut run, 0..10);
    for day in 10..14 {
        run.feed(&tx(day * DAY + 30, job("sales_clean_quotes", false)));
        hours(&mut run, day..day + 1);
    }
    assert_eq!(short(&run.alerts[..1]), ["retention-overdue/global/2/create"]);
    assert!(run.alerts[0].message.contains("tried 2 times"), "{}", run.alerts[0].message);
}

#[test]
fn what_looks_like_a_stopped_job_is_silent() {
    // Too few runs to know its rhythm.
    let mut run = Run::new();
    nightly(&mut run, 0..4);
    hours(&mut run, 4..20);
    assert_eq!(short(&run.alerts), Vec::<String>::new());
    // Not at weekends.
    let mut run = Run::new();
    for day in 0..60 {
        if day % 7 < 5 {
            run.feed(&tx(day * DAY, job("bulk_cleanup", true)));
        }
        hours(&mut run, day..day + 1);
    }
    assert_eq!(short(&run.alerts), Vec::<String>::new());
    // The stream stood still for four days.
    let mut run = Run::new();
    nightly(&mut run, 0..10);
    nightly(&mut run, 14..20);
    assert_eq!(short(&run.alerts), Vec::<String>::new());
    // Transactions are missing.
    let mut run = Run::new();
    nightly(&mut run, 0..10);
    hours(&mut run, 10..11);
    let place = BinlogPosition { file: Arc::from("binlog.000007"), offset: 4 };
    run.engine.missing("uuid:1-40", &place, &mut run.alerts);
    hours(&mut run, 11..12);
    nightly(&mut run, 12..16);
    assert!(run.alerts.iter().all(|alert| alert.rule.as_str() == "coverage-gap"));
}

#[test]
fn carts_that_are_not_deleted_any_more() {
    let clean = |run: &mut Run, day: i64| {
        for n in 0..30 {
            run.feed(&tx(day * DAY + n, vec![row("quote", Op::Delete, site(1), n as u64)]));
        }
    };
    let mut run = Run::new();
    for day in 0..20 {
        clean(&mut run, day);
        hours(&mut run, day..day + 1);
    }
    hours(&mut run, 20..24);
    assert_eq!(short(&run.alerts[..1]), ["retention-overdue/global/2/create"]);
    assert!(run.alerts[0].message.contains("no carts have been deleted since"));
    // The job runs and finds nothing.
    let mut run = Run::new();
    for day in 0..20 {
        clean(&mut run, day);
        run.feed(&tx(day * DAY + 60, job("sales_clean_quotes", true)));
        hours(&mut run, day..day + 1);
    }
    nightly(&mut run, 20..30);
    assert_eq!(short(&run.alerts), Vec::<String>::new());
}

#[test]
fn rows_that_stay_over_their_period() {
    let kept = |table: &str, removed| sign(table, Sign::Kept { removed });
    // Where nobody ever cleans, it is no job that stopped.
    let mut run = Run::new();
    run.feed(&tx(0, kept("importexport_importdata", false)));
    hours(&mut run, 0..30);
    assert_eq!(short(&run.alerts), Vec::<String>::new());
    let mut run = Run::new();
    for secs in [-9, -7, -5, -3] {
        run.feed(&tx(secs, kept("importexport_importdata", secs % 4 == -3)));
    }
    run.feed(&tx(0, kept("importexport_importdata", false)));
    hours(&mut run, 0..3);
    assert_eq!(short(&run.alerts), Vec::<String>::new());
    hours(&mut run, 3..6);
    assert_eq!(short(&run.alerts), ["retention-overdue/global/2/create"]);
    let want = "Disposal is overdue: table importexport_importdata still holds 1 row that came by \
                2026-10-01 00:00 UTC, 3 days ago, where 2 are the most.";
    assert_eq!(run.alerts[0].message, want);
    // The next import takes them.
    let mut run = Run::new();
    for day in 0..20 {
        run.feed(&tx(day * DAY, kept("importexport_importdata", day % 2 == 1)));
        hours(&mut run, day..day + 1);
    }
    assert_eq!(short(&run.alerts), Vec::<String>::new());
    // Messages go after a week, where nothing else was set.
    let messages = |run: &mut Run| {
        for day in 0..30 {
            run.feed(&tx(day * DAY, kept("queue_message", false)));
            if !(2..20).contains(&day) {
                run.feed(&tx(day * DAY + 1, kept("queue_message", true)));
            }
            hours(run, day..day + 1);
        }
    };
    let mut run = Run::new();
    messages(&mut run);
    assert_eq!(short(&run.alerts[..1]), ["retention-overdue/global/2/create"]);
    let mut run = Run::new();
    let period = Sign::Period { of: Period::Messages, secs: 20 * 86_400 };
    run.feed(&tx(0, sign("core_config_data", period)));
    messages(&mut run);
    assert_eq!(short(&run.alerts), Vec::<String>::new());
}
