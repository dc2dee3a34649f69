//! Evicts pods through the API that respects PodDisruptionBudgets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};

use crate::error::Error;
use crate::kube::Context;

/// Delay before a refused eviction is tried again.
pub(super) const EVICT_AGAIN: Duration = Duration::from_secs(5);

/// Result of an eviction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Evicted {
    /// The pod is terminating, or was gone already.
    Gone,
    /// The pod stays, for this reason.
    Refused(String),
}

/// Pods that were evicted, until the watch reports it. Until then, the observed state of a pod may
/// be older than its eviction.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    /// UIDs of the evicted pods of each cluster, by namespace and name.
    pods: Mutex<HashMap<(String, String), BTreeSet<String>>>,
}

impl Evictions {
    /// Names of the evicted pods of a cluster that are still observed. The others are forgotten.
    pub(super) fn ended(
        &self,
        namespace: &str,
        cluster: &str,
        seen: &BTreeMap<String, Pod>,
    ) -> BTreeSet<String> {
        let mut all = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), cluster.to_owned());
        let Some(gone) = all.get_mut(&key) else { return BTreeSet::new() };
        let pods = seen.values().filter(|pod| pod.uid().is_some_and(|uid| gone.contains(&uid)));
        let (names, uids) = pods.map(|pod| (pod.name_any(), pod.uid())).unzip::<_, _, _, Vec<_>>();
        *gone = uids.into_iter().flatten().collect();
        if gone.is_empty() {
            all.remove(&key);
        }
        names
    }

    /// Evicts a pod.
    ///
    /// # Errors
    /// The API server cannot be reached or refuses.
    pub(super) async fn evict(
        &self,
        context: &Context,
        cluster: &str,
        pod: &Pod,
    ) -> Result<Evicted, Error> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let api: Api<Pod> = Api::namespaced(context.once.clone(), &namespace);
        // Only the observed pod, not a new one with the same name.
        let same = Preconditions { uid: pod.uid(), ..Preconditions::default() };
        let delete_options = Some(DeleteParams::default().preconditions(same));
        let params = EvictParams { delete_options, post_options: PostParams::default() };
        match api.evict(&name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Evicted::Gone),
            // 409: the pod was replaced. 429: a budget does not permit the eviction. 500: the pod
            // has several budgets.
            Err(kube::Error::Api(status)) if [409, 429, 500].contains(&status.code) => {
                let words = format!(
                    "the API server does not permit the replacement of pod {name}: {}",
                    status.message
                );
                return Ok(Evicted::Refused(words));
            }
            Err(error) => return Err(Error::api(format!("evicting pod {name}"))(error)),
        }
        tracing::info!(namespace, name, "evicted, to be replaced");
        context.metrics.wrote("Pod");
        let mut all = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((namespace, cluster.to_owned())).or_default().extend(pod.uid());
        Ok(Evicted::Gone)
    }
}
