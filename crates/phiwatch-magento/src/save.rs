//! Learned maps to bytes and back, for checkpoints.
//!
//! Format: `PWM`, a version byte, then per database in order of names its parts, then what prepared
//! XA transactions taught; numbers are LEB128, ids are differences to the one before. Version 1
//! had no prepared transactions; version 2, which is still read, had neither companies nor series of
//! order numbers nor forms of columns nor values of persons (`save/values.rs`).
//!
//! # Invariants
//! - Same state, same bytes. Bytes of another version or damaged ones are refused whole: the state
//!   is as before then.
//! - No allocation is larger than the bytes that stand for it.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::{BinlogPosition, Gtid};

use crate::{
    Classifier,
    catalog::Entity,
    journal::{Lesson, Prepared},
    map::Owner,
    shop::{REMEMBERED_MAX, SERIES_MAX, Series, Shop},
    taint::Taint,
};

mod values;

const MAGIC: &[u8; 3] = b"PWM";
const VERSION: u8 = 3;
/// The oldest version that is read.
const VERSION_MIN: u8 = 2;

/// Saved state that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Not written by this program, or cut off, or damaged.
    #[error("saved tenant maps are damaged at byte {at}")]
    Damaged {
        /// Bytes from the start.
        at: usize,
    },
    /// Written by another version.
    #[error("saved tenant maps have format {found}, expected {VERSION}")]
    Version {
        /// The format's number.
        found: u8,
    },
}

impl Classifier {
    /// What was learned, as bytes; equal states give equal bytes. Call it between transactions.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        let mut shops: Vec<&Shop> = self.shops.list.iter().collect();
        shops.sort_by(|a, b| a.database.cmp(&b.database));
        number(&mut out, shops.len() as u64);
        for shop in &shops {
            save_shop(&mut out, shop);
        }
        number(&mut out, self.prepared.len() as u64);
        for prepared in &self.prepared {
            save_prepared(&mut out, prepared, |at| {
                let database = &self.shops.list[at].database;
                shops.iter().position(|shop| shop.database == *database).unwrap_or(0)
            });
        }
        values::save(&mut out, &shops, &self.taint);
        out
    }

    /// Takes back what [`Self::save`] gave, in place of what is known of the same databases.
    ///
    /// # Errors
    /// The bytes are damaged or of another version; nothing is changed then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let mut input = Input { bytes, at: 0 };
        if input.take(3)? != MAGIC {
            return Err(RestoreError::Damaged { at: 0 });
        }
        let found = input.byte()?;
        if !(VERSION_MIN..=VERSION).contains(&found) {
            return Err(RestoreError::Version { found });
        }
        let mut shops = Vec::new();
        for _ in 0..input.number()? {
            shops.push(self.restore_shop(&mut input, found)?);
        }
        let mut prepared = Vec::new();
        for _ in 0..input.number()? {
            prepared.push(restore_prepared(&mut input, shops.len())?);
        }
        let taint = match found {
            VERSION_MIN => Taint::default(),
            _ => values::restore(&mut input, &mut shops, &self.watch, &self.settings)?,
        };
        if input.at != bytes.len() {
            return Err(RestoreError::Damaged { at: input.at });
        }
        self.taint = taint;
        // Where each shop of the saved state stands now; none at the limit.
        let mut places = Vec::new();
        for shop in shops {
            let place = self.shops.index(&shop.database, &self.settings);
            if let Some(at) = place {
                self.shops.list[at] = shop;
            }
            places.push(place);
        }
        for one in &mut prepared {
            one.lessons = (one.lessons.iter())
                .filter_map(|(at, lesson)| Some(((*places.get(*at)?)?, *lesson)))
                .collect();
        }
        self.prepared = prepared;
        Ok(())
    }

    fn restore_shop(&self, input: &mut Input<'_>, version: u8) -> Result<Shop, RestoreError> {
        let database = input.text()?;
        let mut shop = Shop::new(database, &self.settings);
        let flags = input.byte()?;
        shop.is_shop |= flags & 1 == 1;
        shop.is_shared = (flags & 2 == 2).then_some(flags & 4 == 4);
        shop.dropped = input.number()?;
        for place in 0..2 {
            let id = input.small()?;
            shop.entity_types[place] = (id != 0).then_some(id);
        }
        for _ in 0..input.number()? {
            let (store, website) = (input.small()?, input.small()?);
            shop.stores.insert(store, website);
        }
        let mut id = 0_u64;
        for _ in 0..input.number()? {
            id = id.wrapping_add(input.number()?);
            if shop.exports.len() < REMEMBERED_MAX {
                shop.exports.insert(id);
            }
        }
        let mut copies = BTreeMap::new();
        for _ in 0..input.number()? {
            let (to, from) = (input.text()?, input.text()?);
            copies.insert(Arc::from(to), Arc::from(from));
        }
        shop.copies = copies;
        for _ in 0..input.number()? {
            shop.seen.insert(input.text()?.into());
        }
        let count = if version < 3 { Entity::COUNT_2 } else { Entity::COUNT };
        for entity in Entity::ALL.into_iter().take(count) {
            self.restore_owners(input, &mut shop, entity)?;
        }
        if version >= 3 {
            for _ in 0..input.number()? {
                let (store, series) = (input.small()?, input.series()?);
                if shop.series.len() < REMEMBERED_MAX {
                    shop.series.insert(store, series);
                }
            }
        }
        Ok(shop)
    }

    fn restore_owners(
        &self,
        input: &mut Input<'_>,
        shop: &mut Shop,
        entity: Entity,
    ) -> Result<(), RestoreError> {
        let mut id = 0_u32;
        for _ in 0..input.number()? {
            let at = input.at;
            id = id.checked_add(input.small()?).ok_or(RestoreError::Damaged { at })?;
            let owner = input.owner()?;
            shop.learn(entity, id, owner, self.settings.limits.ids_max);
        }
        Ok(())
    }
}

