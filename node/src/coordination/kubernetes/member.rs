//! A member's Lease: its record is an annotation, and its age is measured by this node.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{LABEL_CLUSTER, LABEL_LEASE, MEMBER};
use crate::coordination::{CoordinationError, MemberRecord};

/// Annotation with the JSON of a [`MemberRecord`].
pub(super) const ANNOTATION: &str = "opaque.dev/member";
/// Annotation with the UID of the OpaqueCluster to which the member belongs.
const ORIGIN: &str = "opaque.dev/cluster-uid";

/// The record in a Lease.
pub(super) fn read(lease: &Lease) -> Result<MemberRecord, CoordinationError> {
    let metadata = &lease.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let corrupt = |reason: String| CoordinationError::Corrupt {
        object: format!("Lease {}/{name}", metadata.namespace.as_deref().unwrap_or_default()),
        reason,
    };
    let text = metadata.annotations.as_ref().and_then(|annotations| annotations.get(ANNOTATION));
    let text = text.ok_or_else(|| corrupt(format!("it has no annotation {ANNOTATION}")))?;
    let record: MemberRecord =
        serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))?;
    if record.node != name {
        return Err(corrupt(format!("it is the record of node {:?}", record.node)));
    }
    Ok(record)
}

/// The UID of the OpaqueCluster to which a Lease's member belongs, if the Lease names it.
pub(super) fn origin(lease: &Lease) -> Option<&str> {
    lease.metadata.annotations.as_ref()?.get(ORIGIN).map(String::as_str)
}

/// The fields that a renewal changes. They include the owner: a Lease left by a former pod of the
/// same name would be deleted with that pod, and would not count as this node's.
pub(super) fn renewal(
    record: &MemberRecord,
    origin: Option<&str>,
    owner: Option<&OwnerReference>,
    lifetime: Duration,
) -> Result<Value, serde_json::Error> {
    let text = serde_json::to_string(record)?;
    let annotations = json!({ANNOTATION: text, ORIGIN: origin});
    let metadata = match owner {
        Some(owner) => json!({"annotations": annotations, "ownerReferences": [owner]}),
        None => json!({"annotations": annotations}),
    };
    Ok(json!({
        "metadata": metadata,
        "spec": {
            "holderIdentity": record.node,
            "leaseDurationSeconds": lifetime.as_secs(),
            "renewTime": MicroTime(Timestamp::now()),
        },
    }))
}

/// A new Lease of a member.
pub(super) fn lease(
    record: &MemberRecord,
    cluster: &str,
    origin: Option<&str>,
    owner: Option<&OwnerReference>,
    lifetime: Duration,
) -> Result<Lease, serde_json::Error> {
    let text = serde_json::to_string(record)?;
    let mut annotations = BTreeMap::from([(ANNOTATION.to_owned(), text)]);
    annotations.extend(origin.map(|uid| (ORIGIN.to_owned(), uid.to_owned())));
    let label = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let labels = [
        ("app.kubernetes.io/name", "opaque"),
        ("app.kubernetes.io/managed-by", "opaque-node"),
        (LABEL_CLUSTER, cluster),
        (LABEL_LEASE, MEMBER),
    ];
    let now = MicroTime(Timestamp::now());
    Ok(Lease {
        metadata: ObjectMeta {
            name: Some(record.node.clone()),
            labels: Some(labels.map(label).into()),
            annotations: Some(annotations),
            owner_references: owner.cloned().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(record.node.clone()),
            lease_duration_seconds: i32::try_from(lifetime.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    })
}

/// A clock that advances only while Lease events arrive, so that an API outage ages no member.
///
/// After each event, it advances for at most `limit`. The age of a member is how far this clock
/// advanced since the member's last sign of life. If the API is unreachable or stalls, no member
/// ages, since none could be heard. This node's renewals are events too, so the clock advances as
/// long as the API works.
#[derive(Debug)]
pub(super) struct Hearing {
    heard: Duration,
    last: Instant,
    limit: Duration,
}

impl Hearing {
    pub(super) fn new(now: Instant, limit: Duration) -> Self {
        Self { heard: Duration::ZERO, last: now, limit }
    }

    /// The time of this clock at `now`.
    pub(super) fn time(&self, now: Instant) -> Duration {
        self.heard + now.saturating_duration_since(self.last).min(self.limit)
    }

    /// Records an event.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = self.time(now);
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_member_ages_while_no_event_arrives() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut hearing = Hearing::new(start, 3 * second);
        hearing.hear(start + 2 * second);
        assert_eq!(hearing.time(start + 4 * second), 4 * second);
        // A minute of silence counts as three seconds, also when it ends.
        assert_eq!(hearing.time(start + 62 * second), 5 * second);
        hearing.hear(start + 62 * second);
        assert_eq!(hearing.time(start + 63 * second), 6 * second);
    }
}
