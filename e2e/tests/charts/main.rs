//! The charts against a real API server: the rendered objects, and the operator's permissions.
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
