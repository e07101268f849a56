//! Runs of digit groups, and the identifiers that they may be.

use super::checks;

/// Groups of one run at most; a longer run is read in parts.
const GROUPS_MAX: usize = 16;
/// Groups of one identifier at most.
pub(super) const TAKEN_MAX: usize = 6;
/// Digits that are held of a run.
const DIGITS_MAX: usize = 64;

#[derive(Debug, Clone, Copy, Default)]
struct Group {
    /// Place in the text.
    start: usize,
    /// Place of its first digit in the digits of the run.
    first: usize,
    len: usize,
    /// What stands between it and the one before: `-`, `.`, `/`, a blank, `)` with or without a
    /// blank, or 0 for the first.
    sign: u8,
}

/// A run of digit groups with one separator between two.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    text: &'a [u8],
    groups: [Group; GROUPS_MAX],
    count: usize,
    digits: [u8; DIGITS_MAX],
}

impl<'a> Groups<'a> {
    /// Reads the run that begins at `at`, a digit.
    pub(super) fn read(text: &'a [u8], at: usize) -> Self {
        let mut run = Self {
            text,
            groups: [Group::default(); GROUPS_MAX],
            count: 0,
            digits: [0; DIGITS_MAX],
        };
        let (mut at, mut sign, mut held) = (at, 0, 0);
        while run.count < GROUPS_MAX {
            let rest = text.get(at..).unwrap_or_default();
            let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if len == 0 || (run.count > 0 && held + len > DIGITS_MAX) {
                break;
            }
            for (to, from) in run.digits.iter_mut().skip(held).zip(&rest[..len]) {
                *to = from - b'0';
            }
            run.groups[run.count] = Group { start: at, first: held, len, sign };
            run.count += 1;
            held += len;
            at += len;
            let (next, width) = separator(text.get(at..).unwrap_or_default());
            if width == 0 {
                break;
            }
            sign = next;
            at += width;
        }
        run
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether the run goes on behind what is held.
    pub(super) fn is_cut(&self) -> bool {
        self.count == GROUPS_MAX
    }

    pub(super) fn start(&self, place: usize) -> usize {
        self.groups[place].start
    }

    pub(super) fn end(&self, place: usize) -> usize {
        self.groups[place].start + self.groups[place].len
    }

    /// Digits of `count` groups from `place` on; none if there are not so many, or too many digits.
    fn digits(&self, place: usize, count: usize) -> Option<&[u8]> {
        let last = self.groups[..self.count].get(place + count - 1)?;
        let first = self.groups[place].first;
        self.digits.get(first..last.first + last.len)
    }

    fn number(&self, place: usize) -> Option<u32> {
        let digits = self.digits(place, 1).filter(|digits| digits.len() <= 9)?;
        Some(digits.iter().fold(0, |number, digit| number * 10 + u32::from(*digit)))
    }

    /// Whether groups of these lengths stand at `place`, with signs of `signs` between them (one
    /// kind throughout), and nothing that would make them part of a longer number.
    fn is(&self, place: usize, lens: &[usize], signs: &[u8]) -> bool {
        let Some(its) = self.groups[..self.count].get(place..place + lens.len()) else {
            return false;
        };
        let fits = its.iter().zip(lens).all(|(group, len)| group.len == *len);
        let sign = its.get(1).map_or(0, |group| group.sign);
        let is_one = its.iter().skip(1).all(|group| group.sign == sign && signs.contains(&sign));
        fits && is_one && self.is_apart(place, lens.len())
    }

    /// Whether the groups are no part of a longer number or word.
    fn is_apart(&self, place: usize, count: usize) -> bool {
        let before = self.groups[place];
        let joined = |sign: u8| matches!(sign, b'-' | b'.' | b'/');
        let after = self.groups[..self.count].get(place + count);
        let next = self.text.get(self.end(place + count - 1)).copied();
        let outer = before.start.checked_sub(1).and_then(|at| self.text.get(at)).copied();
        let is_joined = (place > 0 && joined(before.sign))
            || after.is_some_and(|group| joined(group.sign))
            || next.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_@".contains(&byte))
            || outer.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        !is_joined
    }

    /// A payment card: its groups. Runs of ten digits and more pass the check digit by chance once
    /// in ten, so the scheme's range and length must fit as well.
    pub(super) fn card(&self, place: usize, has_context: bool) -> Option<usize> {
        const SHAPES: [&[usize]; 4] = [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 4, 3]];
        let one = self.groups[place].len;
        if (13..=19).contains(&one) && self.is_apart(place, 1) {
            let digits = self.digits(place, 1)?;
            return checks::is_card(digits, has_context).then_some(1);
        }
        let shape = SHAPES.into_iter().find(|shape| self.is(place, shape, b"- "))?;
        let digits = self.digits(place, shape.len())?;
        // The grouping is a context of its own.
        checks::is_card(digits, true).then_some(shape.len())
    }

