//! The seeds of the fuzz targets: valid encodings, stored in git. They are also golden files of the
//! formats: if a seed changes, its format has changed, and the format's version must change too.
//!
//! `OPAQUE_UPDATE_GOLDEN=1 cargo test --release -p opaque-pir --test seeds` rewrites them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, which clippy does not take for tests outside a cfg(test) module"
)]

use std::fs;
use std::path::Path;

use opaque_pir::codec::{
    KeyDigest, Kind, Material, Partial, QueryView, QueryWriter, answer_bytes, probe_slice, slice,
};
use opaque_pir::geometry::Geometry;
use opaque_pir::inline::{self, QUERY_BYTES};
use opaque_pir::layout::{Page, encode_bucket};
use opaque_pir::params::ENCRYPTED_SECRET_BYTES;
use opaque_pir::seed::Salt;
use opaque_pir::table::{Column, ColumnType, Role, Schema, Value, encode_row};

// As in fuzz/src/lib.rs.
const EPOCH: u64 = 7;
const SALT: Salt = Salt([9; 32]);

fn geometry() -> Geometry {
    Geometry::new(4096, 2048, 2).unwrap()
}

/// The inverse of the fuzz targets' `expand`: the bytes before the last run of equal bytes, that
/// byte, and its count.
fn compress(message: &[u8]) -> Vec<u8> {
    let fill = *message.last().unwrap();
    let count = message.iter().rev().take_while(|byte| **byte == fill).count();
    let mut input = message[..message.len() - count].to_vec();
    input.push(fill);
    input.extend_from_slice(&u32::try_from(count).unwrap().to_le_bytes()[..3]);
    assert!(count < 1 << 18 && input.len() <= 4096, "a seed is short");
    input
}

fn check_seed(target: &str, name: &str, seed: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let path = folder.join(name);
    if std::env::var_os("OPAQUE_UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, seed).unwrap();
    }
    let kept = fs::read(&path).unwrap_or_default();
    assert!(kept == seed, "the format of fuzz/seeds/{target}/{name} has changed");
}

#[test]
fn rows() {
    let columns = [
        Column::new("a", ColumnType::Int, Role::Key, false),
        Column::new("b", ColumnType::Real, Role::Payload, false),
        Column::new("c", ColumnType::Text, Role::Index, false),
        Column::new("d", ColumnType::Json, Role::Payload, false),
        Column::new("e", ColumnType::Bool, Role::Payload, false),
        Column::new("f", ColumnType::Timestamp, Role::Payload, false),
        Column::new("g", ColumnType::Int, Role::Index, true),
        Column::new("h", ColumnType::Text, Role::Payload, true),
        Column::new("i", ColumnType::Real, Role::Payload, true),
    ];
    let schema = Schema::new("t".to_owned(), columns.into()).unwrap();
    let mut values = vec![
        Value::Int(i64::MIN),
        Value::Real(-1.5e300),
        Value::Text("São Paulo".to_owned()),
        Value::Json(r#"{"a": [1, null]}"#.to_owned()),
        Value::Bool(true),
        Value::Timestamp(1_795_253_400_000_000),
        Value::Int(-1),
        Value::Text(String::new()),
        Value::Real(0.0),
    ];
    check_seed("row", "full", &encode_row(&schema, &values).unwrap());
    values[6..].fill(Value::Null);
    check_seed("row", "nulls", &encode_row(&schema, &values).unwrap());
}

#[test]
fn buckets() {
    let row = |number: u64| (number, b"row of a table".to_vec());
    let page = |total_rows, page, rows: &[u64]| Page {
        total_rows,
        page,
        rows: rows.iter().copied().map(row).collect(),
    };
    let bucket = |pages: &[Page]| compress(&encode_bucket(&SALT, 1, 3, 4096, pages).unwrap());
    check_seed("bucket", "empty", &bucket(&[]));
    let pages = [page(5, 1, &[2, 300]), page(1, 0, &[1 << 40]), page(3, 1, &[9])];
    check_seed("bucket", "pages", &bucket(&pages));
}

const INLINE: Material = Material::Inline;

fn registered() -> Material {
    Material::Registered(KeyDigest::of(b"keys"))
}

fn query(material: Material, lookups: u16) -> Vec<u8> {
    let secret = vec![0; material.kind().secret_bytes()];
    let mut query = QueryWriter::new(&geometry(), EPOCH, material, lookups).unwrap();
    for _ in 0..lookups {
        query.lookup(&[0; 2048], &secret).unwrap();
    }
    query.finish().unwrap()
}

#[test]
fn queries_and_slices() {
    check_seed("query", "one", &compress(&query(registered(), 1)));
    check_seed("query", "three", &compress(&query(registered(), 3)));
    check_seed("query", "inline", &compress(&query(INLINE, 2)));
    let cut = |material, partitions: &[u32], with_secret| {
        let bytes = query(material, 2);
        let view = QueryView::decode(&bytes, &geometry(), EPOCH).unwrap();
        compress(&slice(&view, partitions, with_secret).unwrap())
    };
    check_seed("slice", "owner", &cut(registered(), &[0, 1], true));
    check_seed("slice", "words", &cut(registered(), &[1], false));
    check_seed("slice", "secret", &cut(registered(), &[], true));
    check_seed("slice", "inline", &cut(INLINE, &[1], true));
    let bytes = probe_slice(&geometry(), EPOCH, &[0], true).unwrap();
    check_seed("slice", "probe", &compress(&bytes));
}

#[test]
fn partials_and_answers() {
    let partial = |lookups: usize, planes: &[u16], kind: Kind| {
        let product_bytes = kind.product_bytes(&geometry(), 0);
        let planes = planes.iter().map(|plane| (*plane, vec![vec![0; product_bytes]; lookups]));
        let partial = Partial {
            generation: 3,
            epoch: EPOCH,
            kind,
            partitions: vec![1],
            scans: vec![vec![0; 4096]; lookups],
            planes: planes.collect(),
        };
        compress(&partial.encode(&geometry()).unwrap())
    };
    check_seed("partial", "owner", &partial(1, &[0], Kind::Registered));
    check_seed("partial", "scans", &partial(2, &[], Kind::Registered));
    check_seed("partial", "inline", &partial(2, &[0], INLINE.kind()));
    check_seed("partial", "probe", &partial(4, &[0], Kind::Probe));
    // Except for its marker, an answer starts like a query, and has no material.
    for (name, material, lookups) in
        [("one", registered(), 1), ("two", registered(), 2), ("inline", INLINE, 2)]
    {
        let mut answer = query(material, lookups)[..44].to_vec();
        answer[0] = b'A';
        answer.resize(answer_bytes(&geometry(), material.kind(), lookups), 0);
        check_seed("answer", name, &compress(&answer));
    }
}

/// Residues of zero are valid. The sizes and the version are checked by opaque-seal's own tests.
#[test]
fn seal() {
    let keys = [b"OEK\x01".to_vec(), vec![0; 217_344]].concat();
    check_seed("evaluation_keys", "zeros", &compress(&keys));
    check_seed("encrypted_secret", "zeros", &compress(&[0; ENCRYPTED_SECRET_BYTES]));
}

#[test]
fn inline_queries() {
    check_seed("inline_query", inline::NAME, &compress(&[0; QUERY_BYTES]));
}
