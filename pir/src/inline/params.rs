//! The closed parameter set of inline keys.

use serde::{Deserialize, Serialize};

use crate::geometry::Geometry;
use crate::params::{PLANE_ROWS, ParamsId, RING_DEGREE};

/// Name of the parameter set.
pub const NAME: &str = "opaque-128-v3-inline";

/// The parameter sets that manifests and descriptions may name. There is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Variant {
    /// [`NAME`].
    #[serde(rename = "opaque-128-v3-inline")]
    Ring2048,
}

impl Variant {
    /// The set's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring2048 => NAME,
        }
    }

    /// The set with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == NAME).then_some(Self::Ring2048)
    }
}

/// N: degree of the ring, and number of hint rows per ring.
pub const N: usize = 2048;
/// q: the two largest 24-bit primes that are 1 modulo 2N.
pub const Q_PRIMES: [u32; 2] = [16_760_833, 16_736_257];
/// Standard deviation of an error before rounding. After rounding it has variance σ² + 1/12 and so
/// deviation 3.213.
pub const ERROR_DEVIATION: f64 = 3.2;
/// B: number of encryptions of the scan's secret that a client sends in addition to its key.
pub const ENCRYPTIONS: usize = 2;
/// Bits of each coefficient of a public part.
pub const PUBLIC_BITS: u32 = 18;

/// Bits of each prime of q, and of a word of the tables.
pub const Q_BITS: u32 = 24;
/// Primitive 2N-th roots of one: the first g^((m−1)/2N), g = 2, 3, …, whose N-th power is −1. The
/// order of slots, and so every format, depends on them.
pub(super) const Q_ROOTS: [u32; 2] = [13_290_827, 8_043_402];
/// T: bits of a coefficient of a diagonal.
pub const DIAGONAL_BITS: u32 = 27;
/// Number of low bits of the accumulator that a key switch drops: its digit is round(a/2^25).
pub const DROPPED_BITS: u32 = 25;

/// Bytes of one polynomial modulo q.
const POLYNOMIAL_BYTES: usize = N * 2 * Q_BITS as usize / 8;
/// Bytes that a client sends for one lookup in addition to the scan's ciphertext: the key and the
/// encryptions.
pub const QUERY_BYTES: usize = (1 + ENCRYPTIONS) * POLYNOMIAL_BYTES;
/// Bytes of the public part of one ring.
pub const PUBLIC_BYTES: usize = N * PUBLIC_BITS as usize / 8;

const _: () = assert!(QUERY_BYTES == 36_864 && PUBLIC_BYTES == 4608);

/// The layout of hint rows in a ring. R = 2048/f rows need only 1/f of the automorphisms, and so of
/// tables, preprocessing and product.
///
/// Row r₀ + 2r₁ (r₀ < 2) is the coefficient of X^(r₀ + 2f·r₁). f is 1, 2, 4 or 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fold {
    /// log2 f, at most 3.
    doublings: u32,
}

impl Fold {
    /// A full ring, in which every coefficient is a row.
    pub const NONE: Self = Self { doublings: 0 };
    /// Every fold, f = 1, 2, 4, 8.
    pub const ALL: [Self; 4] =
        [Self::NONE, Self { doublings: 1 }, Self { doublings: 2 }, Self { doublings: 3 }];

    /// The fold of a ring of `rows` rows.
    pub fn of_rows(rows: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|fold| fold.rows() == rows)
    }

    /// The factor f.
    pub const fn factor(self) -> usize {
        1 << self.doublings
    }

    /// 2048/f: number of rows of the ring.
    pub const fn rows(self) -> usize {
        N >> self.doublings
    }

    /// G = 512/f: number of steps of Horner's rule, each with B diagonals.
    pub const fn steps(self) -> usize {
        (RING_DEGREE / ENCRYPTIONS) >> self.doublings
    }

    /// The coefficient that holds a row.
    pub const fn coefficient_of(self, row: usize) -> usize {
        (row & 1) + ((row >> 1) << (1 + self.doublings))
    }

    /// Memory of one ring's tables: for each prime of q and each step, one digit and B diagonals.
    pub const fn table_bytes(self) -> usize {
        2 * (1 + ENCRYPTIONS) * self.steps() * N * Q_BITS as usize / 8
    }
}

