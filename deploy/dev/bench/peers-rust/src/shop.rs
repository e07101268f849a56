//! Rows of a Magento shop with eight tenants as SQL text: a function of their number and nothing else.
//!
//! All people are made up (example.com, 555-01xx, documentation addresses, `TEST-` numbers). Every row keeps its
//! tenant: a customer's orders, quotes and addresses belong to the customer's website.

use std::fmt::Write as _;

/// Tenants: websites 1 to 8, a store each. Store 3 belongs to website 1 in the reference rows.
pub const WEBSITES: u64 = 8;

const FIRST: [&str; 16] = [
    "Ana", "Ben", "Carla", "David", "Elena", "Frank", "Grace", "Hugo", "Irene", "Jonas", "Kira",
    "Liam", "Mona", "Nils", "Zoë", "José",
];
const LAST: [&str; 16] = [
    "Example",
    "Sample",
    "Placeholder",
    "Testman",
    "Mockley",
    "Fauxberg",
    "Dummett",
    "Specimen",
    "Fictus",
    "Notreal",
    "Pretend",
    "Standin",
    "Phantom",
    "Proxy",
    "Invento",
    "Muster",
];
const CITY: [&str; 8] =
    ["Denver", "Boulder", "Aurora", "Golden", "Pueblo", "Fort Collins", "Loveland", "Durango"];
const STREET: [&str; 8] = [
    "Main Street",
    "Oak Avenue",
    "Hill Road",
    "Lake Drive",
    "Second Street",
    "Garden Lane",
    "Pine Road",
    "Elm Street",
];
const DIAGNOSIS: [&str; 6] = [
    "E11.9 Type 2 diabetes",
    "I10 Hypertension",
    "J45.909 Asthma",
    "M54.5 Low back pain",
    "G47.33 Sleep apnea",
    "allergy: penicillin",
];
const COMMENT: [&str; 5] = [
    "Order placed",
    "Prescription verified by pharmacist",
    "Insurance claim approved",
    "Packed",
    "Captured amount online",
];
const TOPIC: [&str; 4] = [
    "async.operations.all",
    "sales.rule.update.coupon.usage",
    "inventory.reservations.update",
    "media.storage.catalog.image.resize",
];

/// Small deterministic generator (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number from 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The `salt`-th property of thing `n`, from 0 to `end` - 1.
fn hash(n: u64, salt: u64, end: u64) -> u64 {
    Random(n.wrapping_mul(1_000_003) ^ (salt << 48)).below(end)
}

fn pick<'a>(words: &[&'a str], n: u64, salt: u64) -> &'a str {
    words[hash(n, salt, words.len() as u64) as usize]
}

fn hex(n: u64, salt: u64, digits: usize) -> String {
    let mut random = Random(n ^ (salt << 40));
    let mut out = String::with_capacity(digits + 16);
    while out.len() < digits {
        let _ = write!(out, "{:016x}", random.next());
    }
    out.truncate(digits);
    out
}

