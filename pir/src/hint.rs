//! The hint: the contribution of a client's secret to every row of a scan (docs/ENGINE.md §6).
//!
//! ```text
//! H[r][i] = Σ_j Σ_k D[r][1024j+k]·A_j[k][i] mod 2^32          R × 1024 words for the whole table
//! ```
//!
//! so that `c − H·s` is the selected bucket plus noise. Row `r`'s bytes of one partition, read as a
//! polynomial in x^-1, times a_j has `H[r][i]` at x^-i = −x^(n−i). The products are summed exactly
//! in NTT form over all partitions (see `kernel::scalar` and `transform` for the bounds) and
//! converted back once. The kernel is chosen at run time
//! ([`VectorKernel`](crate::machine::VectorKernel)).

mod builder;
mod kernel;
mod planes;
#[cfg(test)]
mod tests;
// Not used by the scalar kernel, which has its own transform.
#[cfg(any(target_arch = "x86_64", test))]
mod transform;

use rayon::prelude::*;
use thiserror::Error;

pub use builder::HintBuilder;

use crate::geometry::Geometry;
use crate::params::{PARTITION_BUCKETS, PLANE_ROWS, RING_DEGREE};
use crate::ring::{Poly, matrix_row, public_element};
use crate::seed::IndexSeed;

#[expect(clippy::cast_possible_truncation, reason = "1024")]
const BUCKETS: u32 = PARTITION_BUCKETS as u32;
/// Words of one whole plane: 4096 rows of 1024 words. A plane with fewer rows has fewer words
/// ([`Geometry::plane_words`]).
pub const PLANE_WORDS: usize = PLANE_ROWS * RING_DEGREE;

/// The hint of a whole index, plane by plane.
#[derive(Clone, PartialEq, Eq)]
pub struct Hint {
    geometry: Geometry,
    /// One entry for each plane of the geometry, of [`Geometry::plane_words`].
    planes: Vec<Vec<u32>>,
}

impl Hint {
    /// Assembles a hint that was computed before, from its planes in order.
    ///
    /// # Errors
    /// Their number or a length does not match the geometry.
    pub fn from_planes(geometry: &Geometry, planes: Vec<Vec<u32>>) -> Result<Self, HintError> {
        if planes.len() != geometry.planes() {
            let (expected, found) = (geometry.planes(), planes.len());
            return Err(HintError::Planes { expected, found });
        }
        for (number, plane) in planes.iter().enumerate() {
            let expected = geometry.plane_words(number);
            if plane.len() != expected {
                return Err(HintError::Plane { expected, found: plane.len() });
            }
        }
        Ok(Self { geometry: *geometry, planes })
    }

    /// The geometry of the index.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Rows of 1024 words, row by row ([`Geometry::plane_rows`]); `None` if the plane does not
    /// exist.
    pub fn plane(&self, plane: usize) -> Option<&[u32]> {
        self.planes.get(plane).map(Vec::as_slice)
    }

    /// All planes in order.
    pub fn planes(&self) -> &[Vec<u32>] {
        &self.planes
    }

    /// Consumes the hint and returns its planes.
    pub fn into_planes(self) -> Vec<Vec<u32>> {
        self.planes
    }

    /// Updates the hint after a change of one bucket: `H += (new − old) ⊗ A[bucket]`, R × 1024
    /// multiply-adds instead of a rebuild. `old` and `new` are the R stored (whitened) bytes of the
    /// bucket.
    ///
    /// # Errors
    /// The bucket does not exist, or its bytes are not R. Nothing is changed then.
    pub fn update_bucket(
        &mut self,
        seed: &IndexSeed,
        bucket: u32,
        old: &[u8],
        new: &[u8],
    ) -> Result<(), HintError> {
        if bucket >= self.geometry.buckets() {
            return Err(HintError::Bucket { bucket, buckets: self.geometry.buckets() });
        }
        let expected = self.geometry.bucket_bytes();
        for found in [old.len(), new.len()] {
            if found != expected {
                return Err(HintError::BucketBytes { expected, found });
            }
        }
        let partition = bucket / BUCKETS;
        let element = public_element(seed, partition);
        let matrix_row = matrix_row(&element, (bucket % BUCKETS) as usize);
        let changes = old.par_chunks(PLANE_ROWS).zip(new.par_chunks(PLANE_ROWS));
        self.planes.par_iter_mut().zip(changes).for_each(|(plane, (old, new))| {
            let changes = old.par_iter().zip(new);
            plane.par_chunks_exact_mut(RING_DEGREE).zip(changes).for_each(|(row, (old, new))| {
                let change = entry(*new).wrapping_sub(entry(*old));
                for (word, factor) in row.iter_mut().zip(matrix_row.iter()) {
                    *word = word.wrapping_add(change.wrapping_mul(*factor));
                }
            });
        });
        Ok(())
    }
}

impl std::fmt::Debug for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hint").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

/// One plane of the hint times one public secret, exactly: `H·s mod 2^32`, one word per row. It is
/// for the self-test; other secrets are multiplied only under encryption.
pub(crate) fn multiply_plane(plane: &[u32], secret: &Poly) -> Vec<u32> {
    let product = |row: &[u32]| {
        let terms = row.iter().zip(secret).map(|(word, secret)| word.wrapping_mul(*secret));
        terms.fold(0, u32::wrapping_add)
    };
    plane.par_chunks_exact(RING_DEGREE).map(product).collect()
}

/// A stored byte as a matrix entry modulo 2^32.
fn entry(byte: u8) -> u32 {
    i32::from(byte.cast_signed()).cast_unsigned()
}

/// Why a hint could not be built or changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HintError {
    /// The partition does not exist in the geometry.
    #[error("partition {partition} does not exist: the geometry has {partitions}")]
    Partition {
        /// The partition given.
        partition: u32,
        /// Partitions of the geometry.
        partitions: u32,
    },
    /// The partition was added before.
    #[error("partition {partition} was added twice")]
    PartitionTwice {
        /// The partition.
        partition: u32,
    },
    /// A partition was not added.
    #[error("partition {partition} was not added")]
    PartitionMissing {
        /// The first such partition.
        partition: u32,
    },
    /// A partition does not have R·1024 bytes.
    #[error("bytes of a partition: expected {expected}, found {found}")]
    PartitionBytes {
        /// R·1024.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The number of planes is wrong.
    #[error("planes: expected {expected}, found {found}")]
    Planes {
        /// Planes of the geometry.
        expected: usize,
        /// Planes given.
        found: usize,
    },
    /// A plane does not have 1024 words for each of its rows.
    #[error("words of a plane: expected {expected}, found {found}")]
    Plane {
        /// [`Geometry::plane_words`].
        expected: usize,
        /// Words given.
        found: usize,
    },
    /// The bucket does not exist in the geometry.
    #[error("bucket {bucket} does not exist: the geometry has {buckets}")]
    Bucket {
        /// The bucket given.
        bucket: u32,
        /// Buckets of the geometry.
        buckets: u32,
    },
    /// A bucket does not have R bytes.
    #[error("bytes of a bucket: expected {expected}, found {found}")]
    BucketBytes {
        /// R.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The kernel needs instructions that this machine lacks.
    #[error("this machine does not run the {kernel} kernel")]
    Kernel {
        /// Its name.
        kernel: &'static str,
    },
}
