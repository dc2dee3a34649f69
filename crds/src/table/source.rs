//! The source of a table's rows.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dialect;
use crate::reference::{ConfigMapKeyReference, LocalReference};

/// The source of the rows: exactly one of `url` and `configMapRef`.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.configMapRef)").message(
        "exactly one of url and configMapRef must be set"
    ),
    validation = Rule::new("!has(self.secretRef) || has(self.url)").message(
        "secretRef applies to url only"
    ),
    validation = Rule::new("self.format != 'parquet' || self.compression == 'none'").message(
        "parquet compresses its columns itself: compression must be none"
    ),
    validation = Rule::new("!has(self.dialect) || self.format == 'csv'").message(
        "dialect applies to format csv only"
    )
)]
pub struct Source {
    /// URL of a file: `https://`, `http://`, `s3://`, `gs://` or `az://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(
        validation = Rule::new("self.matches('^(https?|s3|gs|az)://[^/]+/[^ ]+$')").message(
            "must be the address of a file: https://, http://, s3://, gs:// or az://, a host or bucket, and a path"
        ),
        validation = Rule::new("!self.matches('^[a-z0-9]+://[^/]*@')").message(
            "must not hold a user or password: credentials belong in secretRef"
        )
    )]
    pub url: Option<String>,

    /// A key of a ConfigMap that holds the rows, for small tables. A change of the data creates a
    /// new epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyReference>,

    /// Secret with the credentials for `url`: for a bucket the same keys as in `storage.secretRef`,
    /// for https `username` and `password`, or `token`. If absent, a bucket is read without
    /// credentials, unless the cluster sets `storage.shareWithSources`. Variables that name a file,
    /// a credential server or a proxy are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,

    /// Format of the file: `csv` is delimited text, `json` holds objects one after another or in one
    /// array, `jsonl` means the same as `json`, and `parquet` is Apache Parquet.
    #[serde(default)]
    pub format: Format,

    /// How a file of format `csv` is written. What is not set is detected from the beginning of the
    /// file, the columns' names and their types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,

    /// Whether columns of the file that the schema does not name are skipped. Without it they are
    /// an error.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_extra: bool,

    /// Compression of the file.
    #[serde(default)]
    pub compression: Compression,

    /// Any text. A change of this field makes the operator read the source again and create a new
    /// epoch, even if nothing else changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub revision: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Format of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Delimited text, such as comma-separated values.
    #[default]
    Csv,
    /// JSON objects one after another, or one array of objects.
    Json,
    /// The same as `json`.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

/// Compression of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}
