//! SQL text to tokens: comments and literals skipped, names unquoted.
//!
//! Input: statement text of any length and quality. Output: [`Token`]s. Each byte is looked at
//! once or twice, nothing but quoted names is copied, and nothing is refused: text that ends in
//! the middle of a literal just ends.

use std::borrow::Cow;

/// The parts of `sql_mode` that change where a token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SqlMode {
    ansi_quotes: bool,
    no_backslash_escapes: bool,
}

impl SqlMode {
    /// From the number in a QUERY event (MySQL `MODE_ANSI_QUOTES`, `MODE_NO_BACKSLASH_ESCAPES`).
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { ansi_quotes: bits & 4 != 0, no_backslash_escapes: bits & 1 << 20 != 0 }
    }
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A keyword, a number or a name without quotes.
    Word(&'a [u8]),
    /// A name in quotes.
    Name(Cow<'a, [u8]>),
    /// A string literal, as it stands between its quotes.
    Literal(&'a [u8]),
    /// Any other character.
    Punct(u8),
}

impl Token<'_> {
    /// The token is this keyword (upper case given).
    pub(crate) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword.as_bytes()))
    }

    /// The token is one of these keywords.
    pub(crate) fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// The token as a name: quoted, or a word.
    pub(crate) fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Word(word) => Some(word),
            Self::Name(name) => Some(name),
            Self::Literal(_) | Self::Punct(_) => None,
        }
    }
}

/// The tokens of a text, with one token of look-ahead.
#[derive(Debug, Clone)]
pub(crate) struct Tokens<'a> {
    rest: &'a [u8],
    mode: SqlMode,
    /// A token that was read but not taken.
    peeked: Option<Option<Token<'a>>>,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a [u8], mode: SqlMode) -> Self {
        Self { rest: text, mode, peeked: None }
    }

    pub(crate) fn peek(&mut self) -> Option<&Token<'a>> {
        if self.peeked.is_none() {
            self.peeked = Some(self.read());
        }
        self.peeked.as_ref().and_then(Option::as_ref)
    }

    /// Takes the next token if it is this keyword.
    pub(crate) fn eat(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is(keyword));
        if found {
            self.peeked = None;
        }
        found
    }

    /// Takes the next tokens as long as they are among these keywords.
    pub(crate) fn eat_all(&mut self, keywords: &[&str]) {
        while self.peek().is_some_and(|token| token.is_any(keywords)) {
            self.peeked = None;
        }
    }

    /// Takes the next token if it is this character.
    pub(crate) fn eat_punct(&mut self, punct: u8) -> bool {
        let found = self.peek() == Some(&Token::Punct(punct));
        if found {
            self.peeked = None;
        }
        found
    }

    fn read(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let (first, tail) = self.rest.split_first()?;
        match first {
            b'`' => Some(Token::Name(self.quoted_name(b'`'))),
            b'"' if self.mode.ansi_quotes => Some(Token::Name(self.quoted_name(b'"'))),
            b'\'' | b'"' => Some(Token::Literal(self.literal(*first))),
            byte if is_word(*byte) => {
                let size = self.rest.iter().position(|byte| !is_word(*byte));
                let (word, rest) = self.rest.split_at_checked(size.unwrap_or(self.rest.len()))?;
                self.rest = rest;
                Some(Token::Word(word))
            }
            byte => {
                self.rest = tail;
                Some(Token::Punct(*byte))
            }
        }
    }

    /// Skips blanks and comments. Of an executable comment (`/*!40000 .. */`, MariaDB `/*M! .. */`)
    /// only the marks are skipped: servers run what is in it.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest.trim_ascii_start();
            self.rest = match rest {
                [b'/', b'*', b'!', tail @ ..] | [b'/', b'*', b'M', b'!', tail @ ..] => {
                    let digits =
                        tail.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
                    tail.get(digits..).unwrap_or_default()
                }
                [b'*', b'/', tail @ ..] => tail,
                [b'/', b'*', tail @ ..] => behind(tail, b"*/"),
                [b'#', tail @ ..] => behind(tail, b"\n"),
                [b'-', b'-'] => &[],
                [b'-', b'-', blank, tail @ ..] if *blank <= b' ' => {
                    if *blank == b'\n' {
                        tail
                    } else {
                        behind(tail, b"\n")
                    }
                }
                [0 | 0x0b | 0x0c, tail @ ..] => tail,
                _ => {
                    self.rest = rest;
                    return;
                }
            };
        }
    }

    /// A name in quotes; a doubled quote is one.
    fn quoted_name(&mut self, quote: u8) -> Cow<'a, [u8]> {
        let mut name: Cow<'a, [u8]> = Cow::Borrowed(&[]);
        self.rest = self.rest.get(1..).unwrap_or_default();
        loop {
            let size = self.rest.iter().position(|byte| *byte == quote).unwrap_or(self.rest.len());
            let (part, tail) = self.rest.split_at_checked(size).unwrap_or((self.rest, &[]));
            if name.is_empty() {
                name = Cow::Borrowed(part);
            } else {
                name.to_mut().extend(part);
            }
            let tail = tail.get(1..).unwrap_or_default();
            if tail.first() != Some(&quote) {
                self.rest = tail;
                return name;
            }
            name.to_mut().push(quote);
            self.rest = tail.get(1..).unwrap_or_default();
        }
    }

    fn literal(&mut self, quote: u8) -> &'a [u8] {
        let text = self.rest.get(1..).unwrap_or_default();
        let mut bytes = text.iter().enumerate().peekable();
        while let Some((index, byte)) = bytes.next() {
            if *byte == b'\\' && !self.mode.no_backslash_escapes {
                bytes.next();
            } else if *byte == quote {
                if bytes.peek().is_some_and(|(_, next)| **next == quote) {
                    bytes.next();
                } else {
                    let (literal, tail) = text.split_at_checked(index).unwrap_or((text, &[]));
                    self.rest = tail.get(1..).unwrap_or_default();
                    return literal;
                }
            }
        }
        self.rest = &[];
        text
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        match self.peeked.take() {
            Some(token) => token,
            None => self.read(),
        }
    }
}

