//! The private lookup engine of Opaque.
//!
//! **What.** A table's searchable column becomes a matrix of bytes; a lookup multiplies that matrix
//! with an encrypted unit vector, so that a server scans everything and learns nothing. This crate
//! holds the public mathematics and formats of that scheme: SimplePIR's scan (Henzinger et al.,
//! USENIX Security 2023) with its hint evaluated under a second encryption instead of downloaded
//! (Li et al., HintlessPIR, CRYPTO 2024).
//!
//! **Why not something simpler.** Downloading the hint costs a client tens of megabytes per table
//! version; evaluating each comparison homomorphically costs hours per gibibyte.
//!
//! **Map**, in the order of a table's life:
//! - [`params`]: the closed parameter set and its identity;
//! - [`table`]: schema, values, rows;
//! - [`geometry`], [`cost`], [`layout`], [`index`]: from rows to buckets to a whitened matrix;
//! - [`seed`]: what the public randomness of an index is derived from;
//! - [`ring`], [`scan`], [`hint`], [`probe`]: the arithmetic;
//! - [`inline`]: the hint's product with keys that travel with the query;
//! - [`machine`]: processor and memory: which machine code all of it runs;
//! - [`codec`]: what travels; [`bits`], [`reader`]: packed numbers, and how bytes of others are
//!   read.
//!
//! **Limits.** No secret key type exists here, no async runtime, no network, no Kubernetes, no
//! SEAL. The client's half of [`inline`] and the sampling of secrets are the crate
//! `opaque-secrets`, SEAL's BFV is `opaque-seal`.
// Allowed only in kernels, what chooses them, and the memory they read, each file with its reason.
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
