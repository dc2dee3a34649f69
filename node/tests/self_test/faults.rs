//! Faults of every kind. The self-test detects each of them.

use std::sync::Arc;

use opaque_node::map::assignment::Assignment;
use opaque_node::shard::served::{ServedIndex, Serving};
use opaque_pir::scan::Partition;

use super::harness::{Cluster, SHARDS};

/// The ways in which a cluster that has prepared an epoch can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One bit of a loaded partition is flipped.
    FlippedBit,
    /// A partition has the bytes of another one.
    PartitionOfAnother,
    /// Two shards serve one partition.
    ServedTwice,
    /// No shard serves a partition.
    Missing,
    /// The hint belongs to another epoch.
    OtherHint,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [
        Self::FlippedBit,
        Self::PartitionOfAnother,
        Self::ServedTwice,
        Self::Missing,
        Self::OtherHint,
    ];

    /// Plants the fault in the shards' data in memory.
    pub(crate) async fn plant(self, cluster: &mut Cluster) {
        let (owner, number) = some_partition(cluster);
        match self {
            Self::FlippedBit => cluster.plant(owner, |index| {
                let (_, partition) = &mut index.partitions[0];
                let mut bytes = partition.bytes().to_vec();
                bytes[123_457] ^= 1;
                *partition = Partition::try_from((&bytes[..], &index.geometry)).unwrap();
            }),
            Self::PartitionOfAnother => {
                let copies: Vec<_> = cluster.loaded.iter().filter_map(first_partition).collect();
                assert!(copies.len() > 1, "the partitions lie on several shards");
                let stolen = copies[1].clone();
                cluster.plant(owner, |index| {
                    index.partitions[0].1 =
                        Partition::try_from((&stolen[..], &index.geometry)).unwrap();
                });
            }
            Self::ServedTwice => {
                let bytes = first_partition(&cluster.loaded[owner]).unwrap();
                let thief = (owner + 1) % SHARDS as usize;
                // This shard holds the partition too, and reports it although it was not requested.
                cluster.plant(thief, |index| {
                    let copy = Partition::try_from((&bytes[..], &index.geometry)).unwrap();
                    index.partitions.push((number, copy));
                    index.partitions.sort_by_key(|(number, _)| *number);
                });
            }
            Self::Missing => cluster.plant(owner, |index| {
                index.partitions.retain(|(held, _)| *held != number);
            }),
            Self::OtherHint => {
                let generation = cluster.loaded[0].map.generation;
                let mut others = cluster.load(generation, 2).await;
                let has_plane = |s: &Serving| !s.tables["numbers"].indexes[&0].planes.is_empty();
                let owner = others.iter().position(has_plane).unwrap();
                let other = others[owner].tables.remove("numbers").unwrap();
                let mut indexes = Arc::into_inner(other).unwrap().indexes;
                let other = Arc::into_inner(indexes.remove(&0).unwrap()).unwrap();
                cluster.plant(owner, |index| {
                    assert_eq!(index.geometry, other.geometry);
                    index.planes = other.planes;
                });
            }
        }
    }
}

/// A shard that has a partition, and the number of the first one.
fn some_partition(cluster: &Cluster) -> (usize, u32) {
    let first = |serving: &Serving| {
        serving.tables["numbers"].indexes[&0].partitions.first().map(|(number, _)| *number)
    };
    cluster.loaded.iter().enumerate().find_map(|(shard, s)| Some((shard, first(s)?))).unwrap()
}

fn first_partition(serving: &Serving) -> Option<Vec<u8>> {
    let index = &serving.tables["numbers"].indexes[&0];
    index.partitions.first().map(|(_, data)| data.bytes().to_vec())
}

#[tokio::test]
async fn the_self_test_holds_on_an_honest_cluster() {
    Cluster::start(1).await.self_test().await.unwrap();
}

#[tokio::test]
async fn the_self_test_catches_every_fault() {
    for fault in Fault::ALL {
        let mut cluster = Cluster::start(1).await;
        fault.plant(&mut cluster).await;
        let caught = cluster.self_test().await.expect_err("a fault");
        println!("{fault:?}: {caught}");
    }
}

#[tokio::test]
async fn the_self_test_catches_a_map_that_gives_a_partition_to_the_wrong_shard() {
    let mut cluster = Cluster::start(1).await;
    let (owner, number) = some_partition(&cluster);
    let other = (owner as u32 + 1) % SHARDS;
    cluster.plant(0, |index| reassign(index, |owners| owners[number as usize] = other));
    assert!(cluster.self_test().await.is_err());
}

/// Every partition's and plane's owner, changed by `change`.
fn reassign(index: &mut ServedIndex, change: impl FnOnce(&mut Vec<u32>)) {
    let owners = (0..index.geometry.partitions()).map(|j| index.assignment.owner(j).unwrap());
    let mut owners: Vec<u32> = owners.collect();
    let plane_owner = |plane: u16| {
        (0..SHARDS).find(|shard| index.assignment.planes(*shard).contains(&plane)).unwrap()
    };
    let planes: Vec<u32> = (0..index.geometry.planes() as u16).map(plane_owner).collect();
    change(&mut owners);
    index.assignment = Assignment::new(owners, &planes);
}
