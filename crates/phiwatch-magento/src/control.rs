//! Rows of tables without persons that rules read: settings, users, roles, stores, queues.
//!
//! # Invariants
//! - Rows that say nothing give no observation: most changes of these tables are routine.

use std::{collections::BTreeSet, sync::Arc};

use phiwatch_binlog::Op;

use crate::{
    AccountChange, AttributeOf, Catalog, CodeChange, ConfigChange, ConfigVerdict, ExportEntity,
    Fact, ImportPhase, PhiClasses, Resource, ScheduleChange, Settings, Sign, Tenant,
    binding::Binding,
    catalog::{Rule, Weaker},
    emit::Emit,
    export,
    journal::Lesson,
    row::{Field, Row, Slot},
    setting,
    shop::Shop,
    token,
};

/// One row of such a table.
pub(crate) struct Control<'a, 'b> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) settings: &'a Settings,
    pub(crate) binding: &'a Binding,
    pub(crate) row: &'a Row<'a>,
    pub(crate) shop: &'a mut Shop,
    pub(crate) emit: Emit<'b>,
}

impl Control<'_, '_> {
    /// Says what the row means, and learns from it.
    pub(crate) fn run(&mut self, rule: Rule) {
        match rule {
            Rule::StoreWebsite => self.store_website(),
            Rule::StoreGroup => self.store_group(),
            Rule::Store => self.store(),
            Rule::Setting => self.setting(),
            Rule::AdminUser => self.admin_user(),
            Rule::AdminPassword => self.admin_password(),
            Rule::Role => self.role(),
            Rule::Permission => self.permission(),
            Rule::Integration => self.integration(),
            Rule::OauthToken => self.oauth_token(),
            Rule::TwoFactor => self.two_factor(),
            Rule::UserExpiration => self.user_expiration(),
            Rule::EntityType => self.entity_type(),
            Rule::Attribute => self.attribute(),
            Rule::QueueMessage => self.queue_message(),
            Rule::QueueStatus => self.queue_status(),
            Rule::ScheduledOperation => self.scheduled_operation(),
            Rule::Inbox => self.inbox(),
            Rule::ImportData => self.import_data(),
            Rule::ImportHistory => self.import_history(),
            Rule::Content => self.content(),
            Rule::Patch => self.upgrade(self.row.op == Op::Create),
            Rule::Module => self.upgrade(self.updated(0) || self.updated(1)),
            Rule::Customer
            | Rule::CustomerAttribute
            | Rule::Address
            | Rule::AddressAttribute
            | Rule::CustomerGrid
            | Rule::Order
            | Rule::OrderAddress
            | Rule::OrderChild
            | Rule::OrderGrid
            | Rule::OrderChildGrid
            | Rule::Quote
            | Rule::QuoteChild
            | Rule::Newsletter
            | Rule::Reviewer
            | Rule::WishlistItem
            | Rule::VaultToken
            | Rule::PersistentSession
            | Rule::Rma
            | Rule::CompanyMember
            | Rule::TokenRequest
            | Rule::ResetRequest
            | Rule::ActionLog
            | Rule::LoginAs
            | Rule::LoginAsLog
            | Rule::CronJob
            | Rule::Bulk
            | Rule::Company
            | Rule::CompanyRole
            | Rule::CompanyUserRole
            | Rule::CompanyNode
            | Rule::CompanyOrder
            | Rule::Payment => {}
        }
    }

    fn slot(&self, n: usize) -> Slot {
        self.binding.key(n)
    }

    fn now(&self, n: usize) -> Field {
        self.row.now(self.slot(n))
    }

    fn number(&self, n: usize) -> u64 {
        self.now(n).id().unwrap_or(0)
    }

