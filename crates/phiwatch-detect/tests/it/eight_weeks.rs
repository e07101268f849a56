//! Eight weeks of a shop of three tenants with everything at once that Magento does by itself, and what
//! staff do rightly. All rules are on; nothing may be said.

use std::sync::Arc;

use phiwatch_binlog::Op;
use phiwatch_detect::Alert;
use phiwatch_magento::{
    Account, AccountChange, ConfigChange, ConfigVerdict, CopyForm, ExportEntity, Fact, ImportPhase,
    Keep, LookedBy, Observation, PhiClasses, Sign, Tenant, TrailHow, Weight,
};

use crate::{
    shop::{Run, Tx, fact, row, short, site, tx},
    traffic::{Attack, Random, simulate_beside},
};

const BIN: i64 = 300;
const DAY: i64 = 86_400;
const WEEKS: i64 = 8;
const SIZES: [f64; 3] = [5.0, 40.0, 200.0];
/// Ids of persons that only the jobs touch.
const FIRST: u64 = 1 << 50;

#[test]
fn nothing_is_said_in_eight_weeks_of_everything_that_is_no_incident() {
    for seed in [1, 2, 3] {
        let run = weeks(seed, &[]);
        assert_eq!(
            short(&run.alerts),
            Vec::<String>::new(),
            "seed {seed}: {:#?}",
            messages(&run.alerts)
        );
    }
}

#[test]
fn the_noise_hides_no_theft() {
    // 40 persons of the smallest tenant in ten minutes, on the night of the last reindex.
    let from = 7 * 7 * DAY / BIN + 36;
    let theft = Attack { website: 1, op: Op::Update, from, bins: 2, per_bin: 60.0 };
    let run = weeks(1, &[theft]);
    let first = run.alerts.first().expect("a theft is said");
    assert_eq!(short(&run.alerts[..1]), ["bulk-change/website-1/3/create"], "{}", first.message);
}

fn messages(alerts: &[Alert]) -> Vec<String> {
    alerts.iter().map(|alert| format!("{:?} {}", alert.time, alert.message)).collect()
}

fn weeks(seed: u64, attacks: &[Attack]) -> Run {
    let mut run = simulate_beside(seed, WEEKS, &SIZES, 1.0, attacks, |bin| noise(seed, bin));
    run.engine.finish(&mut run.alerts);
    run
}

