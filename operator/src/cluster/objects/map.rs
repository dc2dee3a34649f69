//! A cluster's first shard map, or the one that replaces a lost map.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::OpaqueShardMap;
use opaque_crds::reference::LocalReference;
use opaque_crds::shard_map::{
    OpaqueShardMapSpec, PLACEMENT_VERSION, ShardMap, ShardWeight, VIRTUAL_NODES,
};

use super::Blueprint;
use crate::cluster::lost_map::Remains;
use crate::labels::{self, TABLES};

/// Generation 1 without tables, or a proposal that contains what `remains` of a lost map. It is
/// created once. After that, nodes and the tables' controller write it.
pub(in crate::cluster) fn shard_map(
    blueprint: &Blueprint<'_>,
    remains: Option<&Remains>,
    now: Time,
) -> OpaqueShardMap {
    let name = blueprint.name();
    let size = blueprint.size;
    let tables = remains.map(|remains| remains.tables.clone()).unwrap_or_default();
    let owned = tables.iter().filter(|entry| entry.owner.is_some());
    let owned: Vec<String> = owned.map(|entry| entry.table.clone()).collect();
    let map = ShardMap {
        generation: remains.map_or(0, |remains| remains.generation).saturating_add(1),
        placement_version: PLACEMENT_VERSION.cast_signed(),
        virtual_nodes: VIRTUAL_NODES.cast_signed(),
        shards: (0..size.shards).map(|id| ShardWeight { id, weight: 1 }).collect(),
        tables,
        proposed_at: now,
    };
    let spec =
        OpaqueShardMapSpec { cluster_ref: LocalReference::new(&name), map, withdrawn: Vec::new() };
    let mut object = OpaqueShardMap::new(&name, spec);
    object.metadata = labels::owned(blueprint.cluster, name.clone(), labels::of_cluster(&name));
    if !owned.is_empty() {
        let owned = serde_json::Value::from(owned).to_string();
        object.metadata.annotations = Some([(TABLES.to_owned(), owned)].into());
    }
    object
}
