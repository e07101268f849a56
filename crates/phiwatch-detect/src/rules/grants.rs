//! `privilege-granted`: who may do more than before.
//!
//! Magento saves a role by deleting all its rules and inserting them again, and a user's role
//! likewise, so what counts is the difference within a transaction. A grant is often spread over
//! several transactions (user, then role, then rules): those that share a user, role, integration or
//! session within [`ACT_SECS`] are one finding.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use phiwatch_binlog::EventTime;
use phiwatch_magento::{AccountChange, Resource, Tenant};

use super::Known;
use crate::{
    alert::{RuleId, Severity},
    finding::{Key, Signal},
    state::{state_enum, state_struct},
    summary::Summary,
};

/// Transactions of one grant lie within, seconds.
const ACT_SECS: i64 = 600;
/// Grants open for joining.
const ACTS_MAX: usize = 256;
/// Roles remembered.
const ROLES_MAX: usize = 4096;
/// Magento's installer makes role 1 the administrators' role, with every right.
const ADMINISTRATORS: u64 = 1;
const ALL: &str = "Magento_Backend::all";

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Link {
    User { id: u64 },
    Role { id: u64 },
    Integration { id: u64 },
    Sql,
    Company { id: u64 },
    Session { server: u32, thread: u32 },
}

#[derive(Debug, Clone, PartialEq)]
struct Grant {
    database: Arc<str>,
    what: String,
    links: BTreeSet<Link>,
    /// Roles assigned in it.
    assigned: BTreeSet<Link>,
    last: EventTime,
}

/// Grants of late, and which roles have every right.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Grants {
    grants: Vec<Grant>,
    roles: BTreeMap<(Arc<str>, u64), bool>,
}

/// What one transaction grants in one database.
#[derive(Default)]
struct Verdict {
    severity: Option<Severity>,
    words: Vec<String>,
    links: BTreeSet<Link>,
    assigned: BTreeSet<Link>,
}

impl Verdict {
    fn add(&mut self, severity: Severity, words: String) {
        self.severity = self.severity.max(Some(severity));
        if self.words.len() < 6 {
            self.words.push(words);
        }
    }
}

impl Grants {
    pub(crate) fn judge(
        &mut self,
        summary: &Summary,
        now: EventTime,
        known: &dyn Known,
        out: &mut Vec<Signal>,
    ) {
        let mut by_database: BTreeMap<&Arc<str>, Vec<&AccountChange>> = BTreeMap::new();
        for (database, change) in &summary.accounts {
            by_database.entry(database).or_default().push(change);
        }
        for (database, changes) in by_database {
            let is_installed = self.is_installed(database, &changes, known);
            let verdict = self.verdict(database, &changes);
            if verdict.links.is_empty() && verdict.severity.is_none() {
                continue;
            }
            let session = summary
                .origin
                .thread
                .map(|thread| Link::Session { server: summary.origin.server_id, thread });
            let what = self.grant(database, &verdict, session.as_ref(), now);
            let Some(severity) = verdict.severity else { continue };
            let words = verdict.words.join("; ");
            let lead = format!("New rights: {words}");
            let key = Key { database: super::named(database), tenant: Tenant::Global, what };
            let mut signal = Signal::exact(RuleId::PrivilegeGranted, key, severity, lead);
            signal.rows = u64::try_from(changes.len()).unwrap_or(u64::MAX);
            signal.is_news = true;
            if is_installed {
                signal.severity = Severity::Informational;
                signal.benign = Some(super::INSTALLED.to_owned());
            }
            out.push(signal);
        }
    }

    /// Whether this is the installer: the first that is seen of the administrators' role is that
    /// it is made, before any person is.
    fn is_installed(
        &self,
        database: &Arc<str>,
        changes: &[&AccountChange],
        known: &dyn Known,
    ) -> bool {
        let is_made = |change: &&AccountChange| {
            matches!(change, AccountChange::RoleGroup { role_id: ADMINISTRATORS, removed: false })
        };
        changes.iter().any(is_made)
            && !self.roles.contains_key(&(Arc::clone(database), ADMINISTRATORS))
            && known.persons(database) < 1.0
    }

    /// The finding that the transaction belongs to.
    fn grant(
        &mut self,
        database: &Arc<str>,
        verdict: &Verdict,
        session: Option<&Link>,
        now: EventTime,
    ) -> String {
        let age = |grant: &Grant| now.0.saturating_sub(grant.last.0);
        self.grants.retain(|grant| age(grant) <= ACT_SECS * 1_000_000);
        let joins = |grant: &Grant| {
            grant.database == *database
                && (grant.links.intersection(&verdict.links).next().is_some()
                    || grant.assigned.intersection(&verdict.links).next().is_some()
                    || grant.links.intersection(&verdict.assigned).next().is_some()
                    || session.is_some_and(|session| grant.links.contains(session)))
        };
        let links = verdict.links.iter().cloned().chain(session.cloned());
        if let Some(grant) = self.grants.iter_mut().find(|grant| joins(grant)) {
            grant.links.extend(links);
            grant.assigned.extend(verdict.assigned.iter().cloned());
            grant.last = now;
            return grant.what.clone();
        }
        let what = verdict.links.first().or(session).map_or_else(String::new, words);
        if self.grants.len() >= ACTS_MAX {
            self.grants.remove(0);
        }
        let links = links.collect();
        let assigned = verdict.assigned.clone();
        let database = Arc::clone(database);
        self.grants.push(Grant { database, what: what.clone(), links, assigned, last: now });
        what
    }

