//! Exact rules of an operator's catalogue file.

use phiwatch_binlog::Malformed;
use phiwatch_magento::{Catalog, Fact, Observation, Settings};

use crate::world::{Absent, Cells, I, Null, T, World, fixtures};

fn world(rules: &str) -> World {
    let mut catalog = Catalog::builtin();
    catalog.extend(rules, "own.toml").unwrap();
    let mut world = World::of(catalog, Settings::default());
    world.stores();
    world
}

/// A rule over a table, with further lines.
fn rule(table: &str, on: &str, lines: &str) -> String {
    format!(
        "[[rule]]\nid = \"x-one\"\ntitle = \"One\"\ntable = \"{table}\"\non = [{on}]\n\
         severity = 3\nremediation = \"Ask.\"\n{lines}\n"
    )
}

#[track_caller]
fn fits(observations: &[Observation], want: bool) {
    let is_it = |one: &&Observation| matches!(one.fact, Some(Fact::Operator { .. }));
    assert_eq!(observations.iter().filter(is_it).count(), usize::from(want), "{observations:#?}");
}

#[test]
fn the_examples_of_the_page_are_catalogue_files() {
    let page = std::fs::read_to_string(fixtures().join("../docs/catalogue.md")).unwrap();
    let mut examples =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut catalog = Catalog::builtin();
    let count = examples.by_ref().map(|text| catalog.extend(text, "page").unwrap()).count();
    assert_eq!((count, catalog.operator_rules().count()), (4, 1));
    // Every key of a file is told.
    for key in ["table", "setting", "rule", "cascade", "noise", "rebuilt", "migration", "resources"]
    {
        assert!(
            page.contains(&format!("{key}]]")) || page.contains(&format!("\n{key} = ")),
            "{key}"
        );
    }
}

#[test]
fn conditions_are_equality_after_the_change() {
    let text = "where = { website_id = [2, 3], email = \"c@example.com\" }";
    let mut world = world(&rule("customer_entity", "\"insert\", \"delete\"", text));
    let row = |website, email| [("entity_id", I(1)), ("website_id", website), ("email", email)];
    fits(&world.insert("customer_entity", &row(I(2), T("c@example.com"))), true);
    fits(&world.insert("customer_entity", &row(I(1), T("c@example.com"))), false);
    fits(&world.insert("customer_entity", &row(Null, T("c@example.com"))), false);
    fits(&world.insert("customer_entity", &row(I(2), T("C@example.com"))), false);
    fits(&world.insert("customer_entity", &row(I(2), Null)), false);
    fits(&world.delete("customer_entity", &row(I(3), T("c@example.com"))), true);
    let after: Cells<'_> = &[("website_id", I(2))];
    let moved = world.update("customer_entity", &row(I(1), T("c@example.com")), after);
    fits(&moved, false);
}

#[test]
fn an_update_must_have_changed_one_of_the_columns() {
    let text = "changed = [\"group_id\", \"dob\"]";
    let mut world = world(&rule("customer_entity", "\"update\"", text));
    let before: Cells<'_> = &[("entity_id", I(1)), ("website_id", I(2)), ("group_id", I(1))];
    fits(&world.update("customer_entity", before, &[("group_id", I(2))]), true);
    fits(&world.update("customer_entity", before, &[("group_id", I(1))]), false);
    fits(&world.update("customer_entity", before, &[("firstname", T("Ann"))]), false);
    fits(&world.insert("customer_entity", before), false);
}

#[test]
fn numbers_are_compared_with_their_sign() {
    let text = "where = { parent_id = -1 }";
    let mut world = world(&rule("customer_address_entity", "\"insert\"", text));
    // The column is unsigned: its bits are those of -1, its number is not.
    let row: Cells<'_> = &[("entity_id", I(1)), ("parent_id", I(u64::from(u32::MAX)))];
    fits(&world.insert("customer_address_entity", row), false);
}

#[test]
fn a_table_of_settings_can_have_a_rule_and_one_without_any_other_too() {
    let text = "where = { status = \"error\" }";
    let mut world = world(&rule("cron_schedule", "\"insert\"", text));
    let row: Cells<'_> = &[("job_code", T("acme_sync")), ("status", T("error"))];
    fits(&world.insert("cron_schedule", row), true);
}

#[test]
fn what_an_image_lacks_is_no_verdict_and_is_said() {
    let mut world = world(&rule("customer_entity", "\"update\"", "where = { group_id = 2 }"));
    let before: Cells<'_> = &[("entity_id", I(1)), ("website_id", I(1)), ("group_id", Absent)];
    fits(&world.update("customer_entity", before, &[("email", T("d@example.com"))]), false);
    assert_eq!(world.classifier.take_lost(), Some(Malformed::RowImage));
}

#[test]
fn a_column_that_is_not_there_or_of_another_type_switches_the_rule_off() {
    for text in
        ["changed = [\"acme_number\"]", "where = { group_id = \"2\" }", "where = { email = 2 }"]
    {
        let mut world = world(&rule("customer_entity", "\"update\"", text));
        let before: Cells<'_> =
            &[("entity_id", I(1)), ("website_id", I(1)), ("group_id", I(2)), ("email", T("2"))];
        fits(&world.update("customer_entity", before, &[("firstname", T("Ann"))]), false);
        let column = text.split(['"', ' ']).find(|word| word.contains('_') || *word == "email");
        let absent: Vec<_> = world.classifier.absent_columns().collect();
        assert!(absent.contains(&("customer_entity", column.unwrap())), "{absent:?}");
    }
}
