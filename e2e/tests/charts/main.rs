//! The charts against a real API server: what they render, and what the operator may do with it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic of a helper is a failed test"
)]

mod apply;
mod helm;
mod kinds;
mod nodes;
mod objects;
mod rights;
