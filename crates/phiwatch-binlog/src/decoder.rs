//! Events to visitor calls.
//!
//! Input: one whole event after the other. Output: calls of a [`Visitor`]; what kind of event it
//! was is returned ([`Seen`]), for callers that follow files and connections.
//!
//! # Invariants
//! - A refused event is one [`Gap`]. If its checksum is wrong nothing of it is used, and what was
//!   known of the transaction (GTID, thread, commit time) is forgotten: it may have been the end.
//! - State is bounded: one transaction's head, the table maps ([`crate::table_cache`]).

use std::sync::Arc;

use crate::format::{Checksum, Format};
use crate::framing::{self, CHECKSUM_BYTES, HEADER_BYTES, Header, kind};
use crate::inflate::Zstd;
use crate::large::Parts;
use crate::reader::Reader;
use crate::rows::RowsKind;
use crate::table_cache::TableCache;
use crate::transactions::Open;
use crate::{
    BinlogPosition, End, Gap, Gtid, GtidSet, GtidState, Malformed, MariaGtidState, TableName,
    Visitor,
};

/// Bounds of what one event may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes of an event that are kept, also of one inside a payload or a compressed one
    /// inflated. Of a larger one the wanted columns are kept ([`Decoder::part`]); if these are
    /// still too many, it is refused.
    pub event_bytes_max: u32,
}

impl Default for Limits {
    /// 8 MiB: with the queue before the decoder a process stays below 64 MB.
    fn default() -> Self {
        Self { event_bytes_max: 8 << 20 }
    }
}

/// What an event was, for whoever follows a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The stream goes on in another file.
    Rotate {
        /// Its name.
        file: Arc<str>,
        /// Offset of the next event in it, bytes.
        offset: u64,
        /// Made up by the server for this connection: names the file that is being sent, and takes
        /// no room in any file.
        artificial: bool,
    },
    /// The server has nothing to send.
    Heartbeat {
        /// Where the server stands in the file, if it says so (above 4 GiB perhaps only the low
        /// 32 bits).
        offset: Option<u64>,
    },
    /// A format description: a file begins, or goes on.
    FormatDescription,
    /// Anything else, also what was refused.
    Other,
}

/// An event under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    pub(crate) header: Header,
    /// Start and end in the file; of the payload event for what is inside one.
    pub(crate) offset: u64,
    pub(crate) end: u64,
    pub(crate) is_inner: bool,
    /// The event's checksum is not known yet: a transaction's end waits for it.
    pub(crate) is_unverified: bool,
    /// Rows so far.
    pub(crate) row: u64,
}

/// Why an event was refused, and whose rows it held.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) cause: Malformed,
    pub(crate) table: Option<TableName>,
}

impl From<Malformed> for Refusal {
    fn from(cause: Malformed) -> Self {
        Self { cause, table: None }
    }
}

