//! Events too large to be kept whole, used as their parts come.
//!
//! - Rows: kept without long values that nobody wants ([`Compactor`]), walked at the end.
//! - Payloads: inflated at once; the transaction's end waits for the event's checksum.
//! - Others: kept up to the limit if they mean something, passed over if not.

use std::sync::Arc;

use crate::compact::Compactor;
use crate::decoder::{Context, Decoder, Refusal};
use crate::format::Checksum;
use crate::framing::{CHECKSUM_BYTES, HEADER_BYTES, Header, kind};
use crate::payload::Payload;
use crate::rows::{RowsHead, RowsKind};
use crate::table_cache::{Entry, Mapped};
use crate::{Malformed, Projection, TableName, Visitor};

/// An event of a payload up to this size is used whole.
pub(crate) const WHOLE_BYTES_MAX: u64 = 1 << 20;
/// What an event is, is decided when so much of it is there (the largest possible start of a rows
/// event is little more than 64 KiB).
const HEAD_BYTES: usize = 128 << 10;

/// An event under way.
#[derive(Debug)]
pub(crate) struct Large {
    context: Context,
    /// Body bytes still to come, without the checksum.
    body_left: u64,
    /// What follows the body.
    tail: Vec<u8>,
    tail_left: usize,
    crc: Option<crc32fast::Hasher>,
    what: What,
    refusal: Option<Refusal>,
    /// The last rows of a statement.
    ends_statement: bool,
}

#[derive(Debug)]
enum What {
    /// Not decided yet.
    Head(Vec<u8>),
    Whole(Vec<u8>),
    Rows(Box<Compactor>),
    Payload(Box<Payload>),
    /// Nothing of it is wanted.
    Ignored(Arc<Mapped>),
    Past,
}

/// What became of an event.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) row: u64,
    pub(crate) result: Result<(), Refusal>,
}

impl Large {
    /// An event of a binlog, with its checksum if there is one.
    fn outer(decoder: &Decoder, offset: u64, header: Header) -> Self {
        let end = offset.saturating_add(header.event_bytes.into());
        let context = Context { header, offset, end, is_inner: false, is_unverified: true, row: 0 };
        // A format description says itself whether it has one: checked where it is parsed.
        let has_tail =
            decoder.format.checksum != Checksum::Off && header.kind != kind::FORMAT_DESCRIPTION;
        let tail_left = if has_tail { CHECKSUM_BYTES } else { 0 };
        let mut crc = has_tail.then(crc32fast::Hasher::new);
        if let Some(crc) = &mut crc {
            crc.update(&header.to_bytes());
        }
        Self::new(context, tail_left, crc)
    }

    /// An event of a payload: no checksum. Its header was used.
    pub(crate) fn inner(context: Context) -> Self {
        Self::new(context, 0, None)
    }

