//! Objects of the Prometheus operator. They are created if its kinds exist, and removed when they
//! are no longer wanted.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use kube::discovery;
use serde_json::Value;

use super::objects::{self, Blueprint};
use crate::error::Error;
use crate::kube::Context;

/// Interval at which the existence of the Prometheus operator's kinds is checked.
const KINDS: Duration = Duration::from_secs(300);

/// Clusters known to have no such objects. The objects are not watched, so this avoids repeated
/// checks for clusters that want none.
#[derive(Debug, Default)]
pub(super) struct Monitors {
    without: Mutex<HashSet<String>>,
}

impl Monitors {
    /// Creates or removes the objects according to the spec. Returns when to check again.
    ///
    /// # Errors
    /// The API server refuses.
    pub(super) async fn reconcile(
        &self,
        context: &Context,
        blueprint: &Blueprint<'_>,
    ) -> Result<Option<Duration>, Error> {
        let uid = blueprint.cluster.metadata.uid.clone().unwrap_or_default();
        let known = || self.without.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = blueprint.cluster.spec.monitoring.enabled;
        if wanted {
            known().remove(&uid);
        } else if known().contains(&uid) {
            return Ok(None);
        }
        let mut all = true;
        for (resource, body) in [objects::service_monitor(blueprint), objects::rule(blueprint)] {
            if !exists(context, &resource).await? {
                all = false;
            } else if wanted {
                context.apply_raw(&resource, body).await?;
            } else {
                match context.delete_own(&resource, &metadata(&body)?).await {
                    // Without the permission (`rbac.monitoring=false`), the operator has created
                    // none.
                    Err(error) if !error.is_forbidden() => return Err(error),
                    _ => {}
                }
            }
        }
        if !wanted {
            known().insert(uid);
        }
        Ok((wanted && !all).then_some(KINDS))
    }
}

async fn exists(context: &Context, resource: &ApiResource) -> Result<bool, Error> {
    let kind = GroupVersionKind::gvk(&resource.group, &resource.version, &resource.kind);
    match discovery::pinned_kind(&context.client, &kind).await {
        Ok(_) => Ok(true),
        // `is_not_found` does not suffice: for an API group that does not exist, the answer is
        // plain text.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(kube::Error::Discovery(_)) => Ok(false),
        Err(error) => Err(Error::api(format!("looking for {}", resource.kind))(error)),
    }
}

fn metadata(body: &Value) -> Result<ObjectMeta, Error> {
    let metadata = body.get("metadata").cloned().unwrap_or_default();
    serde_json::from_value(metadata).map_err(|error| Error::Internal(error.to_string()))
}
