//! Whether columns look personal, by their names.

use std::collections::{BTreeMap, BTreeSet};

use super::file::Exceptions;
use crate::PhiClasses;

/// What column names say about a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Classes recognised.
    pub classes: PhiClasses,
    /// Columns recognised.
    pub columns: u32,
}

impl Shape {
    /// Whether rows of the table are probably about persons: something that names a person, and
    /// something else about the same person.
    #[must_use]
    pub fn is_personal(self) -> bool {
        const NAMES_A_PERSON: PhiClasses = PhiClasses(
            PhiClasses::NAME.0 | PhiClasses::EMAIL.0 | PhiClasses::PHONE.0 | PhiClasses::IDENTITY.0,
        );
        self.classes.0 & NAMES_A_PERSON.0 != 0 && self.classes.0.count_ones() >= 2
    }
}

/// Phrases by class, and words that make a name mean something else.
#[derive(Debug, Clone, Default)]
pub(super) struct Shapes {
    /// First word of a phrase to the whole phrases.
    phrases: BTreeMap<String, Vec<(Vec<String>, PhiClasses)>>,
    last: BTreeSet<String>,
    first: BTreeSet<String>,
    /// Endings of names that the word at their end does not except.
    whole: BTreeSet<String>,
}

impl Shapes {
    pub(super) fn add(
        &mut self,
        phrases: impl Iterator<Item = (PhiClasses, String)>,
        exceptions: Exceptions,
    ) {
        for (class, phrase) in phrases {
            let words: Vec<String> = phrase.split_whitespace().map(str::to_owned).collect();
            if let Some(first) = words.first() {
                self.phrases.entry(first.clone()).or_default().push((words, class));
            }
        }
        self.last.extend(exceptions.last);
        self.first.extend(exceptions.first);
        self.whole.extend(exceptions.whole);
    }

    pub(super) fn judge<'a>(&self, columns: impl IntoIterator<Item = &'a str>) -> Shape {
        let mut shape = Shape::default();
        for column in columns {
            let classes = self.classes(column);
            shape.columns += u32::from(!classes.is_empty());
            shape.classes = shape.classes.union(classes);
        }
        shape
    }

    /// Classes of one column name.
    pub(super) fn classes(&self, column: &str) -> PhiClasses {
        let words = words(column);
        let (Some(first), Some(last)) = (words.first(), words.last()) else {
            return PhiClasses::default();
        };
        let is_about = self.first.contains(first) || self.last.contains(last);
        let name = words.join("_");
        if is_about && !self.whole.iter().any(|whole| name.ends_with(whole)) {
            return PhiClasses::default();
        }
        let mut classes = PhiClasses::default();
        for at in 0..words.len() {
            for (phrase, class) in self.phrases.get(&words[at]).into_iter().flatten() {
                if words[at..].starts_with(phrase) {
                    classes = classes.union(*class);
                }
            }
        }
        classes
    }
}

/// A name's words in lower case: cut at anything but letters, and before a capital that follows a
/// small letter.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut after_small = false;
    for letter in name.chars() {
        let starts = !letter.is_alphabetic() || (letter.is_uppercase() && after_small);
        if starts && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphabetic() {
            word.extend(letter.to_lowercase());
        }
        after_small = letter.is_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn names_are_cut_into_words() {
        assert_eq!(words("customerFirstName2"), ["customer", "first", "name"]);
        assert_eq!(words("billing_e-mail"), ["billing", "e", "mail"]);
        assert!(words("42").is_empty());
    }

    #[test]
    fn columns_are_recognised_by_words() {
        let catalog = Catalog::builtin();
        for (column, classes) in [
            ("email", PhiClasses::EMAIL),
            ("customerEmail", PhiClasses::EMAIL),
            ("email_sent", PhiClasses::default()),
            ("is_email", PhiClasses::default()),
            ("send_email", PhiClasses::default()),
            ("first_name", PhiClasses::NAME),
            ("name", PhiClasses::default()),
            ("customer_dob", PhiClasses::BIRTH_DATE),
            ("ip_address", PhiClasses::default()),
            ("shipping_address", PhiClasses::ADDRESS),
            ("address_id", PhiClasses::default()),
            ("patient_mrn", PhiClasses(PhiClasses::NAME.0 | PhiClasses::IDENTITY.0)),
            ("vat_id", PhiClasses::IDENTITY),
            ("billing_vat_id", PhiClasses::IDENTITY),
            ("password_hash", PhiClasses::SECRET),
            ("telephone", PhiClasses::PHONE),
            ("capacity", PhiClasses::default()),
        ] {
            assert_eq!(catalog.column_classes(column), classes, "{column}");
        }
    }

    #[test]
    fn a_table_needs_a_name_and_something_else() {
        let catalog = Catalog::builtin();
        for (columns, personal) in [
            (&["id", "email", "firstname"][..], true),
            (&["id", "email"], false),
            (&["street", "dob"], false),
            (&["phone", "dob"], true),
            (&["sku", "price", "name"], false),
            (&["title", "email_template_id", "region_id", "is_phone"], false),
        ] {
            let shape = catalog.shape(columns.iter().copied());
            assert_eq!(shape.is_personal(), personal, "{columns:?}");
        }
    }
}
