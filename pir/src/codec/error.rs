//! Why a message was refused.

use thiserror::Error;

use super::LOOKUPS_PER_MESSAGE;
use crate::params::ParamsId;
use crate::reader::ReadError;

/// Why a message could not be read or written. Carries nothing of a query's content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The message ends too early.
    #[error("truncated message")]
    Truncated,
    /// The message goes on after its end.
    #[error("message is {extra} bytes too long")]
    Oversized {
        /// Bytes beyond the end.
        extra: usize,
    },
    /// Another kind of message, or no message at all.
    #[error("wrong kind of message: expected {expected:#04x}, found {found:#04x}")]
    Marker {
        /// Marker of the message that was asked for.
        expected: u8,
        /// The first byte.
        found: u8,
    },
    /// A version that this build does not know.
    #[error("message version mismatch: expected {expected}, found {found}")]
    Version {
        /// Version of this build.
        expected: u8,
        /// The message's version.
        found: u8,
    },
    /// Another parameter set, layout or geometry.
    #[error("parameter mismatch: expected {expected}, found {found}")]
    Params {
        /// The index's parameters.
        expected: ParamsId,
        /// The message's parameters.
        found: ParamsId,
    },
    /// Another version of the table's data.
    #[error("epoch mismatch: expected {expected}, found {found}")]
    Epoch {
        /// The epoch that was asked for.
        expected: u64,
        /// The message's epoch.
        found: u64,
    },
    /// Evaluation material of a kind that this build does not accept here.
    #[error("evaluation material of kind {tag} is not accepted in this message")]
    Material {
        /// The message's tag.
        tag: u8,
    },
    /// No lookups, too many, or not as many as expected.
    #[error("{found} lookups where {} expected", expected_lookups(*.expected))]
    Lookups {
        /// The number that was asked for, if it was.
        expected: Option<u16>,
        /// The message's number.
        found: u16,
    },
    /// Partitions that are not strictly increasing or beyond the geometry.
    #[error("partitions are not sorted, not distinct, or beyond the geometry")]
    Partitions,
    /// Planes that are not strictly increasing or beyond the geometry.
    #[error("planes are not sorted, not distinct, or beyond the geometry")]
    Planes,
    /// A field with a value that no encoder writes.
    #[error("invalid {field}")]
    Invalid {
        /// The field.
        field: &'static str,
    },
    /// A value to encode has another size than the geometry fixes.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// The value, and its unit.
        what: &'static str,
        /// The right size.
        expected: usize,
        /// The size given.
        found: usize,
    },
}

fn expected_lookups(expected: Option<u16>) -> String {
    expected
        .map_or_else(|| format!("1 to {LOOKUPS_PER_MESSAGE} are"), |number| format!("{number} are"))
}

impl From<ReadError> for CodecError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Truncated => Self::Truncated,
            ReadError::Trailing(extra) => Self::Oversized { extra },
            ReadError::Invalid(field) => Self::Invalid { field },
        }
    }
}
