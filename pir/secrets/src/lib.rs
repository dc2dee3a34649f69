//! The client's half of the engine: all parts of `opaque-pir`'s scheme that hold a secret.
//! `deny.toml` bans this crate from servers.
//!
//! **What.** [`sampling`] draws secrets and errors. [`inline`] generates the keys of one lookup,
//! encrypts the scan's secret with them and decrypts the answer. The public mathematics, which both
//! sides compute, is in `opaque-pir`. The scan's own encryption is in `opaque-client`.
//!
//! **Why not a module of `opaque-pir`.** A server's programs must not contain a key type. A cargo
//! feature cannot guarantee that: features are unified over all crates of a build (decision 021).
//!
//! **Guarantees.** Secrets are cleared when they are dropped, and their types print nothing. The
//! executed instructions are the same for every secret and include no division: `tests/trace.rs`
//! checks this.
//!
//! **Limits.** Randomness is an argument. This crate sends, stores and logs nothing.
#![forbid(unsafe_code)]

pub mod inline;
pub mod sampling;
