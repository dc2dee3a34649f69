use opaque_client::sql::{self, Bounds, Fetched, Options, OutputColumn, TableMeta};
use opaque_pir::table::{Column, ColumnType, Role, Schema, Value};
use proptest::prelude::*;

use super::*;

fn answer(columns: &[(&str, ColumnType)], rows: Vec<Vec<Value>>) -> ResultSet {
    let column = |(name, column_type): &(&str, ColumnType)| OutputColumn {
        name: (*name).to_owned(),
        column_type: Some(*column_type),
    };
    ResultSet { columns: columns.iter().map(column).collect(), rows }
}

fn written(answer: &ResultSet, format: Format) -> String {
    marked(answer, format, "")
}

fn marked(answer: &ResultSet, format: Format, null: &str) -> String {
    let mut bytes = Vec::new();
    write(answer, format, null, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A table with the columns of an answer.
fn schema(answer: &ResultSet) -> Schema {
    let column = |(position, column): (usize, &OutputColumn)| Column {
        name: column.name.clone(),
        column_type: column.column_type.unwrap(),
        role: if position == 0 { Role::Index } else { Role::Payload },
        nullable: true,
    };
    let columns = answer.columns.iter().enumerate().map(column).collect();
    Schema::new("t".to_owned(), columns).unwrap()
}

/// The rows that `opaque load --null` reads from an answer in CSV.
fn loaded(answer: &ResultSet, null: &str) -> Vec<Vec<Value>> {
    let schema = schema(answer);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, marked(answer, Format::Csv, null)).unwrap();
    let reader = opaque_source::Reader::open(&path, &schema, null).unwrap();
    reader.collect::<Result<_, _>>().unwrap()
}

#[test]
fn csv_loads_as_the_rows_that_it_was_written_of() {
    let mut valid = nasty();
    // Text that is not JSON is not loaded as JSON.
    valid.rows[1][3] = Value::Json("{}".to_owned());
    for null in ["NA", "\\N", "a,\"b", "\n"] {
        assert_eq!(loaded(&valid, null), valid.rows, "{null:?}");
    }
    assert_eq!(loaded(&valid, ""), valid.rows);
    let text = |text: &str| vec![Value::Text(text.to_owned())];
    let one = |rows| answer(&[("t", ColumnType::Text)], rows);
    let rows = vec![text("a"), vec![Value::Null], text("b"), vec![Value::Null]];
    for null in ["", "NA"] {
        assert_eq!(loaded(&one(rows.clone()), null), rows, "{null:?}");
    }
    let rows = vec![text(""), vec![Value::Null], text(" ")];
    assert_eq!(loaded(&one(rows.clone()), "NA"), rows);
    // What could be a quote or a comment of another dialect.
    let rows = ["#x", "'x'", "'s", "#", "'"].map(text).to_vec();
    assert_eq!(loaded(&one(rows.clone()), ""), rows);
}

/// The rows that `opaque-prepare` reads from an answer in JSON lines.
fn loaded_lines(answer: &ResultSet) -> Vec<Vec<Value>> {
    let bytes = std::io::Cursor::new(written(answer, Format::Jsonl));
    let none = opaque_source::Compression::None;
    let input = opaque_source::Input::stream("t.jsonl".to_owned(), bytes, None, none).unwrap();
    let settings = opaque_source::Settings::default();
    let reader = opaque_source::Reader::new(input, None, &schema(answer), &settings).unwrap();
    reader.collect::<Result<_, _>>().unwrap()
}

/// Values of every type over its whole range, in the order of [`nasty`]'s columns.
fn row() -> impl Strategy<Value = Vec<Value>> {
    let or_null = |value: BoxedStrategy<Value>| prop_oneof![1 => Just(Value::Null), 9 => value];
    let extreme =
        [f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, -0.0, 5e-324, 1e16];
    let real = prop_oneof![any::<f64>(), prop::sample::select(extreme.to_vec())];
    let document = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    let document = document.prop_map(|text| format!("{{\"a\":[{text},1.50,null]}}"));
    let values: Vec<BoxedStrategy<Value>> = vec![
        any::<i64>().prop_map(Value::Int).boxed(),
        real.prop_filter_map("NaN", Value::real).boxed(),
        any::<String>().prop_map(Value::Text).boxed(),
        document.prop_map(Value::Json).boxed(),
        any::<bool>().prop_map(Value::Bool).boxed(),
        // Years 1 to 9998.
        (-62_135_596_800_000_000_i64..253_370_764_800_000_000).prop_map(Value::Timestamp).boxed(),
    ];
    values.into_iter().map(or_null).collect::<Vec<_>>()
}

proptest! {
    #[test]
    fn what_is_printed_loads_as_itself(rows in prop::collection::vec(row(), 1..4)) {
        let printed = ResultSet { rows, ..nasty() };
        // A marker for NULL that no generated text equals.
        prop_assert_eq!(&loaded(&printed, "\u{1}NULL\u{1}"), &printed.rows);
        prop_assert_eq!(&loaded_lines(&printed), &printed.rows);
    }
}

fn nasty() -> ResultSet {
    let text = |text: &str| Value::Text(text.to_owned());
    let json = |text: &str| Value::Json(text.to_owned());
    answer(
        &[
            ("n", ColumnType::Int),
            ("r", ColumnType::Real),
            ("t", ColumnType::Text),
            ("j", ColumnType::Json),
            ("b", ColumnType::Bool),
            ("at", ColumnType::Timestamp),
        ],
        vec![
            vec![
                Value::Int(i64::MIN),
                Value::Real(21.5),
                text("a,\"b\"\n\u{1b}[31m"),
                json("{\"a\":\n[1, 12345678901234567890]}"),
                Value::Bool(true),
                Value::Timestamp(1_500_000),
            ],
            vec![
                Value::Int(7),
                Value::Real(f64::NEG_INFINITY),
                text(""),
                json("no document"),
                Value::Bool(false),
                Value::Timestamp(0),
            ],
            vec![Value::Null; 6],
            vec![
                Value::Int(9_007_199_254_740_993),
                Value::Real(5.0),
                text("日本\u{202e}"),
                json("null"),
                Value::Null,
                Value::Timestamp(-1),
            ],
        ],
    )
}

#[test]
fn table_is_aligned_and_harmless() {
    let expected = [
        " n                    | r    | t                 | j                                 | b     | at",
        "----------------------+------+-------------------+-----------------------------------+-------+-----------------------------",
        " -9223372036854775808 | 21.5 | a,\"b\"\\n\\u{1b}[31m | {\"a\":\\n[1, 12345678901234567890]} | true  | 1970-01-01T00:00:01.5Z",
        "                    7 | -inf |                   | no document                       | false | 1970-01-01T00:00:00Z",
        "                 NULL | NULL | NULL              | NULL                              | NULL  | NULL",
        "     9007199254740993 |  5.0 | 日本\\u{202e}      | null                              | NULL  | 1969-12-31T23:59:59.999999Z",
        "(4 rows)",
        "",
    ];
    assert_eq!(written(&nasty(), Format::Table), expected.join("\n"));
}

#[test]
fn table_without_rows_keeps_its_header() {
    let empty = answer(&[("city", ColumnType::Text)], Vec::new());
    assert_eq!(written(&empty, Format::Table), " city\n------\n(0 rows)\n");
    let one = answer(&[("COUNT(*)", ColumnType::Int)], vec![vec![Value::Int(2)]]);
    assert_eq!(written(&one, Format::Table), " COUNT(*)\n----------\n        2\n(1 row)\n");
}

#[test]
fn vertical_has_a_line_for_each_value() {
    let mut some = nasty();
    some.rows.truncate(1);
    some.rows.push(some.rows[0].clone());
    let record = [
        "n  | -9223372036854775808",
        "r  | 21.5",
        "t  | a,\"b\"\\n\\u{1b}[31m",
        "j  | {\"a\":\\n[1, 12345678901234567890]}",
        "b  | true",
        "at | 1970-01-01T00:00:01.5Z",
    ];
    let record = record.join("\n");
    let rule = "-".repeat(27);
    let expected = format!("-[ RECORD 1 ]{rule}\n{record}\n-[ RECORD 2 ]{rule}\n{record}\n");
    assert_eq!(written(&some, Format::Vertical), expected);
    let empty = answer(&[("city", ColumnType::Text)], Vec::new());
    assert_eq!(written(&empty, Format::Vertical), "(0 rows)\n");
}

#[cfg(feature = "shell")]
#[test]
fn the_width_of_a_table_counts_columns_of_a_terminal() {
    let wide = answer(&[("t", ColumnType::Text)], vec![vec![Value::Text("日本語".to_owned())]]);
    assert_eq!(table_width(&wide), 8);
    assert_eq!(table_width(&answer(&[("longer", ColumnType::Int)], Vec::new())), 8);
}

#[test]
fn csv_has_null_apart_from_empty_text() {
    let expected = "n,r,t,j,b,at\n\
        -9223372036854775808,21.5,\"a,\"\"b\"\"\n\u{1b}[31m\",\"{\"\"a\"\":\n[1, 12345678901234567890]}\",true,1970-01-01T00:00:01.5Z\n\
        7,-inf,\"\",no document,false,1970-01-01T00:00:00Z\n\
        ,,,,,\n\
        9007199254740993,5.0,日本\u{202e},null,,1969-12-31T23:59:59.999999Z\n";
    assert_eq!(written(&nasty(), Format::Csv), expected);
}

#[test]
fn json_keeps_types_and_every_digit() {
    let lines = [
        "{\"n\":-9223372036854775808,\"r\":21.5,\"t\":\"a,\\\"b\\\"\\n\\u001b[31m\",\"j\":{\"a\": [1, 12345678901234567890]},\"b\":true,\"at\":\"1970-01-01T00:00:01.5Z\"}",
        "{\"n\":7,\"r\":\"-inf\",\"t\":\"\",\"j\":\"no document\",\"b\":false,\"at\":\"1970-01-01T00:00:00Z\"}",
        "{\"n\":null,\"r\":null,\"t\":null,\"j\":null,\"b\":null,\"at\":null}",
        "{\"n\":9007199254740993,\"r\":5.0,\"t\":\"日本\u{202e}\",\"j\":null,\"b\":null,\"at\":\"1969-12-31T23:59:59.999999Z\"}",
    ];
    assert_eq!(written(&nasty(), Format::Jsonl), format!("{}\n", lines.join("\n")));
    let array = written(&nasty(), Format::Json);
    assert_eq!(array, format!("[\n  {}\n]\n", lines.join(",\n  ")));
    let read: serde_json::Value = serde_json::from_str(&array).unwrap();
    assert_eq!(read[3]["n"], 9_007_199_254_740_993i64);
}

#[test]
fn json_of_nothing_and_of_equal_names() {
    let empty = answer(&[("a", ColumnType::Int)], Vec::new());
    assert_eq!(written(&empty, Format::Json), "[]\n");
    assert_eq!(written(&empty, Format::Jsonl), "");
    let int = ColumnType::Int;
    let numbers = (1..=4).map(Value::Int).collect();
    let twice = answer(&[("a", int), ("a", int), ("a_2", int), ("a", int)], vec![numbers]);
    assert_eq!(written(&twice, Format::Jsonl), "{\"a\":1,\"a_3\":2,\"a_2\":3,\"a_4\":4}\n");
}

/// Whether a statement finds a value by its text in a CSV answer.
fn is_found_as_printed(column_type: ColumnType, value: Value) -> bool {
    let answer = answer(&[("c", column_type)], vec![vec![value]]);
    let text = written(&answer, Format::Csv);
    let text = text.strip_prefix("c\n").unwrap().trim_end_matches('\n');
    let (schema, options) =
        (schema(&answer), Options { allow_public_scan: true, ..Options::default() });
    let table = TableMeta { schema: &schema, rows: 1, indexes: &[] };
    let parameters = [("p".to_owned(), text.to_owned())].into_iter().collect();
    let statement = sql::parse("SELECT c FROM t WHERE c = :p", &parameters).unwrap();
    let plan = sql::plan(&statement, &[table], &options).unwrap();
    let rows = Fetched::Rows((0..).zip(answer.rows.clone()).collect());
    // A whole REAL may become an INT, which compares as the same number.
    plan.finish(vec![rows], &Bounds::default()).unwrap().rows == answer.rows
}

proptest! {
    #[test]
    fn what_is_printed_is_searched_for_as_itself(
        int in any::<i64>(),
        real in any::<f64>(),
        truth in any::<bool>(),
        // Years 1 to 9998.
        micros in -62_135_596_800_000_000_i64..253_370_764_800_000_000,
    ) {
        let values = [
            (ColumnType::Int, Some(Value::Int(int))),
            (ColumnType::Real, Value::real(real)),
            (ColumnType::Real, Value::real(f64::INFINITY)),
            (ColumnType::Bool, Some(Value::Bool(truth))),
            (ColumnType::Timestamp, Some(Value::Timestamp(micros))),
        ];
        for (column_type, value) in values {
            let Some(value) = value else { continue };
            prop_assert!(is_found_as_printed(column_type, value.clone()), "{value:?}");
        }
    }
}