    fn verdict(&mut self, database: &Arc<str>, changes: &[&AccountChange]) -> Verdict {
        let mut verdict = Verdict::default();
        self.rules(database, changes, &mut verdict);
        self.assignments(database, changes, &mut verdict);
        for change in changes {
            if let AccountChange::RoleGroup { role_id, removed: true } = change {
                self.remember(database, *role_id, false);
            }
            single(change, changes, &mut verdict);
        }
        verdict
    }

    /// Rules of roles: what is newly allowed.
    fn rules(&mut self, database: &Arc<str>, changes: &[&AccountChange], verdict: &mut Verdict) {
        let mut roles: BTreeMap<u64, (BTreeSet<&Resource>, BTreeSet<&Resource>)> = BTreeMap::new();
        for change in changes {
            if let AccountChange::RoleRule { role_id, resource, allow: true, removed } = change {
                let (before, after) = roles.entry(*role_id).or_default();
                if *removed { before } else { after }.insert(resource);
            }
        }
        let is_all = |resource: &&&Resource| resource.watched.as_deref() == Some(ALL);
        for (role, (before, after)) in roles {
            let had_all = before.iter().any(|resource| is_all(&resource));
            let has_all = after.iter().any(|resource| is_all(&resource));
            self.remember(database, role, has_all);
            let new: Vec<&&Resource> = after.difference(&before).collect();
            if had_all || new.is_empty() {
                continue;
            }
            verdict.links.insert(Link::Role { id: role });
            let watched: Vec<&str> = new.iter().filter_map(|r| r.watched.as_deref()).collect();
            let severity = match (has_all, watched.is_empty()) {
                (true, _) => Severity::High,
                (false, false) => Severity::Medium,
                (false, true) => Severity::Low,
            };
            let names: Vec<&str> = watched.iter().take(5).copied().collect();
            let others = new.len() - names.len();
            let list = match (names.is_empty(), others) {
                (true, _) => super::count(others as u64, "resource", "resources"),
                (false, 0) => names.join(", "),
                (false, _) => format!(
                    "{} and {}",
                    names.join(", "),
                    super::count(others as u64, "other resource", "other resources"),
                ),
            };
            verdict.add(severity, format!("role {role} may now use {list}"));
        }
    }

    fn remember(&mut self, database: &Arc<str>, role: u64, has_all: bool) {
        let key = (Arc::clone(database), role);
        if self.roles.len() < ROLES_MAX || self.roles.contains_key(&key) {
            self.roles.insert(key, has_all);
        }
    }

    fn is_all(&self, database: &Arc<str>, role: u64) -> bool {
        let known = self.roles.get(&(Arc::clone(database), role));
        known.copied().unwrap_or(role == ADMINISTRATORS)
    }

    /// Users put into roles; the same role again is Magento saving the user.
    fn assignments(&self, database: &Arc<str>, changes: &[&AccountChange], verdict: &mut Verdict) {
        let mut before = BTreeSet::new();
        let mut after = BTreeSet::new();
        for change in changes {
            if let AccountChange::RoleAssigned {
                role_id,
                user_id,
                is_integration,
                parent_id,
                removed,
            } = change
            {
                if *is_integration && !removed {
                    verdict.links.insert(Link::Role { id: *role_id });
                    verdict.links.insert(Link::Integration { id: *user_id });
                } else if !is_integration {
                    let set = if *removed { &mut before } else { &mut after };
                    set.insert((*user_id, *parent_id));
                }
            }
        }
        for (user, role) in after.difference(&before).copied() {
            if role == 0 {
                continue;
            }
            verdict.links.insert(Link::User { id: user });
            verdict.assigned.insert(Link::Role { id: role });
            if self.is_all(database, role) {
                let words = format!("user {user} got role {role}, which may do everything");
                verdict.add(Severity::High, words);
            } else {
                verdict.add(Severity::Medium, format!("user {user} got role {role}"));
            }
        }
    }
}

