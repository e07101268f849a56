//! Open findings: when one is told, updated, and closed.
//!
//! Input: [`Signal`]s, at most one per (rule, key) and transaction. Output: [`Alert`]s.
//!
//! A finding is told at its first signal; told again when its severity rises, when a further act of
//! the same kind joins it (the first few at once), and when its persons or rows have doubled (at most
//! every [`UPDATE_SECS`], else the update waits for its due time); closed when it has been quiet for [`QUIET_SECS`]. Due times are event times: they fire when a
//! later transaction's time reaches them, in the order of (time, rule, key), and carry the due time.
//! So a live run, a replay and a run cut by crashes say the same.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use phiwatch_binlog::EventTime;
use phiwatch_magento::{OperatorRule, PhiClasses, Tenant};
use uuid::Uuid;

use crate::{
    alert::{Activity, Alert, Analysis, Confidence, Evidence, RuleId, Severity},
    persons::{Kinds, Persons},
    settings::{Candidate, Exception, Settings},
    state::{CheckpointError, Reader, State, state_struct},
    stats::Stats,
    summary::{Scope, Summary},
};

/// Evidence per alert: the first and the last half of it.
const EVIDENCE_HALF: usize = 4;
/// Tables told per transaction.
const EVIDENCE_TABLES_MAX: usize = 64;
/// Least time between two updates of one finding that are not a rise in severity, seconds.
pub(crate) const UPDATE_SECS: i64 = 600;
/// States of a finding up to which news is told at once; after them it waits, but for one state each
/// [`UPDATE_SECS`] that the finding has been open.
const NEWS_MAX: u32 = 8;
/// A finding without a signal for so long is closed, seconds.
pub(crate) const QUIET_SECS: i64 = 7_200;
/// A gap stays a gap: it is never closed, but forgotten after so long, seconds.
const GAP_KEPT_SECS: i64 = 30 * 86_400;
/// What is overdue is said once a day; not said for so long, it is not overdue any more, seconds.
const OVERDUE_SECS: i64 = 2 * 86_400;
/// Findings open at a time; over it the longest quiet one is closed.
const OPEN_MAX: usize = 4096;
/// Persons of a finding counted exactly over its transactions.
const PERSONS_EXACT_MAX: usize = 4096;
/// Namespace of finding ids: UUIDv5 of `phiwatch.finding` in the DNS namespace's manner, fixed.
pub(crate) const NAMESPACE: Uuid = Uuid::from_u128(0x6f0c_51de_8c1b_5a0e_9d35_70e1_77a7_c40b);

/// What a finding is about, within its rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) database: Option<Arc<str>>,
    pub(crate) tenant: Tenant,
    /// Told apart within the tenant: a table, a setting, a user.
    pub(crate) what: String,
}

/// Observed against expected, as kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measure {
    /// Index of the parameter's words.
    pub(crate) parameter: u8,
    pub(crate) target: String,
    pub(crate) window_secs: u64,
    pub(crate) from: EventTime,
    pub(crate) until: EventTime,
    pub(crate) observed: u64,
    pub(crate) expected: f64,
    pub(crate) threshold: u64,
    pub(crate) score: f64,
    pub(crate) history_secs: u64,
}

/// A rule's word on one transaction.
#[derive(Debug, Clone)]
pub(crate) struct Signal {
    pub(crate) rule: RuleId,
    pub(crate) key: Key,
    pub(crate) severity: Severity,
    pub(crate) confidence: Confidence,
    /// The sentence, without its full stop.
    pub(crate) lead: String,
    pub(crate) measure: Option<Measure>,
    pub(crate) phi: PhiClasses,
    /// Rows that the signal is about.
    pub(crate) rows: u64,
    /// Persons, if the signal knows better than the transaction's rows (a window's count).
    pub(crate) persons: u64,
    /// The persons, where they are not those of the transaction's rows.
    pub(crate) own: Option<Persons>,
    /// The evidence, where it is not the transaction at hand: time passed, and this one tells it.
    pub(crate) evidence: Option<Evidence>,
    /// Which rows of the transaction are evidence.
    pub(crate) scope: Scope,
    /// Which kinds of change make its persons; None = all.
    pub(crate) kind: Option<Kinds>,
    pub(crate) benign: Option<String>,
    /// Only joins a finding that is open.
    pub(crate) is_follow_up: bool,
    /// An act of its own, worth telling even if the finding has not doubled.
    pub(crate) is_news: bool,
    /// Invariants that the act breaks.
    pub(crate) aspects: BTreeSet<u8>,
    /// The operator's rule, if it is one.
    pub(crate) operator: Option<Arc<OperatorRule>>,
}

