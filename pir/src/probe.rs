//! The self-test: one query whose correct answer everyone can compute (docs/ENGINE.md §11).
//!
//! For a random public `s`, the scan of the error-free query `b_j = A_j·s` must equal `H·s` in
//! every row. One query therefore proves that every partition is served exactly once with the right
//! bytes, and that the hint belongs to them (Freivalds). A wrong table byte passes with probability
//! at most 2^-25. A hint entry that is wrong by an odd multiple of 2^k passes with probability
//! 2^-(32−k). Four values of `s` in one pass reduce this to 2^-100 and 2^-4(32−k).
//!
//! The secrets are derived from the digests of the data that they test, so they are determined only
//! after the data is, and every node derives the same ones. A node multiplies the hint by them
//! while it loads; the hint itself need not stay in memory (decision 019).

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::geometry::Geometry;
use crate::hint::multiply_plane;
use crate::params::RING_DEGREE;
use crate::ring::{Multiplier, Poly, Transformed, public_element};
use crate::seed::IndexSeed;

/// Secrets per probe, and lookups of a probe's scan.
pub const SECRETS: usize = 4;

/// Public "secrets" of one self-test.
#[derive(Clone, PartialEq, Eq)]
pub struct Probe {
    secrets: Box<[Poly; SECRETS]>,
}

impl Probe {
    /// The probe of an index whose partitions and planes have these digests, in order. The secrets
    /// are uniform modulo 2^32, expanded by BLAKE3 from the seed and the digests.
    pub fn new<'d>(seed: &IndexSeed, digests: impl IntoIterator<Item = &'d [u8; 32]>) -> Self {
        let mut hash = seed.derive("opaque 2026-12 secrets of a self-test");
        for digest in digests {
            hash.update(digest);
        }
        let mut reader = hash.finalize_xof();
        let mut secrets = Box::new([[0; RING_DEGREE]; SECRETS]);
        for coefficient in secrets.as_flattened_mut() {
            let mut word = [0; 4];
            reader.fill(&mut word);
            *coefficient = u32::from_le_bytes(word);
        }
        Self { secrets }
    }

    /// A plane of the hint times each secret: `H·s mod 2^32`, one word per row.
    pub fn multiply(&self, plane: &[u32]) -> [Vec<u32>; SECRETS] {
        self.secrets.each_ref().map(|secret| multiply_plane(plane, secret))
    }

    /// Prepares the secrets for queries of many partitions.
    pub fn prepare(&self) -> PreparedProbe {
        PreparedProbe { halves: self.secrets.each_ref().map(Halves::new) }
    }

    /// One partition's block of each query: A_j·s, exact modulo 2^32. For several partitions, call
    /// [`prepare`](Self::prepare) first.
    pub fn query(&self, seed: &IndexSeed, partition: u32) -> [Box<Poly>; SECRETS] {
        self.prepare().query(seed, partition)
    }

    /// Compares the summed scans with the hint products, both `[secret][row]` over all R rows.
    ///
    /// # Errors
    /// A row of a secret differs, or the shapes do not match the geometry.
    pub fn check(
        geometry: &Geometry,
        scanned: &[Vec<u32>],
        hint: &[Vec<u32>],
    ) -> Result<(), ProbeError> {
        let rows = geometry.bucket_bytes();
        for part in [scanned, hint] {
            if part.len() != SECRETS || part.iter().any(|part| part.len() != rows) {
                return Err(ProbeError::Shape { rows });
            }
        }
        let differs = |row: &usize| {
            scanned.iter().zip(hint).any(|(scanned, hint)| scanned.get(*row) != hint.get(*row))
        };
        match (0..rows).filter(differs).count() {
            0 => Ok(()),
            mismatched_rows => Err(ProbeError::Mismatch { mismatched_rows, rows }),
        }
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

/// The secrets of a probe, prepared for products.
#[derive(Debug)]
pub struct PreparedProbe {
    halves: [Halves; SECRETS],
}

impl PreparedProbe {
    /// See [`Probe::query`].
    pub fn query(&self, seed: &IndexSeed, partition: u32) -> [Box<Poly>; SECRETS] {
        let element = Transformed::new(&public_element(seed, partition));
        self.halves.each_ref().map(|halves| halves.times(&element))
    }
}

/// A secret with 32 bits per coefficient, s ≡ low + 2^16·high with both in \[−2^15, 2^15). Each
/// half is small enough for exact products.
#[derive(Debug)]
struct Halves {
    low: Multiplier,
    high: Multiplier,
}

impl Halves {
    #[expect(clippy::cast_possible_truncation, reason = "the low half, then the high half")]
    fn new(secret: &Poly) -> Self {
        let low = secret.map(|s| i32::from(s as i16));
        let high = secret.map(|s| {
            let rest = s.wrapping_sub(i32::from(s as i16).cast_unsigned());
            i32::from((rest >> 16) as i16)
        });
        Self { low: Multiplier::new(&low), high: Multiplier::new(&high) }
    }

    fn times(&self, element: &Transformed) -> Box<Poly> {
        let mut product = Box::new([0; RING_DEGREE]);
        let mut high = [0; RING_DEGREE];
        self.low.times_transformed(element, &mut product);
        self.high.times_transformed(element, &mut high);
        for (low, high) in product.iter_mut().zip(high) {
            *low = low.wrapping_add(high << 16);
        }
        product
    }
}

/// Why a self-test failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The served bytes are not those from which the hint was computed.
    #[error(
        "the self-test fails in {mismatched_rows} of {rows} rows: bytes served and hint differ"
    )]
    Mismatch {
        /// Rows that differ for at least one secret.
        mismatched_rows: usize,
        /// R.
        rows: usize,
    },
    /// The results do not belong to a self-test of this geometry.
    #[error("a self-test has {SECRETS} results of {rows} rows on each side")]
    Shape {
        /// R.
        rows: usize,
    },
}
