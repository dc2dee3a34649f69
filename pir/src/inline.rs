//! The hint product with keys that travel with the query (engine.md §9).
//!
//! placeholder
#![deny(unsafe_code)]

mod bits;
mod chain;
mod diagonals;
mod error;
mod kernel;
mod modulus;
#[cfg(all(test, feature = "secrets"))]
mod noise;
mod ntt;
mod params;
mod product;
mod public;
mod query;
mod rings;
#[cfg(feature = "secrets")]
pub mod secrets;
mod table;
mod vector;

pub use chain::Chain;
pub use error::InlineError;
pub use kernel::Kernel;
pub use params::{ANSWER_BITS, ERROR_DEVIATION, N, PLANE_BYTES, Q_PRIMES, SPECIAL_PRIMES, Variant};
pub use product::{MAX_PASS, PlaneProduct, answer, multiply};
pub use public::PublicElements;
pub use query::InlineQuery;
pub use table::{PlaneTables, PublicPart};

/// A polynomial of 4096 coefficients or slots, modulo something below 2^32.
pub type Poly = [u32; N];

/// `round(2^BITS·x/q)` modulo 2^32, for x below q.
///
/// By a multiplication with `round(2^(BITS+64)/q)`, which is off by at most ½, so that the product is off by
/// less than 2^-9 before it is rounded.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is meant")]
fn scale<const BITS: u32>(x: u64) -> u32 {
    let factor = const { ((1u128 << (BITS + 64)) + Q as u128 / 2) / Q as u128 };
    ((u128::from(x) * factor + (1 << 63)) >> 64) as u32
}

/// q.
const Q: u64 = rings::Q_BASIS.product;
