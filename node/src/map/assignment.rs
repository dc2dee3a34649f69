//! Which shard serves which part of one index, as a table for the coordinator.

use std::collections::BTreeMap;

/// The partitions and planes of one index, by shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    partitions: BTreeMap<u32, Vec<u32>>,
    planes: BTreeMap<u32, Vec<u16>>,
    owners: Vec<u32>,
}

impl Assignment {
    /// Tabulates the owners of all partitions and of all planes, both in order.
    pub fn new(partition_owners: Vec<u32>, plane_owners: &[u32]) -> Self {
        let mut partitions = BTreeMap::<u32, Vec<u32>>::new();
        for (partition, shard) in (0..).zip(&partition_owners) {
            partitions.entry(*shard).or_default().push(partition);
        }
        let mut planes = BTreeMap::<u32, Vec<u16>>::new();
        for (plane, shard) in (0..).zip(plane_owners) {
            planes.entry(*shard).or_default().push(plane);
        }
        Self { partitions, planes, owners: partition_owners }
    }

    /// Shards that have a part of the index, in order.
    pub fn shards(&self) -> Vec<u32> {
        let mut shards: Vec<u32> =
            self.partitions.keys().chain(self.planes.keys()).copied().collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// Partitions of a shard, sorted.
    pub fn partitions(&self, shard: u32) -> &[u32] {
        self.partitions.get(&shard).map_or(&[], Vec::as_slice)
    }

    /// Planes of a shard, sorted.
    pub fn planes(&self, shard: u32) -> &[u16] {
        self.planes.get(&shard).map_or(&[], Vec::as_slice)
    }

    /// Whether a shard multiplies a plane, and so needs the encrypted secrets.
    pub fn has_planes(&self, shard: u32) -> bool {
        self.planes.contains_key(&shard)
    }

    /// The shard that serves a partition.
    pub fn owner(&self, partition: u32) -> Option<u32> {
        self.owners.get(partition as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabulates_owners_by_shard() {
        let assignment = Assignment::new(vec![2, 0, 2], &[1, 0]);
        assert_eq!(assignment.shards(), [0, 1, 2]);
        assert_eq!(assignment.partitions(2), [0, 2]);
        assert_eq!(assignment.partitions(1), [0u32; 0]);
        assert_eq!(assignment.planes(1), [0]);
        assert!(assignment.has_planes(0) && !assignment.has_planes(2));
        assert_eq!((assignment.owner(1), assignment.owner(3)), (Some(0), None));
    }
}
