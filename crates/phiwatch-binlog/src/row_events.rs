//! Table maps, rows events and compressed transactions: what becomes row changes.

use std::sync::Arc;

use crate::compact::Compactor;
use crate::decoder::{Context, Decoder, Refusal};
use crate::framing::kind;
use crate::inflate;
use crate::payload::Payload;
use crate::reader::Reader;
use crate::rows::{Rows, RowsHead, RowsKind, Walk};
use crate::table_cache::{Entry, Mapped};
use crate::table_map::TableMap;
use crate::{Image, Malformed, Op, Projection, RowChange, Table, Visitor};

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
        let revision = visitor.names_revision();
        if self.tables.is_known(id, raw, revision) {
            return Ok(());
        }
        // If the new map is refused, the old one must not read its rows.
        self.tables.remove(id);
        let map = TableMap::parse(raw)?;
        let name = map.name.clone();
        let (entry, names) = match map.table(id, self.format.is_mariadb) {
            Ok(table) => {
                let is_named = table.columns.iter().any(|column| column.name.is_some());
                let entry = Entry::Mapped(Arc::new(mapped(table, visitor)));
                (entry, (!is_named).then_some(revision))
            }
            // Told with each of its rows events, which is where something is missed.
            Err(cause @ Malformed::ColumnType { .. }) => (Entry::Refused(name, cause), None),
            Err(cause) => return Err(Refusal { cause, table: Some(name) }),
        };
        self.tables.insert(id, raw, entry, names);
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
        let refused = |cause| Refusal { cause, table: Some(mapped.name()) };
        let rows = head.rows(mapped.table.columns.len()).map_err(refused)?;
        if !kind.is_compressed {
            return self.emit(context, kind.op, &mapped, rows, visitor).map_err(refused);
        }
        let mut buffer = std::mem::take(&mut self.inflated);
        let bytes_max = self.limits.event_bytes_max;
        let result = match inflate::maria_block(rows.data(), bytes_max, &mut buffer) {
            // The wanted columns alone may still be few.
            Err(Malformed::TooLarge { .. }) => {
                compacted(&mapped, &rows, bytes_max).and_then(|data| {
                    self.emit(context, kind.op, &mapped, rows.with_data(&data), visitor)
                })
            }
            Err(cause) => Err(cause),
            Ok(()) => self.emit(context, kind.op, &mapped, rows.with_data(&buffer), visitor),
        };
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
                cascades_unseen: rows.cascades_unseen,
                before: (op != Op::Create).then_some(Image { cells: &before }),
                after: (op != Op::Delete).then_some(Image { cells: &after }),
            };
            context.row = context.row.saturating_add(1);
            visitor.row(&open.transaction, &change);
        }
        Ok(())
    }

    /// A compressed transaction whose event is whole.
    pub(crate) fn payload(&mut self, context: &Context, body: &[u8], visitor: &mut impl Visitor) {
        let payload = Payload::start(self, body);
        self.whole_payload(context, payload, visitor);
    }

    /// The same, inflated before.
    pub(crate) fn inflated_payload(
        &mut self,
        context: &Context,
        events: &[u8],
        visitor: &mut impl Visitor,
    ) {
        let payload = Payload::inflated(self, events.len() as u64);
        self.whole_payload(context, payload.map(|payload| (payload, events)), visitor);
    }

    fn whole_payload(
        &mut self,
        context: &Context,
        payload: Result<(Payload, &[u8]), Malformed>,
        visitor: &mut impl Visitor,
    ) {
        let is_read = match payload {
            Ok((mut payload, data)) => {
                payload.push(self, context, data, visitor);
                payload.finish(self, context, visitor)
            }
            Err(cause) => {
                self.refuse(context, cause.into(), visitor);
                false
            }
        };
        // It was to be the whole transaction; its end may have been lost.
        if !is_read {
            self.tear(context.end, visitor);
        }
    }
}

/// The rows of a compressed event, without long values that nobody wants.
fn compacted(mapped: &Arc<Mapped>, rows: &Rows<'_>, bytes_max: u32) -> Result<Vec<u8>, Malformed> {
    let mut compactor = Compactor::new(mapped.clone(), rows.images(), &[], bytes_max)?;
    compactor.push(rows.data())?;
    compactor.finish()
}

fn mapped(mut table: Table, visitor: &mut impl Visitor) -> Mapped {
    let columns = table.columns.len();
    if table.columns.iter().all(|column| column.name.is_none())
        && let Some(names) = visitor.column_names(&table)
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
