//! Which machine code builds a hint: chosen at run time, one enum, the portable code always there.
//!
//! One algorithm ([`super::transform`]) is compiled for each set of instructions, so that every kernel
//! gives the same sums, bit for bit. No build flag names a processor: vector code is compiled always
//! and entered only after its features were detected.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use super::transform::{self, Bytes, Factor, Portable, ROWS, Scratch, Sums};
use crate::ring::Poly;

/// A way to build a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// Portable code in the shape that compilers vectorise.
    Scalar,
    /// Eight 32-bit numbers at a time.
    Avx2,
    /// Sixteen 32-bit numbers at a time.
    Avx512,
}

impl Kernel {
    /// Every kernel there is, slowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The scalar kernel's code.
    pub(super) const PORTABLE: &'static dyn Transform = &Portable::<4>;

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
        self.code().is_some()
    }

    /// The kernel's code; `None` where this machine does not run it.
    pub(super) fn code(self) -> Option<&'static dyn Transform> {
        match self {
            Self::Scalar => Some(Self::PORTABLE),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::Avx2::detect().map(|code| code as &dyn Transform),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::Avx512::detect().map(|code| code as &dyn Transform),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => None,
        }
    }
}

/// The transforms, compiled for some instructions.
pub(super) trait Transform: Send + Sync {
    /// Adds the product of some rows and a ring element to the rows' sums.
    fn add(&self, bytes: &Bytes, factor: &Factor, scratch: &mut Scratch, sums: &mut Sums);

    /// The rows of the hint. Spoils the sums.
    fn read(&self, sums: &mut Sums, rows: &mut [Poly; ROWS]);
}

impl Transform for Portable<4> {
    fn add(&self, bytes: &Bytes, factor: &Factor, scratch: &mut Scratch, sums: &mut Sums) {
        transform::add(*self, bytes, factor, scratch, sums);
    }

    fn read(&self, sums: &mut Sums, rows: &mut [Poly; ROWS]) {
        transform::read(*self, sums, rows);
    }
}
