//! Shared code of the fuzz targets: one geometry, one schema, and a way to generate large messages.
//!
//! The files under `seeds/` are valid encodings for these shapes; `pir/tests/seeds.rs` writes them
//! and checks that they stay valid.

use opaque_pir::geometry::Geometry;
use opaque_pir::seed::Salt;
use opaque_pir::table::{Column, ColumnType, Role, Schema};

/// Epoch of every message.
pub const EPOCH: u64 = 7;
/// Salt of the bucket.
pub const SALT: Salt = Salt([9; 32]);
/// Column of the bucket.
pub const COLUMN: u32 = 1;
/// Number of the bucket.
pub const BUCKET: u32 = 3;

/// Two partitions, one plane.
pub fn geometry() -> Geometry {
    Geometry::new(4096, 2048, 2).expect("a geometry")
}

/// Every type, NULL and not.
pub fn schema() -> Schema {
    let types = [
        ("a", ColumnType::Int, Role::Key, false),
        ("b", ColumnType::Real, Role::Payload, false),
        ("c", ColumnType::Text, Role::Index, false),
        ("d", ColumnType::Json, Role::Payload, false),
        ("e", ColumnType::Bool, Role::Payload, false),
        ("f", ColumnType::Timestamp, Role::Payload, false),
        ("g", ColumnType::Int, Role::Index, true),
        ("h", ColumnType::Text, Role::Payload, true),
        ("i", ColumnType::Real, Role::Payload, true),
    ];
    let columns = types.map(|(name, column_type, role, nullable)| Column {
        name: name.to_owned(),
        column_type,
        role,
        nullable,
    });
    Schema::new("t".to_owned(), columns.into()).expect("a schema")
}

/// Expands a fuzzer's input to a message. The input's last four bytes are a fill byte and a count
/// of up to 2^18 (24 bits, low byte first). The message is the rest of the input, followed by
/// `count` copies of the fill byte. Messages have sizes that the geometry determines, tens of
/// kilobytes and more, but only the first hundred bytes are worth mutating.
pub fn expand(input: &[u8]) -> Vec<u8> {
    let Some((start, [fill, low, middle, high])) = input.split_last_chunk() else {
        return Vec::new();
    };
    let count = u32::from_le_bytes([*low, *middle, *high, 0]) & 0x3ffff;
    let mut message = start.to_vec();
    message.resize(start.len() + count as usize, *fill);
    message
}
