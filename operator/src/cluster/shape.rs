//! How many shards and replicas a cluster really has.
//!
//! The spec says what is wanted; a running cluster has what it was made with, since to change
//! that without a failed query is not built yet. It is written down where it is created: shards in the shard
//! map, replicas in an annotation of it. Everything else is made for these numbers.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use opaque_crds::{OpaqueClusterSpec, OpaqueShardMap};

use crate::labels;

/// Annotation of the shard map: replicas of each shard.
pub(super) const REPLICAS: &str = "opaque.dev/replicas-per-shard";

/// What a cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) shards: i32,
    pub(super) replicas: i32,
    pub(super) virtual_nodes: i32,
}

impl Shape {
    /// What a new cluster gets.
    pub(super) fn wanted(spec: &OpaqueClusterSpec) -> Self {
        Self {
            shards: spec.shards,
            replicas: spec.replicas_per_shard,
            virtual_nodes: spec.placement.virtual_nodes,
        }
    }

    /// What this cluster has: by its map; without one by its StatefulSets; without any as wanted.
    pub(super) fn accepted(
        spec: &OpaqueClusterSpec,
        map: Option<&OpaqueShardMap>,
        sets: &[StatefulSet],
    ) -> Self {
        let wanted = Self::wanted(spec);
        let in_map = map.and_then(|map| i32::try_from(map.spec.map.shards.len()).ok());
        let of_sets = sets.iter().filter_map(shard_of).max().map(|last| last.saturating_add(1));
        let annotated = map.and_then(|map| map.annotations().get(REPLICAS)?.parse().ok());
        let of_a_set = sets.iter().find_map(|set| set.spec.as_ref()?.replicas);
        Self {
            shards: in_map.or(of_sets).unwrap_or(wanted.shards),
            replicas: annotated.or(of_a_set).unwrap_or(wanted.replicas),
            virtual_nodes: map.map_or(wanted.virtual_nodes, |map| map.spec.map.virtual_nodes),
        }
    }

    /// Why the wanted numbers are not taken over, in words that say what to do; none if they are the same.
    pub(super) fn refusal(&self, spec: &OpaqueClusterSpec) -> Option<String> {
        let Self { shards, replicas, virtual_nodes } = Self::wanted(spec);
        let mut changes = Vec::new();
        for (field, now, wanted) in [
            ("spec.shards", self.shards, shards),
            ("spec.replicasPerShard", self.replicas, replicas),
            ("spec.placement.virtualNodes", self.virtual_nodes, virtual_nodes),
        ] {
            if now != wanted {
                changes.push(format!(
                    "{field} is {now} and cannot become {wanted}: set it back to {now}"
                ));
            }
        }
        (!changes.is_empty()).then(|| {
            format!(
                "{}; to have another size, make a new OpaqueCluster and load the tables there. The cluster goes on as it is",
                changes.join("; ")
            )
        })
    }
}

/// The shard that a StatefulSet serves, by its label.
pub(super) fn shard_of(set: &StatefulSet) -> Option<i32> {
    set.labels().get(labels::SHARD)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(shards: i32, replicas: i32) -> OpaqueClusterSpec {
        serde_json::from_value(json!({
            "shards": shards, "replicasPerShard": replicas,
            "storage": {"url": "gs://b"}, "clientAuth": {"mode": "none"},
        }))
        .unwrap()
    }

    fn map(shards: i32, replicas: &str) -> OpaqueShardMap {
        let shards: Vec<_> = (0..shards).map(|id| json!({"id": id, "weight": 1})).collect();
        serde_json::from_value(json!({
            "apiVersion": "opaque.dev/v1alpha1", "kind": "OpaqueShardMap",
            "metadata": {"name": "demo", "annotations": {REPLICAS: replicas}},
            "spec": {"clusterRef": {"name": "demo"}, "map": {
                "generation": 1, "placementVersion": 1, "virtualNodes": 64, "shards": shards,
                "proposedAt": "2026-01-01T00:00:00Z",
            }},
        }))
        .unwrap()
    }

    #[test]
    fn a_new_cluster_has_what_is_wanted() {
        let shape = Shape::accepted(&spec(3, 2), None, &[]);
        assert_eq!(shape, Shape { shards: 3, replicas: 2, virtual_nodes: 64 });
        assert_eq!(shape.refusal(&spec(3, 2)), None);
    }

    #[test]
    fn a_running_cluster_keeps_what_it_has_and_says_what_to_do() {
        let wanted = spec(5, 3);
        let shape = Shape::accepted(&wanted, Some(&map(3, "2")), &[]);
        assert_eq!((shape.shards, shape.replicas), (3, 2));
        let words = shape.refusal(&wanted).unwrap();
        assert!(
            words.contains("spec.shards is 3 and cannot become 5: set it back to 3"),
            "{words}"
        );
        assert!(words.contains("spec.replicasPerShard is 2 and cannot become 3"), "{words}");
    }

    #[test]
    fn without_a_map_the_sets_tell() {
        let set = |shard: &str| -> StatefulSet {
            serde_json::from_value(json!({
                "metadata": {"labels": {"opaque.dev/shard": shard}},
                "spec": {"replicas": 4, "selector": {}, "serviceName": "x", "template": {}},
            }))
            .unwrap()
        };
        let shape = Shape::accepted(&spec(9, 9), None, &[set("0"), set("2")]);
        assert_eq!((shape.shards, shape.replicas), (3, 4));
    }
}
