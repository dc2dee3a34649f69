//! A bucket that survives changes of its credentials, and that reports whether it can be read.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::watch;

use crate::bucket::{Location, Settings};
use crate::credentials::Credentials;
use crate::error::Failure;

/// Interval at which the credentials are read again while there are requests. The kubelet takes a
/// minute to replace the files of a Secret.
const LOOK: Duration = Duration::from_secs(1);

/// A bucket that is opened again whenever its credentials change.
pub(crate) struct LiveBucket {
    location: Location,
    credentials: Credentials,
    opened: Mutex<Opened>,
    trouble: Arc<watch::Sender<Option<String>>>,
}

struct Opened {
    bucket: Arc<dyn ObjectStore>,
    settings: Settings,
    looked: Instant,
    /// Whether the last attempt to read the credentials failed.
    failing: bool,
}

impl LiveBucket {
    /// Opens the bucket. This sends no request.
    ///
    /// # Errors
    /// The credentials cannot be read, or the settings do not make a client. The text does not
    /// contain their values.
    pub(crate) fn open(location: Location, credentials: Credentials) -> Result<Self, String> {
        let settings = credentials
            .settings()
            .map_err(|error| format!("the store's credentials cannot be read: {error}"))?;
        let bucket = location.open(&settings)?;
        let opened = Opened { bucket, settings, looked: Instant::now(), failing: false };
        let trouble = Arc::new(watch::Sender::new(None));
        Ok(Self { location, credentials, opened: Mutex::new(opened), trouble })
    }

    /// Why reads fail at present; `None` while they work.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// The bucket with the current credentials. A request in progress keeps the credentials that it
    /// began with.
    fn now(&self) -> Arc<dyn ObjectStore> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.credentials.is_fixed() && opened.looked.elapsed() >= LOOK {
            opened.looked = Instant::now();
            self.look(&mut opened);
        }
        Arc::clone(&opened.bucket)
    }

    /// Opens the bucket again if its credentials have changed. Credentials that cannot be used
    /// change nothing.
    fn look(&self, opened: &mut Opened) {
        let unusable = match self.credentials.settings() {
            Ok(settings) if settings == opened.settings => {
                opened.failing = false;
                return;
            }
            Ok(settings) => match self.location.open(&settings) {
                Ok(bucket) => {
                    tracing::info!("the store's credentials have changed");
                    (opened.bucket, opened.settings, opened.failing) = (bucket, settings, false);
                    return;
                }
                Err(reason) => reason,
            },
            Err(error) => error.to_string(),
        };
        if !opened.failing {
            tracing::warn!(reason = %unusable, "the store's new credentials cannot be used; keeping the previous ones");
        }
        opened.failing = true;
    }
}

/// Records whether the store could be read.
fn note<T>(trouble: &watch::Sender<Option<String>>, result: &Result<T>) {
    let next = result.as_ref().err().and_then(|error| Failure::of(error).trouble());
    trouble.send_if_modified(|last| {
        let is_news = *last != next;
        *last = next;
        is_news
    });
}

#[async_trait]
impl ObjectStore for LiveBucket {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.now().put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.now().put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.now().get_opts(location, options).await;
        note(&self.trouble, &result);
        result
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.now().delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let trouble = Arc::clone(&self.trouble);
        self.now().list(prefix).inspect(move |result| note(&trouble, result)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let result = self.now().list_with_delimiter(prefix).await;
        note(&self.trouble, &result);
        result
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.now().copy_opts(from, to, options).await
    }
}

impl fmt::Debug for LiveBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveBucket").field("location", &self.location).finish_non_exhaustive()
    }
}

impl fmt::Display for LiveBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.opened.lock().unwrap_or_else(PoisonError::into_inner).bucket)
    }
}
