//! The client's half executes the same instructions whatever its secrets are, and never divides.
//!
//! **How.** Each scenario (`trace/scenarios.rs`) runs under ptrace in a process for each of its
//! secrets (`trace/tracer.rs`). All must execute the same sequence of instructions, and none of
//! them may be a division. This is checked for every kernel that the machine runs: the process of a
//! narrower kernel does not see the wider registers.
//!
//! **What it shows.** In the machine code of this build, including the allocator and the C library,
//! no branch, call or number of iterations depends on which of the secrets is used, and no secret
//! is divided.
//!
//! **What it does not show.**
//! - Addresses of loads and stores. They are public by construction: indices come from sizes and
//!   constant tables, and a sample is compared with every entry of its table (docs/ENGINE.md §10).
//! - Other secrets, compilers and kernels than those that ran.
//! - Instructions other than divisions whose time depends on their operands.
//! - The code of `opaque-client` around these calls, and SEAL.
//!
//! Two controls, one that branches on its secret and one that divides it, must be detected. If
//! ptrace is not permitted, the test fails.
//!
//! The test defines `main` itself, because libtest starts threads. Its arguments select scenarios
//! by parts of their names.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "trace/run.rs"]
mod run;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use run::main;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {}
