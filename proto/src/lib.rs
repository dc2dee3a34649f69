//! The wire between clients and nodes ([`v1::query_client`]) and between nodes
//! ([`v1::shard_client`]).
//!
//! Messages carry opaque byte strings where cryptography travels: their layout belongs to
//! `opaque-pir`'s codecs, so that this crate holds no mathematics and that one no transport. What both sides of
//! the wire know as types of that crate is converted here, once.

/// Version 1 of both services.
#[allow(missing_docs, clippy::all, reason = "generated; documented in the .proto files")]
pub mod v1 {
    tonic::include_proto!("opaque.v1");
}

mod schema;

pub use schema::SchemaError;
