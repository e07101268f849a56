//! What Magento looks like, as data.
//!
//! Input: TOML files, the built-in ones of this crate's `catalog` folder and the operator's own.
//! Output: look-ups by name: tables, watched settings, ACL resources, export entities, and whether
//! columns of an unknown table look personal.
//!
//! # Invariants
//! - Names are without the shop's prefix and are compared without regard to case of letters.
//! - A later file adds to what is known of a table; it takes nothing away.

mod file;
mod operator;
mod shape;

use std::{collections::BTreeMap, sync::Arc};

pub use file::CascadeAction;
pub(crate) use file::{Entity, Limit, Path, Rule, Step, TrailEntry, Weaker};
pub use operator::OperatorRule;
pub(crate) use operator::{OperatorSpec, Wanted};
pub use shape::Shape;
use shape::Shapes;

use self::file::{ExportEntry, File, SettingEntry, TableEntry, ViewEntry};
use crate::{ExportEntity, Period, PhiClasses, TableClass};

/// A catalogue file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("catalogue file {file}, line {line}: {message}")]
pub struct CatalogError {
    /// Name of the file, as given.
    pub file: String,
    /// 1-based.
    pub line: u64,
    /// What is wrong, naming the key.
    pub message: String,
}

/// A table of the catalogue.
#[derive(Debug, Clone)]
pub(crate) struct TableSpec {
    pub(crate) class: TableClass,
    pub(crate) rule: Option<Rule>,
    pub(crate) tenant: Vec<Path>,
    pub(crate) subject: Vec<Path>,
    pub(crate) defines: Option<Path>,
    pub(crate) touch: Vec<String>,
    pub(crate) watch: Vec<String>,
    pub(crate) is_grid: bool,
    pub(crate) is_mark: bool,
    /// The table is an audit trail.
    pub(crate) trail: Option<TrailEntry>,
    /// Columns that hold ciphertext.
    pub(crate) encrypted: Vec<String>,
    /// Columns that hold anything.
    pub(crate) bodies: Vec<String>,
    /// Words of which Magento's own bodies hold one.
    pub(crate) own_bodies: Vec<String>,
    /// Further text columns.
    pub(crate) texts: Vec<String>,
    /// Columns with their classes.
    pub(crate) phi: BTreeMap<String, PhiClasses>,
}

impl TableSpec {
    pub(crate) fn classes(&self) -> PhiClasses {
        self.phi.values().fold(PhiClasses::default(), |all, class| all.union(*class))
    }
}

/// A watched setting.
#[derive(Debug, Clone)]
pub(crate) struct SettingSpec {
    /// Path, may hold `*`.
    pub(crate) path: Arc<str>,
    pub(crate) weaker: Weaker,
    pub(crate) default: String,
    /// With a leading blank; empty if none.
    pub(crate) unit: String,
    pub(crate) limit: Option<Limit>,
    pub(crate) opens: bool,
    /// It is about the audit trail.
    pub(crate) is_audit: bool,
    /// It is a period of disposal.
    pub(crate) period: Option<Period>,
}

/// A foreign key of the shop: what goes, or is emptied, with a parent row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cascade {
    /// Table of the parent, without prefix.
    pub parent: Arc<str>,
    /// Table of the children.
    pub child: Arc<str>,
    /// Column of the child that names the parent.
    pub column: Arc<str>,
    /// What happens to the child.
    pub action: CascadeAction,
}

/// What Magento looks like.
///
/// ```
/// let mut catalog = phiwatch_magento::Catalog::builtin();
/// catalog.extend("[[table]]\nname = \"acme_patient\"\nclass = \"other\"\nphi.name = [\"name\"]\n", "acme.toml")?;
/// assert!(catalog.table_class("acme_patient").is_some_and(|class| class.is_personal()));
/// # Ok::<(), phiwatch_magento::CatalogError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    tables: BTreeMap<String, TableSpec>,
    settings: Vec<SettingSpec>,
    cascades: Vec<Cascade>,
    noise: Vec<String>,
    rebuilt: Vec<String>,
    migration: Vec<String>,
    resources: Vec<String>,
    stock_attributes: Vec<String>,
    disposal_jobs: Vec<Arc<str>>,
    views: ViewEntry,
    encrypted_settings: Vec<String>,
    export_topic: String,
    notice_titles: Vec<String>,
    export_entities: BTreeMap<String, ExportEntity>,
    shapes: Shapes,
    rules: Vec<Arc<OperatorSpec>>,
}

