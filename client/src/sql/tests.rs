//! The source of each statement, in tables; and the texts of refusals.

mod errors;
mod finish;
mod language;
mod planning;
mod schemas;

use std::sync::Arc;

use opaque_pir::geometry::Geometry;
use opaque_pir::table::{Column, ColumnType, Role, Schema};

use super::{
    Bounds, Fetched, Found, IndexMeta, Options, Parameters, Plan, ResultSet, Source, SqlError,
    TableMeta, parse, plan,
};

/// A table with one column of each type; `city` is a KEY, `sky` and `temp` are indexed. 1000 rows,
/// of which 900 have a sky and 800 a temp; 10 rows per page.
fn weather() -> (Schema, Vec<IndexMeta>) {
    let column = |name: &str, column_type, role| Column {
        name: name.to_owned(),
        column_type,
        role,
        nullable: role != Role::Key,
    };
    let columns = vec![
        column("sky", ColumnType::Text, Role::Index),
        column("city", ColumnType::Text, Role::Key),
        column("temp", ColumnType::Int, Role::Index),
        column("wind", ColumnType::Real, Role::Payload),
        column("dry", ColumnType::Bool, Role::Payload),
        column("at", ColumnType::Timestamp, Role::Payload),
        column("doc", ColumnType::Json, Role::Payload),
    ];
    let schema = Schema::new("weather".to_owned(), columns).unwrap();
    let geometry = Geometry::new(4096, 1024, 10).unwrap();
    let index = |(column, non_null_rows)| IndexMeta { column, non_null_rows, geometry };
    (schema, [(0, 900), (1, 1000), (2, 800)].map(index).to_vec())
}

fn planned_with(
    sql: &str,
    parameters: &[(&str, &str)],
    options: Options,
) -> Result<Plan, SqlError> {
    let (schema, indexes) = weather();
    let meta = TableMeta { schema: &schema, rows: 1000, indexes: &indexes };
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let parameters: Parameters = parameters.iter().map(owned).collect();
    let statement = parse(sql, &parameters)?;
    plan(&statement, &vec![meta; statement.tables().len()], &options)
}

fn planned(sql: &str) -> Result<Plan, SqlError> {
    planned_with(sql, &[], Options::default())
}

/// The answer of a table without rows.
fn nothing(source: &Source) -> Fetched {
    match source {
        Source::Count(_) => Fetched::Nothing,
        Source::Lookups { values, .. } => Fetched::Lookups(vec![Found::default(); values.len()]),
        Source::PublicScan { .. } => Fetched::Rows(Arc::default()),
    }
}

/// The source of a statement's only table.
fn source(plan: &Plan) -> &Source {
    let mut sources = plan.sources();
    let only = sources.next().unwrap();
    assert!(sources.next().is_none());
    only
}

fn finish(plan: &Plan, fetched: Fetched) -> Result<ResultSet, SqlError> {
    plan.finish(vec![fetched], &Bounds::default())
}