/// Memory of the tables of a plane of `rows` rows; 0 if no plane has that number of rows.
pub fn table_bytes(rows: usize) -> usize {
    rings_of(rows).map_or(0, |(rings, fold)| rings * fold.table_bytes())
}

/// Bytes of the public part of a plane of `rows` rows; 0 if no plane has that number of rows.
pub fn public_bytes(rows: usize) -> usize {
    rings_of(rows).map_or(0, |(rings, _)| rings * PUBLIC_BYTES)
}

/// The number of rings of a plane of `rows` rows, and the layout of rows in each: two full rings
/// for 4096 rows, one ring for 2048, 1024, 512 or 256; `None` for another number.
pub fn rings_of(rows: usize) -> Option<(usize, Fold)> {
    if rows == PLANE_ROWS { Some((2, Fold::NONE)) } else { Some((1, Fold::of_rows(rows)?)) }
}

const _: () = assert!(PLANE_ROWS == 2 * N);

/// Identity of the parameter set, with layout version, geometry and rounding. Every message of a
/// lookup with inline keys carries it.
pub fn params_id(geometry: &Geometry) -> ParamsId {
    let mut hash = blake3::Hasher::new_derive_key("opaque 2026-12 ParamsId of inline keys");
    // The scan's own parameters, layout and geometry.
    hash.update(geometry.params_id().as_bytes());
    hash.update(NAME.as_bytes());
    let rounding = geometry.rounding();
    let bits = [rounding.bucket_bits, rounding.row_bits, PUBLIC_BITS, DIAGONAL_BITS, DROPPED_BITS];
    for number in bits.into_iter().chain(Q_PRIMES).chain(Q_ROOTS) {
        hash.update(&number.to_le_bytes());
    }
    for number in [N as u64, ENCRYPTIONS as u64, ERROR_DEVIATION.to_bits()] {
        hash.update(&number.to_le_bytes());
    }
    ParamsId::from_bytes(*hash.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_manifests_have() {
        assert_eq!(serde_json::to_string(&Variant::Ring2048).unwrap(), format!("\"{NAME}\""));
        assert_eq!(Variant::from_name(Variant::Ring2048.name()), Some(Variant::Ring2048));
        assert_eq!(Variant::from_name("opaque-128-v2-inline-2"), None);
    }

    #[test]
    fn identities_differ_by_geometry_and_from_the_scans() {
        let geometries = [256, 4096, 8192].map(|rows| Geometry::new(rows, 1024, 1).unwrap());
        let ids: Vec<ParamsId> =
            geometries.iter().flat_map(|g| [g.params_id(), params_id(g)]).collect();
        for (i, id) in ids.iter().enumerate() {
            assert!(!ids[i + 1..].contains(id));
        }
    }

    fn is_prime(n: u32) -> bool {
        (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
    }

    #[test]
    fn primes_are_the_largest_that_fit() {
        let fit = (1..(1u32 << Q_BITS) / 4096).rev().map(|k| 4096 * k + 1);
        assert_eq!(fit.filter(|n| is_prime(*n)).take(2).collect::<Vec<_>>(), Q_PRIMES);
        // The estimate of 142.8 bits of security is for 48 bits of modulus.
        assert!(Q_PRIMES.map(|p| f64::from(p).log2()).iter().sum::<f64>() <= 48.0);
    }

    #[test]
    fn rows_have_coefficients_of_their_own() {
        for fold in Fold::ALL {
            let mut places: Vec<_> = (0..fold.rows()).map(|r| fold.coefficient_of(r)).collect();
            assert!(places.is_sorted() && places.iter().all(|place| *place < N));
            places.dedup();
            assert_eq!(places.len(), fold.rows());
            // Products with Y^j, j no multiple of f, do not meet them.
            assert!(places.iter().all(|place| (place / 2).is_multiple_of(fold.factor())));
            assert_eq!(Fold::of_rows(fold.rows()), Some(fold));
            assert_eq!(rings_of(fold.rows()), Some((1, fold)));
        }
        assert_eq!(Fold::NONE.table_bytes(), 18 << 20);
        assert_eq!(rings_of(4096), Some((2, Fold::NONE)));
        for rows in [0, 128, 3072, 6144, 8192] {
            assert_eq!(rings_of(rows), None);
        }
    }
}
