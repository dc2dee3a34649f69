//! A store for tests that control its faults. Tests of `opaque-node` include this file too.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fmt, io};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::{Notify, watch};

/// Files on a disk that is full until something is deleted, and that may be slow to find the first
/// segments.
#[derive(Debug)]
pub(crate) struct Disk {
    files: LocalFileSystem,
    /// Set by a test.
    pub(crate) full: AtomicBool,
    /// Number of segments that are delivered only once all of them have been requested; set by a
    /// test.
    pub(crate) together: AtomicUsize,
    asked: Notify,
    /// Part of a path. Matching objects are delivered when this changes; set by a test.
    pub(crate) held_back: watch::Sender<Option<&'static str>>,
    /// Whether all reads fail, as if the server did not respond; set by a test.
    pub(crate) away: AtomicBool,
    /// Every requested object.
    pub(crate) reads: Mutex<Vec<String>>,
}

impl Disk {
    pub(crate) fn new(directory: &std::path::Path) -> Self {
        let files = LocalFileSystem::new_with_prefix(directory).unwrap();
        Self {
            files,
            full: AtomicBool::new(false),
            together: AtomicUsize::new(0),
            asked: Notify::new(),
            held_back: watch::Sender::new(None),
            away: AtomicBool::new(false),
            reads: Mutex::default(),
        }
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", self.files)
    }
}

#[async_trait]
impl ObjectStore for Disk {
    async fn put_opts(&self, path: &Path, parts: PutPayload, how: PutOptions) -> Result<PutResult> {
        if self.full.load(Ordering::SeqCst) {
            let source = io::Error::from(io::ErrorKind::StorageFull).into();
            return Err(object_store::Error::Generic { store: "disk", source });
        }
        self.files.put_opts(path, parts, how).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.lock().unwrap().push(path.to_string());
        if self.away.load(Ordering::SeqCst) {
            let source = "Error performing GET http://store:9000: no answer".into();
            return Err(object_store::Error::Generic { store: "disk", source });
        }
        let passes = |held: &Option<&str>| held.is_none_or(|part| !path.as_ref().contains(part));
        self.held_back.subscribe().wait_for(passes).await.unwrap();
        let segment = path.as_ref().contains("/partition-");
        let count = |left: usize| left.checked_sub(1);
        if segment && self.together.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_ok()
        {
            let mut asked = std::pin::pin!(self.asked.notified());
            asked.as_mut().enable();
            if self.together.load(Ordering::SeqCst) == 0 {
                self.asked.notify_waiters();
            }
            asked.await;
        }
        self.files.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.full.store(false, Ordering::SeqCst);
        self.files.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}
