//! `failed-access` and `access-volume`, and carts deleted by hand: attacks and ordinary days.

use phiwatch_binlog::Op;
use phiwatch_detect::Severity;
use phiwatch_magento::{Account, Fact, LookedBy, Observation, Sign, Tenant};

use crate::{
    shop::{Run, Tx, at, check, fact, row, short, site, tx},
    traffic::Random,
};

const DAY: i64 = 86_400;

fn sign(tenant: Tenant, sign: Sign) -> Observation {
    Observation { tenant, ..fact("customer_entity", None, Fact::Sign(sign)) }
}

fn failure(of: Account, tenant: Tenant, account: u64, failures: u64) -> Observation {
    sign(tenant, Sign::Failure { of, account, failures })
}

fn login(user: u64, tenant: Tenant, person: u64) -> Observation {
    sign(tenant, Sign::Looked { user, person, by: LookedBy::Login })
}

/// Weeks of forgotten passwords: some an hour in office hours, one to three failures each, and the
/// work of two admin users who enter a few customers a day.
fn ordinary(run: &mut Run, days: std::ops::Range<i64>) {
    let mut random = Random(u64::try_from(days.start).unwrap() + 9);
    for hour in days.start * 24..days.end * 24 {
        let of_day = hour.rem_euclid(24);
        let busy = if (8..20).contains(&of_day) { 6 } else { 1 };
        for n in 0..random.next() % (2 * busy) {
            let account = random.next() % 5_000;
            for failures in 1..=1 + random.next() % 3 {
                let secs = hour * 3_600 + i64::try_from(n).unwrap() * 200;
                run.feed(&tx(secs, vec![failure(Account::Customer, site(1), account, failures)]));
            }
        }
        for user in 1..=2 {
            if (8..17).contains(&of_day) && random.next().is_multiple_of(3) {
                run.feed(&tx(
                    hour * 3_600 + 3_000,
                    vec![login(user, site(1), random.next() % 900)],
                ));
            }
        }
    }
}

#[test]
fn forgotten_passwords_and_support_work_are_silent() {
    let mut run = Run::new();
    ordinary(&mut run, 0..56);
    assert_eq!(short(&run.alerts), Vec::<String>::new());
}

#[test]
fn a_spray_is_found_while_it_runs() {
    let mut run = Run::new();
    ordinary(&mut run, 0..21);
    let start = 21 * DAY + 10 * 3_600;
    for n in 0..400 {
        let account = 10_000 + u64::try_from(n).unwrap();
        run.feed(&tx(start + n * 2, vec![failure(Account::Customer, site(1), account, 1)]));
    }
    let first = &run.alerts[0];
    assert_eq!(short(&run.alerts[..1]), ["failed-access/website-1/3/create"]);
    assert!(first.time.secs() - at(start).secs() < 300, "{}", first.message);
    let analysis = first.analysis.as_ref().unwrap();
    assert!(analysis.observed >= analysis.threshold && analysis.score > 3.0, "{analysis:?}");
    assert_eq!(analysis.window_secs, 7_200);
    assert!(run.alerts.iter().all(|alert| alert.uid == first.uid));
    assert!(run.alerts.len() < 8, "{}", run.alerts.len());
}

#[test]
fn one_account_forced() {
    let climb = |of: Account, tenant: Tenant| -> Vec<Tx> {
        (1..=10)
            .map(|n| {
                let mut rows = vec![failure(of, tenant, 7, n)];
                if n == 10 {
                    rows.push(sign(tenant, Sign::Locked { of, account: 7 }));
                }
                tx(i64::try_from(n).unwrap(), rows)
            })
            .collect()
    };
    check(&climb(Account::Customer, site(1)), &["failed-access/website-1/2/create"]);
    check(&climb(Account::Admin, Tenant::Global), &["failed-access/global/3/create"]);
    // Locked again and again.
    let mut all = climb(Account::Customer, site(1));
    let lock = || vec![sign(site(1), Sign::Locked { of: Account::Customer, account: 7 })];
    all.extend([tx(700, lock()), tx(1_400, lock())]);
    check(
        &all,
        &[
            "failed-access/website-1/2/create",
            "failed-access/website-1/2/update",
            "failed-access/website-1/3/update",
        ],
    );
    // Where nothing locks.
    let free: Vec<Tx> = (1..=100u64)
        .map(|n| tx(n as i64, vec![failure(Account::Customer, site(1), 7, n)]))
        .collect();
    check(
        &free,
        &[
            "failed-access/website-1/3/create",
            "failed-access/website-1/3/update",
            "failed-access/website-1/3/update",
        ],
    );
}

