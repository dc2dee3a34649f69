//! What a certificate's holder may do.

use std::fmt;

/// One permission of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Compute its shard's part of a query.
    Evaluate,
    /// Have other nodes compute their parts of a query.
    Coordinate,
    /// Transfer keys and partitions.
    Transfer,
    /// Manage a cluster.
    Admin,
}

impl Capability {
    const ALL: [Self; 4] = [Self::Evaluate, Self::Coordinate, Self::Transfer, Self::Admin];

    /// In a DER bit string, bit 0 is the highest bit of the first byte.
    const fn bit(self) -> u8 {
        match self {
            Self::Evaluate => 0x80,
            Self::Coordinate => 0x40,
            Self::Transfer => 0x20,
            Self::Admin => 0x10,
        }
    }

    /// The capability's name in documents and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Coordinate => "coordinate",
            Self::Transfer => "transfer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u8);

impl Capabilities {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// The capabilities that a node needs: evaluate, coordinate and transfer.
    pub const NODE: Self = Self::NONE
        .with(Capability::Evaluate)
        .with(Capability::Coordinate)
        .with(Capability::Transfer);

    /// The set with one more capability.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.bit())
    }

    /// Whether the set contains a capability.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// Decodes the first byte of a bit string. Returns `None` if an unknown bit is set.
    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        let known = Capability::ALL.iter().fold(0, |known, one| known | one.bit());
        (bits & !known == 0).then_some(Self(bits))
    }

    /// Passes the number of unused bits and the bytes of the bit string to `write`. DER omits
    /// trailing zero bits.
    pub(super) fn with_bits<T>(self, write: impl FnOnce(u8, &[u8]) -> T) -> T {
        match self.0 {
            0 => write(0, &[]),
            bits => write(u8::try_from(bits.trailing_zeros()).unwrap_or(0), &[bits]),
        }
    }
}
