//! The client's half of the engine: everything of `opaque-pir`'s scheme that holds a secret, in a
//! crate that `deny.toml` bans from servers.
//!
//! **What.** [`sampling`] draws secrets and errors; [`inline`] makes the keys of one lookup,
//! encrypts the scan's secret with them and opens the answer. The public mathematics, which both
//! sides compute, is `opaque-pir`. The scan's own encryption is in `opaque-client`.
//!
//! **Why not a module of `opaque-pir`.** A server's programs must not contain a key type. A cargo
//! feature cannot promise that: features unify over everything that is built together (decision
//! 021).
//!
//! **Guarantees.** Secrets are cleared when they are dropped, and their types print nothing. The
//! same instructions are executed for every secret, without a division: `tests/trace.rs` checks
//! that.
//!
//! **Limits.** Randomness is an argument. Nothing here is sent, stored or logged.
#![forbid(unsafe_code)]

pub mod inline;
pub mod sampling;
