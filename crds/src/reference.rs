//! References to objects in the same namespace.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Reference to an object in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// Name of the object.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message(
        "must be the name of an object in this namespace: lower-case letters, digits, '-' and '.'"
    ))]
    pub name: String,
}

impl LocalReference {
    /// A reference to `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

/// Reference to a key of a ConfigMap in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyReference {
    /// Name of the ConfigMap.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message(
        "must be the name of a ConfigMap in this namespace: lower-case letters, digits, '-' and '.'"
    ))]
    pub name: String,
    /// Key in its `data` or `binaryData`.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message(
        "must be a key of the ConfigMap: letters, digits, '-', '_' and '.'"
    ))]
    pub key: String,
}