impl Signal {
    /// A signal of an exact rule over one tenant's rows of the transaction.
    pub(crate) fn exact(rule: RuleId, key: Key, severity: Severity, lead: String) -> Self {
        let scope = Scope { database: key.database.clone(), tenant: None };
        Self {
            rule,
            key,
            severity,
            confidence: Confidence::High,
            lead,
            measure: None,
            phi: PhiClasses::default(),
            rows: 0,
            persons: 0,
            own: None,
            evidence: None,
            scope,
            kind: None,
            benign: None,
            is_follow_up: false,
            is_news: false,
            aspects: BTreeSet::new(),
            operator: None,
        }
    }
}

/// The act behind a signal.
pub(crate) struct Act<'a> {
    /// The transaction's identity, or the place of a gap.
    pub(crate) identity: String,
    pub(crate) time: EventTime,
    pub(crate) summary: Option<&'a Summary>,
    /// Evidence where there is no summary.
    pub(crate) evidence: Option<Evidence>,
    /// Set if several rules speak on the act.
    pub(crate) correlation: Option<Uuid>,
}

/// What was last told.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    time: EventTime,
    persons: u64,
    rows: u64,
    severity: Severity,
}

/// One open finding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    uid: Uuid,
    /// States told so far.
    revision: u32,
    severity: Severity,
    confidence: Confidence,
    lead: String,
    measure: Option<Measure>,
    phi: PhiClasses,
    rows: u64,
    transactions: u64,
    persons: Persons,
    persons_min: u64,
    /// Persons of the first transaction, which counts more of them exactly.
    single: (u64, bool),
    first_seen: EventTime,
    last_seen: EventTime,
    first: Vec<Evidence>,
    last: VecDeque<Evidence>,
    correlation: Option<Uuid>,
    benign: Option<String>,
    told: Option<Told>,
    /// When a waiting update is due.
    due: Option<EventTime>,
    /// Invariants broken so far.
    aspects: BTreeSet<u8>,
    /// The operator's rule as it was when it spoke last: its file may have changed since.
    operator: Option<Arc<OperatorRule>>,
}

/// The open findings.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Findings {
    open: BTreeMap<(RuleId, Key), Finding>,
    /// The earliest due time, if known: most commits reach none.
    next: Option<EventTime>,
}

/// What of it may be told.
pub(crate) struct Desk<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) stats: &'a mut Stats,
    pub(crate) out: &'a mut Vec<Alert>,
}

impl Findings {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes a signal: opens a finding or adds to it.
    pub(crate) fn signal(&mut self, signal: Signal, act: &Act<'_>, desk: &mut Desk<'_>) {
        desk.stats.signal(signal.rule);
        self.next = None;
        let id = (signal.rule, signal.key.clone());
        if !self.open.contains_key(&id) {
            if signal.is_follow_up {
                return;
            }
            self.make_room(desk);
            self.open.insert(id.clone(), Finding::new(&signal, act));
        }
        if let Some(finding) = self.open.get_mut(&id) {
            let before = finding.persons.total().0;
            let may_be_news = signal.is_news;
            let is_other = may_be_news && finding.is_other_breach(&signal.aspects);
            finding.absorb(signal, act);
            // Quote, order and grid of one wrong order come in transactions of their own.
            let is_new_person = finding.persons.total().0 > before;
            let is_news =
                may_be_news && (id.0 != RuleId::CrossTenantWrite || is_new_person || is_other);
            finding.consider(&id, (is_news, is_other), act.time, desk);
        }
    }

