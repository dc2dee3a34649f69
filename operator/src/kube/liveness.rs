//! Determines whether pods and holders of Leases are alive, as far as the API server shows.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;

/// Maximum assumed difference between the clocks of machines.
pub(crate) const CLOCKS_DIFFER: Duration = Duration::from_secs(30);

/// Whether a Lease was renewed recently.
pub(crate) fn is_renewed(lease: &LeaseSpec, now: Timestamp) -> bool {
    let lasts =
        Duration::from_secs(lease.lease_duration_seconds.unwrap_or(0).unsigned_abs().into());
    let renewed = lease.renew_time.as_ref().map(|renewed| renewed.0);
    renewed.is_some_and(|renewed| {
        renewed.checked_add(lasts + CLOCKS_DIFFER).is_ok_and(|ends| now < ends)
    })
}

/// Whether a pod is ready and not terminating.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Whether a pod's grace period has passed. If such a pod still exists, its machine does not
/// answer.
pub(crate) fn is_overdue(pod: &Pod, now: Timestamp) -> bool {
    let ends = pod.metadata.deletion_timestamp.as_ref();
    ends.is_some_and(|ends| ends.0.checked_add(CLOCKS_DIFFER).is_ok_and(|ends| ends < now))
}

/// Why a pod does not start, in Kubernetes' own words; `None` if no problem is known.
pub(crate) fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let message = condition.message.as_deref().unwrap_or("no node was found for it");
        return Some(format!("cannot be scheduled: {message}"));
    }
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).find_map(trouble_of_container)
}

fn trouble_of_container(status: &ContainerStatus) -> Option<String> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    if matches!(reason, "ContainerCreating" | "PodInitializing" | "") {
        return None;
    }
    // The last message of a crashed program is more useful than the announcement of its restart.
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let said = last.and_then(|terminated| terminated.message.as_deref()).and_then(last_words);
    let message = said.or(waiting.message.as_deref()).unwrap_or_default();
    Some(format!("container {}: {reason}: {message}", status.name))
}

/// The last line that reports an error, or else the last line. After an error in the command line,
/// clap's last line only points to `--help`.
fn last_words(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.clone().rfind(|line| line.starts_with("error: ")).or_else(|| lines.next_back())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        object!({"metadata": {"name": "demo-shard-0-1"}, "status": status})
    }

    #[test]
    fn a_pod_says_why_it_waits() {
        let unscheduled = pod(json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu.",
        }]}));
        assert!(trouble(&unscheduled).unwrap().contains("Insufficient cpu"));
        for (message, words) in [
            ("starting\nerror: no store\n", "error: no store"),
            (
                "error: invalid value 'x'\n\nFor more information, try '--help'.\n",
                "error: invalid value 'x'",
            ),
            ("starting\nkilled\n", "killed"),
        ] {
            let crashed = pod(json!({"containerStatuses": [{
                "name": "node", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": {"exitCode": 1, "message": message}},
            }]}));
            let expected = format!("container node: CrashLoopBackOff: {words}");
            assert_eq!(trouble(&crashed).unwrap(), expected);
        }
        let starting = pod(json!({"containerStatuses": [{
            "name": "node", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}},
        }]}));
        assert_eq!(trouble(&starting), None);
    }

    #[test]
    fn a_leader_that_has_not_renewed_does_not_count() {
        let lease: LeaseSpec = object!({
            "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 8,
        });
        let at = |seconds: i64| Timestamp::from_second(1_767_225_600 + seconds).unwrap();
        assert!(is_renewed(&lease, at(0)) && is_renewed(&lease, at(-100)));
        assert!(is_renewed(&lease, at(37)) && !is_renewed(&lease, at(38)));
        assert!(!is_renewed(&LeaseSpec { renew_time: None, ..lease }, at(0)));
    }
}
