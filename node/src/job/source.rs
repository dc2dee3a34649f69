//! Where the rows are: a file, a web server, or a bucket. What comes out is a stream of bytes.
//!
//! The bytes are parsed by a thread that may block; a channel of a few pieces joins it to the tasks
//! that receive. What broke the stream is kept beside the channel: [`std::io::Error`] could not say
//! whose fault it was.

mod http;

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use opaque_source::{Compression, Input, SourceError};
use thiserror::Error;
use tokio::sync::mpsc;

use super::config::Config;
use super::report::Reason;
use crate::store::error::{Failure, FailureKind};
use crate::store::{Location, Settings};

/// Pieces between receiving and parsing; a piece is some tens of kilobytes.
const PIECES: usize = 16;

/// Why the source's bytes cannot be had. Texts hold no credentials and no query of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum SourceFault {
    /// It is not there.
    #[error("{0}")]
    NotFound(String),
    /// It wants other credentials.
    #[error("{0}")]
    Refused(String),
    /// It does not answer, or breaks off.
    #[error("{0}")]
    Unreadable(String),
    /// It is larger than allowed.
    #[error("{0}")]
    TooLarge(String),
}

impl SourceFault {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::NotFound(_) => Reason::SourceNotFound,
            Self::Refused(_) => Reason::SourceRefused,
            Self::Unreadable(_) => Reason::SourceUnreadable,
            Self::TooLarge(_) => Reason::TooLarge,
        }
    }
}

/// What broke a stream, once something has.
pub(super) type FaultCell = Arc<Mutex<Option<SourceFault>>>;

/// Takes what broke a stream.
pub(super) fn take(fault: &FaultCell) -> Option<SourceFault> {
    fault.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A source that has answered.
pub(super) struct Source {
    name: String,
    bytes: SourceBytes,
    fault: FaultCell,
}

enum SourceBytes {
    File(PathBuf),
    Network { pipe: Pipe, total: Option<u64> },
}

/// Bytes in the network, and how many.
struct Answer {
    total: Option<u64>,
    bytes: BoxStream<'static, Result<Bytes, SourceFault>>,
}

impl Source {
    /// Asks the source for its bytes.
    ///
    /// # Errors
    /// A fault that shows at once; one that comes later is in [`fault`](Self::fault).
    pub(super) async fn connect(config: &Config, settings: &Settings) -> Result<Self, SourceFault> {
        let url = &config.source;
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        let (name, answer) = match (Location::parse(url), scheme) {
            (Some(location), _) => {
                let location = location.map_err(SourceFault::Unreadable)?;
                (url.clone(), bucket(url, &location, settings).await?)
            }
            (None, Some("http" | "https")) => http::get(config).await?,
            (None, None) => return file(url),
            (None, Some("file")) => return file(url.trim_start_matches("file://")),
            (None, Some(scheme)) => {
                return Err(SourceFault::Unreadable(format!(
                    "{scheme}:// is no source: use http, https, s3, gs, az or a file"
                )));
            }
        };
        let Answer { total, bytes } = answer;
        let limit = config.max_source;
        let large = || {
            let mib = limit >> 20;
            SourceFault::TooLarge(format!("{name} has more than {mib} MiB (--max-source-mib)"))
        };
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

    /// The source as it may be shown.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What breaks the stream later on.
    pub(super) fn fault(&self) -> FaultCell {
        Arc::clone(&self.fault)
    }

    /// The bytes to parse. Blocks.
    pub(super) fn into_input(self, compression: Compression) -> Result<Input, SourceError> {
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
        Ok(_) => return Err(SourceFault::Unreadable(format!("{name} is no file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SourceFault::NotFound(format!("{name} does not exist")));
        }
        Err(error) => return Err(SourceFault::Unreadable(format!("{name}: {error}"))),
    }
    Ok(Source { name, bytes: SourceBytes::File(path), fault: FaultCell::default() })
}

async fn bucket(
    url: &str,
    location: &Location,
    settings: &Settings,
) -> Result<Answer, SourceFault> {
    let unusable = |reason| SourceFault::Unreadable(format!("{url}: {reason}"));
    let bucket = location.open(&settings.of_source(location)).map_err(unusable)?;
    let name = url.to_owned();
    let object = bucket.get(location.path()).await.map_err(|error| object_fault(&name, &error))?;
    let total = Some(object.meta.size);
    let bytes = object.into_stream().map_err(move |error| object_fault(&name, &error)).boxed();
    Ok(Answer { total, bytes })
}

fn object_fault(name: &str, error: &object_store::Error) -> SourceFault {
    let Failure { kind, detail, .. } = Failure::of(error);
    match kind {
        FailureKind::NotFound => SourceFault::NotFound(format!("{name} does not exist")),
        FailureKind::NoBucket => {
            SourceFault::NotFound(format!("{name}: the bucket does not exist ({detail})"))
        }
        FailureKind::Refused => {
            SourceFault::Refused(format!("{name}: access was refused ({detail})"))
        }
        FailureKind::Unreachable | FailureKind::Full | FailureKind::Other => {
            SourceFault::Unreadable(format!("{name}: {detail}"))
        }
    }
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
        // Ends with the stream, or when nobody reads any more.
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
