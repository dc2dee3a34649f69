//! Where a row is in its file.

use std::fmt;

/// Where a row is in its file, for errors: `line 3`, or `row 3` of Parquet, which has no lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The line on which it begins, counted from 1 and with the header.
    Line(u64),
    /// Its number, counted from 1.
    Row(u64),
}

impl At {
    /// The number.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Line(number) | Self::Row(number) => number,
        }
    }

    /// Another place in the same file.
    pub(crate) fn with(self, number: u64) -> Self {
        match self {
            Self::Line(_) => Self::Line(number),
            Self::Row(_) => Self::Row(number),
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Row(number) => write!(f, "row {number}"),
        }
    }
}
