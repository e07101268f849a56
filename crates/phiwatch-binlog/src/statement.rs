//! Statements in the log: kind and tables, never the text.

use std::{fmt, sync::Arc};

use crate::Grant;

/// SQL text of the log: may hold patient data and credentials. `Debug` prints its length only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SqlText<'a>(&'a [u8]);

impl<'a> SqlText<'a> {
    /// Wraps statement text.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Self(text)
    }
    /// The text. Search for callers of this to audit every reader.
    #[must_use]
    pub fn expose(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for SqlText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes of SQL>", self.0.len())
    }
}

/// A schema and table name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// Schema; the session's default where the statement names none.
    pub database: Arc<str>,
    /// Table.
    pub table: Arc<str>,
}

/// One statement of the log.
#[derive(Debug, Clone)]
pub struct Statement<'a> {
    /// Start of its event, bytes.
    pub offset: u64,
    /// What it does.
    pub kind: StatementKind,
    /// The tables that it changes or defines, as far as the tokenizer finds them.
    pub tables: Vec<TableName>,
    /// The tables that it reads (CREATE TABLE .. SELECT/LIKE, INSERT .. SELECT).
    pub sources: Vec<TableName>,
    /// What a GRANT gives; None for every other kind.
    pub grant: Option<Grant>,
    /// The session's default schema.
    pub database: Arc<str>,
    /// The text.
    pub text: SqlText<'a>,
    /// Error code of a statement that failed midway on the source; 0 = none.
    pub error_code: u16,
}

/// Kinds of statement that matter to a reader of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatementKind {
    /// INSERT, UPDATE, DELETE, REPLACE, CALL ... as text: rows that we do not see.
    Dml,
    /// LOAD DATA as text: rows that we do not see.
    LoadData,
    /// CREATE TABLE without rows.
    CreateTable,
    /// CREATE TABLE .. SELECT (its rows follow).
    CreateTableSelect,
    /// CREATE TABLE .. LIKE.
    CreateTableLike,
    /// ALTER TABLE, CREATE/DROP INDEX.
    AlterTable,
    /// RENAME TABLE, ALTER TABLE .. RENAME TO: `sources` and `tables` pair up, old and new.
    RenameTable,
    /// DROP TABLE.
    DropTable,
    /// TRUNCATE TABLE, and ALTER TABLE with TRUNCATE or DROP PARTITION.
    TruncateTable,
    /// CREATE, ALTER or DROP DATABASE: `tables` has one entry, with an empty table name.
    Database,
    /// CREATE TRIGGER, EVENT, PROCEDURE, FUNCTION, VIEW: `tables` has the trigger's table or the
    /// view, `sources` what the code touches.
    CreateCode,
    /// DROP or ALTER of the same.
    ChangeCode,
    /// GRANT.
    Grant,
    /// CREATE USER or ROLE, ALTER USER, SET PASSWORD, RENAME USER, SET DEFAULT ROLE.
    Account,
    /// REVOKE, DROP USER, DROP ROLE.
    AccountRemoved,
    /// Temporary tables, FLUSH, ANALYZE, OPTIMIZE and others without a change of rows.
    Harmless,
    /// Not recognised: a gap, the stream goes on.
    Unknown,
}
