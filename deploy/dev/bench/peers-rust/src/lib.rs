//! What the programs of `src/bin` share: the shop that they write, and how they reach the server.

pub mod oltp;
pub mod shop;

use mysql_async::{Conn, OptsBuilder, prelude::Queryable};

/// Value of the option `--name`, or `default`.
///
/// # Panics
/// If the value does not parse: these are programs for one script.
pub fn option<T: std::str::FromStr>(name: &str, default: T) -> T {
    let flag = format!("--{name}");
    let mut arguments = std::env::args().skip_while(|argument| *argument != flag);
    match (arguments.next(), arguments.next()) {
        (Some(_), Some(value)) => value.parse().unwrap_or_else(|_| panic!("{flag} {value}")),
        _ => default,
    }
}

/// Where a server of `deploy/dev` listens on loopback (`--port`).
#[must_use]
pub fn server() -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(option("port", 33097))
        .prefer_socket(false)
}

/// A session of the account that may do all, in the shop's database if it is there.
pub async fn admin() -> anyhow::Result<Conn> {
    let account = server().user(Some("phi_admin")).pass(Some("phi_admin"));
    let mut connection = Conn::new(account).await?;
    connection.query_drop("SET sql_mode='', time_zone='+00:00'").await?;
    let has_shop: Option<String> = connection.query_first("SHOW DATABASES LIKE 'magento'").await?;
    if has_shop.is_some() {
        connection.query_drop("USE magento").await?;
    }
    Ok(connection)
}
