//! The kernels that build a hint.
//!
//! The portable kernel transforms one row at a time over the 61-bit prime of [`crate::ring`], for
//! which processors have wide multiplications. The vector kernels transform sixteen rows at a time
//! over two 30-bit primes (`super::transform`), compiled for each instruction set. All are exact,
//! so they give the same hint bit for bit.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vectors;

use super::planes::{Accumulate, Planes};
use crate::geometry::Geometry;
use crate::machine::VectorKernel;
#[cfg(target_arch = "x86_64")]
use crate::machine::{Avx2, Avx512};

impl VectorKernel {
    /// Empty sums; `None` if this machine does not support the kernel.
    pub(super) fn planes(self, geometry: &Geometry) -> Option<Box<dyn Accumulate>> {
        match self {
            Self::Scalar => Some(Self::portable(geometry)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Some(Box::new(Planes::new(Avx2::detect()?, geometry))),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Some(Box::new(Planes::new(Avx512::detect()?, geometry))),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => None,
        }
    }

    /// [`Self::planes`] for the scalar kernel.
    pub(super) fn portable(geometry: &Geometry) -> Box<dyn Accumulate> {
        Box::new(Planes::new(scalar::Scalar, geometry))
    }
}
