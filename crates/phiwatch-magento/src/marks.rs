//! What a look at a row's values said: classes, counts and tokens, never a value.

use std::sync::Arc;

use phiwatch_binlog::Op;

use crate::{Found, PhiClasses};

/// What a look at one row's values said.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// The row is about a seeded person, or holds the address of one.
    Canary {
        /// Which, counted from 1 in the configuration's list.
        number: u32,
        /// By its address (`canary_emails`), else by its id (`canary_customers`).
        is_email: bool,
        /// What was done to the row.
        op: Op,
        /// The row makes the person.
        is_seeding: bool,
    },
    /// A column that is encrypted by policy or by its own history was written in another form.
    Cleartext {
        /// Column, or "customer attribute ...".
        column: Arc<str>,
        /// What was written instead.
        form: Cleartext,
        /// Why ciphertext was expected.
        because: Because,
    },
    /// Identifiers in free text.
    Identifiers {
        /// Column.
        column: Arc<str>,
        /// How many, by class.
        found: Found,
    },
    /// Values of persons in a table outside the catalogue, or in a body inside it. The
    /// observation's subject is the person.
    Value {
        /// Where.
        place: ValuePlace,
        /// How much is known of the value.
        seen: ValueSeen,
        /// What it is.
        class: PhiClasses,
        /// Rows of the table that were looked at in this transaction since the last mark.
        rows: u32,
    },
}

/// What stands where ciphertext should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cleartext {
    /// Ciphertext that was cut or damaged: it cannot be decrypted.
    Corrupt,
    /// Plaintext.
    Plain,
    /// A card number in clear.
    Card,
}

/// Why a column is taken for encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Because {
    /// Its own history.
    History,
    /// This row held ciphertext before.
    Before,
    /// Magento or policy says so.
    Policy,
}

/// Where values of persons turned up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValuePlace {
    /// A table outside the catalogue, as a value of its own or in a document.
    Table,
    /// The same, within a sentence.
    Text,
    /// A body of a table of the catalogue that Magento itself did not make.
    Body,
    /// A body as Magento makes it: an import, a bulk operation.
    OwnBody,
}

/// How much is known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueSeen {
    /// It looks personal, but was not seen before.
    Shape,
    /// A table of the catalogue holds it, and its person was written just now.
    Active,
    /// A table of the catalogue holds it.
    Known,
}
