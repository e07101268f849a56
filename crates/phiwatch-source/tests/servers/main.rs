//! Against real servers: `PHIWATCH_TEST_MYSQL` and `PHIWATCH_TEST_MARIADB` (`host:port`, default the
//! ones that `deploy/dev/up.sh` starts), with its accounts phi_admin and phi_repl.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod certificate;
mod doctor;
mod dump;
mod failover;
mod link;
mod login;
mod purge;
mod questions;
mod reset;
mod support;
mod watch;
