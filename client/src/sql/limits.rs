//! Limits on one statement.

/// Maximum number of lookups in one statement: literals times pages. Each lookup costs the cluster
/// a share of a pass over the column, and its answer stays in memory until the last answer has
/// arrived.
pub const LOOKUPS_PER_STATEMENT: u64 = 1024;
