//! The private lookup engine of Opaque.
//!
//! **What.** A table's searchable column becomes a matrix of bytes. A lookup multiplies that matrix
//! by an encrypted unit vector, so that a server scans everything and learns nothing. This crate
//! holds the public mathematics and the formats of that scheme: SimplePIR's scan (Henzinger et al.,
//! USENIX Security 2023), with its hint evaluated under a second encryption instead of downloaded
//! (Li et al., HintlessPIR, CRYPTO 2024).
//!
//! **Why not something simpler.** Downloading the hint costs a client tens of megabytes per table
//! version. Evaluating each comparison homomorphically costs hours per gibibyte.
//!
//! **Map**, in the order of a table's life:
//! - [`params`]: the closed parameter set and its identity;
//! - [`table`]: schema, values, rows;
//! - [`geometry`], [`cost`], [`layout`], [`index`]: from rows to buckets to a whitened matrix;
//! - [`seed`]: the source of an index's public randomness;
//! - [`ring`], [`scan`], [`hint`], [`probe`]: the arithmetic;
//! - [`inline`]: the hint product with keys that travel with the query;
//! - [`machine`]: processor and memory, and the choice of kernels;
//! - [`codec`]: the messages; [`bits`], [`reader`]: packed numbers, and the reading of untrusted
//!   bytes.
//!
//! **Limits.** This crate has no secret key types, async runtime, network, Kubernetes or SEAL. The
//! client's half of [`inline`] and the sampling of secrets are in crate `opaque-secrets`; SEAL's
//! BFV is in `opaque-seal`.
// Permitted only in kernels, in the code that chooses them, and in the memory that they read. Each
// file states its reason.
#![deny(unsafe_code)]

pub mod bits;
pub mod codec;
pub mod cost;
pub mod geometry;
pub mod hint;
pub mod index;
pub mod inline;
pub mod layout;
pub mod machine;
pub mod params;
pub mod probe;
pub mod reader;
pub mod ring;
pub mod scan;
pub mod seed;
pub mod table;
