//! The object store from the point of view of an S3 client, for adding and inspecting objects.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use opaque_e2e::cluster::{BUCKET, NODE, S3_PASSWORD, S3_USER};
use opaque_e2e::harness::Faults;
use opaque_store::{Location, Settings};

/// The bucket that clusters of tests use.
pub(crate) struct Bucket(Arc<dyn ObjectStore>);

impl Bucket {
    /// This sends no request.
    pub(crate) fn new() -> Result<Self> {
        // Only our own cluster's store is reachable from outside.
        Faults::new()?;
        let variables = [
            ("AWS_ENDPOINT_URL", format!("http://{NODE}:9000")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", S3_USER.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", S3_PASSWORD.to_owned()),
        ];
        let settings = Settings::new(variables.map(|(name, value)| (name.to_owned(), value)));
        let location = Location::parse(&format!("s3://{BUCKET}"));
        let location = location.unwrap_or_else(|| Err("it is no bucket".into()));
        let opened = location.and_then(|location| location.open(&settings));
        Ok(Self(opened.map_err(|reason| anyhow!(reason))?))
    }

    /// Creates an object or replaces it.
    pub(crate) async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        self.0.put(&Path::from(path), bytes.into()).await?;
        Ok(())
    }

    /// Removes the manifest of an epoch, which then cannot be loaded. Returns its path and its
    /// bytes.
    pub(crate) async fn take_manifest(
        &self,
        prefix: &str,
        table: &str,
        epoch: i64,
    ) -> Result<(String, Vec<u8>)> {
        let number = format!("{epoch:020}");
        let path = Path::from_iter([prefix, "tables", table, "epochs", &number, "manifest.json"]);
        let bytes = self.0.get(&path).await?.bytes().await?;
        self.0.delete(&path).await?;
        Ok((path.to_string(), bytes.to_vec()))
    }

    /// Numbers of the epochs of a table that have objects, for a cluster whose prefix is `prefix`.
    pub(crate) async fn epochs(&self, prefix: &str, table: &str) -> Result<Vec<i64>> {
        let folder = Path::from_iter([prefix, "tables", table, "epochs"]);
        let listed = self.0.list_with_delimiter(Some(&folder)).await?;
        let names = listed.common_prefixes.iter().filter_map(|path| path.filename());
        let mut epochs = names.map(str::parse).collect::<Result<Vec<i64>, _>>()?;
        epochs.sort_unstable();
        Ok(epochs)
    }
}
