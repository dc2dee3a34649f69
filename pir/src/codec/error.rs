//! Why a message was refused.

use thiserror::Error;

use super::LOOKUPS_PER_MESSAGE;
use crate::params::ParamsId;
use crate::reader::ReadError;

/// Why a message could not be read or written. It contains no content of a query.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The message ends too early.
    #[error("truncated message")]
    Truncated,
    /// The message continues after its end.
    #[error("message is {extra} bytes too long")]
    Oversized {
        /// Bytes beyond the end.
        extra: usize,
    },
    /// The marker is that of another kind of message, or unknown.
    #[error("wrong kind of message: expected {expected:#04x}, found {found:#04x}")]
    Marker {
        /// Marker of the expected message.
        expected: u8,
        /// The first byte.
        found: u8,
    },
    /// The version is unknown to this build.
    #[error("message version mismatch: expected {expected}, found {found}")]
    Version {
        /// Version of this build.
        expected: u8,
        /// The message's version.
        found: u8,
    },
    /// The parameter set, layout or geometry differs.
    #[error("parameter mismatch: expected {expected}, found {found}")]
    Params {
        /// The index's parameters.
        expected: ParamsId,
        /// The message's parameters.
        found: ParamsId,
    },
    /// The epoch differs.
    #[error("epoch mismatch: expected {expected}, found {found}")]
    Epoch {
        /// The expected epoch.
        expected: u64,
        /// The message's epoch.
        found: u64,
    },
    /// This message does not permit evaluation material of this kind.
    #[error("evaluation material of kind {tag} is not accepted in this message")]
    Material {
        /// The message's tag.
        tag: u8,
    },
    /// The number of lookups is zero, too large, or not the expected one.
    #[error("{found} lookups where {} expected", expected_lookups(*.expected))]
    Lookups {
        /// The expected number, if there is one.
        expected: Option<u16>,
        /// The message's number.
        found: u16,
    },
    /// The partitions are not strictly increasing, or exceed the geometry.
    #[error("partitions are not sorted, not distinct, or beyond the geometry")]
    Partitions,
    /// The planes are not strictly increasing, or exceed the geometry.
    #[error("planes are not sorted, not distinct, or beyond the geometry")]
    Planes,
    /// A field has a value that no encoder writes.
    #[error("invalid {field}")]
    Invalid {
        /// The field.
        field: &'static str,
    },
    /// A value to encode does not have the size that the geometry determines.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// The value and its unit.
        what: &'static str,
        /// The required size.
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
