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
    listing::{
        Cell, Listing,
        Side::{Left, Right},
    },
    present::Format,
    text::{columns, count, size, utc},
};

/// The form of a list.
#[derive(Args)]
pub(crate) struct As {
    /// Format of the list; those for programs have plain numbers and lower-case names
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
}

/// A table's name.
#[derive(Args)]
pub(crate) struct Name {
    /// The table
    table: String,
    #[command(flatten)]
    list: As,
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

pub(crate) async fn list(client: &Client, list: &As) -> Result<(), Failure> {
    Ok(write_list(client.tables().await?, list.format, &mut io::stdout().lock())?)
}

/// Writes the tables to `out`, and what is missing to standard error.
pub(super) fn write_list(tables: Tables, format: Format, out: &mut impl Write) -> io::Result<()> {
    let row = |table: Table| {
        let names = table.schema.columns();
        let searchable = table.schema.searchable().filter_map(|i| names.get(i));
        let searchable: Vec<&str> = searchable.map(|column| column.name.as_str()).collect();
        let matrices = table.indexes.iter().map(|index| index.geometry.matrix_bytes()).sum();
        let number = |number: u64| Cell::number(number, number.to_string());
        vec![
            Cell::text(table.schema.table()),
            Cell::number(table.rows, count(table.rows)),
            number(table.epoch),
            number(names.len() as u64),
            Cell::number(matrices, size(matrices)),
            Cell::json(strings(&searchable), searchable.join(", ")),
        ]
    };
    let Tables { tables, missing } = tables;
    for (table, reason) in &missing {
        let (table, reason) = (escaped(table), escaped(reason));
        writeln!(io::stderr(), "table {table} is not served: {reason}")?;
    }
    if tables.is_empty() && format == Format::Table {
        if missing.is_empty() {
            let hint = "no tables yet: `opaque load SCHEMA.sql DATA.csv` publishes one";
            writeln!(io::stderr(), "{hint}")?;
        }
        return Ok(());
    }
    let columns = &[
        ("table", "TABLE", Left),
        ("rows", "ROWS", Right),
        ("epoch", "EPOCH", Right),
        ("columns", "COLUMNS", Right),
        ("matrix_bytes", "MATRICES", Right),
        ("searchable", "SEARCHABLE", Left),
    ];
    let listing = Listing { columns, rows: tables.into_iter().map(row).collect() };
    listing.write(format, out)
}

/// Texts as a JSON array.
pub(super) fn strings(texts: &[&str]) -> String {
    serde_json::Value::from(texts.to_vec()).to_string()
}

pub(crate) async fn describe(client: &Client, name: &Name) -> Result<(), Failure> {
    let table = client.describe(&name.table).await?;
    let mut out = io::stdout().lock();
    if name.list.format != Format::Table {
        return Ok(described(&table).write(name.list.format, &mut out)?);
    }
    Ok(write_description(&table, &mut out)?)
}

/// Describes a table for people.
pub(super) fn write_description(table: &Table, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "table {}: {} rows, epoch {}, generation {}\n",
        table.schema.table(),
        count(table.rows),
        table.epoch,
        table.generation
    )?;
    let header = ["COLUMN", "TYPE", "ROLE", "NULL"];
    let rows = table.schema.columns().iter().map(|described| column(described).to_vec());
    columns(out, &header, &[], rows)?;
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
    let rows = table.indexes.iter().map(|index| index_row(table, index));
    columns(out, &header, &right, rows)?;
    for index in &table.indexes {
        writeln!(out, "\n{}:", index_name(table, index))?;
        for line in index.geometry.explanation(table.link).to_string().lines() {
            writeln!(out, "  {line}")?;
        }
    }
    if let Some(figures) = table.figures() {
        writeln!(out)?;
        costs::write(out, &figures, &place(&figures, table.rows))?;
    }
    Ok(())
}

/// A table's columns for programs, each with the cost of a lookup if it is searchable.
fn described(table: &Table) -> Listing {
    let row = |(position, described): (usize, &Column)| {
        let [name, column_type, role, _] = column(described);
        let index = table.indexes.iter().find(|index| index.column == position);
        let cost = index.map(|index| index.geometry.cost(table.link));
        let number = |number: Option<u64>| match number {
            Some(number) => Cell::number(number, number.to_string()),
            None => Cell::none(),
        };
        let geometry = index.map(|index| &index.geometry);
        vec![
            Cell::text(name),
            Cell::text(column_type),
            if role.is_empty() { Cell::none() } else { Cell::text(role) },
            Cell::truth(described.nullable, "yes"),
            number(index.map(|index| index.non_null_rows)),
            number(geometry.map(|geometry| geometry.buckets().into())),
            number(geometry.map(|geometry| geometry.bucket_bytes() as u64)),
            number(geometry.map(|geometry| geometry.page_rows().into())),
            number(cost.map(|cost| cost.matrix_bytes)),
            number(cost.map(|cost| cost.upload_bytes)),
            number(cost.map(|cost| cost.download_bytes)),
            number(cost.map(|cost| cost.lookup_micros())),
        ]
    };
    Listing {
        columns: &[
            ("column", "COLUMN", Left),
            ("type", "TYPE", Left),
            ("role", "ROLE", Left),
            ("nullable", "NULL", Left),
            ("not_null_rows", "NOT NULL", Right),
            ("buckets", "BUCKETS", Right),
            ("bucket_bytes", "BYTES EACH", Right),
            ("rows_per_page", "ROWS/PAGE", Right),
            ("matrix_bytes", "MATRIX", Right),
            ("upload_bytes", "UP", Right),
            ("download_bytes", "DOWN", Right),
            ("lookup_microseconds", "TIME", Right),
        ],
        rows: table.schema.columns().iter().enumerate().map(row).collect(),
    }
}

/// The number of the longest row, counted from 1.
fn place(figures: &TableFigures, rows: u64) -> String {
    let longest = figures.sizes.longest_row.saturating_add(1);
    format!("row {} of {}", count(longest), count(rows))
}

fn index_name<'a>(table: &'a Table, index: &IndexMeta) -> &'a str {
    table.schema.columns().get(index.column).map_or("?", |column| &column.name)
}

fn column(column: &Column) -> [String; 4] {
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
    [&column.name, column_type, role, null].map(str::to_owned)
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
        let digest: String = digest;
        vec![
            Cell::number(epoch.epoch, epoch.epoch.to_string()),
            Cell::number(epoch.rows, count(epoch.rows)),
            Cell::number(epoch.bytes, size(epoch.bytes)),
            Cell::text(utc(epoch.created)),
            Cell::text(digest),
            Cell::truth(epoch.active, "serving"),
        ]
    });
    let columns = &[
        ("epoch", "EPOCH", Right),
        ("rows", "ROWS", Right),
        ("bytes", "BYTES", Right),
        ("created", "CREATED", Left),
        ("digest", "DIGEST", Left),
        ("serving", "STATE", Left),
    ];
    let listing = Listing { columns, rows: rows.collect() };
    Ok(listing.write(name.list.format, &mut io::stdout().lock())?)
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
