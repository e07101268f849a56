//! Each rule: what it must say, and what looks like it and must stay silent.

use std::sync::Arc;

use phiwatch_binlog::Op;
use phiwatch_magento::{
    AccountChange, CodeChange, ConfigChange, ConfigVerdict, CopyForm, CrossTenant, ExportEntity,
    Fact, ImportPhase, Observation, PhiClasses, Resource, Sign, Tenant, Weight,
};

use crate::shop::{Tx, check, fact, row, site, tx};

fn customers(op: Op, tenant: Tenant, who: std::ops::Range<u64>) -> Vec<Observation> {
    who.map(|n| row("customer_entity", op, tenant, n)).collect()
}

fn export(message_id: u64, entity: ExportEntity, is_filtered: bool) -> Observation {
    let queued = Fact::ExportQueued { message_id, entity, is_filtered };
    fact("queue_message", Some(Op::Create), queued)
}

fn status(message_id: u64, status: u8) -> Observation {
    let status = Fact::ExportStatus { message_id, status };
    fact("queue_message_status", Some(Op::Update), status)
}

fn notice() -> Observation {
    fact("adminnotification_inbox", Some(Op::Create), Fact::ExportNotice)
}

#[test]
fn customer_export_is_one_finding() {
    check(
        &[
            tx(0, vec![export(5, ExportEntity::Customer, false)]),
            tx(60, vec![status(5, 3)]),
            tx(65, vec![notice()]),
            tx(66, vec![status(5, 4)]),
        ],
        &["bulk-export/global/4/create"],
    );
    check(
        &[tx(0, vec![export(6, ExportEntity::CustomerAddress, true)])],
        &["bulk-export/global/3/create"],
    );
    check(&[tx(0, vec![export(7, ExportEntity::Other, true)])], &["bulk-export/global/2/create"]);
}

#[test]
fn a_scheduled_export_is_told_when_it_is_set_up_and_not_when_it_runs() {
    use phiwatch_magento::ScheduleChange::{Made, Ran, Redirected};
    let feed = |entity, change| {
        let fact_of = Fact::ExportScheduled { operation_id: 4, entity, change };
        vec![fact("magento_scheduled_operations", Some(Op::Update), fact_of)]
    };
    let persons = |change| feed(ExportEntity::Customer, change);
    let mut all = vec![tx(0, persons(Made))];
    all.extend((1..30).map(|night| tx(night * 86_400, persons(Ran))));
    all.push(tx(30 * 86_400, persons(Redirected)));
    let want = [
        "bulk-export/global/4/create",
        "bulk-export/global/4/close",
        "bulk-export/global/4/create",
    ];
    let alerts = check(&all, &want);
    assert_eq!(alerts[0].message, "Scheduled export 4 of customers was set up.");
    check(&[tx(0, feed(ExportEntity::Impersonal, Made)), tx(9, persons(Ran))], &[]);
}

#[test]
fn product_export_and_its_notice_are_silent() {
    check(
        &[
            tx(0, vec![export(5, ExportEntity::Impersonal, false)]),
            tx(60, vec![status(5, 3)]),
            tx(65, vec![notice()]),
            tx(66, vec![status(5, 4)]),
        ],
        &[],
    );
}

#[test]
fn exports_in_the_action_log() {
    let logged = |is_personal| {
        let sign = Sign::ExportLogged { user: 5, is_personal };
        fact("magento_logging_event", None, Fact::Sign(sign))
    };
    let alerts = check(&[tx(0, vec![logged(true)])], &["bulk-export/global/3/create"]);
    assert!(alerts[0].message.contains("admin user 5 exported personal data"));
    check(&[tx(0, vec![logged(false)])], &["bulk-export/global/2/create"]);
    // The log's row of an export that was queued.
    check(
        &[tx(0, vec![export(5, ExportEntity::Customer, false)]), tx(2, vec![logged(false)])],
        &["bulk-export/global/4/create"],
    );
    check(
        &[tx(0, vec![export(5, ExportEntity::Impersonal, false)]), tx(2, vec![logged(false)])],
        &[],
    );
}

