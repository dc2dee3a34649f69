//! The program `opaque-bench`: whole lookups measured on one machine, every byte checked.
//!
//! **Map**
//! - [`Arguments`]: the command line, with `plan` (what to measure) and `size`;
//! - `engine`: lookups in this process, without a network;
//! - `cluster`: node processes under the traffic of many clients;
//! - `report`, `samples`: figures; `show`, `plot`, `bar`: how they are written and drawn;
//! - `host`: the machine; `error`: why nothing was measured.
#![deny(unsafe_code)]

// Named first for the order of two copies of zstd, which opaque-node's `lib.rs` explains.
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
