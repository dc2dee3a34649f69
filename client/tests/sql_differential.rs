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

use opaque_client::sql::{
    self, Fetched, Found, IndexMeta, Kept, Options, Parameters, Plan, ResultSet, Source, SqlError,
    TableMeta,
};
use opaque_pir::geometry::Geometry;
use opaque_pir::table::Value;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::statements::Table;

const TABLES: u64 = 400;
const STATEMENTS: usize = 60;

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
            let answer = answer(&table, page_rows, &sql, &mut seen, &context);
            let expected = oracle::answer(&sqlite, &sql, &answer);
            assert_eq!(answer.rows, expected, "{context}\n{table:?}");
        }
    }
    // The generator covers every kind of answer.
    let Seen { counts, lookups, scans, refused, more_pages } = seen;
    for number in [counts, lookups, scans, refused, more_pages] {
        assert!(number > 100, "{counts} {lookups} {scans} {refused} {more_pages}");
    }
}

#[derive(Default)]
struct Seen {
    counts: u32,
    lookups: u32,
    scans: u32,
    refused: u32,
    more_pages: u32,
}

/// The answer, with as many pages as the first attempt requires.
fn answer(table: &Table, page_rows: u32, sql: &str, seen: &mut Seen, context: &str) -> ResultSet {
    let indexes = indexes(table, page_rows);
    let meta =
        TableMeta { schema: &table.schema, rows: table.rows.len() as u64, indexes: &indexes };
    let statement = sql::parse(sql, &Parameters::default());
    let statement = statement.unwrap_or_else(|error| panic!("{context}: {error}"));
    let plan = |options| sql::plan(&statement, &meta, &options);
    let mut options = Options::default();
    let mut planned = plan(options);
    if let Err(SqlError::NotPrivate(_)) = planned {
        seen.refused += 1;
        options.allow_public_scan = true;
        planned = plan(options);
    }
    let planned = planned.unwrap_or_else(|error| panic!("{context}: {error}"));
    match planned.source() {
        Source::Count(_) => seen.counts += 1,
        Source::Lookups { .. } => seen.lookups += 1,
        _ => seen.scans += 1,
    }
    match planned.finish(fetch(table, page_rows, &planned)) {
        Ok(answer) => answer,
        Err(SqlError::MorePages { matches, fetched, pages, .. }) => {
            seen.more_pages += 1;
            assert!(fetched < matches, "{context}");
            options.pages = u32::try_from(pages).unwrap();
            let planned = plan(options).unwrap();
            planned
                .finish(fetch(table, page_rows, &planned))
                .unwrap_or_else(|error| panic!("{context}: {error}"))
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
fn fetch(table: &Table, page_rows: u32, plan: &Plan) -> Fetched {
    let rows = || table.rows.iter().cloned().enumerate().map(|(number, row)| (number as u64, row));
    match plan.source() {
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
            let mut kept = Kept::default();
            // In no particular order, as in the buckets.
            let mut rows: Vec<_> = rows().take(enough.saturating_add(3)).collect();
            rows.sort_by_key(|(number, _)| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            rows.into_iter().for_each(|(number, row)| plan.keep(&mut kept, number, row));
            Fetched::Rows(kept)
        }
        source => panic!("{source:?}"),
    }
}
