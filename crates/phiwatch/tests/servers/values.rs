//! Rules on values, on real servers: copies whatever the table is called, seeded persons, plaintext,
//! identifiers in comments, and their look-alikes.

use std::{fs, time::Duration};

use phiwatch_testkit::{Server, ocsf::State};

use crate::{program, shop::Shop};

/// A customer that nobody has a reason to touch.
const CANARY: u32 = 7;
const POLICY: &str =
    "[policy]\ncanary_customers = [7]\nencrypted_columns = [\"customer_entity.taxvat\"]\n";

/// One order of customer 22, as far as the rules read it.
const ORDER: &str = "INSERT INTO sales_order (store_id,customer_id,customer_email,increment_id) \
                     SELECT store_id,entity_id,email,'1' FROM customer_entity WHERE entity_id=22;\n\
                     INSERT INTO sales_order_payment (parent_id,method) SELECT entity_id,'checkmo' FROM sales_order;\n\
                     INSERT INTO sales_order_item (order_id,sku) SELECT entity_id,'RX-0001' FROM sales_order;";

/// A shop of 300 persons in each of two websites.
fn shop(server: Server) -> Shop {
    let shop = Shop::with_kafka(server, "values", "127.0.0.1:1");
    server.fill(shop.database(), (300, 300));
    server.execute(&format!("SET SESSION sql_mode=''; USE {};\n{ORDER}", shop.database()));
    shop
}

/// What an installation that begins with the shop says of everything so far.
fn found(shop: &Shop, name: &str) -> Vec<State> {
    let folder = shop.folder(name);
    let lines = folder.join("alerts.jsonl");
    let sink = format!("[[sink]]\ntype = \"jsonl\"\npath = {lines:?}\n{POLICY}");
    let config = shop.config(&folder, &sink);
    let mut daemon = program().follow(&folder, &config, &shop.listen, &["--once"]);
    assert_eq!(daemon.wait_end(Duration::from_secs(60)), Some(0), "{}", daemon.log());
    fs::read_to_string(lines).unwrap_or_default().lines().map(State::of).collect()
}

/// Runs the statements in the shop; the states that they add.
fn after(shop: &Shop, known: &mut usize, name: &str, sql: &str) -> Vec<State> {
    shop.server.execute(&format!("SET SESSION sql_mode=''; USE {};\n{sql}", shop.database()));
    let all = found(shop, name);
    let new = all.into_iter().skip(*known).collect::<Vec<_>>();
    *known += new.len();
    new
}

/// Rule and severity.
fn briefs(states: &[State]) -> Vec<String> {
    states.iter().map(|state| format!("{} {}", state.rule, state.severity)).collect()
}

fn drip(from: u32, count: u32) -> String {
    let row = |n: u32| {
        format!(
            "INSERT INTO zz1 SELECT email,'x' FROM customer_entity WHERE entity_id={};\n",
            from + n
        )
    };
    (0..count).map(row).collect()
}

fn acts(server: Server) {
    let shop = shop(server);
    let mut known = found(&shop, "begin").len();
    let mut check = |name: &str, sql: &str, want: &[&str]| {
        let new = after(&shop, &mut known, name, sql);
        assert_eq!(briefs(&new), want, "{name}: {new:#?}");
        new
    };
    // Columns without a name of their own, and nobody's statement says what they are.
    let made = "CREATE TABLE zz2 (a varchar(255), b varchar(255));\n\
                INSERT INTO zz2 SELECT email,lastname FROM customer_entity WHERE entity_id>20 AND entity_id<=100;";
    let copy = check("at-once", made, &["bulk-copy 3"]);
    assert!(copy[0].message.contains("80 persons"), "{}", copy[0].message);
    check("few", "CREATE TABLE zz1 (a varchar(255), b varchar(64));\n", &[]);
    check("drip-begins", &drip(101, 24), &["phi-surface 2"]);
    check("drip", &drip(125, 2), &["bulk-copy 3"]);
    let body = "INSERT INTO importexport_importdata (entity,behavior,data) SELECT 'customer','append',\
                CONCAT('[{\"m\":\"',email,'\"}]') FROM customer_entity WHERE entity_id>20 AND entity_id<=60;";
    check("body", body, &["bulk-copy 3"]);
    let canary = format!("UPDATE customer_entity SET middlename='Q' WHERE entity_id={CANARY};");
    check("canary", &canary, &["canary-touched 4"]);
    let clear = "UPDATE sales_order_payment SET cc_number_enc='4111111111111111' LIMIT 1;";
    check("card", clear, &["plaintext-phi 4"]);
    let tax = "UPDATE customer_entity SET taxvat='DE123456789' WHERE entity_id=21;";
    check("policy", tax, &["plaintext-phi 3"]);
    let comment = "INSERT INTO sales_order_status_history (parent_id,comment,entity_name) \
                   SELECT entity_id,'SSN 219-09-9999','order' FROM sales_order LIMIT 1;";
    check("comment", comment, &["phi-in-free-text 3"]);
    // Look-alikes: the shop's own work on other persons, an empty card, an ordinary comment.
    let ordinary = "UPDATE customer_entity SET middlename='Q' WHERE entity_id=22;\n\
                    UPDATE sales_order_payment SET cc_number_enc=NULL LIMIT 5;\n\
                    INSERT INTO sales_order_status_history (parent_id,comment,entity_name) \
                    SELECT entity_id,'call 212-736-5000, jane@example.com','order' FROM sales_order LIMIT 1;\n\
                    CREATE TABLE zz3 (a varchar(255));\n\
                    INSERT INTO zz3 SELECT sku FROM sales_order_item LIMIT 200;";
    check("ordinary", ordinary, &[]);
}

#[test]
fn mysql_values_are_known_again() {
    acts(Server::MySql);
}

#[test]
fn mariadb_values_are_known_again() {
    acts(Server::MariaDb);
}
