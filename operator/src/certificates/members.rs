//! Determines which nodes run, and what each reports to trust and to present. This is a function
//! without I/O.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

use super::model::Member;
use crate::kube::{is_overdue, is_ready, is_renewed, trouble};
use crate::labels;

/// The nodes that a change of authorities waits for: every node that runs or is about to run,
/// whether or not it has reported anything. Such a node may have received its files before the last
/// change.
///
/// Pods that no longer run are excluded. So are pods that have not started and will receive the
/// files that are current when they do.
pub(super) fn members(pods: &[Pod], leases: &[Lease], now: Timestamp) -> Vec<Member> {
    pods.iter().filter(|pod| is_node(pod)).filter_map(|pod| member(pod, leases, now)).collect()
}

fn is_node(pod: &Pod) -> bool {
    pod.labels().get(labels::COMPONENT).is_some_and(|component| component == "node")
}

fn member(pod: &Pod, leases: &[Lease], now: Timestamp) -> Option<Member> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    if matches!(phase, Some("Failed" | "Succeeded")) || !is_placed || is_overdue(pod, now) {
        return None;
    }
    let record = match leases.iter().find(|lease| is_of(lease, pod)) {
        Some(lease) => {
            // The machine is gone or the node hangs. Its files are replaced without waiting for it,
            // and it loads them when it is back.
            let renewed = lease.spec.as_ref().is_some_and(|lease| is_renewed(lease, now));
            if !renewed && !is_ready(pod) {
                return None;
            }
            let text = lease.annotations().get(labels::MEMBER).map(String::as_str);
            serde_json::from_str(text.unwrap_or_default()).unwrap_or(Value::Null)
        }
        None if trouble(pod).is_some() => return None,
        None => Value::Null,
    };
    let text = |field| record.get(field).and_then(Value::as_str).map(str::to_owned);
    let shard = record.get("shard").and_then(Value::as_i64);
    Some(Member {
        pod: pod.name_any(),
        shard: shard.and_then(|shard| i32::try_from(shard).ok()),
        trust: text("trust"),
        certificate: text("certificate"),
        revocation: demands_lists(pod),
    })
}

/// Whether a Lease belongs to this pod. A Lease of an earlier pod with the same name says nothing
/// about it.
fn is_of(lease: &Lease, pod: &Pod) -> bool {
    let owner = lease.owner_references().iter().find(|owner| owner.kind == "Pod");
    lease.labels().get(labels::LEASE).is_some_and(|role| role == "member")
        && lease.name_any() == pod.name_any()
        && owner.is_none_or(|owner| pod.uid().as_ref() == Some(&owner.uid))
}

/// Whether a pod's node runs with `--revocation required`, which is also the option's default.
fn demands_lists(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut arguments =
        containers.filter(|container| container.name == "node").flat_map(|container| {
            container.command.iter().flatten().chain(container.args.iter().flatten())
        });
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--revocation") {
            Some("") => return arguments.next().is_none_or(|value| value != "none"),
            Some(value) if value.starts_with('=') => return value != "=none",
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const UID: &str = "u2";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + seconds).unwrap()
    }

    /// A pod that has been scheduled, overridden by `more`.
    fn pod(more: Value) -> Pod {
        let mut pod = json!({
            "metadata": {
                "name": "demo-shard-0-1", "uid": UID,
                "labels": {"app.kubernetes.io/component": "node"},
            },
            "spec": {"nodeName": "node1", "containers": []},
            "status": {"phase": "Running"},
        });
        json_patch(&mut pod, more);
        serde_json::from_value(pod).unwrap()
    }

    fn json_patch(value: &mut Value, more: Value) {
        match (value, more) {
            (Value::Object(value), Value::Object(more)) => {
                for (key, more) in more {
                    json_patch(value.entry(key).or_insert(Value::Null), more);
                }
            }
            (value, more) => *value = more,
        }
    }

    /// The Lease of the pod with this UID, renewed at second 0.
    fn lease(owner: &str) -> Lease {
        let record = json!({"shard": 0, "trust": "t", "certificate": "c"}).to_string();
        object!({
            "metadata": {
                "name": "demo-shard-0-1", "labels": {"opaque.dev/lease": "member"},
                "annotations": {"opaque.dev/member": record},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": owner}],
            },
            "spec": {"renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 10},
        })
    }

    /// What is known about one pod: it is not a member, it has reported nothing, or what it trusts.
    fn known(pod: Pod, leases: &[Lease], now: Timestamp) -> Option<Option<String>> {
        members(&[pod], leases, now).pop().map(|member| member.trust)
    }

    const TRUSTS: fn() -> Option<Option<String>> = || Some(Some("t".to_owned()));

    #[test]
    fn a_pod_that_has_not_reported_is_waited_for() {
        assert_eq!(known(pod(json!({})), &[lease(UID)], at(5)), TRUSTS());
        assert_eq!(known(pod(json!({})), &[], at(5)), Some(None), "it starts");
        assert_eq!(known(pod(json!({})), &[lease("u1")], at(5)), Some(None), "its predecessor's");
        let starting = pod(json!({"status": {"phase": "Pending"}}));
        assert_eq!(known(starting, &[], at(5)), Some(None), "its files are there already");
    }

    #[test]
    fn what_does_not_run_and_what_has_no_files_yet_is_not() {
        let unplaced = pod(json!({"spec": {"nodeName": null}, "status": {"phase": "Pending"}}));
        assert_eq!(known(unplaced, &[], at(5)), None);
        assert_eq!(known(pod(json!({"status": {"phase": "Failed"}})), &[lease(UID)], at(5)), None);
        let without_image = pod(json!({"status": {"phase": "Pending", "containerStatuses": [{
            "name": "node", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
        }]}}));
        assert_eq!(known(without_image, &[], at(5)), None);
        let other =
            pod(json!({"metadata": {"labels": {"app.kubernetes.io/component": "prepare"}}}));
        assert_eq!(known(other, &[lease(UID)], at(5)), None);
    }

    #[test]
    fn a_pod_on_a_machine_that_is_gone_holds_nothing_up() {
        let silent = |ready: &str| {
            pod(json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}}))
        };
        assert_eq!(known(silent("False"), &[lease(UID)], at(39)), TRUSTS(), "it may be slow");
        assert_eq!(known(silent("False"), &[lease(UID)], at(41)), None);
        assert_eq!(known(silent("True"), &[lease(UID)], at(41)), TRUSTS(), "cut off from the API");
        let ends = |at: &str| pod(json!({"metadata": {"deletionTimestamp": at}}));
        assert_eq!(known(ends("2026-01-01T00:00:10Z"), &[lease(UID)], at(5)), TRUSTS());
        assert_eq!(known(ends("2026-01-01T00:00:10Z"), &[], at(39)), Some(None));
        assert_eq!(known(ends("2026-01-01T00:00:10Z"), &[], at(41)), None, "its end is overdue");
    }
}
