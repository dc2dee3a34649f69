//! Tables in a store.

use opaque_pir::cost::Link;
use opaque_pir::table::{Column, ColumnType, Role, Schema, Value, encode_row};
use opaque_store::prepare::{self, Load};
use opaque_store::{Manifest, Store, UnixMillis, Writer};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Publishes an epoch of a table with these columns, the first of which is the key. Equal seeds
/// give equal randomness.
pub(crate) async fn publish(
    store: &Store,
    table: &str,
    columns: [(&str, ColumnType); 2],
    rows: impl Iterator<Item = [Value; 2]>,
    seed: u64,
) -> Manifest {
    let [key, payload] = columns;
    let columns = [(key, Role::Key), (payload, Role::Payload)];
    let columns = columns.map(|((name, kind), role)| Column::new(name, kind, role, false));
    let schema = Schema::new(table.to_owned(), columns.into()).unwrap();
    let load = Load {
        rows: rows.map(|row| encode_row(&schema, &row).unwrap()).collect(),
        schema,
        link: Link::default(),
        created: UnixMillis(0),
        writer: Writer { node: "test".to_owned(), incarnation: seed.to_string() },
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let rng = StdRng::seed_from_u64(seed);
    prepare::prepare(store, load, rng, |_| {}, &pool).await.unwrap()
}

/// Publishes an epoch of a table with numbers and their squares.
pub(crate) async fn squares(store: &Store, table: &str, rows: i64, seed: u64) -> Manifest {
    let columns = [("n", ColumnType::Int), ("square", ColumnType::Int)];
    let rows = (0..rows).map(|n| [Value::Int(n), Value::Int(n * n)]);
    publish(store, table, columns, rows, seed).await
}