fn save_shop(out: &mut Vec<u8>, shop: &Shop) {
    text(out, &shop.database);
    let flags = u8::from(shop.is_shop)
        | u8::from(shop.is_shared.is_some()) << 1
        | u8::from(shop.is_shared == Some(true)) << 2;
    out.push(flags);
    number(out, shop.dropped);
    for id in shop.entity_types {
        number(out, u64::from(id.unwrap_or(0)));
    }
    number(out, shop.stores.len() as u64);
    for (store, website) in &shop.stores {
        number(out, u64::from(*store));
        number(out, u64::from(*website));
    }
    number(out, shop.exports.len() as u64);
    let mut last = 0;
    for id in &shop.exports {
        number(out, id - last);
        last = *id;
    }
    number(out, shop.copies.len() as u64);
    for (to, from) in &shop.copies {
        text(out, to);
        text(out, from);
    }
    number(out, shop.seen.len() as u64);
    for table in &shop.seen {
        text(out, table);
    }
    for owners in &shop.owners {
        number(out, owners.len());
        let mut last = 0;
        for (id, owner) in owners.iter() {
            number(out, u64::from(id - last));
            last = id;
            save_owner(out, owner);
        }
    }
    number(out, shop.series.len() as u64);
    for (store, series) in &shop.series {
        number(out, (*store).into());
        save_series(out, *series);
    }
}

fn save_series(out: &mut Vec<u8>, series: Series) {
    number(out, series.prefix);
    number(out, series.seen.into());
    number(out, series.other.into());
}

fn save_prepared(out: &mut Vec<u8>, prepared: &Prepared, place: impl Fn(usize) -> usize) {
    text(out, &prepared.xid);
    text(out, &prepared.at.file);
    number(out, prepared.at.offset);
    text(out, &prepared.gtid.as_ref().map(ToString::to_string).unwrap_or_default());
    number(out, prepared.lessons.len() as u64);
    for (at, lesson) in &prepared.lessons {
        number(out, place(*at) as u64);
        save_lesson(out, *lesson);
    }
}

/// A kind, then its parts; what may be absent is shifted by one.
fn save_lesson(out: &mut Vec<u8>, lesson: Lesson) {
    let small = |id: Option<u32>| id.map_or(0, |id| u64::from(id) + 1);
    match lesson {
        Lesson::Owner { entity, id, owner } => {
            out.push(if owner.is_some() { 0 } else { 1 });
            number(out, entity as u64);
            number(out, id.into());
            if let Some(owner) = owner {
                save_owner(out, owner);
            }
        }
        Lesson::Store { store, website } => {
            out.push(2);
            number(out, store.into());
            number(out, small(website));
        }
        Lesson::Shared(is_shared) => {
            out.push(3);
            out.push(is_shared.map_or(0, |is_shared| 1 + u8::from(is_shared)));
        }
        Lesson::EntityType { place, id } => {
            out.push(4);
            number(out, place as u64);
            number(out, small(id));
        }
        Lesson::Export { message, is_open } => {
            out.push(if is_open { 5 } else { 6 });
            number(out, message);
        }
        Lesson::Series { store, series } => {
            out.push(if series.is_some() { 7 } else { 8 });
            number(out, store.into());
            if let Some(series) = series {
                save_series(out, series);
            }
        }
    }
}

