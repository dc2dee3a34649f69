//! The hint product with keys that travel with the query (docs/ENGINE.md §7; decisions 010 and
//! 019).
//!
//! **What.** `Enc(H·s)` for planes of the hint, packed as in HintlessPIR (Li et al., CRYPTO 2024)
//! and InspiRING, but without a key that servers store. The `a` halves of everything that a client
//! sends come from public randomness of the epoch. All values that depend only on `a`, including
//! key switches, are therefore computed once per epoch. A client draws a fresh ternary secret `k`
//! for each lookup and sends only `b` halves. The remaining online work is linear in them and reads
//! its tables once.
//!
//! ```text
//! client   key = 2^25·τ(k) − a_key·k + e
//!          Enc_0 = round(q/2^27·s(X²)) − a_0·k + e_0,   Enc_1 the same of s(X^−2)
//! offline  h, i < G = 512/f: Σ_g α_g·τ_g(s) has H·s in its coefficients     diagonals
//!          Horner over τ: X → X^3 on the a halves alone       Chain -> PlaneTables, PublicPart
//! online   b = Σ_i τ^i(key)·D_i + Σ_i Σ_b τ^i(Enc_b)·α_{i,b}                multiply
//!          c − round(2^32·b/q), summed over shards, then its y upper bits   answer
//! client   the same less a·k is 2^24 times a byte, plus noise               LookupKey::open
//! ```
//!
//! Rows are coefficients, in the scan's own ring of integers modulo 2^32. No modulus switch is
//! needed, and a shard sends one vector. A plane of 4096 rows is two rings.
//!
//! **Why not something simpler.** SEAL's operations with two registered keys take tens of times as
//! long for a plane, and the keys link all queries of a client. Downloading the hint costs tens of
//! megabytes.
//!
//! **Map.** `params`; `modulus`, `ntt`, `rings` (arithmetic; `machine` compiles its loops for wide
//! registers); `public` (expansion of `a`); `diagonals`, `chain`, `table` (offline); `query`,
//! `kernel`, `product` (online); [`arithmetic`] (the parts that the client's half, crate
//! `opaque-secrets`, uses).
//!
//! **Security.** N = 2048, ternary secret, error of deviation 3.2 before it is rounded (3.213
//! after), modulus q of 48 bits: 2^142.8 by the lattice-estimator (default cost model; dual_hybrid
//! 142.8, bdd 143.2, usvp 144.4; commit 27a581b, 2026-11-29). There are three samples under one
//! `k`, which lives for one lookup. Reusing the public `a` under fresh secrets is the ordinary use
//! of LWE. The key encrypts a rotation of `k` under `k`, so security is circular, as in every BFV.
//! Lookups do not share keys: under one `k`, using one `a_b` twice would reveal the difference of
//! two secrets. There is no long-lived secret, so a later leak decrypts no recorded lookups.
//!
//! **Noise** as a fraction of q. The margin, half a byte, is 1/512 (ENGINE.md §8 derives each
//! term):
//!
//! ```text
//! rounding α   √(1024/f·1024/12·121.1)/2^27                  0.0124 of the margin at f = 1
//! encryptions  √(2048/12)·2^27/q·3.23                        0.0103
//! key's error  √(512/f·2048/12)·3.21/2^25                    0.0145
//! digit        √(512/f·2048·2/3/12)·2^25/q                   0.0148
//! together                                                   0.0263
//! public part  √(2048·2/3/12)/2^18                           0.0208
//! ```
//!
//! Given H and `a`, the noise is linear in independent subgaussian errors and ternary coefficients.
//! It is **not** independent of the hint: if all roundings of α were equal, they would add up to
//! 0.40 of the margin. The salt is therefore drawn after the rows, which makes H uniform.
//! [`Rounding`](crate::geometry::Rounding) leaves room for all of this in addition to the scan's
//! own noise. Tests compare the formulas with measurements, to 4 %.
//!
//! **Limits.** Sums and shifts are proved not to overflow where they are computed. Time, memory
//! access and sizes depend only on the numbers of rows, queries and planes.
#![deny(unsafe_code)]

pub mod arithmetic;
mod chain;
mod diagonals;
mod error;
mod kernel;
mod modulus;
mod ntt;
mod params;
mod product;
mod public;
mod query;
mod rings;
mod table;

pub use chain::Chain;
pub use error::InlineError;
pub use params::{
    ENCRYPTIONS, ERROR_DEVIATION, Fold, N, NAME, PUBLIC_BITS, PUBLIC_BYTES, Q_PRIMES, QUERY_BYTES,
    Variant, params_id, public_bytes, rings_of, table_bytes,
};
pub use product::{MAX_PASS, answer, multiply};
pub use public::PublicElements;
pub use query::InlineQuery;
pub use table::{PlaneTables, PublicPart};

/// A polynomial with 2048 coefficients or slots, modulo a number below 2^32.
pub type Poly = [u32; N];

/// `round(2^BITS·x/q)` modulo 2^32, for x below q.
///
/// It multiplies by `round(2^(BITS+64)/q)`, whose error is at most ½, so the error of the product
/// is below 2^-16 before rounding.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is meant")]
fn scale<const BITS: u32>(x: u64) -> u32 {
    let factor = const { ((1u128 << (BITS + 64)) + Q as u128 / 2) / Q as u128 };
    ((u128::from(x) * factor + (1 << 63)) >> 64) as u32
}

/// The modulus q.
const Q: u64 = rings::BASIS.product;
