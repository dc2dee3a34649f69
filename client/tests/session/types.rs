//! What a node states about a table's columns does not change the client's requests.

use opaque_client::{Client, Error, QueryOptions, sql::Options};
use opaque_pir::table::{Column, ColumnType, Role, Schema, Value, encode_row};
use opaque_proto::v1::{ScannedRow, TableDescription};
use tonic::Code;

use super::{
    fake::Reply,
    lookup::{INLINE, spoiled},
    scan::{config, described, numbers},
};

/// Column `id` is a KEY, the others cannot be searched.
fn schema(columns: &[(&str, ColumnType)]) -> Schema {
    let column = |&(name, column_type): &(&str, ColumnType)| {
        let role = if name == "id" { Role::Key } else { Role::Payload };
        Column { name: name.to_owned(), column_type, role, nullable: role != Role::Key }
    };
    Schema::new("t".to_owned(), columns.iter().map(column).collect()).unwrap()
}

fn described_as(schema: &Schema, epoch: u64, rows: u64) -> TableDescription {
    let mut described = described(epoch, rows);
    described.schema = Some(schema.into());
    described.indexes[0].column = u32::try_from(schema.column("id").unwrap().0).unwrap();
    described
}

/// The same KEY among other columns, of other types, in another order.
fn schemas() -> [Schema; 4] {
    use ColumnType::{Bool, Int, Json, Text, Timestamp};
    [
        schema(&[("id", Int), ("pin", Bool)]),
        schema(&[("id", Int), ("pin", Int)]),
        schema(&[("nick", Text), ("pin", Json), ("id", Text)]),
        schema(&[("at", Timestamp), ("id", Bool)]),
    ]
}

/// The requests that a node has received, as numbers and lengths.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    describes: usize,
    public_parts: usize,
    scans: Vec<(u32, u32, Option<u64>)>,
    lookups: Vec<(Option<u32>, usize)>,
}

async fn asked(
    tables: Vec<TableDescription>,
    script: Vec<Reply>,
    sql: &str,
    options: &QueryOptions,
) -> (Asked, Result<Vec<Vec<Value>>, Error>) {
    let (config, node) = config(tables, script).await;
    let outcome = Client::connect(config).unwrap().query(sql, options).await;
    let seen = node.seen.lock().unwrap();
    let scans = seen.scans.iter().map(|scan| (scan.first_bucket, scan.end_bucket, scan.rows_below));
    let lookups = seen.lookups.iter().map(|(header, query)| (header.lookups, query.len()));
    let asked = Asked {
        describes: seen.describes,
        public_parts: seen.public_parts.len(),
        scans: scans.collect(),
        lookups: lookups.collect(),
    };
    (asked, outcome.map(|(answer, _)| answer.rows))
}

