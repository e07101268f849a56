//! Engine state to bytes and back.
//!
//! Every type of the state has one canonical encoding ([`State`]): the same state gives the same
//! bytes. Integers are LEB128, floats their 8 bytes, sequences a count and their items.
//!
//! # Invariants
//! - Reading never panics and never allocates more than the bytes that are there can fill.
//! - Maps and sets are read back only in strictly ascending order, floats only if finite.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use phiwatch_binlog::{BinlogPosition, EventTime, Gtid};
use phiwatch_magento::{
    AccountChange, Because, Cleartext, CopyForm, ExportEntity, ImportPhase, OperatorRule, Ordinal,
    PhiClasses, Resource, ScheduleChange, TableClass, Tenant, Weight,
};
use uuid::Uuid;

use crate::alert::{Confidence, RuleId, Severity, TableCounts};

/// Why a checkpoint was refused. Definite: the same bytes fail again; start from the oldest binlog
/// instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not an engine state, or of another version.
    #[error("not an engine state of version {expected}")]
    Version {
        /// The version that this build reads.
        expected: u16,
    },
    /// The bytes end early.
    #[error("engine state ends early")]
    Truncated,
    /// Bytes that no engine writes.
    #[error("engine state is damaged: {0}")]
    Damaged(&'static str),
}

/// Part of the engine's state.
pub(crate) trait State: Sized {
    /// Appends the canonical encoding.
    fn save(&self, out: &mut Vec<u8>);
    /// Reads it back.
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError>;
}

/// Bytes still to be read.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Version of the format that they are in.
    version: u16,
}

impl<'a> Reader<'a> {
    /// Bytes of the present format.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, version: u16::MAX }
    }

    /// What follows is in this version of the format.
    pub(crate) fn set_version(&mut self, version: u16) {
        self.version = version;
    }

    /// Whether a part is there that came with a version; see [`state_struct`].
    pub(crate) fn has(&self, since: u16) -> bool {
        self.version >= since
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], CheckpointError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(CheckpointError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// A count of items that take a byte at least each: a larger claim is refused.
    pub(crate) fn count(&mut self) -> Result<usize, CheckpointError> {
        let count = usize::load(self)?;
        if count > self.rest.len() {
            return Err(CheckpointError::Truncated);
        }
        Ok(count)
    }
}

/// Implements [`State`] of a struct, field by field. A field `since` a version of the format has its
/// default in what an earlier version wrote.
macro_rules! state_struct {
    (@load $input:ident) => { $crate::state::State::load($input)? };
    (@load $input:ident $since:literal) => {
        if $input.has($since) { $crate::state::State::load($input)? } else { Default::default() }
    };
    ($name:ident { $($field:ident $(since $since:literal)?),* $(,)? }) => {
        impl $crate::state::State for $name {
            fn save(&self, out: &mut Vec<u8>) {
                $( $crate::state::State::save(&self.$field, out); )*
            }
            fn load(
                input: &mut $crate::state::Reader<'_>,
            ) -> Result<Self, $crate::state::CheckpointError> {
                Ok(Self { $( $field: $crate::state::state_struct!(@load input $($since)?), )* })
            }
        }
    };
}

/// Implements [`State`] of an enum with named fields or none; the number is the tag byte.
macro_rules! state_enum {
    ($name:ident { $($tag:literal => $variant:ident $({ $($field:ident),* })?),* $(,)? }) => {
        impl $crate::state::State for $name {
            fn save(&self, out: &mut Vec<u8>) {
                match self {
                    $( Self::$variant $({ $($field),* })? => {
                        out.push($tag);
                        $( $( $crate::state::State::save($field, out); )* )?
                    } )*
                }
            }
            fn load(
                input: &mut $crate::state::Reader<'_>,
            ) -> Result<Self, $crate::state::CheckpointError> {
                Ok(match u8::load(input)? {
                    $( $tag => Self::$variant $({
                        $( $field: $crate::state::State::load(input)? ),*
                    })?, )*
                    _ => return Err($crate::state::CheckpointError::Damaged(stringify!($name))),
                })
            }
        }
    };
}

pub(crate) use {state_enum, state_struct};

impl State for u8 {
    fn save(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        input.take(1)?.first().copied().ok_or(CheckpointError::Truncated)
    }
}

impl State for bool {
    fn save(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        match u8::load(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CheckpointError::Damaged("bool")),
        }
    }
}

