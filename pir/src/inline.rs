//! The hint product with keys that travel with the query (engine.md §9, ADR 010).
//!
//! **What.** `Enc(H'·s)` for planes of 4096 rows, or fewer, of `H' = round(H·t/2^32)`, as in HintlessPIR (Li et al.,
//! CRYPTO 2024), but without a key that servers keep. The `a` halves of all that a client sends come
//! from public randomness of the index and epoch, so whatever depends on `a` alone, key switches included, is
//! computed once per epoch. A client draws a fresh ternary secret `k` for each lookup and sends `b`
//! halves only; what is left to do online is linear in them, and reads its tables once.
//!
//! ```text
//! client   key = P·rot_B(k) − a_key·k + e,   Enc_b = round(q/t·encode(rot_b(s))) − a_b·k + e_b,   b < B
//! offline  Horner over G = D/B giant steps, D = 1024/f, on the a halves: Chain -> PlaneTables, PublicPart
//!          acc ← KS(rot_B(acc)) + Σ_b diag'_{g,b} ⊙ a_b
//! online   b = ⌊Σ_g rot_{Bg}(key)·D_g / P⌉ + Σ_g Σ_b rot_{Bg}(Enc_b)·diag_{Bg+b}                multiply
//!          round(2^29·(encode(c')/t − b/q))                                                       answer
//! client   b' + a'·k = 2^29/t·encode(c' − H'·s) + noise modulo 2^29              secrets::LookupKey::open
//! ```
//!
//! **Folding.** The secret fills the slots with period 1024, so a slot that meets D diagonals only still
//! meets D columns, and which ones depends on where it is. A matrix of R = 4096/f rows gives each row f slots,
//! which share its columns ([`Fold`](crate::geometry::Fold)); c' stands in the first of them, and the client
//! adds the f up. Tables, preprocessing and product shrink by f; nothing that travels changes.
//!
//! **Why not something simpler.** SEAL's calls with two registered keys take tens of times as long
//! for a plane, and the keys link all queries of a client; downloading the hint costs tens of megabytes.
//!
//! **Map.** `params`; `modulus`, `ntt`, `rings` (arithmetic, its loops compiled for wide registers by
//! `vector`); `public` (expansion of `a`); `diagonals`, `chain`, `table` (offline); `query`, `kernel`, `product`
//! (online); `bits` (formats); `secrets` (the client's half, behind the feature of that name).
//!
//! **Security.** N = 4096, ternary secret, error of deviation 3.2 before it is rounded (3.213 after),
//! modulus qP of 96 bits: 2^143.4 for one lookup by the lattice-estimator (default cost model, cheapest of primal,
//! dual and hybrid attacks; engine.md §3). The lookups of one index and epoch share their `a`, so that work on it
//! pays for each: 2^145 once, then 2^115 by the closest vector or 2^77 by the dual attack
//! (`tests/estimate.rs`). The key is one sample modulo qP, the encryptions are B samples modulo
//! q, all under one `k` that lives for one lookup. Public `a` reused under fresh secrets is the ordinary
//! use of LWE; the key encrypts a rotation of `k` under `k`, so security is circular, as in every BFV. No
//! long-lived secret exists: nothing that leaks later opens recorded lookups.
//!
//! **Noise.** Independent of the data: whitened bytes make H', and so each diagonal's 4096 coefficients,
//! uniform modulo t. With σ² = 3.2² + 1/12 for an error and 1/12 for rounding a message to q/t, and for
//! key switches a digit uniform modulo q against an error, plus the rounding of the division by P:
//!
//! ```text
//! product  V = D·N·t²/12·(σ² + 1/12) + G·(N·q²/12·σ²/P² + (1 + 2N/3)/12)       D = 1024: √V = 2^30.88
//! answer   W = V·(2^29/q)² + (1 + 2N/3)/12 + 2/(12·64)                                    √W = 21.06
//! margin   2^29/2t = 260.1 = 12.3·√W
//! ```
//!
//! A folded plane has less: D = 64 leaves √V = 2^28.88 and a margin of 16.8·√W. Its slots are 4096 all the
//! same, each rounded exactly, so that the sum of a row's f slots is exact modulo t too. The first term of V outweighs the rest by 2^9; in W, what rounding `a` and `b` to 29 bits adds is as
//! large as all noise before it (28 bits would leave 7.5 deviations). Given H' and `a`, the noise is
//! linear in independent subgaussian errors and ternary coefficients, so that a coefficient is off
//! with probability at most 2·exp(−12.3²/2), and any of 4 planes' 4096 with less than 2^-90. That adds up
//! with the scan's own failures ([`crate::params`], below 2^-40), which it does not change: a coefficient
//! that is not off is exact. Tests hold both deviations against measurements, to 4 %.
//!
//! **Limits.** q·x, sums and shifts are proved not to overflow where they are computed. Time, memory
//! access and sizes depend on the variant and the number of queries and planes only.
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

pub use crate::vector::Kernel;
pub use chain::Chain;
pub use error::InlineError;
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
