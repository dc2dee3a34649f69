//! The bytes of a file: decompressed and counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::SourceError;

/// Decompressed bytes.
pub(crate) type Bytes = Box<dyn Read + Send>;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one or several members.
    Gzip,
    /// Zstandard, of one or several frames.
    Zstd,
}

impl Compression {
    /// What the first bytes of a file say.
    fn of(start: &[u8]) -> Self {
        if start.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
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

/// Bytes to read a table from.
pub struct Input {
    name: String,
    bytes: Bytes,
    progress: Progress,
}

/// How far a file has been read; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Input {
    /// Opens a file, or standard input for `-`. gzip and zstd are recognised by the first bytes; a
    /// name that ends otherwise is no obstacle, but one that ends in `.gz` or `.zst` must be right.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let name = path.display().to_string();
        let (source, total) = open(path, &name)?;
        let named = |ending: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
        let (mut input, mut buffered) = Self::counted(name, source, total);
        let found = Compression::of(input.start(&mut buffered)?);
        for (ending, promised) in [("gz", Compression::Gzip), ("zst", Compression::Zstd)] {
            if named(ending) && found == Compression::None {
                let format = promised.name();
                return Err(SourceError::NotCompressed { path: input.name, format });
            }
        }
        input.decompress(buffered, found)?;
        Ok(input)
    }

    /// Opens a file that is compressed as `compression` says.
    pub fn file(path: &Path, compression: Compression) -> Result<Self, SourceError> {
        let name = path.display().to_string();
        let (source, total) = open(path, &name)?;
        Self::stream(name, source, total, compression)
    }

    /// Bytes from anywhere. `name` stands in errors, and must hold no secret; `total` is their number
    /// before decompression, where that is known.
    pub fn stream(
        name: String,
        source: impl Read + Send + 'static,
        total: Option<u64>,
        compression: Compression,
    ) -> Result<Self, SourceError> {
        let (mut input, mut buffered) = Self::counted(name, Box::new(source), total);
        let found = Compression::of(input.start(&mut buffered)?);
        if found != compression {
            let (declared, found) = (compression.name(), found.name());
            return Err(SourceError::Compression { path: input.name, declared, found });
        }
        input.decompress(buffered, compression)?;
        Ok(input)
    }

    pub(crate) fn into_parts(self) -> (String, Bytes, Progress) {
        let Self { name, bytes, progress } = self;
        (name, bytes, progress)
    }

    fn counted(name: String, source: Bytes, total: Option<u64>) -> (Self, BufReader<Counted>) {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { source, read: Arc::clone(&read) };
        let progress = Progress { read, total };
        let input = Self { name, bytes: Box::new(io::empty()), progress };
        (input, BufReader::with_capacity(1 << 16, counted))
    }

    fn start<'a>(&self, buffered: &'a mut BufReader<Counted>) -> Result<&'a [u8], SourceError> {
        buffered.fill_buf().map_err(|source| self.failed(source))
    }

    fn decompress(
        &mut self,
        buffered: BufReader<Counted>,
        compression: Compression,
    ) -> Result<(), SourceError> {
        self.bytes = match compression {
            Compression::None => Box::new(buffered),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
            Compression::Zstd => {
                let decoder = zstd::Decoder::with_buffer(buffered);
                Box::new(decoder.map_err(|source| self.failed(source))?)
            }
        };
        Ok(())
    }

    fn failed(&self, source: io::Error) -> SourceError {
        SourceError::Open { path: self.name.clone(), source }
    }
}

impl Progress {
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn total_bytes(&self) -> Option<u64> {
        self.total
    }
}

fn open(path: &Path, name: &str) -> Result<(Bytes, Option<u64>), SourceError> {
    let failed = |source| SourceError::Open { path: name.to_owned(), source };
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
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