    /// Fires what is due up to `now`.
    pub(crate) fn advance(&mut self, now: EventTime, desk: &mut Desk<'_>) {
        while self.next.is_none_or(|next| next <= now) {
            let dues = self.open.iter().map(|(id, finding)| (finding.next_due(id.0), id));
            let Some((due, id)) = dues.min().map(|(due, id)| (due, id.clone())) else {
                self.next = Some(EventTime(i64::MAX));
                return;
            };
            if due > now {
                self.next = Some(due);
                return;
            }
            self.fire(&id, due, desk);
            self.next = None;
        }
    }

    fn fire(&mut self, id: &(RuleId, Key), due: EventTime, desk: &mut Desk<'_>) {
        let Some(finding) = self.open.get_mut(id) else { return };
        if finding.due.is_some_and(|update| update <= due) {
            finding.tell(id, Activity::Update, due, desk);
            return;
        }
        let Some(mut finding) = self.open.remove(id) else { return };
        if id.0 != RuleId::CoverageGap {
            finding.tell(id, Activity::Close, due, desk);
        }
    }

    /// The files end: what waits for its due time is told.
    pub(crate) fn flush(&mut self, desk: &mut Desk<'_>) {
        let mut waiting: Vec<(EventTime, (RuleId, Key))> =
            self.open.iter().filter_map(|(id, finding)| Some((finding.due?, id.clone()))).collect();
        waiting.sort();
        self.next = None;
        for (due, id) in waiting {
            if let Some(finding) = self.open.get_mut(&id) {
                finding.tell(&id, Activity::Update, due, desk);
            }
        }
    }

    fn make_room(&mut self, desk: &mut Desk<'_>) {
        if self.open.len() < OPEN_MAX {
            return;
        }
        let quietest = self.open.iter().min_by_key(|(id, finding)| (finding.last_seen, *id));
        let Some(id) = quietest.map(|(id, _)| id.clone()) else { return };
        desk.stats.findings_evicted += 1;
        if let Some(mut finding) = self.open.remove(&id) {
            let time = finding.last_seen;
            finding.tell(&id, Activity::Close, time, desk);
        }
    }
}

impl Finding {
    fn new(signal: &Signal, act: &Act<'_>) -> Self {
        let window = signal.measure.as_ref().map_or(0, |measure| measure.window_secs);
        let name = format!(
            "{}|{}|{}|{}|{}|{window}",
            act.identity,
            signal.rule,
            signal.key.database.as_deref().unwrap_or_default(),
            // Unlike in `tenant_uid`, unknown and global are two keys.
            match signal.key.tenant {
                Tenant::Unknown => "unknown".to_owned(),
                tenant => tenant_uid(tenant),
            },
            signal.key.what,
        );
        Self {
            uid: Uuid::new_v5(&NAMESPACE, name.as_bytes()),
            revision: 0,
            severity: Severity::Informational,
            confidence: signal.confidence,
            lead: String::new(),
            measure: None,
            phi: PhiClasses::default(),
            rows: 0,
            transactions: 0,
            persons: Persons::new(),
            persons_min: 0,
            single: (0, true),
            first_seen: act.time,
            last_seen: act.time,
            first: Vec::new(),
            last: VecDeque::new(),
            correlation: None,
            benign: None,
            told: None,
            due: None,
            aspects: BTreeSet::new(),
            operator: None,
        }
    }

    /// Whether the act breaks an invariant that none before it did, nor what follows from one.
    fn is_other_breach(&self, aspects: &BTreeSet<u8>) -> bool {
        aspects.iter().any(|one| {
            !self.aspects.contains(one)
                && !leaders(*one).iter().any(|leader| self.aspects.contains(leader))
        })
    }

