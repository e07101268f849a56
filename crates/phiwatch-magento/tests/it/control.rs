//! Settings, exports, accounts, imports, content.

use phiwatch_magento::{
    AccountChange, CodeChange, ConfigVerdict, ExportEntity, Fact, ImportPhase, Observation,
    ScheduleChange, Settings, Sign, Tenant,
};

use crate::world::{Cells, I, Null, T, World, facts, judged};

fn account(observations: &[Observation]) -> Vec<AccountChange> {
    let change = |fact: &&Fact| match fact {
        Fact::Account(change) => change.clone(),
        other => panic!("{other:?}"),
    };
    judged(observations).iter().map(change).collect()
}

fn setting<'a>(path: &'a str, value: &'a str) -> [(&'a str, crate::world::V<'a>); 4] {
    [("scope", T("default")), ("scope_id", I(0)), ("path", T(path)), ("value", T(value))]
}

#[track_caller]
fn verdict(observations: &[Observation], want: ConfigVerdict) {
    match facts(observations)[..] {
        [Fact::Config(change), ..] => assert_eq!(change.verdict, want, "{change:?}"),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn settings_are_judged_against_what_they_replace() {
    let mut world = World::new();
    let path = "admin/security/session_lifetime";
    verdict(&world.insert("core_config_data", &setting(path, "86400")), ConfigVerdict::Weakened);
    let out = world.update("core_config_data", &setting(path, "86400"), &[("value", T("900"))]);
    verdict(&out, ConfigVerdict::Strengthened);
    let out = world.delete("core_config_data", &setting(path, "86400"));
    verdict(&out, ConfigVerdict::Strengthened);
    let out = world.delete("core_config_data", &setting("dev/restrict/allow_ips", "10.0.0.1"));
    verdict(&out, ConfigVerdict::Weakened);
    assert_eq!(world.insert("core_config_data", &setting("catalog/seo/title", "x")), []);
    let [Fact::Config(change)] = facts(&out)[..] else { panic!() };
    assert_eq!(
        (&*change.path, &*change.scope.0, change.scope.1),
        ("dev/restrict/allow_ips", "default", 0)
    );
}

#[test]
fn a_scoped_setting_is_of_its_tenant() {
    let mut world = World::new();
    for (scope, id, tenant) in [
        ("websites", 2, Tenant::Website(2)),
        ("stores", 3, Tenant::Website(1)),
        ("stores", 9, Tenant::Unknown),
        ("default", 0, Tenant::Global),
    ] {
        let row = [
            ("scope", T(scope)),
            ("scope_id", I(id)),
            ("path", T("web/secure/use_in_frontend")),
            ("value", T("0")),
        ];
        let out = world.insert("core_config_data", &row);
        verdict(&out, ConfigVerdict::Opened);
        assert_eq!(out[0].tenant, tenant);
    }
}

#[test]
fn sharing_accounts_remaps_tenants_and_switches_the_invariants() {
    let mut world = World::new();
    world.people();
    let both = [("entity_id", I(300)), ("customer_id", I(11)), ("store_id", I(2))];
    let path = "customer/account_share/scope";
    let out = world.insert("core_config_data", &setting(path, "0"));
    verdict(&out, ConfigVerdict::Opened);
    assert!(matches!(facts(&out)[1], Fact::TenantRemap { .. }));
    assert_eq!(out.iter().filter(|observation| observation.op.is_some()).count(), 1);
    assert_eq!(facts(&world.insert("sales_order", &both)), Vec::<&Fact>::new());
    let out = world.delete("core_config_data", &setting(path, "0"));
    assert!(matches!(facts(&out)[1], Fact::TenantRemap { .. }));
    let out = world.insert("sales_order", &both);
    let [Fact::CrossTenant(breach)] = facts(&out)[..] else { panic!() };
    assert_eq!(breach.invariant, 3);
}

#[test]
fn code_in_settings_and_content() {
    let mut world = World::new();
    let script = "<b>x</b><script src=//evil.example></script>";
    let out = world.insert("core_config_data", &setting("design/footer/absolute_footer", script));
    assert!(facts(&out).contains(&&Fact::Code(CodeChange::ScriptInSetting)));
    let out = world.insert("core_config_data", &setting("acme/any/path", script));
    assert_eq!(facts(&out), [&Fact::Code(CodeChange::ScriptInSetting)]);
    let after = "<b>y</b><script src=//evil.example></script>";
    let out =
        world.update("core_config_data", &setting("acme/any/path", script), &[("value", T(after))]);
    assert_eq!(out, []);
    let out =
        world.insert("core_config_data", &setting("crontab/default/jobs/x/run/model", "A\\B::run"));
    assert!(facts(&out).contains(&&Fact::Code(CodeChange::CronModelInSetting)));
    let columns = ["page_id smallint", "content mediumtext", "layout_update_xml text"];
    let columns = columns.map(|column| {
        let (name, definition) = column.split_once(' ').unwrap();
        crate::world::column(name, definition)
    });
    world.schema.insert("cms_page".into(), columns.to_vec());
    let out = world.insert("cms_page", &[("content", T(script)), ("layout_update_xml", Null)]);
    assert_eq!(facts(&out), [&Fact::Code(CodeChange::ScriptInContent)]);
    let page = [("content", T(script)), ("layout_update_xml", Null)];
    assert_eq!(world.update("cms_page", &page, &[("content", T(after))]), []);
}

#[test]
fn scheduled_exports() {
    let mut world = World::new();
    let operation = |kind, entity, status, info, run| {
        let names = ["id", "operation_type", "entity_type", "status", "file_info", "last_run_date"];
        let values = [I(4), T(kind), T(entity), I(status), T(info), T(run)];
        std::iter::zip(names, values).collect::<Vec<_>>()
    };
    let (table, here, there) =
        ("magento_scheduled_operations", r#"{"server_type":"file"}"#, r#"{"host":"h"}"#);
    let feed = |status, info, run| operation("export", "customer", status, info, run);
    let said = |change| {
        [Fact::ExportScheduled { operation_id: 4, entity: ExportEntity::Customer, change }]
    };
    let (day, next) = ("2026-11-01 00:00:00", "2026-11-02 00:00:00");
    let check = |out: Vec<Observation>, change: Option<ScheduleChange>| {
        let want: Vec<Fact> = change.into_iter().flat_map(said).collect();
        assert_eq!(facts(&out), want.iter().collect::<Vec<_>>());
    };
    check(world.insert(table, &feed(1, here, day)), Some(ScheduleChange::Made));
    check(world.insert(table, &feed(0, here, day)), None);
    let mut change = |old: &[_], new: &[_], want| check(world.update(table, old, new), want);
    change(&feed(0, here, day), &feed(1, here, day), Some(ScheduleChange::SwitchedOn));
    change(&feed(1, here, day), &feed(1, there, day), Some(ScheduleChange::Redirected));
    change(&feed(1, here, day), &feed(1, here, next), Some(ScheduleChange::Ran));
    change(&feed(1, here, day), &feed(0, here, day), None);
    let import = |status, run| operation("import", "customer", status, here, run);
    change(&import(0, day), &import(1, day), None);
    change(&import(1, day), &import(1, next), None);
    check(world.delete(table, &feed(1, here, day)), None);
}

#[test]
fn exports_by_queue() {
    let mut world = World::new();
    let message = |id, topic, body| [("id", I(id)), ("topic_name", T(topic)), ("body", T(body))];
    let body = r#"{"file_format":"csv","export_filter":"[]","entity":"customer"}"#;
    let out = world.insert("queue_message", &message(7, "import_export.export", body));
    let (entity, is_filtered) = (ExportEntity::Customer, false);
    let kept = Fact::Sign(Sign::Kept { removed: false });
    assert_eq!(facts(&out), [&Fact::ExportQueued { message_id: 7, entity, is_filtered }, &kept]);
    for (entity, body) in [
        (ExportEntity::Impersonal, r#"{"entity":"catalog_product"}"#),
        (ExportEntity::Other, r#"{"entity":"acme_patients"}"#),
        (ExportEntity::CustomerAddress, r#""{\"entity\":\"customer_address\"}""#),
    ] {
        let out = world.insert("queue_message", &message(8, "import_export.export", body));
        let is_filtered = false;
        let queued = Fact::ExportQueued { message_id: 8, entity, is_filtered };
        assert_eq!(facts(&out), [&queued, &kept]);
    }
    for topic in ["import_export.export.x", "export"] {
        let out = world.insert("queue_message", &message(9, topic, body));
        assert_eq!(facts(&out), [&kept]);
    }

    let status = |id, status| [("message_id", I(id)), ("status", I(status))];
    let out = world.insert("queue_message_status", &status(7, 2));
    assert_eq!(facts(&out), [&Fact::ExportStatus { message_id: 7, status: 2 }]);
    let out = world.update("queue_message_status", &status(7, 3), &[("status", I(4))]);
    assert_eq!(facts(&out), [&Fact::ExportStatus { message_id: 7, status: 4 }]);
    assert_eq!(world.insert("queue_message_status", &status(1, 2)), []);
    assert_eq!(world.delete("queue_message_status", &status(7, 7)), []);
    assert_eq!(world.insert("queue_message_status", &status(7, 2)), []);
}

#[test]
fn export_notices_in_configured_languages() {
    let titles = vec!["Ihre Exportdatei ist fertig".to_owned()];
    let mut world = World::with(Settings { export_notice_titles: titles, ..Settings::default() });
    for (title, is_notice) in [
        ("Your export file is ready", true),
        ("ihre exportdatei ist fertig ", true),
        ("Error during export process occurred", false),
    ] {
        let out = world.insert("adminnotification_inbox", &[("title", T(title))]);
        assert_eq!(facts(&out).contains(&&Fact::ExportNotice), is_notice, "{title}");
    }
}

#[test]
fn imports_are_bracketed() {
    let mut world = World::new();
    let import = |phase, rows| Fact::Import { phase, rows };
    let out = world.insert("import_history", &[("summary", T(""))]);
    assert_eq!(facts(&out), [&import(ImportPhase::Begin, 0)]);
    let bunch = |entity, data| [("entity", T(entity)), ("data", T(data))];
    let out = world
        .insert("importexport_importdata", &bunch("customer_composite", r#"[{"a":1},{"a":2}]"#));
    let kept = Fact::Sign(Sign::Kept { removed: false });
    assert_eq!(facts(&out), [&import(ImportPhase::Data, 2), &kept]);
    assert_eq!(world.insert("importexport_importdata", &bunch("catalog_product", "[1,2]")), []);
    let done = T("Created: 1, Updated: 1, Deleted: 0");
    let out = world.update("import_history", &[("summary", T(""))], &[("summary", done)]);
    assert_eq!(facts(&out), [&import(ImportPhase::End, 2)]);
}

const ADMIN: Cells<'_> = &[
    ("user_id", I(5)),
    ("email", T("a@example.com")),
    ("password", T("x")),
    ("is_active", I(0)),
    ("lognum", I(1)),
];

#[test]
fn admin_users() {
    use AccountChange::{
        PasswordRecorded, TwoFactorReset, UserActivated, UserCreated, UserEmail, UserPassword,
        UserRemoved,
    };
    let mut world = World::new();
    assert_eq!(
        account(&world.insert("admin_user", ADMIN)),
        [UserCreated { user_id: 5, is_active: false }]
    );
    assert_eq!(world.update("admin_user", ADMIN, &[("lognum", I(2))]), []);
    let all = [("email", T("b@example.com")), ("password", T("y")), ("is_active", I(1))];
    let out = world.update("admin_user", ADMIN, &all);
    let want =
        [UserActivated { user_id: 5 }, UserEmail { user_id: 5 }, UserPassword { user_id: 5 }];
    assert_eq!(account(&out), want);
    assert_eq!(out.iter().filter(|observation| observation.op.is_some()).count(), 1);
    assert_eq!(account(&world.delete("admin_user", ADMIN)), [UserRemoved { user_id: 5 }]);
    let out = world.insert("admin_passwords", &[("user_id", I(5))]);
    assert_eq!(account(&out), [PasswordRecorded { user_id: 5 }]);
    let tfa = [
        ("user_id", I(5)),
        ("encoded_config", T("0:3:abc")),
        ("encoded_providers", T("[\"google\"]")),
    ];
    assert_eq!(account(&world.delete("tfa_user_config", &tfa)), [TwoFactorReset { user_id: 5 }]);
    for (value, is_reset) in [(T(""), true), (Null, true), (T("[]"), true), (T("0:3:def"), false)] {
        let out = world.update("tfa_user_config", &tfa, &[("encoded_config", value)]);
        assert_eq!(account(&out) == [TwoFactorReset { user_id: 5 }], is_reset, "{value:?}");
    }
    let out = world.delete("admin_user_expiration", &[("user_id", I(5))]);
    assert_eq!(account(&out), [AccountChange::ExpiryRemoved { user_id: 5 }]);
}

#[test]
fn roles_and_their_rules() {
    let mut world = World::new();
    let role = |kind, user_type| {
        [
            ("role_id", I(9)),
            ("parent_id", I(1)),
            ("role_type", T(kind)),
            ("user_id", I(5)),
            ("user_type", T(user_type)),
        ]
    };
    let (role_id, user_id, parent_id) = (9, 5, 1);
    let assigned = |is_integration, removed| AccountChange::RoleAssigned {
        role_id,
        user_id,
        is_integration,
        parent_id,
        removed,
    };
    assert_eq!(
        account(&world.insert("authorization_role", &role("U", "2"))),
        [assigned(false, false)]
    );
    assert_eq!(
        account(&world.delete("authorization_role", &role("U", "2"))),
        [assigned(false, true)]
    );
    assert_eq!(
        account(&world.insert("authorization_role", &role("U", "1"))),
        [assigned(true, false)]
    );
    let out = world.insert("authorization_role", &role("G", "2"));
    assert_eq!(account(&out), [AccountChange::RoleGroup { role_id, removed: false }]);
    let rule = |resource, permission| {
        [("role_id", I(9)), ("resource_id", T(resource)), ("permission", T(permission))]
    };
    for (resource, permission, is_watched, is_allowed) in [
        ("Magento_Backend::all", "allow", true, true),
        ("Magento_Backend::all", "deny", true, false),
        ("Magento_Config::config_admin", "allow", true, true),
        ("Magento_Catalog::products", "allow", false, true),
    ] {
        let out = world.insert("authorization_rule", &rule(resource, permission));
        let [AccountChange::RoleRule { resource: found, allow, removed, .. }] = &account(&out)[..]
        else {
            panic!("{out:?}")
        };
        assert_eq!(found.watched.as_deref(), is_watched.then_some(resource));
        assert_eq!((*allow, *removed), (is_allowed, false));
    }
    let deny = rule("Magento_Backend::all", "deny");
    let out = world.update("authorization_rule", &deny, &[("permission", T("allow"))]);
    assert!(matches!(account(&out)[..], [AccountChange::RoleRule { allow: true, .. }]));
}

#[test]
fn roles_that_reach_further() {
    let mut world = World::new();
    let columns = world.schema.get_mut("authorization_role").unwrap();
    for (name, ty) in
        [("gws_is_all", "smallint"), ("gws_websites", "varchar"), ("gws_store_groups", "varchar")]
    {
        columns.push(crate::world::column(name, ty));
    }
    let role: Cells<'_> = &[
        ("role_id", I(9)),
        ("role_type", T("G")),
        ("gws_is_all", I(0)),
        ("gws_websites", T("1,2")),
        ("gws_store_groups", T("")),
    ];
    let wider = [AccountChange::RoleScope { role_id: 9 }];
    for (column, value, is_wider) in [
        ("gws_is_all", I(1), true),
        ("gws_websites", T("1,2,3"), true),
        ("gws_websites", T("3"), true),
        ("gws_store_groups", T("4"), true),
        ("gws_websites", T("2, 1"), false),
        ("gws_websites", T("1"), false),
        ("gws_websites", Null, false),
    ] {
        let out = world.update("authorization_role", role, &[(column, value)]);
        assert_eq!(account(&out) == wider, is_wider, "{column} {value:?}");
    }
}

#[test]
fn integrations_and_tokens() {
    let mut world = World::new();
    let row = |status| [("integration_id", I(3)), ("status", I(status))];
    let created = AccountChange::IntegrationCreated { integration_id: 3 };
    let activated = AccountChange::IntegrationActivated { integration_id: 3 };
    assert_eq!(account(&world.insert("integration", &row(0))), std::slice::from_ref(&created));
    assert_eq!(account(&world.insert("integration", &row(1))), [created, activated.clone()]);
    assert_eq!(account(&world.update("integration", &row(0), &[("status", I(1))])), [activated]);
    assert_eq!(world.update("integration", &row(1), &[("name", T("x"))]), []);
    let token =
        |kind, customer| [("entity_id", I(4)), ("type", T(kind)), ("customer_id", customer)];
    let out = world.insert("oauth_token", &token("access", Null));
    assert_eq!(account(&out), [AccountChange::AccessToken { token_id: 4 }]);
    assert_eq!(world.insert("oauth_token", &token("request", Null)), []);
    let out = world.insert("oauth_token", &token("access", I(11)));
    assert!(matches!(facts(&out)[..], [Fact::Sign(Sign::Token { .. })]), "{out:?}");
}

#[test]
fn new_attributes_of_persons() {
    let mut world = World::new();
    let row = |entity, code| [("entity_type_id", I(entity)), ("attribute_code", T(code))];
    for (entity, code, kind) in [
        (1, "patient_mrn", Some("customer attribute")),
        (2, "access_code", Some("address attribute")),
        (4, "patient_mrn", None),
        (1, "firstname", None),
    ] {
        let out = world.insert("eav_attribute", &row(entity, code));
        let found = facts(&out).first().map(|fact| match fact {
            Fact::NewSurface { kind, .. } => *kind,
            other => panic!("{other:?}"),
        });
        assert_eq!(found, kind, "{entity} {code}");
    }
    let kind = [("entity_type_id", I(40)), ("entity_type_code", T("customer"))];
    assert_eq!(world.insert("eav_entity_type", &kind), []);
    assert_eq!(facts(&world.insert("eav_attribute", &row(40, "allergies"))).len(), 1);
    assert_eq!(world.insert("eav_attribute", &row(1, "allergies")), []);
}

#[test]
fn a_new_key_of_a_stored_card_is_a_touch() {
    let mut world = World::new();
    world.people();
    let old = [
        ("parent_id", I(110)),
        ("cc_owner", T("x")),
        ("cc_number_enc", T("0:3:AAAAAAAAAAAAAAAAAAAAAAAA")),
    ];
    for (change, is_touch) in [
        (&[("cc_number_enc", T("1:3:BBBBBBBBBBBBBBBBBBBBBBBB"))][..], true),
        (&[("cc_number_enc", T("0:3:BBBBBBBBBBBBBBBBBBBBBBBB"))], false),
        (&[("cc_number_enc", T("4111111111111111"))], false),
        (&[("cc_number_enc", T("1:3:BBBBBBBBBBBBBBBBBBBBBBBB")), ("cc_owner", T("y"))], false),
    ] {
        let out = world.update("sales_order_payment", &old, change);
        assert_eq!(out[0].is_touch, is_touch, "{change:?}");
    }
}

#[test]
fn upgrades_and_new_keys_are_maintenance() {
    let mut world = World::new();
    let varchar = |name| crate::world::column(name, "varchar(50)");
    world.schema.insert("patch_list".into(), vec![varchar("patch_id")]);
    world.schema.insert("setup_module".into(), vec![varchar("module"), varchar("data_version")]);
    let upgrade = Fact::Maintenance { kind: "setup upgrade" };
    assert_eq!(facts(&world.insert("patch_list", &[])), [&upgrade]);
    assert_eq!(world.delete("patch_list", &[]), []);
    let module = [("data_version", T("2.0.0"))];
    let out = world.update("setup_module", &module, &[("data_version", T("2.0.1"))]);
    assert_eq!(facts(&out), [&upgrade]);
    let old = setting("payment/acme/gateway_key", "0:3:AAAAAAAAAAAAAAAAAAAAAAAA");
    let new = [("value", T("1:3:BBBBBBBBBBBBBBBBBBBBBBBB"))];
    let out = world.update("core_config_data", &old, &new);
    assert_eq!(facts(&out), [&Fact::Maintenance { kind: "re-encryption" }]);
}
