//! The accepted number of shards and replicas of a cluster.
//!
//! The spec contains the desired size. A running cluster keeps the size with which it was created,
//! because a change without failed queries is not implemented yet. The accepted size is in the
//! cluster's status, which nodes cannot write. If it is lost there, it is derived from the
//! StatefulSets. The shard map is not used for this, because every node may write it.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use opaque_crds::cluster::OpaqueClusterStatus;
use opaque_crds::shard_map::ShardMap;
use opaque_crds::{OpaqueCluster, OpaqueClusterSpec, OpaqueShardMap};

use crate::labels;

/// The accepted size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) shards: i32,
    pub(super) replicas: i32,
}

impl Size {
    /// The size of a new cluster.
    pub(super) fn wanted(spec: &OpaqueClusterSpec) -> Self {
        Self { shards: spec.shards, replicas: spec.replicas_per_shard }
    }

    /// The size of this cluster; `None` before a size was accepted.
    pub(super) fn accepted(cluster: &OpaqueCluster, sets: &[StatefulSet]) -> Option<Self> {
        let positive = |number: &i32| *number > 0;
        let status = cluster.status.as_ref();
        let in_status =
            |number: fn(&OpaqueClusterStatus) -> i32| status.map(number).filter(positive);
        let last = sets.iter().filter_map(shard_of).max();
        // Some sets may have been scaled by hand. The others determine the size.
        let of_sets = sets.iter().filter_map(|set| set.spec.as_ref()?.replicas).max();
        let (shards, replicas) = match (
            in_status(|status| status.shards),
            in_status(|status| status.replicas_per_shard),
        ) {
            (Some(shards), Some(replicas)) => (shards, replicas),
            // Earlier versions recorded only the shards, even for clusters that were never created.
            (shards, replicas) => {
                let shards = last.map(|last| shards.unwrap_or(last.saturating_add(1)))?;
                let of_sets = of_sets.filter(positive).unwrap_or(cluster.spec.replicas_per_shard);
                (shards, replicas.unwrap_or(of_sets))
            }
        };
        Some(Self { shards, replicas })
    }

    /// Why the shard map is ignored, with what to do about it; `None` if the map has this size.
    pub(super) fn contradiction(&self, map: &OpaqueShardMap) -> Option<String> {
        let (name, status) = (map.name_any(), map.status.as_ref());
        let newest = &map.spec.map;
        let given_up = map.has_given_up(newest.generation);
        let active = status.and_then(|status| status.active.as_ref());
        let maps = active.into_iter().chain((!given_up).then_some(newest));
        let count = |map: &ShardMap| i32::try_from(map.shards.len()).unwrap_or(i32::MAX);
        let other = maps.map(|map| (map.generation, count(map))).find(|(_, n)| *n != self.shards);
        let (generation, shards) = other?;
        Some(format!(
            "generation {generation} of OpaqueShardMap {name} has {shards} shards, and the cluster has {}: the size of the \
             cluster stays as it is. Find out who wrote that (`kubectl get opaqueshardmap {name} --show-managed-fields \
             --output yaml`); see docs/runbooks/OpaqueShardMapContradicts.md",
            self.shards
        ))
    }

    /// Why the desired size is not accepted, with what to do about it; `None` if the sizes are
    /// equal.
    pub(super) fn refusal(&self, spec: &OpaqueClusterSpec) -> Option<String> {
        let Self { shards, replicas } = Self::wanted(spec);
        let mut changes = Vec::new();
        for (field, now, wanted) in [
            ("spec.shards", self.shards, shards),
            ("spec.replicasPerShard", self.replicas, replicas),
        ] {
            if now != wanted {
                changes.push(format!(
                    "{field} is {now} and cannot become {wanted}: set it back to {now}"
                ));
            }
        }
        (!changes.is_empty()).then(|| {
            format!(
                "{}; for another size, create a new OpaqueCluster and load the tables there. The cluster continues unchanged",
                changes.join("; ")
            )
        })
    }
}

