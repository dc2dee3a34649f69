//! Opens files: decompresses and counts their bytes.

mod foreign;
mod gzip;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::foreign::{Foreign, HEAD, foreign};
use self::gzip::Members;
use crate::SourceError;

/// Decompressed bytes.
pub(crate) type Bytes = Box<dyn Read + Send>;

/// Compression of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// gzip with one or several members, optionally padded with zeros.
    Gzip,
    /// Zstandard with one or several frames, skippable frames included.
    Zstd,
}

impl Compression {
    /// The compression according to the first bytes of a file.
    fn of(start: &[u8]) -> Self {
        if start.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable(start) {
            Self::Zstd
        } else {
            Self::None
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Whether a skippable frame comes first. pzstd stores the size of the next frame in such a frame.
fn is_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// A source of bytes for a table.
pub struct Input {
    name: String,
    bytes: Bytes,
    progress: Progress,
    is_compressed: bool,
    /// The file, if the bytes are those of a file without compression.
    file: Option<File>,
}

/// What an input consists of.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    pub(crate) progress: Progress,
    pub(crate) file: Option<File>,
}

/// How far a file has been read. Clones are cheap.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Input {
    /// Opens a file, or standard input for `-`. gzip and zstd are recognized by the first bytes,
    /// whatever the name is. But a file whose name ends in `.gz` or `.zst` must have that format.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let name = path.display().to_string();
        let Opened { source, total, file } = open(path, &name)?;
        Self::any(name, source, total).map(|input| input.of(file))
    }

    /// Reads bytes from any source, in any compression, as [`open`](Self::open) does. `name`
    /// appears in errors and must not contain a secret; `total` is the number of bytes before
    /// decompression, if known.
    pub fn open_stream(
        name: String,
        source: impl Read + Send + 'static,
        total: Option<u64>,
    ) -> Result<Self, SourceError> {
        Self::any(name, Box::new(source), total)
    }

    fn any(name: String, source: Bytes, total: Option<u64>) -> Result<Self, SourceError> {
        let extension = Path::new(&name).extension().map(OsStr::to_ascii_lowercase);
        let named = |ending: &str| extension.as_deref() == Some(OsStr::new(ending));
        let (mut input, counted) = Self::counted(name, source, total);
        let (head, bytes) = input.looked_at(counted)?;
        let found = Compression::of(&head);
        for (ending, promised) in [("gz", Compression::Gzip), ("zst", Compression::Zstd)] {
            if named(ending) && found == Compression::None {
                let format = promised.name();
                return Err(SourceError::NotCompressed { path: input.name, format });
            }
        }
        input.decompress(bytes, found)?;
        Ok(input)
    }

    /// Opens a file with the given `compression`.
    pub fn file(path: &Path, compression: Compression) -> Result<Self, SourceError> {
        let name = path.display().to_string();
        let Opened { source, total, file } = open(path, &name)?;
        Self::stream(name, source, total, compression).map(|input| input.of(file))
    }

    /// Reads bytes from any source. `name` appears in errors and must not contain a secret; `total`
    /// is the number of bytes before decompression, if known.
    pub fn stream(
        name: String,
        source: impl Read + Send + 'static,
        total: Option<u64>,
        compression: Compression,
    ) -> Result<Self, SourceError> {
        let (mut input, counted) = Self::counted(name, Box::new(source), total);
        let (head, bytes) = input.looked_at(counted)?;
        let found = Compression::of(&head);
        if found != compression {
            let (declared, found) = (compression.name(), found.name());
            return Err(SourceError::Compression { path: input.name, declared, found });
        }
        input.decompress(bytes, compression)?;
        Ok(input)
    }

    pub(crate) fn into_parts(self) -> Parts {
        let Self { name, bytes, progress, is_compressed: _, file } = self;
        Parts { name, bytes, progress, file }
    }

    fn of(mut self, file: Option<File>) -> Self {
        self.file = file.filter(|_| !self.is_compressed);
        self
    }

    fn counted(name: String, source: Bytes, total: Option<u64>) -> (Self, Counted) {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { source, read: Arc::clone(&read) };
        let progress = Progress { read, total };
        (
            Self { name, bytes: Box::new(io::empty()), progress, is_compressed: false, file: None },
            counted,
        )
    }

    /// Returns the first bytes of a file, and a reader of all its bytes. Refuses unsupported
    /// formats.
    fn looked_at(&self, counted: Counted) -> Result<(Vec<u8>, Headed<Counted>), SourceError> {
        let (head, bytes) = headed(counted).map_err(|source| self.failed(source))?;
        match foreign(&head) {
            Some(format) => Err(self.refused(format, "")),
            None => Ok((head, bytes)),
        }
    }

    fn decompress(
        &mut self,
        bytes: Headed<Counted>,
        compression: Compression,
    ) -> Result<(), SourceError> {
        self.is_compressed = compression != Compression::None;
        let buffered = BufReader::with_capacity(1 << 16, bytes);
        let decompressed: Bytes = match compression {
            Compression::None => {
                self.bytes = Box::new(buffered);
                return Ok(());
            }
            Compression::Gzip => Box::new(Members::new(buffered)),
            Compression::Zstd => {
                let decoder = zstd::Decoder::with_buffer(buffered);
                Box::new(decoder.map_err(|source| self.failed(source))?)
            }
        };
        let (head, bytes) = headed(decompressed).map_err(|source| SourceError::Read {
            path: self.name.clone(),
            line: 0,
            source,
        })?;
        if let Some(format) = foreign(&head) {
            return Err(self.refused(format, "once decompressed "));
        }
        if Compression::of(&head) != Compression::None {
            let remedy = "it is compressed twice: decompress it once";
            let twice = Foreign { name: Compression::of(&head).name(), remedy };
            return Err(self.refused(twice, "once decompressed "));
        }
        self.bytes = Box::new(bytes);
        Ok(())
    }

    fn refused(&self, format: Foreign, within: &'static str) -> SourceError {
        let Foreign { name: found, remedy } = format;
        SourceError::Format { path: self.name.clone(), within, found, remedy }
    }

    fn failed(&self, source: io::Error) -> SourceError {
        SourceError::Open { path: self.name.clone(), source }
    }
}

/// A reader of all bytes, including the first ones, which have been read already.
type Headed<R> = Chain<Cursor<Vec<u8>>, R>;

/// Reads the first [`HEAD`] bytes, or fewer at the end of the file. It reads repeatedly, because a
/// pipe may return one byte at a time.
fn headed<R: Read>(mut source: R) -> io::Result<(Vec<u8>, Headed<R>)> {
    let mut head = Vec::with_capacity(HEAD);
    source.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(source)))
}

impl Progress {
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn total_bytes(&self) -> Option<u64> {
        self.total
    }
}

/// A file, or standard input.
struct Opened {
    source: Bytes,
    total: Option<u64>,
    /// Another handle of a file that can be read from any position.
    file: Option<File>,
}

fn open(path: &Path, name: &str) -> Result<Opened, SourceError> {
    let failed = |source| SourceError::Open { path: name.to_owned(), source };
    if path.as_os_str() == "-" {
        return Ok(Opened { source: Box::new(io::stdin()), total: None, file: None });
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let total = metadata.is_file().then_some(metadata.len());
    let other = if metadata.is_file() { Some(file.try_clone().map_err(failed)?) } else { None };
    Ok(Opened { source: Box::new(file), total, file: other })
}

struct Counted {
    source: Bytes,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
