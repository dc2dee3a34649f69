//! Loops compiled once more for wide registers, and entered only where the machine has them.
//!
//! The source is safe scalar Rust in a shape that compilers vectorise; only the choice of
//! instructions differs, so results are the same everywhere.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "entering code that was compiled for a detected processor")
)]

/// A loop. `run` must be `#[inline(always)]`, or it keeps the instructions of its own definition.
pub(super) trait Vectorised {
    type Output;

    fn run(self) -> Self::Output;
}

/// Runs a loop with the widest registers of this machine.
#[cfg(target_arch = "x86_64")]
pub(super) fn vectorise<W: Vectorised>(work: W) -> W::Output {
    use std::arch::is_x86_feature_detected;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn avx512<W: Vectorised>(work: W) -> W::Output {
        work.run()
    }

    #[target_feature(enable = "avx2")]
    fn avx2<W: Vectorised>(work: W) -> W::Output {
        work.run()
    }

    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
    {
        // SAFETY: the lines above.
        return unsafe { avx512(work) };
    }
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the line above.
        return unsafe { avx2(work) };
    }
    work.run()
}

/// Runs a loop as the build's target compiles it.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn vectorise<W: Vectorised>(work: W) -> W::Output {
    work.run()
}
