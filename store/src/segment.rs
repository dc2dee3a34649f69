//! A segment: one partition, or one plane of the hint, as an object.
//!
//! ```text
//! 0   marker "OPAQSEG"      7 bytes
//! 7   version               u8, 1
//! 8   kind                  u8, 1 partition, 2 plane
//! 9   codec                 u8, 0 as it is
//! 10  zeros                 6 bytes
//! 16  payload bytes         u64, little endian
//! 24  digest                32 bytes, BLAKE3 of bytes 0..24 and the payload
//! 56  payload               partition: row-major bytes; plane: u32, little endian, row-major
//! ```
//!
//! The codec has one value because whitened bytes and hint entries are uniform. Compression makes
//! them larger, as a test shows. The field leaves room for content that is not uniform.

use opaque_pir::reader::{ReadError, Reader};

use crate::digest::Digest;

/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 56;

const MARKER: &[u8; 7] = b"OPAQSEG";
const VERSION: u8 = 1;
const RAW: u8 = 0;
/// Header bytes that the digest covers.
const COVERED: usize = 24;

/// Content of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Partition,
    Plane,
}

impl Kind {
    fn tag(self) -> u8 {
        match self {
            Self::Partition => 1,
            Self::Plane => 2,
        }
    }
}

/// The header for a payload, and the digest in it.
pub(crate) fn header(kind: Kind, payload: &[u8]) -> (Vec<u8>, Digest) {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MARKER);
    header.extend_from_slice(&[VERSION, kind.tag(), RAW, 0, 0, 0, 0, 0, 0]);
    header.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let digest = digest(&header, payload);
    header.extend_from_slice(&digest.0);
    (header, digest)
}

/// The payload of a segment, after these checks: it has `kind` and `payload_bytes`, every byte is
/// as it was written, and its digest is `expected`.
pub(crate) fn payload<'a>(
    bytes: &'a [u8],
    kind: Kind,
    payload_bytes: usize,
    expected: &Digest,
) -> Result<&'a [u8], String> {
    let (covered, _) = bytes.split_at_checked(COVERED).ok_or("truncated")?;
    let header = Header::read(bytes).map_err(|error| error.to_string())?;
    let Header { marker, version, kind: found, codec, reserved, length, digest: written, payload } =
        header;
    if marker != *MARKER {
        return Err("it is not a segment".to_owned());
    }
    if version != VERSION {
        return Err(format!("segment version {version}; this node knows {VERSION}"));
    }
    if found != kind.tag() || codec != RAW || reserved != [0; 6] {
        return Err(format!("kind {found} and codec {codec} where a raw {kind:?} was expected"));
    }
    if length != payload_bytes as u64 || payload.len() != payload_bytes {
        let found = payload.len();
        return Err(format!("{found} of {length} bytes of payload; {payload_bytes} expected"));
    }
    if digest(covered, payload).0 != written {
        return Err("the checksum does not match".to_owned());
    }
    if expected.0 != written {
        return Err("it is not the segment that the manifest names".to_owned());
    }
    Ok(payload)
}

struct Header<'a> {
    marker: [u8; 7],
    version: u8,
    kind: u8,
    codec: u8,
    reserved: [u8; 6],
    length: u64,
    digest: [u8; 32],
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            marker: reader.array()?,
            version: reader.u8()?,
            kind: reader.u8()?,
            codec: reader.u8()?,
            reserved: reader.array()?,
            length: reader.u64()?,
            digest: reader.array()?,
            payload: reader.take(reader.remaining())?,
        })
    }
}

fn digest(header: &[u8], payload: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("opaque 2026-11 segment");
    hasher.update(header);
    hasher.update(payload);
    Digest(*hasher.finalize().as_bytes())
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the tests' numbers are small")]
mod tests;
