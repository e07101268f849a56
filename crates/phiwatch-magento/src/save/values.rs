//! The part of the saved state that is about values: forms of columns, attributes of the policy, and
//! tokens of persons' values.

use std::{collections::VecDeque, sync::Arc};

use super::{Input, RestoreError, number, text};
use crate::{
    AttributeOf, Settings,
    inspect::{HISTORIES_MAX, History},
    policy::Watch,
    shop::Shop,
    taint::{RECENT_MAX, Taint, TokenSet},
    values::TOKEN_BITS,
};

pub(super) fn save(out: &mut Vec<u8>, shops: &[&Shop], taint: &Taint) {
    for shop in shops {
        number(out, shop.shapes.len() as u64);
        for ((table, column, attribute), history) in &shop.shapes {
            text(out, table);
            text(out, column);
            number(out, (*attribute).into());
            for count in [history.magento, history.random, history.plain] {
                number(out, count.into());
            }
        }
        number(out, shop.attributes.len() as u64);
        for (id, (of, code)) in &shop.attributes {
            number(out, (*id).into());
            text(out, of.name());
            text(out, code);
        }
    }
    number(out, taint.number);
    number(out, taint.dropped);
    number(out, taint.recent.len() as u64);
    for (transaction, token) in &taint.recent {
        number(out, *transaction);
        number(out, *token);
    }
    for set in [&taint.young, &taint.old] {
        number(out, set.len() as u64);
        let mut last = 0;
        for token in set.iter() {
            number(out, token - last);
            last = token;
        }
    }
}

/// Reads what [`save`] wrote into the shops. Attributes that policy names no more are left out.
pub(super) fn restore(
    input: &mut Input<'_>,
    shops: &mut [Shop],
    watch: &Watch,
    settings: &Settings,
) -> Result<Taint, RestoreError> {
    for shop in shops {
        restore_shop(input, shop, watch)?;
    }
    let mut taint = Taint::default();
    taint.number = input.number()?;
    taint.dropped = input.number()?;
    let mut recent = VecDeque::new();
    for _ in 0..input.number()? {
        let one = (input.number()?, token(input)?);
        if recent.len() < RECENT_MAX {
            recent.push_back(one);
        }
    }
    taint.recent = recent;
    let max = settings.limits.values_max as usize;
    taint.young = restore_set(input, max)?;
    taint.old = restore_set(input, max)?;
    Ok(taint)
}

fn restore_shop(input: &mut Input<'_>, shop: &mut Shop, watch: &Watch) -> Result<(), RestoreError> {
    for _ in 0..input.number()? {
        let (table, column) = (Arc::from(input.text()?), Arc::from(input.text()?));
        let attribute = input.small()?;
        let mut counts = [0_u16; 3];
        for count in &mut counts {
            let damaged = input.damaged();
            *count = u16::try_from(input.number()?).map_err(|_| damaged)?;
        }
        let [magento, random, plain] = counts;
        if shop.shapes.len() < HISTORIES_MAX {
            let history = History { magento, random, plain };
            shop.shapes.insert((table, column, attribute), history);
        }
    }
    for _ in 0..input.number()? {
        let damaged = input.damaged();
        let id = input.small()?;
        let of = AttributeOf::by_name(input.text()?).ok_or(damaged)?;
        let named = (of, input.text()?.to_owned());
        if watch.attributes.contains(&named) {
            shop.attributes.insert(id, named);
        }
    }
    Ok(())
}

fn restore_set(input: &mut Input<'_>, max: usize) -> Result<TokenSet, RestoreError> {
    let mut set = TokenSet::default();
    let mut last = 0_u64;
    for place in 0..input.number()? {
        let damaged = input.damaged();
        let gap = input.number()?;
        // Ascending, each once: one state, one encoding.
        last = last.checked_add(gap).filter(|_| gap > 0 || place == 0).ok_or(damaged.clone())?;
        if last >> TOKEN_BITS != 0 {
            return Err(damaged);
        }
        if set.len() < max {
            set.insert(last);
        }
    }
    Ok(set)
}

fn token(input: &mut Input<'_>) -> Result<u64, RestoreError> {
    let damaged = input.damaged();
    Some(input.number()?).filter(|token| token >> TOKEN_BITS == 0).ok_or(damaged)
}