    fn new(context: Context, tail_left: usize, crc: Option<crc32fast::Hasher>) -> Self {
        let body = u64::from(context.header.event_bytes).saturating_sub(HEADER_BYTES as u64);
        Self {
            context,
            body_left: body.saturating_sub(tail_left as u64),
            tail: Vec::new(),
            tail_left,
            crc,
            what: What::Head(Vec::new()),
            refusal: None,
            ends_statement: false,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.body_left == 0 && self.tail_left == 0
    }

    /// Uses what belongs to the event of the bytes, and says how many these are.
    pub(crate) fn push(
        &mut self,
        decoder: &mut Decoder,
        bytes: &[u8],
        visitor: &mut impl Visitor,
    ) -> usize {
        let body = usize::try_from(self.body_left).unwrap_or(usize::MAX).min(bytes.len());
        let (body, rest) = bytes.split_at(body);
        self.body_left = self.body_left.saturating_sub(body.len() as u64);
        if let Some(crc) = &mut self.crc {
            crc.update(body);
        }
        self.body(decoder, body, visitor);
        let tail = self.tail_left.min(rest.len());
        self.tail.extend(rest.get(..tail).unwrap_or_default());
        self.tail_left = self.tail_left.saturating_sub(tail);
        body.len().saturating_add(tail)
    }

    fn body(&mut self, decoder: &mut Decoder, bytes: &[u8], visitor: &mut impl Visitor) {
        match &mut self.what {
            What::Head(head) => {
                head.extend(bytes);
                if head.len() >= HEAD_BYTES {
                    self.decide(decoder, visitor);
                }
            }
            What::Whole(body) => {
                let bytes_max = u64::from(decoder.limits.event_bytes_max);
                let total = (body.len() as u64).saturating_add(bytes.len() as u64);
                if total > bytes_max {
                    self.pass_over(too_large(&self.context, bytes_max).into());
                } else {
                    body.extend(bytes);
                }
            }
            What::Rows(rows) => {
                if let Err(cause) = rows.push(bytes) {
                    let cause = of_the_event(cause, &self.context);
                    let table = Some(rows.table());
                    self.pass_over(Refusal { cause, table });
                }
            }
            What::Payload(payload) => payload.push(decoder, &self.context, bytes, visitor),
            What::Ignored(_) | What::Past => {}
        }
    }

    fn pass_over(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
        self.what = What::Past;
    }

    /// Enough of the event is there to know what to do with it.
    fn decide(&mut self, decoder: &mut Decoder, visitor: &mut impl Visitor) {
        let What::Head(head) = std::mem::replace(&mut self.what, What::Past) else { return };
        match self.context.header.kind {
            kind::TRANSACTION_PAYLOAD if !self.context.is_inner => {
                match Payload::start(decoder, &head) {
                    Ok((mut payload, data)) => {
                        payload.push(decoder, &self.context, data, visitor);
                        self.what = What::Payload(Box::new(payload));
                    }
                    Err(cause) => self.pass_over(cause.into()),
                }
            }
            kind::ROWS_QUERY
            | kind::MARIA_ANNOTATE_ROWS
            | kind::IGNORABLE
            | kind::APPEND_BLOCK
            | kind::BEGIN_LOAD_QUERY
            | kind::USER_VAR => {}
            code => match RowsKind::of(code) {
                Some(rows) => match self.rows(decoder, rows, &head) {
                    Ok(what) => self.what = what,
                    Err(refusal) => self.pass_over(refusal),
                },
                None => {
                    self.what = What::Whole(Vec::new());
                    self.body(decoder, &head, visitor);
                }
            },
        }
    }

    fn rows(
        &mut self,
        decoder: &mut Decoder,
        kind: RowsKind,
        body: &[u8],
    ) -> Result<What, Refusal> {
        let id_bytes = decoder.format.table_id_bytes(self.context.header.kind);
        let head = RowsHead::parse(kind, body, id_bytes)?;
        self.ends_statement = head.ends_statement;
        let table_id = head.table_id;
        let mapped = match decoder.tables.get(table_id) {
            Some(Entry::Mapped(mapped)) => mapped.clone(),
            Some(Entry::Refused(name, cause)) => {
                return Err(Refusal { cause: cause.clone(), table: Some(name.clone()) });
            }
            None => return Err(Malformed::UnmappedTable { table_id }.into()),
        };
        if mapped.plan.projection == Projection::Ignore {
            return Ok(What::Ignored(mapped));
        }
        let table = mapped.name();
        let bytes_max = decoder.limits.event_bytes_max;
        let context = &self.context;
        let begin = || {
            let rows = head.rows(mapped.table.columns.len())?;
            let before = body.len().saturating_sub(rows.data().len());
            let start = body.get(..before).unwrap_or_default();
            let mut compactor = Compactor::new(mapped.clone(), rows.images(), start, bytes_max)?;
            compactor.push(rows.data())?;
            Ok(What::Rows(Box::new(compactor)))
        };
        begin().map_err(|cause| Refusal { cause: of_the_event(cause, context), table: Some(table) })
    }

    /// The event is whole: its checksum is known, and what was kept is used.
    pub(crate) fn finish(mut self, decoder: &mut Decoder, visitor: &mut impl Visitor) -> Outcome {
        let checked = self.checksum(decoder, visitor);
        if matches!(self.what, What::Head(_)) && checked.is_ok() {
            self.decide(decoder, visitor);
        }
        let is_payload = self.context.header.kind == kind::TRANSACTION_PAYLOAD;
        let mut context = self.context;
        if let What::Payload(payload) = self.what {
            let is_read = payload.finish(decoder, &context, visitor);
            context.is_unverified = false;
            let result = decoder.payload_ends(&context, is_read, checked, visitor);
            return Outcome { row: context.row, result };
        }
        if !context.is_inner {
            context.is_unverified = false;
        }
        let result = checked.map_err(Refusal::from).and_then(|()| match self.what {
            _ if self.refusal.is_some() => self.refusal.take().map_or(Ok(()), Err),
            What::Whole(body) => decoder.dispatch(&mut context, &body, visitor).map(|_| ()),
            What::Rows(rows) => {
                self.ends_statement = false;
                context.header.kind = RowsKind::plain(context.header.kind);
                let table = rows.table();
                let body = rows.finish().map_err(|cause| Refusal { cause, table: Some(table) })?;
                decoder.dispatch(&mut context, &body, visitor).map(|_| ())
            }
            What::Ignored(mapped) => {
                let bytes = usize::try_from(context.header.event_bytes).unwrap_or(usize::MAX);
                visitor.ignored(&mapped.table, bytes);
                Ok(())
            }
            What::Head(_) | What::Payload(_) | What::Past => Ok(()),
        });
        if self.ends_statement {
            decoder.end_statement();
        }
        if is_payload && result.is_err() {
            decoder.is_payload_lost = true;
        }
        Outcome { row: context.row, result }
    }

    /// Checks the checksum; bytes that turn out to be none belong to the body.
    fn checksum(
        &mut self,
        decoder: &mut Decoder,
        visitor: &mut impl Visitor,
    ) -> Result<(), Malformed> {
        let Some(crc) = self.crc.take() else { return Ok(()) };
        let Some(found) = self.tail.first_chunk::<CHECKSUM_BYTES>() else {
            let left = self.tail.len() as u64;
            return Err(Malformed::Truncated { field: "checksum", needed: 4, left });
        };
        let (found, computed) = (u32::from_le_bytes(*found), crc.finalize());
        match decoder.format.checksum {
            _ if found == computed => Ok(()),
            Checksum::Crc32 => Err(Malformed::Checksum { found, computed }),
            Checksum::Off | Checksum::Unknown => {
                let tail = std::mem::take(&mut self.tail);
                self.body(decoder, &tail, visitor);
                Ok(())
            }
        }
    }
}

/// A large event of a stream: in use, or refused.
#[derive(Debug)]
pub(crate) enum Parts {
    Used(Box<Large>),
    Refused { offset: u64, bytes: u64, cause: Malformed },
}

impl Decoder {
    /// Decodes an event that is too large to be held whole: its parts, one after the other, with
    /// nothing between them. `offset` is the event's start, `left` how many of its bytes come
    /// after this part. The first part holds the event's header.
    pub fn part(&mut self, offset: u64, bytes: &[u8], left: u64, visitor: &mut impl Visitor) {
        let (mut parts, bytes) = match self.parts.take() {
            Some(parts) => (parts, bytes),
            None => {
                self.tell_torn(offset, visitor);
                (
                    self.first_part(offset, bytes, left),
                    bytes.get(HEADER_BYTES..).unwrap_or_default(),
                )
            }
        };
        if let Parts::Used(large) = &mut parts
            && !self.is_encrypted
        {
            large.push(self, bytes, visitor);
        }
        if left > 0 {
            self.parts = Some(parts);
            return;
        }
        if self.is_encrypted {
            return;
        }
        match parts {
            Parts::Refused { offset, bytes, cause } => self.damaged(offset, bytes, cause, visitor),
            Parts::Used(large) => {
                let context = Context { is_unverified: false, ..large.context };
                self.offset_after = context.end;
                let outcome = large.finish(self, visitor);
                if let Err(refusal) = outcome.result {
                    self.refuse(&context, refusal, visitor);
                }
                if std::mem::take(&mut self.is_payload_lost) {
                    self.deferred = None;
                    self.tear(context.end, visitor);
                }
            }
        }
    }