/// Otherwise a node that learns whether a statement was sent would learn whether its type fits `7`.
#[tokio::test]
async fn no_type_or_column_that_a_node_states_changes_a_request() {
    let many = vec!["'x'"; 20].join(", ");
    for (sql, lookups) in [
        ("SELECT * FROM t WHERE id = 5 AND pin = 7".to_owned(), vec![1]),
        ("SELECT * FROM t WHERE id = 'five'".to_owned(), vec![1]),
        ("SELECT nick FROM t WHERE id = 2 AND pin LIKE 'a%' ORDER BY at".to_owned(), vec![1]),
        ("SELECT * FROM t WHERE id IN (1, 2.5, TRUE, NULL, 'x') ORDER BY 3".to_owned(), vec![5]),
        ("SELECT COUNT(*) FROM t WHERE id <> '2026-01-01T00:00:00Z'".to_owned(), vec![1]),
        (format!("SELECT pin FROM t WHERE pin AND id IN ({many})"), vec![16, 4]),
        (
            "SELECT a.id FROM t a LEFT JOIN t b ON a.pin = b.nick WHERE b.id = 5 AND a.id IN (1, 2)"
                .to_owned(),
            vec![2, 1],
        ),
        ("SELECT pin FROM t WHERE id = 1 UNION SELECT at FROM t WHERE id = 2".to_owned(), vec![1, 1]),
    ] {
        let mut first = None;
        for schema in schemas() {
            let script = lookups.iter().map(|lookups| spoiled(INLINE, *lookups)).collect();
            let tables = vec![described_as(&schema, 1, 100)];
            let (asked, outcome) = asked(tables, script, &sql, &QueryOptions::default()).await;
            // Decryption errors come first; errors of the statement itself follow.
            let error = outcome.unwrap_err();
            assert!(error.to_string().contains("failed its check"), "{sql}: {error}");
            let sent: Vec<_> = asked.lookups.iter().filter_map(|(lookups, _)| *lookups).collect();
            assert_eq!(sent, lookups.iter().copied().map(u32::from).collect::<Vec<_>>(), "{sql}");
            assert_eq!(*first.get_or_insert_with(|| asked.clone()), asked, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_public_scan_is_whole_before_a_type_is_wrong() {
    let options = QueryOptions {
        plan: Options { allow_public_scan: true, ..Options::default() },
        ..QueryOptions::default()
    };
    let mut outcomes = Vec::new();
    for (pin, cell) in [(ColumnType::Bool, Value::Bool(true)), (ColumnType::Int, Value::Int(7))] {
        let schema = schema(&[("id", ColumnType::Int), ("pin", pin)]);
        let row = |number: u64| {
            let row = encode_row(&schema, &[Value::Int(number.cast_signed()), cell.clone()]);
            ScannedRow { number, row: row.unwrap().into() }
        };
        let script = vec![Reply::Rows(vec![row(0)], 1024), Reply::Rows(vec![row(1)], 2048)];
        let tables = vec![described_as(&schema, 1, 2)];
        outcomes.push(asked(tables, script, "SELECT id FROM t WHERE pin = 7", &options).await);
    }
    let [(bool_asked, refused), (int_asked, answered)] = <[_; 2]>::try_from(outcomes).unwrap();
    assert_eq!(bool_asked, int_asked);
    assert_eq!(bool_asked.scans.len(), 2);
    assert_eq!(answered.unwrap(), [[Value::Int(0)], [Value::Int(1)]]);
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("is BOOL and cannot be compared with 7"), "{error}");
}

#[tokio::test]
async fn a_statement_ends_where_the_table_came_back_with_another_schema() {
    const SQL: &str = "SELECT * FROM t WHERE id = 5 AND pin = 7";
    let [bools, ints, ..] = schemas();
    let stale = || Reply::Refuse(Code::FailedPrecondition, "stale-epoch");
    for (second, lookups, text) in [
        (&bools, 2, "failed its check"),
        (&ints, 1, "the table changed while the statement ran; run it again"),
    ] {
        let tables = vec![described_as(&bools, 1, 100), described_as(second, 2, 90)];
        let script = vec![stale(), spoiled(INLINE, 1)];
        let (asked, outcome) = asked(tables, script, SQL, &QueryOptions::default()).await;
        assert_eq!((asked.describes, asked.lookups.len()), (2, lookups), "{text}");
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[tokio::test]
async fn what_the_text_shows_wrong_is_refused_before_the_table_is_described() {
    let parameters = || [("n".to_owned(), "many".to_owned())].into_iter().collect();
    let with = QueryOptions { parameters: parameters(), ..QueryOptions::default() };
    let none = QueryOptions::default();
    for (sql, options, text) in [
        ("SELECT * FROM t WHERE id = :id", &none, "no value for :id"),
        ("SELECT * FROM t WHERE id = 5", &with, "the statement has no :n"),
        ("SELECT * FROM t WHERE id = 5 LIMIT :n", &with, "LIMIT :n is not a whole number"),
        ("SELECT foo(id) FROM t WHERE id = 5", &none, "function foo is not supported"),
        ("SELECT substr(id) FROM t WHERE id = 5", &none, "wrong number of arguments"),
        ("SELECT id FROM t WHERE id = 5 AND SUM(id) > 1", &none, "misuse of aggregate"),
        ("SELECT id FROM t WHERE id = 5 GROUP 1", &none, "can be read"),
        ("SELECT id FROM t WHERE id = 5 ORDER BY 2", &none, "should be between 1 and 1"),
        ("SELECT id FROM t WHERE id = 5 AND id + :n > 1", &with, "its type is unknown"),
    ] {
        let tables = vec![described(1, 100)];
        let (asked, outcome) = asked(tables, Vec::new(), sql, options).await;
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains(text), "{sql}: {error}");
        assert_eq!((asked.describes, asked.lookups.len()), (0, 0), "{sql}");
    }
}

/// The second statement starts from the description that the first one fetched.
#[tokio::test]
async fn a_kept_description_is_asked_for_again_by_nothing_that_a_type_decides() {
    let [bools, ..] = schemas();
    let script = vec![spoiled(INLINE, 1); 3];
    let tables = vec![described_as(&bools, 1, 100)];
    let (config, node) = config(tables, script).await;
    let client = Client::connect(config).unwrap();
    for sql in [
        "SELECT * FROM t WHERE id = 5",
        "SELECT * FROM t WHERE id = 5 AND pin = 7",
        "SELECT nick FROM t WHERE id = 'five' ORDER BY at",
    ] {
        numbers(&client, sql).await.unwrap_err();
    }
    let seen = node.seen.lock().unwrap();
    assert_eq!((seen.describes, seen.lookups.len()), (1, 3));
}
