//! Load on a live shop that `workload seed` has filled, over several connections for a number of seconds.
//!
//! `load --port N --size F --connections N --seconds F`: the transactions of `workload oltp`, as many as the server takes.
//! `load ... --rate N --incidents N`: N small transactions a second by prepared statements, and N incidents a second,
//! each of which must raise one alert of its own. Prints `{"transactions":N,"incidents":N,"seconds":F}`.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bench_peers::{admin, oltp::Oltp, option, shop::Random};
use mysql_async::{Conn, Error, Params, params, prelude::Queryable};
use tokio::time::{Instant, sleep_until};

static TRANSACTIONS: AtomicU64 = AtomicU64::new(0);
static INCIDENTS: AtomicU64 = AtomicU64::new(0);
/// Another connection was in the way: rolled back, not counted.
const DEADLOCK: u16 = 1213;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let connections: u64 = option("connections", 4);
    let (rate, incidents): (f64, f64) = (option("rate", 0.0), option("incidents", 0.0));
    let size: f64 = option("size", 0.02);
    let (customers, orders) = ((500_000.0 * size) as u64, (300_000.0 * size) as u64);
    let round: u64 = option("round", 0);
    let mut sessions = Vec::new();
    for _ in 0..connections {
        sessions.push(admin().await?);
    }
    let watch = admin().await?;
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(option("seconds", 5.0));
    let mut tasks = Vec::new();
    for (number, session) in sessions.into_iter().enumerate() {
        let number = number as u64;
        tasks.push(if rate > 0.0 {
            tokio::spawn(small(
                session,
                Random(number),
                customers,
                orders,
                rate / connections as f64,
                end,
            ))
        } else {
            let stream = Oltp::new(round, 1 + round * connections + number, customers, orders);
            tokio::spawn(full(session, stream, end))
        });
    }
    if incidents > 0.0 {
        tasks.push(tokio::spawn(incident(watch, incidents, end)));
    }
    for task in tasks {
        task.await??;
    }
    println!(
        r#"{{"transactions":{},"incidents":{},"seconds":{:.3}}}"#,
        TRANSACTIONS.load(Ordering::Relaxed),
        INCIDENTS.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn full(mut session: Conn, mut stream: Oltp, end: Instant) -> anyhow::Result<()> {
    let mut sql = String::new();
    while Instant::now() < end {
        sql.clear();
        sql.push_str("BEGIN;");
        stream.transaction(&mut sql);
        sql.push_str("COMMIT");
        match session.query_drop(&sql).await {
            Ok(()) => {
                TRANSACTIONS.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::Server(error)) if error.code == DEADLOCK => {
                session.query_drop("ROLLBACK").await?
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Due times from now on, so many a second; late ones are made up for.
struct Pace {
    next: Instant,
    step: Duration,
}

impl Pace {
    fn new(rate: f64) -> Self {
        Self { next: Instant::now(), step: Duration::from_secs_f64(1.0 / rate) }
    }

    async fn wait(&mut self) {
        if self.next > Instant::now() {
            sleep_until(self.next).await;
        }
        self.next += self.step;
    }
}

async fn small(
    mut session: Conn,
    mut random: Random,
    customers: u64,
    orders: u64,
    rate: f64,
    end: Instant,
) -> anyhow::Result<()> {
    let cart = session.prep("UPDATE quote SET items_count=items_count+1,grand_total=grand_total+1 WHERE entity_id=?").await?;
    let visit = session.prep("INSERT INTO customer_visitor (customer_id,created_at,last_visit_at) VALUES (?,NOW(),NOW())").await?;
    let item = session.prep("INSERT INTO quote_item (quote_id,product_id,sku,name,qty,price) VALUES (?,17,'RX-000017','Product 17',1,9.5)").await?;
    let state = session
        .prep("UPDATE sales_order_grid SET total_paid=IFNULL(total_paid,0)+1 WHERE entity_id=?")
        .await?;
    let mut pace = Pace::new(rate);
    while Instant::now() < end {
        pace.wait().await;
        let order = Params::from((1 + random.below(orders),));
        match random.below(10) {
            0..4 => session.exec_drop(&cart, order).await?,
            4..7 => session.exec_drop(&visit, (1 + random.below(customers),)).await?,
            7..9 => session.exec_drop(&item, order).await?,
            _ => session.exec_drop(&state, order).await?,
        }
        TRANSACTIONS.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The admin's session lasts a day, in one store view after the other: a weakened setting each.
async fn incident(mut session: Conn, rate: f64, end: Instant) -> anyhow::Result<()> {
    let weaken = "INSERT INTO core_config_data (scope,scope_id,path,value) VALUES ('stores',:store,'admin/security/session_lifetime','86400')";
    let last: Option<u64> =
        session.query_first("SELECT IFNULL(MAX(scope_id),1000) FROM core_config_data").await?;
    let mut store = last.unwrap_or(0).max(1000);
    let mut pace = Pace::new(rate);
    while Instant::now() < end {
        pace.wait().await;
        store += 1;
        session.exec_drop(weaken, params! { store }).await?;
        INCIDENTS.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
