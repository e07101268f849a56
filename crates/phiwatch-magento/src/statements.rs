//! Statements of the log: copies and losses of personal tables, code, accounts, unseen rows.
//!
//! # Invariants
//! - Only names are read from a statement's text; nothing of it is kept.

use std::{collections::BTreeSet, sync::Arc};

use phiwatch_binlog::{Statement, StatementKind, TableName};

use crate::{
    AccountChange, Catalog, CodeChange, CopyForm, Fact, PhiClasses, Settings, Sign, TableClass,
    TableInfo, Weight, catalog::Rule, classifier::Shops, emit::Emit, shop::REMEMBERED_MAX, sql,
};

/// One statement.
pub(crate) struct Judge<'a, 'b> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) settings: &'a Settings,
    pub(crate) shops: &'a mut Shops,
    pub(crate) statement: &'a Statement<'a>,
    pub(crate) emit: Emit<'b>,
}

impl Judge<'_, '_> {
    /// Says what the statement means.
    pub(crate) fn run(&mut self) {
        let statement = self.statement;
        match statement.kind {
            StatementKind::Dml | StatementKind::LoadData => {
                self.each(|this, table, info| this.unseen(table, info));
            }
            StatementKind::CreateTable => {
                self.each(|this, table, info| this.created(table, info, CopyForm::CreateColumns));
            }
            StatementKind::CreateTableSelect => self.copied(CopyForm::CreateSelect),
            StatementKind::CreateTableLike => self.copied(CopyForm::CreateLike),
            StatementKind::AlterTable => self.each(Self::altered),
            StatementKind::RenameTable => self.renamed(),
            StatementKind::DropTable => {
                self.each(|this, table, info| this.emptied(table, info, true))
            }
            StatementKind::TruncateTable => {
                self.each(|this, table, info| this.emptied(table, info, false));
            }
            StatementKind::Database => self.database(),
            StatementKind::CreateCode => self.code(),
            StatementKind::Grant => {
                let grant = statement.grant.unwrap_or_default();
                let (all, global) = (grant.all, grant.global);
                let grant_option = grant.with_grant_option;
                self.account(AccountChange::SqlGrant { all, global, grant_option });
            }
            StatementKind::Account => self.account(AccountChange::SqlAccount),
            StatementKind::AccountRemoved => self.account(AccountChange::SqlAccountRemoved),
            StatementKind::ChangeCode | StatementKind::Harmless | StatementKind::Unknown => {}
        }
    }

    fn account(&mut self, change: AccountChange) {
        self.emit.fact(Fact::Account(change));
    }

    fn each(&mut self, judge: impl Fn(&mut Self, &TableName, TableInfo)) {
        for table in &self.statement.tables {
            if self.settings.databases.is_empty()
                || self.settings.databases.iter().any(|name| **name == *table.database)
            {
                let info = self.info(table);
                judge(self, table, info);
            }
        }
    }

    fn info(&self, table: &TableName) -> TableInfo {
        table_info(self.catalog, &self.settings.table_prefix, &table.database, &table.table)
    }

    fn say(&mut self, info: TableInfo, fact: Fact) {
        self.emit.base.table = Arc::new(info);
        self.emit.fact(fact);
    }

    fn unseen(&mut self, _: &TableName, info: TableInfo) {
        let rule = self.catalog.spec(&info.name).and_then(|spec| spec.rule);
        if info.class != TableClass::Unknown && rule != Some(Rule::CronJob) {
            self.say(info, Fact::UnseenRows);
        }
    }

    /// CREATE TABLE with columns in its text. MySQL logs CREATE TABLE .. SELECT so, without its
    /// sources.
    fn created(&mut self, table: &TableName, info: TableInfo, form: CopyForm) {
        if &*info.name == "customer_grid_flat" {
            self.say(info, Fact::Maintenance { kind: "grid reindex" });
            return;
        }
        if info.class != TableClass::Unknown || !self.is_shop(&table.database) {
            return;
        }
        let columns = sql::created_columns(self.statement.text.expose());
        let shape = self.catalog.shape(columns.iter().map(String::as_str));
        // pt-online-schema-change writes out the shadow's columns.
        if form == CopyForm::CreateColumns
            && let Some(of) = self.shadowed(table)
        {
            let (classes, columns) = (shape.classes, shape.columns);
            return self.shadow(TableInfo { phi: classes, ..info }, of, classes, columns);
        }
        if shape.is_personal() && !self.catalog.is_noise(&info.name) {
            let (classes, columns) = (shape.classes, shape.columns);
            let info = TableInfo { phi: classes, ..info };
            self.say(info, Fact::Copy { form, classes, columns, sources: Vec::new() });
            if form == CopyForm::CreateColumns {
                self.emit.fact(Fact::NewSurface { kind: "table", classes });
            }
        } else if !self.catalog.is_noise(&info.name) && !self.catalog.is_rebuilt(&info.name) {
            // What goes into it may still be personal.
            let (form, classes) = (CopyForm::CreatePlain, PhiClasses::default());
            self.say(info, Fact::Copy { form, classes, columns: 0, sources: Vec::new() });
        }
    }