impl State for u64 {
    fn save(&self, out: &mut Vec<u8>) {
        let mut left = *self;
        loop {
            let [low, ..] = left.to_le_bytes();
            left >>= 7;
            if left == 0 {
                out.push(low & 0x7f);
                return;
            }
            out.push(low | 0x80);
        }
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = u8::load(input)?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(CheckpointError::Damaged("integer"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                // Only the shortest form: one state, one encoding.
                return if byte == 0 && shift > 0 {
                    Err(CheckpointError::Damaged("integer"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(CheckpointError::Damaged("integer"))
    }
}

// Ids do not leave memory as they are.
impl State for Ordinal {
    fn save(&self, out: &mut Vec<u8>) {
        self.token().save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        Ok(Self::from_token(u64::load(input)?))
    }
}

macro_rules! state_unsigned {
    ($($type:ty),*) => { $(
        impl State for $type {
            fn save(&self, out: &mut Vec<u8>) {
                u64::try_from(*self).unwrap_or(u64::MAX).save(out);
            }
            fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
                Self::try_from(u64::load(input)?).map_err(|_| CheckpointError::Damaged("integer"))
            }
        }
    )* };
}
state_unsigned!(u16, u32, usize);

impl State for i64 {
    fn save(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let bytes = input.take(8)?.try_into().map_err(|_| CheckpointError::Truncated)?;
        Ok(Self::from_le_bytes(bytes))
    }
}

impl State for f64 {
    fn save(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let bytes = input.take(8)?.try_into().map_err(|_| CheckpointError::Truncated)?;
        let value = Self::from_le_bytes(bytes);
        if value.is_finite() { Ok(value) } else { Err(CheckpointError::Damaged("float")) }
    }
}

impl State for String {
    fn save(&self, out: &mut Vec<u8>) {
        self.len().save(out);
        out.extend_from_slice(self.as_bytes());
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let count = input.count()?;
        let text = std::str::from_utf8(input.take(count)?);
        Ok(text.map_err(|_| CheckpointError::Damaged("text"))?.to_owned())
    }
}

impl State for Arc<str> {
    fn save(&self, out: &mut Vec<u8>) {
        self.len().save(out);
        out.extend_from_slice(self.as_bytes());
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        Ok(Self::from(String::load(input)?))
    }
}

impl<T: State> State for Option<T> {
    fn save(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.save(out);
        }
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        Ok(if bool::load(input)? { Some(T::load(input)?) } else { None })
    }
}

impl<T: State> State for Vec<T> {
    fn save(&self, out: &mut Vec<u8>) {
        self.len().save(out);
        self.iter().for_each(|item| item.save(out));
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        // Grown as items really come: a count is a claim.
        (0..input.count()?).map(|_| T::load(input)).collect()
    }
}

impl<T: State> State for VecDeque<T> {
    fn save(&self, out: &mut Vec<u8>) {
        self.len().save(out);
        self.iter().for_each(|item| item.save(out));
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        Ok(Vec::load(input)?.into())
    }
}

impl<K: State + Ord, V: State> State for BTreeMap<K, V> {
    fn save(&self, out: &mut Vec<u8>) {
        self.len().save(out);
        for (key, value) in self {
            key.save(out);
            value.save(out);
        }
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let mut map = Self::new();
        for _ in 0..input.count()? {
            let key = K::load(input)?;
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(CheckpointError::Damaged("order of a map"));
            }
            map.insert(key, V::load(input)?);
        }
        Ok(map)
    }
}

impl<T: State + Ord> State for BTreeSet<T> {
    fn save(&self, out: &mut Vec<u8>) {
        self.len().save(out);
        self.iter().for_each(|item| item.save(out));
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let mut set = Self::new();
        for _ in 0..input.count()? {
            let item = T::load(input)?;
            if set.last().is_some_and(|last| *last >= item) {
                return Err(CheckpointError::Damaged("order of a set"));
            }
            set.insert(item);
        }
        Ok(set)
    }
}

impl<A: State, B: State> State for (A, B) {
    fn save(&self, out: &mut Vec<u8>) {
        self.0.save(out);
        self.1.save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        Ok((A::load(input)?, B::load(input)?))
    }
}

impl<A: State, B: State, C: State> State for (A, B, C) {
    fn save(&self, out: &mut Vec<u8>) {
        self.0.save(out);
        self.1.save(out);
        self.2.save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        Ok((A::load(input)?, B::load(input)?, C::load(input)?))
    }
}

impl State for Uuid {
    fn save(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let bytes = input.take(16)?.try_into().map_err(|_| CheckpointError::Truncated)?;
        Ok(Self::from_bytes(bytes))
    }
}

impl State for [u8; 16] {
    fn save(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        input.take(16)?.try_into().map_err(|_| CheckpointError::Truncated)
    }
}

impl State for EventTime {
    fn save(&self, out: &mut Vec<u8>) {
        self.0.save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        Ok(Self(i64::load(input)?))
    }
}

impl State for PhiClasses {
    fn save(&self, out: &mut Vec<u8>) {
        self.0.save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        Ok(Self(u16::load(input)?))
    }
}

impl State for Tenant {
    fn save(&self, out: &mut Vec<u8>) {
        match self {
            Self::Global => out.push(0),
            Self::Unknown => out.push(1),
            Self::Website(id) => {
                out.push(2);
                id.save(out);
            }
        }
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        match u8::load(input)? {
            0 => Ok(Self::Global),
            1 => Ok(Self::Unknown),
            2 => Ok(Self::Website(u32::load(input)?)),
            _ => Err(CheckpointError::Damaged("Tenant")),
        }
    }
}

impl State for RuleId {
    fn save(&self, out: &mut Vec<u8>) {
        // The operator's come after the built-in ones.
        Self::ALL.iter().position(|rule| rule == self).unwrap_or(Self::ALL.len()).save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let number = usize::load(input)?;
        if number == Self::ALL.len() && input.has(3) {
            return Ok(Self::Operator);
        }
        Self::ALL.get(number).copied().ok_or(CheckpointError::Damaged("RuleId"))
    }
}

impl State for Arc<OperatorRule> {
    fn save(&self, out: &mut Vec<u8>) {
        self.id.save(out);
        self.title.save(out);
        self.remediation.save(out);
        self.severity.save(out);
        self.persons_min.save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        Ok(Self::new(OperatorRule {
            id: State::load(input)?,
            title: State::load(input)?,
            remediation: State::load(input)?,
            severity: State::load(input)?,
            persons_min: State::load(input)?,
        }))
    }
}

state_struct!(BinlogPosition { file, offset });
state_struct!(TableCounts { inserts, updates, deletes });
state_struct!(Resource { hash, watched });
state_enum!(Gtid {
    0 => MySql { uuid, tag, number },
    1 => MariaDb { domain, server_id, sequence },
});
state_enum!(Severity {
    1 => Informational, 2 => Low, 3 => Medium, 4 => High, 5 => Critical,
});
state_enum!(Confidence { 1 => Low, 2 => Medium, 3 => High });
state_enum!(Cleartext { 0 => Corrupt, 1 => Plain, 2 => Card });
state_enum!(Because { 0 => History, 1 => Before, 2 => Policy });
state_enum!(Weight { 0 => Low, 1 => Medium, 2 => High });
state_enum!(ImportPhase { 0 => Begin, 1 => Data, 2 => End });
state_enum!(TableClass {
    0 => Customer, 1 => CustomerAddress, 2 => Order, 3 => Quote, 4 => OtherPersonal, 5 => Control,
    6 => Unknown,
});
state_enum!(ExportEntity {
    0 => Customer, 1 => CustomerAddress, 2 => CustomerFinance, 3 => Impersonal, 4 => Other,
});
state_enum!(ScheduleChange { 0 => Made, 1 => SwitchedOn, 2 => Redirected, 3 => Ran });
state_enum!(CopyForm {
    0 => CreateSelect, 1 => CreateLike, 2 => CreateColumns, 3 => RowUnknownTable,
    4 => CreateShadow, 5 => RowShadow, 6 => CreatePlain,
});
state_enum!(AccountChange {
    0 => UserCreated { user_id, is_active },
    1 => UserActivated { user_id },
    2 => UserPassword { user_id },
    3 => UserEmail { user_id },
    4 => UserRemoved { user_id },
    5 => PasswordRecorded { user_id },
    6 => RoleAssigned { role_id, user_id, is_integration, parent_id, removed },
    7 => RoleGroup { role_id, removed },
    8 => RoleRule { role_id, resource, allow, removed },
    9 => IntegrationActivated { integration_id },
    10 => IntegrationCreated { integration_id },
    11 => AccessToken { token_id },
    12 => TwoFactorReset { user_id },
    13 => ExpiryRemoved { user_id },
    14 => SqlAccount,
    15 => SqlAccountRemoved,
    16 => SqlGrant { all, global, grant_option },
    17 => RoleScope { role_id },
    18 => CompanyKeeper { company_id, user_id },
    19 => CompanyAdministrator { company_id },
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_encoding() {
        for value in [0, 1, 127, 128, 300, u64::MAX] {
            let mut bytes = Vec::new();
            value.save(&mut bytes);
            assert_eq!(u64::load(&mut Reader::new(&bytes)), Ok(value));
        }
        assert!(u64::load(&mut Reader::new(&[0x80, 0])).is_err());
        assert!(u64::load(&mut Reader::new(&[0xff; 11])).is_err());
    }

    #[test]
    fn claimed_counts_are_refused() {
        let mut bytes = Vec::new();
        u64::MAX.save(&mut bytes);
        assert_eq!(Vec::<u8>::load(&mut Reader::new(&bytes)), Err(CheckpointError::Truncated));
        assert!(BTreeSet::<u8>::load(&mut Reader::new(&[2, 5, 4])).is_err());
        assert!(f64::load(&mut Reader::new(&f64::NAN.to_le_bytes())).is_err());
    }
}
