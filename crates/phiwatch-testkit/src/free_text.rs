//! Texts with identifiers, and where they stand: a labelled set for recognisers.
//!
//! Input: a seed. Output: notes as a shop's staff, customers and programs write them, with the
//! identifiers in the forms that people use, the rare ones too, and with numbers that are none:
//! orders, parcels, SKUs, prices, dates, times, addresses of machines. Every value is made up by
//! the seed; those of persons have the form of real ones, because a recogniser must take them so.

use std::ops::Range;

use crate::Random;

/// A text, and its identifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The text.
    pub text: String,
    /// Class and place (bytes), in order.
    pub labels: Vec<(&'static str, Range<usize>)>,
}

/// Classes of labels.
pub const CLASSES: [&str; 12] = [
    "email",
    "phone",
    "ssn",
    "itin",
    "mbi",
    "npi",
    "dea",
    "card",
    "icd10",
    "ndc",
    "record",
    "birth_date",
];

/// Sentences; `{}` stands for the identifier, `{x}` for something that is none.
const SENTENCES: [(&str, &[&str]); 12] = [
    (
        "email",
        &[
            "please write to {} about order {x}",
            "invoice goes to <{}>;",
            "{\"to\":\"{}\",\"ref\":\"{x}\"}",
            "contact={} source=import",
            "New address: {}. The old one bounces.",
        ],
    ),
    (
        "phone",
        &[
            "call {} before delivery",
            "Customer's phone is {}, parcel {x}",
            "tel. {} (after 5 pm)",
            "reach me at {} or by mail",
            "Mobile: {}",
            "{\"telephone\":\"{}\"}",
            "please ring {}",
        ],
    ),
    (
        "ssn",
        &[
            "SSN {}",
            "patient gave {} on the form",
            "social security number: {}, order {x}",
            "{\"ssn\":\"{}\"}",
            "verified with {} at the counter",
        ],
    ),
    ("itin", &["ITIN {}", "taxpayer id is {}", "her TIN: {} (order {x})"]),
    ("mbi", &["Medicare {}", "MBI: {}", "card number {} of the beneficiary", "claim for {} sent"]),
    ("npi", &["NPI {}", "provider: {}", "prescriber NPI# {}, order {x}", "{\"npi\":\"{}\"}"]),
    ("dea", &["DEA {}", "DEA number: {}", "DEA# {} checked, parcel {x}"]),
    (
        "card",
        &[
            "paid with {}",
            "customer read out {} by phone",
            "charge card {} please, order {x}",
            "{\"cc\":\"{}\"}",
            "my visa is {}",
        ],
    ),
    (
        "icd10",
        &["diagnosis {}", "Dx: {}", "ICD-10 {} per physician", "diagnosed with {} last year"],
    ),
    ("ndc", &["NDC {}", "NDC: {} dispensed", "refill NDC# {}, order {x}"]),
    (
        "record",
        &[
            "MRN {}",
            "MRN: {}, order {x}",
            "medical record number {}",
            "member id {}",
            "Patient ID: {}",
            "policy no. {} of the insurer",
            "{\"mrn\":\"{}\"}",
        ],
    ),
    (
        "birth_date",
        &[
            "DOB {}",
            "DOB: {}; order {x}",
            "born {}",
            "date of birth is {}",
            "Birthday {} - send a card",
            "{\"dob\":\"{}\"}",
        ],
    ),
];

/// Sentences without an identifier.
const ORDINARY: [&str; 16] = [
    "order {x} shipped on {d}",
    "tracking {t}",
    "refund of {p} for order {x}",
    "customer asked for a later delivery, {d}",
    "SKU {s} out of stock, replaced by {s}",
    "request {u} from {i}",
    "2026-11-03T10:11:12.{n}Z worker {n} done",
    "size 10-12-14, {n} pieces, lot {n}",
    "call 911 in an emergency, or 555-0123 for the shop",
    "coupon SAVE{n} used, {p} off",
    "transaction {l} settled",
    "delivered {d} at 10:30, signed by the neighbour",
    "invoice {x}-{n} / credit memo {x}",
    "version 2.4.8-p1, build {n}, ticket #{n}",
    "GTIN {g} shelf 12-{n}",
    "member since 2019, patient with us, no complaints",
];

const NAMES: [&str; 8] =
    ["jane.roe", "john_doe", "mary+news", "o'hara", "pat-smith", "x", "info", "a.b.c"];
const DOMAINS: [&str; 6] = [
    "example.com",
    "mail.example.org",
    "clinic.example",
    "example.co.uk",
    "EXAMPLE.NET",
    "sub.domain.example.com",
];

/// `count` texts of a seed.
#[must_use]
pub fn labelled(seed: u64, count: usize) -> Vec<Labelled> {
    let mut random = Random::new(seed);
    (0..count).map(|_| one(&mut random)).collect()
}

