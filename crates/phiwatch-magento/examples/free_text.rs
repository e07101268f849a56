//! Scores the recognisers on the labelled set and measures their speed: `make bench-phi`.
//!
//! Writes the figures between the marks of the file that its argument names; without one, prints
//! them.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a measurement, not a part of the program"
)]

use std::{fmt::Write, fs, time::Instant};

use phiwatch_magento::{Identifier, recognise, recognise_each};
use phiwatch_testkit::free_text::{CLASSES, Labelled, labelled};

/// Seeds of the scored sets; others were used while the recognisers were written.
const SEEDS: std::ops::Range<u64> = 9_000..9_010;
/// Texts of each.
const TEXTS: usize = 3_000;

/// Published figures (facts and sources: docs/free-text.md), by class.
const PUBLISHED: [(&str, &str); 4] = [
    ("email", "1.00 / 1.00"),
    ("phone", "1.00 / .163"),
    ("ssn", "1.00 / 1.00"),
    ("card", ".986 / 1.00"),
];

fn main() {
    let sets: Vec<Vec<Labelled>> = SEEDS.map(|seed| labelled(seed, TEXTS)).collect();
    let mut report = scores(&sets);
    report += &speed(&sets);
    match std::env::args().nth(1) {
        None => println!("{report}"),
        Some(path) => {
            let text = fs::read_to_string(&path).unwrap();
            let (start, end) = ("<!-- figures: begin -->\n", "<!-- figures: end -->");
            let (before, rest) = text.split_once(start).unwrap();
            let (_, after) = rest.split_once(end).unwrap();
            fs::write(&path, format!("{before}{start}{report}{end}{after}")).unwrap();
        }
    }
}

/// The class's name in the labelled set.
fn label(class: Identifier) -> &'static str {
    CLASSES[class as usize]
}

fn scores(sets: &[Vec<Labelled>]) -> String {
    let (mut hits, mut found, mut labels) = ([0_u64; 12], [0_u64; 12], [0_u64; 12]);
    for note in sets.iter().flatten() {
        let mut open = note.labels.clone();
        for (class, _) in &open {
            labels[CLASSES.iter().position(|known| known == class).unwrap()] += 1;
        }
        recognise_each(note.text.as_bytes(), |class, range| {
            found[class as usize] += 1;
            let is_it = |(its, place): &(&str, std::ops::Range<usize>)| {
                *its == label(class) && place.start < range.end && range.start < place.end
            };
            if let Some(at) = open.iter().position(is_it) {
                open.remove(at);
                hits[class as usize] += 1;
            }
        });
    }
    let texts: usize = sets.iter().map(Vec::len).sum();
    let mut out = format!(
        "{texts} texts, seeds {} to {}; an identifier counts as found if its class is right and the \
         places overlap.\n\n| class | labels | precision | recall | published (precision / recall) |\n\
         |---|---|---|---|---|\n",
        SEEDS.start,
        SEEDS.end - 1,
    );
    let share = |part: u64, all: u64| if all == 0 { 1.0 } else { part as f64 / all as f64 };
    let mut row = |name: &str, hits: u64, found: u64, labels: u64, published: &str| {
        let (precision, recall) = (share(hits, found), share(hits, labels));
        writeln!(out, "| {name} | {labels} | {precision:.4} | {recall:.4} | {published} |")
            .unwrap();
    };
    for class in Identifier::ALL {
        let at = class as usize;
        let published = PUBLISHED.iter().find(|(name, _)| *name == label(class));
        let published = published.map_or("", |(_, figures)| figures);
        row(class.name(), hits[at], found[at], labels[at], published);
    }
    let sum = |counts: [u64; 12]| counts.iter().sum::<u64>();
    row("all", sum(hits), sum(found), sum(labels), ".870 / .839 (Presidio, tuned)");
    out
}

/// Nanoseconds a byte, the best of five rounds: texts with identifiers, and those without.
fn speed(sets: &[Vec<Labelled>]) -> String {
    let texts: Vec<&[u8]> = sets.iter().flatten().map(|note| note.text.as_bytes()).collect();
    let plain = "Please leave the parcel with the neighbour, thank you very much. ".repeat(30);
    let plain = vec![plain.as_bytes(); 2_000];
    let mut out = String::from("\n| text | MB/s |\n|---|---|\n");
    for (name, texts) in [("the labelled set", &texts), ("sentences without a digit", &plain)] {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let best = (0..5)
            .map(|_| {
                let start = Instant::now();
                let found = texts.iter().filter(|text| !recognise(text).is_empty()).count();
                std::hint::black_box(found);
                start.elapsed().as_secs_f64()
            })
            .fold(f64::MAX, f64::min);
        writeln!(out, "| {name} | {:.0} |", bytes as f64 / best / 1e6).unwrap();
    }
    out
}
