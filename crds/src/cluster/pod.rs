//! The user's changes to the pods of a cluster.
//!
//! The overlay is not a copy of PodSpec. It accepts every field of PodSpec, including fields of
//! future versions. Only the fields that the operator relies on are declared here, so that rules
//! can refuse them.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A strategic merge patch that is applied to the pods of the cluster.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels and annotations of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PodMetadata>,
    /// Fields of PodSpec, such as `nodeSelector`, `tolerations`, `affinity`, `resources` of the
    /// container `node`, `volumes`, further containers, and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<PodOverlay>,
}

/// Labels and annotations added to the pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodMetadata {
    /// Labels to add.
    #[schemars(extend("maxProperties" = 64))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('opaque.dev/') && !key.startsWith('app.kubernetes.io/'))").message(
        "labels under opaque.dev/ and app.kubernetes.io/ are the operator's: it selects pods by them"
    ))]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add.
    #[schemars(extend("maxProperties" = 64))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('opaque.dev/'))").message(
        "annotations under opaque.dev/ are the operator's"
    ))]
    pub annotations: BTreeMap<String, String>,
}

/// Fields of a PodSpec. The operator sets some of them, and refuses them here.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.serviceAccountName) && !has(self.restartPolicy) && !has(self.hostname) && !has(self.subdomain)").message(
        "serviceAccountName, restartPolicy, hostname and subdomain are set by the operator: certificates and permissions depend on them"
    ),
    validation = Rule::new("!has(self.hostNetwork) && !has(self.hostPID) && !has(self.hostIPC) && !has(self.shareProcessNamespace)").message(
        "hostNetwork, hostPID, hostIPC and shareProcessNamespace are refused: a node's memory holds keys"
    )
)]
pub struct PodOverlay {
    /// Must not be set: the operator sets this field or requires its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Must not be set: the operator sets this field or requires its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
    /// Must not be set: the operator sets this field or requires its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Must not be set: the operator sets this field or requires its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// Must not be set: the operator sets this field or requires its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// Must not be set: the operator sets this field or requires its default.
    #[serde(default, rename = "hostPID", skip_serializing_if = "Option::is_none")]
    pub host_pid: Option<bool>,
    /// Must not be set: the operator sets this field or requires its default.
    #[serde(default, rename = "hostIPC", skip_serializing_if = "Option::is_none")]
    pub host_ipc: Option<bool>,
    /// Must not be set: the operator sets this field or requires its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_process_namespace: Option<bool>,
    /// Containers, merged by name. `node` is the container that runs Opaque; others are added to
    /// the pod.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub containers: Vec<ContainerOverlay>,
    /// Every other field of PodSpec.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// Fields of a Container. Some must not be set for the container `node`.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.name != 'node' || (!has(self.image) && !has(self.command) && !has(self.args))").message(
        "image, command and args of the container node are set by the operator; its image is spec.image"
    )
)]
pub struct ContainerOverlay {
    /// Name of the container.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Image. Must not be set for `node`; use `spec.image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Entry point. Must not be set for `node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Arguments. Must not be set for `node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Every other field of Container.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}
