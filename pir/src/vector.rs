//! Which registers the arithmetic of hints and of inline keys uses: chosen at run time, one enum, the portable code
//! always there. No build flag names a processor: vector code is compiled always and entered only after its features
//! were detected.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "entering code that was compiled for a detected processor")
)]

/// Machine code, by the registers that it uses. All gives the same results, bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// Portable code: the reference.
    Scalar,
    /// Registers of 32 bytes.
    Avx2,
    /// Registers of 64 bytes: AVX-512 F, BW, DQ and VL.
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

    /// The kernel's name, as configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The kernel of that name, if this machine runs it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::available().find(|kernel| kernel.name() == name)
    }

    /// Whether the processor has the instructions.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        use std::arch::is_x86_feature_detected;

        match self {
            Self::Scalar => true,
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }

    /// Whether the processor has the instructions.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
        self == Self::Scalar
    }
}

/// A loop: safe scalar Rust in a shape that compilers vectorise, compiled once more for each kernel. `run` must be
/// `#[inline(always)]`, or it keeps the instructions of its own definition.
pub(crate) trait Vectorised {
    type Output;

    fn run(self) -> Self::Output;
}

/// Runs a loop with the widest registers of this machine.
#[cfg(target_arch = "x86_64")]
pub(crate) fn vectorise<W: Vectorised>(work: W) -> W::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn avx512<W: Vectorised>(work: W) -> W::Output {
        work.run()
    }

    #[target_feature(enable = "avx2")]
    fn avx2<W: Vectorised>(work: W) -> W::Output {
        work.run()
    }

    match Kernel::best() {
        Kernel::Scalar => work.run(),
        // SAFETY: the best kernel is one that this machine runs.
        Kernel::Avx2 => unsafe { avx2(work) },
        // SAFETY: as above.
        Kernel::Avx512 => unsafe { avx512(work) },
    }
}

/// Runs a loop as the build's target compiles it.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn vectorise<W: Vectorised>(work: W) -> W::Output {
    work.run()
}
