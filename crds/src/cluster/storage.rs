//! The object store of a cluster.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::reference::LocalReference;

/// An object store.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.url.startsWith('file:') || !has(self.secretRef)").message(
        "a file:// store takes no secretRef"
    ),
    validation = Rule::new("!self.url.startsWith('file:') || !has(self.caSecretRef)").message(
        "a file:// store takes no caSecretRef"
    ),
    validation = Rule::new("self.url.startsWith('s3:') || (!has(self.endpoint) && !has(self.region))").message(
        "endpoint and region apply to s3:// only"
    )
)]
pub struct Storage {
    /// URL of the store: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or
    /// `file:///folder` on a volume that `podTemplate` mounts into every pod. Immutable, because
    /// the served epochs are stored there.
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("self.matches('^((s3|gs|az)://[a-z0-9][-a-z0-9._]*|file://)(/[-a-zA-Z0-9._/]*)?$') && self != 'file://'").message(
            "must be s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder; credentials belong in secretRef"
        ),
        validation = Rule::new("self == oldSelf").message(
            "is immutable: the served epochs are stored there; create a new OpaqueCluster to move them"
        )
    )]
    pub url: String,

    /// Secret with the store's credentials. Its keys are named like the store's environment
    /// variables, such as `AWS_ACCESS_KEY_ID`. Pods reload it when it changes. A variable set in
    /// `podTemplate` takes precedence. If absent, pods use the identity of their ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,

    /// Secret with key `ca.crt`: further authorities that may sign the certificate of the store's
    /// server, in addition to the public ones. Pods reload it when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<LocalReference>,

    /// Address of an S3-compatible server, for example `https://minio.storage:9000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[-a-zA-Z0-9.]+(:[0-9]{1,5})?/?$')").message(
        "must be http://host:port or https://host:port"
    ))]
    pub endpoint: Option<String>,

    /// Region of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub region: Option<String>,

    /// Whether tables that name no Secret read their source in a bucket with the store's
    /// credentials, or with the identity of the pods' ServiceAccount. If true, every user who may
    /// write OpaqueTables can read all objects that these credentials can read. If false, such a
    /// source is read without credentials, so it must be public.
    #[serde(default)]
    pub share_with_sources: bool,
}
