use opaque_pir::table::{Column, ColumnType, Role, Schema, Value};
use proptest::prelude::*;

use crate::{Compression, Encoded, Input, MAX_RECORD_BYTES, Reader, Settings, SourceError};

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
    Reader::new(input, None, &schema(), &Settings::default()).unwrap()
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
            "line 3: unknown keys: wind, rain; --ignore-extra skips them; the schema has city, temp, ph, more, ok, at",
        ),
        (
            "{\"city\":\"B\",\"ok\":true,\"City\":\"C\"}",
            "line 3, column city: the key comes twice; keys differ by more than their case",
        ),
        (
            "{\"city\":\"B\",\"ok\":true",
            "line 3: cannot read the JSON: the file ends within the object that begins here",
        ),
        (
            "{\"city\":\"B\"},{\"ok\":true}",
            "line 3, column ok: NULL, but the column is NOT NULL; fill it in, or make the column nullable",
        ),
        (
            "{\"city\":\"B\",\"ok\":true},",
            "line 3: cannot read the JSON: every row must be an object, found \",\"",
        ),
        ("[1]", "line 3: cannot read the JSON: every row must be an object, found \"[1]\""),
        (
            "{\"city\":\"B\",\"ok\":true\n{\"city\":\"C\",\"ok\":true}\n",
            "line 4: cannot read the JSON: expected `,` or `}` at character 1",
        ),
        (
            "{\"city\":\"B\",\"ok\":[}",
            "line 3: cannot read the JSON: expected value at character 19",
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
fn an_endless_object_is_not_held_in_memory() {
    for (head, expected) in [
        ("{\"city\":\"", "line 2: the record that begins here has more than 16777216 bytes"),
        ("{\"city\":7\n{\"city\":\"", "line 3: cannot read the JSON: expected `,` or `}` at"),
    ] {
        let mut text = format!("\n{head}").into_bytes();
        text.resize(3 << 24, b'x');
        let mut reader = reader(&text);
        let error = reader.next().unwrap().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(reader.bytes_read() < u64::from(MAX_RECORD_BYTES) + (1 << 20));
        assert!(reader.next().is_none());
    }
}

#[test]
fn an_array_is_as_good_as_lines() {
    let (a, b) = (
        "{\"city\":\"A, [}\\\"\",\n\"ok\":true,\"more\":{\"a\":[1,{}]}}",
        "{\"city\":\"B\",\"ok\":false,\"temp\":7.0}",
    );
    let read = |text: &str| {
        let rows: Result<Vec<_>, _> = reader(text.as_bytes()).collect();
        rows.map_err(|error| error.to_string())
    };
    let lines = read(&format!("{a}\n{b}\n")).unwrap();
    assert_eq!((lines.len(), &lines[1][1]), (2, &Value::Int(7)));
    for text in [
        format!("[{a},{b}]"),
        format!("\u{feff} [\n {a} ,\r\n{b}\n]\n"),
        format!("{a}{b}"),
        format!("{a} {b}"),
    ] {
        assert_eq!(read(&text).as_ref(), Ok(&lines), "{text}");
    }
    assert_eq!(read("[ ]"), Ok(vec![]));
    assert_eq!(read(""), Ok(vec![]));
    for (text, expected) in [
        (format!("[{a}"), "line 2: cannot read the JSON: the file ends within the array"),
        (format!("[{a},"), "line 2: cannot read the JSON: the file ends within the array"),
        ("[".to_owned(), "line 1: cannot read the JSON: the file ends within the array"),
        (
            format!("[{b},]"),
            "line 1: cannot read the JSON: every row must be an object, found \"]\"",
        ),
        (
            format!("[,{b}]"),
            "line 1: cannot read the JSON: every row must be an object, found \",{",
        ),
        (
            format!("[{b}{b}]"),
            "line 1: cannot read the JSON: a comma or the end of the array must follow",
        ),
        (format!("[{b}]\n{b}"), "line 2: cannot read the JSON: text follows the array, found \"{"),
        (format!("{b}\n[{b}]"), "line 2: cannot read the JSON: every row must be an object"),
        ("[[1,2]]".to_owned(), "line 1: cannot read the JSON: every row must be an object"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

proptest! {
    /// serde_json is the oracle, for any spelling.
    #[test]
    fn objects_are_those_of_serde_json(
        rows in prop::collection::vec((any::<String>(), any::<bool>(), any::<i32>()), 0..6),
        spaces in prop::sample::select(vec!["", " ", "\n", "\r\n\t"]),
        is_pretty: bool,
    ) {
        let object = |(city, ok, number): &(String, bool, i32)| {
            serde_json::json!({"city": city, "ok": ok, "more": {"n": [number, city]}})
        };
        let objects: Vec<_> = rows.iter().map(object).collect();
        let text = |value: &serde_json::Value| if is_pretty {
            serde_json::to_string_pretty(value).unwrap()
        } else {
            value.to_string()
        };
        let texts: Vec<String> = objects.iter().map(text).collect();
        let array = format!("{spaces}[{spaces}{}{spaces}]", texts.join(&format!("{spaces},{spaces}")));
        for text in [texts.join(&format!("{spaces} ")), array] {
            let read: Vec<_> = reader(text.as_bytes()).map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), rows.len());
            for (row, (city, ok, number)) in read.iter().zip(&rows) {
                prop_assert_eq!(&row[0], &Value::Text(city.clone()));
                prop_assert_eq!(&row[4], &Value::Bool(*ok));
                let Value::Json(more) = &row[3] else { panic!("{row:?}") };
                let more: serde_json::Value = serde_json::from_str(more).unwrap();
                prop_assert_eq!(more, serde_json::json!({"n": [number, city]}));
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ \na1\xff".to_vec()), 0..40)) {
        let _ = Encoded::new(reader(&bytes)).collect::<Result<Vec<_>, _>>();
    }
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