fn one(random: &mut Random) -> Labelled {
    let mut note = Labelled { text: String::new(), labels: Vec::new() };
    for _ in 0..random.between(1, 4) {
        if !note.text.is_empty() {
            note.text.push_str(pick(random, &[". ", "\n", "; ", " - "]));
        }
        if random.between(0, 2) == 0 {
            let sentence = pick(random, &ORDINARY);
            fill(random, &mut note.text, sentence);
            continue;
        }
        let (class, sentences) = SENTENCES[random.index(SENTENCES.len())];
        let sentence = sentences[random.index(sentences.len())];
        let (before, after) = sentence.split_once("{}").unwrap();
        fill(random, &mut note.text, before);
        let start = note.text.len();
        note.text.push_str(&value(random, class));
        note.labels.push((class, start..note.text.len()));
        fill(random, &mut note.text, after);
    }
    note
}

fn pick<'a>(random: &mut Random, list: &[&'a str]) -> &'a str {
    list[random.index(list.len())]
}

fn digits(random: &mut Random, count: usize) -> String {
    (0..count).map(|_| char::from(b'0' + u8::try_from(random.between(0, 10)).unwrap())).collect()
}

/// A number of that range, with leading zeros.
fn number(random: &mut Random, low: u64, high: u64, width: usize) -> String {
    format!("{:0width$}", random.between(low, high))
}

/// Writes a sentence; `{x}` and the like become things that are no identifiers.
fn fill(random: &mut Random, out: &mut String, sentence: &str) {
    let mut letters = sentence.chars().peekable();
    while let Some(letter) = letters.next() {
        let key = (letter == '{').then(|| letters.peek().copied()).flatten();
        match key.filter(char::is_ascii_lowercase) {
            None => out.push(letter),
            Some(key) => {
                out.push_str(&noise(random, key));
                letters.next();
                // The bracket that closes.
                letters.next();
            }
        }
    }
}

fn noise(random: &mut Random, key: char) -> String {
    match key {
        'x' => format!("{}{}", random.between(1, 4), number(random, 0, 100_000_000, 8)),
        'd' => {
            let (year, month, day) =
                (random.between(2020, 2028), random.between(1, 13), random.between(1, 29));
            match random.between(0, 3) {
                0 => format!("{year}-{month:02}-{day:02}"),
                1 => format!("{month}/{day}/{year}"),
                _ => format!("{day}.{month}.{year}"),
            }
        }
        't' => match random.between(0, 3) {
            0 => format!("1Z999AA1{}", digits(random, 10)),
            1 => format!("94001{}", digits(random, 17)),
            _ => format!("7{}", digits(random, 11)),
        },
        'p' => format!("{}.{:02} USD", random.between(1, 2000), random.between(0, 100)),
        's' => {
            let letter = char::from(b'A' + u8::try_from(random.between(0, 26)).unwrap());
            format!("{letter}{}.{}", random.between(10, 100), random.between(0, 10))
        }
        'u' => {
            let hex = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
            [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| part(&hex, range)).join("-")
        }
        'i' => format!("203.0.113.{}", random.between(1, 255)),
        'l' => format!("6{}", digits(random, 10)),
        'g' => format!("0{}", digits(random, 13)),
        _ => digits(random, 5),
    }
}

fn value(random: &mut Random, class: &str) -> String {
    match class {
        "email" => format!("{}@{}", pick(random, &NAMES), pick(random, &DOMAINS)),
        "phone" => phone(random),
        "ssn" => {
            let area = loop {
                let area = random.between(1, 900);
                if area != 666 {
                    break area;
                }
            };
            let sign = pick(random, &["-", "-", "-", " "]);
            let group = number(random, 1, 100, 2);
            format!("{area:03}{sign}{group}{sign}{}", number(random, 1, 10_000, 4))
        }
        "itin" => {
            let group = pick(random, &["50", "65", "70", "88", "90", "92", "94", "99"]);
            format!("9{}-{group}-{}", digits(random, 2), number(random, 1, 10_000, 4))
        }
        "mbi" => mbi(random),
        "npi" => {
            let stem = format!("{}{}", random.between(1, 3), digits(random, 8));
            let check = luhn_check(&format!("80840{stem}"));
            format!("{stem}{check}")
        }
        "dea" => dea(random),
        "card" => card(random),
        "icd10" => {
            let letter = pick(random, &["A", "C", "E", "F", "G", "I", "J", "M", "S", "Z"]);
            let stem = format!("{letter}{}", number(random, 0, 100, 2));
            match random.between(0, 3) {
                0 => stem,
                1 => format!("{stem}.{}", random.between(0, 10)),
                _ => format!("{stem}.{}A", number(random, 0, 100, 2)),
            }
        }
        "ndc" => match random.between(0, 3) {
            0 => [digits(random, 5), digits(random, 4), digits(random, 2)].join("-"),
            1 => [digits(random, 4), digits(random, 4), digits(random, 2)].join("-"),
            _ => digits(random, 11),
        },
        "record" => match random.between(0, 4) {
            0 => digits(random, 8),
            1 => format!("TEST-MRN-{}", digits(random, 6)),
            2 => format!("W{}", digits(random, 9)),
            _ => format!("{}-{}", digits(random, 3), digits(random, 5)),
        },
        _ => birth_date(random),
    }
}

