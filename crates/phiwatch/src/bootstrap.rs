//! The tenant maps of a live server, read once at the very first start.
//!
//! Whatever the account may not read stays unknown, which gives no verdict until the log tells.
//! Rows are learned as they come, and the maps are bounded (`phiwatch_magento::Limits`): of more
//! rows than they hold the oldest are dropped, counted and told.

use phiwatch_magento::Classifier;
use phiwatch_source::{Server, SourceError};

use crate::config::Config;

/// Reads one shop's maps. Tables that cannot be read are left out with a warning.
pub(crate) async fn learn(
    server: &mut Server,
    config: &Config,
    shop: &str,
    classifier: &mut Classifier,
) {
    let table = |name: &str| {
        let prefixed = format!("{}{name}", config.file.magento.table_prefix);
        format!("{}.{}", quoted(shop), quoted(&prefixed))
    };
    let mut warned = false;
    for map in MAPS {
        let sql = format!("SELECT {} FROM {} {}", map.columns, table(map.table), map.rest);
        let dropped = classifier.counters().ids_dropped;
        let mut rows = 0_u64;
        let learn = |row| {
            rows += 1;
            (map.learn)(classifier, shop, &Row(row));
        };
        let result = server.each_row(&sql, learn).await;
        let dropped = classifier.counters().ids_dropped - dropped;
        if dropped > 0 {
            tracing::warn!(
                database = shop,
                table = map.table,
                rows,
                dropped,
                "more rows than the tenant maps hold: the oldest are dropped, and give no verdict \
                 until the log tells of them (phiwatch_tenant_ids_dropped_total)"
            );
        }
        if let Err(error) = result {
            if !warned {
                warned = true;
                tracing::warn!(
                    database = shop,
                    table = map.table,
                    error = %error,
                    "cannot read the tenants of older rows; they are learned from the log"
                );
            }
            if !matches!(error, SourceError::Server { .. }) {
                return;
            }
        }
    }
    if let Err(error) = learn_sharing(server, shop, table, classifier).await {
        tracing::debug!(database = shop, error = %error, "cannot tell whether accounts are shared");
    }
}

/// Whether accounts are evidently shared, where the shop's configuration does not say: Magento
/// refuses an order in another website than its customer's unless they are, so many such orders
/// mean that they are (or were), and that the invariants on them say nothing here.
async fn learn_sharing(
    server: &mut Server,
    shop: &str,
    table: impl Fn(&str) -> String,
    classifier: &mut Classifier,
) -> Result<(), SourceError> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(s.website_id <> c.website_id), 0) \
         FROM (SELECT store_id, customer_id FROM {} ORDER BY entity_id DESC LIMIT {ORDERS_MAX}) o \
         JOIN {} c ON c.entity_id = o.customer_id JOIN {} s ON s.store_id = o.store_id \
         WHERE s.website_id <> 0 AND c.website_id <> 0",
        table("sales_order"),
        table("customer_entity"),
        table("store")
    );
    let rows = server.query_rows(&sql).await?;
    let counts = Row(rows.into_iter().next().unwrap_or_default());
    let (orders, foreign) = (counts.id(0), counts.id(1));
    if orders >= ORDERS_MIN && foreign * 5 > orders {
        tracing::warn!(
            database = shop,
            orders,
            foreign,
            "many orders are of customers of another website: customer accounts are taken as shared \
             (set magento.share_scope to say otherwise)"
        );
        classifier.learn_share_scope(shop, true);
    }
    Ok(())
}

/// The latest orders that are looked at, and how few say nothing.
const ORDERS_MAX: u32 = 20_000;
const ORDERS_MIN: u64 = 20;

/// A name between backticks.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

struct Row(Vec<Option<String>>);

impl Row {
    fn text(&self, column: usize) -> &str {
        self.0.get(column).and_then(Option::as_deref).unwrap_or_default()
    }
    fn number(&self, column: usize) -> Option<u64> {
        self.text(column).parse().ok()
    }
    fn id(&self, column: usize) -> u64 {
        self.number(column).unwrap_or(0)
    }
    fn small(&self, column: usize) -> u32 {
        u32::try_from(self.id(column)).unwrap_or(0)
    }
}

struct Map {
    table: &'static str,
    columns: &'static str,
    rest: &'static str,
    learn: fn(&mut Classifier, &str, &Row),
}

const MAPS: [Map; 10] = [
    Map {
        table: "store",
        columns: "store_id, website_id",
        rest: "",
        learn: |classifier, shop, row| classifier.learn_store(shop, row.small(0), row.small(1)),
    },
    Map {
        table: "core_config_data",
        columns: "value",
        rest: "WHERE scope = 'default' AND scope_id = 0 AND path = 'customer/account_share/scope'",
        learn: |classifier, shop, row| classifier.learn_share_scope(shop, row.text(0) == "0"),
    },
    Map {
        table: "eav_entity_type",
        columns: "entity_type_id, entity_type_code",
        rest: "",
        learn: |classifier, shop, row| {
            classifier.learn_entity_type(shop, row.small(0), row.text(1));
        },
    },
    Map {
        table: "eav_attribute",
        columns: "attribute_id, entity_type_id, attribute_code",
        rest: "",
        learn: |classifier, shop, row| {
            classifier.learn_attribute(shop, row.small(0), row.small(1), row.text(2));
        },
    },
    Map {
        table: "customer_entity",
        columns: "entity_id, website_id",
        rest: "",
        learn: |classifier, shop, row| {
            classifier.learn_customer(shop, row.id(0), row.number(1));
        },
    },
    Map {
        table: "customer_address_entity",
        columns: "entity_id, parent_id",
        rest: "",
        learn: |classifier, shop, row| {
            classifier.learn_address(shop, row.id(0), row.number(1));
        },
    },
    Map {
        table: "sales_order",
        columns: "entity_id, store_id, customer_id",
        rest: "",
        learn: |classifier, shop, row| {
            classifier.learn_order(shop, row.id(0), row.number(1), row.number(2));
        },
    },
    Map {
        table: "quote",
        columns: "entity_id, store_id, customer_id",
        rest: "",
        learn: |classifier, shop, row| {
            classifier.learn_quote(shop, row.id(0), row.number(1), row.number(2));
        },
    },
    // Last: an account that may read ids only still gives the maps. What is read here becomes
    // tokens at once.
    Map {
        table: "customer_entity",
        columns: "email, firstname, lastname",
        rest: "",
        learn: |classifier, _, row| {
            classifier.learn_person(row.text(0), [row.text(1), row.text(2)], "");
        },
    },
    Map {
        table: "customer_address_entity",
        columns: "firstname, lastname, telephone",
        rest: "",
        learn: |classifier, _, row| {
            classifier.learn_person("", [row.text(0), row.text(1)], row.text(2));
        },
    },
];
