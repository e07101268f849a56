//! What a statement does: its kind, its tables, or the part it plays in a transaction.
//!
//! Input: the tokens of a statement. Output: a [`Classified`]. It reads what servers write into
//! the binlog, not all of SQL: a statement that it does not know is [`StatementKind::Unknown`].

use std::sync::Arc;

use crate::grant::{self, Grant};
use crate::query::xid;
use crate::sql::{SqlMode, Token, Tokens};
use crate::{StatementKind, TableName, Xid};

/// More tables than this are not listed.
const TABLES_MAX: usize = 256;

/// What a QUERY event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Classified {
    /// Nothing but comments.
    Nothing,
    Begin,
    /// XA START.
    XaStart,
    Commit,
    Rollback,
    /// Savepoints and XA END: inside a transaction, without effect on its bounds.
    Inner,
    XaCommit(Xid),
    XaRollback(Xid),
    Statement(Facts),
}

/// A statement that is not transaction control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: StatementKind,
    pub(crate) tables: Vec<TableName>,
    pub(crate) sources: Vec<TableName>,
    pub(crate) grant: Option<Grant>,
}

pub(crate) fn classify(text: &[u8], mode: SqlMode, database: &Arc<str>) -> Classified {
    let mut parser = Parser {
        tokens: Tokens::new(text, mode),
        database,
        facts: Facts {
            kind: StatementKind::Unknown,
            tables: Vec::new(),
            sources: Vec::new(),
            grant: None,
        },
    };
    match parser.statement() {
        Some(control) => control,
        None => Classified::Statement(parser.facts),
    }
}

/// The tokens that are left, and what was found so far.
#[derive(Debug)]
pub(crate) struct Parser<'a> {
    pub(crate) tokens: Tokens<'a>,
    database: &'a Arc<str>,
    pub(crate) facts: Facts,
}

