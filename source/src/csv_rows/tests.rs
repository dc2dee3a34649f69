use std::io::Write;
use std::path::{Path, PathBuf};

use opaque_pir::table::{Column, ColumnType, Role, Schema, Value};
use tempfile::TempDir;

use crate::{MAX_RECORD_BYTES, Reader, SourceError};

fn schema() -> Schema {
    let column = |name: &str, column_type, role, nullable| Column {
        name: name.to_owned(),
        column_type,
        role,
        nullable,
    };
    let columns = vec![
        column("City", ColumnType::Text, Role::Key, false),
        column("temp", ColumnType::Int, Role::Index, true),
        column("note", ColumnType::Text, Role::Payload, true),
        column("ok", ColumnType::Bool, Role::Payload, false),
    ];
    Schema::new("weather".to_owned(), columns).unwrap()
}

fn file(directory: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn rows_of(name: &str, bytes: &[u8], null: &str) -> Result<Vec<Vec<Value>>, SourceError> {
    let directory = TempDir::new().unwrap();
    Reader::open(&file(&directory, name, bytes), &schema(), null)?.collect()
}

/// The error's text, without the directory.
fn error(bytes: &[u8]) -> String {
    let directory = TempDir::new().unwrap();
    let path = file(&directory, "w.csv", bytes);
    let rows: Result<Vec<_>, _> =
        Reader::open(&path, &schema(), "").and_then(|reader| reader.collect());
    let text = rows.unwrap_err().to_string();
    text.replace(path.to_str().unwrap(), "w.csv")
}

fn row(city: &str, temp: Option<i64>, note: Option<&str>, ok: bool) -> Vec<Value> {
    vec![
        Value::Text(city.to_owned()),
        temp.map_or(Value::Null, Value::Int),
        note.map_or(Value::Null, |note| Value::Text(note.to_owned())),
        Value::Bool(ok),
    ]
}

const PLAIN: &str = "\u{feff}OK,note, city ,TEMP\r\ntrue,\"a, \"\"b\"\"\r\nc\",Santiago,21\r\n\r\nf,,東京,-9223372036854775808";

fn plain_rows() -> Vec<Vec<Value>> {
    vec![
        row("Santiago", Some(21), Some("a, \"b\"\r\nc"), true),
        row("東京", Some(i64::MIN), None, false),
    ]
}

#[test]
fn reads_plain_and_compressed() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(PLAIN.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(PLAIN.as_bytes(), 1).unwrap();
    for (name, bytes) in [
        ("w.csv", PLAIN.as_bytes()),
        ("w.csv.gz", &gzip),
        ("w.csv.zst", &zstd),
        // Recognised by content too.
        ("w.csv", &gzip),
        ("w", &zstd),
    ] {
        assert_eq!(rows_of(name, bytes, "").unwrap(), plain_rows(), "{name}");
    }
    let named = |name, bytes| rows_of(name, bytes, "").unwrap_err().to_string();
    assert!(
        named("w.csv.gz", PLAIN.as_bytes())
            .ends_with("w.csv.gz is not a gzip file: rename it, or compress it")
    );
    assert!(
        named("w.csv.ZST", PLAIN.as_bytes())
            .ends_with("w.csv.ZST is not a zstd file: rename it, or compress it")
    );
    let cut = named("w.csv.gz", &gzip[..gzip.len() - 12]);
    assert!(cut.contains("cannot read") && cut.contains("w.csv.gz"), "{cut}");
}

#[test]
fn null_is_what_the_caller_says() {
    let text = "city,temp,note,ok\nA,,,1\nB,\\N,\\N,0\n";
    let numbers = |text: &str, null| rows_of("w.csv", text.as_bytes(), null);
    assert!(matches!(numbers(text, ""), Err(SourceError::Value { line: 3, .. })));
    assert!(matches!(numbers(text, "\\N"), Err(SourceError::Value { line: 2, .. })));
    let text = "city,temp,note,ok\nA,1,,1\nB,\\N,\\N,0\n";
    let expected = vec![row("A", Some(1), Some(""), true), row("B", None, None, false)];
    assert_eq!(numbers(text, "\\N").unwrap(), expected);
}

#[test]
fn progress_counts_bytes_of_the_file() {
    let directory = TempDir::new().unwrap();
    let path = file(&directory, "w.csv", PLAIN.as_bytes());
    let mut reader = Reader::open(&path, &schema(), "").unwrap();
    assert_eq!(reader.by_ref().count(), 2);
    assert_eq!(reader.total_bytes(), Some(PLAIN.len() as u64));
    assert_eq!(reader.bytes_read(), PLAIN.len() as u64);
}

#[test]
fn header_errors_list_both_sides() {
    for (header, expected) in [
        ("", "w.csv is empty: its first line must name the columns"),
        (
            "city,temp,ok,wind\n",
            "the header of w.csv does not fit the schema: missing: note; unknown: wind; the schema \
             has City, temp, note, ok; the header has city, temp, ok, wind",
        ),
        (
            "city,temp,note,ok,Temp\n",
            "the header of w.csv does not fit the schema: repeated: temp; the schema has City, temp, \
             note, ok; the header has city, temp, note, ok, Temp",
        ),
        (
            "city;temp;note\n",
            "the header of w.csv does not fit the schema: missing: ok; the schema has City, temp, note, ok; the \
             header has city, temp, note",
        ),
        (
            "city:temp:note:ok\n",
            "the header of w.csv does not fit the schema: missing: City, temp, note, ok; unknown: \
             city:temp:note:ok; the schema has City, temp, note, ok; the header has city:temp:note:ok",
        ),
    ] {
        assert_eq!(error(header.as_bytes()), expected);
    }
}

#[test]
fn errors_name_line_and_column() {
    for (body, expected) in [
        (
            "A,1,x,1\nB,2,x\n",
            "line 3: 3 fields, but the header has 4; check for a missing delimiter, or one that is data and not in quotes",
        ),
        (
            "A,1,x,1\nB,2.5,x,1\n",
            "line 3, column temp: expected a whole number of 64 bits, found \"2.5\"",
        ),
        (
            "A,1,\"x\ny\nz\",1\nB,oops,x,1\n",
            "line 5, column temp: expected a whole number of 64 bits, found \"oops\"",
        ),
        ("A,1,\"x\ny\nz\",maybe\n", "line 4, column ok: expected true or false, found \"maybe\""),
        (
            "\n\nA,1,x,1\n\n\nB,z,x,1\n",
            "line 7, column temp: expected a whole number of 64 bits, found \"z\"",
        ),
        (
            ",1,x,1\n",
            "line 2, column City: NULL, but the column is a KEY; fill it in, or name another text for NULL by --null",
        ),
        (
            "A,1,x,\n",
            "line 2, column ok: NULL, but the column is NOT NULL; fill it in, or name another text for NULL by --null",
        ),
    ] {
        let text = format!("city,temp,note,ok\n{body}");
        assert_eq!(error(text.as_bytes()), expected, "{text}");
        let crlf = text.replace('\n', "\r\n");
        assert_eq!(error(crlf.as_bytes()), expected, "{crlf:?}");
    }
    let expected =
        "line 3, column note: not valid UTF-8; convert the file, for instance with iconv";
    assert_eq!(error(b"city,temp,note,ok\nA,1,x,1\nB,1,x\xff,1\n"), expected);
}

#[test]
fn quotes_out_of_place_are_errors_with_the_way_out() {
    let never = "the quote that opens here is never closed; close it, or, if it is data, put the field in quotes and double the quote";
    for (body, expected) in [
        ("A,1,x,1\nB,1,\"x,1\nC,1,x,1\n", format!("line 3, column 5: {never}")),
        (
            "A,1,\"say \\\"hi\\\"\",1\n",
            "line 2, column 5: the quoted field that begins here is closed at line 2, column 11, and text follows; \
             a backslash does not escape a quote: write a quote that is data twice"
                .to_owned(),
        ),
        (
            "A,1,\"x\";1\n",
            "line 2, column 5: the quoted field that begins here is closed at line 2, column 7, and text follows; \
             does the file have another delimiter? Then set it"
                .to_owned(),
        ),
        (
            "A,1,\"x\" y,1\n",
            "line 2, column 5: the quoted field that begins here is closed at line 2, column 7, and text follows; \
             write a quote that is data twice"
                .to_owned(),
        ),
    ] {
        assert_eq!(error(format!("city,temp,note,ok\n{body}").as_bytes()), expected, "{body}");
    }
    assert_eq!(error(b"city,\"temp\nA,1,x,1\n"), format!("line 1, column 6: {never}"));
    let inside = b"city,temp,note,ok\n6\" pipe,1,say \"hi\",1\n";
    let expected = vec![row("6\" pipe", Some(1), Some("say \"hi\""), true)];
    assert_eq!(rows_of("w.csv", inside, "").unwrap(), expected);
}

#[test]
fn a_bad_integer_far_down_has_its_line() {
    for end in ["\n", "\r\n"] {
        let mut text = format!("city,temp,note,ok{end}");
        for line in 2..=70_000 {
            text += &format!("c{line},{line},x,1{end}");
        }
        text += &format!("last,12a,x,1{end}");
        let expected = "line 70001, column temp: expected a whole number of 64 bits, found \"12a\"";
        assert_eq!(error(text.as_bytes()), expected);
    }
}

#[test]
fn nothing_follows_an_error() {
    let directory = TempDir::new().unwrap();
    let path = file(&directory, "w.csv", b"city,temp,note,ok\nA,x,x,1\nB,1,x,1\n");
    let mut reader = Reader::open(&path, &schema(), "").unwrap();
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

#[test]
fn a_missing_file_is_named() {
    let error = Reader::open(Path::new("no/such.csv"), &schema(), "").err().unwrap();
    assert!(error.to_string().starts_with("cannot open no/such.csv: "), "{error}");
}

#[test]
fn an_unclosed_quote_is_found_before_the_file_is_in_memory() {
    let directory = TempDir::new().unwrap();
    let mut text = b"city,temp,note,ok\nA,1,x,1\nB,1,\"x".to_vec();
    text.resize(text.len() + 2 * usize::try_from(MAX_RECORD_BYTES).unwrap(), b'x');
    let path = file(&directory, "w.csv", &text);
    let mut reader = Reader::open(&path, &schema(), "").unwrap();
    reader.next().unwrap().unwrap();
    let error = reader.next().unwrap().unwrap_err();
    assert!(matches!(error, SourceError::TooLong { line: 3, .. }), "{error}");
    assert!(
        reader.bytes_read() < u64::from(MAX_RECORD_BYTES) + (1 << 20),
        "{}",
        reader.bytes_read()
    );
}
