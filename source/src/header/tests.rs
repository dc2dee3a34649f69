use opaque_pir::table::{Column, ColumnType, MAX_COLUMNS, MAX_NAME_BYTES, Role};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::{Compression, Encoded, Format, Input, Quotes, Reader, Settings, SourceError};

/// Maximum bytes of an error without the file's name, for any file and schema.
const ERROR_BYTES: usize = 2048;

fn schema_of(names: &[String]) -> Schema {
    let column = |(position, name): (usize, &String)| Column {
        name: name.clone(),
        column_type: ColumnType::Text,
        role: if position == 0 { Role::Key } else { Role::Payload },
        nullable: position > 0,
    };
    Schema::new("t".to_owned(), names.iter().enumerate().map(column).collect()).unwrap()
}

fn schema() -> Schema {
    schema_of(&["id".to_owned(), "full_name".to_owned(), "age".to_owned()])
}

/// The maximum number of columns with names of maximum length.
fn large() -> Schema {
    let name = |n: usize| format!("{n:x>MAX_NAME_BYTES$}");
    schema_of(&(0..MAX_COLUMNS).map(name).collect::<Vec<_>>())
}

fn failure(bytes: &[u8], format: Format, schema: &Schema, quotes: Quotes) -> Option<SourceError> {
    let bytes = std::io::Cursor::new(bytes.to_vec());
    let input = Input::stream("f".to_owned(), bytes, None, Compression::None);
    let settings = Settings { quotes, ..Settings::default() };
    match input.and_then(|input| Reader::new(input, Some(format), schema, &settings)) {
        Err(error) => Some(error),
        Ok(reader) => Encoded::new(reader).find_map(Result::err),
    }
}

fn error(text: &str) -> String {
    failure(text.as_bytes(), Format::Csv, &schema(), Quotes::Strict).unwrap().to_string()
}

/// Whether file contents in an error contain no control characters, no invisible characters and no
/// line breaks.
fn is_harmless(text: &str) -> bool {
    text.len() < ERROR_BYTES
        && !text.chars().any(|c| {
            c.is_control()
                || (c.is_whitespace() && c != ' ')
                || matches!(
                    c,
                    '\u{ad}'
                        | '\u{34f}'
                        | '\u{61c}'
                        | '\u{115f}'..='\u{1160}'
                        | '\u{180b}'..='\u{180f}'
                        | '\u{200b}'..='\u{200f}'
                        | '\u{202a}'..='\u{202e}'
                        | '\u{2060}'..='\u{206f}'
                        | '\u{3164}'
                        | '\u{fe00}'..='\u{fe0f}'
                        | '\u{feff}'
                        | '\u{fff0}'..='\u{fffb}'
                        | '\u{e0000}'..='\u{e0fff}'
                )
        })
}

#[test]
fn the_likely_cause_is_named() {
    for (header, cause) in [
        (
            "id\tfull_name\tage;\n",
            "field 3 of the header equals column age except for case, blanks, marks or invisible characters",
        ),
        (
            "id,full_name,age,\n1,Ana,3,\n",
            "field 4 of the header has no name: the line ends with a delimiter",
        ),
        ("id, ,full_name,age\n", "field 2 of the header has no name"),
        (
            "id,\"full_name\n1,Ana\n2,\",age\n",
            "field 2 of the header has a line break: is a quote left open?",
        ),
        (
            "id\u{200b},full_name,age\n",
            "field 1 of the header equals column id except for case, blanks, marks or invisible characters",
        ),
        (
            "id,full name,age\n",
            "field 2 of the header equals column full_name except for case, blanks, marks or invisible characters",
        ),
        (
            "7,Ana,3\n",
            "the first line names no column of the schema: if it is a row, say that there is no header, or name the columns",
        ),
    ] {
        let text = error(header);
        assert!(text.starts_with("the header of f does not fit the schema: "), "{text}");
        assert!(text.contains(&format!(" schema: {cause}; ")), "{text}");
        assert!(is_harmless(&text), "{text}");
    }
    let latin = failure(b"id,full_name,\xe4ge\n", Format::Csv, &schema(), Quotes::Strict).unwrap();
    assert!(latin.to_string().contains("the header is not valid UTF-8"), "{latin}");
    assert!(!error("id,full_name,age,hat\n").contains(" schema: the "));
}