    fn text(&self, n: usize) -> Option<String> {
        let text = self.row.text_now(self.slot(n))?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// Whether an UPDATE changed the column.
    fn updated(&self, n: usize) -> bool {
        self.row.op == Op::Update && self.row.is_written(self.slot(n))
    }

    /// A row went whose dependants the server does not log.
    fn gone(&mut self, id: u64) {
        if let (true, Ok(id)) = (self.row.cascades_unseen, u32::try_from(id)) {
            self.shop.gone(&self.binding.info.name, id);
        }
    }

    fn take(&mut self, lesson: Lesson) {
        self.shop.take(lesson, self.settings.limits.ids_max);
    }

    fn account(&mut self, change: AccountChange) {
        self.emit.fact(Fact::Account(change));
    }

    fn remap(&mut self, what: String) {
        self.emit.fact(Fact::TenantRemap { what });
    }

    /// `setup:upgrade` ran: a data patch was applied, a module has a new version.
    fn upgrade(&mut self, is_one: bool) {
        if is_one {
            self.emit.fact(Fact::Maintenance { kind: "setup upgrade" });
        }
    }

    fn store_website(&mut self) {
        let id = self.number(0);
        if self.row.op == Op::Delete && id != 0 {
            self.remap(format!("website {id} removed"));
            self.gone(id);
        }
    }

    fn store_group(&mut self) {
        let (id, website) = (self.number(0), self.now(1));
        let old = self.row.old(self.slot(1));
        if self.updated(1)
            && let (Some(from), Some(to)) = (old.id(), website.id())
        {
            self.remap(format!("store group {id} from website {from} to website {to}"));
        }
    }

    fn store(&mut self) {
        let Some(id) = self.now(0).key() else { return };
        let website = self.now(1).key();
        match self.row.op {
            Op::Delete => {
                let of = website.map(|website| format!(" of website {website}"));
                self.remap(format!("store {id}{} removed", of.unwrap_or_default()));
                self.take(Lesson::Store { store: id, website: None });
                self.gone(id.into());
            }
            Op::Create | Op::Update => {
                let known = self.shop.stores.get(&id).copied();
                let before = self.row.old(self.slot(1)).key().or(known);
                if let (Op::Update, Some(from), Some(to)) = (self.row.op, before, website)
                    && from != to
                {
                    self.remap(format!("store {id} from website {from} to website {to}"));
                    self.emit.fact(Fact::Sign(Sign::Moved { from, to }));
                }
                if website.is_some() {
                    self.take(Lesson::Store { store: id, website });
                }
            }
        }
    }

    fn setting(&mut self) {
        let Some(path) = self.text(2) else { return };
        let value_of = |text: Option<std::borrow::Cow<'_, [u8]>>| {
            text.map(|text| String::from_utf8_lossy(&text).into_owned())
        };
        let current = value_of(self.row.text_now(self.slot(3)));
        let (before, after) = match self.row.op {
            Op::Create => (None, current),
            Op::Update => (value_of(self.row.text_old(self.slot(3))), current),
            Op::Delete => (current, None),
        };
        if setting::is_reencrypted(before.as_deref(), after.as_deref()) {
            self.emit.fact(Fact::Maintenance { kind: "re-encryption" });
            return;
        }
        self.judge(&path, before.as_deref(), after.as_deref());
        let scripts =
            |value: &Option<String>| value.as_ref().and_then(|v| setting::scripts(v.as_bytes()));
        let now = scripts(&after);
        if now.is_some() && now != scripts(&before) {
            self.emit.fact(Fact::Code(CodeChange::ScriptInSetting));
        }
    }

