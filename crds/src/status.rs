//! Conditions and operations, which the status of each kind contains.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Type of a condition. Types are part of the API: dashboards and scripts match on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The object is `Available` and nothing is being changed. Argo CD, Flux, `helm --wait` and
    /// `kubectl wait` check this condition.
    Ready,
    /// Private queries are answered.
    Available,
    /// The operator or the nodes are changing something to match the spec.
    Progressing,
    /// Something is broken and needs a person, or takes longer than it should.
    Degraded,
    /// Every certificate is valid and its renewal is not due.
    CertificatesReady,
    /// No shard exceeds its share by more than `placement.imbalanceThreshold`.
    ShardsBalanced,
    /// `paused` is set, so the operator changes nothing.
    Paused,
    /// Another release of the operator watches the same namespace and waits. Absent otherwise.
    Contested,
}

impl ConditionType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::Ready,
        Self::Available,
        Self::Progressing,
        Self::Degraded,
        Self::CertificatesReady,
        Self::ShardsBalanced,
        Self::Paused,
        Self::Contested,
    ];

    /// The value of `conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::CertificatesReady => "CertificatesReady",
            Self::ShardsBalanced => "ShardsBalanced",
            Self::Paused => "Paused",
            Self::Contested => "Contested",
        }
    }
}

/// An operation in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Name of the operation, for example `Rollout` or `Epoch`. Unique in the list.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The current step.
    #[schemars(length(max = 63))]
    pub step: String,
    /// Why the operation does not continue, and what to do about it. Absent while it makes
    /// progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub blocked_by: Option<String>,
    /// When the current step began.
    pub since: Time,
}