#[test]
fn notice_without_an_export_is_a_weak_sign() {
    check(&[tx(0, vec![notice()])], &["bulk-export/global/2/create"]);
    check(
        &[
            tx(0, vec![export(5, ExportEntity::Impersonal, false)]),
            tx(9, vec![notice()]),
            tx(10, vec![notice()]),
        ],
        &["bulk-export/global/2/create"],
    );
}

fn copy(name: &str, form: CopyForm) -> Observation {
    let op = (form == CopyForm::RowUnknownTable).then_some(Op::Create);
    fact(
        name,
        op,
        Fact::Copy {
            form,
            classes: PhiClasses::EMAIL,
            columns: 3,
            sources: vec![Arc::from("customer_entity")],
        },
    )
}

#[test]
fn staging_copy_is_one_finding_per_table() {
    let mut rows = vec![copy("x_stage", CopyForm::CreateSelect)];
    rows.extend((0..600).map(|_| copy("x_stage", CopyForm::RowUnknownTable)));
    let alerts = check(&[tx(0, rows)], &["bulk-copy/global/4/create"]);
    assert!(alerts[0].message.contains("x_stage"), "{}", alerts[0].message);
    check(
        &[
            tx(0, vec![copy("x_stage", CopyForm::CreateLike)]),
            tx(1, (0..900).map(|_| copy("x_stage", CopyForm::RowUnknownTable)).collect()),
        ],
        &["bulk-copy/global/3/create", "bulk-copy/global/4/update"],
    );
    // Row by row into a table that was made under our eyes.
    let rows: Vec<Tx> =
        (0..40).map(|n| tx(n, vec![copy("x_stage", CopyForm::RowUnknownTable)])).collect();
    let made = [vec![tx(0, vec![copy("x_stage", CopyForm::CreateColumns)])], rows].concat();
    check(&made, &["bulk-copy/global/3/create", "bulk-copy/global/3/update"]);
}

#[test]
fn rows_of_an_extensions_own_table_are_told_once() {
    let rows: Vec<Tx> =
        (0..40).map(|n| tx(n * 9_000, vec![copy("x_own", CopyForm::RowUnknownTable)])).collect();
    check(&rows, &["bulk-copy/global/2/create", "bulk-copy/global/2/close"]);
    check(&[tx(0, vec![copy("x_own", CopyForm::CreateColumns)])], &[]);
    let upgrade = fact("patch_list", Some(Op::Create), Fact::Maintenance { kind: "setup upgrade" });
    check(&[tx(0, vec![upgrade]), tx(5, vec![copy("x_own", CopyForm::CreateLike)])], &[]);
}

#[test]
fn update_of_many_customers_alerts_at_its_commit() {
    let alerts = check(
        &[tx(5, customers(Op::Update, site(2), 0..3000))],
        &["bulk-change/website-2/4/create"],
    );
    let alert = &alerts[0];
    assert_eq!(alert.subjects, (3000, true));
    assert_eq!(alert.time, crate::shop::at(5));
    assert_eq!(alert.evidence[0].tables["customer_entity"].updates, 3000);
    assert_eq!(alert.analysis.as_ref().unwrap().observed, 3000);
    check(&[tx(5, customers(Op::Update, site(2), 0..200))], &["bulk-change/website-2/3/create"]);
}

#[test]
fn whole_tenant_is_critical() {
    let sign_ups = (0..300).map(|n| tx(n, customers(Op::Create, site(1), n as u64..n as u64 + 1)));
    let mut all: Vec<Tx> = sign_ups.collect();
    all.push(tx(400, customers(Op::Update, site(1), 0..300)));
    check(&all, &["bulk-change/website-1/5/create"]);
}

