//! The arithmetic of inline keys that the client's half (crate `opaque-secrets`) and its tests
//! need.
//!
//! It is public so that both halves use the same code. It holds no secrets: there is no key type,
//! and every function takes public numbers or residues. Other crates must not use it, and it may
//! change with every version.

pub use super::modulus::{Factor, Modulus};
pub use super::ntt::Ntt;
pub use super::params::{DIAGONAL_BITS, DROPPED_BITS, Q_BITS};
pub use super::product::{ExactProducts, multiply_exactly};
pub use super::rings::{BASIS, Basis, Q, unpack};