/// The files of this crate, in the order in which they are read.
const BUILTIN: [(&str, &str); 7] = [
    ("tables.toml", include_str!("../../catalog/tables.toml")),
    ("commerce.toml", include_str!("../../catalog/commerce.toml")),
    ("control.toml", include_str!("../../catalog/control.toml")),
    ("settings.toml", include_str!("../../catalog/settings.toml")),
    ("names.toml", include_str!("../../catalog/names.toml")),
    ("trail.toml", include_str!("../../catalog/trail.toml")),
    ("cascades.toml", include_str!("../../catalog/cascades.toml")),
];

impl Catalog {
    /// The catalogue of Magento Open Source and Adobe Commerce 2.4.
    #[must_use]
    pub fn builtin() -> Self {
        let mut catalog = Self::default();
        for (name, text) in BUILTIN {
            catalog.extend(text, name).expect("the built-in catalogue parses (tested)");
        }
        catalog
    }

    /// Adds a file: new tables, more columns of known ones, settings, noise, names. A setting of a
    /// later file goes before all earlier ones.
    ///
    /// # Errors
    /// The text is no catalogue: names `file_name`, the line and the key. Nothing is added then.
    pub fn extend(&mut self, toml_text: &str, file_name: &str) -> Result<(), CatalogError> {
        let fail = |at: usize, message: String| {
            let before = toml_text.as_bytes().get(..at).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
            CatalogError { file: file_name.to_owned(), line, message }
        };
        let file: File = toml::from_str(toml_text).map_err(|error| {
            fail(error.span().map_or(0, |span| span.start), error.message().to_owned())
        })?;
        for entry in &file.table {
            let name = entry.name.get_ref();
            if entry.class.is_none() && !self.tables.contains_key(name) {
                let message = format!("table `{name}` is new, so it needs a `class`");
                return Err(fail(entry.name.span().start, message));
            }
        }
        let table = |name: &str| {
            let (known, own) = (self.tables.get(name), file.table.iter().rev());
            let mut own = own.filter(|entry| entry.name.get_ref() == name).peekable();
            if known.is_none() && own.peek().is_none() {
                return None;
            }
            let subject = own.find_map(|entry| entry.subject.as_ref());
            subject
                .or(known.map(|spec| &spec.subject))
                .map(|paths| !paths.is_empty())
                .or(Some(false))
        };
        let known = operator::Known { rules: &self.rules, table: &table };
        let rules = operator::rules(file.rule, &known).map_err(|(at, what)| fail(at, what))?;
        self.rules.extend(rules);
        for entry in file.table {
            self.add_table(entry);
        }
        let settings = file.setting.into_iter().map(setting).collect::<Vec<_>>();
        self.settings.splice(0..0, settings);
        self.cascades.extend(file.cascade.into_iter().map(|entry| Cascade {
            parent: entry.parent.into(),
            child: entry.child.into(),
            column: entry.column.into(),
            action: entry.action,
        }));
        self.noise.extend(file.noise);
        self.rebuilt.extend(file.rebuilt);
        self.migration.extend(file.migration);
        self.resources.extend(file.resources);
        self.stock_attributes.extend(file.stock_attributes);
        self.disposal_jobs.extend(file.disposal_jobs.into_iter().map(Arc::from));
        self.views.actions.extend(file.view.actions);
        self.views.pages.extend(file.view.pages);
        self.views.kinds.extend(file.view.kinds);
        self.views.export_actions.extend(file.view.export_actions);
        self.views.export_pages.extend(file.view.export_pages);
        self.views.impersonal_kinds.extend(file.view.impersonal_kinds);
        self.encrypted_settings.extend(file.encrypted_settings);
        self.add_export(file.export);
        self.shapes.add(file.patterns.into_pairs(), file.pattern_exceptions);
        Ok(())
    }

