//! Loops that the compiler vectorises, compiled once for each set of vector instructions.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "entering code that was compiled for a detected processor")
)]

/// A loop: safe scalar Rust in a shape that compilers vectorise, compiled once more for each
/// kernel. `run` must be `#[inline(always)]`, or it keeps the instructions of its own definition.
pub(crate) trait Vectorised {
    type Output;

    fn run(self) -> Self::Output;
}

/// A proof that this machine has some instructions.
#[cfg(any(target_arch = "x86_64", test))]
pub(crate) trait Instructions: Copy {
    /// Runs a loop compiled for them.
    fn run<W: Vectorised>(self, work: W) -> W::Output;
}

/// Runs a loop with the widest registers of this machine.
pub(crate) fn vectorise<W: Vectorised>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    match super::VectorKernel::best() {
        super::VectorKernel::Scalar => {}
        // SAFETY: the best kernel is one that this machine runs.
        super::VectorKernel::Avx2 => return unsafe { x86::run_avx2(work) },
        // SAFETY: as above.
        super::VectorKernel::Avx512 => return unsafe { x86::run_avx512(work) },
    }
    work.run()
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Instructions, Vectorised};
    use crate::machine::detect;

    /// A proof of AVX2. **Invariant:** a value exists only where the instructions were detected,
    /// since [`Self::detect`] alone makes one.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(());

    impl Avx2 {
        /// `None` where this machine lacks the instructions.
        pub(crate) fn detect() -> Option<Self> {
            detect::avx2().then_some(Self(()))
        }
    }

    impl Instructions for Avx2 {
        fn run<W: Vectorised>(self, work: W) -> W::Output {
            // SAFETY: the invariant of `self`.
            unsafe { run_avx2(work) }
        }
    }

    /// A proof of AVX-512 F, BW, DQ and VL. **Invariant:** as for [`Avx2`].
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(());

    impl Avx512 {
        /// `None` where this machine lacks the instructions.
        pub(crate) fn detect() -> Option<Self> {
            detect::avx512().then_some(Self(()))
        }
    }

    impl Instructions for Avx512 {
        fn run<W: Vectorised>(self, work: W) -> W::Output {
            // SAFETY: the invariant of `self`.
            unsafe { run_avx512(work) }
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn run_avx2<W: Vectorised>(work: W) -> W::Output {
        work.run()
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn run_avx512<W: Vectorised>(work: W) -> W::Output {
        work.run()
    }
}