#[test]
fn what_looks_like_a_bulk_change_is_silent() {
    // The indexer writes the grid of all tenants anew.
    let grid = (0..5000).map(|n| row("customer_grid_flat", Op::Create, site(1 + n as u32 % 2), n));
    check(&[tx(0, grid.collect())], &[]);
    // A customer's new e-mail address goes into all their orders.
    let mut mail = customers(Op::Update, site(1), 7..8);
    mail.extend((0..400).map(|_| row("sales_order", Op::Update, site(1), 7)));
    check(&[tx(0, mail)], &[]);
    // Time stamps are no edits.
    let mut touched = customers(Op::Update, site(1), 0..3000);
    touched.iter_mut().for_each(|row| row.is_touch = true);
    check(&[tx(0, touched)], &[]);
    check(&[tx(0, customers(Op::Update, site(1), 0..10))], &[]);
}

#[test]
fn deletions() {
    check(&[tx(0, customers(Op::Delete, site(1), 0..600))], &["mass-deletion/website-1/4/create"]);
    let emptied = Fact::TableEmptied { dropped: false };
    check(
        &[tx(0, vec![fact("sales_order", None, emptied.clone())])],
        &["mass-deletion/global/4/create"],
    );
    check(&[tx(0, vec![fact("customer_grid_flat", None, emptied.clone())])], &[]);
    check(&[tx(0, vec![fact("catalog_tmp", None, emptied)])], &[]);
}

#[test]
fn cascades_of_a_deleted_customer_are_its_own() {
    // MySQL 9.7 logs what goes with a customer; forty customers and their rows, one by one.
    let cascade = |n: u64| {
        let mut rows = customers(Op::Delete, site(1), n..n + 1);
        rows.extend((0..60).map(|_| row("customer_address_entity", Op::Delete, site(1), n)));
        rows.extend((0..60).map(|_| row("sales_order", Op::Update, site(1), n)));
        rows.extend((0..60).map(|_| row("newsletter_subscriber", Op::Delete, site(1), n)));
        rows
    };
    let all: Vec<Tx> = (0..40).map(|n| tx(n * 5, cascade(n as u64))).collect();
    check(&all, &[]);
}

#[test]
fn clean_up_jobs_are_silent() {
    let quotes: Vec<Tx> =
        (0..4000).map(|n| tx(n / 50, vec![row("quote", Op::Delete, site(1), n as u64)])).collect();
    check(&quotes, &[]);
    let sessions = (0..2000).map(|n| row("persistent_session", Op::Delete, site(1), n)).collect();
    check(&[tx(0, sessions)], &[]);
}

fn crossing(name: &str, invariant: u8, weight: Weight, who: u64) -> Observation {
    let cross = CrossTenant {
        invariant,
        statement: "an order's store belongs to its customer's website",
        found: site(2),
        expected: site(1),
        weight,
    };
    Observation { fact: Some(Fact::CrossTenant(cross)), ..row(name, Op::Create, site(2), who) }
}

#[test]
fn order_of_another_website_is_one_finding() {
    let alerts = check(
        &[
            tx(0, vec![crossing("quote", 12, Weight::High, 3)]),
            tx(
                5,
                vec![
                    crossing("sales_order", 3, Weight::High, 3),
                    crossing("sales_order_address", 9, Weight::Medium, 3),
                ],
            ),
            tx(6, vec![crossing("sales_order_grid", 8, Weight::High, 3)]),
        ],
        &["cross-tenant-write/website-2/4/create", "cross-tenant-write/website-2/4/update"],
    );
    assert!(alerts[0].message.contains("website 2"), "{}", alerts[0].message);
    check(
        &[tx(0, vec![crossing("review_detail", 18, Weight::Low, 3)])],
        &["cross-tenant-write/website-2/2/create"],
    );
}

