//! The link between clients and cluster for which a geometry is chosen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Rate of the clients' link in Mbit/s, in both directions, from 1 to 100,000. It is the weight of
/// transferred bytes against computation time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Link(u32);

impl Link {
    /// Maximum rate, in Mbit/s.
    pub const MAX_MBITS: u32 = 100_000;

    /// A link of this many Mbit/s.
    ///
    /// # Errors
    /// The rate is below 1 or above 100,000.
    pub fn new(mbits: u32) -> Result<Self, LinkError> {
        if (1..=Self::MAX_MBITS).contains(&mbits) { Ok(Self(mbits)) } else { Err(LinkError) }
    }

    /// The rate in Mbit/s, which equals bits per microsecond.
    pub fn mbits(self) -> u32 {
        self.0
    }
}

impl Default for Link {
    /// 50 Mbit/s, as for a home connection.
    fn default() -> Self {
        Self(50)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Mbit/s", self.0)
    }
}

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        text.parse().map_err(|_| LinkError).and_then(Self::new)
    }
}

impl TryFrom<u32> for Link {
    type Error = LinkError;

    fn try_from(mbits: u32) -> Result<Self, LinkError> {
        Self::new(mbits)
    }
}

impl From<Link> for u32 {
    fn from(link: Link) -> Self {
        link.0
    }
}

/// The rate is not from 1 to 100,000 Mbit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("write a number of Mbit/s from 1 to {}", Link::MAX_MBITS)]
pub struct LinkError;
