//! What a GRANT gives, in closed terms.

use crate::classify::Parser;
use crate::sql::Token;

/// A set of privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Privileges(u32);

impl Privileges {
    /// SELECT.
    pub const SELECT: Self = Self(1);
    /// INSERT.
    pub const INSERT: Self = Self(1 << 1);
    /// UPDATE.
    pub const UPDATE: Self = Self(1 << 2);
    /// DELETE.
    pub const DELETE: Self = Self(1 << 3);
    /// CREATE, DROP, ALTER, INDEX, REFERENCES, CREATE VIEW, temporary tables and the like.
    pub const DEFINE: Self = Self(1 << 4);
    /// TRIGGER, EVENT, CREATE and ALTER ROUTINE, EXECUTE.
    pub const CODE: Self = Self(1 << 5);
    /// FILE: reads and writes the server's files.
    pub const FILE: Self = Self(1 << 6);
    /// PROCESS: sees the statements of others.
    pub const PROCESS: Self = Self(1 << 7);
    /// REPLICATION SLAVE and CLIENT, BINLOG MONITOR: reads the binlog.
    pub const REPLICATION: Self = Self(1 << 8);
    /// SUPER, SHUTDOWN, RELOAD, CREATE USER, CREATE ROLE, and the privileges ending in ADMIN.
    pub const ADMIN: Self = Self(1 << 9);
    /// PROXY: acts as another account.
    pub const PROXY: Self = Self(1 << 10);
    /// A privilege that is not known here.
    pub const OTHER: Self = Self(1 << 11);

    const NAMES: [(Self, &'static str); 12] = [
        (Self::SELECT, "select"),
        (Self::INSERT, "insert"),
        (Self::UPDATE, "update"),
        (Self::DELETE, "delete"),
        (Self::DEFINE, "define"),
        (Self::CODE, "code"),
        (Self::FILE, "file"),
        (Self::PROCESS, "process"),
        (Self::REPLICATION, "replication"),
        (Self::ADMIN, "admin"),
        (Self::PROXY, "proxy"),
        (Self::OTHER, "other"),
    ];

    /// Whether every privilege of `other` is in the set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// No privilege (USAGE gives none).
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the set's members, lower case.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(one, _)| self.contains(*one)).map(|(_, name)| name)
    }

    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What a GRANT statement gives. Its tables are in [`crate::Statement::tables`]: a whole schema
/// with an empty table name, none if it is global.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grant {
    /// ALL PRIVILEGES.
    pub all: bool,
    /// WITH GRANT OPTION or WITH ADMIN OPTION: may be handed on.
    pub with_grant_option: bool,
    /// ON `*.*`.
    pub global: bool,
    /// The privileges named.
    pub privileges: Privileges,
    /// Roles are granted, not privileges.
    pub roles: bool,
}

/// Reads what stands behind GRANT.
pub(crate) fn parse(parser: &mut Parser<'_>) {
    let mut grant = Grant::default();
    let mut depth = 0_u32;
    let mut at_start = true;
    let mut is_proxy = false;
    while let Some(token) = parser.tokens.next() {
        match &token {
            Token::Punct(b'(') => depth = depth.saturating_add(1),
            Token::Punct(b')') => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            Token::Punct(b',') => at_start = true,
            word if word.is("ON") => {
                // PROXY is given on an account.
                if !is_proxy {
                    object(parser, &mut grant);
                }
                break;
            }
            // Without an object they are roles.
            word if word.is("TO") => {
                grant = Grant { roles: true, ..Grant::default() };
                break;
            }
            Token::Word(word) => {
                is_proxy |= word.eq_ignore_ascii_case(b"PROXY");
                privilege(word, at_start, &mut grant);
                at_start = false;
            }
            _ => {}
        }
    }
    // Passwords stand between TO and here: literals, never words.
    while let Some(token) = parser.tokens.next() {
        if token.is_any(&["GRANT", "ADMIN"]) && parser.tokens.eat("OPTION") {
            grant.with_grant_option = true;
        }
    }
    parser.facts.grant = Some(grant);
}

/// One word of the list; `is_first` after a comma.
fn privilege(word: &[u8], is_first: bool, grant: &mut Grant) {
    let word = word.to_ascii_uppercase();
    let found = match word.as_slice() {
        b"ALL" => {
            grant.all = true;
            return;
        }
        b"PRIVILEGES" | b"USAGE" | b"OPTION" => return,
        b"GRANT" => {
            grant.with_grant_option = true;
            return;
        }
        b"SELECT" => Privileges::SELECT,
        b"INSERT" => Privileges::INSERT,
        b"UPDATE" => Privileges::UPDATE,
        b"DELETE" => Privileges::DELETE,
        b"CREATE" | b"DROP" | b"ALTER" | b"INDEX" | b"REFERENCES" | b"LOCK" => Privileges::DEFINE,
        b"TRIGGER" | b"EVENT" | b"ROUTINE" | b"EXECUTE" => Privileges::CODE,
        b"FILE" => Privileges::FILE,
        b"PROCESS" => Privileges::PROCESS,
        b"REPLICATION" | b"BINLOG" => Privileges::REPLICATION,
        b"SUPER" | b"SHUTDOWN" | b"RELOAD" | b"USER" | b"ROLE" => Privileges::ADMIN,
        b"PROXY" => Privileges::PROXY,
        word if word.ends_with(b"ADMIN") => Privileges::ADMIN,
        _ if is_first => Privileges::OTHER,
        // The further words of CREATE VIEW, LOCK TABLES, REPLICATION SLAVE.
        _ => return,
    };
    grant.privileges.add(found);
}

fn object(parser: &mut Parser<'_>, grant: &mut Grant) {
    parser.tokens.eat_all(&["TABLE", "FUNCTION", "PROCEDURE"]);
    if parser.tokens.eat_punct(b'*') {
        // Alone it is the session's schema; `*.*` is everything.
        grant.global = parser.tokens.eat_punct(b'.') && parser.tokens.eat_punct(b'*');
    } else {
        parser.table();
    }
}
