//! How much one statement may ask.

/// Most lookups of one statement, literals times pages: each costs the cluster a share of a pass over
/// the column, and its answer stays in memory until the last one is here.
pub const LOOKUPS_PER_STATEMENT: u64 = 1024;
