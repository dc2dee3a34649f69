//! What goes into a pass over an index, and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use opaque_pir::codec::{Partial, Slice};
use opaque_seal::EvaluationKeys;

/// One request's part of a pass.
pub struct Request {
    /// The shard map that it was cut for.
    pub generation: u64,
    /// The table's epoch.
    pub epoch: u64,
    /// What is asked, for exactly this shard's partitions.
    pub slice: Slice,
    /// The keys that the slice names, if any, with the index ready for them.
    pub keys: Option<Arc<EvaluationKeys>>,
}

/// One shard's contribution and what it cost.
#[derive(Debug)]
pub struct Evaluated {
    /// Sums over this shard's partitions, products of this shard's planes.
    pub partial: Partial,
    /// Time of the scan, which all requests of a pass share.
    pub scan: Duration,
    /// Time of the hint products, likewise.
    pub hint: Duration,
}
