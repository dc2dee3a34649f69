//! The store: its location, and its objects as bytes.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    Error as ObjectError, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use tokio::sync::watch;

use crate::bucket::{Location, Settings};
use crate::credentials::Credentials;
use crate::error::StoreError;
use crate::live::LiveBucket;

/// A typed object store; cheap to clone.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// Root of the store, if the objects are files on this machine.
    pub(crate) local: Option<PathBuf>,
    /// Why nothing can be read. Always `None` if the store is not a bucket.
    trouble: watch::Receiver<Option<String>>,
}

impl Store {
    /// Opens the store at a URL. The URL is a path, absolute or not, or `file:///path`; the
    /// directory is created if it is absent. Or it is `s3://bucket/prefix`, `gs://bucket/prefix` or
    /// `az://container/prefix`, with credentials and endpoint from this process's variables.
    ///
    /// # Errors
    /// [`StoreError::Url`]. Only the first request shows whether a bucket can be used.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, Settings::from_env())
    }

    /// Like [`open`](Self::open), with the caller's credentials.
    pub fn open_with(url: &str, credentials: impl Into<Credentials>) -> Result<Self, StoreError> {
        if let Some(location) = Location::parse(url) {
            let shown = if url.contains('@') { "<redacted>" } else { url };
            let refused = |reason| StoreError::Url { url: shown.to_owned(), reason };
            let location = location.map_err(refused)?;
            let prefix = location.path().clone();
            let bucket = LiveBucket::open(location, credentials.into()).map_err(refused)?;
            let trouble = bucket.trouble();
            let objects: Arc<dyn ObjectStore> = match prefix.as_ref() {
                "" => Arc::new(bucket),
                _ => Arc::new(PrefixStore::new(bucket, prefix)),
            };
            return Ok(Self { objects, local: None, trouble });
        }
        let refused = |reason: String| StoreError::Url { url: url.to_owned(), reason };
        let path = match url.split_once("://") {
            None => url,
            Some(("file", path)) if path.starts_with('/') => path,
            Some(("file", _)) => return Err(refused("write file:///path".to_owned())),
            Some((scheme, _)) => {
                let reason = format!(
                    "{scheme}:// is not supported; use s3://, gs://, az://, a path or file:///path"
                );
                return Err(refused(reason));
            }
        };
        if path.is_empty() || path.contains(['%', '#', '?']) {
            return Err(refused("the path is empty or contains %, # or ?".to_owned()));
        }
        let path = FilePath::new(path);
        std::fs::create_dir_all(path).map_err(|error| refused(error.to_string()))?;
        let root = path.canonicalize().map_err(|error| refused(error.to_string()))?;
        let files = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| refused(error.to_string()))?
            .with_automatic_cleanup(true)
            .with_fsync(true);
        Ok(Self { local: Some(root), ..Self::new(Arc::new(files)) })
    }

    /// A store on any backend that supports creating an object only if it is absent.
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, local: None, trouble: watch::Sender::new(None).subscribe() }
    }

    /// Why nothing can be read from the bucket, according to the last request. `None` while reads
    /// work, and always if the store is not a bucket.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }

    /// Lists the store's tables to bring [`trouble`](Self::trouble) up to date. Does nothing if the
    /// store is not a bucket.
    pub async fn try_reading(&self) {
        if self.local.is_none() {
            // `LiveBucket` records the result.
            let _ = self.folders(&Path::from("tables")).await;
        }
    }

    /// Creates an object that must not exist yet.
    pub(crate) async fn create(&self, path: &Path, parts: PutPayload) -> Result<(), StoreError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.objects.put_opts(path, parts, options).await;
        put.map(drop).map_err(|error| StoreError::of(path, error))
    }

    /// Whether an object has exactly these bytes.
    pub(crate) async fn holds(&self, path: &Path, parts: &PutPayload) -> Result<bool, StoreError> {
        match self.read(path, parts.content_length() as u64).await {
            Ok(found) => Ok(found.len() == parts.content_length()
                && found.iter().eq(parts.iter().flat_map(|part| part.iter()))),
            Err(StoreError::NotFound { .. } | StoreError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates an object or replaces it.
    pub(crate) async fn replace(&self, path: &Path, bytes: Bytes) -> Result<(), StoreError> {
        let put = self.objects.put(path, PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(|error| StoreError::of(path, error))
    }

    /// Reads an object of at most `limit` bytes. The body of a larger one is not fetched.
    pub(crate) async fn read(&self, path: &Path, limit: u64) -> Result<Bytes, StoreError> {
        let failed = |error| StoreError::of(path, error);
        let object = self.objects.get(path).await.map_err(failed)?;
        if object.meta.size > limit {
            let reason = format!("{} bytes, at most {limit} expected", object.meta.size);
            return Err(StoreError::corrupt(path, reason));
        }
        object.bytes().await.map_err(failed)
    }

    /// Metadata of an object; `None` if it does not exist.
    pub(crate) async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        match self.objects.head(path).await {
            Ok(meta) => Ok(Some(meta)),
            Err(ObjectError::NotFound { .. }) => Ok(None),
            Err(error) => Err(StoreError::of(path, error)),
        }
    }

    /// Every object under a prefix.
    pub(crate) async fn list(&self, prefix: &Path) -> Result<Vec<ObjectMeta>, StoreError> {
        let listed = self.objects.list(Some(prefix)).try_collect().await;
        listed.map_err(|error| StoreError::of(prefix, error))
    }

    /// The names of the folders in a folder, in order.
    pub(crate) async fn folders(&self, prefix: &Path) -> Result<Vec<String>, StoreError> {
        let listed = self.objects.list_with_delimiter(Some(prefix)).await;
        let prefixes = listed.map_err(|error| StoreError::of(prefix, error))?.common_prefixes;
        let name = |path: Path| path.filename().map(str::to_owned);
        let mut names: Vec<String> = prefixes.into_iter().filter_map(name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes objects of a folder. Objects that are already gone are not an error.
    pub(crate) async fn remove(&self, folder: &Path, paths: Vec<Path>) -> Result<(), StoreError> {
        let stream = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut removed = self.objects.delete_stream(stream);
        while let Some(result) = removed.next().await {
            match result {
                Ok(_) | Err(ObjectError::NotFound { .. }) => {}
                Err(error) => return Err(StoreError::of(folder, error)),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.objects)
    }
}
