//! Small transactions in a shop's mix: 1 to 20 rows over 16 tables.

use std::fmt::Write as _;

use crate::shop::{self, Random, insert};

/// Numbers that one stream may use up.
const STREAM: u64 = 10_000_000;

/// A stream of transactions: each call appends the statements of the next one.
pub struct Oltp {
    random: Random,
    /// Customers and orders there are before the first transaction; the next numbers to use.
    customers: u64,
    orders: u64,
    next_customer: u64,
    next_order: u64,
    next_quote: u64,
    next_message: u64,
    first_order: u64,
    first_message: u64,
    count: u64,
    /// Open carts: quote and customer.
    carts: Vec<(u64, u64)>,
}

impl Oltp {
    /// Stream `number` of several in the same database: each has numbers of its own for what it makes.
    #[must_use]
    pub fn new(seed: u64, number: u64, customers: u64, orders: u64) -> Self {
        let first = number * STREAM;
        Self {
            random: Random(seed ^ (number << 32)),
            customers,
            orders,
            next_customer: first + customers + 1,
            next_order: first + orders + 1,
            first_order: first + orders + 1,
            next_quote: first + orders + 1,
            first_message: first + 1,
            next_message: first + 1,
            count: 0,
            carts: Vec::new(),
        }
    }

    /// Per mille of: log-in 200, cart 300, order 150, state 100, queue 100, sign-up 80, profile 55, batch 10,
    /// setting 3, deletion 2.
    pub fn transaction(&mut self, sql: &mut String) {
        self.count += 1;
        let number = self.count;
        let customer = 1 + self.random.below(self.customers);
        match self.random.below(1000) {
            0..200 => {
                let failures = self.random.below(4);
                let _ = write!(
                    sql,
                    "UPDATE customer_entity SET failures_num={failures},first_failure=NOW(),session_cutoff=NOW() WHERE entity_id={customer};"
                );
            }
            200..350 if !self.carts.is_empty() => self.order(sql),
            200..650 => self.cart(sql, customer),
            650..750 => self.state(sql),
            750..850 => self.queue(sql),
            850..930 => self.sign_up(sql),
            930..985 => self.profile(sql, customer),
            985..995 => {
                let first = 1 + self.random.below(self.orders - 20);
                let _ = write!(
                    sql,
                    "UPDATE sales_order_grid SET status='complete' WHERE entity_id BETWEEN {first} AND {};",
                    first + 19
                );
            }
            995..998 => {
                let id = 1 + self.random.below(400);
                let _ = write!(
                    sql,
                    "UPDATE core_config_data SET value='v{number}' WHERE config_id={id};"
                );
            }
            _ => {
                let _ = write!(sql, "DELETE FROM customer_entity WHERE entity_id={customer};");
            }
        }
    }

    fn cart(&mut self, sql: &mut String, customer: u64) {
        if !self.carts.is_empty() && self.random.below(10) < 6 {
            let at = self.random.below(self.carts.len() as u64) as usize;
            let (quote, customer) = self.carts[at];
            let (salt, price) = (self.random.below(1000), 1 + self.random.below(90));
            insert(sql, "quote_item", shop::quote_items(quote, customer, salt, 1));
            let _ = write!(
                sql,
                "UPDATE quote SET items_count=items_count+1,items_qty=items_qty+1,grand_total=grand_total+{price} WHERE entity_id={quote};"
            );
            return;
        }
        let (quote, items) = (self.next_quote, 1 + self.random.below(4));
        self.next_quote += 1;
        self.carts.push((quote, customer));
        insert(sql, "quote", [shop::quote(quote, customer, items).now()]);
        insert(sql, "quote_item", shop::quote_items(quote, customer, 0, items));
    }

    fn order(&mut self, sql: &mut String) {
        let at = self.random.below(self.carts.len() as u64) as usize;
        let (quote, customer) = self.carts.swap_remove(at);
        let (order, items) = (self.next_order, 1 + self.random.below(5));
        self.next_order += 1;
        let head = shop::order(order, customer, quote)
            .now()
            .text("state", "new")
            .text("status", "pending");
        // The customer may be deleted by now: a guest's order then, as far as the foreign key goes.
        let buyer = format!("(SELECT entity_id FROM customer_entity WHERE entity_id={customer})");
        insert(sql, "sales_order", [head.sql("customer_id", buyer)]);
        insert(
            sql,
            "sales_order_item",
            shop::order_items(order, customer, items).map(shop::Row::now),
        );
        insert(sql, "sales_order_address", shop::order_addresses(order, customer));
        insert(sql, "sales_order_payment", [shop::payment(order)]);
        insert(sql, "sales_order_grid", [shop::order_grid(order, customer).now()]);
        insert(sql, "sales_order_status_history", [shop::history(order, 0, "pending")]);
        let _ = write!(
            sql,
            "UPDATE quote SET is_active=0,reserved_order_id='{order}' WHERE entity_id={quote};"
        );
    }

    fn state(&mut self, sql: &mut String) {
        // One of those that were there, or that this stream has made.
        let order = 1 + self.random.below(self.orders + self.next_order - self.first_order);
        let order =
            if order > self.orders { self.first_order + order - self.orders - 1 } else { order };
        let _ = write!(
            sql,
            "UPDATE sales_order SET state='processing',status='processing',total_paid=grand_total,base_total_paid=base_grand_total WHERE entity_id={order};\
             UPDATE sales_order_grid SET status='processing' WHERE entity_id={order};"
        );
        insert(sql, "sales_order_status_history", [shop::history(order, 1, "processing")]);
    }

    fn queue(&mut self, sql: &mut String) {
        let number = self.next_message;
        self.next_message += 1;
        let (message, status) = shop::message(number);
        insert(sql, "queue_message", [message]);
        insert(sql, "queue_message_status", [status]);
        if number >= self.first_message + 50 {
            let done = number - 50;
            let _ = write!(
                sql,
                "UPDATE queue_message_status SET status=4 WHERE id={done};DELETE FROM queue_message WHERE id={done};"
            );
        }
    }

    fn sign_up(&mut self, sql: &mut String) {
        let customer = self.next_customer;
        self.next_customer += 1;
        insert(
            sql,
            "customer_entity",
            [shop::customer(customer)
                .now()
                .sql("default_billing", "NULL")
                .sql("default_shipping", "NULL")],
        );
        insert(
            sql,
            "customer_entity_varchar",
            shop::attributes(customer, 1 + self.random.below(3)),
        );
        insert(sql, "customer_address_entity", [shop::address(customer).now()]);
        let _ = write!(
            sql,
            "UPDATE customer_entity SET default_billing={customer},default_shipping={customer} WHERE entity_id={customer};"
        );
        if self.random.below(10) < 3 {
            insert(sql, "newsletter_subscriber", [shop::subscriber(customer)]);
        }
    }

    fn profile(&mut self, sql: &mut String, customer: u64) {
        let (last, city) = (shop::last_name(self.random.next()), shop::city(self.random.next()));
        let (phone, code) = (self.random.below(100), self.random.below(10));
        let _ = write!(
            sql,
            "UPDATE customer_entity SET lastname='{last}' WHERE entity_id={customer};\
             UPDATE customer_address_entity SET city='{city}',telephone='+1-303-555-01{phone:02}' WHERE entity_id={customer};\
             UPDATE customer_entity_varchar SET value='E11.{code} Type 2 diabetes' WHERE entity_id={customer} AND attribute_id=163;"
        );
    }
}