    fn absorb(&mut self, signal: Signal, act: &Act<'_>) {
        if signal.severity >= self.severity && !signal.lead.is_empty() {
            self.lead = signal.lead;
            self.measure = signal.measure.or(self.measure.take());
            self.benign = signal.benign;
            self.confidence = signal.confidence;
        }
        self.severity = self.severity.max(signal.severity);
        self.aspects.extend(signal.aspects);
        self.operator = signal.operator.or(self.operator.take());
        self.phi = self.phi.union(signal.phi);
        self.rows += signal.rows;
        self.transactions += 1;
        self.persons_min = self.persons_min.max(signal.persons);
        self.last_seen = self.last_seen.max(act.time);
        self.correlation = self.correlation.or(act.correlation);
        if let Some(own) = &signal.own {
            self.persons.absorb(own, None, PERSONS_EXACT_MAX);
            if self.transactions == 1 {
                self.single = own.total();
            }
        } else if let Some(summary) = act.summary.filter(|_| signal.evidence.is_none()) {
            for group in &summary.groups {
                if signal.scope.has(&group.database, group.tenant) {
                    self.persons.absorb(&group.persons, signal.kind, PERSONS_EXACT_MAX);
                    if self.transactions == 1 {
                        let (total, is_exact) = group.persons.total();
                        self.single.0 += signal.kind.map_or(total, |kind| group.persons.of(kind));
                        self.single.1 &= is_exact;
                    }
                }
            }
        }
        let evidence = signal
            .evidence
            .or_else(|| act.evidence.clone())
            .or_else(|| act.summary.map(|summary| summary.evidence(&signal.scope, act.time)));
        if let Some(mut evidence) = evidence {
            if let Some(own) = &signal.own {
                evidence.subjects = own.total();
            }
            while evidence.tables.len() > EVIDENCE_TABLES_MAX {
                evidence.tables.pop_last();
            }
            // What is overdue has one place, where it was last seen.
            if self.first.last() == Some(&evidence) {
                return;
            }
            if self.first.len() < EVIDENCE_HALF {
                self.first.push(evidence);
            } else {
                self.last.push_back(evidence);
                if self.last.len() > EVIDENCE_HALF {
                    self.last.pop_front();
                }
            }
        }
    }

    fn persons(&self) -> (u64, bool) {
        let total = self.persons.total();
        let (count, exact) = if self.transactions == 1 { self.single } else { total };
        if self.persons_min > count { (self.persons_min, false) } else { (count, exact) }
    }