#[test]
fn another_format_is_named_before_anything_else() {
    for (text, format) in [
        ("[{\"id\":1,\"name\":\"Ana\"}]\n", "JSON"),
        ("{\n  \"id\": \"1\",\n", "JSON"),
        ("\u{feff}  {\"id\":1}", "JSON"),
        ("<?xml version=\"1.0\"?>\n<rows>", "HTML or XML"),
    ] {
        let found = error(text);
        assert!(found.starts_with(&format!("f is not CSV: it looks like {format}; ")), "{found}");
    }
    for format in [Format::Csv, Format::Json] {
        for text in ["<!DOCTYPE html>\n<html lang=\"en\">", "\u{feff}\n<HTML>"] {
            let page = failure(text.as_bytes(), format, &schema(), Quotes::Strict).unwrap();
            assert_eq!(
                page.to_string(),
                "f is an HTML page: does the address lead to a page about the file?"
            );
        }
    }
    // A name may begin like this.
    let odd = failure(b"[id],full_name,age\n", Format::Csv, &schema(), Quotes::Strict).unwrap();
    assert!(matches!(odd, SourceError::NotCsv { .. }));
    let text = "id,full_name,age\n{a},[b],<c>\n";
    assert!(failure(text.as_bytes(), Format::Csv, &schema(), Quotes::Strict).is_none());
}

#[test]
fn names_that_cannot_be_seen_are_escaped() {
    let text = error("id,full_name,age,,\u{200b}, \u{202e}ega ,\"a\nb\",\u{1b}[2J,it's\n");
    let names = "\"\", \"\\u{200b}\", \"\\u{202e}ega\", \"a\\nb\", \"\\u{1b}[2J\", it's";
    assert!(text.contains(&format!("unknown: {names}; ")), "{text}");
    assert!(text.ends_with(&format!("the header has id, full_name, age, {names}")), "{text}");
}

#[test]
fn a_header_of_millions_of_names_is_refused_at_once_and_in_few_words() {
    let mut header = b"id,full_name,".to_vec();
    for n in 0..1_000_000 {
        header.extend_from_slice(format!("n{n},").as_bytes());
    }
    for schema in [schema(), large()] {
        let error = failure(&header, Format::Csv, &schema, Quotes::Strict).unwrap();
        for text in [error.to_string(), error.for_status()] {
            assert!(is_harmless(&text), "{text}");
        }
    }
    let text = error(&format!("{}\n", "x".repeat(2_000_000)));
    assert!(is_harmless(&text), "{text}");
    let keys = (0..100_000).map(|n| format!("\"{}{n}\":1,", "k".repeat(90))).collect::<String>();
    let line = format!("{{{keys}\"id\":\"a\"}}\n");
    let error = failure(line.as_bytes(), Format::Json, &schema(), Quotes::Strict).unwrap();
    assert!(matches!(error, SourceError::Keys { count: 100_000, .. }));
    assert!(is_harmless(&error.to_string()), "{error}");
}

/// Pieces of files, valid and invalid.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![
        "id",
        "full_name",
        "age",
        "ID",
        ",",
        ",",
        ",",
        ";",
        "\t",
        "\"",
        "\n",
        "\r\n",
        "\u{200b}",
        "\u{202e}",
        "\u{feff}",
        "\u{a0}",
        "\u{2028}",
        "\u{3164}",
        "\u{e0041}",
        "\u{301}",
        "\0",
        "\u{1b}[2J",
        "{\"id\":",
        "{",
        "}",
        "[",
        "<",
        "1",
        "true",
        "éééééééééééééééééééééééééééééééééééééééééééééééé",
        "\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}",
    ]);
    let text = prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![4 => text, 1 => prop::collection::vec(any::<u8>(), 0..99)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn errors_are_bounded_and_escaped_whatever_the_file(bytes in pieces(), headed: bool, times in 1usize..30) {
        let head = if headed { &b"id,full_name,age\n"[..] } else { b"" };
        let bytes = [head, &bytes.repeat(times)].concat();
        for schema in [schema(), large()] {
            for (format, quotes) in [
                (Format::Csv, Quotes::Strict),
                (Format::Csv, Quotes::Lenient),
                (Format::Json, Quotes::Strict),
            ] {
                if let Some(error) = failure(&bytes, format, &schema, quotes) {
                    for text in [error.to_string(), error.for_status()] {
                        prop_assert!(is_harmless(&text), "{:?}", text);
                    }
                }
            }
        }
    }
}
