//! What a user may lay over the pods.
//!
//! The overlay is not a copy of PodSpec: any field of it passes, present and future ones. Declared here
//! are only the fields that the operator relies on, so that rules can refuse them.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Laid over the pods that the operator makes, as a strategic merge patch.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels and annotations of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PodMetadata>,
    /// Fields of PodSpec: `nodeSelector`, `tolerations`, `affinity`, `resources` of the container `node`,
    /// `volumes`, further containers, and so on.
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

/// Fields of a PodSpec, of which some are protected.
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
    /// Protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
    /// Protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// Protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// Protected.
    #[serde(default, rename = "hostPID", skip_serializing_if = "Option::is_none")]
    pub host_pid: Option<bool>,
    /// Protected.
    #[serde(default, rename = "hostIPC", skip_serializing_if = "Option::is_none")]
    pub host_ipc: Option<bool>,
    /// Protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_process_namespace: Option<bool>,
    /// Containers by name: `node` is Opaque's own, others are added to it.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub containers: Vec<ContainerOverlay>,
    /// Every other field of PodSpec.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// Fields of a Container, of which some are protected if it is `node`.
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
    /// Image; of `node`, protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Entry point; of `node`, protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Arguments; of `node`, protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Every other field of Container.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}
