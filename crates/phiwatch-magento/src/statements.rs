//! Statements of the log: copies and losses of personal tables, code, accounts, unseen rows.
//!
//! # Invariants
//! - Only names are read from a statement's text; nothing of it is kept.

use std::{collections::BTreeSet, sync::Arc};

use phiwatch_binlog::{Statement, StatementKind, TableName};

use crate::{
    AccountChange, Catalog, CodeChange, CopyForm, Fact, PhiClasses, Settings, TableClass,
    TableInfo, classifier::Shops, emit::Emit, shop::REMEMBERED_MAX, sql,
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
        if info.class != TableClass::Unknown {
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
        if shape.is_personal() && !self.catalog.is_noise(&info.name) {
            let (classes, columns) = (shape.classes, shape.columns);
            let info = TableInfo { phi: classes, ..info };
            self.say(info, Fact::Copy { form, classes, columns, sources: Vec::new() });
            if form == CopyForm::CreateColumns {
                self.emit.fact(Fact::NewSurface { kind: "table", classes });
            }
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
        let prefix = &self.settings.table_prefix;
        if form == CopyForm::CreateLike && self.catalog.migrated(&table.table, prefix).is_some() {
            self.say(info, Fact::Maintenance { kind: "table migration" });
            return;
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
            if info.class.is_personal() && to.class == TableClass::Unknown {
                let is_replaced = pairs().any(|(_, other)| other == old);
                if is_replaced {
                    self.say(info, Fact::Maintenance { kind: "table migration" });
                } else {
                    self.emptied(old, info, true);
                }
            }
        }
    }

    fn emptied(&mut self, table: &TableName, info: TableInfo, dropped: bool) {
        if dropped && let Some(shop) = self.shops.find_mut(&table.database) {
            shop.copies.remove(&info.name);
        }
        if dropped && &*info.name == "customer_grid_flat" {
            self.say(info, Fact::Maintenance { kind: "grid reindex" });
        } else if info.class.is_personal() {
            self.say(info, Fact::TableEmptied { dropped });
        }
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
        if tokens.iter().take(12).any(|token| token.is_word("view")) {
            let classes = info.phi;
            self.say(info, Fact::NewSurface { kind: "table", classes });
        } else {
            self.say(info, Fact::Code(CodeChange::SqlTriggerOrRoutine));
        }
    }
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