    /// The personal table whose shadow in an online schema change a table is.
    fn shadowed(&self, table: &TableName) -> Option<Arc<str>> {
        let shop = self.shops.find(&table.database)?;
        shop.shadowed(self.catalog, &self.settings.table_prefix, &table.table)
    }

    fn shadow(&mut self, info: TableInfo, of: Arc<str>, classes: PhiClasses, columns: u32) {
        let form = CopyForm::CreateShadow;
        self.say(info, Fact::Copy { form, classes, columns, sources: vec![of] });
    }

    /// A statement that succeeded says that a personal table exists.
    fn saw(&mut self, table: &TableName) {
        let info = self.info(table);
        if info.class.is_personal()
            && let Some(shop) = self.shops.find_mut(&table.database)
        {
            shop.saw(&info.name);
        }
    }

    fn is_shop(&self, database: &str) -> bool {
        self.shops.find(database).is_some_and(|shop| shop.is_shop)
    }

    /// CREATE TABLE .. SELECT or LIKE of personal tables.
    fn copied(&mut self, form: CopyForm) {
        let mut sources = BTreeSet::new();
        let mut classes = PhiClasses::default();
        let mut columns = 0;
        for source in &self.statement.sources {
            self.saw(source);
            let Some(name) = self.source(source) else { continue };
            for (_, class) in self.catalog.phi_columns(&name) {
                classes = classes.union(class);
                columns += 1;
            }
            sources.insert(name);
        }
        let Some(table) = self.statement.tables.first() else { return };
        let info = self.info(table);
        let Some(first) = sources.iter().next().map(Arc::clone) else {
            self.created(table, info, form);
            return;
        };
        let is_here = self.statement.sources.iter().all(|from| from.database == table.database);
        if form == CopyForm::CreateLike
            && is_here
            && let Some(of) = self.shadowed(table).filter(|of| *of == first)
        {
            return self.shadow(TableInfo { phi: classes, ..info }, of, classes, columns);
        }
        if info.class != TableClass::Unknown {
            return;
        }
        let name = Arc::clone(&info.name);
        if let Some(shop) = self.shops.open(&table.database, self.settings)
            && shop.copies.len() < REMEMBERED_MAX
        {
            shop.copies.insert(name, first);
        }
        let info = TableInfo { phi: classes, ..info };
        let sources = sources.into_iter().collect();
        self.say(info, Fact::Copy { form, classes, columns, sources });
    }

    /// The personal catalogue table that a statement reads, by itself or through an earlier copy.
    fn source(&self, table: &TableName) -> Option<Arc<str>> {
        let info = self.info(table);
        if info.class.is_personal() {
            return Some(info.name);
        }
        let shop = self.shops.find(&table.database)?;
        shop.copies.get(&info.name).map(Arc::clone)
    }

    fn altered(&mut self, table: &TableName, info: TableInfo) {
        self.saw(table);
        if info.class == TableClass::Control || !self.is_shop(&table.database) {
            return;
        }
        let known: BTreeSet<&str> =
            self.catalog.phi_columns(&info.name).map(|(column, _)| column).collect();
        let added = sql::added_columns(self.statement.text.expose());
        let added = added.iter().map(String::as_str).filter(|column| !known.contains(column));
        let classes = self.catalog.shape(added).classes;
        if !classes.is_empty() && !self.catalog.is_noise(&info.name) {
            self.say(info, Fact::NewSurface { kind: "column", classes });
        }
    }

    /// `sources` and `tables` pair up, old and new.
    fn renamed(&mut self) {
        let statement = self.statement;
        let pairs = || statement.sources.iter().zip(&statement.tables);
        for (old, new) in pairs() {
            let (info, to) = (self.info(old), self.info(new));
            let is_watched = info.class.is_personal()
                || self.catalog.spec(&info.name).is_some_and(|spec| spec.trail.is_some());
            if is_watched && to.class == TableClass::Unknown {
                match pairs().find(|(_, other)| *other == old) {
                    Some((shadow, _)) => {
                        let shadow = self.info(shadow).name;
                        self.say(info, Fact::Migration { shadow, is_swapped: true });
                    }
                    None => self.emptied(old, info, true),
                }
            } else if let Some(of) = self.shadowed(old).filter(|of| *of != to.name) {
                self.shadow_gone(old, &of);
            }
        }
    }

    /// The shadow of a table is not there any more, and did not take its place.
    fn shadow_gone(&mut self, shadow: &TableName, of: &str) {
        let shadow_name = self.info(shadow).name;
        let info = TableInfo { name: of.into(), ..self.info(shadow) };
        self.say(info, Fact::Migration { shadow: shadow_name, is_swapped: false });
    }

