//! Values that look like real identifiers of persons, found in text.
//!
//! All patient data in the repository is made up. Values that a rule must take for real come from
//! the one list in fixtures/README.md; any other is refused, so that nobody's number slips in.

/// Something of the shape of a social security or payment card number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// 1-based line.
    pub line: usize,
    /// What was found.
    pub value: String,
}

/// Social security numbers (`ddd-dd-dddd`) and card numbers (13 to 19 digits with a network's
/// prefix and a valid check digit) in a text.
#[must_use]
pub fn suspects(text: &str) -> Vec<Suspect> {
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in line.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-')) {
            if is_social_security_number(word) || is_card_number(word) {
                out.push(Suspect { line: index + 1, value: word.to_owned() });
            }
        }
    }
    out
}

fn is_social_security_number(word: &str) -> bool {
    let mut parts = word.split('-');
    let lengths = [3, 2, 4];
    lengths.iter().all(|length| {
        parts.next().is_some_and(|part| {
            part.len() == *length && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    }) && parts.next().is_none()
}

fn is_card_number(word: &str) -> bool {
    let digits: Vec<u32> = word.chars().filter_map(|letter| letter.to_digit(10)).collect();
    if digits.len() != word.len() || !(13..=19).contains(&digits.len()) {
        return false;
    }
    // Networks' prefixes; times in microseconds and sizes begin with 1 or 2 and stay out.
    let is_network = matches!(digits.as_slice(), [4, ..] | [5, 1..=5, ..] | [3, 4 | 7, ..])
        || digits.starts_with(&[6, 0, 1, 1])
        || digits.starts_with(&[6, 5]);
    // Luhn: double every second digit from the right.
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, twice) if twice > 9 => twice - 9,
            (_, twice) => twice,
        })
        .sum();
    is_network && sum.is_multiple_of(10)
}
