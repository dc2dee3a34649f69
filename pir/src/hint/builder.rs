//! Builds a hint from partitions that come one at a time.

use rayon::prelude::*;

use super::kernel::{Kernel, Transform};
use super::transform::{self, Factor, Line, ROWS, SUM_LINES, Scratch};
use super::{Hint, HintError, PLANE_WORDS};
use crate::geometry::Geometry;
use crate::layout::Salt;
use crate::params::{PARTITION_BUCKETS, PLANE_ROWS, RING_DEGREE};
use crate::ring::public_element;

/// Groups of 16 rows in a plane.
const GROUPS: usize = PLANE_ROWS / ROWS;
/// Groups that a task takes at least: a fraction of a millisecond of work.
const TASK_GROUPS: usize = 4;

const _: () = assert!(GROUPS * ROWS == PLANE_ROWS);

/// Accumulates a hint over the partitions of an index.
///
/// Memory: R × 8 KiB (64 MiB at R = 8192), whatever the table's size; [`finish`](Self::finish) needs
/// half of that again. Runs on the current rayon pool, in parallel over rows; the result depends
/// neither on the order of the partitions nor on the number of threads nor on the kernel.
pub struct HintBuilder {
    salt: Salt,
    column: u32,
    geometry: Geometry,
    added: Vec<bool>,
    code: &'static dyn Transform,
    /// Per plane, the sums of [`GROUPS`] groups of rows.
    sums: Vec<Vec<Line>>,
}

impl HintBuilder {
    /// A hint of no partitions yet, made by the fastest kernel.
    pub fn new(salt: Salt, column: u32, geometry: &Geometry) -> Self {
        let code = Kernel::best().code().unwrap_or(Kernel::PORTABLE);
        Self::with_code(code, salt, column, geometry)
    }

    /// A hint of no partitions yet, made by this kernel.
    ///
    /// # Errors
    /// When this machine does not run it.
    pub fn with_kernel(
        kernel: Kernel,
        salt: Salt,
        column: u32,
        geometry: &Geometry,
    ) -> Result<Self, HintError> {
        let code = kernel.code().ok_or(HintError::Kernel { kernel: kernel.name() })?;
        Ok(Self::with_code(code, salt, column, geometry))
    }

    fn with_code(
        code: &'static dyn Transform,
        salt: Salt,
        column: u32,
        geometry: &Geometry,
    ) -> Self {
        let planes = 0..geometry.planes();
        Self {
            salt,
            column,
            geometry: *geometry,
            added: vec![false; geometry.partitions() as usize],
            code,
            sums: planes.map(|_| vec![Line::ZERO; GROUPS * SUM_LINES]).collect(),
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
        let factor = Factor::new(&public_element(&self.salt, self.column, partition));
        let code = self.code;
        self.sums.par_iter_mut().zip(bytes.par_chunks(PLANE_WORDS)).for_each(|(sums, bytes)| {
            let (rows, _) = bytes.as_chunks::<PARTITION_BUCKETS>();
            let (groups, _) = rows.as_chunks::<ROWS>();
            let sums = transform::sums(sums).par_iter_mut().with_min_len(TASK_GROUPS);
            sums.zip(groups).for_each_init(Scratch::new, |scratch, (sums, group)| {
                code.add(group, &factor, scratch, sums);
            });
        });
        Ok(())
    }

    /// The hint of all partitions.
    ///
    /// # Errors
    /// When a partition was not added.
    pub fn finish(self) -> Result<Hint, HintError> {
        let Self { salt: _, column: _, geometry, added, code, sums } = self;
        if let Some(partition) = (0..).zip(&added).find_map(|(j, added)| (!added).then_some(j)) {
            return Err(HintError::PartitionMissing { partition });
        }
        // One plane after the other, so that each plane's sums are freed before the next is read.
        Hint::from_planes(&geometry, sums.into_iter().map(|sums| read_plane(code, sums)).collect())
    }
}

/// A plane's sums to its rows of the hint.
fn read_plane(code: &dyn Transform, mut sums: Vec<Line>) -> Vec<u32> {
    let mut plane = vec![0; PLANE_WORDS];
    let (rows, _) = plane.as_chunks_mut::<RING_DEGREE>();
    let (groups, _) = rows.as_chunks_mut::<ROWS>();
    groups
        .par_iter_mut()
        .zip(transform::sums(&mut sums))
        .for_each(|(rows, sums)| code.read(sums, rows));
    plane
}

impl std::fmt::Debug for HintBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let added = self.added.iter().filter(|added| **added).count();
        f.debug_struct("HintBuilder").field("added", &added).finish_non_exhaustive()
    }
}
