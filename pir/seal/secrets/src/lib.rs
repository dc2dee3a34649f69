//! The client's half of BFV: a secret key, what is made from it, and decryption, in a crate that
//! `deny.toml` bans from servers.
//!
//! **What.** [`SecretKey`] makes evaluation keys, encrypts the scan's secret and decrypts answers.
//! SEAL itself, the formats of all that travels and the rules for `unsafe` code are `opaque-seal`'s
//! (its module `internal`).
//!
//! **Why not a module of `opaque-seal`.** A server's programs must not contain a key type. A cargo
//! feature cannot promise that: features unify over everything that is built together (decision
//! 021).
//!
//! **Map.** `key` (the type), `handle` (its objects of SEAL), `ffi` (their C functions).
//!
//! **Limits.** SEAL draws its own randomness from `/dev/urandom`; it cannot be passed in.

mod ffi;
mod handle;
mod key;
#[cfg(test)]
mod tests;

pub use key::{SECRET_KEY_BYTES, SecretKey};
