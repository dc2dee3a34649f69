//! The first shard map.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::OpaqueShardMap;
use opaque_crds::reference::LocalReference;
use opaque_crds::shard_map::{OpaqueShardMapSpec, ShardMap, ShardWeight};

use super::Plan;
use crate::cluster::shape::REPLICAS;
use crate::labels;

/// Version of the rule that gives partitions to shards, `opaque_node::placement::VERSION`: nodes with another
/// refuse the map.
const PLACEMENT_VERSION: i32 = 1;

/// Generation 1, without tables. It is created once; from then on nodes and the tables' controller
/// write it.
pub(in crate::cluster) fn shard_map(plan: &Plan<'_>, now: Time) -> OpaqueShardMap {
    let name = plan.name();
    let shape = plan.shape;
    let map = ShardMap {
        generation: 1,
        placement_version: PLACEMENT_VERSION,
        virtual_nodes: shape.virtual_nodes,
        shards: (0..shape.shards).map(|id| ShardWeight { id, weight: 1 }).collect(),
        tables: Vec::new(),
        proposed_at: now,
    };
    let spec = OpaqueShardMapSpec {
        cluster_ref: LocalReference::new(&name),
        map,
        withdrawn: Vec::new(),
    };
    let mut object = OpaqueShardMap::new(&name, spec);
    object.metadata = labels::owned(plan.cluster, name.clone(), labels::of_cluster(&name));
    object.metadata.annotations =
        Some([(REPLICAS.to_owned(), shape.replicas.to_string())].into_iter().collect());
    object
}
