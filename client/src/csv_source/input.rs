//! The bytes of a CSV file: decompressed, counted, and with their line breaks remembered.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::CsvError;

type Bytes = Box<dyn Read + Send>;

/// How far a file has been read.
pub(super) struct Input {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Input {
    /// Opens a file, or standard input for `-`. The second part is its decompressed bytes.
    pub(super) fn open(path: &Path) -> Result<(Self, Bytes), CsvError> {
        let shown = || path.display().to_string();
        let failed = |source| CsvError::Open { path: shown(), source };
        let read = Arc::new(AtomicU64::new(0));
        let (source, total): (Bytes, _) = if path.as_os_str() == "-" {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        };
        let counted = Counted { source, read: Arc::clone(&read) };
        let mut buffered = BufReader::with_capacity(1 << 16, counted);
        let start = buffered.fill_buf().map_err(failed)?;
        let named = |ending: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
        let bytes: Bytes = if start.starts_with(&[0x1f, 0x8b]) {
            Box::new(flate2::bufread::MultiGzDecoder::new(buffered))
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Box::new(zstd::Decoder::with_buffer(buffered).map_err(failed)?)
        } else if named("gz") {
            return Err(CsvError::NotCompressed { path: shown(), format: "gzip" });
        } else if named("zst") {
            return Err(CsvError::NotCompressed { path: shown(), format: "zstd" });
        } else {
            Box::new(buffered)
        };
        Ok((Self { read, total }, bytes))
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(super) fn total_bytes(&self) -> Option<u64> {
        self.total
    }
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

/// Bytes whose line breaks are remembered until they are passed. The CSV parser's own count is off
/// by one after CR LF, whose LF it takes for the next record's beginning.
pub(super) struct Lines {
    bytes: Bytes,
    offset: u64,
    /// Offsets of CR and LF not passed yet, and whether each is an LF.
    breaks: VecDeque<(u64, bool)>,
    line: u64,
}

impl Lines {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, offset: 0, breaks: VecDeque::new(), line: 1 }
    }

    /// Line of the first byte from `offset` on that is no line break. Offsets must not decrease.
    pub(super) fn line_of(&mut self, offset: u64) -> u64 {
        let mut start = offset;
        while let Some((at, feed)) = self.breaks.front().copied().filter(|(at, _)| *at <= start) {
            start = start.max(at.saturating_add(1));
            self.line += u64::from(feed);
            self.breaks.pop_front();
        }
        self.line
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.bytes.read(buffer)?;
        for (at, byte) in (self.offset..).zip(buffer.iter().take(length)) {
            if matches!(byte, b'\n' | b'\r') {
                self.breaks.push_back((at, *byte == b'\n'));
            }
        }
        self.offset += length as u64;
        Ok(length)
    }
}
