//! Reads the observed state of a cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use opaque_crds::{OpaqueCluster, OpaqueShardMap, names};

use super::facts::{Facts, Member};
use super::missing_tables::missing;
use crate::error::Error;
use crate::kube::{Observed, is_ready, is_renewed};
use crate::labels::{self, controller_of};

/// Reads the watched objects.
///
/// # Errors
/// The cluster's map does not fit its kind.
pub(super) fn observe(
    observed: &Observed,
    cluster: &OpaqueCluster,
    now: Timestamp,
) -> Result<Facts, Error> {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let nodes = |pod: &Pod| pod.labels().get(labels::COMPONENT).is_some_and(|c| c == "node");
    let pods: BTreeMap<_, _> = observed
        .list::<Pod>(&namespace, labels::CLUSTER, &name)
        .into_iter()
        .filter(nodes)
        .map(|pod| (pod.name_any(), pod))
        .collect();
    let leases = observed.list::<Lease>(&namespace, labels::CLUSTER, &name);
    let leader = leases
        .iter()
        .find(|lease| lease.name_any() == names::leader_lease(&name))
        .and_then(|lease| lease.spec.as_ref())
        .filter(|lease| is_renewed(lease, now))
        .and_then(|lease| lease.holder_identity.clone())
        .and_then(|holder| pod_of_holder(&holder, &pods));
    let uid = cluster.uid();
    let of_another = |meta: &ObjectMeta| {
        controller_of(meta).is_some_and(|owner| Some(&owner.uid) != uid.as_ref())
    };
    let map = observed.get::<OpaqueShardMap>(&namespace, &name)?;
    let map = map.filter(|map| !of_another(&map.metadata));
    let sets = observed.list::<StatefulSet>(&namespace, labels::CLUSTER, &name);
    let (others, sets): (Vec<_>, Vec<_>) =
        sets.into_iter().partition(|set| of_another(&set.metadata));
    let leftover = others.first().map(ResourceExt::name_any);
    let ours = |pod: &Pod| {
        controller_of(&pod.metadata).is_none_or(|owner| {
            sets.iter().any(|set| set.metadata.uid.as_ref() == Some(&owner.uid))
        })
    };
    let members: Vec<Member> = leases
        .iter()
        .filter(|lease| pods.get(&lease.name_any()).is_some_and(ours))
        .filter_map(member)
        .collect();
    let missing = missing(&members, |pod| pods.get(pod).is_some_and(is_ready));
    let account = observed.get::<ServiceAccount>(&namespace, &names::node_account(&name))?;
    let account_made = account.and_then(|account| account.metadata.creation_timestamp);
    Ok(Facts { sets, leftover, pods, map, members, missing, leader, account_made })
}

/// A holder's identity begins with its pod's name; the rest distinguishes processes of the same
/// pod.
fn pod_of_holder(holder: &str, pods: &BTreeMap<String, Pod>) -> Option<String> {
    let begins = |pod: &&String| {
        holder.strip_prefix(pod.as_str()).is_some_and(|rest| {
            rest.chars().next().is_none_or(|next| !next.is_ascii_alphanumeric() && next != '-')
        })
    };
    pods.keys().find(begins).cloned()
}

fn member(lease: &Lease) -> Option<Member> {
    let text = lease.annotations().get(labels::MEMBER)?;
    match serde_json::from_str(text) {
        Ok(member) => Some(member),
        Err(error) => {
            tracing::warn!(lease = lease.name_any(), %error, "a member's record cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_a_pod() {
        let pods: BTreeMap<_, _> = ["demo-shard-0-1", "demo-shard-0-11"]
            .map(|name| (name.to_owned(), Pod::default()))
            .into_iter()
            .collect();
        assert_eq!(pod_of_holder("demo-shard-0-11_ab", &pods).as_deref(), Some("demo-shard-0-11"));
        assert_eq!(pod_of_holder("demo-shard-0-1", &pods).as_deref(), Some("demo-shard-0-1"));
        assert_eq!(pod_of_holder("", &pods), None);
    }
}