#[test]
fn each_kind_of_breach_is_told_in_its_own_transaction() {
    // The same person each time: a new person is news anyway.
    let kinds = [3, 4, 5, 6, 21, 12, 2, 1, 10, 11, 14, 15, 16, 18];
    let mut run = crate::shop::Run::new();
    for (n, kind) in (0i64..).zip(kinds) {
        run.feed(&tx(n, vec![crossing("sales_order", kind, Weight::High, 3)]));
        assert_eq!(run.alerts.len(), n as usize + 1, "{kind}");
    }
    // What follows from a breach that was told is not said again at once.
    for (n, kind) in (20i64..).zip([7, 8, 9, 13, 17, 3]) {
        run.feed(&tx(n, vec![crossing("sales_order_grid", kind, Weight::High, 3)]));
    }
    assert_eq!(run.alerts.len(), kinds.len());
}

#[test]
fn breaches_that_go_on_are_told_as_long_as_they_do() {
    let mut run = crate::shop::Run::new();
    for n in 0..40 {
        run.feed(&tx(n * 700, vec![crossing("sales_order", 3, Weight::High, n as u64)]));
    }
    assert_eq!(run.alerts.len(), 40);
    assert!(run.alerts.iter().all(|alert| alert.uid == run.alerts[0].uid));
    // Many at once are one update each ten minutes.
    for n in 0..1_000 {
        run.feed(&tx(28_000 + n, vec![crossing("sales_order", 3, Weight::High, 100 + n as u64)]));
    }
    assert!(run.alerts.len() < 60, "{}", run.alerts.len());
    run.engine.finish(&mut run.alerts);
    assert_eq!(run.alerts.last().unwrap().subjects.0, 1_040);
}

#[test]
fn what_a_moved_store_leaves_behind_is_the_moves() {
    let what = "store 3 from website 1 to website 2".to_owned();
    let moved = vec![
        fact("store", Some(Op::Update), Fact::TenantRemap { what }),
        fact("store", None, Fact::Sign(Sign::Moved { from: 1, to: 2 })),
    ];
    let mut all = vec![tx(0, moved)];
    all.extend((1..2_000).map(|n| tx(n, vec![crossing("quote", 12, Weight::High, n as u64)])));
    check(&all, &["tenant-remap/global/4/create"]);
    // A person that moves, and other websites, are not the store's.
    all.push(tx(2_001, vec![crossing("customer_entity", 2, Weight::High, 1)]));
    check(&all, &["tenant-remap/global/4/create", "cross-tenant-write/website-2/4/create"]);
}

fn same_email(n: u64) -> Vec<Observation> {
    vec![
        row("customer_entity", Op::Create, site(2), n),
        Observation {
            tenant: site(2),
            ..fact("customer_entity", None, Fact::Sign(Sign::SameEmail { website: 1 }))
        },
    ]
}

#[test]
fn a_copied_tenant() {
    let rows = (0..5_000).flat_map(same_email).collect();
    let alerts = check(&[tx(0, rows)], &["cross-tenant-write/website-2/3/create"]);
    let want = "5000 of 5000 new customers of website 2 have the e-mail addresses of customers of \
                website 1, as in a copied tenant.";
    assert_eq!(alerts[0].message, want);
    let one_by_one: Vec<Tx> = (0..30).map(|n| tx(n * 20, same_email(n as u64))).collect();
    let alerts = check(
        &one_by_one,
        &["cross-tenant-write/website-2/3/create", "cross-tenant-write/website-2/3/update"],
    );
    assert_eq!(alerts[0].time, crate::shop::at(180));
    // Persons with two accounts among many that have one.
    let ordinary = (0..200u64).map(|n| {
        let rows = if n % 4 == 0 {
            same_email(n)
        } else {
            vec![row("customer_entity", Op::Create, site(2), n)]
        };
        tx(n as i64 * 15, rows)
    });
    check(&ordinary.collect::<Vec<_>>(), &[]);
    let rare: Vec<Tx> = (0..40).map(|n| tx(n * 900, same_email(n as u64))).collect();
    check(&rare, &[]);
}

