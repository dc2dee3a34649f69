//! `opaque tables`, `describe`, `epochs` and `rollback`.

use std::io::{self, Write};

use clap::Args;
use opaque_client::{Client, Tables, description::Table, sql::IndexMeta, terminal::escaped};
use opaque_pir::{
    index::TableFigures,
    table::{Column, ColumnType, Role},
};

use super::costs;
use crate::{
    failure::Failure,
    text::{columns, count, size, utc},
};

/// A table's name.
#[derive(Args)]
pub(crate) struct Name {
    /// The table
    table: String,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  opaque epochs weather
  opaque rollback weather 3")]
pub(crate) struct Rollback {
    /// The table
    table: String,
    /// The epoch to serve, as listed by `opaque epochs`
    epoch: u64,
}

pub(crate) async fn list(client: &Client) -> Result<(), Failure> {
    let row = |table: Table| {
        let names = table.schema.columns();
        let searchable = table.schema.searchable().filter_map(|i| names.get(i));
        let searchable: Vec<&str> = searchable.map(|column| column.name.as_str()).collect();
        let matrices = table.indexes.iter().map(|index| index.geometry.matrix_bytes()).sum();
        vec![
            table.schema.table().to_owned(),
            count(table.rows),
            table.epoch.to_string(),
            names.len().to_string(),
            size(matrices),
            searchable.join(", "),
        ]
    };
    let Tables { tables, missing } = client.tables().await?;
    for (table, reason) in &missing {
        let (table, reason) = (escaped(table), escaped(reason));
        writeln!(io::stderr(), "table {table} is not served: {reason}")?;
    }
    if tables.is_empty() && !missing.is_empty() {
        return Ok(());
    }
    if tables.is_empty() {
        writeln!(io::stderr(), "no tables yet: `opaque load SCHEMA.sql DATA.csv` publishes one")?;
        return Ok(());
    }
    let rows = tables.into_iter().map(row);
    let header = ["TABLE", "ROWS", "EPOCH", "COLUMNS", "MATRICES", "SEARCHABLE"];
    Ok(columns(&mut io::stdout().lock(), &header, &[1, 2, 3, 4], rows)?)
}

pub(crate) async fn describe(client: &Client, name: &Name) -> Result<(), Failure> {
    let table = client.describe(&name.table).await?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "table {}: {} rows, epoch {}, generation {}\n",
        table.schema.table(),
        count(table.rows),
        table.epoch,
        table.generation
    )?;
    let header = ["COLUMN", "TYPE", "ROLE", "NULL"];
    columns(&mut out, &header, &[], table.schema.columns().iter().map(column))?;
    writeln!(out, "\nOne private lookup of one page, on one core and a link of {}:", table.link)?;
    let header = [
        "INDEX",
        "NOT NULL",
        "BUCKETS",
        "BYTES EACH",
        "ROWS/PAGE",
        "MATRIX",
        "UP",
        "DOWN",
        "SCAN",
        "HINT",
        "TIME",
    ];
    let right: Vec<usize> = (1..header.len()).collect();
    let rows = table.indexes.iter().map(|index| index_row(&table, index));
    columns(&mut out, &header, &right, rows)?;
    for index in &table.indexes {
        writeln!(out, "\n{}:", index_name(&table, index))?;
        for line in index.geometry.explanation(table.link).to_string().lines() {
            writeln!(out, "  {line}")?;
        }
    }
    if let Some(figures) = table.figures() {
        writeln!(out)?;
        costs::write(&mut out, &figures, &place(&figures, table.rows))?;
    }
    Ok(())
}

/// The number of the longest row, counted from 1.
fn place(figures: &TableFigures, rows: u64) -> String {
    let longest = figures.sizes.longest_row.saturating_add(1);
    format!("row {} of {}", count(longest), count(rows))
}

fn index_name<'a>(table: &'a Table, index: &IndexMeta) -> &'a str {
    table.schema.columns().get(index.column).map_or("?", |column| &column.name)
}

fn column(column: &Column) -> Vec<String> {
    let column_type = match column.column_type {
        ColumnType::Int => "INT",
        ColumnType::Real => "REAL",
        ColumnType::Text => "TEXT",
        ColumnType::Json => "JSON",
        ColumnType::Bool => "BOOL",
        ColumnType::Timestamp => "TIMESTAMP",
    };
    let role = match column.role {
        Role::Key => "KEY",
        Role::Index => "INDEX",
        Role::Payload => "",
    };
    let null = if column.nullable { "yes" } else { "no" };
    [&column.name, column_type, role, null].map(str::to_owned).to_vec()
}

fn index_row(table: &Table, index: &IndexMeta) -> Vec<String> {
    let (geometry, cost) = (&index.geometry, index.geometry.cost(table.link));
    let millis = |micros: u64| format!("{:.1} ms", micros as f64 / 1e3);
    vec![
        index_name(table, index).to_owned(),
        count(index.non_null_rows),
        count(geometry.buckets().into()),
        count(geometry.bucket_bytes() as u64),
        count(geometry.page_rows().into()),
        size(cost.matrix_bytes),
        size(cost.upload_bytes),
        size(cost.download_bytes),
        millis(cost.scan_micros),
        millis(cost.hint_micros),
        millis(cost.lookup_micros()),
    ]
}

pub(crate) async fn epochs(client: &Client, name: &Name) -> Result<(), Failure> {
    let rows = client.epochs(&name.table).await?.into_iter().map(|epoch| {
        let digest = epoch.digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        vec![
            epoch.epoch.to_string(),
            count(epoch.rows),
            size(epoch.bytes),
            utc(epoch.created),
            digest,
            if epoch.active { "serving".to_owned() } else { String::new() },
        ]
    });
    let header = ["EPOCH", "ROWS", "BYTES", "CREATED", "DIGEST", "STATE"];
    Ok(columns(&mut io::stdout().lock(), &header, &[0, 1, 2], rows)?)
}

pub(crate) async fn rollback(client: &Client, to: &Rollback) -> Result<(), Failure> {
    let table = client.rollback(&to.table, to.epoch).await?;
    writeln!(
        io::stdout(),
        "{} serves epoch {} ({} rows)",
        table.schema.table(),
        table.epoch,
        count(table.rows)
    )?;
    Ok(())
}