#[test]
fn resets_of_many_accounts() {
    let mut run = Run::new();
    let ask = |account| sign(Tenant::Global, Sign::ResetAsked { of: Account::Customer, account });
    let mut random = Random(5);
    for hour in 0..24 * 20 {
        if random.next().is_multiple_of(2) {
            run.feed(&tx(hour * 3_600, vec![ask(random.next())]));
        }
    }
    assert_eq!(short(&run.alerts), Vec::<String>::new());
    for n in 0..60u64 {
        run.feed(&tx(20 * DAY + n as i64 * 30, vec![ask(1_000_000 + n)]));
    }
    assert_eq!(short(&run.alerts[..1]), ["failed-access/global/3/create"]);
}

#[test]
fn walking_through_customers() {
    let mut run = Run::new();
    ordinary(&mut run, 0..21);
    let start = 21 * DAY + 11 * 3_600;
    for n in 0..60u64 {
        run.feed(&tx(start + n as i64 * 20, vec![login(2, site(1), 50_000 + n)]));
    }
    assert_eq!(short(&run.alerts[..1]), ["access-volume/website-1/3/create"]);
    let message = &run.alerts[0].message;
    assert!(message.starts_with("Admin user 2 logged in as "), "{message}");
    assert!(run.alerts[0].time.secs() - at(start).secs() < 600, "{message}");
    // A user nobody knows: colleagues are the measure.
    let known = run.alerts.len();
    for n in 0..60u64 {
        run.feed(&tx(start + 4_000 + n as i64 * 20, vec![login(9, site(2), 60_000 + n)]));
    }
    assert_eq!(short(&run.alerts[known..=known]), ["access-volume/website-2/3/create"]);
}

#[test]
fn without_any_history_a_floor_decides() {
    let logins = |count: u64| -> Vec<Tx> {
        (0..count).map(|n| tx(n as i64 * 60, vec![login(2, site(1), n)])).collect()
    };
    check(&logins(24), &[]);
    let mut run = Run::new();
    logins(40).iter().for_each(|tx| {
        run.feed(tx);
    });
    assert_eq!(short(&run.alerts[..1]), ["access-volume/website-1/3/create"]);
    assert_eq!(run.alerts[0].severity, Severity::Medium);
    // The same customer again and again is no walk.
    let same: Vec<Tx> = (0..200).map(|n| tx(n * 60, vec![login(2, site(1), 3)])).collect();
    check(&same, &[]);
}

fn nights(run: &mut Run, days: std::ops::Range<i64>, per_night: u64) {
    let mut random = Random(77);
    for day in days {
        for n in 0..per_night * 8 / 10 + random.next() % (per_night * 4 / 10) {
            let secs = day * DAY + (n / 4) as i64;
            run.feed(&tx(secs, vec![row("quote", Op::Delete, site(1), n)]));
        }
    }
}

#[test]
fn clean_up_in_its_hour_is_silent_and_at_another_it_is_not() {
    let mut run = Run::new();
    nights(&mut run, 0..28, 400);
    assert_eq!(short(&run.alerts), Vec::<String>::new());
    for n in 0..400u64 {
        let secs = 28 * DAY + 14 * 3_600 + n as i64;
        run.feed(&tx(secs, vec![row("quote", Op::Delete, site(1), n)]));
    }
    assert_eq!(short(&run.alerts[..1]), ["mass-deletion/website-1/3/create"]);
    assert!(run.alerts[0].message.contains("carts of website 1 were deleted within"));
}

#[test]
fn clean_up_of_another_share_is_told() {
    let mut run = Run::new();
    nights(&mut run, 0..28, 400);
    nights(&mut run, 28..29, 6_000);
    assert_eq!(short(&run.alerts[..1]), ["mass-deletion/website-1/4/create"]);
}
