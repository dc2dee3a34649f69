//! Loops that the compiler vectorises, compiled once for each set of vector instructions.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "entering code that was compiled for a detected processor")
)]

/// A loop in safe scalar Rust, in a form that compilers vectorise. It is compiled once more for
/// each kernel. `run` must be `#[inline(always)]`; otherwise it is compiled only for the default
/// instructions.
pub(crate) trait Vectorised {
    type Output;

    fn run(self) -> Self::Output;
}

/// Runs a loop with the widest registers of this machine.
#[cfg(target_arch = "x86_64")]
pub(crate) fn vectorise<W: Vectorised>(work: W) -> W::Output {
    use super::VectorKernel;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn avx512<W: Vectorised>(work: W) -> W::Output {
        work.run()
    }

    #[target_feature(enable = "avx2")]
    fn avx2<W: Vectorised>(work: W) -> W::Output {
        work.run()
    }

    match VectorKernel::best() {
        VectorKernel::Scalar => work.run(),
        // SAFETY: the best kernel is one that this machine runs.
        VectorKernel::Avx2 => unsafe { avx2(work) },
        // SAFETY: as above.
        VectorKernel::Avx512 => unsafe { avx512(work) },
    }
}

/// Runs a loop as the build's target compiles it.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn vectorise<W: Vectorised>(work: W) -> W::Output {
    work.run()
}
