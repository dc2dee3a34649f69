//! The node extension of a certificate, in DER.
//!
//! ```text
//! OpaqueNode ::= SEQUENCE {
//!     version       INTEGER (1),
//!     shard         INTEGER (0..4294967295),
//!     zone          UTF8String (SIZE (0..63)),
//!     rack          UTF8String (SIZE (0..63)),
//!     ranges        SEQUENCE SIZE (1..256) OF SEQUENCE { first INTEGER, last INTEGER },
//!     capabilities  BIT STRING { evaluate(0), coordinate(1), transfer(2), admin(3) },
//!     role          ENUMERATED { node(0), operator(1) }
//! }
//! ```
//!
//! The identifier is `1.2.840.113556.1.8000.2554`, followed by the seven parts of the UUID
//! `acc463ef-ab93-4ead-8881-bb423a34775a`. This is the arc that Microsoft documents for identifiers
//! made from a UUID. (The arc 2.25 encodes a UUID as one number of 128 bits, which most libraries
//! cannot write.)

mod capabilities;
mod ranges;

use asn1_rs::{BitString, Enumerated, FromDer, ParseResult, Sequence, SerializeError, ToDer};
use thiserror::Error;

pub use capabilities::{Capabilities, Capability};
pub use ranges::{MAX_RANGES, Ranges, TokenRange};

/// The extension's object identifier.
pub const OID: &[u64] =
    &[1, 2, 840, 113556, 1, 8000, 2554, 44228, 25583, 43923, 20141, 34945, 12272186, 3438426];
/// Maximum bytes of a zone or a rack: the limit of a Kubernetes label value.
pub const MAX_LABEL: usize = 63;

const VERSION: u32 = 1;
/// Maximum bytes of the extension. Each range has at most 24 bytes.
const MAX_DER: usize = 512 + 24 * MAX_RANGES;

/// The permissions and attributes in a certificate, in addition to the name.
///
/// Invariant, enforced by [`Extension::new`] and [`Extension::from_der`]: zone and rack are valid
/// label values ([`MAX_LABEL`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    shard: u32,
    zone: String,
    rack: String,
    ranges: Ranges,
    capabilities: Capabilities,
    role: Role,
}

/// The kind of program that holds a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A node, which serves a shard.
    Node,
    /// The operator, which manages clusters.
    Operator,
}

impl Extension {
    /// An extension with these fields. `zone` and `rack` are empty if unknown.
    ///
    /// # Errors
    /// Zone or rack is not a valid label value.
    pub fn new(
        shard: u32,
        zone: &str,
        rack: &str,
        ranges: Ranges,
        capabilities: Capabilities,
        role: Role,
    ) -> Result<Self, ExtensionError> {
        for (part, text) in [("zone", zone), ("rack", rack)] {
            if !is_label_value(text) {
                return Err(ExtensionError::Label { part });
            }
        }
        let (zone, rack) = (zone.to_owned(), rack.to_owned());
        Ok(Self { shard, zone, rack, ranges, capabilities, role })
    }

    /// The extension of a shard's node: the whole ring, and a node's capabilities.
    ///
    /// # Errors
    /// The same as for [`Extension::new`].
    pub fn node(shard: u32, zone: &str, rack: &str) -> Result<Self, ExtensionError> {
        Self::new(shard, zone, rack, Ranges::whole(), Capabilities::NODE, Role::Node)
    }

    /// The shard that the holder serves.
    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// The holder's failure zone; empty if unknown.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// The holder's rack; empty if unknown.
    pub fn rack(&self) -> &str {
        &self.rack
    }

    /// The parts of the ring that the holder may serve.
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// What the holder may do.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The kind of program.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Encodes the extension's content. Equal values have equal encodings.
    pub fn to_der(&self) -> Vec<u8> {
        // The encoder fails only if the writer does, and a vector never fails.
        self.encode().unwrap_or_default()
    }

