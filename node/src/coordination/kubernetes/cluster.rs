//! Which OpaqueCluster a node belongs to.
//!
//! An OpaqueCluster that is deleted and made again has the same name, and for a while pods and Leases of
//! the one before are still there. What those serve is not what the new cluster serves, so neither side
//! takes the other for its own.

use std::sync::OnceLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The UID of the OpaqueCluster whose map this node has seen first; a map without an owner tells
/// nothing.
#[derive(Debug, Default)]
pub(super) struct Origin(OnceLock<String>);

impl Origin {
    /// The UID, once it is known.
    pub(super) fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Whether a map is not that of another cluster. The first one decides.
    pub(super) fn is_ours(&self, map: &ObjectMeta) -> bool {
        controller(map).is_none_or(|owner| *self.0.get_or_init(|| owner.uid.clone()) == owner.uid)
    }

    /// Whether something that names its cluster, if it does, is not of another one.
    pub(super) fn agrees(&self, uid: Option<&str>) -> bool {
        self.get().zip(uid).is_none_or(|(own, uid)| own == uid)
    }
}

/// The cluster of a map, as the owner of an object that is removed with it.
pub(super) fn owner(map: &ObjectMeta) -> Option<OwnerReference> {
    let owner = controller(map)?.clone();
    Some(OwnerReference { controller: None, block_owner_deletion: None, ..owner })
}

fn controller(map: &ObjectMeta) -> Option<&OwnerReference> {
    map.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}
