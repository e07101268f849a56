//! Just enough of SQL to read names in statements of the log.
//!
//! # Invariants
//! - String literals and comments are skipped, never returned.

use std::borrow::Cow;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A bare word: keyword, name or number.
    Word(Cow<'a, str>),
    /// A quoted name.
    Name(Cow<'a, str>),
    /// Any other character.
    Sign(u8),
    /// A string literal: where it stood, not what it said.
    Literal,
}

impl Token<'_> {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(text) if text.eq_ignore_ascii_case(word))
    }

    /// The name, bare or quoted.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Name(name) => Some(name),
            Self::Sign(_) | Self::Literal => None,
        }
    }
}

/// Tokens of a statement.
#[derive(Debug, Clone)]
pub(crate) struct Tokens<'a> {
    text: &'a [u8],
    /// Inside a version comment (`/*!50100 ... */`), whose text counts.
    is_versioned: bool,
}

/// The tokens of `text`, in order.
pub(crate) fn tokens(text: &[u8]) -> Tokens<'_> {
    Tokens { text, is_versioned: false }
}

impl<'a> Tokens<'a> {
    fn advance(&mut self, bytes: usize) -> &'a [u8] {
        let (head, rest) = self.text.split_at(bytes.min(self.text.len()));
        self.text = rest;
        head
    }

    fn skip_past(&mut self, end: &[u8]) {
        let at = self.text.windows(end.len()).position(|window| window == end);
        self.advance(at.map_or(self.text.len(), |at| at + end.len()));
    }

    /// Skips blanks and comments.
    fn skip(&mut self) {
        loop {
            let text = self.text;
            if text.first().is_some_and(u8::is_ascii_whitespace) {
                self.advance(1);
            } else if text.starts_with(b"/*!") || text.starts_with(b"/*M!") {
                self.skip_past(b"!");
                let digits = self.text.iter().take_while(|byte| byte.is_ascii_digit()).count();
                self.advance(digits);
                self.is_versioned = true;
            } else if self.is_versioned && text.starts_with(b"*/") {
                self.advance(2);
                self.is_versioned = false;
            } else if text.starts_with(b"/*") {
                self.skip_past(b"*/");
            } else if text.starts_with(b"#") || text.starts_with(b"-- ") {
                self.skip_past(b"\n");
            } else {
                return;
            }
        }
    }

    /// The inside of a quoted part; the opening quote is next.
    fn quoted(&mut self, quote: u8) -> &'a [u8] {
        self.advance(1);
        let mut at = 0;
        while let Some(byte) = self.text.get(at) {
            if *byte == b'\\' && quote != b'`' {
                at += 2;
            } else if *byte != quote {
                at += 1;
            } else if self.text.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                break;
            }
        }
        let inside = self.advance(at);
        self.advance(1);
        inside
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip();
        let first = *self.text.first()?;
        Some(match first {
            b'`' => Token::Name(String::from_utf8_lossy(self.quoted(b'`'))),
            b'\'' | b'"' => {
                self.quoted(first);
                Token::Literal
            }
            _ if is_word(first) => {
                let len = self.text.iter().take_while(|byte| is_word(**byte)).count();
                Token::Word(String::from_utf8_lossy(self.advance(len)))
            }
            _ => {
                self.advance(1);
                Token::Sign(first)
            }
        })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Words that begin a part of a column list that is no column.
const NO_COLUMN: [&str; 10] = [
    "primary",
    "key",
    "unique",
    "index",
    "constraint",
    "fulltext",
    "spatial",
    "foreign",
    "check",
    "period",
];

/// Names of the columns that a CREATE TABLE lists.
pub(crate) fn created_columns(text: &[u8]) -> Vec<String> {
    let mut columns = Vec::new();
    let mut depth = 0_u32;
    let mut is_start = false;
    for token in tokens(text) {
        match &token {
            Token::Sign(b'(') => {
                depth += 1;
                is_start = depth == 1;
                continue;
            }
            Token::Sign(b')') => {
                if depth <= 1 {
                    break;
                }
                depth -= 1;
            }
            Token::Sign(b',') if depth == 1 => {
                is_start = true;
                continue;
            }
            Token::Word(word) if is_start => {
                if !NO_COLUMN.iter().any(|keyword| word.eq_ignore_ascii_case(keyword)) {
                    columns.push(word.clone().into_owned());
                }
            }
            Token::Name(name) if is_start => columns.push(name.clone().into_owned()),
            Token::Word(_) | Token::Name(_) | Token::Sign(_) | Token::Literal => {}
        }
        is_start = false;
    }
    columns
}

/// Names of the columns that an ALTER TABLE adds or renames to.
pub(crate) fn added_columns(text: &[u8]) -> Vec<String> {
    let tokens: Vec<Token<'_>> = tokens(text).collect();
    let mut columns = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let mut rest = tokens.iter().skip(at + 1).filter(|token| {
            !["column", "if", "not", "exists"].iter().any(|word| token.is_word(word))
        });
        let next = if token.is_word("add") {
            let first = rest.next();
            if first == Some(&Token::Sign(b'(')) { rest.next() } else { first }
        } else if token.is_word("change") {
            rest.nth(1)
        } else if token.is_word("rename") && tokens.get(at + 1).is_some_and(|t| t.is_word("column"))
        {
            rest.nth(2)
        } else {
            None
        };
        if let Some(name) = next.filter(|token| !NO_COLUMN.iter().any(|word| token.is_word(word)))
            && let Some(name) = name.name()
        {
            columns.push(name.to_owned());
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_create_table() {
        let text = b"CREATE TABLE `x y` (`id` int unsigned NOT NULL DEFAULT '1,(a', -- c, d\n\
            email varchar(255) COMMENT 'a, b', price decimal(10,2), PRIMARY KEY (`id`), \
            KEY k (email)) ENGINE=InnoDB COMMENT='(z)'";
        assert_eq!(created_columns(text), ["id", "email", "price"]);
        assert!(created_columns(b"CREATE TABLE x").is_empty());
    }

    #[test]
    fn columns_of_alter_table() {
        for (text, columns) in [
            ("ALTER TABLE t ADD COLUMN `ssn` varchar(11), ADD INDEX i (a)", vec!["ssn"]),
            ("alter table t add if not exists phone text", vec!["phone"]),
            ("ALTER TABLE t CHANGE a email text", vec!["email"]),
            ("ALTER TABLE t RENAME COLUMN a TO mrn", vec!["mrn"]),
            ("ALTER TABLE t ADD (dob date)", vec!["dob"]),
            ("ALTER TABLE t DROP COLUMN email, COMMENT 'ADD email'", vec![]),
            ("ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES b (c)", vec![]),
        ] {
            assert_eq!(added_columns(text.as_bytes()), columns, "{text}");
        }
    }

    #[test]
    fn literals_and_unfinished_quotes_end() {
        assert_eq!(tokens(b"'it''s' \"a\\\"b\" x").collect::<Vec<_>>().len(), 3);
        assert_eq!(tokens(b"`abc").count(), 1);
        assert_eq!(tokens(b"/* abc").count(), 0);
        assert_eq!(tokens(b"'abc\\").count(), 1);
        assert_eq!(tokens(b"/*!50100 a */ b").count(), 2);
    }
}
