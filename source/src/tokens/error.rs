//! Why bytes could not be split into records.

use std::{fmt, io};

use thiserror::Error;

use super::is_break;
use super::words::breaks;

/// A position in a file, in the terms of an editor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, counted from 1.
    pub line: u64,
    /// The column, counted from 1 in Unicode characters. In text that is not UTF-8, it is counted
    /// in bytes.
    pub column: u64,
}

impl Position {
    /// The position after `before`, which starts at the beginning of a line.
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

/// Why bytes could not be split into records.
#[derive(Debug, Error)]
pub enum TokenError {
    /// Reading failed.
    #[error("cannot read beyond line {line}: {source}")]
    Read {
        /// The line that was being read.
        line: u64,
        /// The I/O error.
        source: io::Error,
    },
    /// A record exceeds the size limit and was not read.
    #[error("line {line}: the record has more than {limit} bytes")]
    TooLong {
        /// Line on which the record begins.
        line: u64,
        /// The limit in bytes.
        limit: u64,
        /// The quote that was open where reading stopped.
        quote: Option<Position>,
    },
    /// The file ends inside a quoted field.
    #[error("{quote}: the quote is never closed")]
    Unclosed {
        /// The quote that opens the field.
        quote: Position,
    },
    /// Text follows a quoted field, before the next delimiter or line end.
    #[error("{quote}: text follows the quote at {closed}, which closes the field")]
    Followed {
        /// The quote that opens the field.
        quote: Position,
        /// The quote that closes it.
        closed: Position,
        /// Whether a backslash precedes that quote.
        escaped: bool,
        /// The first byte of the text.
        by: u8,
    },
}
