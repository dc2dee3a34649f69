//! Which machine code scans: chosen at run time, one enum, the scalar kernel always there.
//!
//! A kernel first brings the queries into its own form ([`Kernel::prepare`]), then adds the products
//! of some rows of one partition to their sums ([`Prepared::accumulate`]). A vector kernel is one
//! more variant of both enums and one more file beside [`scalar`].

mod scalar;

/// A way to scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// Portable code in the shape that compilers vectorise.
    Scalar,
}

impl Kernel {
    /// The fastest kernel that this machine runs.
    pub fn best() -> Self {
        Self::Scalar
    }

    /// The kernel's name, as configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
        }
    }

    /// The kernel of that name, if this machine runs it.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::Scalar.name()).then_some(Self::Scalar)
    }

    /// Rearranges queries (equal lengths, whole partitions) for this kernel.
    pub(super) fn prepare(self, queries: &[&[u32]]) -> Prepared {
        match self {
            Self::Scalar => Prepared::Scalar(scalar::Queries::new(queries)),
        }
    }
}

/// Queries in a kernel's own form.
pub(super) enum Prepared {
    /// For [`Kernel::Scalar`].
    Scalar(scalar::Queries),
}

impl Prepared {
    /// Positions of the partitions, in the queries' order.
    pub(super) fn partitions(&self) -> std::ops::Range<usize> {
        match self {
            Self::Scalar(queries) => 0..queries.partitions(),
        }
    }

    /// sums\[row\]\[query\] += row · block of the query, wrapping, for whole rows of one partition.
    pub(super) fn accumulate(&self, rows: &[u8], partition: usize, sums: &mut [u32]) {
        match self {
            Self::Scalar(queries) => queries.accumulate(rows, partition, sums),
        }
    }
}