#[test]
fn moving_customers_is_cross_tenant_and_not_bulk_too() {
    let rows = (0..3000).map(|n| Observation {
        columns_changed: 9,
        ..Observation { op: Some(Op::Update), ..crossing("customer_entity", 2, Weight::High, n) }
    });
    let alerts = check(&[tx(0, rows.collect())], &["cross-tenant-write/website-2/4/create"]);
    assert!(alerts[0].correlation.is_some());
}

#[test]
fn two_tenants_in_one_transaction() {
    let mut rows = customers(Op::Update, site(1), 1..2);
    rows.push(Observation { statement: 1, ..row("sales_order", Op::Update, site(2), 2) });
    check(&[tx(0, rows.clone())], &["cross-tenant-write/website-1/4/create"]);
    // The same person over two websites: accounts are shared.
    rows.iter_mut().for_each(|row| row.subject = Some(crate::shop::person(1)));
    check(&[tx(0, rows)], &[]);
    // Admin scope and another website.
    let rows = vec![
        row("customer_entity", Op::Update, Tenant::Global, 1),
        row("customer_entity", Op::Update, site(2), 2),
    ];
    check(&[tx(0, rows)], &[]);
    // An anonymiser over all tenants is a bulk change.
    let rows = (0..2000).map(|n| row("customer_entity", Op::Update, site(1 + n as u32 % 2), n));
    check(
        &[tx(0, rows.collect())],
        &["bulk-change/website-1/4/create", "bulk-change/website-2/4/create"],
    );
}

#[test]
fn remapping_a_store() {
    let what = "store 3 from website 1 to website 2".to_owned();
    check(
        &[tx(0, vec![fact("store", Some(Op::Update), Fact::TenantRemap { what })])],
        &["tenant-remap/global/4/create"],
    );
}

#[track_caller]
fn check_config(verdict: ConfigVerdict, want: &[&str]) {
    let change = ConfigChange {
        path: Arc::from("admin/security/session_lifetime"),
        scope: (Arc::from("default"), 0),
        verdict,
        why: "86400 s is over 3600 s".to_owned(),
    };
    let rows = vec![fact("core_config_data", Some(Op::Update), Fact::Config(change))];
    check(&[tx(0, rows.clone()), tx(60, rows)], want);
}

#[test]
fn settings_made_weaker() {
    check_config(
        ConfigVerdict::Weakened,
        &["config-weakened/global/3/create", "config-weakened/global/3/update"],
    );
    check_config(
        ConfigVerdict::Opened,
        &["config-weakened/global/4/create", "config-weakened/global/4/update"],
    );
    check_config(ConfigVerdict::Strengthened, &[]);
    check_config(ConfigVerdict::Neutral, &[]);
}

fn account(change: AccountChange) -> Observation {
    fact("admin_user", Some(Op::Create), Fact::Account(change))
}

fn assigned(user_id: u64, parent_id: u64, removed: bool) -> Observation {
    account(AccountChange::RoleAssigned {
        role_id: 90 + user_id,
        user_id,
        is_integration: false,
        parent_id,
        removed,
    })
}

fn rule(role_id: u64, name: &str, removed: bool) -> Observation {
    let hash = name.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31) + u64::from(byte));
    let watched = name.contains("::").then(|| Arc::from(name));
    let resource = Resource { hash, watched };
    account(AccountChange::RoleRule { role_id, resource, allow: true, removed })
}

