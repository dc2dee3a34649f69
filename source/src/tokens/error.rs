//! Why bytes are no records.

use std::{fmt, io};

use thiserror::Error;

use super::is_break;
use super::words::breaks;

/// A place in a file, as an editor shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Its line, from 1.
    pub line: u64,
    /// Its character in the line, from 1. A character is one of Unicode; where the text is not UTF-8,
    /// a byte is.
    pub column: u64,
}

impl Position {
    /// The place behind `before`, which begins a line.
    pub(super) fn of(before: &[u8], line: u64) -> Self {
        let last = before.iter().rposition(|byte| is_break(*byte)).map_or(0, |at| at + 1);
        let text = before.get(last..).unwrap_or_default();
        let is_first_byte = |byte: &&u8| **byte & 0xc0 != 0x80;
        let characters = match std::str::from_utf8(text) {
            Ok(_) => text.iter().filter(is_first_byte).count(),
            Err(_) => text.len(),
        };
        Self { line: line + breaks(before), column: characters as u64 + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why bytes are no records.
#[derive(Debug, Error)]
pub enum TokenError {
    /// Reading failed.
    #[error("cannot read beyond line {line}: {source}")]
    Read {
        /// The line that was being read.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// A record is so long that it was not read.
    #[error("line {line}: the record has more than {limit} bytes")]
    TooLong {
        /// Where it begins.
        line: u64,
        /// The bound, bytes.
        limit: u64,
        /// The quote that is open where reading stopped.
        quote: Option<Position>,
    },
    /// The file ends in a quoted field.
    #[error("{quote}: the quote is never closed")]
    Unclosed {
        /// The quote that opens the field.
        quote: Position,
    },
    /// Text stands between a quoted field and the next delimiter or line end.
    #[error("{quote}: text follows the quote at {closed}, which closes the field")]
    Followed {
        /// The quote that opens the field.
        quote: Position,
        /// The quote that closes it.
        closed: Position,
        /// Whether a backslash stands before that.
        escaped: bool,
        /// What follows.
        by: u8,
    },
}
