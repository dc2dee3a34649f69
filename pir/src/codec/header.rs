//! The header of all messages.

use std::fmt;

use super::{CodecError, Kind, LOOKUPS_PER_MESSAGE};
use crate::geometry::Geometry;
use crate::inline;
use crate::params::ParamsId;
use crate::reader::Reader;

/// Version of every message.
pub(super) const VERSION: u8 = 3;
/// Marker, version, parameters, epoch.
pub(super) const HEADER_BYTES: usize = 1 + 1 + 32 + 8;
/// Tags of evaluation material: a digest follows, nothing follows, a self-test.
pub(super) const REGISTERED_TAG: u8 = 0;
pub(super) const INLINE_TAG: u8 = 1;
pub(super) const PROBE_TAG: u8 = 2;

/// The kinds of message, identified by the first byte.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Marker {
    Query = b'Q',
    Slice = b'S',
    Partial = b'P',
    Answer = b'A',
}

pub(super) fn write_header(
    bytes: &mut Vec<u8>,
    marker: Marker,
    kind: Kind,
    geometry: &Geometry,
    epoch: u64,
) {
    bytes.push(marker as u8);
    bytes.push(VERSION);
    bytes.extend_from_slice(kind.params_id(geometry).as_bytes());
    bytes.extend_from_slice(&epoch.to_le_bytes());
}

/// Checks marker, version and the parameters of a known kind, and returns the epoch.
pub(super) fn read_header(
    reader: &mut Reader<'_>,
    marker: Marker,
    kind: Kind,
    geometry: &Geometry,
) -> Result<u64, CodecError> {
    let (expected, found) = (kind.params_id(geometry), read_start(reader, marker)?);
    if found != expected {
        return Err(CodecError::Params { expected, found });
    }
    Ok(reader.u64()?)
}

/// Like [`read_header`], for a known epoch and a message that states its kind later. Returns
/// whether its parameters are those of inline keys.
pub(super) fn read_open_header(
    reader: &mut Reader<'_>,
    marker: Marker,
    geometry: &Geometry,
    expected: u64,
) -> Result<bool, CodecError> {
    let found = read_start(reader, marker)?;
    let inline = inline::params_id(geometry) == found;
    let base = geometry.params_id();
    if !inline && found != base {
        return Err(CodecError::Params { expected: base, found });
    }
    match reader.u64()? {
        found if found == expected => Ok(inline),
        found => Err(CodecError::Epoch { expected, found }),
    }
}

fn read_start(reader: &mut Reader<'_>, marker: Marker) -> Result<ParamsId, CodecError> {
    let (expected, found) = (marker as u8, reader.u8()?);
    if found != expected {
        return Err(CodecError::Marker { expected, found });
    }
    let (expected, found) = (VERSION, reader.u8()?);
    if found != expected {
        return Err(CodecError::Version { expected, found });
    }
    Ok(ParamsId::from_bytes(reader.array()?))
}

/// Reads the number of lookups and checks its limit.
pub(super) fn read_lookups(reader: &mut Reader<'_>) -> Result<u16, CodecError> {
    check_lookups(reader.u16()?)
}

/// Reads the number of lookups, which must be `expected`.
pub(super) fn read_known_lookups(reader: &mut Reader<'_>, expected: u16) -> Result<(), CodecError> {
    match reader.u16()? {
        found if found == expected => check_lookups(found).map(drop),
        found => Err(CodecError::Lookups { expected: Some(expected), found }),
    }
}

pub(super) fn check_lookups(found: u16) -> Result<u16, CodecError> {
    let good = (1..=LOOKUPS_PER_MESSAGE).contains(&found);
    good.then_some(found).ok_or(CodecError::Lookups { expected: None, found })
}

/// Refuses anything but a strictly increasing sequence of numbers below `end`.
pub(super) fn check_sorted_set<T: Copy + Ord>(
    numbers: &[T],
    end: T,
    error: CodecError,
) -> Result<(), CodecError> {
    let increasing = numbers.is_sorted_by(|a, b| a < b);
    if increasing && numbers.last().is_none_or(|last| *last < end) { Ok(()) } else { Err(error) }
}

/// Name of a client's evaluation keys: a digest of their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of these keys.
    pub fn of(keys: &[u8]) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("opaque 2026-11 evaluation keys");
        Self(*hash.update(keys).finalize().as_bytes())
    }

    /// A digest from a message.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for KeyDigest {
    /// All 32 bytes in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({self})")
    }
}

/// The keys with which a query's hint product is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Material {
    /// Keys that were registered before.
    Registered(KeyDigest),
    /// Keys that each lookup carries.
    Inline,
}

impl Material {
    /// Its kind.
    pub fn kind(self) -> Kind {
        match self {
            Self::Registered(_) => Kind::Registered,
            Self::Inline => Kind::Inline,
        }
    }

    /// Writes its tag, and a digest if it has one.
    pub(super) fn write(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Registered(digest) => {
                bytes.push(REGISTERED_TAG);
                bytes.extend_from_slice(digest.as_bytes());
            }
            Self::Inline => bytes.push(INLINE_TAG),
        }
    }

    /// Reads the material, which must agree with the parameters in the header.
    pub(super) fn read(reader: &mut Reader<'_>, inline: bool) -> Result<Self, CodecError> {
        match (reader.u8()?, inline) {
            (REGISTERED_TAG, false) => Ok(Self::Registered(KeyDigest(reader.array()?))),
            (INLINE_TAG, true) => Ok(Self::Inline),
            (tag, _) => Err(CodecError::Material { tag }),
        }
    }
}
