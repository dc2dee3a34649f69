//! The client's half of BFV: a secret key, its evaluation keys, encryption and decryption.
//! `deny.toml` bans this crate from servers.
//!
//! **What.** [`SecretKey`] creates evaluation keys, encrypts the scan's secret and decrypts
//! answers. `opaque-seal` (its module `internal`) provides SEAL itself, the message formats, and
//! the rules for `unsafe` code.
//!
//! **Why not a module of `opaque-seal`.** A server's programs must not contain a key type. A cargo
//! feature cannot guarantee that: features are unified over all crates of a build (decision 021).
//!
//! **Map.** `key` (the type), `handle` (its SEAL objects), `ffi` (their C functions).
//!
//! **Limits.** SEAL draws its own randomness from `/dev/urandom`; it cannot be passed in.

mod ffi;
mod handle;
mod key;
#[cfg(test)]
mod tests;

pub use key::{SECRET_KEY_BYTES, SecretKey};
