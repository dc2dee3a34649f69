use opaque_pir::table::{Column, ColumnType, Role, Schema, Value};

use crate::{
    Compression, CsvSettings, Encoded, Format, Input, MAX_RECORD_BYTES, Null, Quotes, Reader,
    SourceError,
};

fn schema() -> Schema {
    let column = |name: &str, column_type, role, nullable| Column {
        name: name.to_owned(),
        column_type,
        role,
        nullable,
    };
    let columns = vec![
        column("city", ColumnType::Text, Role::Key, false),
        column("temp", ColumnType::Int, Role::Index, true),
        column("ph", ColumnType::Real, Role::Payload, true),
        column("more", ColumnType::Json, Role::Payload, true),
        column("ok", ColumnType::Bool, Role::Payload, false),
        column("at", ColumnType::Timestamp, Role::Payload, true),
    ];
    Schema::new("weather".to_owned(), columns).unwrap()
}

fn reader(text: &[u8]) -> Reader {
    let bytes = std::io::Cursor::new(text.to_vec());
    let input = Input::stream("w.jsonl".to_owned(), bytes, None, Compression::None).unwrap();
    let csv = CsvSettings { null: Null::Empty, quotes: Quotes::Strict };
    Reader::new(input, Format::Jsonl, &schema(), csv).unwrap()
}

fn error(text: &str) -> String {
    Encoded::new(reader(text.as_bytes())).collect::<Result<Vec<_>, _>>().unwrap_err().to_string()
}

#[test]
fn objects_are_rows() {
    let text = "\u{feff}{\"city\":\"Santiago\",\"TEMP\":-21,\"ph\":7,\"more\": {\"b\":[1.50, \"},\\\"\"] } ,\"ok\":true,\"at\":\"2026-11-21T09:30:00Z\"}\r\n\
        \n  {\"ok\" : false , \"city\":\"\\u6771\\u4eac\"}  ";
    let rows: Vec<_> = reader(text.as_bytes()).map(Result::unwrap).collect();
    let text = |text: &str| Value::Text(text.to_owned());
    let json = Value::Json("{\"b\":[1.50, \"},\\\"\"] }".to_owned());
    let at = Value::parse(ColumnType::Timestamp, "2026-11-21T09:30:00Z").unwrap();
    let first =
        vec![text("Santiago"), Value::Int(-21), Value::Real(7.0), json, Value::Bool(true), at];
    let null = || Value::Null;
    let second = vec![text("東京"), null(), null(), null(), Value::Bool(false), null()];
    assert_eq!(rows, [first, second]);
}

#[test]
fn infinity_is_a_string() {
    let ph = |text: &str| {
        let line = format!("{{\"city\":\"A\",\"ok\":true,\"ph\":{text}}}");
        reader(line.as_bytes()).next().unwrap().map(|row| row[2].clone())
    };
    assert_eq!(ph("\"inf\"").unwrap(), Value::Real(f64::INFINITY));
    assert_eq!(ph("\"-inf\"").unwrap(), Value::Real(f64::NEG_INFINITY));
    for other in ["\"nan\"", "\"7\"", "inf", "1e999", "\"Infinity\""] {
        assert!(ph(other).is_err(), "{other}");
    }
}

#[test]
fn errors_name_line_and_column() {
    let good = "{\"city\":\"A\",\"ok\":true}\n\n";
    for (line, expected) in [
        ("{\"city\":\"B\",\"ok\":1}", "line 3, column ok: expected true or false, found \"1\""),
        (
            "{\"city\":\"B\",\"ok\":true,\"temp\":\"12\"}",
            "line 3, column temp: expected a whole number of 64 bits, found \"\\\"12\\\"\"",
        ),
        (
            "{\"city\":\"B\",\"ok\":true,\"temp\":1.5}",
            "line 3, column temp: expected a whole number of 64 bits, found \"1.5\"",
        ),
        (
            "{\"city\":\"B\",\"ok\":true,\"ph\":1e999}",
            "line 3, column ph: expected a number, found \"1e999\"",
        ),
        ("{\"city\":7,\"ok\":true}", "line 3, column city: expected a string, found \"7\""),
        (
            "{\"city\":\"B\",\"ok\":true,\"at\":\"noon\"}",
            "line 3, column at: expected an RFC 3339 time such as 2026-11-21T09:30:00Z, found \"\\\"noon\\\"\"",
        ),
        (
            "{\"ok\":true}",
            "line 3, column city: NULL, but the column is a KEY; fill it in, or make the column nullable",
        ),
        (
            "{\"city\":\"B\",\"ok\":null}",
            "line 3, column ok: NULL, but the column is NOT NULL; fill it in, or make the column nullable",
        ),
        (
            "{\"city\":\"B\",\"ok\":true,\"wind\":1,\"rain\":2}",
            "line 3: unknown keys: wind, rain; the schema has city, temp, ph, more, ok, at",
        ),
        (
            "{\"city\":\"B\",\"ok\":true,\"City\":\"C\"}",
            "line 3, column city: the key comes twice; keys differ by more than their case",
        ),
        (
            "{\"city\":\"B\",\"ok\":true",
            "line 3: expected a JSON object on one line: EOF while parsing an object at character 21; write the whole object on one line, for instance with jq -c .",
        ),
        (
            "{\"city\":\"B\"} {\"ok\":true}",
            "line 3: expected a JSON object on one line: trailing characters at character 14",
        ),
        (
            "[1]",
            "line 3: expected a JSON object on one line: it begins with \"[1]\", as an array does: write its elements, one a line, for instance with jq -c '.[]'",
        ),
        (
            "{\"city\":\"A\",\"ok\":false}",
            "line 3, column city: duplicates the value of line 1, but city is a KEY",
        ),
    ] {
        assert_eq!(error(&format!("{good}{line}\n")), expected, "{line}");
    }
}

#[test]
fn bytes_that_are_no_text_are_an_error_with_the_line() {
    let error = reader(b"{\"city\":\"\xff\",\"ok\":true}").next().unwrap().unwrap_err();
    assert!(matches!(error, SourceError::Json { line: 1, .. }), "{error}");
}

#[test]
fn an_endless_line_is_not_held_in_memory() {
    let mut reader = reader(&vec![b'x'; 3 << 24]);
    let error = reader.next().unwrap().unwrap_err();
    assert!(matches!(error, SourceError::TooLong { line: 1, .. }), "{error}");
    assert!(reader.bytes_read() < u64::from(MAX_RECORD_BYTES) + (1 << 20));
    assert!(reader.next().is_none());
}

#[test]
fn a_file_compressed_otherwise_than_declared_is_refused() {
    let zstd = zstd::encode_all(&b"{}"[..], 1).unwrap();
    let open = |bytes: &[u8], compression| {
        let bytes = std::io::Cursor::new(bytes.to_vec());
        Input::stream("w".to_owned(), bytes, None, compression).map(drop)
    };
    let error = open(&zstd, Compression::None).unwrap_err().to_string();
    assert_eq!(error, "w is zstd, but its compression was declared as plain: correct one of them");
    let error = open(b"{}", Compression::Gzip).unwrap_err().to_string();
    assert_eq!(error, "w is plain, but its compression was declared as gzip: correct one of them");
    open(&zstd, Compression::Zstd).unwrap();
}
