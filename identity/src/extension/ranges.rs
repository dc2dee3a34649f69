//! Parts of the hash ring.

/// Most ranges of a certificate.
pub const MAX_RANGES: usize = 256;

/// A run of positions on the ring, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRange {
    first: u64,
    last: u64,
}

impl TokenRange {
    /// Every position.
    pub const WHOLE: Self = Self { first: 0, last: u64::MAX };

    /// `first..=last`; none when that is empty.
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

/// Runs of positions.
///
/// Invariant, held by [`Ranges::new`]: 1 to [`MAX_RANGES`] of them, ascending, with a gap between
/// each two, so that a set of positions has one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges(Vec<TokenRange>);

impl Ranges {
    /// Checks the invariant of the type; none when it does not hold.
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

    /// Whether a position lies in one of them.
    pub fn covers(&self, position: u64) -> bool {
        let next = self.0.partition_point(|range| range.last < position);
        self.0.get(next).is_some_and(|range| range.first <= position)
    }

    /// Whether that is every position.
    pub fn is_whole(&self) -> bool {
        self.0 == [TokenRange::WHOLE]
    }
}
