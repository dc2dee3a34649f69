//! Builds a hint from partitions that come one at a time.

use rayon::prelude::*;

use super::{Hint, HintError, PLANE_WORDS};
use crate::geometry::Geometry;
use crate::layout::Salt;
use crate::params::{PARTITION_BUCKETS, RING_DEGREE};
use crate::ring::{Factor, NTT, lift, public_element, signed_residue};

/// Accumulates a hint over the partitions of an index.
///
/// Memory: R × 8 KiB (64 MiB at R = 8192), whatever the table's size; [`finish`](Self::finish) needs
/// half of that again. Runs on the current rayon pool, in parallel over rows; the result depends
/// neither on the order of the partitions nor on the number of threads.
pub struct HintBuilder {
    salt: Salt,
    column: u32,
    geometry: Geometry,
    added: Vec<bool>,
    /// Per plane, the rows' sums in NTT form, below 2p.
    sums: Vec<Vec<u64>>,
}

impl HintBuilder {
    /// A hint of no partitions yet.
    pub fn new(salt: Salt, column: u32, geometry: &Geometry) -> Self {
        let planes = 0..geometry.planes();
        Self {
            salt,
            column,
            geometry: *geometry,
            added: vec![false; geometry.partitions() as usize],
            sums: planes.map(|_| vec![0; PLANE_WORDS]).collect(),
        }
    }

    /// Adds one partition: its R·1024 stored (whitened) bytes, row by row.
    ///
    /// # Errors
    /// When the partition is not of this geometry or was added before; nothing is changed then.
    pub fn add(&mut self, partition: u32, bytes: &[u8]) -> Result<(), HintError> {
        let expected = self.geometry.partition_bytes();
        if bytes.len() != expected {
            return Err(HintError::PartitionBytes { expected, found: bytes.len() });
        }
        let partitions = self.geometry.partitions();
        let added = self
            .added
            .get_mut(partition as usize)
            .ok_or(HintError::Partition { partition, partitions })?;
        if std::mem::replace(added, true) {
            return Err(HintError::PartitionTwice { partition });
        }
        let element = public_element(&self.salt, self.column, partition);
        let element = Factor::new(element.iter().map(|a| i64::from(a.cast_signed())));
        self.sums.par_iter_mut().zip(bytes.par_chunks(PLANE_WORDS)).for_each(|(sums, bytes)| {
            let (sums, _) = sums.as_chunks_mut::<RING_DEGREE>();
            let (rows, _) = bytes.as_chunks::<PARTITION_BUCKETS>();
            let scratch = || Box::new([0; RING_DEGREE]);
            sums.par_iter_mut().zip(rows).for_each_init(scratch, |polynomial, (sums, row)| {
                reversed_polynomial(row, polynomial);
                NTT.forward(polynomial);
                element.multiply_add(polynomial, sums);
            });
        });
        Ok(())
    }

    /// The hint of all partitions.
    ///
    /// # Errors
    /// When a partition was not added.
    pub fn finish(self) -> Result<Hint, HintError> {
        let Self { salt: _, column: _, geometry, added, sums } = self;
        if let Some(partition) = (0..).zip(&added).find_map(|(j, added)| (!added).then_some(j)) {
            return Err(HintError::PartitionMissing { partition });
        }
        // One plane after the other, so that each plane's sums are freed before the next is read.
        Hint::from_planes(&geometry, sums.into_iter().map(read_plane).collect())
    }
}

/// Σ_k D\[k\]·x^-k as a polynomial of degree below n: x^-k = −x^(n−k).
fn reversed_polynomial(row: &[u8; PARTITION_BUCKETS], polynomial: &mut [u64; RING_DEGREE]) {
    let [first, rest @ ..] = row;
    let [constant, others @ ..] = polynomial;
    *constant = lift(i64::from(first.cast_signed()));
    for (coefficient, byte) in others.iter_mut().rev().zip(rest) {
        *coefficient = lift(-i64::from(byte.cast_signed()));
    }
}

/// Sums in NTT form to rows of the hint: H\[i\] stands at x^-i.
fn read_plane(mut sums: Vec<u64>) -> Vec<u32> {
    let mut plane = vec![0; PLANE_WORDS];
    let (rows, _) = plane.as_chunks_mut::<RING_DEGREE>();
    rows.par_iter_mut().zip(sums.as_chunks_mut::<RING_DEGREE>().0).for_each(|(row, sums)| {
        NTT.inverse(sums);
        let [constant, others @ ..] = sums;
        let [first, rest @ ..] = row;
        *first = signed_residue(*constant);
        for (word, residue) in rest.iter_mut().rev().zip(others) {
            *word = signed_residue(*residue).wrapping_neg();
        }
    });
    plane
}

impl std::fmt::Debug for HintBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let added = self.added.iter().filter(|added| **added).count();
        f.debug_struct("HintBuilder").field("added", &added).finish_non_exhaustive()
    }
}
