//! The state of each shard's pods, for rollout and status.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use opaque_crds::names;

use super::facts::Facts;
use super::reach::answers_peers;
use super::rollout::{Phase, PodState, ShardState};
use super::size::Size;
use crate::kube::is_ready;

/// Label of a pod with the revision of its set from which it was created.
const REVISION: &str = "controller-revision-hash";

impl Facts {
    /// A shard's pods.
    pub(super) fn shard(&self, cluster: &str, size: Size, shard: i32) -> ShardState {
        let settled = self.set(shard).filter(|set| is_settled(set));
        let pods = (0..size.replicas).map(|replica| names::pod(cluster, shard, replica));
        ShardState {
            settled: settled.is_some(),
            available: settled.is_some_and(|set| is_available(set, size.replicas)),
            pods: pods.map(|name| self.pod(name, settled)).collect(),
        }
    }

    /// The API server accepts a pod's token only while the ServiceAccount for which it was issued
    /// exists.
    fn is_older_than_its_account(&self, pod: &Pod) -> bool {
        let made = pod.metadata.creation_timestamp.as_ref();
        made.zip(self.account_made.as_ref()).is_some_and(|(pod, account)| pod.0 < account.0)
    }

    /// The state of a set's pod. It is fully known if the set is settled.
    fn pod(&self, name: String, settled: Option<&StatefulSet>) -> PodState {
        let pod = self.pods.get(&name).filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let phase = match pod {
            None => Phase::Gone,
            Some(pod) if is_ready(pod) => Phase::Ready,
            Some(_) if answers_peers(self, &name) => Phase::Peers,
            Some(_) => Phase::Down,
        };
        let newest = settled.and_then(|set| set.status.as_ref()?.update_revision.as_ref());
        let void = settled.is_some() && pod.is_some_and(|pod| self.is_older_than_its_account(pod));
        let outdated = void
            || pod.zip(newest).is_some_and(|(pod, newest)| {
                pod.labels().get(REVISION).is_some_and(|revision| revision != newest)
            });
        PodState {
            phase,
            outdated,
            lacks: self.missing.iter().any(|table| table.pod == name && table.elsewhere),
            leads: self.leader.as_ref() == Some(&name),
            void,
            name,
        }
    }
}

/// Whether the set's controller has processed its latest spec.
fn is_settled(set: &StatefulSet) -> bool {
    set.status.as_ref().is_some_and(|it| it.observed_generation >= set.metadata.generation)
}

/// Whether the set's controller counts every pod as available: ready for long enough. A set that a
/// person has scaled up has more pods, and the next apply corrects that.
fn is_available(set: &StatefulSet, replicas: i32) -> bool {
    set.status.as_ref().is_some_and(|status| status.available_replicas >= Some(replicas))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn a_pod_is_outdated_by_its_revision_or_its_account() {
        let set: StatefulSet = object!({
            "metadata": {"name": "demo-shard-0", "generation": 2, "labels": {"opaque.dev/shard": "0"}},
            "spec": {"selector": {}, "serviceName": "x", "template": {}},
            "status": {"replicas": 1, "observedGeneration": 2, "updateRevision": "r2"},
        });
        let pod = |revision: &str, made: &str| -> Pod {
            object!({"metadata": {
                "name": "demo-shard-0-0", "creationTimestamp": made,
                "labels": {"controller-revision-hash": revision},
            }})
        };
        let outdated = |set: &StatefulSet, pod: Pod| {
            let facts = Facts {
                sets: vec![set.clone()],
                pods: [("demo-shard-0-0".to_owned(), pod)].into(),
                account_made: Some(Time("2026-01-01T00:00:10Z".parse().unwrap())),
                ..Facts::default()
            };
            let size = Size { shards: 1, replicas: 1 };
            facts.shard("demo", size, 0).pods[0].outdated
        };
        let (before, after) = ("2026-01-01T00:00:09Z", "2026-01-01T00:00:10Z");
        assert!(!outdated(&set, pod("r2", after)));
        assert!(outdated(&set, pod("r1", after)));
        assert!(outdated(&set, pod("r2", before)));
        // Nothing is known before the set's controller has processed the template.
        let mut unseen = set;
        unseen.metadata.generation = Some(3);
        assert!(!outdated(&unseen, pod("r1", before)));
    }
}
