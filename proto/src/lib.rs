//! The protocol between clients and nodes ([`v1::query_client`]) and between nodes
//! ([`v1::shard_client`]).
//!
//! Messages carry cryptographic data as opaque byte strings. Their layout is defined by
//! `opaque-pir`'s codecs, so that this crate contains no mathematics and that one no transport.
//! Types that both sides of the protocol know from that crate are converted here.

/// Version 1 of both services.
#[allow(missing_docs, clippy::all, reason = "generated; documented in the .proto files")]
pub mod v1 {
    tonic::include_proto!("opaque.v1");
}

mod schema;

pub use schema::SchemaError;
