//! Audit trails, access that leaves rows, disposal: what each row says, and look-alikes.

use phiwatch_binlog::{EventTime, StatementKind};
use phiwatch_magento::{
    Account, ConfigVerdict, Fact, Keep, LookedBy, Observation, Period, Sign, Tenant, TrailHow,
    Weight,
};

use crate::world::{Absent, At, Cells, I, Null, T, World, facts};

const NOW: i64 = 1_790_812_800;
const DAY: i64 = 86_400;

fn world() -> World {
    let mut world = World::new();
    world.people();
    world.transaction.time = EventTime(NOW * 1_000_000);
    world
}

fn signs(observations: &[Observation]) -> Vec<Sign> {
    let sign = |fact: &&Fact| match fact {
        Fact::Sign(sign) => Some(sign.clone()),
        _ => None,
    };
    facts(observations).iter().filter_map(sign).collect()
}

fn trail(keep: Keep, how: TrailHow, age_secs: Option<u64>, weight: Weight) -> Vec<Sign> {
    vec![Sign::Trail { keep, how, age_secs, weight }]
}

#[test]
fn rows_of_the_action_log() {
    let mut world = world();
    let row = [("time", At(NOW - 3 * DAY)), ("user_id", I(5)), ("info", T("x"))];
    let (keep, age, high) = (Keep::ActionLog, Some(3 * 86_400), Weight::High);
    let out = world.delete("magento_logging_event", &row);
    assert_eq!(signs(&out), trail(keep, TrailHow::Removed, age, high));
    let out = world.update("magento_logging_event", &row, &[("info", T("y"))]);
    assert_eq!(signs(&out), trail(keep, TrailHow::Changed, age, high));
    let out = world.update("magento_logging_event", &row, &[("user_id", Null)]);
    assert_eq!(signs(&out), trail(keep, TrailHow::Unlinked, age, high));
    let both = [("user_id", Null), ("user", T(""))];
    let out = world.update("magento_logging_event", &row, &both);
    assert_eq!(signs(&out), trail(keep, TrailHow::Changed, age, high));
    // Its time is not in the image: no verdict, and that is said.
    let minimal = [("time", Absent), ("user_id", Absent), ("info", Absent)];
    assert_eq!(signs(&world.delete("magento_logging_event", &minimal)), []);
    assert!(world.classifier.take_lost().is_some());
    assert_eq!(world.classifier.counters().columns_lacking, 1);
    let out = world.delete("magento_logging_event_changes", &[("event_id", I(1))]);
    assert_eq!(signs(&out), trail(Keep::WithParent, TrailHow::Removed, None, high));
}

#[test]
fn rows_of_other_trails() {
    let mut world = world();
    let row = [("id", I(1)), ("user_id", I(5)), ("created_at", At(NOW - 7_200)), ("status", I(1))];
    let out = world.delete("admin_user_session", &row);
    let age = Some(7_200);
    assert_eq!(signs(&out), trail(Keep::Day, TrailHow::Removed, age, Weight::High));
    assert_eq!(out[0].op, Some(phiwatch_binlog::Op::Delete));
    // Logging out changes the status.
    assert_eq!(world.update("admin_user_session", &row, &[("status", I(0))]), []);
    let out = world.update("admin_user_session", &row, &[("user_id", I(6))]);
    assert_eq!(signs(&out), trail(Keep::Day, TrailHow::Changed, age, Weight::High));
    let out = world.delete("magento_login_as_customer_log", &[("time", At(NOW))]);
    assert_eq!(signs(&out), trail(Keep::Always, TrailHow::Removed, Some(0), Weight::High));
    let out = world.delete("customer_log", &[("customer_id", I(11))]);
    assert_eq!(signs(&out), trail(Keep::Always, TrailHow::Removed, None, Weight::Low));
    let login = [("last_login_at", At(NOW - DAY))];
    assert_eq!(world.update("customer_log", &login, &[("last_login_at", At(NOW))]), []);
    assert_eq!(world.insert("customer_log", &login), []);
}

#[test]
fn emptied_trails_are_not_lost_persons_too() {
    let mut world = world();
    for (kind, dropped) in [(StatementKind::TruncateTable, false), (StatementKind::DropTable, true)]
    {
        let out = world.statement(kind, &["magento_logging_event"], &[], "");
        let weight = Weight::High;
        assert_eq!(facts(&out), [&Fact::Sign(Sign::TrailEmptied { weight, dropped })]);
        let out = world.statement(kind, &["importexport_importdata"], &[], "");
        assert_eq!(facts(&out), [&Fact::Sign(Sign::KeptEmptied)]);
        let out = world.statement(kind, &["admin_user_session"], &[], "");
        assert_eq!(facts(&out), [&Fact::Sign(Sign::TrailEmptied { weight, dropped })]);
        let out = world.statement(kind, &["quote"], &[], "");
        assert_eq!(facts(&out), [&Fact::TableEmptied { dropped }]);
    }
    // Renamed away.
    let out = world.statement(StatementKind::RenameTable, &["x_old"], &["admin_user_session"], "");
    let (weight, dropped) = (Weight::High, true);
    assert_eq!(facts(&out), [&Fact::Sign(Sign::TrailEmptied { weight, dropped })]);
}

