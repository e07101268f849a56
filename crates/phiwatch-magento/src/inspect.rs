//! A look at the values of one row: seeded persons, ciphertext, identifiers in text, and values of
//! persons where they do not belong.
//!
//! Input: a row of a bound table, after it was classified. Output: [`Mark`]s; tokens and forms that
//! the row taught, which count when the transaction is committed.
//!
//! # Invariants
//! - No value leaves; nothing is kept but tokens ([`crate::values`]) and counts of forms.
//! - What a transaction taught is kept at its commit only.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::Op;

use crate::{
    Because, Cleartext, Fact, Mark, Observation, PhiClasses, Subject, ValuePlace, ValueSeen,
    binding::{Binding, Kind},
    catalog::{Catalog, Entity, Rule, Step},
    cipher::{self, Form},
    policy::{AttributeOf, Duty, Inspected, Watch},
    recognise::{self, Identifier},
    row::Row,
    shop::Shop,
    taint::{Seen, Taint},
    values::{self, Value, ValueKind},
};

/// Addresses of one value that are looked up.
const EMAILS_MAX: usize = 1_024;
/// Clean rows between two marks after which they are told, so that shares stay right.
const ROWS_TOLD: u32 = 64;
/// Values that a column must have held as ciphertext before anything else is a finding.
const MAGENTO_MIN: u16 = 20;
const RANDOM_MIN: u16 = 50;
/// Columns with a history, per shop.
pub(crate) const HISTORIES_MAX: usize = 4_096;
/// Forms and attributes of one transaction that are learned.
const LESSONS_MAX: usize = 65_536;

/// A column, and of EAV tables the attribute.
pub(crate) type ShapeKey = (Arc<str>, Arc<str>, u32);

/// An attribute by its code.
pub(crate) type Attribute = (AttributeOf, String);

/// What a column was seen to hold. Begins with its first ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct History {
    pub(crate) magento: u16,
    pub(crate) random: u16,
    pub(crate) plain: u16,
}

impl History {
    pub(crate) fn add(&mut self, form: Form) {
        let count = match form {
            Form::Magento => &mut self.magento,
            Form::Random => &mut self.random,
            Form::Plain => &mut self.plain,
            Form::Corrupt | Form::Empty => return,
        };
        *count = count.saturating_add(1);
    }

    /// Whether a plain value is a finding. Once in fifty may be plain: the finding itself must not
    /// end the history.
    fn expects(self, value: &[u8]) -> bool {
        let is_mostly = |count: u16| u32::from(self.plain) * 50 <= u32::from(count);
        // Hashes and tokens have the entropy of ciphertext now and then: only what has another
        // shape altogether is told of columns with a foreign form.
        let is_other = value.len() <= 24 || value.iter().any(|byte| b" @,".contains(byte));
        (self.magento >= MAGENTO_MIN && is_mostly(self.magento))
            || (self.random >= RANDOM_MIN && is_mostly(self.random) && is_other)
    }
}

/// What the open transaction taught, and where its looks stand.
#[derive(Debug, Default)]
pub(crate) struct Tour {
    /// Index of the shop, column, form.
    shapes: Vec<(usize, ShapeKey, Form)>,
    /// Index of the shop, attribute id, attribute if policy names it.
    attributes: Vec<(usize, u32, Option<Attribute>)>,
    /// By table handle: rows looked at since the last mark; whether there was one.
    rows: BTreeMap<u32, (u32, bool)>,
}

impl Tour {
    /// Whether there is nothing to keep or forget.
    pub(crate) fn is_idle(&self) -> bool {
        self.shapes.is_empty() && self.attributes.is_empty() && self.rows.is_empty()
    }

    pub(crate) fn discard(&mut self) {
        *self = Self::default();
    }

    /// The transaction is committed: what it taught stands.
    pub(crate) fn commit(&mut self, shops: &mut [Shop]) {
        for (at, key, form) in self.shapes.drain(..) {
            let Some(shop) = shops.get_mut(at) else { continue };
            if let Some(history) = shop.shapes.get_mut(&key) {
                history.add(form);
            } else if matches!(form, Form::Magento | Form::Random)
                && shop.shapes.len() < HISTORIES_MAX
            {
                shop.shapes.entry(key).or_default().add(form);
            }
        }
        for (at, id, of) in self.attributes.drain(..) {
            let Some(shop) = shops.get_mut(at) else { continue };
            match of {
                Some(of) => shop.attributes.insert(id, of),
                None => shop.attributes.remove(&id),
            };
        }
        self.rows.clear();
    }
}

