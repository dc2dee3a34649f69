//! The closed parameter set `opaque-128-v3`.
//!
//! **Security is a pair.** All lookups of one (table, epoch, salt) share the public `a` of an index
//! ([`seed`](crate::seed)), which a malicious cluster may keep for years. Lattice reduction of `a`
//! is done once and then helps against each of these lookups. The table is in bits of operations,
//! with core-SVP (classical, quantum) in brackets, for the scan's LWE with n = 1024, q = 2^32 and
//! rounded Gaussians of deviation 11 for secret and error:
//!
//! | block size | once | then each lookup, BDD | then each lookup, dual |
//! |---|---|---|---|
//! | 343 | 128 (100, 91) | 127 (110, 100) | |
//! | 351 | 130 (102, 93) | 118 (101, 92) | |
//! | 357 | 132 (104, 95) | 112 (95, 86) | 83 (72, 72) |
//! | 372 | 136 (109, 99) | 96 (78, 71) | 53 (42, 42) |
//! | 390 | 141 (114, 103) | 77 (58, 52) | 33 (22, 22) |
//!
//! `tests/estimate.rs` contains the model. The lattice-estimator (default cost model, cheapest of
//! primal, dual and hybrid attacks) gives 2^128.4 for a single lookup.
//!
//! **Registered keys** are BFV at N = 4096 with a 106-bit modulus, ternary secret and error 3.2.
//! There is one secret, with fresh `a` in each message, for which the lattice-estimator gives
//! 2^128.9. SEAL's usual 109-bit modulus gives only 2^125.1 and is therefore not used. SEAL's
//! errors, as it is built here, are a Gaussian of deviation 3.2 truncated toward zero, so their
//! deviation is 2.83. That costs about a quarter of a bit, by our interpolation between the
//! estimates for 106 and 104 bits of modulus (2^131.5), and leaves about 2^128.6.
//!
//! **Noise.** With whitened bytes (E\[D²\] = 5461) over C buckets, in units of 1/t:
//!
//! ```text
//! σ_total² = (t/q)²·C·E[D²]·σ² + (n/12)·σ² + small        margin = t/2p = 2016
//! ```
//!
//! A client sends only as many bits of each number as are needed to keep the probability of a
//! failure in any row of an answer below 2^-40:
//! [`Geometry::rounding`](crate::geometry::Geometry::rounding).
//!
//! Parameter sets are never assembled from loose numbers. Both sides name a set, and its digest
//! together with the geometry is the [`ParamsId`] that every message carries.

use std::fmt;

use crate::bits::packed_bytes;

/// Name of the only parameter set.
pub const NAME: &str = "opaque-128-v3";
/// n: degree of the scan's ring, and length of its secret.
pub const RING_DEGREE: usize = 1024;
/// Number of consecutive buckets that form a partition, the unit of placement. One ring element
/// covers a partition.
pub const PARTITION_BUCKETS: usize = RING_DEGREE;
/// σ: standard deviation of the scan's rounded Gaussian secret and error.
pub const STANDARD_DEVIATION: f64 = 11.0;
/// Δ = q/p = 2^24: the value of a selected byte's unit in a ciphertext of the scan.
pub const DELTA: u32 = 1 << 24;
/// p: values of a matrix entry.
pub const BYTE_VALUES: u32 = 1 << 8;
/// N: BFV's ring degree, and rows of the hint per whole plane.
pub const PLANE_ROWS: usize = 4096;
/// t: BFV's plaintext modulus, a 20-bit batching prime.
pub const PLAINTEXT_MODULUS: u32 = 1_032_193;
/// Bits of a value modulo t.
pub const PLAINTEXT_BITS: u32 = 20;
/// BFV's coefficient modulus; the last prime is the key-switching prime.
pub const COEFFICIENT_MODULUS: [u64; 3] = [34_359_451_649, 34_359_697_409, 68_719_403_009];
/// Bits of each prime of [`COEFFICIENT_MODULUS`].
pub const COEFFICIENT_BITS: [u32; 3] = [35, 35, 36];
/// Rotation steps that a client's two Galois keys provide.
pub const ROTATION_STEPS: [i32; 2] = [1, 32];
/// Version of the layout of buckets, part of every [`ParamsId`].
pub const LAYOUT_VERSION: u8 = 1;
/// Maximum C. It keeps a lookup's failure probability below 2^-40.
pub const MAX_BUCKETS: u32 = 1 << 20;
/// Maximum R: the number of rows over which that failure probability is summed.
pub const MAX_BUCKET_BYTES: u32 = 1 << 16;

/// Bytes of a seed that expands to the uniform half of a fresh ciphertext (SEAL's PRNG).
pub const SEED_BYTES: usize = 64;
/// Bytes of a fresh seeded encryption of the scan's secret: two primes of 35 bits, one polynomial.
pub const ENCRYPTED_SECRET_BYTES: usize =
    packed_bytes(PLANE_ROWS, COEFFICIENT_BITS[0] + COEFFICIENT_BITS[1]) + SEED_BYTES;
/// Bytes of one plane's hint product: two polynomials modulo the first prime, bit-packed.
pub const PLANE_CIPHERTEXT_BYTES: usize = packed_bytes(2 * PLANE_ROWS, COEFFICIENT_BITS[0]);
/// Bytes of one plane's rows of the scan in an answer: 4096 values modulo t, bit-packed.
pub const PLANE_SCAN_BYTES: usize = packed_bytes(PLANE_ROWS, PLAINTEXT_BITS);

const _: () = assert!(ENCRYPTED_SECRET_BYTES == 35_904);
const _: () = assert!(PLANE_CIPHERTEXT_BYTES == 35_840 && PLANE_SCAN_BYTES == 10_240);

/// Digest of the parameter set, the layout version and an index's geometry.
///
/// Both sides compute it independently and refuse a message with another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamsId([u8; 32]);

impl ParamsId {
    /// The identity of this parameter set with a geometry's canonical bytes.
    pub(crate) fn new(geometry: &[u8]) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("opaque 2026-11 ParamsId");
        hash.update(NAME.as_bytes());
        for number in [
            RING_DEGREE as u64,
            u64::from(DELTA),
            u64::from(BYTE_VALUES),
            STANDARD_DEVIATION.to_bits(),
            PLANE_ROWS as u64,
            u64::from(PLAINTEXT_MODULUS),
        ] {
            hash.update(&number.to_le_bytes());
        }
        for prime in COEFFICIENT_MODULUS {
            hash.update(&prime.to_le_bytes());
        }
        hash.update(geometry);
        Self(*hash.finalize().as_bytes())
    }

    /// An identity from a message.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ParamsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParamsId({self})")
    }
}

impl fmt::Display for ParamsId {
    /// The first eight bytes in hexadecimal, which suffice to distinguish two sets in a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
