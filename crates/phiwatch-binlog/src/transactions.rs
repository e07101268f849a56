//! Where transactions begin and end, and what statements do to them.

use std::sync::Arc;

use crate::classify::{Classified, Facts, classify};
use crate::decoder::{Context, Decoder, Refusal};
use crate::framing::{Header, kind};
use crate::gtid_event::{self, GtidEvent};
use crate::query::{self, QueryEvent};
use crate::{
    End, EventTime, Gtid, Malformed, SqlText, Statement, StatementKind, Transaction, Visitor,
    inflate,
};

/// A transaction whose end has not come.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) transaction: Transaction,
    /// It lasts until an explicit end; otherwise a single statement ends it.
    in_group: bool,
    /// BEGIN or rows were seen: another BEGIN belongs to another transaction.
    is_begun: bool,
    /// The time is of the whole transaction, not of its current event.
    is_time_known: bool,
    /// An event was damaged: what a statement says of the thread is not taken for the group's.
    is_lost: bool,
    /// Statements that have ended.
    pub(crate) statement: u32,
}

impl Open {
    /// After damage: this may be another transaction already.
    pub(crate) fn forget(&mut self) {
        self.transaction.gtid = None;
        self.transaction.thread = None;
        self.is_time_known = false;
        self.is_lost = true;
    }
}

fn time_of(header: &Header) -> EventTime {
    EventTime(i64::from(header.timestamp_secs).saturating_mul(1_000_000))
}

impl Decoder {
    /// The open transaction's GTID.
    pub(crate) fn gtid(&self) -> Option<Gtid> {
        self.open.as_ref().and_then(|open| open.transaction.gtid.clone())
    }

    /// Ends what is open as torn; `next` is where something new begins.
    pub(crate) fn tear(&mut self, next: u64, visitor: &mut impl Visitor) {
        if let Some(open) = self.open.take() {
            visitor.end(&open.transaction, &End::Torn, &self.position(next));
        }
    }

    pub(crate) fn end(&mut self, context: &Context, end: &End, visitor: &mut impl Visitor) {
        if context.is_unverified {
            self.deferred = self.open.is_some().then(|| end.clone());
            return;
        }
        if let Some(open) = self.open.take() {
            visitor.end(&open.transaction, end, &self.position(context.end));
        }
    }

    /// Ends a transaction that consists of a single event.
    pub(crate) fn end_ungrouped(&mut self, context: &Context, visitor: &mut impl Visitor) {
        if self.open.as_ref().is_some_and(|open| !open.in_group) {
            self.end(context, &End::Commit, visitor);
        }
    }