/// The shard that a StatefulSet serves, according to its label.
pub(super) fn shard_of(set: &StatefulSet) -> Option<i32> {
    set.labels().get(labels::SHARD)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(shards: i32, replicas: i32) -> OpaqueClusterSpec {
        object!({
            "shards": shards, "replicasPerShard": replicas,
            "storage": {"url": "gs://b"}, "clientAuth": {"mode": "none"},
        })
    }

    fn cluster(spec: OpaqueClusterSpec, status: serde_json::Value) -> OpaqueCluster {
        let mut cluster = OpaqueCluster::new("demo", spec);
        cluster.status = serde_json::from_value(status).unwrap();
        cluster
    }

    fn map(shards: i32) -> OpaqueShardMap {
        let shards: Vec<_> = (0..shards).map(|id| json!({"id": id, "weight": 1})).collect();
        object!({
            "metadata": {"name": "demo", "annotations": {"opaque.dev/replicas-per-shard": "9"}},
            "spec": {"clusterRef": {"name": "demo"}, "map": {
                "generation": 1, "placementVersion": 1, "virtualNodes": 64, "shards": shards,
                "proposedAt": "2026-01-01T00:00:00Z",
            }},
        })
    }

    fn set(shard: &str) -> StatefulSet {
        object!({
            "metadata": {"labels": {"opaque.dev/shard": shard}},
            "spec": {"replicas": 4, "selector": {}, "serviceName": "x", "template": {}},
        })
    }

    fn numbers(size: Option<Size>) -> Option<(i32, i32)> {
        size.map(|size| (size.shards, size.replicas))
    }

    #[test]
    fn a_new_cluster_has_accepted_nothing_and_gets_what_is_wanted() {
        let new = cluster(spec(3, 2), json!(null));
        assert_eq!(Size::accepted(&new, &[]), None);
        let size = Size::wanted(&new.spec);
        assert_eq!(size, Size { shards: 3, replicas: 2 });
        assert_eq!(size.refusal(&spec(3, 2)), None);
    }

    #[test]
    fn a_running_cluster_keeps_what_it_has_and_says_what_to_do() {
        let running = cluster(spec(5, 3), json!({"shards": 3, "replicasPerShard": 2}));
        let size = Size::accepted(&running, &[]).unwrap();
        assert_eq!((size.shards, size.replicas), (3, 2));
        let words = size.refusal(&running.spec).unwrap();
        assert!(
            words.contains("spec.shards is 3 and cannot become 5: set it back to 3"),
            "{words}"
        );
        assert!(words.contains("spec.replicasPerShard is 2 and cannot become 3"), "{words}");
    }

    #[test]
    fn a_map_that_nodes_may_write_resizes_no_cluster() {
        let running = cluster(spec(3, 2), json!({"shards": 3, "replicasPerShard": 2}));
        let size = Size::accepted(&running, &[set("0")]);
        assert_eq!(numbers(size), Some((3, 2)));
        let size = Size::accepted(&cluster(spec(3, 2), json!(null)), &[]);
        assert_eq!(numbers(size), None, "nor one that has nothing else");
    }

    #[test]
    fn without_the_numbers_of_the_status_the_sets_tell() {
        // The number of shards that an earlier version recorded counts.
        for (status, shards) in [(json!(null), 3), (json!({}), 3), (json!({"shards": 7}), 7)] {
            let lost = cluster(spec(9, 9), status);
            let size = Size::accepted(&lost, &[set("0"), set("2")]);
            assert_eq!(numbers(size), Some((shards, 4)));
            // Sets that were scaled down by hand do not change the size.
            let mut down = [set("0"), set("2")];
            down[0].spec.as_mut().unwrap().replicas = Some(0);
            assert_eq!(numbers(Size::accepted(&lost, &down)), Some((shards, 4)));
            down[1].spec.as_mut().unwrap().replicas = Some(0);
            assert_eq!(numbers(Size::accepted(&lost, &down)), Some((shards, 9)));
        }
        // A cluster that was never created has no size.
        let never = cluster(spec(9, 9), json!({"shards": 7}));
        assert_eq!(numbers(Size::accepted(&never, &[])), None);
    }

    #[test]
    fn a_map_of_another_size_is_named_until_it_is_rejected() {
        let size = Size { shards: 3, replicas: 2 };
        assert_eq!(size.contradiction(&map(3)), None);
        let mut proposed = map(64);
        let words = size.contradiction(&proposed).unwrap();
        assert!(words.contains("has 64 shards, and the cluster has 3"), "{words}");
        let rejected = json!({"rejected": [{"generation": 1, "reason": "no"}]});
        proposed.status = serde_json::from_value(rejected).unwrap();
        assert_eq!(size.contradiction(&proposed), None);
        proposed.status.as_mut().unwrap().active = Some(map(2).spec.map);
        assert!(size.contradiction(&proposed).unwrap().contains("has 2 shards"));
    }
}
