//! Builds a hint from partitions that arrive one at a time.

use super::planes::Accumulate;
use super::{Hint, HintError};
use crate::geometry::Geometry;
use crate::machine::VectorKernel;
use crate::ring::public_element;
use crate::seed::IndexSeed;

/// Accumulates a hint over the partitions of an index.
///
/// Memory: R × 8 KiB (64 MiB at R = 8192, 2 MiB at R = 256), independent of the table's size;
/// [`finish`](Self::finish) needs half of that in addition. It runs on the current rayon pool, in
/// parallel over rows. The result does not depend on the order of the partitions, the number of
/// threads or the kernel.
pub struct HintBuilder {
    seed: IndexSeed,
    geometry: Geometry,
    added: Vec<bool>,
    planes: Box<dyn Accumulate>,
}

impl HintBuilder {
    /// An empty builder that uses the fastest kernel.
    pub fn new(seed: IndexSeed, geometry: &Geometry) -> Self {
        let planes = VectorKernel::best().planes(geometry);
        let planes = planes.unwrap_or_else(|| VectorKernel::portable(geometry));
        Self::with_planes(planes, seed, geometry)
    }

    /// An empty builder that uses this kernel.
    ///
    /// # Errors
    /// This machine does not support the kernel.
    pub fn with_kernel(
        kernel: VectorKernel,
        seed: IndexSeed,
        geometry: &Geometry,
    ) -> Result<Self, HintError> {
        let planes = kernel.planes(geometry).ok_or(HintError::Kernel { kernel: kernel.name() })?;
        Ok(Self::with_planes(planes, seed, geometry))
    }

    fn with_planes(planes: Box<dyn Accumulate>, seed: IndexSeed, geometry: &Geometry) -> Self {
        let added = vec![false; geometry.partitions() as usize];
        Self { seed, geometry: *geometry, added, planes }
    }

    /// Adds one partition: its R·1024 stored (whitened) bytes, row by row.
    ///
    /// # Errors
    /// The partition does not exist in the geometry, or was added before. Nothing is changed then.
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
        self.planes.add(&public_element(&self.seed, partition), bytes);
        Ok(())
    }

    /// The hint over all partitions.
    ///
    /// # Errors
    /// A partition was not added.
    pub fn finish(self) -> Result<Hint, HintError> {
        let Self { seed: _, geometry, added, planes } = self;
        if let Some(partition) = (0..).zip(&added).find_map(|(j, added)| (!added).then_some(j)) {
            return Err(HintError::PartitionMissing { partition });
        }
        Hint::from_planes(&geometry, planes.finish())
    }
}

impl std::fmt::Debug for HintBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let added = self.added.iter().filter(|added| **added).count();
        f.debug_struct("HintBuilder").field("added", &added).finish_non_exhaustive()
    }
}