    /// The exception that the finding fits. One that was told above severity 1 stays so: the first
    /// and the last transactions are kept, and what was wrong may be out of sight.
    fn exception<'a>(
        &self,
        (rule, key): &(RuleId, Key),
        settings: &'a Settings,
    ) -> Option<&'a Exception> {
        let lowest = Severity::Informational;
        let was_raised = self.told.as_ref().is_some_and(|told| told.severity > lowest);
        if self.severity == lowest || was_raised || settings.exceptions.is_empty() {
            return None;
        }
        let candidate = Candidate {
            rule: *rule,
            tenant: tenant_uid(key.tenant),
            database: key.database.as_deref(),
            persons: self.persons().0,
            last_seen: self.last_seen,
        };
        let evidence = || self.first.iter().chain(&self.last);
        settings.exceptions.iter().find(|one| one.fits(&candidate, evidence()))
    }

    /// Tells now what must be told now, or notes when.
    ///
    /// News is told at once, the first [`NEWS_MAX`] states and one more each [`UPDATE_SECS`]; a
    /// breach of another kind always, there are few kinds.
    fn consider(
        &mut self,
        id: &(RuleId, Key),
        (is_news, is_other): (bool, bool),
        now: EventTime,
        desk: &mut Desk<'_>,
    ) {
        let Some(told) = &self.told else {
            return self.tell(id, Activity::Create, now, desk);
        };
        let severity = match self.exception(id, desk.settings) {
            Some(_) => Severity::Informational,
            None => self.severity,
        };
        if severity > told.severity {
            return self.tell(id, Activity::Update, now, desk);
        }
        let doubled = |value: u64, before: u64| value >= before.saturating_mul(2).max(before + 1);
        let has_grown = doubled(self.persons().0, told.persons) || doubled(self.rows, told.rows);
        if has_grown || is_news {
            let due = EventTime(told.time.0.saturating_add(UPDATE_SECS * 1_000_000));
            let open_secs = now.secs().saturating_sub(self.first_seen.secs()).max(0);
            let room = i64::from(NEWS_MAX).saturating_add(open_secs / UPDATE_SECS);
            if due <= now || is_other || (is_news && i64::from(self.revision) < room) {
                self.tell(id, Activity::Update, now, desk);
            } else {
                desk.stats.put_off(id.0);
                self.due = Some(due);
            }
        }
    }

    fn tell(&mut self, id: &(RuleId, Key), what: Activity, time: EventTime, desk: &mut Desk<'_>) {
        self.due = None;
        let exception = self.exception(id, desk.settings);
        let severity = if exception.is_some() { Severity::Informational } else { self.severity };
        self.told = Some(Told { time, persons: self.persons().0, rows: self.rows, severity });
        let (rule, key) = id;
        let settings = desk.settings;
        let is_own_off =
            self.operator.as_ref().is_some_and(|own| settings.operator_off.contains(&*own.id));
        // By its own severity: an exception lowers a finding, and hides none.
        let is_off = is_own_off || settings.rules_off.contains(rule);
        if is_off || self.severity < desk.settings.severity_min {
            desk.stats.withheld += 1;
            return;
        }
        let activity = match what {
            Activity::Close if self.revision == 0 => return,
            Activity::Create | Activity::Update if self.revision == 0 => Activity::Create,
            other => other,
        };
        desk.stats.told(*rule, activity);
        let mut alert = self.alert(*rule, key, activity, time);
        if let Some(Exception { name, owner, until, .. }) = exception {
            alert.severity = severity;
            alert.benign = Some(format!("expected: exception {name} of {owner} until {until}"));
            if activity == Activity::Create {
                *desk.stats.excepted.entry(name.clone()).or_default() += 1;
            }
        }
        desk.out.push(alert);
        self.revision += 1;
    }

    fn alert(&self, rule: RuleId, key: &Key, activity: Activity, time: EventTime) -> Alert {
        Alert {
            uid: self.uid,
            revision: self.revision,
            activity,
            rule,
            tenant: Arc::from(tenant_uid(key.tenant)),
            database: key.database.clone(),
            severity: self.severity,
            confidence: self.confidence,
            time,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            title: rule.info().title,
            message: self.message(rule),
            analysis: self.measure.as_ref().map(Measure::analysis),
            evidence: self.first.iter().chain(&self.last).cloned().collect(),
            phi: self.phi,
            subjects: self.persons(),
            correlation: self.correlation,
            benign: self.benign.clone(),
            operator: self.operator.clone(),
        }
    }

    fn message(&self, rule: RuleId) -> String {
        let is_window = self.measure.as_ref().is_some_and(|measure| measure.window_secs > 0);
        // What is overdue is said again so that the finding stays open: that is no other act.
        if self.transactions < 2 || is_window || rule == RuleId::RetentionOverdue {
            return format!("{}.", self.lead);
        }
        let (persons, is_exact) = self.persons();
        let about = if is_exact { "" } else { "about " };
        let rows = self.rows;
        let transactions = self.transactions;
        match (persons, rows) {
            (0, 0) => format!("{}; so far {transactions} times.", self.lead),
            (0, _) => format!("{}; so far {rows} rows in {transactions} transactions.", self.lead),
            _ => format!(
                "{}; so far {about}{persons} distinct persons and {rows} rows in {transactions} \
                 transactions.",
                self.lead
            ),
        }
    }

    fn next_due(&self, rule: RuleId) -> EventTime {
        let quiet = match rule {
            RuleId::CoverageGap => GAP_KEPT_SECS,
            RuleId::RetentionOverdue => OVERDUE_SECS,
            _ => QUIET_SECS,
        };
        let close = EventTime(self.last_seen.0.saturating_add(quiet * 1_000_000));
        self.due.map_or(close, |due| due.min(close))
    }
}

impl Measure {
    fn analysis(&self) -> Analysis {
        Analysis {
            parameter: parameter(self.parameter),
            target: self.target.clone(),
            window_secs: self.window_secs,
            window: (self.from, self.until),
            observed: self.observed,
            expected: self.expected,
            threshold: self.threshold,
            score: self.score,
            history_secs: self.history_secs,
        }
    }
}