fn setting<'a>(path: &'a str, value: &'a str) -> [(&'a str, crate::world::V<'a>); 4] {
    [("scope", T("default")), ("scope_id", I(0)), ("path", T(path)), ("value", T(value))]
}

#[test]
fn settings_of_the_trail_and_periods() {
    let mut world = world();
    let out = world.insert("core_config_data", &setting("system/rotation/lifetime", "7"));
    let [Fact::Config(change), rest @ ..] = &facts(&out)[..] else { panic!("{out:?}") };
    assert_eq!(change.verdict, ConfigVerdict::Weakened);
    let cut = Sign::TrailSetting {
        path: "system/rotation/lifetime".into(),
        why: "from 60 days to 7 days".into(),
    };
    let period = Sign::Period { of: Period::ActionLog, secs: 7 * 86_400 };
    assert_eq!(*rest, [&Fact::Sign(cut), &Fact::Sign(period)]);
    let out = world.insert("core_config_data", &setting("system/rotation/lifetime", "90"));
    let period = Sign::Period { of: Period::ActionLog, secs: 90 * 86_400 };
    assert_eq!(signs(&out), [period]);
    let out = world.delete("core_config_data", &setting("checkout/cart/delete_quote_after", "7"));
    assert_eq!(signs(&out), [Sign::Period { of: Period::Carts, secs: 30 * 86_400 }]);
    let actions = setting("admin/magento_logging/actions", r#"{"a":1,"b":1}"#);
    let out = world.update("core_config_data", &actions, &[("value", T(r#"{"a":1}"#))]);
    assert!(matches!(signs(&out)[..], [Sign::TrailSetting { .. }]), "{out:?}");
    let out = world.update("core_config_data", &actions, &[("value", T(r#"{"a":1,"b":1,"c":1}"#))]);
    assert_eq!(signs(&out), []);
}

#[test]
fn failed_logons_and_locks() {
    let mut world = world();
    let row = |failures, lock| {
        [
            ("entity_id", I(11)),
            ("user_id", I(11)),
            ("website_id", I(1)),
            ("store_id", I(1)),
            ("failures_num", failures),
            ("lock_expires", lock),
        ]
    };
    for (table, of) in [("customer_entity", Account::Customer), ("admin_user", Account::Admin)] {
        let first = world.update(table, &row(I(0), Null), &[("failures_num", I(1))]);
        let [Sign::Failure { of: whose, account, failures: 1 }] = signs(&first)[..] else {
            panic!("{first:?}")
        };
        assert_eq!(whose, of);
        let last = [("failures_num", I(10)), ("lock_expires", At(NOW + 600))];
        let out = world.update(table, &row(I(9), Null), &last);
        let want = [Sign::Failure { of, account, failures: 10 }, Sign::Locked { of, account }];
        assert_eq!(signs(&out), want);
        // A logon that succeeds.
        let out = world.update(
            table,
            &row(I(3), At(NOW)),
            &[("failures_num", I(0)), ("lock_expires", Null)],
        );
        assert_eq!(signs(&out), []);
        let out = world.update(
            table,
            &row(I(3), At(NOW)),
            &[("failures_num", Null), ("lock_expires", Null)],
        );
        assert_eq!(signs(&out), []);
        assert_eq!(signs(&world.insert(table, &row(I(0), Null))), []);
    }
    let customer = world.update("customer_entity", &row(I(0), Null), &[("failures_num", I(1))]);
    assert_eq!(customer[0].tenant, Tenant::Website(1));
    assert_eq!(customer[1].tenant, Tenant::Website(1));
    assert!(customer[0].is_touch && customer[1].op.is_none());
}

#[test]
fn resets_and_token_requests() {
    let mut world = world();
    let row = |kind, account| [("request_type", I(kind)), ("account_reference", T(account))];
    let customer = signs(&world.insert("password_reset_request_event", &row(0, "A@example.com")));
    let again = signs(&world.insert("password_reset_request_event", &row(0, "a@example.com")));
    assert!(matches!(customer[..], [Sign::ResetAsked { of: Account::Customer, .. }]));
    assert_eq!(customer, again);
    let admin = signs(&world.insert("password_reset_request_event", &row(1, "a@example.com")));
    assert!(matches!(admin[..], [Sign::ResetAsked { of: Account::Admin, .. }]));
    let row = |count| [("user_name", T("api")), ("user_type", I(2)), ("failures_count", I(count))];
    let out = signs(&world.insert("oauth_token_request_log", &row(1)));
    assert!(matches!(out[..], [Sign::Failure { of: Account::Api, failures: 1, .. }]), "{out:?}");
    let out = signs(&world.update("oauth_token_request_log", &row(1), &[("failures_count", I(2))]));
    assert!(matches!(out[..], [Sign::Failure { of: Account::Api, failures: 2, .. }]), "{out:?}");
    assert_eq!(world.update("oauth_token_request_log", &row(2), &[("failures_count", I(0))]), []);
    assert_eq!(world.delete("oauth_token_request_log", &row(2)), []);
}

#[test]
fn looks_at_persons() {
    let mut world = world();
    let log = |action, page, kind, info| {
        [
            ("user_id", I(5)),
            ("action", T(action)),
            ("fullaction", T(page)),
            ("event_code", T(kind)),
            ("info", T(info)),
        ]
    };
    let view = |world: &mut World, row: Cells<'_>| match signs(
        &world.insert("magento_logging_event", row),
    )[..]
    {
        [Sign::Looked { user: 5, person, by: LookedBy::View }] => Some(person),
        [] => None,
        ref other => panic!("{other:?}"),
    };
    let one = view(&mut world, &log("view", "customer_index_edit", "customers", "11"));
    assert!(one.is_some());
    assert_eq!(one, view(&mut world, &log("view", "customer_index_edit", "customers", "11")));
    assert_ne!(one, view(&mut world, &log("view", "customer_index_edit", "customers", "12")));
    assert!(view(&mut world, &log("view", "-", "sales_orders", "11")).is_some());
    assert_eq!(
        view(&mut world, &log("view", "catalog_product_edit", "catalog_products", "11")),
        None
    );
    for (action, page, kind, want) in [
        ("export", "customer_index_exportCsv", "customers", Some(true)),
        ("view", "mui_export_gridToCsv", "adminhtml_grid", Some(false)),
        ("export", "catalog_product_exportCsv", "catalog_products", None),
    ] {
        let out = world.insert("magento_logging_event", &log(action, page, kind, "x"));
        let sign = want.map(|is_personal| Sign::ExportLogged { user: 5, is_personal });
        assert_eq!(signs(&out), Vec::from_iter(sign), "{page}");
    }
    assert_eq!(view(&mut world, &log("save", "customer_index_save", "customers", "11")), None);
    let mut login = |table: &str, user: &str| {
        let out = world.insert(table, &[(user, I(7)), ("customer_id", I(21))]);
        assert_eq!(out[0].tenant, Tenant::Website(2));
        signs(&out)
    };
    let token = login("login_as_customer", "admin_id");
    assert!(matches!(token[..], [Sign::Looked { user: 7, by: LookedBy::Login, .. }]));
    assert_eq!(token, login("magento_login_as_customer_log", "user_id"));
    let row = |kind, customer| [("entity_id", I(4)), ("type", T(kind)), ("customer_id", customer)];
    let out = world.insert("oauth_token", &row("access", I(11)));
    assert!(matches!(signs(&out)[..], [Sign::Token { .. }]));
    assert_eq!(signs(&world.insert("oauth_token", &row("request", I(11)))), []);
}

#[test]
fn disposal() {
    let mut world = world();
    let row = |code, status| [("job_code", T(code)), ("status", T(status))];
    let mut job = |code, status| {
        let out = world.update("cron_schedule", &row(code, "running"), &[("status", T(status))]);
        signs(&out)
    };
    let code = || "sales_clean_quotes".into();
    assert_eq!(job("sales_clean_quotes", "success"), [Sign::Job { code: code(), is_done: true }]);
    assert_eq!(job("sales_clean_quotes", "error"), [Sign::Job { code: code(), is_done: false }]);
    assert_eq!(job("sales_clean_quotes", "pending"), []);
    assert_eq!(job("catalogrule_apply_all", "success"), []);
    assert_eq!(world.delete("cron_schedule", &row("sales_clean_quotes", "success")), []);
    let bunch = |entity| [("entity", T(entity)), ("data", T(r#"[{"a":1}]"#))];
    let kept = |removed| Sign::Kept { removed };
    let out = world.insert("importexport_importdata", &bunch("customer"));
    assert_eq!(signs(&out), [kept(false)]);
    let out = world.delete("importexport_importdata", &bunch("customer"));
    assert_eq!(signs(&out), [kept(true)]);
    assert_eq!(world.delete("importexport_importdata", &bunch("catalog_product")), []);
    for table in ["queue_message", "magento_bulk"] {
        assert_eq!(signs(&world.insert(table, &[])), [kept(false)], "{table}");
        assert_eq!(signs(&world.delete(table, &[])), [kept(true)], "{table}");
    }
}