impl Parser<'_> {
    /// Some for transaction control; otherwise `facts` is filled in.
    fn statement(&mut self) -> Option<Classified> {
        let Some(first) = self.tokens.next() else { return Some(Classified::Nothing) };
        let Token::Word(word) = first else { return None };
        let word = word.to_ascii_uppercase();
        match word.as_slice() {
            b"BEGIN" => return Some(Classified::Begin),
            b"START" if self.tokens.eat("TRANSACTION") => return Some(Classified::Begin),
            b"COMMIT" => return Some(Classified::Commit),
            b"SAVEPOINT" | b"RELEASE" => return Some(Classified::Inner),
            b"ROLLBACK" => {
                self.tokens.eat("WORK");
                let is_inner = self.tokens.eat("TO");
                return Some(if is_inner { Classified::Inner } else { Classified::Rollback });
            }
            b"XA" => return self.xa(),
            // MariaDB: SET STATEMENT variable = value, ... FOR statement
            b"SET" if self.tokens.eat("STATEMENT") => {
                self.skip_to(&["FOR"]);
                return self.statement();
            }
            b"SET" => self.set(),
            b"INSERT" | b"REPLACE" => self.insert(),
            b"UPDATE" => self.update(),
            b"DELETE" => self.delete(),
            b"CALL" | b"DO" | b"SELECT" | b"WITH" | b"VALUES" | b"HANDLER" => {
                self.facts.kind = StatementKind::Dml;
                self.modified_tables();
            }
            b"LOAD" => self.load(),
            b"CREATE" => self.create(),
            b"ALTER" => self.alter(),
            b"DROP" => self.drop_object(),
            b"RENAME" => self.rename(),
            b"TRUNCATE" => {
                self.facts.kind = StatementKind::TruncateTable;
                self.tokens.eat("TABLE");
                self.table();
            }
            b"GRANT" => {
                self.facts.kind = StatementKind::Grant;
                grant::parse(self);
            }
            b"REVOKE" => self.facts.kind = StatementKind::AccountRemoved,
            b"FLUSH" | b"ANALYZE" | b"OPTIMIZE" | b"REPAIR" | b"CHECK" | b"CHECKSUM" | b"LOCK"
            | b"UNLOCK" | b"USE" | b"INSTALL" | b"UNINSTALL" | b"CACHE" | b"RESET" | b"PURGE"
            | b"CHANGE" | b"KILL" | b"SHOW" | b"EXPLAIN" | b"PREPARE" | b"DEALLOCATE" | b"STOP"
            | b"BACKUP" | b"IMPORT" | b"CLONE" | b"RESTART" | b"HELP" | b"BINLOG" => {
                self.facts.kind = StatementKind::Harmless;
            }
            _ => {}
        }
        None
    }

    fn xa(&mut self) -> Option<Classified> {
        let verb = self.tokens.next()?;
        if verb.is_any(&["START", "BEGIN"]) {
            return Some(Classified::XaStart);
        }
        if verb.is_any(&["END", "PREPARE", "RECOVER"]) {
            return Some(Classified::Inner);
        }
        let (name, one_phase) = self.xa_name();
        if verb.is("COMMIT") {
            return Some(if one_phase { Classified::Commit } else { Classified::XaCommit(name) });
        }
        verb.is("ROLLBACK").then_some(Classified::XaRollback(name))
    }

    /// The name in the form that XA_PREPARE is given, and whether ONE PHASE stands behind it.
    fn xa_name(&mut self) -> (Xid, bool) {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut format = 1;
        let mut is_hex = false;
        let mut one_phase = false;
        for token in self.tokens.by_ref() {
            match token {
                Token::Literal(text) if is_hex => parts.push(unhex(text)),
                Token::Literal(text) => parts.push(text.to_vec()),
                Token::Word(word) => {
                    if let Some(digits) = word.strip_prefix(b"0x") {
                        parts.push(unhex(digits));
                    } else if word.first().is_some_and(u8::is_ascii_digit) {
                        let digits = std::str::from_utf8(word).unwrap_or_default();
                        format = digits.parse().unwrap_or(1);
                    }
                    one_phase |= word.eq_ignore_ascii_case(b"ONE");
                }
                Token::Name(_) | Token::Punct(_) => {}
            }
            is_hex = token.is("X");
        }
        let part = |index: usize| parts.get(index).map_or(&[][..], Vec::as_slice);
        (xid(part(0), part(1), format), one_phase)
    }

    fn set(&mut self) {
        let is_account = self.tokens.eat("PASSWORD") || {
            self.tokens.eat("DEFAULT") && self.tokens.eat("ROLE")
        };
        self.facts.kind = if is_account { StatementKind::Account } else { StatementKind::Harmless };
    }

    fn insert(&mut self) {
        self.facts.kind = StatementKind::Dml;
        self.tokens.eat_all(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE"]);
        self.tokens.eat("INTO");
        self.table();
        // The rows of VALUES may be long, and hold no table outside of a subquery.
        while let Some(token) = self.tokens.next() {
            if token.is_any(&["VALUES", "VALUE", "SET"]) {
                return;
            }
            if token.is_any(&["SELECT", "TABLE"]) {
                if token.is("TABLE") {
                    self.source();
                }
                return self.read_tables();
            }
        }
    }

    fn update(&mut self) {
        self.facts.kind = StatementKind::Dml;
        self.tokens.eat_all(&["LOW_PRIORITY", "IGNORE"]);
        // UPDATE a, b JOIN c .. SET: every table named may be changed.
        for (name, _) in self.references(&["SET"]) {
            self.push_table(name);
        }
    }

    /// DELETE FROM t; DELETE a, b FROM references; DELETE FROM a, b USING references: what is
    /// deleted from may be named by an alias of the references.
    fn delete(&mut self) {
        self.facts.kind = StatementKind::Dml;
        self.tokens.eat_all(&["LOW_PRIORITY", "QUICK", "IGNORE", "HISTORY"]);
        self.tokens.eat("FROM");
        let mut named = Vec::new();
        loop {
            named.extend(self.deleted_table());
            if named.len() >= TABLES_MAX || !self.tokens.eat_punct(b',') {
                break;
            }
        }
        let is_multiple = self.tokens.eat("FROM") || self.tokens.eat("USING");
        let references = if is_multiple {
            self.references(&["WHERE", "ORDER", "LIMIT", "RETURNING"])
        } else {
            Vec::new()
        };
        for name in named {
            let is_alias = |(_, alias): &&(TableName, Option<Arc<str>>)| {
                alias.as_ref().is_some_and(|alias| *alias == name.table)
            };
            let real = references.iter().find(is_alias).map(|(real, _)| real.clone());
            self.push_table(real.unwrap_or(name));
        }
    }

    /// `t`, `s.t`, `t.*` or `s.t.*`.
    fn deleted_table(&mut self) -> Option<TableName> {
        let name = self.table_name()?;
        if name.table.is_empty() {
            return Some(TableName { database: self.database.clone(), table: name.database });
        }
        if self.tokens.eat_punct(b'.') {
            self.tokens.eat_punct(b'*');
        }
        Some(name)
    }

    /// The tables of a list of references with their aliases, up to one of these words.
    fn references(&mut self, ends: &[&str]) -> Vec<(TableName, Option<Arc<str>>)> {
        const BEHIND: [&str; 16] = [
            "SET",
            "WHERE",
            "ON",
            "USING",
            "JOIN",
            "INNER",
            "CROSS",
            "LEFT",
            "RIGHT",
            "NATURAL",
            "STRAIGHT_JOIN",
            "PARTITION",
            "FORCE",
            "USE",
            "IGNORE",
            "FOR",
        ];
        let mut found = Vec::new();
        let mut is_next = true;
        // Inside the parentheses of a function, a hint or a subquery a comma parts no tables.
        let mut depth = 0_usize;
        loop {
            if is_next {
                while self.tokens.eat_punct(b'(') {}
                let is_query = self.tokens.peek().is_some_and(|t| t.is_any(&["SELECT", "WITH"]));
                if is_query {
                    depth = depth.saturating_add(1);
                } else if let Some(name) = self.table_name() {
                    self.tokens.eat("AS");
                    let peeked = self.tokens.peek();
                    let is_alias = peeked.is_some_and(|next| !next.is_any(&BEHIND));
                    let alias = peeked.filter(|_| is_alias).and_then(Token::name).map(text);
                    if alias.is_some() {
                        self.tokens.next();
                    }
                    if found.len() < TABLES_MAX {
                        found.push((name, alias));
                    }
                }
                is_next = false;
            }
            let Some(token) = self.tokens.next() else { return found };
            match token {
                Token::Punct(b'(') => depth = depth.saturating_add(1),
                Token::Punct(b')') => depth = depth.saturating_sub(1),
                Token::Punct(b',') => is_next = depth == 0,
                token if depth == 0 && token.is_any(ends) => return found,
                token => is_next = depth == 0 && token.is_any(&["JOIN", "STRAIGHT_JOIN"]),
            }
        }
    }

    fn load(&mut self) {
        if self.tokens.eat("DATA") || self.tokens.eat("XML") {
            self.facts.kind = StatementKind::LoadData;
            self.skip_to(&["INTO"]);
            self.tokens.eat("TABLE");
            self.table();
        } else {
            self.facts.kind = StatementKind::Harmless;
        }
    }

    fn create(&mut self) {
        if self.tokens.eat("OR") {
            self.tokens.eat("REPLACE");
        }
        // Up to the word that says what is created: ALGORITHM = .., DEFINER = .., SQL SECURITY ..
        while let Some(token) = self.tokens.next() {
            if token.is("TABLE") {
                return self.create_table();
            }
            if token.is("TEMPORARY") {
                self.facts.kind = StatementKind::Harmless;
                return;
            }
            if token.is("INDEX") {
                self.facts.kind = StatementKind::AlterTable;
                self.skip_to(&["ON"]);
                self.table();
                return;
            }
            if token.is_any(&["DATABASE", "SCHEMA"]) {
                return self.whole_database();
            }
            if token.is_any(&["USER", "ROLE"]) {
                self.facts.kind = StatementKind::Account;
                return;
            }
            if token.is_any(&["TRIGGER", "EVENT", "PROCEDURE", "FUNCTION", "VIEW", "PACKAGE"]) {
                return self.create_code(&token);
            }
            if token.is_any(&[
                "SERVER",
                "TABLESPACE",
                "LOGFILE",
                "RESOURCE",
                "SEQUENCE",
                "REFERENCE",
            ]) {
                self.facts.kind = StatementKind::Harmless;
                return;
            }
        }
    }

    fn create_table(&mut self) {
        self.facts.kind = StatementKind::CreateTable;
        self.if_exists();
        self.table();
        let in_parentheses = self.tokens.eat_punct(b'(');
        if self.tokens.eat("LIKE") {
            self.facts.kind = StatementKind::CreateTableLike;
            return self.source();
        }
        let mut is_first = !in_parentheses;
        let mut previous_start = false;
        while let Some(token) = self.tokens.next() {
            // START TRANSACTION: the rows of MySQL's atomic CREATE TABLE .. SELECT follow.
            if token.is("SELECT") || token.is("VALUES") || previous_start && token.is("TRANSACTION")
            {
                self.facts.kind = StatementKind::CreateTableSelect;
                return self.read_tables();
            }
            if is_first && token.is("TABLE") {
                self.facts.kind = StatementKind::CreateTableSelect;
                return self.source();
            }
            // VALUES LESS THAN and VALUES IN belong to partitions.
            if token.is("PARTITION") && !self.tokens.eat("BY") {
                self.tokens.next();
                self.tokens.eat("VALUES");
            }
            is_first = token.is_any(&["AS", "REPLACE", "IGNORE"]);
            previous_start = token.is("START");
        }
    }

    fn create_code(&mut self, what: &Token<'_>) {
        self.facts.kind = StatementKind::CreateCode;
        self.if_exists();
        if what.is("TRIGGER") {
            self.skip_to(&["ON"]);
            self.table();
        } else if what.is("VIEW") {
            self.table();
        }
        self.touched();
    }

    /// What code touches: listed as sources, as changes are only made when it runs.
    fn touched(&mut self) {
        while let Some(token) = self.tokens.next() {
            if token.is_any(&["FROM", "JOIN", "INTO", "UPDATE", "TABLE"]) {
                self.source();
            }
        }
    }

    fn alter(&mut self) {
        self.tokens.eat_all(&["ONLINE", "IGNORE"]);
        while let Some(token) = self.tokens.next() {
            if token.is("TABLE") {
                return self.alter_table();
            }
            if token.is_any(&["DATABASE", "SCHEMA"]) {
                return self.whole_database();
            }
            if token.is("VIEW") {
                return self.create_code(&token);
            }
            if token.is("EVENT") {
                return self.alter_event();
            }
            self.facts.kind = if token.is_any(&["USER", "ROLE"]) {
                StatementKind::Account
            } else if token.is_any(&["PROCEDURE", "FUNCTION", "TRIGGER"]) {
                StatementKind::ChangeCode
            } else if token.is_any(&[
                "INSTANCE",
                "SERVER",
                "TABLESPACE",
                "SEQUENCE",
                "LOGFILE",
                "RESOURCE",
            ]) {
                StatementKind::Harmless
            } else {
                continue;
            };
            return;
        }
    }

    /// A new body is new code.
    fn alter_event(&mut self) {
        self.facts.kind = StatementKind::ChangeCode;
        while let Some(token) = self.tokens.next() {
            if token.is("DO") {
                self.facts.kind = StatementKind::CreateCode;
                return self.touched();
            }
        }
    }

    fn alter_table(&mut self) {
        self.facts.kind = StatementKind::AlterTable;
        self.if_exists();
        self.table();
        while let Some(token) = self.tokens.next() {
            if token.is("RENAME")
                && !self.tokens.peek().is_some_and(|next| next.is_any(&["COLUMN", "INDEX", "KEY"]))
            {
                self.tokens.eat_all(&["TO", "AS"]);
                self.tokens.eat_punct(b'=');
                self.facts.kind = StatementKind::RenameTable;
                self.facts.sources = std::mem::take(&mut self.facts.tables);
                self.table();
            } else if token.is_any(&["DROP", "TRUNCATE"]) && self.tokens.eat("PARTITION")
                || token.is("DISCARD")
            {
                self.facts.kind = StatementKind::TruncateTable;
            } else if token.is("CONVERT") && self.tokens.eat("TABLE") {
                self.table();
            } else if token.is("CONVERT") && self.tokens.eat("PARTITION") || token.is("EXCHANGE") {
                self.skip_to(&["TABLE"]);
                self.table();
            }
        }
    }

    fn drop_object(&mut self) {
        let Some(token) = self.tokens.next() else { return };
        if token.is_any(&["TABLE", "TABLES"]) {
            self.facts.kind = StatementKind::DropTable;
            self.if_exists();
            self.table();
            while self.tokens.eat_punct(b',') {
                self.table();
            }
        } else if token.is("INDEX") {
            self.facts.kind = StatementKind::AlterTable;
            self.skip_to(&["ON"]);
            self.table();
        } else if token.is_any(&["DATABASE", "SCHEMA"]) {
            self.whole_database();
        } else if token.is_any(&["USER", "ROLE"]) {
            self.facts.kind = StatementKind::AccountRemoved;
        } else if token.is_any(&["VIEW", "TRIGGER", "EVENT", "PROCEDURE", "FUNCTION", "PACKAGE"]) {
            self.facts.kind = StatementKind::ChangeCode;
        } else {
            // TEMPORARY TABLE, SEQUENCE, SERVER, TABLESPACE, PREPARE and others.
            self.facts.kind = StatementKind::Harmless;
        }
    }

    fn rename(&mut self) {
        if self.tokens.eat("USER") {
            self.facts.kind = StatementKind::Account;
            return;
        }
        self.tokens.eat_all(&["TABLE", "TABLES"]);
        self.facts.kind = StatementKind::RenameTable;
        self.if_exists();
        loop {
            self.source();
            // MariaDB: WAIT n or NOWAIT may stand before TO.
            self.skip_to(&["TO"]);
            self.table();
            if !self.tokens.eat_punct(b',') {
                return;
            }
        }
    }

    fn whole_database(&mut self) {
        self.facts.kind = StatementKind::Database;
        self.if_exists();
        let name = self.tokens.next().and_then(|token| token.name().map(text));
        if let Some(database) = name {
            self.facts.tables.push(TableName { database, table: "".into() });
        }
    }

    fn if_exists(&mut self) {
        if self.tokens.eat("IF") {
            self.tokens.eat_all(&["NOT", "EXISTS"]);
        }
    }

    fn skip_to(&mut self, keywords: &[&str]) {
        while self.tokens.next().is_some_and(|token| !token.is_any(keywords)) {}
    }

    /// `name` or `schema.name`, if one stands here.
    pub(crate) fn table_name(&mut self) -> Option<TableName> {
        let first = text(self.tokens.peek()?.name()?);
        self.tokens.next();
        if !self.tokens.eat_punct(b'.') {
            return Some(TableName { database: self.database.clone(), table: first });
        }
        match self.tokens.next()? {
            Token::Punct(b'*') => Some(TableName { database: first, table: "".into() }),
            token => Some(TableName { database: first, table: text(token.name()?) }),
        }
    }

    pub(crate) fn table(&mut self) {
        if let Some(name) = self.table_name() {
            self.push_table(name);
        }
    }

    fn push_table(&mut self, name: TableName) {
        if self.facts.tables.len() < TABLES_MAX {
            self.facts.tables.push(name);
        }
    }

    fn source(&mut self) {
        while self.tokens.eat_punct(b'(') {}
        if self.tokens.peek().is_some_and(|token| token.is("SELECT")) {
            return;
        }
        if let Some(name) = self.table_name()
            && self.facts.sources.len() < TABLES_MAX
            && !self.facts.sources.contains(&name)
        {
            self.facts.sources.push(name);
        }
    }

    /// The tables of a query: behind FROM and JOIN, and behind the commas of a FROM list.
    fn read_tables(&mut self) {
        let mut in_from = false;
        while let Some(token) = self.tokens.next() {
            if token.is_any(&["FROM", "JOIN", "STRAIGHT_JOIN", "TABLE"]) {
                in_from = true;
                self.source();
            } else if token
                .is_any(&["WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "SELECT", "ON", "USING"])
            {
                in_from = false;
            } else if in_from && token == Token::Punct(b',') {
                self.source();
            }
        }
    }

    /// CALL, WITH and the like: the tables that are changed, where the text shows it.
    fn modified_tables(&mut self) {
        while let Some(token) = self.tokens.next() {
            if token.is("UPDATE") {
                return self.update();
            }
            if token.is("DELETE") {
                return self.delete();
            }
        }
    }
}

fn text(name: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(name).into()
}

fn unhex(digits: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    digits.as_chunks::<2>().0.iter().filter_map(pair).collect()
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod grammar;