/// What happens beside the ordinary traffic in the five minutes that begin at bin x 300 s.
fn noise(seed: u64, bin: i64) -> Vec<Tx> {
    let start = bin * BIN;
    let (day, of_day) = (start.div_euclid(DAY), start.rem_euclid(DAY));
    let mut random = Random(seed ^ bin.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut out = Vec::new();
    if of_day == 0 {
        midnight(&mut out, start, day, &mut random);
    }
    if of_day % 3_600 == 0 {
        hourly(&mut out, start, of_day / 3_600, &mut random);
    }
    match (day, of_day / 3_600, of_day % 3_600) {
        (_, 3, 0) if day % 7 == 0 => reindex(&mut out, start),
        (_, 4, 0) if day % 7 == 2 => import(&mut out, start, day),
        (17, 5, 0) => key_rotation(&mut out, start),
        (33, 5, 0) => upgrade(&mut out, start),
        (40, 2, hour) if hour < 1_800 => migration(&mut out, start, hour == 0, hour == 1_500),
        _ => {}
    }
    out
}

/// The clean-up jobs of 00:00.
fn midnight(out: &mut Vec<Tx>, start: i64, day: i64, random: &mut Random) {
    let job = Sign::Job { code: Arc::from("sales_clean_quotes"), is_done: true };
    out.push(tx(start, vec![fact("cron_schedule", Some(Op::Update), Fact::Sign(job))]));
    for website in 1..=3 {
        // Carts of that day a month ago, one a transaction, with their addresses where cascades are logged.
        for n in 0..200 + random.next() % 200 {
            let who = FIRST + random.next() % 5_000;
            let rows = vec![
                row("quote", Op::Delete, site(website), who),
                row("quote_address", Op::Delete, site(website), who),
            ];
            out.push(tx(start + 10 + n as i64 / 4, rows));
        }
        let persistent =
            (0..80).map(|n| row("persistent_session", Op::Delete, site(website), FIRST + n));
        out.push(tx(start + 120, persistent.collect()));
    }
    let tokens = (0..300).map(|n| row("oauth_token", Op::Delete, Tenant::Unknown, FIRST + n));
    out.push(tx(start + 130, tokens.collect()));
    let visitors =
        (0..100).map(|n| row("customer_visitor", Op::Delete, Tenant::Unknown, FIRST + n));
    out.push(tx(start + 131, visitors.collect()));
    out.push(tx(start + 140, rotated("magento_logging_event", Keep::ActionLog, 61 * DAY, 150)));
    out.push(tx(start + 141, rotated("admin_user_session", Keep::Day, DAY + 60, 12)));
    // Every fifth night the marketing team's product feed.
    if day % 5 == 0 {
        let message_id = day.unsigned_abs() + 1;
        let queued =
            Fact::ExportQueued { message_id, entity: ExportEntity::Impersonal, is_filtered: false };
        out.push(tx(start + 200, vec![fact("queue_message", Some(Op::Create), queued)]));
        out.push(tx(
            start + 230,
            vec![
                fact(
                    "queue_message_status",
                    Some(Op::Update),
                    Fact::ExportStatus { message_id, status: 4 },
                ),
                fact("adminnotification_inbox", Some(Op::Create), Fact::ExportNotice),
            ],
        ));
    }
}

fn rotated(table: &str, keep: Keep, age: i64, count: usize) -> Vec<Observation> {
    let (how, weight, age_secs) = (TrailHow::Removed, Weight::High, u64::try_from(age).ok());
    vec![
        fact(table, Some(Op::Delete), Fact::Sign(Sign::Trail { keep, how, age_secs, weight }));
        count
    ]
}

/// Staff and customers in office hours, and the grids' cron.
fn hourly(out: &mut Vec<Tx>, start: i64, hour: i64, random: &mut Random) {
    let is_office = (8..18).contains(&hour);
    let grid = (0..random.next() % 60)
        .map(|_| {
            row(
                "sales_order_grid",
                Op::Create,
                site(1 + random.next() as u32 % 3),
                FIRST + random.next() % 5_000,
            )
        })
        .collect();
    out.push(tx(start + 30, grid));
    for n in 0..random.next() % if is_office { 8 } else { 2 } {
        let account = random.next() % 3_000;
        for failures in 1..=1 + random.next() % 3 {
            let failure = Sign::Failure { of: Account::Customer, account, failures };
            let secs = start + n as i64 * 30 + failures as i64;
            out.push(tx(
                secs,
                vec![signed("customer_entity", site(1 + account as u32 % 3), failure)],
            ));
        }
    }
    if is_office {
        let person = random.next() % 900;
        let looked =
            Sign::Looked { user: 1 + hour.unsigned_abs() % 2, person, by: LookedBy::Login };
        out.push(tx(start + 100, vec![signed("login_as_customer", site(1), looked)]));
    }
    if hour == 11 {
        // A customer has a new address: all orders and carts of hers.
        let who = FIRST + random.next() % 5_000;
        let website = site(1 + who as u32 % 3);
        let mut rows = vec![row("customer_entity", Op::Update, website, who)];
        rows.extend((0..120).map(|_| row("sales_order", Op::Update, website, who)));
        rows.extend((0..9).map(|_| row("quote", Op::Update, website, who)));
        out.push(tx(start + 200, rows));
        let change = ConfigChange {
            path: Arc::from("admin/security/session_lifetime"),
            scope: (Arc::from("default"), 0),
            verdict: ConfigVerdict::Strengthened,
            why: "900 s is under 3600 s".to_owned(),
        };
        out.push(tx(
            start + 210,
            vec![fact("core_config_data", Some(Op::Update), Fact::Config(change))],
        ));
        let recorded = Fact::Account(AccountChange::PasswordRecorded { user_id: 5 });
        out.push(tx(start + 220, vec![fact("admin_passwords", Some(Op::Create), recorded)]));
    }
}

fn signed(table: &str, tenant: Tenant, sign: Sign) -> Observation {
    Observation { tenant, ..fact(table, None, Fact::Sign(sign)) }
}

/// The customer grid made anew: every customer of every tenant.
fn reindex(out: &mut Vec<Tx>, start: i64) {
    let made =
        || vec![fact("customer_grid_flat", None, Fact::Maintenance { kind: "grid reindex" })];
    out.extend([tx(start, made()), tx(start + 1, made())]);
    for batch in 0..150 {
        let rows = (0..100).map(|n| {
            row("customer_grid_flat", Op::Create, site(1 + n as u32 % 3), FIRST + batch * 100 + n)
        });
        out.push(tx(start + 2 + batch as i64, rows.collect()));
    }
}

/// A weekly import of changed customers, announced.
fn import(out: &mut Vec<Tx>, start: i64, day: i64) {
    let said = |phase, rows| vec![fact("import_history", None, Fact::Import { phase, rows })];
    out.extend([
        tx(start, said(ImportPhase::Data, 800)),
        tx(start + 1, said(ImportPhase::Begin, 0)),
    ]);
    for batch in 0..8 {
        let first = FIRST + day.unsigned_abs() * 100 + batch * 100;
        let rows = (first..first + 100).flat_map(|who| {
            ["customer_entity", "customer_address_entity"]
                .map(|table| row(table, Op::Update, site(2), who))
        });
        out.push(tx(start + 2 + batch as i64 * 5, rows.collect()));
    }
    out.push(tx(start + 60, said(ImportPhase::End, 800)));
}

/// All payments under a new key: touches.
fn key_rotation(out: &mut Vec<Tx>, start: i64) {
    let made = Fact::Maintenance { kind: "re-encryption" };
    let mut rows = vec![fact("core_config_data", Some(Op::Update), made)];
    rows.extend((0..6_000).map(|n| Observation {
        is_touch: true,
        ..row("sales_order_payment", Op::Update, site(1 + n as u32 % 3), FIRST + n)
    }));
    out.push(tx(start, rows));
}

/// A data patch changes an attribute of all customers.
fn upgrade(out: &mut Vec<Tx>, start: i64) {
    let mut rows: Vec<_> = (0..9_000)
        .map(|n| row("customer_entity", Op::Update, site(1 + n as u32 % 3), FIRST + n))
        .collect();
    rows.push(fact("patch_list", Some(Op::Create), Fact::Maintenance { kind: "setup upgrade" }));
    out.push(tx(start, rows));
}

/// An online schema change of the customers' table, half an hour long: about as many rows as persons.
fn migration(out: &mut Vec<Tx>, start: i64, is_first: bool, is_last: bool) {
    let shadow = |form, op| {
        let (classes, sources) = (PhiClasses::EMAIL, vec![Arc::from("customer_entity")]);
        fact("x_gho", op, Fact::Copy { form, classes, columns: 9, sources })
    };
    if is_first {
        out.push(tx(start, vec![shadow(CopyForm::CreateShadow, None)]));
    }
    for batch in 0..10 {
        out.push(tx(start + 1 + batch, vec![shadow(CopyForm::RowShadow, Some(Op::Create)); 3_000]));
    }
    if is_last {
        let swapped = Fact::Migration { shadow: Arc::from("x_gho"), is_swapped: true };
        out.push(tx(start + 60, vec![fact("customer_entity", None, swapped)]));
    }
}