fn phone(random: &mut Random) -> String {
    let code = |random: &mut Random| loop {
        let code = number(random, 200, 1000, 3);
        // No code ends in 11, and 555 is kept for fiction.
        if !code.ends_with("11") && code != "555" {
            break code;
        }
    };
    let (area, exchange, line) = (code(random), code(random), digits(random, 4));
    match random.between(0, 9) {
        0 => format!("({area}) {exchange}-{line}"),
        1 => format!("{area}-{exchange}-{line}"),
        2 => format!("{area}.{exchange}.{line}"),
        3 => format!("+1 {area} {exchange} {line}"),
        4 => format!("1-{area}-{exchange}-{line}"),
        5 => format!("{area}{exchange}{line}"),
        6 => format!("+44 20 {} {}", digits(random, 4), digits(random, 4)),
        7 => format!("+49 {} {}", random.between(150, 180), digits(random, 7)),
        _ => format!("0{} {}", random.between(20, 99), digits(random, 7)),
    }
}

fn mbi(random: &mut Random) -> String {
    const LETTERS: &[u8] = b"ACDEFGHJKMNPQRTUVWXY";
    let mut text = String::new();
    let has_dashes = random.between(0, 2) == 0;
    for (place, kind) in "CAXNAXNAANN".chars().enumerate() {
        if has_dashes && matches!(place, 4 | 7) {
            text.push('-');
        }
        let is_letter = kind == 'A' || (kind == 'X' && random.between(0, 2) == 0);
        if is_letter {
            text.push(char::from(LETTERS[random.index(LETTERS.len())]));
        } else {
            let low = u64::from(kind == 'C');
            text.push_str(&random.between(low, 10).to_string());
        }
    }
    text
}

fn dea(random: &mut Random) -> String {
    let letters = pick(random, &["A", "B", "F", "G", "M"]);
    let second = char::from(b'A' + u8::try_from(random.between(0, 26)).unwrap());
    let stem = digits(random, 6);
    let digit = |at: usize| u32::from(stem.as_bytes()[at] - b'0');
    let sum = digit(0) + digit(2) + digit(4) + 2 * (digit(1) + digit(3) + digit(5));
    format!("{letters}{second}{stem}{}", sum % 10)
}

fn card(random: &mut Random) -> String {
    let (start, len): (&str, usize) =
        [("4", 16), ("53", 16), ("2300", 16), ("37", 15), ("6011", 16), ("3530", 16)]
            [random.index(6)];
    let stem = format!("{start}{}", digits(random, len - 1 - start.len()));
    let whole = format!("{stem}{}", luhn_check(&stem));
    let sign = pick(random, &["", " ", "-"]);
    let groups: &[usize] = if len == 15 { &[4, 6, 5] } else { &[4, 4, 4, 4] };
    let mut at = 0;
    let parts: Vec<String> = groups
        .iter()
        .map(|len| {
            at += len;
            part(&whole, at - len..at)
        })
        .collect();
    parts.join(sign)
}

/// A part of a text of ASCII letters.
fn part(text: &str, range: Range<usize>) -> String {
    text.get(range).unwrap().to_owned()
}

/// The check digit of ISO 7812 (Luhn).
fn luhn_check(stem: &str) -> u32 {
    let sum: u32 = stem
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    (10 - sum % 10) % 10
}

fn birth_date(random: &mut Random) -> String {
    const MONTHS: [&str; 4] = ["Feb", "March", "June", "December"];
    let (year, month, day) =
        (random.between(1925, 2024), random.between(1, 13), random.between(1, 29));
    match random.between(0, 6) {
        0 => format!("{year}-{month:02}-{day:02}"),
        1 => format!("{month:02}/{day:02}/{year}"),
        2 => format!("{month}/{day}/{:02}", year % 100),
        3 => format!("{day}.{month}.{year}"),
        4 => format!("{} {day}, {year}", pick(random, &MONTHS)),
        _ => format!("{day} {} {year}", pick(random, &MONTHS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_where_they_say_and_seeds_decide() {
        let set = labelled(1, 500);
        assert_eq!(set, labelled(1, 500));
        assert_ne!(set, labelled(2, 500));
        for class in CLASSES {
            let of = |note: &Labelled| note.labels.iter().filter(|(its, _)| *its == class).count();
            assert!(set.iter().map(of).sum::<usize>() > 10, "{class}");
        }
        for note in &set {
            for (_, range) in &note.labels {
                assert!(note.text.get(range.clone()).is_some_and(|value| !value.is_empty()));
            }
        }
    }
}
