//! Words that say what the number after them is.

use super::Identifier;

/// What a word announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    Social,
    Provider,
    Dea,
    Diagnosis,
    Drug,
    Phone,
    Birth,
    Card,
    Record,
    /// Half of a phrase: "member", "patient"; "id" or "number" after it announces a record.
    Holder,
}

const COUNT: usize = 10;
/// Bytes between a word and what it announces, at most.
const NEAR_BYTES: usize = 40;
/// Bytes between the words of a phrase, at most.
const PHRASE_BYTES: usize = 20;

/// Words in lower case, in order.
const WORDS: [(&str, Context); 59] = [
    ("amex", Context::Card),
    ("beneficiary", Context::Holder),
    ("birth", Context::Birth),
    ("birthdate", Context::Birth),
    ("birthday", Context::Birth),
    ("born", Context::Birth),
    ("call", Context::Phone),
    ("called", Context::Phone),
    ("card", Context::Card),
    ("cc", Context::Card),
    ("cell", Context::Phone),
    ("cellphone", Context::Phone),
    ("chart", Context::Holder),
    ("contact", Context::Phone),
    ("credit", Context::Card),
    ("dea", Context::Dea),
    ("diag", Context::Diagnosis),
    ("diagnosed", Context::Diagnosis),
    ("diagnoses", Context::Diagnosis),
    ("diagnosis", Context::Diagnosis),
    ("dial", Context::Phone),
    ("discover", Context::Card),
    ("dob", Context::Birth),
    ("dx", Context::Diagnosis),
    ("fax", Context::Phone),
    ("hicn", Context::Record),
    ("icd", Context::Diagnosis),
    ("insurance", Context::Holder),
    ("insured", Context::Holder),
    ("maestro", Context::Card),
    ("mastercard", Context::Card),
    ("medicaid", Context::Holder),
    ("medical", Context::Holder),
    ("medicare", Context::Holder),
    ("member", Context::Holder),
    ("membership", Context::Holder),
    ("mobile", Context::Phone),
    ("mrn", Context::Record),
    ("ndc", Context::Drug),
    ("npi", Context::Provider),
    ("pan", Context::Card),
    ("patient", Context::Holder),
    ("ph", Context::Phone),
    ("phone", Context::Phone),
    ("policy", Context::Holder),
    ("provider", Context::Provider),
    ("reach", Context::Phone),
    ("ring", Context::Phone),
    ("sms", Context::Phone),
    ("social", Context::Social),
    ("ssn", Context::Social),
    ("subscriber", Context::Holder),
    ("tel", Context::Phone),
    ("telephone", Context::Phone),
    ("text", Context::Phone),
    ("tin", Context::Social),
    ("visa", Context::Card),
    ("wechat", Context::Phone),
    ("whatsapp", Context::Phone),
];

/// Where each kind of word last ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Contexts {
    ends: [Option<usize>; COUNT],
}

impl Contexts {
    /// A word of letters, or of letters and digits ("icd10"), that ends at `end`.
    pub(super) fn word(&mut self, word: &[u8], end: usize) {
        const LONGEST: usize = 12;
        let word = word.strip_suffix(b"10").unwrap_or(word);
        let mut lower = [0_u8; LONGEST];
        let Some(lower) = lower.get_mut(..word.len()) else { return };
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        let lower = &*lower;
        let is_number = matches!(lower, b"id" | b"no" | b"nr" | b"num" | b"number" | b"record");
        if is_number && self.is_within(Context::Holder, end - word.len(), PHRASE_BYTES) {
            self.ends[Context::Record as usize] = Some(end);
        }
        if let Ok(at) = WORDS.binary_search_by(|(known, _)| known.as_bytes().cmp(lower)) {
            self.ends[WORDS[at].1 as usize] = Some(end);
        }
    }

    /// `#` after "member", "policy".
    pub(super) fn number_sign(&mut self, at: usize) {
        if self.is_within(Context::Holder, at, 2) {
            self.ends[Context::Record as usize] = Some(at + 1);
        }
    }

    /// An identifier was found: what announced it may announce the next of a list, or is used up.
    pub(super) fn used(&mut self, class: Identifier, end: usize) {
        match class {
            Identifier::Icd10 => self.ends[Context::Diagnosis as usize] = Some(end),
            Identifier::Ndc => self.ends[Context::Drug as usize] = Some(end),
            Identifier::BirthDate => self.ends[Context::Birth as usize] = None,
            Identifier::RecordNumber => self.ends[Context::Record as usize] = None,
            // Nine digits after it are an order's number rather than another person's.
            Identifier::Ssn | Identifier::Itin => self.ends[Context::Social as usize] = None,
            _ => {}
        }
    }

    /// Whether such a word ended shortly before `at`.
    pub(super) fn is_near(&self, context: Context, at: usize) -> bool {
        self.is_within(context, at, NEAR_BYTES)
    }

    fn is_within(&self, context: Context, at: usize, bytes: usize) -> bool {
        self.ends[context as usize].is_some_and(|end| end <= at && at - end <= bytes)
    }

    /// Whether nothing but signs, blanks and "is", "no", "number" stand between the word and `at`.
    pub(super) fn is_next(&self, context: Context, text: &[u8], at: usize) -> bool {
        const FILLERS: [&[u8]; 7] = [b"is", b"no", b"nr", b"num", b"number", b"id", b"was"];
        let Some(end) = self.ends[context as usize].filter(|end| *end <= at) else { return false };
        let Some(between) = text.get(end..at).filter(|text| text.len() <= PHRASE_BYTES) else {
            return false;
        };
        between
            .split(|byte| !byte.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .all(|word| FILLERS.iter().any(|filler| filler.eq_ignore_ascii_case(word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_in_order() {
        assert!(WORDS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