/// Changes that speak for themselves.
fn single(change: &AccountChange, changes: &[&AccountChange], verdict: &mut Verdict) {
    let is_recorded = |user: u64| {
        changes.iter().any(
            |other| matches!(other, AccountChange::PasswordRecorded { user_id } if *user_id == user),
        )
    };
    let user = |id: u64| Some(Link::User { id });
    let (link, severity, words) = match change {
        AccountChange::UserCreated { user_id, is_active } => {
            let state = state_of(*is_active, is_recorded(*user_id));
            let severity = if *is_active { Severity::Medium } else { Severity::Low };
            (user(*user_id), severity, format!("admin user {user_id} was created{state}"))
        }
        AccountChange::UserActivated { user_id } => {
            (user(*user_id), Severity::Medium, format!("admin user {user_id} was activated"))
        }
        AccountChange::UserPassword { user_id } if !is_recorded(*user_id) => (
            user(*user_id),
            Severity::Low,
            format!("the password of admin user {user_id} was set without Magento's own record"),
        ),
        AccountChange::UserEmail { user_id } => (
            user(*user_id),
            Severity::Medium,
            format!("the e-mail address of admin user {user_id} was changed"),
        ),
        AccountChange::TwoFactorReset { user_id } => (
            user(*user_id),
            Severity::Medium,
            format!("the second factor of admin user {user_id} was reset"),
        ),
        AccountChange::ExpiryRemoved { user_id } => (
            user(*user_id),
            Severity::Medium,
            format!("the expiry of admin user {user_id} was removed"),
        ),
        AccountChange::IntegrationCreated { integration_id: id } => (
            Some(Link::Integration { id: *id }),
            Severity::Low,
            format!("integration {id} was created"),
        ),
        AccountChange::IntegrationActivated { integration_id: id } => (
            Some(Link::Integration { id: *id }),
            Severity::Medium,
            format!("integration {id} was activated"),
        ),
        AccountChange::RoleScope { .. }
        | AccountChange::CompanyKeeper { .. }
        | AccountChange::CompanyAdministrator { .. }
        | AccountChange::SqlAccount
        | AccountChange::SqlGrant { .. } => return reach(change, verdict),
        AccountChange::RoleGroup { .. }
        | AccountChange::RoleRule { .. }
        | AccountChange::RoleAssigned { .. }
        | AccountChange::UserPassword { .. }
        | AccountChange::UserRemoved { .. }
        | AccountChange::PasswordRecorded { .. }
        // A token alone may be a customer's; an integration's comes with its activation.
        | AccountChange::AccessToken { .. }
        | AccountChange::SqlAccountRemoved => return,
    };
    verdict.links.extend(link);
    verdict.add(severity, words);
}

/// Of a new user.
fn state_of(is_active: bool, is_recorded: bool) -> &'static str {
    match (is_active, is_recorded) {
        (true, true) => "",
        (false, true) => " (not active)",
        (true, false) => ", without Magento's own record of the password",
        (false, false) => " (not active), without Magento's own record of the password",
    }
}

/// Who reaches more data than before, and accounts of SQL.
fn reach(change: &AccountChange, verdict: &mut Verdict) {
    let (link, severity, words) = match change {
        AccountChange::RoleScope { role_id: id } => (
            Some(Link::Role { id: *id }),
            Severity::Medium,
            format!("role {id} reaches more websites or stores"),
        ),
        AccountChange::CompanyKeeper { company_id: id, user_id } => (
            Some(Link::Company { id: *id }),
            Severity::Low,
            format!("admin user {user_id} looks after company {id}"),
        ),
        AccountChange::CompanyAdministrator { company_id: id } => (
            Some(Link::Company { id: *id }),
            Severity::Low,
            format!("company {id} has another administrator"),
        ),
        AccountChange::SqlAccount => {
            (Some(Link::Sql), Severity::Medium, "an SQL account was created or changed".to_owned())
        }
        AccountChange::SqlGrant { all, global, grant_option } => {
            let is_wide = (*all && *global) || *grant_option;
            let what = if *all { "every right" } else { "rights" };
            let extent = if *global { "everywhere" } else { "on a database" };
            let severity = if is_wide { Severity::High } else { Severity::Medium };
            (Some(Link::Sql), severity, format!("an SQL account got {what} {extent}"))
        }
        _ => return,
    };
    verdict.links.extend(link);
    verdict.add(severity, words);
}

fn words(link: &Link) -> String {
    match link {
        Link::User { id } => format!("user {id}"),
        Link::Role { id } => format!("role {id}"),
        Link::Integration { id } => format!("integration {id}"),
        Link::Sql => "SQL accounts".to_owned(),
        Link::Company { id } => format!("company {id}"),
        Link::Session { .. } => "session".to_owned(),
    }
}

state_enum!(Link {
    0 => User { id },
    1 => Role { id },
    2 => Integration { id },
    3 => Sql,
    4 => Session { server, thread },
    5 => Company { id },
});
state_struct!(Grant { database, what, links, assigned, last });
state_struct!(Grants { grants, roles });
