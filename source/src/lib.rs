//! Reads the rows of a table from a file: delimited text, JSON or Parquet.
//!
//! **What.** [`Input`] provides decompressed and counted bytes. [`Reader`] parses them to values of
//! a schema. [`Encoded`] encodes the values as rows for the engine and detects duplicate keys.
//! `opaque load` and the program of a prepare Job read the same kinds of files with this crate.
//!
//! **Why errors matter here.** Files come from other people and programs, and most first loads
//! fail. Every error states the line and the column, what was expected, and what was found.
//!
//! **Map.** [`input`] opens a file; [`dialect`] detects how delimited text is written, [`tokens`]
//! finds its records, [`header`] matches its columns; [`csv_rows`], [`json_rows`] and
//! `parquet_rows` parse values; [`reader`] selects one of the three according to [`settings`];
//! [`encoded`] performs the checks across rows and files; [`error`] describes what is wrong, and
//! [`shown`] how errors quote the file. [`survey`] reads a file of which no schema is known. The
//! feature `parquet` adds Parquet.
//!
//! **Limits.** This crate does no network I/O and is not asynchronous: a source in the network is
//! passed as a [`std::io::Read`]. It holds one record of at most [`MAX_RECORD_BYTES`] in memory, in
//! addition to the digests of KEY values.
#![forbid(unsafe_code)]

mod at;
pub mod csv_rows;
pub mod dialect;
pub mod encoded;
pub mod error;
#[cfg(test)]
mod fixtures;
pub mod header;
pub mod input;
pub mod json_rows;
mod names;
#[cfg(feature = "parquet")]
pub mod parquet_rows;
pub mod reader;
mod sample;
pub mod settings;
pub mod shown;
pub mod survey;
pub mod tokens;
mod values;

pub use at::At;
pub use dialect::Detected;
pub use encoded::Encoded;
pub use error::SourceError;
pub use header::HeaderMismatch;
pub use input::{Compression, Input};
pub use reader::Reader;
pub use settings::{ColumnSource, Delimiter, Dialect, Format, Limit, Mark, Null, Settings};
pub use survey::{Survey, Surveyed, SurveyedColumn};
pub use tokens::{Bent, Quotes};

/// Size limit of a record. A larger record is refused before it is held in memory as a whole. The
/// limit is far above that of a row, so that only a wrong quote or another kind of file exceeds it.
pub const MAX_RECORD_BYTES: u32 = 16 << 20;
