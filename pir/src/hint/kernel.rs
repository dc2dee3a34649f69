//! Which machine code builds a hint: chosen at run time, one enum, the portable code always there.
//!
//! Portable code transforms a row at a time over the 61-bit prime of [`crate::ring`], for which
//! processors have wide multiplications; vectors transform sixteen over two 30-bit primes
//! (`super::transform`), compiled for each set of instructions. All are exact, so all give the same
//! hint, bit for bit. No build flag names a processor: vector code is compiled always and entered
//! only after its features were detected.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;

use super::planes::{Accumulate, Planes};
use crate::geometry::Geometry;

/// A way to build a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// Portable code.
    Scalar,
    /// Eight 32-bit numbers at a time.
    Avx2,
    /// Sixteen 32-bit numbers at a time.
    Avx512,
}

impl Kernel {
    /// Every kernel there is, slowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The kernels that this machine runs, slowest first; the scalar one is always among them.
    pub fn available() -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_available())
    }

    /// The fastest kernel that this machine runs.
    pub fn best() -> Self {
        Self::available().next_back().unwrap_or(Self::Scalar)
    }

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether the processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::Avx512::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// Sums of nothing yet; `None` where this machine does not run the kernel.
    pub(super) fn planes(self, geometry: &Geometry) -> Option<Box<dyn Accumulate>> {
        match self {
            Self::Scalar => Some(Self::portable(geometry)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Some(Box::new(Planes::new(avx2::Avx2::detect()?, geometry))),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Some(Box::new(Planes::new(avx512::Avx512::detect()?, geometry))),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => None,
        }
    }

    /// [`Self::planes`] of the scalar kernel.
    pub(super) fn portable(geometry: &Geometry) -> Box<dyn Accumulate> {
        Box::new(Planes::new(scalar::Scalar, geometry))
    }
}
