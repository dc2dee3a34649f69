use std::io::Cursor;
use std::path::{Path, PathBuf};

use opaque_pir::table::{ColumnType, Value};
use proptest::prelude::*;

use crate::fixtures::schema;
use crate::{Compression, Encoded, Input, Reader, Settings, SourceError};

/// A file that pyarrow or duckdb wrote; `source/tests/parquet/make.py` makes it again.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet").join(format!("{name}.parquet"))
}

fn ignoring() -> Settings {
    Settings { ignore_extra: true, ..Settings::default() }
}

fn read(name: &str, columns: &[(&str, ColumnType)]) -> Result<Vec<Vec<Value>>, String> {
    let input = Input::open(&fixture(name)).unwrap();
    let reader = Reader::new(input, None, &schema(columns), &ignoring());
    let rows = reader.and_then(Iterator::collect);
    rows.map_err(|error: SourceError| {
        error.to_string().replace(fixture(name).to_str().unwrap(), "f.parquet")
    })
}

fn column(name: &str, column_type: ColumnType) -> Vec<Value> {
    let rows = read("all-snappy", &[(name, column_type)]).unwrap();
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

#[test]
fn every_type_is_read_as_the_types_that_fit_it() {
    use ColumnType::{Bool, Int, Json, Real, Text, Timestamp};
    let text = |text: &str| Value::Text(text.to_owned());
    let json = |text: &str| Value::Json(text.to_owned());
    let at = |text: &str| Value::parse(Timestamp, text).unwrap();
    for (name, column_type, first, second) in [
        ("ID", Int, Value::Int(1), Value::Int(2)),
        ("id", Real, Value::Real(1.0), Value::Real(2.0)),
        ("id", Text, text("1"), text("2")),
        ("name", Text, text("Ana"), text("")),
        ("small", Int, Value::Int(-1), Value::Int(127)),
        ("big", Int, Value::Int(0), Value::Int(i64::MAX)),
        ("whole", Int, Value::Int(1), Value::Int(-2)),
        ("real", Real, Value::Real(0.1), Value::Real(1e300)),
        ("single", Real, Value::Real(0.5), Value::Real(-1.25)),
        ("ok", Bool, Value::Bool(true), Value::Bool(false)),
        ("price", Text, text("12.50"), text("-0.05")),
        ("price", Real, Value::Real(12.5), Value::Real(-0.05)),
        ("day", Text, text("2026-11-21"), text("1969-12-31")),
        ("micros", Timestamp, at("2026-11-21T09:30:00.123456Z"), at("1969-12-31T23:59:59.999999Z")),
        ("zoned", Timestamp, at("2026-11-21T09:30:00.123Z"), at("2026-11-21T09:30:00.123Z")),
        ("nanos", Timestamp, at("2026-11-21T09:30:00.123456Z"), at("1969-12-31T23:59:59.999999Z")),
        ("bytes", Text, text("abc"), text("d")),
        ("list", Json, json("[1,2]"), json("[]")),
        ("list", Text, text("[1,2]"), text("[]")),
        ("group", Json, json("{\"a\":\"x\\\"y\",\"b\":[1.5]}"), json("{\"a\":null,\"b\":null}")),
        ("map", Json, json("{\"k\":1}"), json("{}")),
    ] {
        let read = column(name, column_type);
        assert_eq!(read[..2], [first, second], "{name} as {column_type:?}");
        assert!(name.eq_ignore_ascii_case("id") || read[2] == Value::Null, "{name}");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_the_column_is_named() {
    use ColumnType::{Bool, Int, Json, Real, Text, Timestamp};
    for (file, name, column_type, expected) in [
        (
            "all-zstd",
            "odd",
            Json,
            "f.parquet, column odd: a nested timestamp in nanoseconds cannot be read as JSON",
        ),
        (
            "all-zstd",
            "list",
            Int,
            "f.parquet, column list: a list, map or group cannot be read as this type: make it JSON",
        ),
        (
            "all-zstd",
            "nanos",
            Int,
            "f.parquet, column nanos: a time in nanoseconds cannot be read as this type: make it TEXT",
        ),
        (
            "int96",
            "at",
            Timestamp,
            "f.parquet, column at: a timestamp in 96 bits cannot be read as a value: write it as another type",
        ),
        (
            "duckdb",
            "uuid",
            Int,
            "f.parquet, column uuid: a UUID cannot be read as this type: make it TEXT",
        ),
        (
            "all-zstd",
            "name",
            Int,
            "line 1, column name: expected a whole number of 64 bits, found \"Ana\"",
        ),
        (
            "all-zstd",
            "real",
            Int,
            "line 1, column real: expected a whole number of 64 bits, found \"0.1\"",
        ),
        (
            "all-zstd",
            "name",
            Real,
            "line 1, column name: expected a number that is not NaN, found \"Ana\"",
        ),
        ("all-zstd", "id", Bool, "line 2, column id: expected true or false, found \"2\""),
        ("all-zstd", "day", Timestamp, "column day"),
        (
            "all-zstd",
            "gone",
            Text,
            "the header of f.parquet does not fit the schema: missing: gone;",
        ),
        ("brotli", "id", Int, "cannot read the Parquet file f.parquet: "),
    ] {
        let error = read(file, &[(name, column_type)]).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    let input = Input::open(&fixture("all-zstd")).unwrap();
    let error = Reader::new(input, None, &schema(&[("id", Int)]), &Settings::default()).err();
    assert!(error.unwrap().to_string().contains("--ignore-extra"));
}

#[test]
fn compressions_streams_and_row_groups_make_no_difference() {
    let columns = [("list", ColumnType::Json), ("id", ColumnType::Int), ("name", ColumnType::Text)];
    let expected = read("all-none", &columns).unwrap();
    assert_eq!(expected.len(), 3);
    for name in ["all-snappy", "all-gzip", "all-zstd", "all-lz4"] {
        assert_eq!(read(name, &columns).as_ref(), Ok(&expected), "{name}");
        let bytes = std::fs::read(fixture(name)).unwrap();
        for (bytes, compression) in [
            (bytes.clone(), Compression::None),
            (zstd::encode_all(&*bytes, 1).unwrap(), Compression::Zstd),
        ] {
            let input = Input::stream("-".to_owned(), Cursor::new(bytes), None, compression);
            let reader = Reader::new(input.unwrap(), None, &schema(&columns), &ignoring());
            let rows: Vec<_> = reader.unwrap().map(Result::unwrap).collect();
            assert_eq!(rows, expected, "{name}");
        }
    }
    let rows =
        read("duckdb", &[("at", ColumnType::Timestamp), ("pair", ColumnType::Json)]).unwrap();
    assert_eq!(rows.len(), 1000);
    let at = Value::parse(ColumnType::Timestamp, "2026-01-01T16:39:00Z").unwrap();
    assert_eq!(rows[999], [at, Value::Json("[999,1000]".to_owned())]);
    let uuid = read("duckdb", &[("uuid", ColumnType::Text)]).unwrap().swap_remove(7);
    assert_eq!(uuid, [Value::Text("00112233-4455-6677-8899-aabbccddeeff".to_owned())]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The reader's crate panics on some of these files, so this also tests that panics are caught.
    #[test]
    fn a_damaged_file_is_an_error_or_other_rows(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = std::fs::read(fixture("all-none")).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let columns = [("id", ColumnType::Int), ("group", ColumnType::Json), ("nanos", ColumnType::Text)];
        let input = Input::stream("f".to_owned(), Cursor::new(bytes), None, Compression::None);
        let parquet = Some(crate::Format::Parquet);
        if let Ok(reader) = input.and_then(|input| Reader::new(input, parquet, &schema(&columns), &ignoring())) {
            for row in Encoded::new(reader) {
                if let Err(error) = row {
                    prop_assert!(error.to_string().len() < 2048);
                }
            }
        }
    }
}