    fn judge(&mut self, path: &str, before: Option<&str>, after: Option<&str>) {
        let Some(spec) = self.catalog.setting(path) else { return };
        let (verdict, why) = setting::judge(spec, before, after, self.settings);
        let scope: Arc<str> = match self.text(0).as_deref() {
            Some("default") => "default".into(),
            Some("websites") => "websites".into(),
            Some("stores") => "stores".into(),
            _ => "other".into(),
        };
        let is_default = &*scope == "default";
        let id = u32::try_from(self.number(1)).unwrap_or(u32::MAX);
        self.emit.base.tenant = match &*scope {
            "websites" if id != 0 => Tenant::Website(id),
            "stores" => self.shop.site_of_store(self.now(1)).tenant(),
            _ => Tenant::Global,
        };
        let change =
            ConfigChange { path: Arc::clone(&spec.path), scope: (scope, id), verdict, why };
        let is_weaker = matches!(change.verdict, ConfigVerdict::Weakened | ConfigVerdict::Opened);
        let cut = (spec.is_audit && is_weaker).then(|| Sign::TrailSetting {
            path: Arc::clone(&change.path),
            why: change.why.clone(),
        });
        self.emit.fact(Fact::Config(change));
        if let Some(cut) = cut {
            self.emit.fact(Fact::Sign(cut));
        }
        if let Some(of) = spec.period.filter(|_| is_default) {
            let secs = setting::period_secs(spec, after);
            self.emit.fact(Fact::Sign(Sign::Period { of, secs }));
        }
        let value = after.unwrap_or(&spec.default).trim();
        if spec.weaker == Weaker::CronModel && !value.is_empty() && before != after {
            self.emit.fact(Fact::Code(CodeChange::CronModelInSetting));
        }
        if path == "customer/account_share/scope" && is_default {
            self.share_scope(value == "0");
        }
    }

    fn share_scope(&mut self, is_shared: bool) {
        let was = self.shop.is_shared.unwrap_or(false);
        self.take(Lesson::Shared(Some(is_shared)));
        if was != is_shared {
            let scope = if is_shared { "all websites" } else { "one website each" };
            self.remap(format!("customer accounts belong to {scope}"));
        }
    }

    fn admin_user(&mut self) {
        let user_id = self.number(0);
        match self.row.op {
            Op::Create => {
                let is_active = self.number(3) == 1;
                self.account(AccountChange::UserCreated { user_id, is_active });
            }
            Op::Delete => self.account(AccountChange::UserRemoved { user_id }),
            Op::Update => {
                if self.updated(3) && self.number(3) == 1 {
                    self.account(AccountChange::UserActivated { user_id });
                }
                if self.updated(1) {
                    self.account(AccountChange::UserEmail { user_id });
                }
                if self.updated(2) {
                    self.account(AccountChange::UserPassword { user_id });
                }
            }
        }
    }

    fn admin_password(&mut self) {
        if self.row.op == Op::Create {
            let user_id = self.number(0);
            self.account(AccountChange::PasswordRecorded { user_id });
        }
    }

    fn role(&mut self) {
        let (role_id, parent_id) = (self.number(0), self.number(1));
        let removed = self.row.op == Op::Delete;
        let is_group = self.text(2).is_some_and(|kind| kind.trim() == "G");
        if is_group {
            if self.row.op != Op::Update || self.updated(2) {
                self.account(AccountChange::RoleGroup { role_id, removed });
            }
            if self.row.op == Op::Update && self.is_wider() {
                self.account(AccountChange::RoleScope { role_id });
            }
            return;
        }
        if self.row.op == Op::Update && ![1, 2, 3, 4].iter().any(|n| self.updated(*n)) {
            return;
        }
        let user_id = self.number(3);
        let is_integration = self.text(4).is_some_and(|kind| kind.trim() == "1");
        let change =
            AccountChange::RoleAssigned { role_id, user_id, is_integration, parent_id, removed };
        self.account(change);
    }

