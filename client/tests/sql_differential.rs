//! Random statements over random tables, planned and finished over an executor in memory, compared
//! with SQLite row for row.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "test support: a failure is a failed test"
)]

#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/statements.rs"]
mod statements;
#[path = "support/wide.rs"]
mod wide;

use opaque_client::sql::{
    self, Bounds, Fetched, Found, IndexMeta, Options, Parameters, Plan, ResultSet, Source,
    SqlError, TableMeta,
};
use opaque_pir::geometry::Geometry;
use opaque_pir::table::{ColumnType, Schema, Value};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::statements::Table;

const TABLES: u64 = 400;
const STATEMENTS: usize = 60;
const WIDE_TABLES: u64 = 200;

#[test]
fn agrees_with_sqlite() {
    let mut seen = Seen::default();
    for seed in 0..TABLES {
        let mut rng = StdRng::seed_from_u64(seed);
        let table = statements::table(&mut rng);
        let page_rows = rng.random_range(1..6);
        let sqlite = oracle::sqlite(&table);
        for _ in 0..STATEMENTS {
            let sql = statements::statement(&mut rng, &table);
            let context = format!("seed {seed}, {page_rows} rows per page: {sql}");
            let answer = answer(&[&table], page_rows, &sql, &mut seen, &context).unwrap();
            let expected = oracle::answer(&sqlite, &sql, &answer);
            assert_eq!(answer.rows, expected, "{context}\n{table:?}");
        }
    }
    // The generator covers every kind of answer.
    let Seen { counts, lookups, scans, refused, more_pages, mismatched } = seen;
    assert_eq!(mismatched, 0);
    for number in [counts, lookups, scans, refused, more_pages] {
        assert!(number > 100, "{counts} {lookups} {scans} {refused} {more_pages}");
    }
}

/// Statements of the whole language, over two tables. Only computed TIMESTAMP columns are left out,
/// because the oracle orders times as text and writes them with six digits.
#[test]
fn agrees_with_sqlite_on_the_whole_language() {
    let mut seen = Seen::default();
    let mut rows = 0;
    for seed in 0..WIDE_TABLES {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed_0000);
        let [t, u] = ["t", "u"].map(|name| without_times(statements::table(&mut rng), name));
        let page_rows = rng.random_range(1..6);
        let sqlite = oracle::sqlite(&t);
        oracle::add(&sqlite, &u);
        for _ in 0..STATEMENTS {
            let wide::Wide { sql, ordered } = wide::statement(&mut rng, [&t, &u]);
            let context = format!("seed {seed}, {page_rows} rows per page: {sql}");
            let Some(mut answer) = answer(&[&t, &u], page_rows, &sql, &mut seen, &context) else {
                continue;
            };
            // The text of an expression is its name, which SQLite writes with other blanks.
            let named: Vec<_> = answer.columns.iter().map(|column| column.column_type).collect();
            let mut expected = oracle::rows(&sqlite, &sql, &named);
            if !ordered {
                for rows in [&mut answer.rows, &mut expected] {
                    rows.sort_by_cached_key(|row| format!("{row:?}"));
                }
            }
            assert_eq!(answer.rows, expected, "{context}\n{t:?}\n{u:?}");
            rows += expected.len();
        }
    }
    let Seen { lookups, more_pages, refused, mismatched, .. } = seen;
    assert!(mismatched < 1_000, "{mismatched}");
    assert!(
        lookups > 5_000 && more_pages > 100 && refused == 0,
        "{lookups} {more_pages} {refused}"
    );
    assert!(rows > 10_000, "{rows}");
}

/// The table under another name, with INT in place of TIMESTAMP columns.
fn without_times(table: Table, name: &str) -> Table {
    let columns = table.schema.columns().iter().cloned().map(|mut column| {
        if column.column_type == ColumnType::Timestamp {
            column.column_type = ColumnType::Int;
        }
        column
    });
    let schema = Schema::new(name.to_owned(), columns.collect()).unwrap();
    let cell = |cell: Value| match cell {
        Value::Timestamp(micros) => Value::Int(micros),
        cell => cell,
    };
    let rows = table.rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect();
    Table { schema, rows }
}

