//! The source of a table's rows: a file, a web server, or a bucket, as a stream of bytes.
//!
//! **What.** [`Source::connect`] opens what a URL names, and [`Source::into_input`] or
//! [`Source::into_any_input`] give its bytes to `opaque-source`. The program of a prepare Job and
//! `opaque load` read URLs with this crate.
//!
//! **Flow.** A thread that may block parses the bytes. A channel of a few pieces connects it to the tasks
//! that receive them. The fault that broke the stream is kept next to the channel, since
//! [`std::io::Error`] cannot express who can fix it.
//!
//! **Map.** `http` requests a file from a web server; [`fault`] describes why that failed, for a log
//! and for a status; `opaque_store` opens buckets and limits which servers are reached.
//!
//! **Limits.** Only buckets and web servers are reached, and redirects within the rules of
//! [`opaque_store::egress`]. This crate knows no schema and no format.
#![forbid(unsafe_code)]

pub mod fault;
mod http;

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use opaque_source::{Compression, Input, SourceError};
use opaque_store::egress::Egress;
use opaque_store::error::Failure;
use opaque_store::{Location, Settings, SourceSettings};
use tokio::sync::mpsc;

pub use self::fault::SourceFault;
use self::fault::Trouble;

/// Pieces between the receiving and the parsing side. A piece has some tens of kilobytes.
const PIECES: usize = 16;

/// The fault that broke a stream, if there is one.
pub type FaultCell = Arc<Mutex<Option<SourceFault>>>;

/// Takes the fault that broke a stream.
pub fn take(fault: &FaultCell) -> Option<SourceFault> {
    fault.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What to read, and within which limits.
#[derive(Debug, Clone)]
pub struct Request {
    /// `http://`, `https://`, `s3://`, `gs://`, `az://`, `file://`, or a path.
    pub url: String,
    /// Whether loopback and link-local addresses, and those of a cloud's metadata server, are read.
    pub allow_local: bool,
    /// Whether a bucket without credentials of its own is read with those of the store.
    pub share_store_credentials: bool,
    /// Most bytes, as transferred.
    pub max_bytes: u64,
    /// Longest time without data.
    pub timeout: Duration,
    /// The value of the header `User-Agent`.
    pub agent: &'static str,
}

/// Whether a source is a URL rather than a path.
pub fn is_url(source: &str) -> bool {
    source.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// A source that has responded.
pub struct Source {
    name: String,
    bytes: SourceBytes,
    fault: FaultCell,
}

enum SourceBytes {
    File(PathBuf),
    Network { pipe: Pipe, total: Option<u64> },
}

/// A stream of bytes from the network, and its length if known.
struct Answer {
    total: Option<u64>,
    bytes: BoxStream<'static, Result<Bytes, SourceFault>>,
}

impl Source {
    /// Opens the source.
    ///
    /// # Errors
    /// A fault that shows at once. Later faults are in [`fault`](Self::fault).
    pub async fn connect(request: &Request, settings: &Settings) -> Result<Self, SourceFault> {
        let url = &request.url;
        let egress = Egress::new(request.allow_local);
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        let (name, answer) = match (Location::parse(url), scheme) {
            (Some(location), _) => {
                let location = location.map_err(SourceFault::Url)?;
                let source = settings.of_source(&location, request.share_store_credentials);
                (url.clone(), bucket(url, &location, &source, &egress).await?)
            }
            (None, Some("http" | "https")) => http::get(request, &egress).await?,
            (None, None) => return file(url),
            (None, Some("file")) => return file(url.trim_start_matches("file://")),
            (None, Some(scheme)) => {
                return Err(SourceFault::Url(format!(
                    "{scheme}:// is not supported as a source: use http, https, s3, gs, az or a file"
                )));
            }
        };
        let Answer { total, bytes } = answer;
        let limit = request.max_bytes;
        let large = || SourceFault::TooLarge { name: name.clone(), limit_mib: limit >> 20 };
        if total.is_some_and(|total| total > limit) {
            return Err(large());
        }
        let too_large = large();
        let mut received = 0;
        let bounded = bytes.and_then(move |piece: Bytes| {
            received += piece.len() as u64;
            let piece = if received > limit { Err(too_large.clone()) } else { Ok(piece) };
            std::future::ready(piece)
        });
        let fault = FaultCell::default();
        let pipe = Pipe::new(bounded.boxed(), Arc::clone(&fault));
        Ok(Self { name, bytes: SourceBytes::Network { pipe, total }, fault })
    }

    /// The source's name as it may be shown.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cell that receives a later fault of the stream.
    pub fn fault(&self) -> FaultCell {
        Arc::clone(&self.fault)
    }

    /// The bytes to parse, in whatever compression they are. Blocks.
    pub fn into_any_input(self) -> Result<Input, SourceError> {
        match self.bytes {
            SourceBytes::File(path) => Input::open(&path),
            SourceBytes::Network { pipe, total } => Input::open_stream(self.name, pipe, total),
        }
    }

    /// The bytes to parse, which must have this compression. Blocks.
    pub fn into_input(self, compression: Compression) -> Result<Input, SourceError> {
        match self.bytes {
            SourceBytes::File(path) => Input::file(&path, compression),
            SourceBytes::Network { pipe, total } => {
                Input::stream(self.name, pipe, total, compression)
            }
        }
    }
}

fn file(path: &str) -> Result<Source, SourceFault> {
    let path = PathBuf::from(path);
    let name = path.display().to_string();
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(SourceFault::NoFile { name }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SourceFault::Missing { name });
        }
        Err(error) => return Err(SourceFault::broken(&name, &error)),
    }
    Ok(Source { name, bytes: SourceBytes::File(path), fault: FaultCell::default() })
}

async fn bucket(
    url: &str,
    location: &Location,
    source: &SourceSettings,
    egress: &Egress,
) -> Result<Answer, SourceFault> {
    let unusable = |detail| SourceFault::Settings { name: url.to_owned(), detail };
    let bucket = location.open_source(source, egress).map_err(unusable)?;
    let (name, signed_by) = (url.to_owned(), source.signed_by());
    let failed = move |error: object_store::Error| {
        let trouble = Trouble::of(&error);
        let Failure { kind, detail, status, .. } = Failure::of(&error);
        SourceFault::Bucket { name: name.clone(), kind, status, signed_by, trouble, detail }
    };
    let object = bucket.get(location.path()).await.map_err(&failed)?;
    let total = Some(object.meta.size);
    Ok(Answer { total, bytes: object.into_stream().map_err(failed).boxed() })
}

/// The reading end of a stream, for a thread that may block.
struct Pipe {
    pieces: mpsc::Receiver<Result<Bytes, SourceFault>>,
    piece: Bytes,
    fault: FaultCell,
}

impl Pipe {
    fn new(mut bytes: BoxStream<'static, Result<Bytes, SourceFault>>, fault: FaultCell) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES);
        // Ends with the stream, or when the reader is gone.
        tokio::spawn(async move {
            while let Some(piece) = bytes.next().await {
                let last = piece.is_err();
                if sender.send(piece).await.is_err() || last {
                    return;
                }
            }
        });
        Self { pieces, piece: Bytes::new(), fault }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(fault)) => {
                    let error = io::Error::other(fault.clone());
                    *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
                    return Err(error);
                }
            }
        }
        let length = self.piece.len().min(buffer.len());
        let taken = self.piece.split_to(length);
        if let Some(start) = buffer.get_mut(..length) {
            start.copy_from_slice(&taken);
        }
        Ok(length)
    }
}
