//! The program `opaque-bench`, which measures whole lookups on one machine and checks every byte.
//!
//! **Map**
//! - [`Arguments`]: the command line, with `plan` (what to measure) and `size`;
//! - `engine`: lookups in this process, without a network;
//! - `cluster`: node processes under the traffic of many clients;
//! - `report`, `samples`: the figures; `show`, `plot`, `bar`: their output;
//! - `host`: the machine; `error`: why a benchmark failed.
#![deny(unsafe_code)]

// This import must come first: it determines the order in which two copies of zstd are linked. The
// `lib.rs` of opaque-node explains it.
use opaque_node as _;

mod arguments;
mod bar;
mod cluster;
mod engine;
mod error;
mod host;
mod plan;
mod plot;
mod report;
mod samples;
mod show;
mod size;

pub use arguments::Arguments;