    /// Whether the role reaches all websites now, or one more (`gws_*`, Commerce).
    fn is_wider(&self) -> bool {
        let is_all = self.updated(5) && self.now(5) == Field::Is(1);
        let ids = |text: Option<std::borrow::Cow<'_, [u8]>>| -> BTreeSet<Vec<u8>> {
            let text = text.unwrap_or_default();
            let parts = text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            parts.filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
        };
        let is_more = [6, 7].into_iter().any(|n| {
            let old = ids(self.row.text_old(self.slot(n)));
            self.updated(n) && !ids(self.row.text_now(self.slot(n))).is_subset(&old)
        });
        is_all || is_more
    }

    fn permission(&mut self) {
        if self.row.op == Op::Update && ![0, 1, 2].iter().any(|n| self.updated(*n)) {
            return;
        }
        let (role_id, Some(name)) = (self.number(0), self.text(1)) else { return };
        let allow = self.text(2).is_some_and(|permission| permission.trim() == "allow");
        let watched = self.catalog.is_watched_resource(&name).then(|| Arc::from(name.as_str()));
        let resource = Resource { hash: token::fixed(name.as_bytes()), watched };
        let removed = self.row.op == Op::Delete;
        self.account(AccountChange::RoleRule { role_id, resource, allow, removed });
    }

    fn integration(&mut self) {
        let integration_id = self.number(0);
        let is_active = self.number(1) == 1;
        if self.row.op == Op::Create {
            self.account(AccountChange::IntegrationCreated { integration_id });
        }
        let was_active = self.row.old(self.slot(1)) == Field::Is(1);
        if self.row.op != Op::Delete
            && is_active
            && !was_active
            && self.row.is_written(self.slot(1))
        {
            self.account(AccountChange::IntegrationActivated { integration_id });
        }
    }

    /// Tokens of customers are made at each of their logons, so they say nothing.
    fn oauth_token(&mut self) {
        let is_access = self.text(2).is_some_and(|kind| kind.trim() == "access");
        let is_new = self.row.op == Op::Create || self.updated(2);
        if is_new && is_access && self.now(1).id().is_none() {
            let token_id = self.number(0);
            self.account(AccountChange::AccessToken { token_id });
        }
    }

    fn two_factor(&mut self) {
        let is_empty = |text: Option<std::borrow::Cow<'_, [u8]>>| {
            text.is_none_or(|text| matches!(text.trim_ascii(), b"" | b"[]" | b"{}" | b"null"))
        };
        let emptied = [1, 2].into_iter().any(|n| {
            self.updated(n)
                && is_empty(self.row.text_now(self.slot(n)))
                && !is_empty(self.row.text_old(self.slot(n)))
        });
        if self.row.op == Op::Delete || emptied {
            let user_id = self.number(0);
            self.account(AccountChange::TwoFactorReset { user_id });
        }
    }

    fn user_expiration(&mut self) {
        if self.row.op == Op::Delete {
            let user_id = self.number(0);
            self.account(AccountChange::ExpiryRemoved { user_id });
        }
    }

    fn entity_type(&mut self) {
        let (Some(id), Some(code)) = (self.now(0).key(), self.text(1)) else { return };
        match code.as_str() {
            "customer" => self.take(Lesson::EntityType { place: 0, id: Some(id) }),
            "customer_address" => self.take(Lesson::EntityType { place: 1, id: Some(id) }),
            _ => {}
        }
    }

    fn attribute(&mut self) {
        if self.row.op != Op::Create {
            return;
        }
        let (Some(entity), Some(code)) = (self.now(0).key(), self.text(1)) else { return };
        let kind = match self.shop.attribute_of(entity) {
            Some(AttributeOf::Customer) => "customer attribute",
            Some(AttributeOf::Address) => "address attribute",
            None => return,
        };
        if !self.catalog.is_stock_attribute(&code) {
            let classes = self.catalog.column_classes(&code).union(PhiClasses::FREE_TEXT);
            self.emit.fact(Fact::NewSurface { kind, classes });
        }
    }

    fn queue_message(&mut self) {
        let topic = self.text(1);
        if self.row.op != Op::Create || topic.as_deref() != Some(self.catalog.export_topic()) {
            return;
        }
        let body = self.row.text_now(self.slot(2)).unwrap_or_default();
        let request = export::request(&body);
        let entity = self.catalog.export_entity(&request.entity);
        let message_id = self.number(0);
        self.take(Lesson::Export { message: message_id, is_open: true });
        let is_filtered = request.is_filtered;
        self.emit.fact(Fact::ExportQueued { message_id, entity, is_filtered });
    }

    /// Only of export messages: every message has a status.
    fn queue_status(&mut self) {
        let message_id = self.number(0);
        if !self.shop.exports.contains(&message_id) {
            return;
        }
        if self.row.op == Op::Delete {
            self.take(Lesson::Export { message: message_id, is_open: false });
        } else if self.row.is_written(self.slot(1)) {
            let status = u8::try_from(self.number(1)).unwrap_or(u8::MAX);
            self.emit.fact(Fact::ExportStatus { message_id, status });
        }
    }

    /// Exports only, as far as the row says: an import brings no data out.
    fn scheduled_operation(&mut self) {
        const ENABLED: Field = Field::Is(1);
        let operation = self.text(1);
        let is_enabled = self.now(3) == ENABLED;
        let change = match self.row.op {
            Op::Create if is_enabled => ScheduleChange::Made,
            Op::Update
                if self.updated(3) && is_enabled && self.row.old(self.slot(3)) != ENABLED =>
            {
                ScheduleChange::SwitchedOn
            }
            // Also before it is switched on: where a file goes is what matters about it.
            Op::Update if (1..3).any(|n| self.updated(n)) || self.updated(4) => {
                ScheduleChange::Redirected
            }
            Op::Update if self.updated(5) => ScheduleChange::Ran,
            _ => return,
        };
        let entity = match operation.as_deref() {
            Some("export") => self.catalog.export_entity(&self.text(2).unwrap_or_default()),
            // An image of the changed columns only.
            None if change != ScheduleChange::Ran => ExportEntity::Other,
            _ => return,
        };
        let operation_id = self.number(0);
        self.emit.fact(Fact::ExportScheduled { operation_id, entity, change });
    }

    fn inbox(&mut self) {
        if self.row.op != Op::Create {
            return;
        }
        let Some(title) = self.text(0) else { return };
        let title = title.trim();
        let is_configured = self
            .settings
            .export_notice_titles
            .iter()
            .any(|known| known.trim().to_lowercase() == title.to_lowercase());
        if is_configured || self.catalog.is_notice_title(title) {
            self.emit.fact(Fact::ExportNotice);
        }
    }

    /// Bunches of persons only: an import of products announces no rows of persons.
    fn import_data(&mut self) {
        if self.row.op == Op::Update {
            return;
        }
        let entity = self.text(0).unwrap_or_default();
        let is_personal = entity.starts_with("customer")
            || !matches!(
                self.catalog.export_entity(&entity),
                ExportEntity::Impersonal | ExportEntity::Other
            );
        if is_personal && self.row.op == Op::Delete {
            self.emit.fact(Fact::Sign(Sign::Kept { removed: true }));
        } else if is_personal {
            let data = self.row.text_now(self.slot(1)).unwrap_or_default();
            let rows = export::bunch_rows(&data);
            self.emit.fact(Fact::Import { phase: ImportPhase::Data, rows });
            self.emit.fact(Fact::Sign(Sign::Kept { removed: false }));
        }
    }

    fn import_history(&mut self) {
        match self.row.op {
            Op::Create => self.emit.fact(Fact::Import { phase: ImportPhase::Begin, rows: 0 }),
            Op::Update => {
                let summary = self.row.text_now(self.slot(0)).unwrap_or_default();
                let rows = export::summary_rows(&summary);
                self.emit.fact(Fact::Import { phase: ImportPhase::End, rows });
            }
            Op::Delete => {}
        }
    }

    fn content(&mut self) {
        let changed = [0, 1].into_iter().any(|n| {
            let now = self.row.text_now(self.slot(n)).and_then(|text| setting::scripts(&text));
            let old = self.row.text_old(self.slot(n)).and_then(|text| setting::scripts(&text));
            self.row.is_written(self.slot(n)) && now.is_some() && now != old
        });
        if changed {
            self.emit.fact(Fact::Code(CodeChange::ScriptInContent));
        }
    }
}
