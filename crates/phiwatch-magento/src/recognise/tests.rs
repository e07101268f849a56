use super::*;

/// Classes in the order of their ends, in short.
fn classes(text: &str) -> Vec<Identifier> {
    let mut all = Vec::new();
    recognise_each(text.as_bytes(), |class, _| all.push(class));
    all
}

#[track_caller]
fn check(text: &str, want: &[Identifier]) {
    assert_eq!(classes(text), want, "{text}");
}

use Identifier::{
    BirthDate, Card, Dea, Email, Icd10, Itin, Mbi, Ndc, Npi, Phone, RecordNumber, Ssn,
};

#[test]
fn each_class_is_recognised() {
    for (text, want) in [
        ("write to jane.roe+x@mail.example.com, please", &[Email][..]),
        ("<jane@example.com>;joe@example.org.", &[Email, Email]),
        ("call (212) 736-5000 or 1-800-273-8255", &[Phone, Phone]),
        ("tel 2127365000", &[Phone]),
        ("+44 20 7946 0958", &[Phone]),
        ("phone: 0664 1234567", &[Phone]),
        ("219-09-9999", &[Ssn]),
        ("SSN 219099999", &[Ssn]),
        ("SSN 219-09-9999, order 312345678", &[Ssn]),
        ("987-65-4320", &[Itin]),
        ("card 1EG4-TE5-MK73 or 1EG4TE5MK73", &[Mbi, Mbi]),
        ("NPI: 1234567893", &[Npi]),
        ("DEA# AB1234563", &[Dea]),
        ("paid with 4111 1111 1111 1111", &[Card]),
        ("5555555555554444", &[Card]),
        ("amex 3782-822463-10005", &[Card]),
        ("Dx: E11.9, I10", &[Icd10, Icd10]),
        ("NDC 0002-8215-01", &[Ndc]),
        ("MRN: 00123456", &[RecordNumber]),
        ("MRN 123-45678, order 312345678", &[RecordNumber]),
        ("MRN 1-2", &[]),
        ("Member ID W1234-56789", &[RecordNumber]),
        ("\"mrn\":\"A0012345\"", &[RecordNumber]),
        ("medical record number is 448812", &[RecordNumber]),
        ("DOB 02/29/1980", &[BirthDate]),
        ("born on 1980-02-29", &[BirthDate]),
        ("date of birth: 29.2.1980", &[BirthDate]),
        ("birthday Feb 29th, 1980", &[BirthDate]),
        ("born 29 February 1980", &[BirthDate]),
    ] {
        check(text, want);
    }
}

#[test]
fn look_alikes_are_passed_over() {
    for text in [
        "order 100000123 of 2026-01-05, 3 x SKU E11.9",
        "078-05-1120 and 123 45 6789 are samples",
        "000 12 3456, 666 12 3456, 219 00 9999, 219 09 0000, 900 01 1234",
        "ref 12-219-09-9999-1",
        "tracking 1Z999AA10123456784, 9400110200881234567890",
        "4111111111111112",
        "0000000000000000",
        "call 555-0100 or 212-555-0123, 911, 311",
        "1234567893",
        "AB1234563",
        "batch AB1234563 lot 0002-8215-01",
        "delivered 02/29/1980",
        "10.0.0.1 12.5 3/4 5-10 items",
        "@ home, a@b, foo@localhost, @handle",
        "member since 2019, patient no more",
        "2026-01-05T10:11:12.123456Z",
        "f3b0c442-98fc-1c14-9afb-f4c8996fb924",
    ] {
        check(text, &[]);
    }
}

#[test]
fn counts_saturate_and_texts_are_cut() {
    let many = "219-09-9999 ".repeat(70_000);
    let found = recognise(many.as_bytes());
    assert_eq!(usize::from(found.count(Ssn)), TEXT_BYTES_MAX / 12 + 1 - 1);
    assert!(recognise(b"").is_empty());
    assert!(recognise(b"no digits here").is_empty());
    let ordinary = recognise(b"jane@example.com, tel 2127365000");
    assert!(!ordinary.is_empty() && ordinary.without_ordinary().is_empty());
}

#[test]
fn any_bytes_are_read_in_linear_time() {
    for part in ["1", "1-", "9 ", "a@", "@", "(212) ", "mrn ", "A1", "\u{e9}1", "1EG4-"] {
        let text = part.repeat(TEXT_BYTES_MAX / part.len() + 1);
        let mut last = 0;
        recognise_each(text.as_bytes(), |_, range| {
            assert!(range.start < range.end && last <= range.end);
            last = range.end;
        });
    }
}
