//! Converts Lease objects to a [`Record`] and back.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};

use super::decision::Record;

/// The content of the Lease. Invalid numbers count as absent.
pub(super) fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
    let transitions = spec.and_then(|spec| spec.lease_transitions).unwrap_or(0);
    let holder = spec.and_then(|spec| spec.holder_identity.clone());
    Record {
        holder: holder.filter(|holder| !holder.is_empty()),
        duration: Duration::from_secs(seconds.try_into().unwrap_or(0)),
        transitions: transitions.try_into().unwrap_or(0),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        uid: lease.metadata.uid.clone().unwrap_or_default(),
    }
}

/// The holder of a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The identity as written in the Lease.
    pub identity: String,
    /// The Lease's annotations, which its holder may have written.
    pub annotations: BTreeMap<String, String>,
}

/// The holder of a Lease; `None` after a release.
pub(super) fn holder(lease: &Lease) -> Option<Holder> {
    let identity = record(lease).holder?;
    Some(Holder { identity, annotations: lease.metadata.annotations.clone().unwrap_or_default() })
}

/// The name, labels and owner of a new Lease, and the fields that each acquisition writes.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) holder: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) owner: Option<OwnerReference>,
}

impl Identity {
    /// A new Lease without a holder. Labels are not added to an existing Lease.
    pub(super) fn blank(&self) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(self.labels.clone()),
                owner_references: self.owner.clone().map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: None,
        }
    }

    /// `lease` after an acquisition; `None` if there are no more tokens.
    pub(super) fn acquired(&self, mut lease: Lease, token: u64, seconds: u64) -> Option<Lease> {
        if !self.annotations.is_empty() {
            let annotations = lease.metadata.annotations.get_or_insert_default();
            annotations.extend(self.annotations.clone());
        }
        let now = Some(MicroTime(Timestamp::now()));
        let spec = LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: Some(seconds.try_into().ok()?),
            lease_transitions: Some(token.try_into().ok()?),
            acquire_time: now.clone(),
            renew_time: now,
            ..lease.spec.unwrap_or_default()
        };
        Some(Lease { spec: Some(spec), ..lease })
    }
}

/// `lease` after a renewal. The times are only for people: no candidate reads them.
pub(super) fn renewed(lease: Lease) -> Lease {
    let renew_time = Some(MicroTime(Timestamp::now()));
    let spec = LeaseSpec { renew_time, ..lease.spec.unwrap_or_default() };
    Lease { spec: Some(spec), ..lease }
}

/// `lease` without a holder, in the form that client-go leaves. The number of transitions stays.
pub(super) fn released(lease: Lease) -> Lease {
    let now = Some(MicroTime(Timestamp::now()));
    let spec = LeaseSpec {
        holder_identity: None,
        lease_duration_seconds: Some(1),
        acquire_time: now.clone(),
        renew_time: now,
        ..lease.spec.unwrap_or_default()
    };
    Lease { spec: Some(spec), ..lease }
}
