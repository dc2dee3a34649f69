//! The arithmetic of inline keys, as far as the client's half needs it: crate `opaque-secrets`, and
//! its tests.
//!
//! Public so that both halves compute with the same code. Nothing here holds a secret: there is no
//! key type, and every function is one of public numbers or of residues. It is not an interface for
//! other crates and may change with every version.

pub use super::modulus::{Factor, Modulus};
pub use super::ntt::Ntt;
pub use super::params::{DIAGONAL_BITS, DROPPED_BITS, Q_BITS};
pub use super::product::{ExactProducts, multiply_exactly};
pub use super::rings::{BASIS, Basis, Q, unpack};
