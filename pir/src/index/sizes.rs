//! The costs of a table's row lengths for the nodes.
//!
//! A bucket holds at least one whole row, and every index holds every row. One long row therefore
//! makes the buckets of all indexes large, and with them the matrices, the planes of the hint and
//! the time of a lookup. [`RowSizes`] names that row, and shows what the planner would choose if no
//! row exceeded a limit.
//!
//! **Why rows are cut and not omitted.** A publisher can enforce a limit. The number of rows and
//! their values stay the same, so the figures are those of the shortened table.

use serde::{Deserialize, Serialize};

use super::RowRef;
use crate::cost::{Bytes, Link, millis};
use crate::geometry::Geometry;

/// Limits on the bytes of a row that are tried. With the headers of bucket and page, at most 33
/// bytes, each limit fits a bucket of 32,768, 16,384, 12,288, 8192, 4096, 2048, 1024, 512 or 256
/// bytes.
const LIMITS: [u32; 9] = [32_000, 16_000, 12_000, 8000, 4000, 2000, 900, 450, 200];
/// If a table needs no more memory than this, no limit is tried, because the gain would be small.
const SMALL: u64 = 64 << 20;
/// If each index needs no more than this multiple of the rows, no limit is tried either. Apart from
/// small tables, the planner keeps matrices within 4 times the rows unless long rows prevent it.
const USUAL_TIMES: u64 = 8;
/// A table is heavy if it needs more memory than this,
const HEAVY: u64 = 256 << 20;
/// and very heavy if it needs more than this,
const VERY_HEAVY: u64 = 1 << 30;
/// and if the memory is also more than this multiple of its rows.
const HEAVY_TIMES: u64 = 64;

/// The costs of a whole table for the nodes, over all its indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableCost {
    /// Bytes of all matrices.
    pub matrix_bytes: u64,
    /// Memory of one replica of all shards: the matrices and the hint's tables.
    pub memory_bytes: u64,
    /// Estimated time of one lookup of one page in the slowest index, on one core.
    pub lookup_micros: u64,
}

/// Lengths of a table's rows, and the costs with shorter rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowSizes {
    /// Bytes of all rows (row codec).
    pub total_bytes: u64,
    /// Number of the longest row, counted from 0; the first of several equally long ones.
    pub longest_row: u64,
    /// Its bytes.
    pub longest_bytes: u32,
    /// Limits that would save memory: each saves at least a quarter compared with the one before.
    pub shorter: Vec<Shorter>,
}

/// The costs of a table if no row exceeded a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shorter {
    /// Maximum bytes of a row.
    pub limit: u32,
    /// Number of longer rows.
    pub longer_rows: u64,
    /// The costs of the table if these rows were cut to the limit.
    pub cost: TableCost,
}

/// The costs of a table, and the reason for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFigures {
    /// All indexes together.
    pub cost: TableCost,
    /// The rows.
    pub sizes: RowSizes,
}

/// Whether a table's memory is in proportion to its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The memory is in proportion, or small.
    Usual,
    /// More than 64 times the rows and 256 MiB.
    Heavy,
    /// More than 64 times the rows and 1 GiB.
    VeryHeavy,
}

impl TableCost {
    /// Sums the costs of a table's indexes, with a lookup over `link`.
    pub fn of<'a>(geometries: impl IntoIterator<Item = &'a Geometry>, link: Link) -> Self {
        let none = Self { matrix_bytes: 0, memory_bytes: 0, lookup_micros: 0 };
        geometries.into_iter().map(|geometry| geometry.cost(link)).fold(none, |sum, cost| Self {
            matrix_bytes: sum.matrix_bytes + cost.matrix_bytes,
            memory_bytes: sum.memory_bytes + cost.server_ram_bytes,
            lookup_micros: sum.lookup_micros.max(cost.lookup_micros()),
        })
    }

    fn weight(&self, row_bytes: u64) -> Weight {
        match self.memory_bytes {
            memory if memory <= HEAVY.max(row_bytes.saturating_mul(HEAVY_TIMES)) => Weight::Usual,
            memory if memory <= VERY_HEAVY => Weight::Heavy,
            _ => Weight::VeryHeavy,
        }
    }
}

impl TableFigures {
    /// Whether the memory is in proportion to the rows.
    pub fn weight(&self) -> Weight {
        self.cost.weight(self.sizes.total_bytes)
    }

    /// A few sentences about the memory, the longest row and what to do. `longest` names that row,
    /// as in "row 16".
    pub fn summary(&self, longest: &str) -> String {
        let Self { cost, sizes } = self;
        let RowSizes { total_bytes, longest_row: _, longest_bytes, shorter } = sizes;
        let times = cost.memory_bytes / (*total_bytes).max(1);
        let mut text = format!(
            "The table takes {} of node memory for {} of rows, {times} times as much. The longest row, {longest}, \
             has {longest_bytes} bytes, and the buckets of every index must hold it.",
            Bytes(cost.memory_bytes),
            Bytes(*total_bytes),
        );
        // The mildest limit with which the table is no longer heavy, or else the one that saves
        // most.
        let usual = |shorter: &&Shorter| shorter.cost.weight(*total_bytes) == Weight::Usual;
        if let Some(shorter) = shorter.iter().find(usual).or(shorter.last()) {
            let Shorter { limit, longer_rows, cost: less } = shorter;
            let rows = match longer_rows {
                1 => "1 row is longer".to_owned(),
                rows => format!("{rows} rows are longer"),
            };
            text.push_str(&format!(
                " If no row had more than {limit} bytes ({rows}), it would take {}, and a lookup about {:.1} ms \
                 instead of {:.1}.",
                Bytes(less.memory_bytes),
                millis(less.lookup_micros),
                millis(cost.lookup_micros),
            ));
        } else {
            text.push_str(" Shorter rows would save little: make fewer columns searchable.");
        }
        text
    }
}

/// Finds the longest row and useful limits. `cost` is the cost of the rows as they are;
/// `cost_within` plans them cut to a limit. Returns `None` if there are no rows.
pub(super) fn of(
    rows: &[RowRef<'_>],
    indexes: usize,
    cost: TableCost,
    cost_within: impl Fn(usize) -> Option<TableCost>,
) -> Option<RowSizes> {
    let lengths = || rows.iter().map(|row| row.row.len());
    let longest_bytes = lengths().max()?;
    let longest_row = lengths().position(|length| length == longest_bytes)? as u64;
    let total_bytes = lengths().map(|length| length as u64).sum::<u64>();
    let mut shorter = Vec::new();
    let times = (indexes as u64 * USUAL_TIMES).min(HEAVY_TIMES);
    if cost.memory_bytes > SMALL.max(total_bytes.saturating_mul(times)) {
        let mut least = cost.memory_bytes;
        for limit in LIMITS {
            let bytes = limit as usize;
            let within = (bytes < longest_bytes).then(|| cost_within(bytes)).flatten();
            if let Some(cost) = within.filter(|cost| cost.memory_bytes <= least / 4 * 3) {
                least = cost.memory_bytes;
                let longer_rows = lengths().filter(|length| *length > bytes).count() as u64;
                shorter.push(Shorter { limit, longer_rows, cost });
            }
        }
    }
    // A row has less than 64 KiB.
    let longest_bytes = u32::try_from(longest_bytes).unwrap_or(u32::MAX);
    Some(RowSizes { total_bytes, longest_row, longest_bytes, shorter })
}
