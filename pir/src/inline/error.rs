//! Errors of inline keys.

use thiserror::Error;

use crate::params::PLANE_ROWS;

/// Why an input was refused. It contains nothing of the input's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InlineError {
    /// An input does not have the size that the parameter set determines.
    #[error("{what}: expected {expected}, found {found}")]
    Size {
        /// The input.
        what: &'static str,
        /// The required size.
        expected: usize,
        /// The size given.
        found: usize,
    },
    /// A value is not below its modulus.
    #[error("{what}: a value is out of range")]
    Range {
        /// The input.
        what: &'static str,
    },
    /// The kernel needs instructions that this machine lacks.
    #[error("this machine does not run the {kernel} kernel")]
    Kernel {
        /// Its name.
        kernel: &'static str,
    },
}

impl InlineError {
    /// The error for a plane with a wrong number of rows.
    pub fn rows(found: usize) -> Self {
        Self::Size { what: "rows of a plane", expected: PLANE_ROWS, found }
    }

    /// Refuses a size other than the expected one.
    pub fn check_size(what: &'static str, expected: usize, found: usize) -> Result<(), Self> {
        if found == expected { Ok(()) } else { Err(Self::Size { what, expected, found }) }
    }
}