/// Letters, digits, `_`, `$`, and every byte of a multi-byte character.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

fn behind<'a>(text: &'a [u8], mark: &[u8]) -> &'a [u8] {
    let at = text.windows(mark.len()).position(|window| window == mark);
    at.and_then(|at| text.get(at.saturating_add(mark.len())..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(text: &str, mode: SqlMode) -> String {
        let one = |token: Token<'_>| match token {
            Token::Word(word) => String::from_utf8_lossy(word).into_owned(),
            Token::Name(name) => format!("<{}>", String::from_utf8_lossy(&name)),
            Token::Literal(text) => format!("'{}'", String::from_utf8_lossy(text)),
            Token::Punct(byte) => char::from(byte).to_string(),
        };
        Tokens::new(text.as_bytes(), mode).map(one).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(tokens(text, SqlMode::default()), want);
    }

    #[test]
    fn comments_and_literals_hide_their_text() {
        check("a /* b */ c -- d\ne # f\ng --h", "a c e g - - h");
        check("DROP /*!40005 TEMPORARY */ TABLE `x``y`", "DROP TEMPORARY TABLE <x`y>");
        check("/*M!100100 x*/ y /* open", "x y");
        check(r"'a\'b''c' x", r"'a\'b''c' x");
        check("\"a\" `b`.c", "'a' <b> . c");
        check("'open \\", "'open \\'");
        check("`open", "<open>");
        check("täble_1$", "täble_1$");
    }

    #[test]
    fn modes_change_quotes() {
        assert_eq!(tokens("\"a\"\"b\"", SqlMode::from_bits(4)), "<a\"b>");
        assert_eq!(tokens(r"'a\' b", SqlMode::from_bits(1 << 20)), r"'a\' b");
    }

    proptest! {
        #[test]
        fn any_text_ends(text in prop::collection::vec(any::<u8>(), 0..300), bits in any::<u64>()) {
            let count = Tokens::new(&text, SqlMode::from_bits(bits)).count();
            prop_assert!(count <= text.len());
        }
    }
}