    fn first_part(&self, offset: u64, bytes: &[u8], left: u64) -> Parts {
        let found = (bytes.len() as u64).saturating_add(left);
        match Header::parse(bytes) {
            Ok(header) if u64::from(header.event_bytes) == found => {
                Parts::Used(Box::new(Large::outer(self, offset, header)))
            }
            Ok(header) => {
                let claimed = header.event_bytes.into();
                let cause = Malformed::EventSize { claimed, found };
                Parts::Refused { offset, bytes: found, cause }
            }
            Err(cause) => Parts::Refused { offset, bytes: found, cause },
        }
    }

    /// What was under way in parts was cut off: one gap.
    pub(crate) fn cut_parts(&mut self, visitor: &mut impl Visitor) {
        let Some(parts) = self.parts.take() else { return };
        self.deferred = None;
        let (at, needed) = match &parts {
            Parts::Used(large) => (large.context.offset, large.context.header.event_bytes.into()),
            Parts::Refused { offset, bytes, .. } => (*offset, *bytes),
        };
        self.damaged(at, 0, Malformed::Truncated { field: "event", needed, left: 0 }, visitor);
    }

    /// A payload event was used to its end; now its checksum is known, and so its transaction's
    /// end counts.
    fn payload_ends(
        &mut self,
        context: &Context,
        is_read: bool,
        checked: Result<(), Malformed>,
        visitor: &mut impl Visitor,
    ) -> Result<(), Refusal> {
        let end = self.deferred.take();
        if is_read && checked.is_ok() {
            if let Some(end) = end {
                self.end(context, &end, visitor);
            }
            return Ok(());
        }
        self.is_payload_lost = true;
        if is_read { checked.map_err(Refusal::from) } else { Ok(()) }
    }
}

fn too_large(context: &Context, bytes_max: u64) -> Malformed {
    Malformed::TooLarge { field: "event", bytes: context.header.event_bytes.into(), bytes_max }
}

/// What was kept is over the limit: told with the event's size.
fn of_the_event(cause: Malformed, context: &Context) -> Malformed {
    match cause {
        Malformed::TooLarge { bytes_max, .. } => too_large(context, bytes_max),
        cause => cause,
    }
}

impl Mapped {
    pub(crate) fn name(&self) -> TableName {
        TableName { database: self.table.database.clone(), table: self.table.name.clone() }
    }
}
