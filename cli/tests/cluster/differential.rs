//! At least 500 random statements through a real cluster, each compared with SQLite row for row.

use opaque_client::ddl;
use opaque_client::sql::{self, Options, Parameters, ResultSet, Source, SqlError};
use opaque_client::{Client, Error, QueryOptions};
use opaque_pir::table::Value;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::harness::{Cluster, example};
use super::oracle;
use super::statements::{self, Table};

/// If more pages than this are needed, they are not fetched, because each is a lookup. The exact
/// count is compared instead.
const MOST_PAGES: u64 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn agrees_with_sqlite() {
    let cluster = Cluster::start(&[]).await;
    let mut seen = Seen::default();

    cluster.load_example("weather", "weather.csv");
    let weather = read_example("weather", "weather.csv");
    seen.compare(&cluster, &weather, 200, 1).await;

    let nasty = nasty_table();
    let (schema, csv) = as_files(&nasty);
    cluster.load(&schema, &csv);
    seen.compare(&cluster, &nasty, 280, 2).await;

    cluster.load_example("cities", "cities.csv.zst");
    let cities = read_example("cities", "cities.csv.zst");
    assert!(cities.rows.len() >= 100_000);
    seen.compare(&cluster, &cities, 120, 3).await;

    println!("{seen:?}");
    assert!(seen.compared >= 500, "{seen:?}");
    // Every kind of answer occurred.
    for ways in [seen.lookups, seen.scans, seen.counts] {
        assert!(ways >= 10, "{seen:?}");
    }
    // How many rows a page has depends on the nodes' salt.
    assert!(seen.more_pages >= 4, "{seen:?}");
}

#[derive(Debug, Default)]
struct Seen {
    compared: u32,
    lookups: u32,
    scans: u32,
    counts: u32,
    refused: u32,
    more_pages: u32,
}

impl Seen {
    async fn compare(&mut self, cluster: &Cluster, table: &Table, statements: u32, seed: u64) {
        let sqlite = oracle::sqlite(table);
        let client = cluster.client();
        let mut rng = StdRng::seed_from_u64(seed);
        for number in 0..statements {
            let sql = statements::statement(&mut rng, table);
            let context = format!("{} #{number}: {sql}", table.schema.table());
            let mut plan = Options::default();
            let mut outcome = ask(&client, &sql, plan).await;
            if let Err(Error::Sql(SqlError::NotPrivate(_))) = outcome {
                self.refused += 1;
                plan.allow_public_scan = true;
                outcome = ask(&client, &sql, plan).await;
            }
            *match planned(&client, &sql, plan).await {
                Way::Count => &mut self.counts,
                Way::Lookups => &mut self.lookups,
                Way::Scan => &mut self.scans,
            } += 1;
            if let Err(Error::Sql(SqlError::MorePages { matches, pages, .. })) = outcome {
                self.more_pages += 1;
                if pages > MOST_PAGES {
                    assert_eq!(matches, most_matches(&sqlite, &sql), "{context}");
                    self.compared += 1;
                    continue;
                }
                plan.pages = u32::try_from(pages).unwrap();
                outcome = ask(&client, &sql, plan).await;
            }
            let answer = outcome.unwrap_or_else(|error| panic!("{context}: {error}"));
            let expected = oracle::answer(&sqlite, &sql, &answer);
            assert_eq!(answer.rows, expected, "{context}");
            self.compared += 1;
        }
    }
}

enum Way {
    Count,
    Lookups,
    Scan,
}

async fn ask(client: &Client, sql: &str, plan: Options) -> Result<ResultSet, Error> {
    let options = QueryOptions { plan, ..QueryOptions::default() };
    Ok(client.query(sql, &options).await?.0)
}

/// How the statement is answered.
async fn planned(client: &Client, sql: &str, options: Options) -> Way {
    let statement = sql::parse(sql, &Parameters::default()).unwrap();
    let table = client.describe(statement.tables().next().unwrap()).await.unwrap();
    let plan = sql::plan(&statement, &[table.meta()], &options).unwrap();
    match plan.sources().next() {
        Some(Source::Count(_)) => Way::Count,
        Some(Source::Lookups { .. }) => Way::Lookups,
        Some(Source::PublicScan { .. }) => Way::Scan,
        other => panic!("a new way to answer: {other:?}"),
    }
}

/// The largest number of rows that one value of the statement's lookups can have is at least what
/// SQLite counts for the whole condition; for a bare lookup it is exactly that.
fn most_matches(sqlite: &rusqlite::Connection, sql: &str) -> u64 {
    let condition = sql.split(" WHERE ").nth(1).unwrap();
    let condition = condition.split(" ORDER BY ").next().unwrap();
    let condition = condition.split(" LIMIT ").next().unwrap();
    let table = sql.split(" FROM ").nth(1).unwrap().split(' ').next().unwrap();
    let lookup = condition.split(" AND ").next().unwrap();
    let count = format!("SELECT COUNT(*) FROM {table} WHERE {lookup}");
    let count: i64 = sqlite.query_row(&count, [], |row| row.get(0)).unwrap();
    count.try_into().unwrap()
}

fn read_example(name: &str, data: &str) -> Table {
    let folder = example(name);
    let schema =
        ddl::parse(&std::fs::read_to_string(folder.join("schema.sql")).unwrap()).unwrap().schema;
    let rows = opaque_source::Reader::open(&folder.join(data), &schema, "").unwrap();
    let rows = rows.collect::<Result<_, _>>().unwrap();
    Table { schema, rows }
}

/// A table of odd values with every role, type and NULLs.
fn nasty_table() -> Table {
    (0..)
        .map(|seed| statements::table(&mut StdRng::seed_from_u64(seed)))
        .find(|table| {
            table.rows.len() > 30
                && table.schema.searchable().count() >= 3
                && table.schema.columns().len() >= 6
        })
        .unwrap()
}

/// The table as files of a user. NULL is `\N`, so that empty text is a value.
fn as_files(table: &Table) -> (String, String) {
    use opaque_pir::table::{ColumnType, Role};
    let columns: Vec<String> = table
        .schema
        .columns()
        .iter()
        .map(|column| {
            let column_type = match column.column_type {
                ColumnType::Int => "INT",
                ColumnType::Real => "REAL",
                ColumnType::Text => "TEXT",
                ColumnType::Json => "JSON",
                ColumnType::Bool => "BOOL",
                ColumnType::Timestamp => "TIMESTAMP",
            };
            let role = match column.role {
                Role::Key => " KEY",
                Role::Index => " INDEX",
                Role::Payload => "",
            };
            let null = if column.nullable { "" } else { " NOT NULL" };
            format!("{} {column_type}{role}{null}", column.name)
        })
        .collect();
    let schema = format!("CREATE TABLE {} ({});", table.schema.table(), columns.join(", "));
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(table.schema.columns().iter().map(|column| &column.name)).unwrap();
    for row in &table.rows {
        csv.write_record(row.iter().map(field)).unwrap();
    }
    (schema, String::from_utf8(csv.into_inner().unwrap()).unwrap())
}

fn field(value: &Value) -> String {
    match value {
        Value::Null => "\\N".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) | Value::Json(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Timestamp(_) => statements::instant(value),
    }
}
