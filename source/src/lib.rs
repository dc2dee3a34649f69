//! Rows of a table from a file: CSV with a header, or JSON lines.
//!
//! **What.** [`Input`] is bytes, decompressed and counted; [`Reader`] turns them into values of a
//! schema; [`Encoded`] turns those into rows as the engine takes them, and finds keys that come
//! twice. `opaque load` and the program of a prepare Job read the same files through it.
//!
//! **Why errors matter here.** A file is written by somebody else, and most first loads fail. Every
//! error says on which line and in which column, what was expected, and what was found.
//!
//! **Map.** [`input`] opens; [`tokens`] finds the records of CSV, [`header`] its columns, [`csv_rows`]
//! and [`json_rows`] the values; [`reader`] is one of the two, as [`settings`] say; [`encoded`] checks what needs more than one
//! row; [`error`] says what was wrong, and [`shown`] how the file is quoted there.
//!
//! **Limits.** Nothing here does network I/O or is asynchronous: a source in the network is a
//! [`std::io::Read`]. Memory is one record, of at most [`MAX_RECORD_BYTES`], beside the digests of
//! KEY values.
#![forbid(unsafe_code)]

pub mod csv_rows;
pub mod encoded;
pub mod error;
pub mod header;
pub mod input;
pub mod json_rows;
pub mod reader;
pub mod settings;
pub mod shown;
pub mod tokens;

pub use encoded::Encoded;
pub use error::SourceError;
pub use header::HeaderMismatch;
pub use input::{Compression, Input};
pub use reader::Reader;
pub use settings::{CsvSettings, Format, Null};
pub use tokens::{Bent, Quotes};

/// Bytes of a record that is refused without being held in memory whole: far more than a row may
/// take, so that what is refused is a wrong quote or a file of another kind.
pub const MAX_RECORD_BYTES: u32 = 16 << 20;
