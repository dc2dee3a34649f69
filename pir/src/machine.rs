//! Everything in this crate that depends on the processor or the operating system: available
//! instructions, the choice of kernels, and memory allocation.
//!
//! **Why one place.** It is `unsafe` to enter vector code on a processor that lacks its
//! instructions. The detected instructions, the chosen kernel and the features that the code is
//! compiled for must therefore agree. No build flag names a processor: vector code is always
//! compiled, and is entered only after its features have been detected.
//!
//! **Guarantees.** Every kernel gives the same results bit for bit, and the scalar one is always
//! available.
//!
//! **Map.** `detect` (instructions of this machine), `kernels` (the choice of kernels), `vectorise`
//! (loops that are also compiled for wide registers), `prefetch`, `pages` (aligned memory in large
//! pages).

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
