//! What every kind reports about itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Type of a condition. Types are part of the API: dashboards and scripts match on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// `Available`, and nothing is being changed: what Argo CD, Flux, `helm --wait` and `kubectl wait` look for.
    Ready,
    /// Private queries are answered.
    Available,
    /// Something is being changed towards the spec.
    Progressing,
    /// Something is broken that needs a person, or has outlasted its time.
    Degraded,
    /// Every certificate is valid and its renewal is not due.
    CertificatesReady,
    /// No shard holds more than its share by more than `placement.imbalanceThreshold`.
    ShardsBalanced,
    /// `paused` is set, and nothing is changed.
    Paused,
    /// Another release of the operator watches the namespace too, and waits. Absent otherwise.
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

    /// As it stands in `conditions[].type`.
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

/// Something under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// What is being done, for example `Rollout` or `Epoch`; unique in the list.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The step that it has reached.
    #[schemars(length(max = 63))]
    pub step: String,
    /// Why it does not go on, in words that say what to do; absent while it advances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub blocked_by: Option<String>,
    /// When it reached this step.
    pub since: Time,
}
