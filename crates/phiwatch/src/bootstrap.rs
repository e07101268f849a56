//! The tenant maps of a live server, read once at the very first start.
//!
//! Whatever the account may not read stays unknown, which gives no verdict until the log tells.

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
        let result = server.each_row(&sql, |row| (map.learn)(classifier, shop, &Row(row))).await;
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
}

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

const MAPS: [Map; 7] = [
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
];
