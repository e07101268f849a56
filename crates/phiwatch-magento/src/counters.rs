//! What was seen, and what could not be judged.

use crate::TableClass;

/// Counts since the start or the last restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    rows: [u64; 7],
    /// Row changes whose tenant is not known.
    pub tenant_unknown_rows: u64,
    /// Invariants that could not be judged, by number (0 unused).
    pub unverified: [u64; 24],
    /// Broken invariants, by number (0 unused).
    pub cross_tenant: [u64; 24],
    /// Rows of settings, users and roles whose image lacks a column that their rule needs (row image
    /// MINIMAL or NOBLOB): not judged.
    pub columns_lacking: u64,
    /// Cells that did not fit their column's type.
    pub undecodable_cells: u64,
    /// Table maps of catalogue tables whose columns have no names: their rows are not examined.
    pub tables_without_names: u64,
    /// Table maps refused because of [`crate::Limits::tables_max`] or
    /// [`crate::Limits::databases_max`]: their rows are not examined.
    pub tables_refused: u64,
    /// Rows of shadow tables of online schema changes.
    pub migration_rows: u64,
    /// Values of persons forgotten because of [`crate::Limits::values_max`].
    pub values_dropped: u64,
    /// Ids dropped because of [`crate::Limits::ids_max`].
    pub ids_dropped: u64,
}

impl Counters {
    /// Row changes examined of one class.
    #[must_use]
    pub fn rows(&self, class: TableClass) -> u64 {
        self.rows[class as usize]
    }

    pub(crate) fn add_row(&mut self, class: TableClass) {
        self.rows[class as usize] += 1;
    }
}