    fn add_table(&mut self, entry: TableEntry) {
        let spec = self.tables.entry(entry.name.into_inner()).or_insert_with(|| TableSpec {
            class: TableClass::OtherPersonal,
            rule: None,
            tenant: Vec::new(),
            subject: Vec::new(),
            defines: None,
            touch: Vec::new(),
            watch: Vec::new(),
            is_grid: false,
            is_mark: false,
            trail: None,
            encrypted: Vec::new(),
            bodies: Vec::new(),
            own_bodies: Vec::new(),
            texts: Vec::new(),
            phi: BTreeMap::new(),
        });
        spec.class = entry.class.map_or(spec.class, TableClass::from);
        spec.rule = entry.rule.or(spec.rule);
        spec.tenant = entry.tenant.unwrap_or_else(|| std::mem::take(&mut spec.tenant));
        spec.subject = entry.subject.unwrap_or_else(|| std::mem::take(&mut spec.subject));
        spec.defines = entry.defines.or_else(|| spec.defines.take());
        spec.touch.extend(entry.touch);
        spec.watch.extend(entry.watch);
        spec.is_grid = entry.grid.unwrap_or(spec.is_grid);
        spec.trail = entry.trail.or_else(|| spec.trail.take());
        spec.is_mark = entry.mark.unwrap_or(spec.is_mark);
        spec.encrypted.extend(entry.encrypted);
        spec.bodies.extend(entry.bodies);
        spec.own_bodies.extend(entry.own_bodies);
        spec.texts.extend(entry.texts);
        for (class, column) in entry.phi.into_pairs() {
            let classes = spec.phi.entry(column).or_default();
            *classes = classes.union(class);
        }
    }

    fn add_export(&mut self, entry: ExportEntry) {
        if let Some(topic) = entry.topic {
            self.export_topic = topic;
        }
        self.notice_titles.extend(entry.notice_titles);
        for (names, entity) in [
            (entry.customer, ExportEntity::Customer),
            (entry.customer_address, ExportEntity::CustomerAddress),
            (entry.customer_finance, ExportEntity::CustomerFinance),
            (entry.impersonal, ExportEntity::Impersonal),
        ] {
            self.export_entities.extend(names.into_iter().map(|name| (name, entity)));
        }
    }

    /// Names of all tables with a class, in order.
    pub fn tables(&self) -> impl Iterator<Item = (&str, TableClass)> {
        self.tables.iter().map(|(name, spec)| (name.as_str(), spec.class))
    }

    /// Class of a table (name without prefix); none if it is not in the catalogue.
    #[must_use]
    pub fn table_class(&self, table: &str) -> Option<TableClass> {
        self.tables.get(table).map(|spec| spec.class)
    }

    /// PHI columns of a table with their classes, in order of names.
    pub fn phi_columns(&self, table: &str) -> impl Iterator<Item = (&str, PhiClasses)> {
        let columns = self.tables.get(table).map(|spec| &spec.phi);
        columns.into_iter().flatten().map(|(name, classes)| (name.as_str(), *classes))
    }

    /// Whether rows of a table carry no signal, whatever its columns.
    #[must_use]
    pub fn is_noise(&self, table: &str) -> bool {
        !self.tables.contains_key(table) && any(&self.noise, table)
    }

    /// The operator's own rules, in the order of the files.
    pub fn operator_rules(&self) -> impl Iterator<Item = &OperatorRule> {
        self.rules.iter().map(|spec| &*spec.rule)
    }