/// Invariants whose breach brings a breach of this one with it: a wrong order has wrong parts, a
/// customer moved has a wrong grid row.
fn leaders(invariant: u8) -> &'static [u8] {
    match invariant {
        7 | 8 | 9 | 13 | 20 => &[3, 4, 5, 12],
        17 => &[1, 2],
        _ => &[],
    }
}

/// What was counted, in words.
pub(crate) fn parameter(index: u8) -> &'static str {
    const WORDS: [&str; 16] = [
        "distinct persons changed",
        "distinct persons changed in one transaction",
        "distinct persons whose orders changed",
        "distinct persons whose orders changed in one transaction",
        "distinct persons deleted",
        "distinct persons deleted in one transaction",
        "distinct persons whose orders were deleted",
        "distinct persons whose orders were deleted in one transaction",
        "distinct persons changed by an import",
        "distinct persons changed in the order of their ids",
        "distinct accounts with failed logons",
        "distinct accounts locked",
        "distinct accounts whose password was asked to be reset",
        "distinct persons looked at by one admin user",
        "distinct customers with a new API token",
        "carts deleted",
    ];
    WORDS.get(usize::from(index)).copied().unwrap_or("distinct persons counted")
}

/// `website-2`, or `global`.
pub(crate) fn tenant_uid(tenant: Tenant) -> String {
    match tenant {
        Tenant::Website(id) => format!("website-{id}"),
        Tenant::Global | Tenant::Unknown => "global".to_owned(),
    }
}

/// Id that the findings of one act share.
pub(crate) fn correlation(identity: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{identity}|act").as_bytes())
}

/// Lowers a statistical signal whose rows an exact one explains better.
pub(crate) fn fold(signals: &mut [Signal], persons_of: impl Fn(&Signal) -> u64) {
    let exact: BTreeSet<(RuleId, Option<Arc<str>>)> = signals
        .iter()
        .filter(|signal| signal.measure.is_none() && signal.severity > Severity::Low)
        .filter(|signal| {
            matches!(
                signal.rule,
                RuleId::CrossTenantWrite | RuleId::MassDeletion | RuleId::BulkCopy
            )
        })
        .map(|signal| (signal.rule, signal.key.database.clone()))
        .collect();
    let rows: BTreeMap<(RuleId, Option<Arc<str>>), u64> = exact
        .iter()
        .map(|id| {
            let of = |s: &&Signal| s.measure.is_none() && s.rule == id.0 && s.key.database == id.1;
            (id.clone(), signals.iter().filter(of).map(|signal| signal.rows).sum())
        })
        .collect();
    for signal in signals.iter_mut().filter(|signal| signal.measure.is_some()) {
        let persons = persons_of(signal);
        let better = rows.iter().find(|((rule, database), rows)| {
            *rule != signal.rule
                && *database == signal.key.database
                && rows.saturating_mul(2) >= persons
        });
        if let Some(((rule, _), _)) = better {
            signal.severity = Severity::Informational;
            signal.benign = Some(format!("the same rows are reported as {rule}"));
        }
    }
}

state_struct!(Key { database, tenant, what });
state_struct!(Measure {
    parameter,
    target,
    window_secs,
    from,
    until,
    observed,
    expected,
    threshold,
    score,
    history_secs,
});
state_struct!(Told { time, persons, rows, severity });
state_struct!(Evidence {
    gtid,
    position,
    server_uuid,
    server_id,
    thread,
    time,
    tables,
    inferred,
    subjects,
});
state_struct!(Finding {
    uid,
    revision,
    severity,
    confidence,
    lead,
    measure,
    phi,
    rows,
    transactions,
    persons,
    persons_min,
    single,
    first_seen,
    last_seen,
    first,
    last,
    correlation,
    benign,
    told,
    due,
    aspects since 3,
    operator since 3,
});

impl State for Findings {
    fn save(&self, out: &mut Vec<u8>) {
        self.open.save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        Ok(Self { open: State::load(input)?, next: None })
    }
}
