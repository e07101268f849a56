//! Binlog bytes for tests.

/// Writes events one after the other, with positions and, if wanted, checksums.
pub(crate) struct Builder {
    pub(crate) bytes: Vec<u8>,
    checksums: bool,
    /// Start of each event.
    pub(crate) starts: Vec<u64>,
    /// Events say where they end; else 0 stands there, as in MariaDB's transactions.
    pub(crate) positions: bool,
}

impl Builder {
    pub(crate) fn new(checksums: bool) -> Self {
        let mut this =
            Self { bytes: b"\xfebin".to_vec(), checksums, starts: Vec::new(), positions: true };
        this.format_description();
        this
    }

    fn format_description(&mut self) {
        let mut body = 4_u16.to_le_bytes().to_vec();
        body.extend(b"9.7.4");
        body.resize(52, 0);
        body.extend([0, 0, 0, 0, 19]);
        body.extend([0; 40]);
        body.push(u8::from(self.checksums));
        // The format description has a checksum whatever it says.
        let checksums = std::mem::replace(&mut self.checksums, true);
        self.event(15, &body);
        self.checksums = checksums;
    }

    /// Appends an event; returns its start.
    pub(crate) fn event(&mut self, kind: u8, body: &[u8]) -> u64 {
        let at = self.bytes.len();
        let size = 19 + body.len() + if self.checksums { 4 } else { 0 };
        let end = if self.positions { at + size } else { 0 };
        let event = event(kind, body, size as u32, end as u32, 0);
        self.bytes.extend(&event);
        if self.checksums {
            self.bytes.extend(crc32fast::hash(&event).to_le_bytes());
        }
        self.starts.push(at as u64);
        at as u64
    }
}

/// Header and body, as claimed.
pub(crate) fn event(kind: u8, body: &[u8], size: u32, end: u32, flags: u16) -> Vec<u8> {
    let mut bytes = 1_700_000_000_u32.to_le_bytes().to_vec();
    bytes.push(kind);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(end.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(body);
    bytes
}
