//! Table maps, rows events and compressed transactions: what becomes row changes.

use std::sync::Arc;

use crate::decoder::{Context, Decoder, Refusal};
use crate::framing::{HEADER_BYTES, Header, kind};
use crate::inflate::{self, Payload};
use crate::reader::Reader;
use crate::rows::{Rows, RowsHead, RowsKind, Walk};
use crate::table_cache::{Entry, Mapped};
use crate::table_map::TableMap;
use crate::{Image, Malformed, Op, Projection, RowChange, Table, TableName, Visitor};

/// The table id of a rows event without rows, that only ends a statement.
const DUMMY_TABLE_ID: u64 = 0x00ff_ffff;

impl Decoder {
    pub(crate) fn table_map(
        &mut self,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<(), Refusal> {
        let mut reader = Reader::new(body);
        let id = reader.uint_le(self.format.table_id_bytes(kind::TABLE_MAP), "table id")?;
        let raw = reader.rest();
        if self.tables.is_known(id, raw) {
            return Ok(());
        }
        // If the new map is refused, the old one must not read its rows.
        self.tables.remove(id);
        let map = TableMap::parse(raw)?;
        let name = map.name.clone();
        let entry = match map.table(id, self.format.is_mariadb) {
            Ok(table) => Entry::Mapped(Arc::new(mapped(table, visitor))),
            // Told with each of its rows events, which is where something is missed.
            Err(cause @ Malformed::ColumnType { .. }) => Entry::Refused(name, cause),
            Err(cause) => return Err(Refusal { cause, table: Some(name) }),
        };
        self.tables.insert(id, raw, entry);
        Ok(())
    }

    pub(crate) fn rows(
        &mut self,
        context: &mut Context,
        kind: RowsKind,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<(), Refusal> {
        let id_bytes = self.format.table_id_bytes(context.header.kind);
        let head = RowsHead::parse(kind, body, id_bytes)?;
        let ends_statement = head.ends_statement;
        let result = self.rows_of(context, kind, head, body.len(), visitor);
        if ends_statement {
            self.end_statement();
        }
        result
    }

    fn rows_of(
        &mut self,
        context: &mut Context,
        kind: RowsKind,
        head: RowsHead<'_>,
        bytes: usize,
        visitor: &mut impl Visitor,
    ) -> Result<(), Refusal> {
        let table_id = head.table_id;
        let mapped = match self.tables.get(table_id) {
            Some(Entry::Mapped(mapped)) => mapped.clone(),
            Some(Entry::Refused(name, cause)) => {
                return Err(Refusal { cause: cause.clone(), table: Some(name.clone()) });
            }
            None if table_id == DUMMY_TABLE_ID => return Ok(()),
            None => return Err(Malformed::UnmappedTable { table_id }.into()),
        };
        if mapped.plan.projection == Projection::Ignore {
            visitor.ignored(&mapped.table, bytes);
            return Ok(());
        }
        let refused = |cause| {
            let Table { database, name, .. } = &mapped.table;
            let table = TableName { database: database.clone(), table: name.clone() };
            Refusal { cause, table: Some(table) }
        };
        let rows = head.rows(mapped.table.columns.len()).map_err(refused)?;
        if !kind.is_compressed {
            return self.emit(context, kind.op, &mapped, rows, visitor).map_err(refused);
        }
        let mut buffer = std::mem::take(&mut self.inflated);
        let result = inflate::maria_block(rows.data(), self.limits.event_bytes_max, &mut buffer)
            .and_then(|()| self.emit(context, kind.op, &mapped, rows.with_data(&buffer), visitor));
        if buffer.capacity() <= 1 << 20 {
            self.inflated = buffer;
        }
        result.map_err(refused)
    }

    fn emit(
        &mut self,
        context: &mut Context,
        op: Op,
        mapped: &Mapped,
        mut rows: Rows<'_>,
        visitor: &mut impl Visitor,
    ) -> Result<(), Malformed> {
        let Some(open) = self.open_for_rows(context, visitor) else { return Ok(()) };
        let mut before = mapped.walk.cells();
        let mut after = mapped.walk.cells();
        while !rows.is_end() {
            rows.next(&mapped.walk, &mut before, &mut after)?;
            let change = RowChange {
                table: &mapped.table,
                handle: mapped.plan.handle,
                offset: context.offset,
                row: context.row,
                statement: open.statement,
                op,
                before: (op != Op::Create).then_some(Image { cells: &before }),
                after: (op != Op::Delete).then_some(Image { cells: &after }),
            };
            context.row = context.row.saturating_add(1);
            visitor.row(&open.transaction, &change);
        }
        Ok(())
    }

    /// A compressed transaction, streamed: one event of it is in memory at a time.
    pub(crate) fn payload(
        &mut self,
        context: &mut Context,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) {
        let mut is_reported = false;
        let result = self.payload_events(context, body, &mut is_reported, visitor);
        if let Err(refusal) = result
            && !is_reported
        {
            self.refuse(context, refusal, visitor);
            is_reported = true;
        }
        // It was to be the whole transaction; its end may have been lost.
        if is_reported {
            self.tear(context.end, visitor);
        }
    }

    /// The first event inside that is refused is reported; the others are still read.
    fn payload_events(
        &mut self,
        context: &mut Context,
        body: &[u8],
        is_reported: &mut bool,
        visitor: &mut impl Visitor,
    ) -> Result<(), Refusal> {
        let head = PayloadHead::parse(body)?;
        let mut payload = if head.is_compressed {
            Payload::zstd(head.data, std::mem::take(&mut self.zstd))?
        } else {
            Payload::plain(head.data)
        };
        let mut left = head.bytes;
        let result = loop {
            match self.payload_event(context, &mut payload, &mut left, visitor) {
                Ok(Some(Ok(()))) => {}
                Ok(Some(Err(refusal))) => {
                    if !std::mem::replace(is_reported, true) {
                        self.refuse(context, refusal, visitor);
                    }
                }
                Ok(None) => break Ok(()),
                Err(cause) => break Err(cause.into()),
            }
        };
        self.zstd = payload.into_state();
        result
    }

    /// One event out of a payload: None at its end, an error if the payload is broken there, an
    /// inner error if only this event is refused.
    #[allow(clippy::type_complexity, reason = "two layers of failure, named in the comment")]
    fn payload_event(
        &mut self,
        context: &mut Context,
        payload: &mut Payload<'_>,
        left: &mut u64,
        visitor: &mut impl Visitor,
    ) -> Result<Option<Result<(), Refusal>>, Malformed> {
        const FIELD: &str = "event in a payload";
        let start = payload.peek(HEADER_BYTES)?;
        if start.is_empty() {
            return Ok(None);
        }
        let header = Header::parse(start)?;
        header.check(self.limits.event_bytes_max, false)?;
        let bytes = u64::from(header.event_bytes);
        *left = left.checked_sub(bytes).ok_or(Malformed::Truncated {
            field: FIELD,
            needed: bytes,
            left: *left,
        })?;
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut reader = Reader::new(payload.peek(size)?);
        let event = reader.take(size, FIELD)?;
        let mut inner = Context { header, is_inner: true, ..*context };
        let body = event.get(HEADER_BYTES..).unwrap_or_default();
        let result = self.dispatch(&mut inner, body, visitor);
        context.row = inner.row;
        payload.consume(size);
        Ok(Some(result.map(|_| ())))
    }
}

fn mapped(mut table: Table, visitor: &mut impl Visitor) -> Mapped {
    let columns = table.columns.len();
    if table.columns.iter().all(|column| column.name.is_none())
        && let Some(names) = visitor.column_names(&table.database, &table.name, columns)
        && names.len() == columns
    {
        for (column, name) in table.columns.iter_mut().zip(names) {
            column.name = Some(name);
        }
    }
    let plan = visitor.table(&table);
    let walk = Walk::compile(&table, &plan.projection);
    Mapped { table, plan, walk }
}

/// The fields before a payload (MySQL `Transaction_payload_event`).
#[derive(Debug)]
struct PayloadHead<'a> {
    is_compressed: bool,
    /// Bytes of the events inside, as claimed.
    bytes: u64,
    data: &'a [u8],
}

impl<'a> PayloadHead<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        const FIELD: &str = "payload field";
        let mut reader = Reader::new(body);
        let (mut size, mut compression, mut bytes) = (None, 255, None);
        loop {
            let field = reader.lenenc(FIELD)?;
            if field == 0 {
                break;
            }
            let mut value = Reader::new(reader.lenenc_bytes(FIELD)?);
            match field {
                1 => size = Some(value.lenenc(FIELD)?),
                2 => compression = value.lenenc(FIELD)?,
                3 => bytes = Some(value.lenenc(FIELD)?),
                _ => {}
            }
        }
        let data = match size {
            Some(size) => reader.take_claimed(size, "payload")?,
            None => reader.rest(),
        };
        let is_compressed = match compression {
            0 => true,
            255 => false,
            _ => return Err(Malformed::Unsupported("payload compression")),
        };
        Ok(Self { is_compressed, bytes: bytes.unwrap_or(u64::MAX), data })
    }
}