    /// Parses an extension's content. It must be the unique DER encoding, without trailing bytes.
    ///
    /// # Errors
    /// Any other bytes.
    pub fn from_der(der: &[u8]) -> Result<Self, ExtensionError> {
        if der.len() > MAX_DER {
            return Err(ExtensionError::Malformed);
        }
        let (rest, parts) = Parts::read(der).map_err(|_| ExtensionError::Malformed)?;
        let Parts { version, shard, zone, rack, ranges, bits, role } = parts;
        if version != VERSION {
            return Err(ExtensionError::Version(version));
        }
        let ranges = ranges.into_iter().map(|(first, last)| TokenRange::new(first, last));
        let ranges: Option<Vec<TokenRange>> = ranges.collect();
        let ranges = ranges.and_then(Ranges::new).ok_or(ExtensionError::Ranges)?;
        let capabilities = Capabilities::from_bits(bits).ok_or(ExtensionError::Capabilities)?;
        let role = match role {
            0 => Role::Node,
            1 => Role::Operator,
            _ => return Err(ExtensionError::Malformed),
        };
        let extension = Self::new(shard, &zone, &rack, ranges, capabilities, role)?;
        // Each value has one encoding, so this comparison detects anything that a lenient parser
        // accepted.
        if !rest.is_empty() || extension.to_der() != der {
            return Err(ExtensionError::Malformed);
        }
        Ok(extension)
    }

    fn encode(&self) -> Result<Vec<u8>, SerializeError> {
        let Self { shard, zone, rack, ranges, capabilities, role } = self;
        let mut spans = Vec::new();
        for range in ranges.as_slice() {
            let mut span = Vec::new();
            range.first().write_der(&mut span)?;
            range.last().write_der(&mut span)?;
            Sequence::new(span.into()).write_der(&mut spans)?;
        }
        let role: u32 = match role {
            Role::Node => 0,
            Role::Operator => 1,
        };
        let mut content = Vec::new();
        VERSION.write_der(&mut content)?;
        shard.write_der(&mut content)?;
        zone.as_str().write_der(&mut content)?;
        rack.as_str().write_der(&mut content)?;
        Sequence::new(spans.into()).write_der(&mut content)?;
        capabilities
            .with_bits(|unused, bytes| BitString::new(unused, bytes).write_der(&mut content))?;
        Enumerated::new(role).write_der(&mut content)?;
        Sequence::new(content.into()).to_der_vec()
    }
}

/// The decoded fields, unchecked.
struct Parts {
    version: u32,
    shard: u32,
    zone: String,
    rack: String,
    ranges: Vec<(u64, u64)>,
    bits: u8,
    role: u32,
}

impl Parts {
    fn read(der: &[u8]) -> ParseResult<'_, Self> {
        Sequence::from_der_and_then(der, |rest| {
            let (rest, version) = u32::from_der(rest)?;
            let (rest, shard) = u32::from_der(rest)?;
            let (rest, zone) = String::from_der(rest)?;
            let (rest, rack) = String::from_der(rest)?;
            let (rest, ranges) = Sequence::from_der_and_then(rest, |mut rest| {
                let mut ranges = Vec::new();
                while !rest.is_empty() {
                    let (after, range) = Sequence::from_der_and_then(rest, |rest| {
                        let (rest, first) = u64::from_der(rest)?;
                        let (rest, last) = u64::from_der(rest)?;
                        Ok((rest, (first, last)))
                    })?;
                    ranges.push(range);
                    rest = after;
                }
                Ok((rest, ranges))
            })?;
            let (rest, bits) = BitString::from_der(rest)?;
            let bits = bits.as_ref().first().copied().unwrap_or_default();
            let (rest, Enumerated(role)) = Enumerated::from_der(rest)?;
            Ok((rest, Self { version, shard, zone, rack, ranges, bits, role }))
        })
    }
}

/// Whether the text is empty or a valid Kubernetes label value.
fn is_label_value(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let end = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    let ends = end(text.bytes().next()) && end(text.bytes().next_back());
    text.len() <= MAX_LABEL && text.bytes().all(plain) && ends
}

/// Why an extension was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// The bytes are not the DER of the extension.
    #[error("the node extension is malformed")]
    Malformed,
    /// The version is unknown to this program.
    #[error("the node extension has version {0}, and this program knows version 1")]
    Version(u32),
    /// Zone or rack is not a valid label value.
    #[error("the {part} of a node extension must be the value of a Kubernetes label")]
    Label {
        /// `zone` or `rack`.
        part: &'static str,
    },
    /// The ranges are empty or too many, or they are not ascending with gaps between them.
    #[error("the ranges of a node extension must be 1 to {MAX_RANGES}, ascending and apart")]
    Ranges,
    /// The capability does not exist.
    #[error("the node extension names a capability that does not exist")]
    Capabilities,
}

#[cfg(test)]
mod tests;
