//! Everything in this crate that depends on the processor or the operating system: which
//! instructions there are, which kernels are chosen, and how memory is asked for.
//!
//! **Why one place.** Vector code is `unsafe` to enter where its instructions are missing. So what
//! is detected, the kernel that is chosen and the features that code is compiled for must agree. No
//! build flag names a processor: vector code is always compiled, and entered only after its
//! features were detected.
//!
//! **Guarantees.** Every kernel gives the same results, bit for bit, and the scalar one is always
//! available.
//!
//! **Map.** `detect` (instructions of this machine), `kernels` (what they run), `vectorise` (loops
//! compiled once more for wide registers), `prefetch`, `pages` (aligned memory in large pages).

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod detect;
mod kernels;
mod pages;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod prefetch;
mod vectorise;

#[cfg(target_arch = "x86_64")]
pub(crate) use detect::{Avx2, Avx512};
pub use kernels::{Kernels, ScanKernel, VectorKernel};

pub(crate) use pages::Pages;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use prefetch::prefetch;
pub(crate) use vectorise::{Vectorised, vectorise};