#[test]
fn new_administrator_is_one_finding() {
    let created = account(AccountChange::UserCreated { user_id: 5, is_active: true });
    let recorded = account(AccountChange::PasswordRecorded { user_id: 5 });
    check(
        &[tx(0, vec![created.clone(), assigned(5, 1, false), recorded.clone()])],
        &["privilege-granted/global/4/create"],
    );
    // By hand, one statement after the other, each in a session of its own.
    let spread = [
        tx(0, vec![created]),
        Tx { thread: 2, ..tx(20, vec![assigned(5, 1, false)]) },
        Tx { thread: 3, ..tx(40, vec![recorded]) },
    ];
    let alerts =
        check(&spread, &["privilege-granted/global/3/create", "privilege-granted/global/4/update"]);
    assert_eq!(alerts[0].uid, alerts[1].uid);
    // A role with every right, made first.
    let role = account(AccountChange::RoleGroup { role_id: 8, removed: false });
    check(
        &[
            tx(0, vec![role, rule(8, "Magento_Backend::all", false)]),
            Tx { thread: 2, ..tx(9, vec![assigned(6, 8, false)]) },
        ],
        &["privilege-granted/global/4/create", "privilege-granted/global/4/update"],
    );
}

#[test]
fn saving_a_role_or_user_unchanged_is_silent() {
    let save: Vec<Observation> = [true, false]
        .into_iter()
        .flat_map(|removed| {
            [rule(4, "Magento_Sales::sales_order", removed), rule(4, "plain", removed)]
        })
        .collect();
    check(&[tx(0, save.clone())], &[]);
    let mut more = save;
    more.push(rule(4, "Magento_ImportExport::export", false));
    let alerts = check(&[tx(0, more)], &["privilege-granted/global/3/create"]);
    assert!(alerts[0].message.contains("Magento_ImportExport::export"));
    check(&[tx(0, vec![assigned(5, 1, true), assigned(5, 1, false)])], &[]);
    check(
        &[tx(0, vec![assigned(5, 3, true), assigned(5, 1, false)])],
        &["privilege-granted/global/4/create"],
    );
    check(&[tx(0, vec![rule(4, "Magento_Backend::all", true), rule(4, "plain", false)])], &[]);
}

#[test]
fn other_grants() {
    #[track_caller]
    fn one(change: AccountChange, want: &[&str]) {
        check(&[tx(0, vec![account(change)])], want);
    }
    one(AccountChange::UserRemoved { user_id: 5 }, &[]);
    one(AccountChange::PasswordRecorded { user_id: 5 }, &[]);
    one(AccountChange::AccessToken { token_id: 5 }, &[]);
    one(AccountChange::UserPassword { user_id: 5 }, &["privilege-granted/global/2/create"]);
    one(AccountChange::TwoFactorReset { user_id: 5 }, &["privilege-granted/global/3/create"]);
    one(
        AccountChange::IntegrationActivated { integration_id: 5 },
        &["privilege-granted/global/3/create"],
    );
    one(AccountChange::SqlAccount, &["privilege-granted/global/3/create"]);
    one(AccountChange::RoleScope { role_id: 5 }, &["privilege-granted/global/3/create"]);
    let keeper = AccountChange::CompanyKeeper { company_id: 5, user_id: 2 };
    one(keeper, &["privilege-granted/global/2/create"]);
    let administrator = AccountChange::CompanyAdministrator { company_id: 5 };
    one(administrator, &["privilege-granted/global/2/create"]);
    let grant = AccountChange::SqlGrant { all: true, global: true, grant_option: false };
    one(grant, &["privilege-granted/global/4/create"]);
    let pair = vec![
        account(AccountChange::UserPassword { user_id: 5 }),
        account(AccountChange::PasswordRecorded { user_id: 5 }),
    ];
    check(&[tx(0, pair)], &[]);
}

#[test]
fn code_surface_and_unseen_rows() {
    let code = Fact::Code(CodeChange::ScriptInSetting);
    check(
        &[tx(0, vec![fact("core_config_data", Some(Op::Create), code)])],
        &["code-injected/global/4/create"],
    );
    let surface = Fact::NewSurface { kind: "customer attribute", classes: PhiClasses::HEALTH };
    let surface = vec![fact("eav_attribute", Some(Op::Create), surface)];
    // In a shop that has no person yet it is the installer's.
    check(&[tx(0, surface.clone())], &[]);
    check(
        &[tx(0, customers(Op::Create, site(1), 0..1)), tx(5, surface)],
        &["phi-surface/global/2/create"],
    );
    check(
        &[tx(0, vec![fact("customer_entity", None, Fact::UnseenRows)])],
        &["coverage-gap/global/3/create"],
    );
}