    /// Those over a table.
    pub(crate) fn rules_of<'a>(
        &'a self,
        table: &'a str,
    ) -> impl Iterator<Item = &'a Arc<OperatorSpec>> {
        self.rules.iter().filter(move |spec| spec.table == table)
    }

    /// Foreign keys: what goes with a parent row.
    #[must_use]
    pub fn cascades(&self) -> &[Cascade] {
        &self.cascades
    }

    /// How personal the columns of a table outside the catalogue look, by their names.
    pub fn shape<'a>(&self, columns: impl IntoIterator<Item = &'a str>) -> Shape {
        self.shapes.judge(columns)
    }

    pub(crate) fn column_classes(&self, column: &str) -> PhiClasses {
        self.shapes.classes(column)
    }

    pub(crate) fn spec(&self, table: &str) -> Option<&TableSpec> {
        self.tables.get(table)
    }

    /// Whether an indexer rebuilds the table.
    pub(crate) fn is_rebuilt(&self, table: &str) -> bool {
        any(&self.rebuilt, table)
    }

    /// The known table whose shadow this is in an online schema change.
    pub(crate) fn migrated<'a>(&self, table: &'a str, prefix: &str) -> Option<&'a str> {
        self.migration.iter().find_map(|pattern| {
            let (start, end) = pattern.split_once('*')?;
            let base = table.strip_prefix(start)?.strip_suffix(end)?;
            let base = base.strip_prefix(prefix)?;
            self.tables.contains_key(base).then_some(base)
        })
    }

    pub(crate) fn setting(&self, path: &str) -> Option<&SettingSpec> {
        self.settings.iter().find(|spec| glob(&spec.path, path))
    }

    pub(crate) fn is_watched_resource(&self, resource: &str) -> bool {
        any(&self.resources, resource)
    }

    pub(crate) fn is_stock_attribute(&self, code: &str) -> bool {
        self.stock_attributes.iter().any(|known| known == code)
    }

    /// The code of a job that disposes of personal data, if it is one.
    pub(crate) fn disposal_job(&self, code: &str) -> Option<Arc<str>> {
        self.disposal_jobs.iter().find(|known| &***known == code).map(Arc::clone)
    }

    /// Whether a row of an action log says that somebody opened a person's data.
    pub(crate) fn is_view(&self, action: &str, page: &str, kind: &str) -> bool {
        any(&self.views.actions, action)
            && (any(&self.views.pages, page) || any(&self.views.kinds, kind))
    }

    /// Whether a row of an action log is an export, and if so, surely of persons. None also for
    /// exports of what is no person's.
    pub(crate) fn logged_export(&self, action: &str, page: &str, kind: &str) -> Option<bool> {
        let views = &self.views;
        let is_export = any(&views.export_actions, action) || any(&views.export_pages, page);
        let is_personal = any(&views.pages, page) || any(&views.kinds, kind);
        (is_export && (is_personal || !any(&views.impersonal_kinds, kind))).then_some(is_personal)
    }

    /// The pattern of settings with ciphertext that a path fits.
    pub(crate) fn encrypted_setting(&self, path: &str) -> Option<&str> {
        self.encrypted_settings.iter().find(|pattern| glob(pattern, path)).map(String::as_str)
    }

    pub(crate) fn export_topic(&self) -> &str {
        &self.export_topic
    }

    pub(crate) fn is_notice_title(&self, title: &str) -> bool {
        let title = title.trim();
        self.notice_titles.iter().any(|known| known.eq_ignore_ascii_case(title))
    }

    pub(crate) fn export_entity(&self, name: &str) -> ExportEntity {
        self.export_entities.get(name).copied().unwrap_or(ExportEntity::Other)
    }
}

fn setting(entry: SettingEntry) -> SettingSpec {
    SettingSpec {
        path: entry.path.into(),
        weaker: entry.weaker,
        default: entry.default.unwrap_or_default(),
        unit: entry.unit.map(|unit| format!(" {unit}")).unwrap_or_default(),
        limit: entry.limit,
        opens: entry.opens,
        is_audit: entry.audit,
        period: entry.period,
    }
}

fn any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| glob(pattern, name))
}

/// Whether a name fits a pattern in which `*` stands for any characters; without regard to the
/// case of letters.
fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = strip_start(name.as_bytes(), first.as_bytes()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        let part = part.as_bytes();
        if parts.peek().is_none() {
            return rest.len() >= part.len()
                && rest[rest.len() - part.len()..].eq_ignore_ascii_case(part);
        }
        let found = (0..=rest.len()).find_map(|at| strip_start(&rest[at..], part));
        let Some(left) = found else { return false };
        rest = left;
    }
    true
}

