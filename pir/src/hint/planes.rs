//! The sums of all rows, for any kernel: loops over rows on the current rayon pool.

use rayon::prelude::*;

use crate::geometry::{BUCKET_SIZES, Geometry};
use crate::params::{PARTITION_BUCKETS, PLANE_ROWS, RING_DEGREE};
use crate::ring::Poly;

/// Number of rows that a kernel processes together.
pub(super) const ROWS: usize = 16;
/// Minimum groups per task: a fraction of a millisecond of work.
const TASK_GROUPS: usize = 4;
/// Number of rows of the smallest plane.
const FEWEST_ROWS: usize = BUCKET_SIZES[0] as usize;

// A plane consists of whole groups.
const _: () = assert!(FEWEST_ROWS.is_multiple_of(ROWS));

/// A group's bytes of one partition, as stored.
pub(super) type Bytes = [[u8; PARTITION_BUCKETS]; ROWS];

/// The operations of a kernel on a group of rows.
pub(super) trait Rows: Copy + Send + Sync {
    /// A ring element by which many rows are multiplied.
    type Factor: Sync;
    /// Working memory.
    type Scratch: Send;
    /// A group's sums.
    type Sums: Send;

    /// Transforms a_j. Its coefficients count as numbers from −2^31 to 2^31 − 1.
    fn factor(self, a: &Poly) -> Self::Factor;
    fn scratch(self) -> Box<Self::Scratch>;
    fn zero(self, groups: usize) -> Vec<Self::Sums>;

    /// Adds the product of the rows and a ring element to the rows' sums.
    fn add(
        self,
        bytes: &Bytes,
        factor: &Self::Factor,
        scratch: &mut Self::Scratch,
        sums: &mut Self::Sums,
    );

    /// Computes the rows of the hint. Overwrites the sums.
    fn read(self, sums: &mut Self::Sums, rows: &mut [Poly; ROWS]);
}

/// Sums of all rows, independent of the kernel.
pub(super) trait Accumulate: Send + Sync {
    /// Adds a partition: R·1024 bytes, and its ring element.
    fn add(&mut self, a: &Poly, bytes: &[u8]);

    /// The planes of the hint.
    fn finish(self: Box<Self>) -> Vec<Vec<u32>>;
}

/// The sums of each group of rows, for each plane.
pub(super) struct Planes<K: Rows> {
    kernel: K,
    planes: Vec<Vec<K::Sums>>,
}

impl<K: Rows> Planes<K> {
    pub(super) fn new(kernel: K, geometry: &Geometry) -> Self {
        let groups = |plane| geometry.plane_rows(plane) / ROWS;
        let planes = (0..geometry.planes()).map(|plane| kernel.zero(groups(plane))).collect();
        Self { kernel, planes }
    }
}

impl<K: Rows> Accumulate for Planes<K>
where
    K::Sums: Sync,
{
    fn add(&mut self, a: &Poly, bytes: &[u8]) {
        let Self { kernel, planes } = self;
        let bytes = bytes.par_chunks(PLANE_ROWS * PARTITION_BUCKETS);
        let factor = kernel.factor(a);
        planes.par_iter_mut().zip(bytes).for_each(|(sums, bytes)| {
            let (rows, _) = bytes.as_chunks::<PARTITION_BUCKETS>();
            let (groups, _) = rows.as_chunks::<ROWS>();
            let sums = sums.par_iter_mut().with_min_len(TASK_GROUPS);
            sums.zip(groups).for_each_init(
                || kernel.scratch(),
                |scratch, (sums, bytes)| kernel.add(bytes, &factor, scratch, sums),
            );
        });
    }

    fn finish(self: Box<Self>) -> Vec<Vec<u32>> {
        let Self { kernel, planes } = *self;
        // Planes are processed one after the other, so that each plane's sums are freed before the
        // next is read.
        let read = |mut sums: Vec<K::Sums>| {
            let mut plane = vec![0; sums.len() * ROWS * RING_DEGREE];
            let (rows, _) = plane.as_chunks_mut::<RING_DEGREE>();
            let (groups, _) = rows.as_chunks_mut::<ROWS>();
            groups.par_iter_mut().zip(&mut sums).for_each(|(rows, sums)| kernel.read(sums, rows));
            plane
        };
        planes.into_iter().map(read).collect()
    }
}