    pub(crate) fn gtid_event(
        &mut self,
        context: &Context,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<(), Refusal> {
        self.tear(context.offset, visitor);
        let event = match context.header.kind {
            kind::GTID_TAGGED => gtid_event::tagged(body)?,
            kind::MARIA_GTID => gtid_event::mariadb(body, context.header.server_id)?,
            code => gtid_event::mysql(body, code == kind::ANONYMOUS_GTID)?,
        };
        self.open(context, event, true, visitor);
        Ok(())
    }

    fn open(
        &mut self,
        context: &Context,
        event: GtidEvent,
        is_time_known: bool,
        visitor: &mut impl Visitor,
    ) {
        let transaction = Transaction {
            start: self.position(context.offset),
            gtid: event.gtid,
            time: event.time_us.map_or_else(|| time_of(&context.header), EventTime),
            server_id: context.header.server_id,
            thread: event.thread,
        };
        visitor.begin(&transaction);
        if event.is_prepared {
            visitor.prepares(&transaction);
        }
        self.open = Some(Open {
            transaction,
            in_group: event.begins_group,
            is_begun: false,
            is_time_known,
            is_lost: false,
            statement: 0,
        });
    }

    /// Opens a transaction that has no GTID event, or whose GTID event was lost.
    fn ensure_open(&mut self, context: &Context, begins_group: bool, visitor: &mut impl Visitor) {
        if self.open.is_none() {
            let event = GtidEvent { begins_group, ..GtidEvent::default() };
            self.open(context, event, false, visitor);
        }
    }

    /// Rows come: the transaction that they belong to.
    pub(crate) fn open_for_rows(
        &mut self,
        context: &Context,
        visitor: &mut impl Visitor,
    ) -> Option<&Open> {
        self.ensure_open(context, true, visitor);
        let open = self.open.as_mut()?;
        open.is_begun = true;
        open.in_group = true;
        if !open.is_time_known {
            open.transaction.time = time_of(&context.header);
        }
        Some(open)
    }

    pub(crate) fn end_statement(&mut self) {
        if let Some(open) = &mut self.open {
            open.statement = open.statement.saturating_add(1);
        }
    }

    pub(crate) fn query(
        &mut self,
        context: &Context,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<(), Refusal> {
        let event = QueryEvent::parse(body, self.format.query_excess_bytes())?;
        self.query_event(context, event, visitor);
        Ok(())
    }

    pub(crate) fn query_compressed(
        &mut self,
        context: &Context,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<(), Refusal> {
        let event = QueryEvent::parse(body, self.format.query_excess_bytes())?;
        let mut text = Vec::new();
        inflate::maria_block(event.text, self.limits.event_bytes_max, &mut text)?;
        self.query_event(context, QueryEvent { text: &text, ..event }, visitor);
        Ok(())
    }

    /// LOAD DATA as text: behind the fields of a QUERY stand those of the file (13 bytes).
    pub(crate) fn load_query(
        &mut self,
        context: &Context,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<(), Refusal> {
        const FILE_FIELDS: usize = 13;
        let mut event = QueryEvent::parse(body, FILE_FIELDS)?;
        event.error_code = 0;
        self.query_event(context, event, visitor);
        Ok(())
    }

    fn query_event(
        &mut self,
        context: &Context,
        event: QueryEvent<'_>,
        visitor: &mut impl Visitor,
    ) {
        // Nearly all of them, so no tokenizer.
        if event.text == b"BEGIN" {
            return self.begin_group(context, event.thread, visitor);
        }
        let database: Arc<str> = String::from_utf8_lossy(event.database).into();
        match classify(event.text, event.mode, &database) {
            Classified::Nothing => {}
            // MariaDB has no BEGIN: such a statement may be the first to name the thread.
            Classified::Inner => self.learn_thread(event.thread),
            Classified::Begin => self.begin_group(context, event.thread, visitor),
            Classified::XaStart => {
                self.begin_group(context, event.thread, visitor);
                if let Some(open) = &self.open {
                    visitor.prepares(&open.transaction);
                }
            }
            Classified::Commit => self.end(context, &End::Commit, visitor),
            Classified::Rollback => self.end(context, &End::Rollback, visitor),
            Classified::XaCommit(xid) => {
                self.single(context, event.thread, visitor);
                self.end(context, &End::XaCommit(xid), visitor);
            }
            Classified::XaRollback(xid) => {
                self.single(context, event.thread, visitor);
                self.end(context, &End::XaRollback(xid), visitor);
            }
            Classified::Statement(facts) => {
                self.single(context, event.thread, visitor);
                self.statement(context, event, database, facts, visitor);
                self.end_ungrouped(context, visitor);
            }
        }
    }

    fn begin_group(&mut self, context: &Context, thread: u32, visitor: &mut impl Visitor) {
        if self.open.as_ref().is_some_and(|open| open.is_begun) {
            self.tear(context.offset, visitor);
        }
        self.ensure_open(context, true, visitor);
        if let Some(open) = &mut self.open {
            open.in_group = true;
            open.is_begun = true;
            open.is_lost = false;
            open.transaction.thread = Some(thread);
        }
    }

    /// A statement that may stand alone.
    fn single(&mut self, context: &Context, thread: u32, visitor: &mut impl Visitor) {
        self.ensure_open(context, false, visitor);
        self.learn_thread(thread);
    }

    fn learn_thread(&mut self, thread: u32) {
        if let Some(open) = &mut self.open
            && !open.is_lost
            && open.transaction.thread.is_none()
        {
            open.transaction.thread = Some(thread);
        }
    }

    fn statement(
        &mut self,
        context: &Context,
        event: QueryEvent<'_>,
        database: Arc<str>,
        facts: Facts,
        visitor: &mut impl Visitor,
    ) {
        let Some(open) = &mut self.open else { return };
        if !open.is_time_known {
            open.transaction.time = time_of(&context.header);
        }
        let kind = match facts.kind {
            // Inside BEGIN (MySQL before 8.0.21) or a GTID group (MariaDB) rows follow.
            StatementKind::CreateTable if open.in_group => StatementKind::CreateTableSelect,
            kind => kind,
        };
        let statement = Statement {
            offset: context.offset,
            kind,
            tables: facts.tables,
            sources: facts.sources,
            grant: facts.grant,
            database,
            text: SqlText::new(event.text),
            error_code: event.error_code,
        };
        visitor.statement(&open.transaction, &statement);
        let cause = match kind {
            StatementKind::Dml | StatementKind::LoadData => Malformed::StatementFormat,
            StatementKind::Unknown => Malformed::UnknownStatement,
            _ if event.error_code != 0 => {
                Malformed::PartialStatement { error_code: event.error_code }
            }
            _ => return,
        };
        let table = statement.tables.into_iter().next();
        self.refuse(context, Refusal { cause, table }, visitor);
    }

    pub(crate) fn xa_prepare(
        &mut self,
        context: &Context,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<(), Refusal> {
        let end = match query::xa_prepare(body)? {
            Some(xid) => End::XaPrepared(xid),
            None => End::Commit,
        };
        self.end(context, &end, visitor);
        Ok(())
    }
}