/// The decoder's state: format, checksum algorithm, table maps, transaction.
#[derive(Debug)]
pub struct Decoder {
    pub(crate) limits: Limits,
    pub(crate) file: Arc<str>,
    pub(crate) format: Format,
    pub(crate) tables: TableCache,
    pub(crate) open: Option<Open>,
    /// A transaction that was open when another file was started; its end is told next.
    torn: Option<Open>,
    /// An event that comes in parts.
    pub(crate) parts: Option<Parts>,
    /// The end of a transaction whose payload event is not verified yet.
    pub(crate) deferred: Option<End>,
    /// The payload event that was read last is not to be trusted to its end.
    pub(crate) is_payload_lost: bool,
    /// Somebody checked the checksums of the events that come.
    is_verified: bool,
    pub(crate) zstd: Zstd,
    /// Room for decompressed events.
    pub(crate) inflated: Vec<u8>,
    /// Bytes come from a server, which decrypts them.
    is_live: bool,
    pub(crate) is_encrypted: bool,
    pub(crate) offset_after: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Decoder {
    /// A decoder before its first file.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            file: "".into(),
            format: Format::default(),
            tables: TableCache::default(),
            open: None,
            torn: None,
            parts: None,
            deferred: None,
            is_payload_lost: false,
            is_verified: false,
            zstd: Zstd::default(),
            inflated: Vec::new(),
            is_live: false,
            is_encrypted: false,
            offset_after: 4,
        }
    }

    /// A file begins, or a connection goes on in it: forgets format, table maps and transaction
    /// (one that was open ends as [`End::Torn`] before the next event, or at [`Decoder::finish`]).
    /// Of a path only the last component is kept.
    pub fn start_file(&mut self, name: &str) {
        self.file = last_component(name);
        self.format = Format::default();
        self.tables.clear();
        // Cut off with its transaction, which comes again or is told as torn.
        self.parts = None;
        self.deferred = None;
        self.torn = self.open.take().or(self.torn.take());
        self.is_live = false;
        self.is_encrypted = false;
        self.offset_after = 4;
    }

    /// The input ends for good: tells the end of a transaction that is still open.
    pub fn finish(&mut self, visitor: &mut impl Visitor) {
        self.tell_torn(self.offset_after, visitor);
        self.cut_parts(visitor);
        self.tear(self.offset_after, visitor);
    }

    /// Events of this file carry a CRC32.
    #[must_use]
    pub fn checksums(&self) -> bool {
        self.format.checksum == Checksum::Crc32
    }

    /// The file being read: as started, or as a server's fake ROTATE named it.
    #[must_use]
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// Where the last event ended. Only a transaction's end is a place to resume from
    /// ([`Visitor::end`]).
    #[must_use]
    pub fn position_after(&self) -> BinlogPosition {
        self.position(self.offset_after)
    }

    /// The rest of this file is encrypted (MariaDB); its events are ignored. One gap was told.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// A transaction is open: the last event was not an end.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// The server that wrote the file, empty if unknown.
    #[must_use]
    pub fn server_version(&self) -> &str {
        &self.format.server_version
    }

    /// Asks the visitor again about every table: its plans have changed. Between transactions only:
    /// within one, rows may follow whose table maps came before.
    pub fn forget_tables(&mut self) {
        self.tables.clear();
    }

    /// Table maps dropped so far to bound memory; each is parsed again when it comes back.
    #[must_use]
    pub fn table_maps_evicted(&self) -> u64 {
        self.tables.evicted()
    }

    /// Decodes one whole event that starts at `offset`, checksum included.
    pub fn event(&mut self, offset: u64, raw: &[u8], visitor: &mut impl Visitor) -> Seen {
        self.tell_torn(offset, visitor);
        self.cut_parts(visitor);
        if self.is_encrypted {
            return Seen::Other;
        }
        if raw.len() as u64 > u64::from(self.limits.event_bytes_max) {
            self.part(offset, raw, 0, visitor);
            return Seen::Other;
        }
        self.offset_after = offset.saturating_add(raw.len() as u64);
        match self.verified(offset, raw) {
            Err(cause) => {
                self.damaged(offset, raw.len() as u64, cause, visitor);
                Seen::Other
            }
            Ok((mut context, body)) => match self.dispatch(&mut context, body, visitor) {
                Ok(seen) => seen,
                Err(refusal) => {
                    self.refuse(&context, refusal, visitor);
                    Seen::Other
                }
            },
        }
    }

    /// The next events' checksums were found right: they are not computed again.
    pub fn set_verified(&mut self, is_verified: bool) {
        self.is_verified = is_verified;
    }

    /// Decodes a payload event (`raw`) whose `events` were inflated before ([`crate::Inflater`]).
    pub fn inflated(&mut self, offset: u64, raw: &[u8], events: &[u8], visitor: &mut impl Visitor) {
        self.tell_torn(offset, visitor);
        self.cut_parts(visitor);
        if self.is_encrypted {
            return;
        }
        self.offset_after = offset.saturating_add(raw.len() as u64);
        match self.verified(offset, raw) {
            Err(cause) => self.damaged(offset, raw.len() as u64, cause, visitor),
            Ok((context, _)) => self.inflated_payload(&context, events, visitor),
        }
    }

    /// Bytes that were no event, or one that cannot be handed over: reports a gap. Unless the
    /// event is only too large, GTID, thread and commit time of the transaction are forgotten.
    pub fn damaged(
        &mut self,
        offset: u64,
        bytes: u64,
        cause: Malformed,
        visitor: &mut impl Visitor,
    ) {
        self.cut_parts(visitor);
        let is_whole = matches!(cause, Malformed::TooLarge { .. });
        let gtid = self.gtid();
        self.offset_after = self.offset_after.max(offset.saturating_add(bytes));
        visitor.gap(&Gap { at: self.position(offset), bytes, gtid, table: None, cause });
        if !is_whole && let Some(open) = &mut self.open {
            open.forget();
        }
    }

    pub(crate) fn position(&self, offset: u64) -> BinlogPosition {
        BinlogPosition { file: self.file.clone(), offset }
    }

    pub(crate) fn tell_torn(&mut self, offset: u64, visitor: &mut impl Visitor) {
        if let Some(torn) = self.torn.take() {
            visitor.end(&torn.transaction, &End::Torn, &self.position(offset));
        }
    }

    /// Checks size and checksum; gives the body without the checksum.
    fn verified<'a>(
        &mut self,
        offset: u64,
        raw: &'a [u8],
    ) -> Result<(Context, &'a [u8]), Malformed> {
        let header = Header::parse(raw)?;
        let found = raw.len() as u64;
        if u64::from(header.event_bytes) != found {
            return Err(Malformed::EventSize { claimed: header.event_bytes.into(), found });
        }
        let end = offset.saturating_add(found);
        let context =
            Context { header, offset, end, is_inner: false, is_unverified: false, row: 0 };
        let covered = self.without_checksum(offset, &header, raw)?;
        Ok((context, covered.get(HEADER_BYTES..).unwrap_or_default()))
    }

    fn without_checksum<'a>(
        &mut self,
        offset: u64,
        header: &Header,
        raw: &'a [u8],
    ) -> Result<&'a [u8], Malformed> {
        if header.kind == kind::FORMAT_DESCRIPTION {
            // It says itself whether it has one: checked where it is parsed.
            return Ok(raw);
        }
        let split = raw.split_last_chunk::<CHECKSUM_BYTES>();
        match (self.format.checksum, split) {
            (Checksum::Off, _) => Ok(raw),
            (Checksum::Unknown, Some((covered, _))) if framing::crc32_fits(raw) => {
                // A fake ROTATE of MariaDB comes before the format description and has one.
                if !matches!(header.kind, kind::ROTATE | kind::HEARTBEAT | kind::HEARTBEAT_V2) {
                    self.format.checksum = Checksum::Crc32;
                }
                Ok(covered)
            }
            // A file begins with its format description, which has one: this may be what is left
            // of it.
            (Checksum::Unknown, Some((covered, found)))
                if offset == framing::MAGIC.len() as u64 && header.advances() =>
            {
                verify(covered, *found).map(|()| covered)
            }
            (Checksum::Unknown, _) => Ok(raw),
            (Checksum::Crc32, Some((covered, _))) if self.is_verified => Ok(covered),
            (Checksum::Crc32, Some((covered, found))) => verify(covered, *found).map(|()| covered),
            (Checksum::Crc32, None) => Err(Malformed::EventSize {
                claimed: header.event_bytes.into(),
                found: raw.len() as u64,
            }),
        }
    }

    /// A gap for an event with the right checksum: the transaction goes on.
    pub(crate) fn refuse(
        &mut self,
        context: &Context,
        refusal: Refusal,
        visitor: &mut impl Visitor,
    ) {
        let Refusal { cause, table } = refusal;
        let lost = matches!(cause, Malformed::Checksum { .. });
        let at = self.position(context.offset);
        let bytes = context.end.saturating_sub(context.offset);
        visitor.gap(&Gap { at, bytes, gtid: self.gtid(), table, cause });
        if lost && let Some(open) = &mut self.open {
            open.forget();
        }
    }

    pub(crate) fn dispatch(
        &mut self,
        context: &mut Context,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<Seen, Refusal> {
        let code = context.header.kind;
        match code {
            kind::QUERY => self.query(context, body, visitor)?,
            kind::MARIA_QUERY_COMPRESSED => self.query_compressed(context, body, visitor)?,
            kind::EXECUTE_LOAD_QUERY => self.load_query(context, body, visitor)?,
            kind::XID => self.end(context, &End::Commit, visitor),
            kind::XA_PREPARE => self.xa_prepare(context, body, visitor)?,
            kind::TABLE_MAP => self.table_map(body, visitor)?,
            kind::ROTATE
            | kind::FORMAT_DESCRIPTION
            | kind::GTID
            | kind::ANONYMOUS_GTID
            | kind::GTID_TAGGED
            | kind::MARIA_GTID
            | kind::TRANSACTION_PAYLOAD
            | kind::HEARTBEAT
            | kind::HEARTBEAT_V2
            | kind::START_ENCRYPTION
            | kind::INCIDENT => return self.outer(context, body, visitor),
            kind::STOP
            | kind::INTVAR
            | kind::SLAVE
            | kind::APPEND_BLOCK
            | kind::DELETE_FILE
            | kind::RAND
            | kind::USER_VAR
            | kind::BEGIN_LOAD_QUERY
            | kind::IGNORABLE
            | kind::ROWS_QUERY
            | kind::TRANSACTION_CONTEXT
            | kind::VIEW_CHANGE
            | kind::MARIA_ANNOTATE_ROWS
            | kind::MARIA_CHECKPOINT => {}
            kind::PREVIOUS_GTIDS => visitor.previous(&GtidState::MySql(GtidSet::decode(body)?)),
            // The artificial one of a dump repeats the request.
            kind::MARIA_GTID_LIST if context.header.is_artificial() => {}
            kind::MARIA_GTID_LIST => visitor.previous(&gtid_list(body)?),
            kind::LOAD | kind::CREATE_FILE | kind::EXEC_LOAD | kind::NEW_LOAD => {
                return Err(Malformed::Unsupported("LOAD DATA of before 5.0").into());
            }
            kind::PRE_GA_WRITE_ROWS..=kind::PRE_GA_DELETE_ROWS => {
                return Err(Malformed::Unsupported("rows of before 5.1.16").into());
            }
            _ => match RowsKind::of(code) {
                Some(rows) => self.rows(context, rows, body, visitor)?,
                None if context.header.is_ignorable() => {}
                None => return Err(Malformed::UnknownEvent { code }.into()),
            },
        }
        Ok(Seen::Other)
    }

    /// Events that do not stand inside a payload.
    fn outer(
        &mut self,
        context: &mut Context,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<Seen, Refusal> {
        if context.is_inner {
            return Err(Malformed::Unsupported("such an event inside a payload").into());
        }
        match context.header.kind {
            kind::ROTATE => return Ok(self.rotate(context, body)?),
            kind::FORMAT_DESCRIPTION => return self.format_description(context, body, visitor),
            kind::HEARTBEAT => return Ok(Seen::Heartbeat { offset: heartbeat(context, body) }),
            kind::HEARTBEAT_V2 => return Ok(Seen::Heartbeat { offset: heartbeat_v2(body) }),
            kind::TRANSACTION_PAYLOAD => self.payload(context, body, visitor),
            kind::START_ENCRYPTION => {
                // In a dump it is left in the stream, but what follows was decrypted.
                if !self.is_live {
                    self.is_encrypted = true;
                    return Err(Malformed::Encrypted.into());
                }
            }
            kind::INCIDENT => {
                let code = Reader::new(body).u16("incident")?;
                self.refuse(context, Malformed::Incident { code }.into(), visitor);
                self.end_ungrouped(context, visitor);
            }
            _ => self.gtid_event(context, body, visitor)?,
        }
        Ok(Seen::Other)
    }

    fn rotate(&mut self, context: &Context, body: &[u8]) -> Result<Seen, Malformed> {
        let mut reader = Reader::new(body);
        let offset = reader.u64("position")?;
        let file = last_component(&String::from_utf8_lossy(reader.rest()));
        let artificial = context.header.is_artificial() || context.header.log_pos == 0;
        if artificial {
            self.file = file.clone();
            self.tables.clear();
            self.is_live = true;
            self.offset_after = offset;
        }
        Ok(Seen::Rotate { file, offset, artificial })
    }

    fn format_description(
        &mut self,
        context: &Context,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<Seen, Refusal> {
        // Another file or connection, even if the event is damaged: nothing of the last one holds.
        self.tear(context.offset, visitor);
        self.tables.clear();
        self.format.checksum = Checksum::Unknown;
        let format = Format::parse(body)?;
        if format.is_checked
            && let Some((covered, found)) = body.split_last_chunk::<CHECKSUM_BYTES>()
        {
            verify(&[&context.header.to_bytes(), covered].concat(), *found)?;
        }
        self.format = format;
        let file = self.file.clone();
        visitor.file(&file, context.header.server_id, &self.format.server_version);
        Ok(Seen::FormatDescription)
    }
}

fn verify(covered: &[u8], found: [u8; CHECKSUM_BYTES]) -> Result<(), Malformed> {
    let (found, computed) = (u32::from_le_bytes(found), framing::crc32(covered));
    if found == computed { Ok(()) } else { Err(Malformed::Checksum { found, computed }) }
}

/// MariaDB GTID_LIST: count in the low 28 bits, then domain, server id and sequence each.
fn gtid_list(body: &[u8]) -> Result<GtidState, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.u32("GTID list count")? & 0x0fff_ffff;
    let mut state = MariaGtidState::default();
    for _ in 0..count {
        let domain = reader.u32("GTID list domain")?;
        let server_id = reader.u32("GTID list server id")?;
        let sequence = reader.u64("GTID list sequence")?;
        state.update(&Gtid::MariaDb { domain, server_id, sequence });
    }
    Ok(GtidState::MariaDb(state))
}

fn last_component(path: &str) -> Arc<str> {
    path.rsplit('/').next().unwrap_or(path).into()
}

/// The position is the header's; MariaDB writes it into the body where it needs more bits.
fn heartbeat(context: &Context, body: &[u8]) -> Option<u64> {
    match context.header.log_pos {
        0 => Reader::new(body)
            .u64("position")
            .ok()
            .filter(|offset| offset >> 32 != 0 && offset >> 56 == 0),
        low => Some(low.into()),
    }
}

/// Fields: type, length, value; type 2 is the position.
fn heartbeat_v2(body: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(body);
    loop {
        match reader.lenenc("field").ok()? {
            0 => return None,
            2 => return Reader::new(reader.lenenc_bytes("field").ok()?).lenenc("position").ok(),
            _ => drop(reader.lenenc_bytes("field").ok()?),
        }
    }
}
