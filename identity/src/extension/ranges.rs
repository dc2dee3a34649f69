//! Parts of the hash ring.

/// Maximum number of ranges in a certificate.
pub const MAX_RANGES: usize = 256;

/// A range of positions on the ring, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRange {
    first: u64,
    last: u64,
}

impl TokenRange {
    /// The range of all positions.
    pub const WHOLE: Self = Self { first: 0, last: u64::MAX };

    /// The range `first..=last`, or `None` if it is empty.
    pub fn new(first: u64, last: u64) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The first position.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The last position.
    pub fn last(&self) -> u64 {
        self.last
    }
}

/// A set of positions.
///
/// Invariant, enforced by [`Ranges::new`]: the set has 1 to [`MAX_RANGES`] ranges in ascending
/// order, with a gap between neighbours. Each set of positions therefore has one representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges(Vec<TokenRange>);

impl Ranges {
    /// Checks the type's invariant. Returns `None` if it does not hold.
    pub fn new(ranges: Vec<TokenRange>) -> Option<Self> {
        let apart = ranges.windows(2).all(|pair| {
            let [before, after] = pair else { return true };
            before.last.checked_add(1).is_some_and(|next| next < after.first)
        });
        let count = (1..=MAX_RANGES).contains(&ranges.len());
        (count && apart).then_some(Self(ranges))
    }

    /// The whole ring.
    pub fn whole() -> Self {
        Self(vec![TokenRange::WHOLE])
    }

    /// The ranges in order.
    pub fn as_slice(&self) -> &[TokenRange] {
        &self.0
    }

    /// Whether a position is in one of the ranges.
    pub fn covers(&self, position: u64) -> bool {
        let next = self.0.partition_point(|range| range.last < position);
        self.0.get(next).is_some_and(|range| range.first <= position)
    }

    /// Whether the set contains every position.
    pub fn is_whole(&self) -> bool {
        self.0 == [TokenRange::WHOLE]
    }
}
