//! Identifiers in free text: which classes, and how many; never what they are.
//!
//! Input: the bytes of one text. Output: counts by [`Identifier`], or their places.
//!
//! Method: one pass over words and runs of digit groups. A number is taken for an identifier if its
//! groups, its check digit and, where the shape alone says too little, a word before it ("DOB",
//! "MRN", "NPI") fit. Rules: SSA (areas 000, 666 and 900-999, group 00 and serial 0000 are never
//! given), IRS (middle digits of an ITIN), CMS (alphabet of the Medicare beneficiary identifier;
//! NPI check digit: ISO 7812 over 80840 and the number), DEA (check digit of registrations),
//! ISO 7812 (card numbers), NANP (area and exchange codes).
//!
//! # Invariants
//! - Time is linear in the text: every look around a place is over a bounded number of bytes.
//! - At most [`TEXT_BYTES_MAX`] bytes of a text are read.

mod checks;
mod context;
mod numbers;

use std::ops::Range;

use context::{Context, Contexts};
use numbers::Groups;

/// Bytes of one text that are read; the rest of a longer one is not.
pub const TEXT_BYTES_MAX: usize = 262_144;

/// Classes of identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identifier {
    /// E-mail address.
    Email,
    /// Telephone number.
    Phone,
    /// Social security number.
    Ssn,
    /// Individual taxpayer identification number.
    Itin,
    /// Medicare beneficiary identifier.
    Mbi,
    /// National provider identifier.
    Npi,
    /// DEA registration number.
    Dea,
    /// Payment card number.
    Card,
    /// ICD-10-CM code.
    Icd10,
    /// National drug code.
    Ndc,
    /// Medical record, member or policy number.
    RecordNumber,
    /// Date of birth.
    BirthDate,
}

impl Identifier {
    /// Number of classes.
    pub const COUNT: usize = 12;
    /// All of them; the position is also the number in saved state.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Email,
        Self::Phone,
        Self::Ssn,
        Self::Itin,
        Self::Mbi,
        Self::Npi,
        Self::Dea,
        Self::Card,
        Self::Icd10,
        Self::Ndc,
        Self::RecordNumber,
        Self::BirthDate,
    ];

    /// What it is called in a sentence, one of them.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "e-mail address",
            Self::Phone => "telephone number",
            Self::Ssn => "social security number",
            Self::Itin => "taxpayer number",
            Self::Mbi => "Medicare number",
            Self::Npi => "provider number",
            Self::Dea => "DEA number",
            Self::Card => "card number",
            Self::Icd10 => "diagnosis code",
            Self::Ndc => "drug code",
            Self::RecordNumber => "record or member number",
            Self::BirthDate => "date of birth",
        }
    }

    /// Whether it is an ordinary part of a shop's notes ("call me at ..."): only told where policy
    /// names the column.
    #[must_use]
    pub fn is_ordinary(self) -> bool {
        matches!(self, Self::Email | Self::Phone)
    }
}

/// How many of each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Found(pub [u16; Identifier::COUNT]);

impl Found {
    /// How many of one class.
    #[must_use]
    pub fn count(self, class: Identifier) -> u16 {
        self.0.get(class as usize).copied().unwrap_or_default()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }

    /// Without those that are an ordinary part of notes.
    #[must_use]
    pub fn without_ordinary(mut self) -> Self {
        for class in Identifier::ALL.into_iter().filter(|class| class.is_ordinary()) {
            self.0[class as usize] = 0;
        }
        self
    }

    /// Only those that are out of place even where a program writes its fields: in a request's body,
    /// in an attribute of its own.
    #[must_use]
    pub fn hard(mut self) -> Self {
        const HARD: [Identifier; 4] =
            [Identifier::Ssn, Identifier::Itin, Identifier::Mbi, Identifier::Card];
        for class in Identifier::ALL.into_iter().filter(|class| !HARD.contains(class)) {
            self.0[class as usize] = 0;
        }
        self
    }

    fn add(&mut self, class: Identifier) {
        let count = &mut self.0[class as usize];
        *count = count.saturating_add(1);
    }
}

/// Counts the identifiers of a text.
///
/// ```
/// use phiwatch_magento::{Identifier, recognise};
/// let found = recognise(b"DOB: 1980-02-29, NPI 1234567893");
/// assert_eq!(found.count(Identifier::BirthDate), 1);
/// assert_eq!(found.count(Identifier::Npi), 1);
/// ```
#[must_use]
pub fn recognise(text: &[u8]) -> Found {
    let mut found = Found::default();
    recognise_each(text, |class, _| found.add(class));
    found
}

/// Calls `tell` with each identifier's class and place (bytes), in the order of their ends.
pub fn recognise_each(text: &[u8], mut tell: impl FnMut(Identifier, Range<usize>)) {
    let text = text.get(..TEXT_BYTES_MAX).unwrap_or(text);
    // Every identifier holds a digit, or is an e-mail address.
    if !text.iter().any(|byte| byte.is_ascii_digit() || *byte == b'@') {
        return;
    }
    let mut scan = Scan { text, at: 0, contexts: Contexts::default(), tell: &mut tell };
    scan.run();
}

struct Scan<'a, F> {
    text: &'a [u8],
    at: usize,
    contexts: Contexts,
    tell: &'a mut F,
}

