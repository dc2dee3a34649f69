//! The self-test succeeds on an honest cluster and detects each kind of fault, and a leader
//! activates nothing that it has not tested. The shards are real and have loaded a real epoch from
//! a real store.
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
#[path = "../support/publish.rs"]
mod publish;
