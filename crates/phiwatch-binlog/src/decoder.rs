//! Events to visitor calls. (placeholder of the final module)

use crate::Visitor;

/// Bounds of what one event may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A larger event is refused (bytes).
    pub event_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { event_bytes_max: 128 << 20 }
    }
}

/// The decoder's state: format, checksum algorithm, table maps, transaction.
#[derive(Debug, Default)]
pub struct Decoder {}

impl Decoder {
    /// A decoder before its first file.
    #[must_use]
    pub fn new(_limits: Limits) -> Self {
        Self {}
    }
    /// A file begins, or a connection goes on in it: forgets format, table maps and transaction.
    pub fn start_file(&mut self, _name: &str) {}
    /// Decodes one whole event that starts at `offset`.
    pub fn event(&mut self, _offset: u64, _raw: &[u8], _visitor: &mut impl Visitor) {}
}
