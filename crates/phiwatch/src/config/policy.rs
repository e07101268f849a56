//! `[policy]`: names of columns, attributes and persons, ready for the classifier.

use std::collections::BTreeSet;

use phiwatch_magento::{AttributeOf, Policy};

use super::{ConfigError, PolicyFile, value};

/// Seeded persons, of each kind.
const CANARIES_MAX: usize = 10_000;

/// What the classifier needs of it.
pub(super) fn policy(file: &PolicyFile, prefix: &str) -> Result<Policy, ConfigError> {
    for (key, count) in [
        ("policy.canary_customers", file.canary_customers.len()),
        ("policy.canary_emails", file.canary_emails.len()),
    ] {
        if count > CANARIES_MAX {
            return Err(value(key, count.to_string(), format!("at most {CANARIES_MAX} entries")));
        }
    }
    let is_customer = |id: &u64| (1..=u64::from(u32::MAX)).contains(id);
    if let Some(id) = file.canary_customers.iter().find(|id| !is_customer(id)) {
        return Err(value("policy.canary_customers", id.to_string(), "a customer's entity_id"));
    }
    // An address is not repeated: errors go to logs.
    let is_email =
        |email: &&String| email.split_once('@').is_none_or(|(a, b)| a.is_empty() || b.is_empty());
    if let Some(at) = file.canary_emails.iter().position(|email| is_email(&email)) {
        let place = format!("entry {}", at + 1);
        return Err(value("policy.canary_emails", place, "an e-mail address"));
    }
    Ok(Policy {
        encrypted_columns: columns("policy.encrypted_columns", &file.encrypted_columns, prefix)?,
        encrypted_attributes: attributes(&file.encrypted_attributes)?,
        free_text_columns: columns("policy.free_text_columns", &file.free_text_columns, prefix)?,
        canary_customers: file.canary_customers.clone(),
        canary_emails: file.canary_emails.clone(),
    })
}

/// Tables are known without the shop's prefix; with it they are understood, too.
fn columns(
    key: &'static str,
    names: &[String],
    prefix: &str,
) -> Result<BTreeSet<(String, String)>, ConfigError> {
    names
        .iter()
        .map(|name| match name.split_once('.') {
            Some((table, column)) if !table.is_empty() && !column.is_empty() => {
                let table = table.strip_prefix(prefix).unwrap_or(table);
                Ok((table.to_owned(), column.to_owned()))
            }
            _ => Err(value(key, name, "table.column, for example sales_order.customer_taxvat")),
        })
        .collect()
}

fn attributes(names: &[String]) -> Result<BTreeSet<(AttributeOf, String)>, ConfigError> {
    names
        .iter()
        .map(|name| {
            let parts = name.split_once('/').filter(|(_, code)| !code.is_empty());
            let named = parts.and_then(|(of, code)| Some((AttributeOf::by_name(of)?, code)));
            named.map(|(of, code)| (of, code.to_owned())).ok_or_else(|| {
                value(
                    "policy.encrypted_attributes",
                    name,
                    "customer/code or customer_address/code, for example customer/primary_diagnosis",
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &PolicyFile, want: Result<(), &str>) {
        match (policy(file, "m2_"), want) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => {
                let error = error.to_string();
                assert!(error.contains(part), "{error:?} lacks {part:?}");
            }
            (got, want) => panic!("got {:?}, want {want:?}", got.map(|_| ())),
        }
    }

    fn with(change: impl Fn(&mut PolicyFile)) -> PolicyFile {
        let mut file = PolicyFile::default();
        change(&mut file);
        file
    }

    #[test]
    fn names_are_read_and_bad_ones_refused() {
        let list = |text: &str| vec![text.to_owned()];
        let good = with(|file| {
            file.encrypted_columns = list("m2_sales_order.customer_taxvat");
            file.encrypted_attributes = list("customer/primary_diagnosis");
            file.canary_emails = list("canary@example.com");
        });
        let policy = policy(&good, "m2_").unwrap();
        let column = ("sales_order".to_owned(), "customer_taxvat".to_owned());
        assert!(policy.encrypted_columns.contains(&column));
        check(&with(|file| file.encrypted_columns = list("taxvat")), Err("table.column"));
        check(&with(|file| file.free_text_columns = list("a.")), Err("table.column"));
        check(&with(|file| file.encrypted_attributes = list("order/x")), Err("customer/code"));
        check(&with(|file| file.canary_customers = vec![0]), Err("entity_id"));
        check(&with(|file| file.canary_customers = vec![u64::MAX]), Err("entity_id"));
        check(&with(|file| file.canary_customers = vec![1; CANARIES_MAX]), Ok(()));
        check(&with(|file| file.canary_customers = vec![1; CANARIES_MAX + 1]), Err("at most"));
    }

    #[test]
    fn a_bad_address_is_not_repeated() {
        let file = with(|file| file.canary_emails = vec!["secret.example.com".to_owned()]);
        let error = policy(&file, "").unwrap_err().to_string();
        assert!(error.contains("entry 1") && !error.contains("secret"), "{error}");
    }
}
