//! `OpaqueCluster`: a set of shards that answers private queries.

mod client_auth;
mod pod;
mod service;
mod state;
mod storage;
mod tls;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use client_auth::{ClientAuth, ClientAuthMode};
pub use pod::{ContainerOverlay, PodMetadata, PodOverlay, PodTemplate};
pub use service::{Service, ServiceType};
pub use state::{MissingTable, OpaqueClusterStatus};
pub use storage::Storage;
pub use tls::{IssuerReference, Tls};

/// A cluster of shards that answers SQL lookups without learning what was looked up.
#[derive(Debug, Clone, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "opaque.dev",
    version = "v1alpha1",
    kind = "OpaqueCluster",
    namespaced,
    cel,
    derive = "PartialEq",
    status = "OpaqueClusterStatus",
    shortname = "oqc",
    category = "opaque",
    doc = "A cluster of shards that answers SQL lookups without learning what was looked up.",
    scale(
        spec_replicas_path = ".spec.shards",
        status_replicas_path = ".status.shards",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Shards", type_ = "integer", json_path = ".status.shards", description = "Shards that exist"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyShards", description = "Shards with at least one ready replica"),
    printcolumn(name = "Available", type_ = "string", json_path = ".status.conditions[?(@.type==\"Available\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Available\")].reason"),
    printcolumn(name = "Generation", type_ = "integer", json_path = ".status.activeGeneration", description = "Generation of the shard map that serves"),
    printcolumn(name = "Blocked by", type_ = "string", json_path = ".status.operations[*].blockedBy", priority = 1),
    printcolumn(name = "Certificates until", type_ = "string", json_path = ".status.certificatesNotAfter", description = "End of the certificate that ends first", priority = 1),
    printcolumn(name = "Revocations until", type_ = "string", json_path = ".status.revocationListsNotAfter", description = "End of the revocation list that ends first; nodes then refuse each other", priority = 1),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas", description = "Ready pods of all shards", priority = 1),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 41").message(
        "the name of an OpaqueCluster must have at most 41 characters: names of pods, Services and StatefulSets are derived from it and must stay within 63"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "the name of an OpaqueCluster must start with a letter and have lower-case letters, digits and '-' only: Services are named after it"
    ),
    // Once a size was accepted. An older object may differ from it: that can be set right.
    validation = Rule::new(
        "self.spec.shards == oldSelf.spec.shards || !has(self.status) || !has(self.status.shards) || self.status.shards == 0 || self.spec.shards == self.status.shards"
    ).message(
        "spec.shards of a cluster that runs cannot change yet: make a new OpaqueCluster of the size that you want, and load the tables there"
    ),
    validation = Rule::new(
        "self.spec.replicasPerShard == oldSelf.spec.replicasPerShard || !has(self.status) || !has(self.status.replicasPerShard) || self.status.replicasPerShard == 0 || self.spec.replicasPerShard == self.status.replicasPerShard"
    ).message(
        "spec.replicasPerShard of a cluster that runs cannot change yet: make a new OpaqueCluster of the size that you want, and load the tables there"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct OpaqueClusterSpec {
    /// How many shards hold the tables. A query scans all of them at once: more shards make a query
    /// faster, and hold more. 1 to 1024.
    #[x_kube(validation = Rule::new("self >= 1 && self <= 1024").message("must be between 1 and 1024"))]
    pub shards: i32,

    /// How many pods serve each shard. With 2, a pod can be lost without a failed query. 1 to 32.
    #[serde(default = "default_replicas_per_shard")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 32").message("must be between 1 and 32"))]
    pub replicas_per_shard: i32,

    /// Image of the nodes. Absent: the one that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9][-a-zA-Z0-9._/:@]*$')").message(
        "must be an image reference such as registry.example/opaque-node:1.2 or ...@sha256:..., without spaces or scheme"
    ))]
    pub image: Option<String>,

    /// When the image is pulled. Absent: as Kubernetes decides from the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Where epochs of tables and clients' evaluation keys are kept.
    pub storage: Storage,

    /// Certificates of the nodes.
    #[serde(default)]
    pub tls: Tls,

    /// Who may ask queries, and who may load.
    pub client_auth: ClientAuth,

    /// How clients reach the nodes.
    #[serde(default)]
    pub service: Service,

    /// How the tables are spread over the shards.
    #[serde(default)]
    pub placement: Placement,

    /// Laid over the pods that the operator makes, as a strategic merge patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,

    /// Objects of the Prometheus operator.
    #[serde(default)]
    pub monitoring: Monitoring,

    /// Whether the operator leaves this cluster as it is. Queries and failover go on; status still tells
    /// what is observed.
    #[serde(default)]
    pub paused: bool,
}

/// When a node's image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At each start.
    Always,
    /// Unless it is there.
    IfNotPresent,
    /// Never: it must be there.
    Never,
}

/// How tables are spread over shards.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// By how much a shard may exceed its share before partitions are moved, in percent.
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([1-9][0-9]?|100)%$')").message(
        "must be a whole percentage from 1% to 100%, such as 20%"
    ))]
    #[serde(default = "default_imbalance_threshold")]
    pub imbalance_threshold: String,
}

impl Default for Placement {
    fn default() -> Self {
        Self { imbalance_threshold: default_imbalance_threshold() }
    }
}

impl Placement {
    /// The threshold in percent; none when it breaks its rule.
    pub fn threshold_percent(&self) -> Option<i32> {
        let percent = self.imbalance_threshold.strip_suffix('%')?.parse().ok()?;
        (1..=100).contains(&percent).then_some(percent)
    }
}

/// Objects of the Prometheus operator, made if its kinds exist.
#[derive(Debug, Clone, Default, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Whether a ServiceMonitor and a PrometheusRule are made.
    #[serde(default)]
    pub enabled: bool,

    /// Labels that your Prometheus selects them by.
    #[schemars(extend("maxProperties" = 32))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 317 && self[key].size() <= 63)").message(
        "must be labels: values have at most 63 characters"
    ))]
    pub labels: BTreeMap<String, String>,
}

fn default_replicas_per_shard() -> i32 {
    2
}

fn default_imbalance_threshold() -> String {
    "20%".into()
}