fn strip_start<'a>(name: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = name.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_for_any_characters() {
        for (pattern, name, fits) in [
            ("cache", "cache", true),
            ("cache", "cache_tag", false),
            ("*_cl", "customer_dummy_cl", true),
            ("*_cl", "cl", false),
            ("payment/*/debug", "payment/vault/debug", true),
            ("payment/*/debug", "payment/debug", false),
            ("*_index*", "catalog_index_eav", true),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axc", false),
            ("Magento_Config::config_*", "magento_config::config_admin", true),
            ("ab*b", "ab", false),
        ] {
            assert_eq!(glob(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn errors_name_file_and_line() {
        let mut catalog = Catalog::builtin();
        for (text, line, part) in [
            ("\n[[table]]\nname = \"x\"\n", 3, "needs a `class`"),
            ("[[table]]\nname = \"x\"\nclass = \"other\"\ncolour = 1\n", 4, "colour"),
            ("[[table]]\nname = \"x\"\nclass = \"person\"\n", 3, "person"),
            ("[[table]]\nname = \"x\"\nclass = \"other\"\ntenant = [\"planet:id\"]\n", 4, "kind"),
            ("[[setting]]\npath = \"a/b/c\"\nweaker = \"odd\"\n", 3, "odd"),
            ("noise = [\n\"a\"\nb", 3, ""),
        ] {
            let error = catalog.extend(text, "acme.toml").unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.to_string().starts_with("catalogue file acme.toml, line "), "{error}");
            assert!(error.message.contains(part), "{error}");
        }
        assert_eq!(catalog.table_class("x"), None);
    }

    /// A rule with one line in place of one of its own (by its key, or added).
    fn rule_with(line: &str) -> String {
        let key = line.split(' ').next().unwrap_or_default();
        let lines = [
            "id = \"x-moved\"",
            "title = \"Somebody was moved.\"",
            "table = \"customer_entity\"",
            "on = [\"update\"]",
            "severity = 3",
            "remediation = \"Ask.\"",
        ];
        let kept = lines.iter().filter(|own| own.split(' ').next() != Some(key));
        let kept: Vec<&str> = kept.copied().collect();
        format!("[[rule]]\n{line}\n{}\n", kept.join("\n"))
    }

    #[test]
    fn a_rule_that_cannot_be_used_is_refused_with_its_line() {
        let mut catalog = Catalog::builtin();
        catalog.extend(&rule_with("id = \"x-known\""), "first.toml").unwrap();
        for (line, part) in [
            ("id = \"moved\"", "must begin with \"x-\""),
            ("id = \"x-Moved\"", "lower-case"),
            ("id = \"x-\"", "must begin with \"x-\""),
            ("id = \"x-known\"", "another rule is called \"x-known\""),
            ("title = \" \"", "`title`"),
            ("title = \"a\\nb\"", "`title`"),
            ("table = \"acme_patient\"", "not in the catalogue"),
            ("on = []", "`on`"),
            ("on = [\"replace\"]", "replace"),
            ("severity = 1", "`severity`"),
            ("severity = 6", "`severity`"),
            ("remediation = \"\"", "`remediation`"),
            ("where = { group_id = 1.5 }", "an integer, a text"),
            ("where = { group_id = [1, \"2\"] }", "an integer, a text"),
            ("where = { group_id = [] }", "1 to 64 constants"),
            ("changed = []", "`changed`"),
            ("colour = 1", "colour"),
        ] {
            let error = catalog.extend(&rule_with(line), "acme.toml").unwrap_err();
            assert_eq!((error.line, &*error.file), (2, "acme.toml"), "{line}: {error}");
            assert!(error.message.contains(part), "{line}: {error}");
        }
        let text = rule_with("table = \"store\"") + "persons_min = 1\n";
        let error = catalog.extend(&text, "acme.toml").unwrap_err();
        assert!(error.message.contains("name no person") && error.line == 8, "{error}");
        let text = rule_with("on = [\"insert\"]") + "changed = [\"email\"]\n";
        let error = catalog.extend(&text, "acme.toml").unwrap_err();
        assert!(error.message.contains("only an UPDATE") && error.line == 8, "{error}");
        let twice = [rule_with("severity = 2"), rule_with("severity = 4")].concat();
        let error = catalog.extend(&twice, "acme.toml").unwrap_err();
        assert!(error.message.contains("another rule") && error.line > 8, "{error}");
        assert_eq!(catalog.operator_rules().count(), 1, "nothing of a refused file is taken");
    }

    #[test]
    fn a_later_file_adds_to_a_known_table() {
        let mut catalog = Catalog::builtin();
        let text = "[[table]]\nname = \"customer_entity\"\nphi.health = [\"blood_group\"]\n";
        catalog.extend(text, "acme.toml").unwrap();
        let columns: BTreeMap<_, _> = catalog.phi_columns("customer_entity").collect();
        assert_eq!(columns["blood_group"], PhiClasses::HEALTH);
        assert_eq!(columns["email"], PhiClasses::EMAIL);
        assert_eq!(catalog.table_class("customer_entity"), Some(TableClass::Customer));
    }

    #[test]
    fn shadow_tables_need_a_known_base() {
        let catalog = Catalog::builtin();
        assert_eq!(catalog.migrated("_customer_entity_gho", ""), Some("customer_entity"));
        assert_eq!(catalog.migrated("_m2_quote_new", "m2_"), Some("quote"));
        assert_eq!(catalog.migrated("_people_gho", ""), None);
        assert_eq!(catalog.migrated("customer_entity_new", ""), Some("customer_entity"));
        assert_eq!(catalog.migrated("customer_entity_copy", ""), None);
    }

    #[test]
    fn cascades_are_between_known_tables() {
        let catalog = Catalog::builtin();
        for cascade in catalog.cascades() {
            assert!(catalog.table_class(&cascade.parent).is_some(), "{cascade:?}");
            let child = &cascade.child;
            assert!(catalog.table_class(child).is_some() || catalog.is_noise(child), "{child}");
        }
    }
}