impl<F: FnMut(Identifier, Range<usize>)> Scan<'_, F> {
    fn run(&mut self) {
        while let Some(byte) = self.text.get(self.at).copied() {
            let start = self.at;
            if byte.is_ascii_digit() {
                self.numbers();
            } else if byte.is_ascii_alphabetic() {
                self.word();
            } else if byte == b'@' {
                if let Some(range) = email(self.text, start) {
                    self.at = range.end;
                    (self.tell)(Identifier::Email, range);
                }
            } else if byte == b'#' {
                self.contexts.number_sign(self.at);
            }
            if self.at == start {
                self.at += 1;
            }
        }
    }

    fn found(&mut self, class: Identifier, end: usize) {
        (self.tell)(class, self.at..end);
        self.contexts.used(class, end);
        self.at = end;
    }

    /// A word that starts with a letter.
    fn word(&mut self) {
        let rest = &self.text[self.at..];
        let len = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let word = &rest[..len];
        let is_plain = word.iter().all(u8::is_ascii_alphabetic);
        if is_plain
            && self.contexts.is_near(Context::Birth, self.at)
            && let Some(len) = checks::month_date(rest, len)
        {
            return self.found(Identifier::BirthDate, self.at + len);
        }
        if is_plain && !self.is_record() {
            let end = self.at + len;
            self.contexts.word(word, end);
            self.at = end;
            return;
        }
        // A local part that is no word of the text.
        if let Some(end) = checks::dea(rest)
            && self.contexts.is_near(Context::Dea, self.at)
        {
            return self.found(Identifier::Dea, self.at + end);
        }
        if let Some(end) = checks::icd10(rest)
            && self.contexts.is_near(Context::Diagnosis, self.at)
        {
            return self.found(Identifier::Icd10, self.at + end);
        }
        if let Some(end) = self.record() {
            return self.found(Identifier::RecordNumber, end);
        }
        let end = self.at + len;
        self.contexts.word(word, end);
        self.at = end;
    }

    /// Whether the word at hand may be a number that "MRN" or the like announces.
    fn is_record(&self) -> bool {
        self.contexts.is_next(Context::Record, self.text, self.at)
    }

    fn record(&self) -> Option<usize> {
        if !self.is_record() {
            return None;
        }
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let mut len = rest.iter().take(32).take_while(|byte| is_part(byte)).count();
        while len > 0 && rest.get(len - 1) == Some(&b'-') {
            len -= 1;
        }
        let digits = rest[..len].iter().filter(|byte| byte.is_ascii_digit()).count();
        let letters = len - digits;
        ((5..=20).contains(&len) && digits >= 4 && letters <= 8).then_some(self.at + len)
    }

    /// Groups of digits, with one separator between two.
    fn numbers(&mut self) {
        let before = self.at.checked_sub(1).and_then(|at| self.text.get(at)).copied();
        // The rest of a word that was passed over.
        if before.is_some_and(|byte| byte.is_ascii_alphanumeric()) {
            let rest = &self.text[self.at..];
            self.at += rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            return;
        }
        if let Some(len) = checks::mbi(&self.text[self.at..]) {
            return self.found(Identifier::Mbi, self.at + len);
        }
        let groups = Groups::read(self.text, self.at);
        // Of a run that goes on, the last groups may begin an identifier that is not whole here.
        let len = groups.len() - if groups.is_cut() { numbers::TAKEN_MAX } else { 0 };
        let mut place = 0;
        while place < len {
            self.at = groups.start(place);
            match self.number(&groups, place) {
                Some((class, count)) => {
                    let end = groups.end(place + count - 1);
                    self.found(class, end);
                    place += count;
                }
                None => place += 1,
            }
        }
        self.at = match groups.is_cut() {
            true => groups.start(place),
            false => groups.end(groups.len() - 1),
        };
    }

    /// The identifier that begins with the group at `place`, and how many groups it takes.
    fn number(&self, groups: &Groups<'_>, place: usize) -> Option<(Identifier, usize)> {
        let near = |context| self.contexts.is_near(context, self.at);
        if near(Context::Birth)
            && let Some(count) = groups.date(place)
        {
            return Some((Identifier::BirthDate, count));
        }
        if let Some(count) = groups.card(place, near(Context::Card)) {
            return Some((Identifier::Card, count));
        }
        if let Some((is_ssn, count)) = groups.social(place, near(Context::Social)) {
            let class = if is_ssn { Identifier::Ssn } else { Identifier::Itin };
            return Some((class, count));
        }
        if near(Context::Drug)
            && let Some(count) = groups.drug(place)
        {
            return Some((Identifier::Ndc, count));
        }
        if near(Context::Provider) && groups.provider(place) {
            return Some((Identifier::Npi, 1));
        }
        if self.is_record()
            && let Some(count) = groups.record(place)
        {
            return Some((Identifier::RecordNumber, count));
        }
        groups.phone(place, near(Context::Phone)).map(|count| (Identifier::Phone, count))
    }
}

/// The e-mail address around the `@` at `at`.
pub(crate) fn email(text: &[u8], at: usize) -> Option<Range<usize>> {
    const LOCAL_MAX: usize = 64;
    const DOMAIN_MAX: usize = 253;
    let is_local =
        |byte: &u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(byte);
    let before = text.get(..at)?;
    let mut local = before.iter().rev().take(LOCAL_MAX).take_while(|byte| is_local(byte)).count();
    // Quotes, brackets and escapes around it are not part of it.
    while local > 0 && !before[at - local].is_ascii_alphanumeric() && before[at - local] != b'_' {
        local -= 1;
    }
    let after = text.get(at + 1..)?;
    let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
    let mut domain = after.iter().take(DOMAIN_MAX).take_while(|byte| is_domain(byte)).count();
    while domain > 0 && b".-".contains(&after[domain - 1]) {
        domain -= 1;
    }
    let mut labels = after[..domain].rsplit(|byte| *byte == b'.');
    let top = labels.next()?;
    let is_top = top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic);
    let has_more = labels.next().is_some_and(|label| !label.is_empty());
    (local > 0 && is_top && has_more && before.last() != Some(&b'.'))
        .then_some(at - local..at + 1 + domain)
}

#[cfg(test)]
mod tests;
