//! A transaction as the binlog frames it.

use crate::{BinlogPosition, EventTime, Gtid};

/// What is known of a transaction while its rows come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Start of its first event (the GTID event, or BEGIN where there is none).
    pub start: BinlogPosition,
    /// None if anonymous, or lost with a damaged event.
    pub gtid: Option<Gtid>,
    /// Commit time.
    pub time: EventTime,
    /// The server that first executed it (kept through replicas).
    pub server_id: u32,
    /// The session's thread id on that server, where the binlog carries it.
    pub thread: Option<u32>,
}

/// How a transaction, or a piece of it, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// XID, COMMIT, or a statement that commits by itself (DDL, account statements).
    Commit,
    /// ROLLBACK: its transactional rows have no effect.
    Rollback,
    /// XA PREPARE: the rows so far take effect only at the XA COMMIT of this xid.
    XaPrepared(Xid),
    /// XA COMMIT of an earlier prepared transaction.
    XaCommit(Xid),
    /// XA ROLLBACK of an earlier prepared transaction.
    XaRollback(Xid),
    /// The stream went on without an end (damage, or the file stopped in the middle).
    Torn,
}

/// An XA transaction's name, as the binlog writes it (`X'..',X'..',n`): hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xid(pub String);
