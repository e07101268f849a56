//! The catalogue against a real schema.

use phiwatch_magento::Catalog;

use crate::world::schema;

#[test]
fn every_table_is_known_noise_or_impersonal() {
    let catalog = Catalog::builtin();
    for (table, columns) in schema() {
        let names: Vec<&str> = columns.iter().filter_map(|column| column.name.as_deref()).collect();
        let is_judged = catalog.table_class(&table).is_some() || catalog.is_noise(&table);
        assert!(is_judged || !catalog.shape(names).is_personal(), "{table}");
    }
}

#[test]
fn catalogued_columns_exist() {
    let catalog = Catalog::builtin();
    let mut missing = Vec::new();
    for (table, columns) in schema() {
        for (column, _) in catalog.phi_columns(&table) {
            if !columns.iter().any(|known| known.name.as_deref() == Some(column)) {
                missing.push(format!("{table}.{column}"));
            }
        }
    }
    // Columns of other versions or editions than the schema's.
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn personal_columns_of_known_tables_look_personal_by_name() {
    let catalog = Catalog::builtin();
    for table in ["customer_entity", "customer_address_entity", "sales_order", "quote_address"] {
        let columns: Vec<_> = catalog.phi_columns(table).map(|(name, _)| name).collect();
        assert!(catalog.shape(columns).is_personal(), "{table}");
    }
}
