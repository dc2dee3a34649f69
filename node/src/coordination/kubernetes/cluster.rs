//! The OpaqueCluster to which a node belongs.
//!
//! An OpaqueCluster that is deleted and created again has the same name, and pods and Leases of the
//! former one remain for a while. They do not serve the map of the new cluster, so members of the
//! two clusters must ignore each other.
//!
//! An OpaqueCluster that is deleted without its objects (`--cascade=orphan`) and created again
//! adopts them. The same map then has another owner, and its nodes follow it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The OpaqueCluster whose map this node saw first, and those that adopted that map.
#[derive(Debug, Default)]
pub(super) struct Origin(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// UID of the map that was seen last.
    map: Option<String>,
    /// UIDs of the clusters, the newest last.
    clusters: Vec<String>,
}

impl Origin {
    /// The cluster's UID, once it is known.
    pub(super) fn get(&self) -> Option<String> {
        self.lock().clusters.last().cloned()
    }

    /// Whether a map may be this cluster's. The first map decides which cluster that is. A map
    /// without an owner is accepted.
    pub(super) fn is_ours(&self, map: &ObjectMeta) -> bool {
        let Some(owner) = controller(map) else { return true };
        let mut known = self.lock();
        let is_first = known.clusters.is_empty();
        let is_known = known.clusters.contains(&owner.uid);
        let is_adopted = map.uid.is_some() && known.map == map.uid;
        if !is_first && !is_known && !is_adopted {
            return false;
        }
        known.map.clone_from(&map.uid);
        if !is_known {
            known.clusters.push(owner.uid.clone());
        }
        true
    }

    /// Whether an object belongs to this cluster, or does not name any.
    pub(super) fn agrees(&self, uid: Option<&str>) -> bool {
        let known = self.lock();
        known.clusters.is_empty() || uid.is_none_or(|uid| known.clusters.iter().any(|it| it == uid))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cluster of a map, as an owner of objects that are removed with it.
pub(super) fn owner(map: &ObjectMeta) -> Option<OwnerReference> {
    let owner = controller(map)?.clone();
    Some(OwnerReference { controller: None, block_owner_deletion: None, ..owner })
}

fn controller(map: &ObjectMeta) -> Option<&OwnerReference> {
    map.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(uid: &str, owner: Option<&str>) -> ObjectMeta {
        let owner = owner.map(|uid| OwnerReference {
            uid: uid.to_owned(),
            controller: Some(true),
            ..OwnerReference::default()
        });
        ObjectMeta {
            uid: Some(uid.to_owned()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn the_first_cluster_decides_and_one_that_adopts_its_map_follows() {
        let origin = Origin::default();
        assert!(origin.is_ours(&map("m1", None)) && origin.get().is_none());
        assert!(origin.agrees(Some("anyone")));
        assert!(origin.is_ours(&map("m1", Some("a"))));
        // The map was lost and created again.
        assert!(origin.is_ours(&map("m2", Some("a"))));
        // Another cluster of the same name, with a different map.
        assert!(!origin.is_ours(&map("m3", Some("b"))));
        assert!(!origin.agrees(Some("b")) && origin.agrees(Some("a")) && origin.agrees(None));
        // The same map, first without an owner.
        assert!(origin.is_ours(&map("m2", None)));
        assert!(origin.is_ours(&map("m2", Some("b"))));
        assert_eq!(origin.get().as_deref(), Some("b"));
        // Leases of members that have not seen the adoption yet.
        assert!(origin.agrees(Some("a")) && origin.agrees(Some("b")) && !origin.agrees(Some("c")));
    }
}
