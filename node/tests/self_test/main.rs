//! The self-test holds on an honest cluster and catches each kind of fault, and a leader activates
//! nothing that it has not tested: over real shards that loaded a real epoch from a real store.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

mod activation;
mod faults;
mod harness;
mod passes;
mod probes;
