//! The costs of long rows, compared with plans of the same table with its rows actually cut.

use super::*;
use crate::table::{Column, ColumnType, Role, Schema, Value, encode_row};

const MIB: u64 = 1 << 20;

/// `note`, a KEY, and `indexes` columns with few values.
fn schema(indexes: usize) -> Schema {
    let mut columns = vec![Column::new("id", ColumnType::Int, Role::Key, false)];
    let index = |i| Column::new(&format!("of{i}"), ColumnType::Int, Role::Index, true);
    columns.extend((0..indexes).map(index));
    columns.push(Column::new("note", ColumnType::Text, Role::Payload, true));
    Schema::new("t".to_owned(), columns).unwrap()
}

/// Rows with notes of these lengths.
fn rows(schema: &Schema, notes: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let indexes = schema.columns().len() - 2;
    let row = |(i, note): (usize, usize)| {
        let mut values = vec![Value::Int(i as i64)];
        values.extend((0..indexes).map(|k| Value::Int((i % (3 + k)) as i64)));
        values.push(Value::Text("x".repeat(note)));
        encode_row(schema, &values).unwrap()
    };
    notes.into_iter().enumerate().map(row).collect()
}

fn figures(schema: &Schema, rows: &[Vec<u8>]) -> TableFigures {
    forecast(schema, rows, Link::default(), || salt(1)).unwrap().unwrap().figures
}

#[test]
fn one_long_row_is_named_with_what_it_costs_and_what_a_limit_would_save() {
    let schema = schema(1);
    let lengths = (0..20_000).map(|i| if i == 16 { 15_000 } else { 12 });
    let rows = rows(&schema, lengths.clone());
    let figures = figures(&schema, &rows);
    let RowSizes { total_bytes, longest_row, longest_bytes, shorter } = &figures.sizes;
    assert_eq!((*longest_row, *longest_bytes as usize), (16, rows[16].len()));
    assert_eq!(*total_bytes, rows.iter().map(|row| row.len() as u64).sum::<u64>());
    assert_eq!(figures.cost.matrix_bytes, 128 * MIB);
    assert_eq!(figures.weight(), Weight::Heavy);
    assert!(!shorter.is_empty());
    for Shorter { limit, longer_rows, cost } in shorter {
        assert_eq!(*longer_rows, 1, "limit {limit}");
        assert!(cost.memory_bytes < figures.cost.memory_bytes);
    }
    let summary = figures.summary("row 17");
    assert!(summary.starts_with("The table takes 416.0 MiB of node memory for "), "{summary}");
    assert!(summary.contains(&format!("row 17, has {longest_bytes} bytes")), "{summary}");
    let least = shorter.last().unwrap();
    assert!(least.cost.matrix_bytes < 32 * MIB, "{least:?}");
}

#[test]
fn a_limit_costs_what_the_planner_picks_for_a_table_that_keeps_to_it() {
    let schema = schema(4);
    let rows = rows(&schema, (0..250).map(|i| 300 + (i * 7919) % 4200));
    let long = figures(&schema, &rows);
    assert_eq!(long.weight(), Weight::VeryHeavy);
    assert!(long.sizes.shorter.len() > 1, "{long:?}");
    for Shorter { limit, longer_rows, cost } in &long.sizes.shorter {
        let limit = *limit as usize;
        let longer = rows.iter().filter(|row| row.len() > limit);
        assert_eq!(*longer_rows, longer.count() as u64);
        // The same table with shorter notes.
        let cut = rows.iter().map(|row| {
            let mut values = crate::table::decode_row(&schema, row).unwrap();
            if let Some(Value::Text(note)) = values.last_mut() {
                note.truncate(note.len() - row.len().saturating_sub(limit));
            }
            encode_row(&schema, &values).unwrap()
        });
        let cut: Vec<_> = cut.collect();
        assert!(cut.iter().all(|row| row.len() <= limit), "limit {limit}");
        assert_eq!(figures(&schema, &cut).cost, *cost, "limit {limit}");
    }
}

#[test]
fn figures_are_those_of_the_plan() {
    let schema = schema(2);
    let rows = rows(&schema, (0..400).map(|i| if i == 7 { 5_000 } else { 40 }));
    let plan = plan_table(&schema, &rows, Link::default(), || salt(1)).unwrap();
    let TableFigures { cost, sizes } = figures(&schema, &rows);
    let geometries = plan.indexes.iter().map(|index| index.plan.geometry());
    assert_eq!(cost, TableCost::of(geometries, Link::default()));
    assert_eq!(plan.sizes, Some(sizes));
    let memory = plan
        .indexes
        .iter()
        .map(|index| index.plan.geometry().cost(Link::default()).server_ram_bytes);
    assert_eq!(cost.memory_bytes, memory.sum::<u64>());
}

#[test]
fn short_rows_have_nothing_to_be_said_of() {
    let schema = schema(1);
    let rows = rows(&schema, (0..20_000).map(|_| 12));
    let figures = figures(&schema, &rows);
    assert_eq!((figures.weight(), figures.sizes.shorter), (Weight::Usual, Vec::new()));
}

#[test]
fn only_memory_out_of_proportion_is_heavy() {
    let of = |memory_bytes, total_bytes| {
        let cost = TableCost { matrix_bytes: 0, memory_bytes, lookup_micros: 0 };
        let sizes = RowSizes { total_bytes, longest_row: 0, longest_bytes: 1, shorter: Vec::new() };
        TableFigures { cost, sizes }.weight()
    };
    assert_eq!(of(256 * MIB, 1), Weight::Usual);
    assert_eq!(of(256 * MIB + 1, 1), Weight::Heavy);
    assert_eq!(of(1024 * MIB, 16 * MIB - 1), Weight::Heavy);
    assert_eq!(of(1024 * MIB, 16 * MIB), Weight::Usual);
    assert_eq!(of(1024 * MIB + 1, 1), Weight::VeryHeavy);
    assert_eq!(of(64 << 30, 1 << 30), Weight::Usual);
    assert_eq!(of((64 << 30) + 1, 1 << 30), Weight::VeryHeavy);
}
