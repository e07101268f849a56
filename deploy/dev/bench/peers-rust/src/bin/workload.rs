//! Writes a Magento shop's work into a MySQL server, so that its binlog can be read by everyone measured.
//!
//! `workload PART --port N --size F --seed N [--session SQL]`; the same size and seed write the same rows.
//!
//! - `seed`: schema (unlogged), then 500,000 x size customers and 300,000 x size orders with what belongs to them
//! - `oltp`: 150,000 x size transactions of 1 to 20 rows, 20 a second by the simulated clock from 2026-10-01 on
//! - `bulk`: three huge transactions: UPDATE of all customers, INSERT..SELECT of all orders, DELETE of half the addresses
//!
//! Mix and sizes follow what a busy shop's binlog shows: most bytes of `oltp` are table maps, all of `bulk` are rows.

use std::{fmt::Write as _, path::Path, time::Instant};

use bench_peers::{
    admin,
    oltp::Oltp,
    option,
    shop::{self, Random, insert},
};
use mysql_async::{Conn, prelude::Queryable};

const EPOCH: u64 = 1_790_812_800; // 2026-10-01 00:00:00 UTC
const PER_SECOND: u64 = 20;
/// Transactions, or rows of a table while seeding, that go to the server in one request.
const TRANSACTIONS: u64 = 25;
const ROWS: u64 = 400;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let size: f64 = option("size", 1.0);
    let count = |full: f64| (full * size).max(200.0) as u64;
    let (customers, orders, transactions) = (count(500_000.0), count(300_000.0), count(150_000.0));
    let mut connection = admin().await?;
    let session: String = option("session", String::new());
    if !session.is_empty() {
        connection.query_drop(session).await?;
    }
    let began = Instant::now();
    let part = std::env::args().nth(1).unwrap_or_default();
    match part.as_str() {
        "seed" => seed(&mut connection, customers, orders).await?,
        "oltp" => {
            oltp(&mut connection, Oltp::new(option("seed", 1), 0, customers, orders), transactions)
                .await?
        }
        "bulk" => bulk(&mut connection, orders).await?,
        _ => anyhow::bail!("seed, oltp or bulk"),
    }
    eprintln!("{part}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

async fn seed(connection: &mut Conn, customers: u64, orders: u64) -> anyhow::Result<()> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../fixtures/magento/schema.sql");
    let schema = std::fs::read_to_string(path)?;
    connection.query_drop("SET sql_log_bin=0; DROP DATABASE IF EXISTS magento; CREATE DATABASE magento; USE magento").await?;
    let (tables, rows) =
        schema.split_once("-- Reference rows:").expect("the schema ends with reference rows");
    connection.query_drop(tables).await?;
    connection.query_drop("SET sql_log_bin=1, unique_checks=0").await?;
    let mut sql = format!("-- {rows}SET sql_mode='';");
    for website in 3..=shop::WEBSITES {
        let store = shop::store(website);
        let _ = write!(
            sql,
            "INSERT INTO store_website VALUES ({website},'clinic{website}','Clinic {website}',0,{website},0);\
             INSERT INTO store_group VALUES ({website},{website},'Clinic {website}',2,{store},'clinic{website}');\
             INSERT INTO store VALUES ({store},'clinic{website}',{website},{website},'Clinic {website}',0,1);"
        );
    }
    for n in 1..=400 {
        let _ = write!(
            sql,
            "INSERT INTO core_config_data (path,value) VALUES ('section/group/field{n}','value {n}');"
        );
    }
    connection.query_drop(sql).await?;
    for first in (1..=customers).step_by(ROWS as usize) {
        let people = first..=(first + ROWS - 1).min(customers);
        let mut sql = String::from("BEGIN;");
        insert(&mut sql, "customer_entity", people.clone().map(shop::customer));
        insert(&mut sql, "customer_address_entity", people.clone().map(shop::address));
        insert(&mut sql, "customer_entity_varchar", people.flat_map(|n| shop::attributes(n, 3)));
        connection.query_drop(sql + "COMMIT").await?;
    }
    for first in (1..=orders).step_by(ROWS as usize) {
        let orders = first..=(first + ROWS - 1).min(orders);
        let buyer = |n: u64| 1 + Random(n).below(customers);
        let mut sql = String::from("BEGIN;");
        insert(&mut sql, "quote", orders.clone().map(|n| shop::quote(n, buyer(n), 1)));
        insert(&mut sql, "sales_order", orders.clone().map(|n| shop::order(n, buyer(n), n)));
        insert(&mut sql, "sales_order_grid", orders.clone().map(|n| shop::order_grid(n, buyer(n))));
        insert(
            &mut sql,
            "sales_order_item",
            orders.flat_map(|n| shop::order_items(n, buyer(n), 1)),
        );
        connection.query_drop(sql + "COMMIT").await?;
    }
    Ok(())
}

/// Simulated time, also in the GTID event.
fn clock(sql: &mut String, at: u64) {
    let _ = write!(sql, "SET timestamp={at};SET @@session.original_commit_timestamp={at}000000;");
}

async fn oltp(connection: &mut Conn, mut stream: Oltp, transactions: u64) -> anyhow::Result<()> {
    let mut sql = String::new();
    for number in 0..transactions {
        clock(&mut sql, EPOCH + number / PER_SECOND);
        sql.push_str("BEGIN;");
        stream.transaction(&mut sql);
        sql.push_str("COMMIT;");
        if number % TRANSACTIONS == TRANSACTIONS - 1 || number + 1 == transactions {
            connection.query_drop(&sql).await?;
            sql.clear();
        }
    }
    Ok(())
}

async fn bulk(connection: &mut Conn, orders: u64) -> anyhow::Result<()> {
    let mut sql = String::new();
    for statement in [
        "CREATE TABLE sales_order_export LIKE sales_order".to_owned(),
        "UPDATE customer_entity SET group_id=group_id+1,updated_at=NOW()".to_owned(),
        format!(
            "INSERT INTO sales_order_export SELECT * FROM sales_order WHERE entity_id<={orders}"
        ),
        "DELETE FROM customer_address_entity WHERE entity_id%2=0".to_owned(),
    ] {
        clock(&mut sql, EPOCH + 86_400);
        sql.push_str(&statement);
        connection.query_drop(&sql).await?;
        sql.clear();
    }
    Ok(())
}
