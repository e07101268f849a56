//! The client side of the MySQL protocol: packets, login, plain text queries.
//!
//! One client for questions and for the dump, so that TLS, login and limits are the same.

mod auth;
mod connection;
mod handshake;
mod packet;
mod tls;

pub(crate) use connection::{Connection, Row, lost, silent};
pub(crate) use packet::Packet;
pub(crate) use tls::is_expired;
