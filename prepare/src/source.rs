//! The source of the rows: a file, a web server, or a bucket, as a stream of bytes.
//!
//! A thread that may block parses the bytes. A channel of a few pieces connects it to the tasks
//! that receive them. The fault that broke the stream is kept next to the channel, since
//! [`std::io::Error`] cannot express who can fix it.

mod fault;
mod http;

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use opaque_source::{Compression, Input, SourceError};
use opaque_store::egress::Egress;
use opaque_store::error::Failure;
use opaque_store::{Location, Settings, SourceSettings};
use tokio::sync::mpsc;

pub(crate) use self::fault::SourceFault;
use self::fault::Trouble;
use crate::config::Config;

/// Pieces between the receiving and the parsing side. A piece has some tens of kilobytes.
const PIECES: usize = 16;

/// The fault that broke a stream, if there is one.
pub(crate) type FaultCell = Arc<Mutex<Option<SourceFault>>>;

/// Takes the fault that broke a stream.
pub(crate) fn take(fault: &FaultCell) -> Option<SourceFault> {
    fault.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A source that has responded.
pub(crate) struct Source {
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
    pub(crate) async fn connect(config: &Config, settings: &Settings) -> Result<Self, SourceFault> {
        let url = &config.source;
        let egress = Egress::new(config.allow_local_sources);
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        let (name, answer) = match (Location::parse(url), scheme) {
            (Some(location), _) => {
                let location = location.map_err(SourceFault::Url)?;
                let source = settings.of_source(&location, config.share_store_credentials);
                (url.clone(), bucket(url, &location, &source, &egress).await?)
            }
            (None, Some("http" | "https")) => http::get(config, &egress).await?,
            (None, None) => return file(url),
            (None, Some("file")) => return file(url.trim_start_matches("file://")),
            (None, Some(scheme)) => {
                return Err(SourceFault::Url(format!(
                    "{scheme}:// is not supported as a source: use http, https, s3, gs, az or a file"
                )));
            }
        };
        let Answer { total, bytes } = answer;
        let limit = config.max_source;
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
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The cell that receives a later fault of the stream.
    pub(crate) fn fault(&self) -> FaultCell {
        Arc::clone(&self.fault)
    }

    /// The bytes to parse. Blocks.
    pub(crate) fn into_input(self, compression: Compression) -> Result<Input, SourceError> {
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
