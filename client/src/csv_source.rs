//! Rows from a CSV file.
use std::path::Path;

use opaque_pir::table::{Schema, Value};
use thiserror::Error;

/// Why a CSV file was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CsvError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Typed rows of a CSV file, in file order.
pub struct Reader {}

impl Reader {
    /// Opens a plain, gzip or zstd file, or standard input for `-`, and checks its header.
    pub fn open(_path: &Path, _schema: &Schema, _null: &str) -> Result<Self, CsvError> {
        todo!()
    }

    /// Bytes of the file (compressed, if it is) read so far.
    pub fn bytes_read(&self) -> u64 {
        todo!()
    }

    /// Size of the file, where it is one.
    pub fn total_bytes(&self) -> Option<u64> {
        todo!()
    }
}

impl Iterator for Reader {
    type Item = Result<Vec<Value>, CsvError>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