/// One row.
pub(crate) struct Inspector<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) watch: &'a Watch,
    pub(crate) binding: &'a Binding,
    pub(crate) handle: u32,
    pub(crate) row: &'a Row<'a>,
    pub(crate) shop: &'a Shop,
    pub(crate) taint: &'a mut Taint,
    pub(crate) tour: &'a mut Tour,
}

impl Inspector<'_> {
    /// Looks at the row and pushes what it says. `base`: the row's observation; its `op` is empty
    /// if it was pushed already.
    pub(crate) fn run(&mut self, base: Observation, out: &mut Vec<Observation>) {
        let mut teller = Teller { base, out };
        self.canary_customer(&mut teller);
        let binding = self.binding;
        match binding.kind {
            Kind::Known(Some(Rule::Setting)) => return self.setting(&mut teller),
            Kind::Known(Some(Rule::Attribute)) => return self.attribute(),
            _ => {}
        }
        let mut person = None;
        let mut first: Option<&Inspected> = None;
        for column in &binding.inspected {
            if column.duty.has(Duty::NAME_PART) && column.is_text {
                match first.take() {
                    Some(other) => self.learn_name(&[other, column]),
                    None => first = Some(column),
                }
            }
            self.column(column, &mut person, &mut teller);
        }
        if matches!(binding.kind, Kind::Copy { .. } | Kind::Stranger) {
            self.row_of_stranger(person, &mut teller);
        }
    }

    fn column(&mut self, column: &Inspected, person: &mut Option<Hit>, teller: &mut Teller<'_>) {
        let duty = column.duty;
        let is_written = self.row.is_written(column.slot);
        if duty.has(Duty::CIPHER.and(Duty::SHAPE)) && is_written {
            self.cipher(column, teller);
        }
        if !column.is_text {
            return;
        }
        if duty.has(Duty::EMAIL.and(Duty::PHONE).and(Duty::NAME)) {
            self.learn(column, teller);
        }
        if !is_written || !duty.has(Duty::FREE.and(Duty::SINK).and(Duty::BODY)) {
            return;
        }
        let Some(text) = self.row.text_now(column.slot).filter(|text| !text.is_empty()) else {
            return;
        };
        if duty.has(Duty::FREE) && !self.is_encrypted_attribute() {
            self.free_text(column, &text, teller);
        }
        if duty.has(Duty::SINK) {
            self.sink(&text, person, teller);
        } else if duty.has(Duty::BODY) {
            self.body(&text, teller);
        } else if duty.has(Duty::FREE) && !self.watch.emails.is_empty() {
            values::emails(&text, EMAILS_MAX, |address| self.canary_email(address, teller));
        }
    }

    /// A row that is, or belongs to, a seeded customer.
    fn canary_customer(&self, teller: &mut Teller<'_>) {
        if self.watch.customers.is_empty() || self.binding.info.is_grid {
            return;
        }
        let Some(number) = self.customers().find_map(|id| self.watch.customers.get(&id)) else {
            return;
        };
        let is_seeding = self.is_seeding();
        teller.tell(
            Mark::Canary { number: *number, is_email: false, op: self.row.op, is_seeding },
            None,
        );
    }

    /// Customers that the row names, before and after.
    fn customers(&self) -> impl Iterator<Item = u32> + '_ {
        let paths = self.binding.subject.iter().chain(&self.binding.tenant);
        paths.flat_map(|(step, slot)| {
            let owner = |id: u32| match step {
                Step::Entity(Entity::Customer) => Some(id),
                Step::Entity(entity) => self.shop.owner(*entity, id).map(|owner| owner.customer),
                Step::Website | Step::Store | Step::Email => None,
            };
            let (now, old) = (self.row.now(*slot).key(), self.row.old(*slot).key());
            now.and_then(owner).into_iter().chain(old.and_then(owner))
        })
    }

    /// Whether the row makes a customer.
    fn is_seeding(&self) -> bool {
        self.row.op == Op::Create && self.binding.kind == Kind::Known(Some(Rule::Customer))
    }

    fn canary_email(&self, address: &[u8], teller: &mut Teller<'_>) {
        let Some(value) = self.watch.hasher.email(address) else { return };
        if let Some(number) = self.watch.emails.get(&value.token) {
            let is_seeding = self.is_seeding() && self.watch.customers.is_empty();
            teller.tell(
                Mark::Canary { number: *number, is_email: true, op: self.row.op, is_seeding },
                None,
            );
        }
    }

    /// Learns addresses, numbers and full names of persons.
    fn learn(&mut self, column: &Inspected, teller: &mut Teller<'_>) {
        if !self.is_learned(column) {
            return;
        }
        let Some(text) = self.row.text_now(column.slot) else { return };
        let hasher = &self.watch.hasher;
        let value = if column.duty.has(Duty::EMAIL) {
            if !self.watch.emails.is_empty() {
                self.canary_email(&text, teller);
            }
            hasher.email(&text)
        } else if column.duty.has(Duty::PHONE) {
            hasher.phone(&text)
        } else {
            hasher.name(&[&text])
        };
        if let Some(value) = value {
            self.taint.learn(value.token);
        }
    }

    fn learn_name(&mut self, columns: &[&Inspected; 2]) {
        if !columns.iter().any(|column| self.is_learned(column)) {
            return;
        }
        let [first, last] = columns.map(|column| self.row.text_now(column.slot));
        if let (Some(first), Some(last)) = (first, last)
            && let Some(value) = self.watch.hasher.name(&[&first, &last])
        {
            self.taint.learn(value.token);
        }
    }

    /// Orders and quotes are written again and again: their values are learned when they change.
    fn is_learned(&self, column: &Inspected) -> bool {
        use crate::TableClass;
        !matches!(self.binding.info.class, TableClass::Order | TableClass::Quote)
            || self.row.is_written(column.slot)
    }

    /// The attribute that a row of an EAV table is about; 0 for other tables.
    fn attribute_id(&self) -> u32 {
        match self.binding.kind {
            Kind::Known(Some(Rule::CustomerAttribute | Rule::AddressAttribute)) => {
                self.row.now(self.binding.key(1)).key().unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn is_encrypted_attribute(&self) -> bool {
        !self.shop.attributes.is_empty() && self.shop.attributes.contains_key(&self.attribute_id())
    }

    fn cipher(&mut self, column: &Inspected, teller: &mut Teller<'_>) {
        let id = self.attribute_id();
        let attribute = self.shop.attributes.get(&id).filter(|_| id != 0);
        let is_policy = column.duty.has(Duty::CIPHER) || attribute.is_some();
        let words = attribute.map(|(of, code)| {
            let of = if *of == AttributeOf::Customer { "customer" } else { "address" };
            Arc::from(format!("{of} attribute {code}"))
        });
        let name: Arc<str> = words.unwrap_or_else(|| Arc::clone(&column.name));
        if !column.is_text {
            // A number or a date is no ciphertext.
            if is_policy && self.row.has_value(column.slot) {
                let (form, because) = (Cleartext::Plain, Because::Policy);
                teller.tell(Mark::Cleartext { column: name, form, because }, None);
            }
            return;
        }
        let Some(value) = self.row.text_now(column.slot) else { return };
        let value = value.trim_ascii();
        if matches!(value, b"" | b"[]" | b"{}" | b"null") {
            return;
        }
        let key = || (Arc::clone(&self.binding.info.name), Arc::clone(&column.name), id);
        let history = match self.shop.shapes.is_empty() {
            true => None,
            false => self.shop.shapes.get(&key()).copied(),
        };
        // Nothing to judge, and too short to begin a history with.
        if !is_policy && history.is_none() && value.len() < 32 && self.row.op == Op::Create {
            return;
        }
        let form = cipher::form(value);
        if history.is_some() || matches!(form, Form::Magento | Form::Random) {
            let lesson = (self.binding.shop, key(), form);
            if self.tour.shapes.len() < LESSONS_MAX {
                self.tour.shapes.push(lesson);
            }
        }
        let form = match form {
            Form::Magento | Form::Random | Form::Empty => return,
            Form::Corrupt => Cleartext::Corrupt,
            Form::Plain if is_card(value) => Cleartext::Card,
            Form::Plain => Cleartext::Plain,
        };
        let was_sealed = || {
            let before = self.row.text_old(column.slot);
            self.row.op == Op::Update
                && before.is_some_and(|before| cipher::form(&before) == Form::Magento)
        };
        let because = if is_policy {
            Because::Policy
        } else if was_sealed() {
            Because::Before
        } else if history.is_some_and(|history| history.expects(value)) {
            Because::History
        } else {
            return;
        };
        teller.tell(Mark::Cleartext { column: name, form, because }, None);
    }

    /// `core_config_data`: a setting that is encrypted by its path, or was before.
    fn setting(&mut self, teller: &mut Teller<'_>) {
        let (path, value) = (self.binding.key(2), self.binding.key(3));
        if !self.row.is_written(value) {
            return;
        }
        let Some(text) = self.row.text_now(value) else { return };
        let form = match cipher::form(&text) {
            Form::Magento | Form::Random | Form::Empty => return,
            Form::Corrupt => Cleartext::Corrupt,
            Form::Plain if is_card(&text) => Cleartext::Card,
            Form::Plain => Cleartext::Plain,
        };
        let before = self.row.text_old(value);
        let was_sealed = before.is_some_and(|before| cipher::form(&before) == Form::Magento);
        let Some(path) = self.row.text_now(path) else { return };
        let path = String::from_utf8_lossy(&path);
        let known = self.catalog.encrypted_setting(&path);
        let (column, because) = match known {
            Some(pattern) => (format!("value of {pattern}"), Because::Policy),
            None if was_sealed => ("value".to_owned(), Because::Before),
            None => return,
        };
        teller.tell(Mark::Cleartext { column: column.into(), form, because }, None);
    }

    /// `eav_attribute`: which id an attribute of the policy has.
    fn attribute(&mut self) {
        if self.watch.attributes.is_empty() || self.tour.attributes.len() >= LESSONS_MAX {
            return;
        }
        let key = |n: usize| self.binding.key(n);
        let Some(id) = self.row.now(key(2)).key() else { return };
        let code =
            self.row.text_now(key(1)).map(|code| String::from_utf8_lossy(&code).into_owned());
        let of = self.row.now(key(0)).key().and_then(|entity| self.shop.attribute_of(entity));
        let named = of.zip(code).filter(|named| self.watch.attributes.contains(named));
        let named = named.filter(|_| self.row.op != Op::Delete);
        if named.is_some() || self.shop.attributes.contains_key(&id) {
            self.tour.attributes.push((self.binding.shop, id, named));
        }
    }

    fn free_text(&self, column: &Inspected, text: &[u8], teller: &mut Teller<'_>) {
        let found = recognise::recognise(text);
        let found = if column.duty.has(Duty::STRICT) {
            found
        } else if column.duty.has(Duty::FIELD) {
            found.hard()
        } else {
            found.without_ordinary()
        };
        if !found.is_empty() {
            let column = Arc::clone(&column.name);
            teller.tell(Mark::Identifiers { column, found }, None);
        }
    }

    /// A value in a table outside the catalogue.
    fn sink(&self, text: &[u8], person: &mut Option<Hit>, teller: &mut Teller<'_>) {
        let mut hit = |new: Hit| {
            if person.as_ref().is_none_or(|old| new.order() > old.order()) {
                *person = Some(new);
            }
        };
        if text.contains(&b'@') {
            let is_document = matches!(text.first(), Some(b'{' | b'['));
            let mut count = 0;
            values::emails(text, EMAILS_MAX, |address| {
                if !self.watch.emails.is_empty() {
                    self.canary_email(address, teller);
                }
                count += 1;
                let is_whole = is_document || address.len() + 8 >= text.len();
                let place = if is_whole { ValuePlace::Table } else { ValuePlace::Text };
                if let Some(value) = self.watch.hasher.email(address) {
                    let new = self.hit(value, place);
                    // Further persons of one row are told apart from its own.
                    if count > 1 && new.seen != Seen::No {
                        teller.value(&new, 0);
                    } else {
                        hit(new);
                    }
                }
            });
            return;
        }
        let hasher = &self.watch.hasher;
        if let Some(value) = hasher.phone(text).or_else(|| hasher.name(&[text])) {
            let new = self.hit(value, ValuePlace::Table);
            if new.seen != Seen::No {
                hit(new);
            }
        }
    }

    fn hit(&self, value: Value, place: ValuePlace) -> Hit {
        Hit { value, place, seen: self.taint.look(value.token) }
    }

    /// First and last names in columns of their own.
    fn names_apart(&self) -> Option<Hit> {
        let sinks = self.binding.inspected.iter().filter(|c| c.duty.has(Duty::SINK) && c.is_text);
        let mut last: Option<std::borrow::Cow<'_, [u8]>> = None;
        for column in sinks {
            let text = self.row.text_now(column.slot);
            let text = text.filter(|text| values::is_name(text));
            if let (Some(a), Some(b)) = (&last, &text)
                && let Some(value) = self.watch.hasher.name(&[a, b])
            {
                let hit = self.hit(value, ValuePlace::Table);
                if hit.seen != Seen::No {
                    return Some(hit);
                }
            }
            last = text;
        }
        None
    }

    /// The end of a row outside the catalogue: its person is told, and rows without one now and
    /// then.
    fn row_of_stranger(&mut self, person: Option<Hit>, teller: &mut Teller<'_>) {
        if self.row.op == Op::Delete {
            return;
        }
        let person = person.or_else(|| self.names_apart());
        // What another application holds is not ours to judge, unless it is the shop's.
        let person = person.filter(|hit| self.shop.is_shop || hit.seen != Seen::No);
        let rows = self.tour.rows.entry(self.handle).or_default();
        rows.0 += 1;
        if let Some(hit) = person {
            rows.1 = true;
            let rows = std::mem::take(&mut rows.0);
            teller.value(&hit, rows);
        } else if rows.1 && rows.0 >= ROWS_TOLD {
            let rows = std::mem::take(&mut rows.0);
            let (place, seen) = (ValuePlace::Table, ValueSeen::Shape);
            teller.tell(Mark::Value { place, seen, class: PhiClasses::default(), rows }, None);
        }
    }

    /// A body inside a table of the catalogue: persons that it holds.
    fn body(&self, text: &[u8], teller: &mut Teller<'_>) {
        if !text.contains(&b'@') || self.row.op != Op::Create {
            return;
        }
        let spec = self.catalog.spec(&self.binding.info.name);
        let own = spec.map_or(&[][..], |spec| &spec.own_bodies);
        let is_own = own.iter().any(|word| contains(text, word.as_bytes()));
        let place = if is_own { ValuePlace::OwnBody } else { ValuePlace::Body };
        let mut rows = 1;
        values::emails(text, EMAILS_MAX, |address| {
            if !self.watch.emails.is_empty() {
                self.canary_email(address, teller);
            }
            let hit = self.watch.hasher.email(address).map(|value| self.hit(value, place));
            if let Some(hit) = hit.filter(|hit| hit.seen != Seen::No) {
                teller.value(&hit, std::mem::take(&mut rows));
            }
        });
    }
}

/// A value that names a person.
#[derive(Debug, Clone, Copy)]
struct Hit {
    value: Value,
    place: ValuePlace,
    seen: Seen,
}

impl Hit {
    /// Which of a row's values stands for its person: one that is known, an address before others.
    fn order(&self) -> (bool, u8) {
        let kind = match self.value.kind {
            ValueKind::Email => 3,
            ValueKind::Phone => 2,
            ValueKind::Name => 1,
        };
        (self.seen != Seen::No, kind)
    }
}

struct Teller<'a> {
    base: Observation,
    out: &'a mut Vec<Observation>,
}

impl Teller<'_> {
    fn tell(&mut self, mark: Mark, subject: Option<Subject>) {
        let mut observation = self.base.clone();
        observation.subject = subject;
        observation.ordinal = None;
        observation.fact = Some(Fact::Mark(mark));
        self.out.push(observation);
        self.base.op = None;
        self.base.columns_changed = 0;
    }

    fn value(&mut self, hit: &Hit, rows: u32) {
        let class = match hit.value.kind {
            ValueKind::Email => PhiClasses::EMAIL,
            ValueKind::Phone => PhiClasses::PHONE,
            ValueKind::Name => PhiClasses::NAME,
        };
        let seen = match hit.seen {
            Seen::No => ValueSeen::Shape,
            Seen::Active => ValueSeen::Active,
            Seen::Known => ValueSeen::Known,
        };
        let mark = Mark::Value { place: hit.place, seen, class, rows };
        self.tell(mark, Some(hit.value.subject()));
    }
}

fn is_card(value: &[u8]) -> bool {
    recognise::recognise(value).count(Identifier::Card) > 0
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    !word.is_empty() && text.windows(word.len()).any(|window| window == word)
}