fn save_owner(out: &mut Vec<u8>, owner: Owner) {
    // Shifted by one, so that "not known" (the largest value) takes one byte.
    number(out, u64::from(owner.customer.wrapping_add(1)));
    number(out, u64::from(owner.store.wrapping_add(1)));
    number(out, u64::from(owner.website.wrapping_add(1)));
}

fn restore_prepared(input: &mut Input<'_>, shops: usize) -> Result<Prepared, RestoreError> {
    let xid = input.text()?.to_owned();
    let file = input.text()?.into();
    let at = BinlogPosition { file, offset: input.number()? };
    let damaged = input.damaged();
    let gtid = match input.text()? {
        "" => None,
        text => Some(text.parse::<Gtid>().map_err(|_| damaged)?),
    };
    let mut lessons = Vec::new();
    for _ in 0..input.number()? {
        let damaged = input.damaged();
        let place = usize::try_from(input.number()?).ok().filter(|place| *place < shops);
        lessons.push((place.ok_or(damaged)?, restore_lesson(input)?));
    }
    Ok(Prepared { xid, at, gtid, lessons })
}

fn restore_lesson(input: &mut Input<'_>) -> Result<Lesson, RestoreError> {
    let damaged = input.damaged();
    let kind = input.byte()?;
    Ok(match kind {
        0 | 1 => {
            let entity = usize::try_from(input.number()?).ok();
            let entity = entity.and_then(|entity| Entity::ALL.get(entity).copied());
            let (entity, id) = (entity.ok_or(damaged)?, input.small()?);
            let owner = if kind == 0 { Some(input.owner()?) } else { None };
            Lesson::Owner { entity, id, owner }
        }
        2 => Lesson::Store { store: input.small()?, website: input.optional()? },
        3 => match input.byte()? {
            0 => Lesson::Shared(None),
            1 => Lesson::Shared(Some(false)),
            2 => Lesson::Shared(Some(true)),
            _ => return Err(damaged),
        },
        4 => {
            let place = usize::try_from(input.number()?).ok().filter(|place| *place < 2);
            Lesson::EntityType { place: place.ok_or(damaged)?, id: input.optional()? }
        }
        5 | 6 => Lesson::Export { message: input.number()?, is_open: kind == 5 },
        7 => Lesson::Series { store: input.small()?, series: Some(input.series()?) },
        8 => Lesson::Series { store: input.small()?, series: None },
        _ => return Err(damaged),
    })
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn damaged(&self) -> RestoreError {
        RestoreError::Damaged { at: self.at }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], RestoreError> {
        let end = self.at.checked_add(len).ok_or_else(|| self.damaged())?;
        let part = self.bytes.get(self.at..end).ok_or_else(|| self.damaged())?;
        self.at = end;
        Ok(part)
    }

    fn byte(&mut self) -> Result<u8, RestoreError> {
        let damaged = self.damaged();
        self.take(1)?.first().copied().ok_or(damaged)
    }

    fn number(&mut self) -> Result<u64, RestoreError> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        let byte = self.byte()?;
        if byte > 1 { Err(self.damaged()) } else { Ok(value | u64::from(byte) << 63) }
    }

    fn small(&mut self) -> Result<u32, RestoreError> {
        let damaged = self.damaged();
        u32::try_from(self.number()?).map_err(|_| damaged)
    }

    fn optional(&mut self) -> Result<Option<u32>, RestoreError> {
        let damaged = self.damaged();
        let shifted = self.number()?;
        match shifted.checked_sub(1) {
            None => Ok(None),
            Some(id) => u32::try_from(id).map(Some).map_err(|_| damaged),
        }
    }

    fn owner(&mut self) -> Result<Owner, RestoreError> {
        let customer = self.small()?.wrapping_sub(1);
        let (store, website) = (self.site()?, self.site()?);
        Ok(Owner { customer, store, website })
    }

    /// Counts that no shop has are damage.
    fn series(&mut self) -> Result<Series, RestoreError> {
        let damaged = self.damaged();
        let series = Series { prefix: self.number()?, seen: self.small()?, other: self.small()? };
        let is_sound = series.seen <= SERIES_MAX && series.other <= SERIES_MAX;
        if is_sound { Ok(series) } else { Err(damaged) }
    }

    fn site(&mut self) -> Result<u16, RestoreError> {
        let damaged = self.damaged();
        u16::try_from(self.number()?).map(|site| site.wrapping_sub(1)).map_err(|_| damaged)
    }

    fn text(&mut self) -> Result<&'a str, RestoreError> {
        let damaged = self.damaged();
        let len = usize::try_from(self.number()?).map_err(|_| damaged.clone())?;
        std::str::from_utf8(self.take(len)?).map_err(|_| damaged)
    }
}
