//! Letting pods go, through the API that respects PodDisruptionBudgets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};

use crate::error::Error;
use crate::kube::Context;

/// When a refused eviction is tried again.
pub(super) const EVICT_AGAIN: Duration = Duration::from_secs(5);

/// What became of an eviction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Evicted {
    /// The pod ends, or was gone.
    Gone,
    /// It stays, for this reason.
    Refused(String),
}

/// Pods that were let go, until the watch says so: what is seen of a pod may be from before.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    /// UIDs of the pods of each cluster, by namespace and name.
    pods: Mutex<HashMap<(String, String), BTreeSet<String>>>,
}

impl Evictions {
    /// Names of the pods of a cluster that were let go and are still seen; the others are
    /// forgotten.
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

    /// Lets a pod go.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub(super) async fn evict(
        &self,
        context: &Context,
        cluster: &str,
        pod: &Pod,
    ) -> Result<Evicted, Error> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let api: Api<Pod> = Api::namespaced(context.once.clone(), &namespace);
        // Exactly the one that was seen.
        let same = Preconditions { uid: pod.uid(), ..Preconditions::default() };
        let delete_options = Some(DeleteParams::default().preconditions(same));
        let params = EvictParams { delete_options, post_options: PostParams::default() };
        match api.evict(&name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Evicted::Gone),
            // 409: it is another by now. 429: a budget does not allow it. 500: there are several
            // budgets.
            Err(kube::Error::Api(status)) if [409, 429, 500].contains(&status.code) => {
                let words = format!(
                    "the API server does not let pod {name} be replaced: {}",
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