    fn emptied(&mut self, table: &TableName, info: TableInfo, dropped: bool) {
        if dropped && let Some(of) = self.shadowed(table) {
            self.shadow_gone(table, &of);
        }
        if dropped && let Some(shop) = self.shops.find_mut(&table.database) {
            shop.copies.remove(&info.name);
            shop.seen.remove(&info.name);
        }
        if dropped && &*info.name == "customer_grid_flat" {
            self.say(info, Fact::Maintenance { kind: "grid reindex" });
            return;
        }
        let spec = self.catalog.spec(&info.name).filter(|_| self.is_shop(&table.database));
        let trail = spec.and_then(|spec| spec.trail.as_ref());
        let is_kept = |rule| matches!(rule, Rule::ImportData | Rule::QueueMessage | Rule::Bulk);
        if let Some(trail) = trail {
            let weight = trail.weight.unwrap_or(Weight::High);
            self.say(info, Fact::Sign(Sign::TrailEmptied { dropped, weight }));
        } else if spec.and_then(|spec| spec.rule).is_some_and(is_kept) {
            self.say(info, Fact::Sign(Sign::KeptEmptied));
        } else if info.class.is_personal() {
            self.say(info, Fact::TableEmptied { dropped });
        }
    }

    /// A trigger that carries the changes of its table to the table's own shadow and does nothing
    /// else, as pt-online-schema-change makes three of: the shadow, and the table.
    fn migration_trigger(&mut self, tokens: &[sql::Token<'_>]) -> Option<(TableInfo, Arc<str>)> {
        let statement = self.statement;
        let table = statement.tables.first()?;
        if !is_plain(tokens) || statement.sources.is_empty() {
            return None;
        }
        self.saw(table);
        let base = self.info(table).name;
        let is_its = |shadow: &TableName| {
            shadow.database == table.database && self.shadowed(shadow).is_some_and(|of| of == base)
        };
        let shadow = statement.sources.first().filter(|_| statement.sources.iter().all(is_its))?;
        Some((self.info(shadow), base))
    }

    fn database(&mut self) {
        let is_drop = sql::tokens(self.statement.text.expose())
            .next()
            .is_some_and(|token| token.is_word("drop"));
        let Some(named) = self.statement.tables.first() else { return };
        let database = &*named.database;
        if is_drop && self.is_shop(database) {
            let info = TableInfo {
                database: database.into(),
                name: "".into(),
                class: TableClass::Customer,
                phi: PhiClasses::default(),
                is_grid: false,
            };
            self.say(info, Fact::TableEmptied { dropped: true });
        }
    }

    /// Code that names a personal table. Magento's own triggers only write change logs.
    fn code(&mut self) {
        let named = self.statement.tables.iter().chain(&self.statement.sources);
        let personal = named.map(|table| self.info(table)).find(|info| info.class.is_personal());
        let Some(info) = personal else { return };
        let tokens: Vec<_> = sql::tokens(self.statement.text.expose()).collect();
        if is_change_log(&tokens) {
            return;
        }
        if let Some((shadow, of)) = self.migration_trigger(&tokens) {
            let classes = info.phi;
            return self.shadow(TableInfo { phi: classes, ..shadow }, of, classes, 0);
        }
        if tokens.iter().take(12).any(|token| token.is_word("view")) {
            let classes = info.phi;
            self.say(info, Fact::NewSurface { kind: "table", classes });
        } else {
            self.say(info, Fact::Code(CodeChange::SqlTriggerOrRoutine));
        }
    }
}

/// Whether code only writes what is in its own row: no query, no call.
fn is_plain(tokens: &[sql::Token<'_>]) -> bool {
    let barred = ["select", "call", "execute", "load", "prepare", "outfile"];
    !tokens.iter().any(|token| barred.iter().any(|word| token.is_word(word)))
}

/// Whether a trigger does nothing but INSERT into `*_cl` tables.
fn is_change_log(tokens: &[sql::Token<'_>]) -> bool {
    let mut targets = 0;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_word("into") {
            let is_log = tokens
                .get(at + 1)
                .and_then(sql::Token::name)
                .is_some_and(|name| name.to_ascii_lowercase().ends_with("_cl"));
            if !is_log {
                return false;
            }
            targets += 1;
        }
        if ["select", "call", "replace", "execute", "load", "from"].iter().any(|w| token.is_word(w))
        {
            return false;
        }
    }
    targets > 0
}

/// A table as the catalogue knows it, by its name with the shop's prefix.
pub(crate) fn table_info(
    catalog: &Catalog,
    prefix: &str,
    database: &str,
    full_name: &str,
) -> TableInfo {
    let stripped = full_name.strip_prefix(prefix);
    let spec = stripped.and_then(|name| catalog.spec(name));
    TableInfo {
        database: database.into(),
        name: stripped.unwrap_or(full_name).into(),
        class: spec.map_or(TableClass::Unknown, |spec| spec.class),
        phi: spec.map(crate::catalog::TableSpec::classes).unwrap_or_default(),
        is_grid: spec.is_some_and(|spec| spec.is_grid),
    }
}
