//! The clusters of a namespace, as seen by a candidate for a Lease.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{ListParams, PartialObjectMeta};
use kube::core::Resource;
use opaque_crds::OpaqueCluster;
use tokio::time::timeout;

use crate::kube::{Observed, reference};
use crate::labels::STATUS_MANAGER;

/// Timeout for listing clusters.
const LIST: Duration = Duration::from_secs(10);

/// Source of the list of a namespace's clusters.
#[derive(Debug, Clone)]
pub(crate) enum Clusters {
    /// The watched objects.
    Observed(Arc<Observed>),
    /// The API server. A candidate that waits for its only namespace watches nothing.
    Listed(Box<Api<OpaqueCluster>>),
}

impl Clusters {
    /// References to the clusters of `namespace`, for events about them.
    pub(super) async fn references(&self, namespace: &str) -> Vec<ObjectReference> {
        match self {
            Self::Observed(observed) => {
                let clusters = observed.raw_in(&OpaqueCluster::kind(&()), namespace);
                clusters.iter().map(|cluster| reference(cluster)).collect()
            }
            // If listing fails, it is tried again.
            Self::Listed(api) => {
                let clusters = list(api).await.unwrap_or_default();
                clusters.iter().map(|cluster| cluster.object_ref(&())).collect()
            }
        }
    }

    /// Whether an operator has reported on any of them; true if they cannot be listed.
    pub(super) async fn are_reported(&self, namespace: &str) -> bool {
        match self {
            Self::Observed(observed) => {
                let clusters = observed.raw_in(&OpaqueCluster::kind(&()), namespace);
                clusters.iter().any(|cluster| cluster.data.get("status").is_some())
            }
            Self::Listed(api) => {
                let clusters = list(api).await;
                clusters.is_none_or(|all| all.iter().any(|one| is_reported(&one.metadata)))
            }
        }
    }
}

/// Metadata of all clusters; `None` if the API server does not list them.
async fn list(api: &Api<OpaqueCluster>) -> Option<Vec<PartialObjectMeta<OpaqueCluster>>> {
    match timeout(LIST, api.list_metadata(&ListParams::default())).await {
        Ok(Ok(list)) => Some(list.items),
        Ok(Err(error)) => {
            tracing::debug!(%error, "listing clusters");
            None
        }
        Err(_) => None,
    }
}

/// Whether an operator has written the status of an object.
fn is_reported(metadata: &ObjectMeta) -> bool {
    let mut entries = metadata.managed_fields.iter().flatten();
    entries.any(|entry| entry.manager.as_deref() == Some(STATUS_MANAGER))
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_status_that_an_operator_wrote_is_distinguished_from_what_a_person_wrote() {
        let written_by =
            |manager: &str| -> ObjectMeta { object!({"managedFields": [{"manager": manager}]}) };
        assert!(is_reported(&written_by("opaque-operator-status")));
        assert!(!is_reported(&written_by("kubectl")) && !is_reported(&ObjectMeta::default()));
    }
}