#[derive(Default)]
struct Seen {
    counts: u32,
    lookups: u32,
    scans: u32,
    refused: u32,
    more_pages: u32,
    mismatched: u32,
}

/// The answer, with as many pages as the first attempt requires. `None` if a literal does not fit
/// its column, which SQLite would answer by comparing values of different types.
fn answer(
    tables: &[&Table],
    page_rows: u32,
    sql: &str,
    seen: &mut Seen,
    context: &str,
) -> Option<ResultSet> {
    let statement = sql::parse(sql, &Parameters::default());
    let statement = statement.unwrap_or_else(|error| panic!("{context}: {error}"));
    let read: Vec<&Table> = statement
        .tables()
        .map(|name| *tables.iter().find(|table| table.schema.table() == name).unwrap())
        .collect();
    let indexes: Vec<_> = read.iter().map(|table| indexes(table, page_rows)).collect();
    let metas: Vec<_> = read
        .iter()
        .zip(&indexes)
        .map(|(table, indexes)| TableMeta {
            schema: &table.schema,
            rows: table.rows.len() as u64,
            indexes,
        })
        .collect();
    let plan = |options| sql::plan(&statement, &metas, &options);
    let finish = |plan: &Plan| {
        let fetched = read.iter().zip(plan.sources());
        let fetched = fetched.map(|(table, source)| fetch(table, page_rows, source)).collect();
        plan.finish(fetched, &Bounds::default())
    };
    let mut options = Options::default();
    let mut planned = plan(options);
    if let Err(SqlError::NotPrivate(_)) = planned {
        seen.refused += 1;
        options.allow_public_scan = true;
        planned = plan(options);
    }
    let planned = planned.unwrap_or_else(|error| panic!("{context}: {error}"));
    match planned.sources().next() {
        Some(Source::Count(_)) => seen.counts += 1,
        Some(Source::Lookups { .. }) => seen.lookups += 1,
        _ => seen.scans += 1,
    }
    match finish(&planned) {
        Ok(answer) => Some(answer),
        Err(SqlError::Literal { .. }) => {
            seen.mismatched += 1;
            None
        }
        Err(SqlError::MorePages { matches, fetched, .. }) => {
            seen.more_pages += 1;
            assert!(fetched < matches, "{context}");
            // As many pages as any value of any table needs.
            options.pages = 40;
            let answer = finish(&plan(options).unwrap());
            Some(answer.unwrap_or_else(|error| panic!("{context}: {error}")))
        }
        Err(error) => panic!("{context}: {error}"),
    }
}

fn indexes(table: &Table, page_rows: u32) -> Vec<IndexMeta> {
    let geometry = Geometry::new(4096, 1024, page_rows).unwrap();
    let index = |column: usize| {
        let non_null = table.rows.iter().filter(|row| row[column] != Value::Null).count();
        IndexMeta { column, non_null_rows: non_null as u64, geometry }
    };
    table.schema.searchable().map(index).collect()
}

/// The data that a cluster would return.
fn fetch(table: &Table, page_rows: u32, source: &Source) -> Fetched {
    let rows = || table.rows.iter().cloned().enumerate().map(|(number, row)| (number as u64, row));
    match source {
        Source::Count(_) => Fetched::Nothing,
        Source::Lookups { column, values, pages } => {
            let found = values.iter().map(|value| {
                let mut rows: Vec<_> = rows().filter(|(_, row)| row[*column] == *value).collect();
                let total_rows = rows.len() as u64;
                rows.truncate((pages * page_rows) as usize);
                Found { total_rows, rows }
            });
            Fetched::Lookups(found.collect())
        }
        Source::PublicScan { rows_below } => {
            // A scan stops between pages, not between rows.
            let enough = rows_below.map_or(usize::MAX, |enough| enough as usize);
            // In no particular order, as in the buckets.
            let mut rows: Vec<_> = rows().take(enough.saturating_add(3)).collect();
            rows.sort_by_key(|(number, _)| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            Fetched::Rows(rows.into())
        }
        source => panic!("{source:?}"),
    }
}
