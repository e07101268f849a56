//! Check digits and alphabets of single identifiers.

/// Luhn's check digit over digits, most significant first.
pub(super) fn luhn(digits: impl DoubleEndedIterator<Item = u8>) -> bool {
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit);
            match place % 2 {
                0 => digit,
                _ => digit * 2 - if digit > 4 { 9 } else { 0 },
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether a card number of a scheme begins so and is so long. `has_context`: a word says that it
/// is a card, so that schemes count whose numbers look like others.
pub(super) fn is_card(digits: &[u8], has_context: bool) -> bool {
    let start = |count: usize| {
        digits.iter().take(count).fold(0_u32, |number, digit| number * 10 + u32::from(*digit))
    };
    let len = digits.len();
    let is_scheme = match len {
        16 => {
            start(1) == 4
                || (51..=55).contains(&start(2))
                || (2221..=2720).contains(&start(4))
                || start(4) == 6011
                || (644..=649).contains(&start(3))
                || start(2) == 65
                || (3528..=3589).contains(&start(4))
                || start(2) == 62
        }
        15 => matches!(start(2), 34 | 37),
        14 => has_context && ((300..=305).contains(&start(3)) || matches!(start(2), 36 | 38 | 39)),
        13 => has_context && start(1) == 4,
        17..=19 => has_context && (matches!(start(2), 62 | 65) || start(1) == 4),
        _ => false,
    };
    is_scheme && luhn(digits.iter().copied())
}

/// A Medicare beneficiary identifier at the start: its bytes.
pub(super) fn mbi(text: &[u8]) -> Option<usize> {
    const KINDS: &[u8; 11] = b"CAXNAXNAANN";
    const LETTERS: &[u8] = b"ACDEFGHJKMNPQRTUVWXY";
    let has_dashes = text.get(4) == Some(&b'-');
    let mut at = 0;
    for (place, kind) in KINDS.iter().enumerate() {
        if has_dashes && matches!(place, 4 | 7) {
            if text.get(at) != Some(&b'-') {
                return None;
            }
            at += 1;
        }
        let byte = *text.get(at)?;
        let fits = match kind {
            b'C' => (b'1'..=b'9').contains(&byte),
            b'A' => LETTERS.contains(&byte),
            b'N' => byte.is_ascii_digit(),
            _ => byte.is_ascii_digit() || LETTERS.contains(&byte),
        };
        if !fits {
            return None;
        }
        at += 1;
    }
    ends(text, at).then_some(at)
}

/// A DEA registration number at the start: its bytes.
pub(super) fn dea(text: &[u8]) -> Option<usize> {
    const REGISTRANTS: &[u8] = b"ABCDEFGHJKLMPRSTUX";
    let [first, second, digits @ ..] = text else { return None };
    if !REGISTRANTS.contains(first) || !(second.is_ascii_uppercase() || *second == b'9') {
        return None;
    }
    let digits: Vec<u32> =
        digits.iter().take(7).map_while(|byte| char::from(*byte).to_digit(10)).collect();
    let [a, b, c, d, e, f, check] = digits[..] else { return None };
    let sum = a + c + e + 2 * (b + d + f);
    (sum % 10 == check && ends(text, 9)).then_some(9)
}

/// An ICD-10-CM code at the start: its bytes.
pub(super) fn icd10(text: &[u8]) -> Option<usize> {
    let [chapter, digit, third, rest @ ..] = text else { return None };
    let is_code = chapter.is_ascii_uppercase()
        && digit.is_ascii_digit()
        && (third.is_ascii_digit() || third.is_ascii_uppercase());
    if !is_code {
        return None;
    }
    let is_part = |byte: &&u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    let dot = usize::from(rest.first() == Some(&b'.'));
    let more = rest.iter().skip(dot).take(5).take_while(is_part).count();
    let len = match (dot, more) {
        (_, 0) => 3,
        (_, 1..=4) => 3 + dot + more,
        _ => return None,
    };
    ends(text, len).then_some(len)
}

/// A date that begins with the name of a month ("Feb 29th, 1980"; "February 1980" of a day before
/// it) of `word` bytes: its bytes.
pub(super) fn month_date(text: &[u8], word: usize) -> Option<usize> {
    const MONTHS: [&[u8]; 12] = [
        b"january",
        b"february",
        b"march",
        b"april",
        b"may",
        b"june",
        b"july",
        b"august",
        b"september",
        b"october",
        b"november",
        b"december",
    ];
    let name = text.get(..word)?;
    let is_month = |month: &&[u8]| {
        word >= 3 && month.get(..word).is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    if !MONTHS.iter().any(is_month) {
        return None;
    }
    let mut at = blanks(text, word);
    let (mut number, mut len) = digits(text, at);
    if (1..=2).contains(&len) && (1..=31).contains(&number) {
        at += len;
        let ending = text.get(at..at + 2).unwrap_or_default();
        if [b"st", b"nd", b"rd", b"th"].iter().any(|known| known.eq_ignore_ascii_case(ending)) {
            at += 2;
        }
        at = blanks(text, at);
        (number, len) = digits(text, at);
    }
    let is_year = len == 4 && (1900..=2099).contains(&number);
    (is_year && ends(text, at + len)).then_some(at + len)
}

/// Past at most three blanks, commas and full stops.
fn blanks(text: &[u8], at: usize) -> usize {
    let after = text.get(at..).unwrap_or_default();
    at + after.iter().take(3).take_while(|byte| b" ,.".contains(byte)).count()
}

/// A number of at most five digits, and how many they are.
fn digits(text: &[u8], at: usize) -> (u32, usize) {
    let after = text.get(at..).unwrap_or_default();
    let len = after.iter().take(5).take_while(|byte| byte.is_ascii_digit()).count();
    let number = after[..len].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    (number, len)
}

/// Whether a word ends at `at`.
fn ends(text: &[u8], at: usize) -> bool {
    !text.get(at).is_some_and(u8::is_ascii_alphanumeric)
}
