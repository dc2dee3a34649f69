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
    /// Where objects go: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or
    /// `file:///folder` on a volume that `podTemplate` mounts into every pod. Immutable: the epochs
    /// that are served lie there.
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("self.matches('^((s3|gs|az)://[a-z0-9][-a-z0-9._]*|file://)(/[-a-zA-Z0-9._/]*)?$') && self != 'file://'").message(
            "must be s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder; credentials belong in secretRef"
        ),
        validation = Rule::new("self == oldSelf").message(
            "is immutable: the epochs being served are stored there; make a new OpaqueCluster to move them"
        )
    )]
    pub url: String,

    /// Secret whose keys are the store's credentials, named as the store's own environment variables
    /// (`AWS_ACCESS_KEY_ID`, ...). Pods read it again when it changes; a variable that `podTemplate` sets holds
    /// whatever it says. Absent: the identity of the pods' ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,

    /// Secret with `ca.crt`: authorities that the store's server may have its certificate from, beside the public ones.
    /// Pods read it again when it changes.
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

    /// Whether a table's source in a bucket, if the table names no Secret for it, is read with the store's
    /// credentials or the identity of the pods' ServiceAccount: whoever may write OpaqueTables can then read all that
    /// these may read. Without it such a source is read unsigned, as a public one.
    #[serde(default)]
    pub share_with_sources: bool,
}
