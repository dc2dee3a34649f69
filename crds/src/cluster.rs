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

/// A cluster of shards that answers SQL lookups without learning which value was looked up.
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
    doc = "A cluster of shards that answers SQL lookups without learning which value was looked up.",
    scale(
        spec_replicas_path = ".spec.shards",
        status_replicas_path = ".status.shards",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Shards", type_ = "integer", json_path = ".status.shards", description = "Shards that exist"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyShards", description = "Shards with at least one ready replica"),
    printcolumn(name = "Available", type_ = "string", json_path = ".status.conditions[?(@.type==\"Available\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Available\")].reason"),
    printcolumn(name = "Generation", type_ = "integer", json_path = ".status.activeGeneration", description = "Generation of the active shard map"),
    printcolumn(name = "Blocked by", type_ = "string", json_path = ".status.operations[*].blockedBy", priority = 1),
    printcolumn(name = "Certificates until", type_ = "string", json_path = ".status.certificatesNotAfter", description = "Expiry of the first certificate to expire", priority = 1),
    printcolumn(name = "Revocations until", type_ = "string", json_path = ".status.revocationListsNotAfter", description = "Expiry of the first revocation list to expire; nodes refuse each other after it", priority = 1),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas", description = "Ready pods of all shards", priority = 1),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 41").message(
        "the name of an OpaqueCluster must have at most 41 characters: names of pods, Services and StatefulSets are derived from it and must stay within 63"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "the name of an OpaqueCluster must start with a letter and have lower-case letters, digits and '-' only: Services are named after it"
    ),
    // These rules apply once a size was accepted. An older object may differ from the accepted size
    // and may be corrected.
    validation = Rule::new(
        "self.spec.shards == oldSelf.spec.shards || !has(self.status) || !has(self.status.shards) || self.status.shards == 0 || self.spec.shards == self.status.shards"
    ).message(
        "spec.shards of a cluster that runs cannot change yet: create a new OpaqueCluster with that size, and load the tables there"
    ),
    validation = Rule::new(
        "self.spec.replicasPerShard == oldSelf.spec.replicasPerShard || !has(self.status) || !has(self.status.replicasPerShard) || self.status.replicasPerShard == 0 || self.spec.replicasPerShard == self.status.replicasPerShard"
    ).message(
        "spec.replicasPerShard of a cluster that runs cannot change yet: create a new OpaqueCluster with that size, and load the tables there"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct OpaqueClusterSpec {
    /// Number of shards that hold the tables, from 1 to 1024. A query scans all shards in parallel.
    /// More shards make queries faster and hold more data.
    #[x_kube(validation = Rule::new("self >= 1 && self <= 1024").message("must be between 1 and 1024"))]
    pub shards: i32,

    /// Number of pods that serve each shard, from 1 to 32. With 2, one pod can fail without failing
    /// queries.
    #[serde(default = "default_replicas_per_shard")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 32").message("must be between 1 and 32"))]
    pub replicas_per_shard: i32,

    /// Image of the nodes. Defaults to the image that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9][-a-zA-Z0-9._/:@]*$')").message(
        "must be an image reference such as registry.example/opaque-node:1.2 or ...@sha256:..., without spaces or scheme"
    ))]
    pub image: Option<String>,

    /// When the image is pulled. If absent, Kubernetes decides from the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// The object store for epochs of tables and for clients' evaluation keys.
    pub storage: Storage,

    /// Certificates of the nodes.
    #[serde(default)]
    pub tls: Tls,

    /// Which clients may query, and which may load tables.
    pub client_auth: ClientAuth,

    /// The Service through which clients reach the nodes.
    #[serde(default)]
    pub service: Service,

    /// How the tables are spread over the shards.
    #[serde(default)]
    pub placement: Placement,

    /// A strategic merge patch that is applied to the pods of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,

    /// Objects for the Prometheus operator.
    #[serde(default)]
    pub monitoring: Monitoring,

    /// Stops the operator from changing this cluster. Queries and failover continue, and the status
    /// is still updated.
    #[serde(default)]
    pub paused: bool,
}

/// When a node's image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// Pull at each start.
    Always,
    /// Pull if the image is not present.
    IfNotPresent,
    /// Never pull. The image must be present.
    Never,
}

/// How tables are spread over shards.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// How far a shard may exceed its share before partitions are moved, in percent, such as `20%`.
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
    /// The threshold in percent, or `None` if the value is invalid.
    pub fn threshold_percent(&self) -> Option<i32> {
        let percent = self.imbalance_threshold.strip_suffix('%')?.parse().ok()?;
        (1..=100).contains(&percent).then_some(percent)
    }
}

/// Objects for the Prometheus operator. They are created only if its kinds exist.
#[derive(Debug, Clone, Default, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Whether to create a ServiceMonitor and a PrometheusRule.
    #[serde(default)]
    pub enabled: bool,

    /// Labels of these objects, by which your Prometheus selects them.
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