fn money(n: u64, salt: u64) -> String {
    let cents = hash(n, salt, 40_000);
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Text of a `timestamp` within the year before the recording.
fn moment(n: u64) -> String {
    format!("FROM_UNIXTIME({})", 1_790_812_800 - hash(n, 1, 31_536_000))
}

/// Website of customer `n`, and the store of that website.
#[must_use]
pub fn website(customer: u64) -> u64 {
    1 + customer % WEBSITES
}

#[must_use]
pub fn store(website: u64) -> u64 {
    if website < 3 { website } else { website + 1 }
}

/// Column names and the SQL text of their values.
#[derive(Debug, Default, Clone)]
pub struct Row(Vec<(&'static str, String)>);

impl Row {
    #[must_use]
    pub fn sql(mut self, column: &'static str, value: impl ToString) -> Self {
        let value = value.to_string();
        match self.0.iter_mut().find(|(name, _)| *name == column) {
            Some((_, old)) => *old = value,
            None => self.0.push((column, value)),
        }
        self
    }

    #[must_use]
    pub fn text(self, column: &'static str, value: &str) -> Self {
        self.sql(column, format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''")))
    }

    /// Several columns with one value.
    #[must_use]
    fn all(self, columns: &[&'static str], value: &str) -> Self {
        columns.iter().fold(self, |row, column| row.sql(column, value))
    }

    /// Now instead of the past.
    #[must_use]
    pub fn now(self) -> Self {
        self.sql("created_at", "NOW()").sql("updated_at", "NOW()")
    }
}

/// One INSERT of rows with the same columns, with the semicolon.
pub fn insert(out: &mut String, table: &str, rows: impl IntoIterator<Item = Row>) {
    for (index, row) in rows.into_iter().enumerate() {
        if index == 0 {
            let names: Vec<&str> = row.0.iter().map(|(name, _)| *name).collect();
            let _ = write!(out, "INSERT INTO {table} ({}) VALUES ", names.join(","));
        }
        out.push_str(if index == 0 { "(" } else { ",(" });
        for (index, (_, value)) in row.0.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(value);
        }
        out.push(')');
    }
    out.push(';');
}

#[must_use]
pub fn email(n: u64) -> String {
    format!("{}.{n}@example.com", pick(&FIRST[..14], n, 2).to_lowercase())
}

fn person(row: Row, n: u64) -> Row {
    row.text("firstname", pick(&FIRST, n, 2)).text("lastname", pick(&LAST, n, 3))
}

fn place(row: Row, n: u64) -> Row {
    row.text("city", pick(&CITY, n, 4))
        .text("country_id", "US")
        .text("postcode", &format!("80{:03}", hash(n, 5, 1000)))
        .text("region", "Colorado")
        .sql("region_id", 13)
        .text("street", &address_line(n))
        .text("telephone", &format!("+1-303-555-01{:02}", hash(n, 6, 100)))
}

fn address_line(n: u64) -> String {
    format!("{} {}", 1 + hash(n, 7, 9999), pick(&STREET, n, 8))
}

#[must_use]
pub fn customer(n: u64) -> Row {
    let website = website(n);
    let row = Row::default()
        .sql("entity_id", n)
        .sql("website_id", website)
        .text("email", &email(n))
        .sql("group_id", 1 + hash(n, 9, 3))
        .text("increment_id", &format!("{n:09}"))
        .sql("store_id", store(website))
        .sql("created_at", moment(n))
        .sql("updated_at", moment(n))
        .sql("is_active", 1)
        .sql("disable_auto_group_change", 0)
        .text("created_in", &format!("Clinic {website} store view"))
        .sql("middlename", if hash(n, 10, 5) == 0 { "'J'" } else { "NULL" })
        .text(
            "dob",
            &format!(
                "{}-{:02}-{:02}",
                1935 + hash(n, 11, 70),
                1 + hash(n, 12, 12),
                1 + hash(n, 13, 28)
            ),
        )
        .text("password_hash", &format!("{}:{}:3_32_2_67108864", hex(n, 14, 64), hex(n, 15, 32)))
        .sql("default_billing", n)
        .sql("default_shipping", n)
        .sql("gender", 1 + hash(n, 16, 2))
        .sql("failures_num", 0);
    person(row, n)
}

#[must_use]
pub fn address(n: u64) -> Row {
    let row = Row::default()
        .sql("entity_id", n)
        .sql("parent_id", n)
        .sql("created_at", moment(n))
        .sql("updated_at", moment(n))
        .sql("is_active", 1);
    place(person(row, n), n)
}

/// The first `count` of: medical record number, insurance id, diagnosis.
pub fn attributes(n: u64, count: u64) -> impl Iterator<Item = Row> {
    let values = [
        (160, format!("TEST-MRN-{:06}", n % 1_000_000)),
        (161, format!("TEST-INS-{:06}", n * 7 % 1_000_000)),
        (163, pick(&DIAGNOSIS, n, 17).to_owned()),
    ];
    values.into_iter().take(count as usize).map(move |(id, value)| {
        Row::default().sql("attribute_id", id).sql("entity_id", n).text("value", &value)
    })
}

#[must_use]
pub fn subscriber(n: u64) -> Row {
    Row::default()
        .sql("store_id", store(website(n)))
        .sql("change_status_at", "NOW()")
        .sql("customer_id", n)
        .text("subscriber_email", &email(n))
        .sql("subscriber_status", 1)
        .text("subscriber_confirm_code", &hex(n, 18, 32))
}

/// Order `n` of a customer: 90 of 138 columns are set.
#[must_use]
pub fn order(n: u64, customer: u64, quote: u64) -> Row {
    let website = website(customer);
    let (total, subtotal) = (money(n, 20), money(n, 21));
    let is_new = hash(n, 22, 5) < 3;
    let paid = if is_new { "NULL" } else { &total };
    Row::default()
        .sql("entity_id", n)
        .text("state", if is_new { "new" } else { "complete" })
        .text("status", if is_new { "pending" } else { "complete" })
        .text("protect_code", &hex(n, 23, 32))
        .text("shipping_description", "Flat Rate - Fixed")
        .sql("store_id", store(website))
        .sql("customer_id", customer)
        .text("increment_id", &format!("{}{n:09}", store(website)))
        .sql("billing_address_id", 2 * n)
        .sql("shipping_address_id", 2 * n + 1)
        .sql("quote_id", quote)
        .text("customer_email", &email(customer))
        .text("customer_firstname", pick(&FIRST, customer, 2))
        .text("customer_lastname", pick(&LAST, customer, 3))
        .text(
            "customer_dob",
            &format!("{}-{:02}-11", 1935 + hash(customer, 11, 70), 1 + hash(customer, 12, 12)),
        )
        .sql("customer_gender", 1 + hash(customer, 16, 2))
        .text("remote_ip", &format!("203.0.113.{}", 1 + hash(n, 24, 254)))
        .text("shipping_method", "flatrate_flatrate")
        .text("store_name", &format!("Clinic {website}\nClinic store\nDefault view"))
        .sql("created_at", moment(n))
        .sql("updated_at", moment(n))
        .sql("total_item_count", 1 + hash(n, 25, 5))
        .sql(
            "customer_note",
            if hash(n, 26, 12) == 0 { "'Please call before delivery'" } else { "NULL" },
        )
        .sql("weight", money(n, 27))
        .all(&["is_virtual", "customer_is_guest"], "0")
        .all(&["customer_note_notify", "customer_group_id", "email_sent", "send_email"], "1")
        .all(
            &[
                "base_currency_code",
                "global_currency_code",
                "order_currency_code",
                "store_currency_code",
            ],
            "'USD'",
        )
        .all(&["base_grand_total", "grand_total", "base_total_due", "total_due"], &total)
        .all(
            &["base_subtotal", "subtotal", "base_subtotal_incl_tax", "subtotal_incl_tax"],
            &subtotal,
        )
        .all(
            &[
                "base_shipping_amount",
                "shipping_amount",
                "base_shipping_incl_tax",
                "shipping_incl_tax",
            ],
            "5",
        )
        .all(
            &[
                "base_to_global_rate",
                "base_to_order_rate",
                "total_qty_ordered",
                "base_total_qty_ordered",
            ],
            "1",
        )
        .all(
            &[
                "base_total_paid",
                "total_paid",
                "base_total_invoiced",
                "total_invoiced",
                "base_subtotal_invoiced",
            ],
            paid,
        )
        .all(
            &[
                "subtotal_invoiced",
                "base_shipping_invoiced",
                "shipping_invoiced",
                "base_tax_invoiced",
                "tax_invoiced",
            ],
            paid,
        )
        .all(&ORDER_ZEROS, "0")
}

const ORDER_ZEROS: [&str; 16] = [
    "base_discount_amount",
    "discount_amount",
    "base_shipping_tax_amount",
    "shipping_tax_amount",
    "base_tax_amount",
    "tax_amount",
    "base_shipping_discount_amount",
    "shipping_discount_amount",
    "discount_tax_compensation_amount",
    "base_discount_tax_compensation_amount",
    "shipping_discount_tax_compensation_amount",
    "base_shipping_discount_tax_compensation_amnt",
    "store_to_base_rate",
    "store_to_order_rate",
    "base_discount_invoiced",
    "discount_invoiced",
];

pub fn order_items(n: u64, customer: u64, count: u64) -> impl Iterator<Item = Row> {
    (0..count).map(move |position| {
        let product = hash(n * 8 + position, 30, 5000);
        Row::default()
            .sql("order_id", n)
            .sql("quote_item_id", n)
            .sql("store_id", store(website(customer)))
            .sql("created_at", moment(n))
            .sql("updated_at", moment(n))
            .sql("product_id", product)
            .text("product_type", "simple")
            .text(
                "product_options",
                &format!(r#"{{"info_buyRequest":{{"uenc":"aHR0cHM6Ly9leGFtcGxlLmNvbS8,","product":"{product}","qty":1,"options":[]}}}}"#),
            )
            .text("sku", &format!("RX-{product:06}"))
            .text("name", &format!("Product {product}"))
            .sql("is_virtual", 0)
            .all(&["weight", "qty_ordered", "row_weight"], "1")
            .all(&["price", "base_price", "original_price", "base_original_price", "row_total", "base_row_total"], &money(product, 31))
            .all(&["price_incl_tax", "base_price_incl_tax", "row_total_incl_tax", "base_row_total_incl_tax"], &money(product, 31))
            .all(&["tax_amount", "base_tax_amount"], "0")
    })
}

pub fn order_addresses(n: u64, customer: u64) -> impl Iterator<Item = Row> {
    ["billing", "shipping"].into_iter().map(move |kind| {
        let row = Row::default()
            .sql("parent_id", n)
            .sql("customer_address_id", customer)
            .sql("quote_address_id", n)
            .sql("customer_id", customer)
            .text("email", &email(customer))
            .text("address_type", kind);
        place(person(row, customer), customer)
    })
}

#[must_use]
pub fn payment(n: u64) -> Row {
    Row::default()
        .sql("parent_id", n)
        .all(&["base_shipping_amount", "shipping_amount"], "5")
        .all(&["base_amount_ordered", "amount_ordered"], &money(n, 20))
        .text("method", "checkmo")
        .text("additional_information", r#"{"method_title":"Check \/ Money order"}"#)
}

#[must_use]
pub fn order_grid(n: u64, customer: u64) -> Row {
    let name = format!("{} {}", pick(&FIRST, customer, 2), pick(&LAST, customer, 3));
    let line = format!("{},{},Colorado", address_line(customer), pick(&CITY, customer, 4));
    let website = website(customer);
    Row::default()
        .sql("entity_id", n)
        .text("status", "pending")
        .sql("store_id", store(website))
        .text("store_name", &format!("Clinic {website}\nClinic store\nDefault view"))
        .sql("customer_id", customer)
        .all(&["base_grand_total", "grand_total", "subtotal"], &money(n, 20))
        .text("increment_id", &format!("{}{n:09}", store(website)))
        .all(&["base_currency_code", "order_currency_code"], "'USD'")
        .sql("created_at", moment(n))
        .sql("updated_at", moment(n))
        .text("shipping_name", &name)
        .text("billing_name", &name)
        .text("customer_name", &name)
        .text("billing_address", &line)
        .text("shipping_address", &line)
        .text("shipping_information", "Flat Rate - Fixed")
        .text("customer_email", &email(customer))
        .text("customer_group", "1")
        .text("payment_method", "checkmo")
}

#[must_use]
pub fn history(n: u64, salt: u64, status: &str) -> Row {
    Row::default()
        .sql("parent_id", n)
        .sql("is_customer_notified", 1)
        .text("comment", pick(&COMMENT, n, 40 + salt))
        .text("status", status)
        .sql("created_at", "NOW()")
        .text("entity_name", "order")
}

#[must_use]
pub fn quote(n: u64, customer: u64, items: u64) -> Row {
    Row::default()
        .sql("entity_id", n)
        .sql("store_id", store(website(customer)))
        .sql("created_at", moment(n))
        .sql("updated_at", moment(n))
        .sql("is_active", 1)
        .all(&["items_count", "items_qty"], &items.to_string())
        .all(
            &[
                "base_currency_code",
                "store_currency_code",
                "quote_currency_code",
                "global_currency_code",
            ],
            "'USD'",
        )
        .all(&["grand_total", "base_grand_total", "subtotal", "base_subtotal"], &money(n, 50))
        .all(&["base_to_global_rate", "base_to_quote_rate", "customer_group_id"], "1")
        .sql("customer_id", customer)
        .text("customer_email", &email(customer))
        .text("customer_firstname", pick(&FIRST, customer, 2))
        .text("customer_lastname", pick(&LAST, customer, 3))
        .text("remote_ip", &format!("203.0.113.{}", 1 + hash(n, 24, 254)))
}

pub fn quote_items(quote: u64, customer: u64, salt: u64, count: u64) -> impl Iterator<Item = Row> {
    (0..count).map(move |position| {
        let product = hash(quote * 8 + position, 60 + salt, 5000);
        Row::default()
            .sql("quote_id", quote)
            .sql("created_at", "NOW()")
            .sql("updated_at", "NOW()")
            .sql("product_id", product)
            .sql("store_id", store(website(customer)))
            .text("sku", &format!("RX-{product:06}"))
            .text("name", &format!("Product {product}"))
            .text("product_type", "simple")
            .all(&["weight", "qty"], "1")
            .all(&["price", "base_price", "row_total", "base_row_total"], &money(product, 31))
            .all(
                &["price_incl_tax", "base_price_incl_tax", "row_total_incl_tax"],
                &money(product, 31),
            )
            .all(&["tax_amount", "base_tax_amount"], "0")
    })
}

/// A queue message and its status, under the number `n`.
#[must_use]
pub fn message(n: u64) -> (Row, Row) {
    let body = format!(
        r#"{{"entity_id":{n},"payload":"{}"}}"#,
        hex(n, 70, 48).repeat(1 + hash(n, 71, 8) as usize)
    );
    let message =
        Row::default().sql("id", n).text("topic_name", pick(&TOPIC, n, 72)).text("body", &body);
    let status = Row::default()
        .sql("id", n)
        .sql("queue_id", 1 + hash(n, 73, 3))
        .sql("message_id", n)
        .sql("updated_at", "NOW()")
        .sql("status", 2)
        .sql("number_of_trials", 0);
    (message, status)
}

#[must_use]
pub fn last_name(random: u64) -> &'static str {
    pick(&LAST, random, 80)
}

#[must_use]
pub fn city(random: u64) -> &'static str {
    pick(&CITY, random, 81)
}