    /// A social security number (true) or a taxpayer's (false), and its groups.
    pub(super) fn social(&self, place: usize, has_context: bool) -> Option<(bool, usize)> {
        let is_bare = has_context && self.is(place, &[9], b"");
        let signs: &[u8] = if has_context { b"-. " } else { b"- " };
        if !is_bare && !self.is(place, &[3, 2, 4], signs) {
            return None;
        }
        let count = if is_bare { 1 } else { 3 };
        let digits = self.digits(place, count)?;
        let part = |range: std::ops::Range<usize>| {
            digits[range].iter().fold(0_u32, |number, digit| number * 10 + u32::from(*digit))
        };
        let (area, group, serial) = (part(0..3), part(3..5), part(5..9));
        if area >= 900 {
            let is_given = matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99);
            return is_given.then_some((false, count));
        }
        // Numbers of advertisements and examples.
        let is_sample = matches!((area, group, serial), (78, 5, 1120) | (123, 45, 6789));
        let is_given = area != 0 && area != 666 && group != 0 && serial != 0 && !is_sample;
        is_given.then_some((true, count))
    }

    /// A drug code: its groups.
    pub(super) fn drug(&self, place: usize) -> Option<usize> {
        const SHAPES: [&[usize]; 4] = [&[5, 4, 2], &[4, 4, 2], &[5, 3, 2], &[5, 4, 1]];
        let grouped = SHAPES.into_iter().find(|shape| self.is(place, shape, b"-"));
        let bare = || [10, 11].iter().any(|len| self.is(place, &[*len], b"")).then_some(1);
        grouped.map(<[usize]>::len).or_else(bare)
    }

    /// Whether the group is a provider's number.
    pub(super) fn provider(&self, place: usize) -> bool {
        const ISSUER: [u8; 5] = [8, 0, 8, 4, 0];
        let Some(digits) = self.digits(place, 1).filter(|digits| digits.len() == 10) else {
            return false;
        };
        matches!(digits.first(), Some(1 | 2))
            && self.is_apart(place, 1)
            && checks::luhn(ISSUER.iter().chain(digits).copied())
    }

    /// A record's or member's number, in one group or joined by dashes: its groups.
    pub(super) fn record(&self, place: usize) -> Option<usize> {
        const GROUPS_MAX: usize = 4;
        let groups = self.groups[..self.count].get(place..)?;
        let joined =
            groups.iter().skip(1).take(GROUPS_MAX - 1).take_while(|group| group.sign == b'-');
        let count = 1 + joined.count();
        let digits: usize = groups.iter().take(count).map(|group| group.len).sum();
        (5..=20).contains(&digits).then_some(count)
    }

    /// A calendar date with a year of a living person: its groups.
    pub(super) fn date(&self, place: usize) -> Option<usize> {
        let groups = self.groups[..self.count].get(place..place + 3)?;
        let sign = groups[1].sign;
        let is_one = groups[2].sign == sign && b"-/. ".contains(&sign);
        let [a, b, c] = [self.number(place)?, self.number(place + 1)?, self.number(place + 2)?];
        let lens = [groups[0].len, groups[1].len, groups[2].len];
        let is_day = |month: u32, day: u32| (1..=12).contains(&month) && (1..=31).contains(&day);
        let is_year = |year: u32, len: usize| match len {
            4 => (1900..=2099).contains(&year),
            _ => len == 2,
        };
        let is_date = match lens {
            [4, 1..=2, 1..=2] => is_year(a, 4) && is_day(b, c),
            [1..=2, 1..=2, len] => is_year(c, len) && (is_day(a, b) || is_day(b, a)),
            _ => false,
        };
        (is_one && is_date && self.is_apart(place, 3)).then_some(3)
    }

    /// A telephone number: its groups.
    pub(super) fn phone(&self, place: usize, has_context: bool) -> Option<usize> {
        let start = self.groups[place].start;
        let sign = start.checked_sub(1).and_then(|at| self.text.get(at)).copied();
        if place == 0 && sign == Some(b'+') {
            return self.international(place);
        }
        let lens: Vec<usize> =
            self.groups[place..self.count].iter().take(4).map(|group| group.len).collect();
        let (count, skip) = match lens[..] {
            [1, 3, 3, 4] if self.number(place) == Some(1) => (4, 1),
            [3, 3, 4, ..] => (3, 0),
            [10, ..] if has_context => (1, 0),
            [11, ..] if has_context && self.digits(place, 1)?.first() == Some(&1) => (1, 1),
            [3, 7, ..] if has_context || self.groups[place + 1].sign == b')' => (2, 0),
            _ => return self.national(place, has_context),
        };
        let digits = self.digits(place, count)?.get(skip..)?;
        (is_nanp(digits) && self.is_apart(place, count)).then_some(count)
    }

    /// After a plus sign: all groups that fit into fifteen digits (ITU-T E.164).
    fn international(&self, place: usize) -> Option<usize> {
        let (mut count, mut digits) = (0, 0);
        for group in self.groups[place..self.count].iter().take(6) {
            if digits + group.len > 15 || group.sign == b'/' || group.len > 12 {
                break;
            }
            digits += group.len;
            count += 1;
        }
        let all = self.digits(place, count.max(1))?;
        if let Some(rest) = all.strip_prefix(&[1]) {
            return (rest.len() == 10 && is_nanp(rest)).then_some(count);
        }
        ((8..=15).contains(&digits) && all.first() != Some(&0)).then_some(count)
    }

    /// A number as it is dialled inside another country, with its trunk zero.
    fn national(&self, place: usize, has_context: bool) -> Option<usize> {
        if !has_context || self.digits(place, 1)?.first() != Some(&0) {
            return None;
        }
        let (mut count, mut digits) = (0, 0);
        for group in self.groups[place..self.count].iter().take(6) {
            if digits + group.len > 13 {
                break;
            }
            digits += group.len;
            count += 1;
        }
        ((9..=13).contains(&digits) && self.is_apart(place, count)).then_some(count)
    }
}

/// A number of the North American plan, ten digits: no code ends in 11, and 555-0100 to 555-0199
/// are kept for fiction.
fn is_nanp(digits: &[u8]) -> bool {
    let [a, b, c, d, e, f, g, h, ..] = digits else { return false };
    let is_code = |first: u8, second: u8, third: u8| first >= 2 && (second, third) != (1, 1);
    let is_fiction = (*d, *e, *f, *g, *h) == (5, 5, 5, 0, 1);
    digits.len() == 10 && is_code(*a, *b, *c) && is_code(*d, *e, *f) && !is_fiction
}

/// What separates two groups, if a digit follows: the sign and its bytes.
fn separator(text: &[u8]) -> (u8, usize) {
    let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    match text.first() {
        Some(sign @ (b'-' | b'.' | b'/' | b' ')) if is_digit(1) => (*sign, 1),
        // "+1 (212) 555-0199": the bracket that opens counts as the blank before it.
        Some(b' ') if text.get(1) == Some(&b'(') && is_digit(2) => (b' ', 2),
        Some(b')') if is_digit(1) => (b')', 1),
        Some(b')') if matches!(text.get(1), Some(b' ' | b'-')) && is_digit(2) => (b')', 2),
        _ => (0, 0),
    }
}