fn import(phase: ImportPhase, rows: u64) -> Observation {
    let op = if phase == ImportPhase::Data { Op::Create } else { Op::Update };
    fact("import_history", Some(op), Fact::Import { phase, rows })
}

#[test]
fn announced_imports_are_judged_by_their_size() {
    let job = |announced: u64, persons: u64| {
        let bunches = (0..persons / 100).map(|bunch| Tx {
            thread: 9,
            ..tx(20, customers(Op::Create, site(1), bunch * 100..bunch * 100 + 100))
        });
        let mut all = vec![
            tx(0, vec![import(ImportPhase::Data, announced)]),
            Tx { thread: 9, ..tx(10, vec![import(ImportPhase::Begin, 0)]) },
        ];
        all.extend(bunches);
        all.push(Tx { thread: 9, ..tx(60, vec![import(ImportPhase::End, 0)]) });
        all
    };
    check(&job(1000, 1000), &[]);
    let alerts = check(
        &job(100, 1000),
        &["bulk-change/website-1/3/create", "bulk-change/website-1/4/update"],
    );
    assert!(alerts[1].message.contains("announced"), "{}", alerts[1].message);
}

#[test]
fn imports_are_told_without_threads_in_the_log() {
    let unnamed = |secs, rows| Tx { thread: 0, ..tx(secs, rows) };
    let all = |bunches: u64| {
        let mut all = vec![
            unnamed(0, vec![import(ImportPhase::Data, 500)]),
            unnamed(10, vec![import(ImportPhase::Begin, 0)]),
        ];
        for bunch in 0..bunches {
            let persons = bunch * 250..bunch * 250 + 250;
            all.push(unnamed(20, customers(Op::Create, site(1), persons)));
            // A visitor meanwhile is none of the import's persons.
            let visitor = 10_000 + bunch;
            all.push(unnamed(25, customers(Op::Update, site(1), visitor..visitor + 1)));
        }
        all.push(unnamed(60, vec![import(ImportPhase::End, 0)]));
        all
    };
    check(&all(2), &[]);
    let alerts = check(&all(3), &["bulk-change/website-1/4/create"]);
    assert!(alerts[0].message.contains("750 distinct persons"), "{}", alerts[0].message);
}

#[test]
fn installing_a_shop_is_silent() {
    let group = || account(AccountChange::RoleGroup { role_id: 1, removed: false });
    let user = || account(AccountChange::UserCreated { user_id: 1, is_active: true });
    let all =
        || vec![group(), rule(1, "Magento_Backend::all", false), user(), assigned(1, 1, false)];
    check(&[tx(0, all())], &[]);
    // Made again, or in a shop with customers, it is a grant.
    check(
        &[tx(0, customers(Op::Create, site(1), 0..1)), tx(5, all())],
        &["privilege-granted/global/4/create"],
    );
    let removed = account(AccountChange::RoleGroup { role_id: 1, removed: true });
    check(&[tx(0, vec![removed]), tx(5, all())], &["privilege-granted/global/4/create"]);
}

#[test]
fn import_bunches_count_each_person_once() {
    // Customers, then their addresses, then their attributes: 300 persons, 900 rows.
    let mut all = vec![
        tx(0, vec![import(ImportPhase::Data, 300)]),
        Tx { thread: 9, ..tx(10, vec![import(ImportPhase::Begin, 0)]) },
    ];
    for name in ["customer_entity", "customer_address_entity", "customer_entity_varchar"] {
        let rows = (0..300).map(|n| row(name, Op::Create, site(1), n)).collect();
        all.push(Tx { thread: 9, ..tx(20, rows) });
    }
    all.push(Tx { thread: 9, ..tx(60, vec![import(ImportPhase::End, 300)]) });
    check(&all, &[]);
}
