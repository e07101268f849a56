//! The statistical side over simulated traffic.

use phiwatch_binlog::Op;

use crate::shop::{Run, row, site, tx};

#[test]
fn dense_traffic_from_a_fresh_start_is_silent() {
    let mut run = Run::new();
    let mut n = 0u64;
    for secs in 0..600 {
        let rate = if secs > 300 { 100 } else { 20 };
        for _ in 0..rate {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let who = n >> 40;
            let name = ["customer_entity", "sales_order", "quote"][who as usize % 3];
            run.feed(&tx(secs, vec![row(name, Op::Update, site(1 + who as u32 % 8), who)]));
        }
    }
    assert!(run.alerts.is_empty(), "{:#?}", run.alerts);
}
