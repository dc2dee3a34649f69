use opaque_pir::table::{Column, ColumnType, Role, Schema};
use opaque_source::{Compression, Encoded, Format, Input, Reader, Settings};
use proptest::prelude::*;

use super::*;

/// A value that is in a source and must not be in any status.
const MARKER: &str = "q7Zx";

fn schema() -> Schema {
    let columns = vec![
        Column::new("city", ColumnType::Text, Role::Key, false),
        Column::new("temp", ColumnType::Int, Role::Index, false),
        Column::new("ok", ColumnType::Bool, Role::Payload, true),
    ];
    Schema::new("weather".to_owned(), columns).unwrap()
}

/// The failure of a run whose source has these bytes.
fn failure(bytes: &[u8], format: Format) -> Option<Failure> {
    let failed =
        |error| Failure::Rows { source_name: "http://host/a".into(), source: Box::new(error) };
    let bytes = std::io::Cursor::new(bytes.to_vec());
    let input = Input::stream("http://host/a".to_owned(), bytes, None, Compression::None);
    let settings = Settings::default();
    let reader = input.and_then(|input| Reader::new(input, Some(format), &schema(), &settings));
    match reader {
        Err(error) => Some(failed(error)),
        Ok(reader) => Encoded::new(reader).find_map(Result::err).map(failed),
    }
}

#[test]
fn a_status_says_where_and_what_was_expected() {
    let csv = [
        (
            "city,q7Zx,temp,TEMP,q7Zx\n",
            "the header of http://host/a does not fit the schema: missing: ok; fields that are not columns: \
             2, 5; repeated: temp; the schema has city, temp, ok",
        ),
        (
            "<html>q7Zx</html>\n",
            "http://host/a is an HTML page: does the address lead to a page about the file?",
        ),
        (
            "q7Zx;temp;ok\n",
            "the header of http://host/a does not fit the schema: missing: city; fields that are not columns: 1; \
             the schema has city, temp, ok",
        ),
        (
            "city,temp,ok\na,1,1\n\"q7Zx\" q7Zx,1,1\n",
            "line 3, column 1: the quoted field that begins here is closed at line 3, column 6, and text follows; \
             write a quote that is data twice",
        ),
        (
            "city,temp,ok\na,1,1\nb,\"q7Zx\n",
            "line 3, column 3: the quote that opens here is never closed; close it, or, if it is data, put the \
             field in quotes and double the quote",
        ),
        (
            "city,temp,ok\na,1,1\nb,q7Zx,1\n",
            "line 3, column temp: expected a whole number of 64 bits",
        ),
        (
            "city,temp,ok\nq7Zx,1,1\nq7Zx,2,0\n",
            "line 3, column city: duplicates the value of line 2, but city is a KEY",
        ),
    ];
    let json = [
        ("{\"city\":\"q7Zx\"\n", "line 1: cannot read the JSON; see character 1"),
        ("q7Zx\n", "line 1: cannot read the JSON; see character 1"),
        (
            "{\"city\":\"a\",\"temp\":1,\"q7Zx\":1}\n",
            "line 1: keys that are not columns: 1; ignoreExtra skips them; the schema has city, temp, ok",
        ),
        (
            "{\"city\":\"a\",\"temp\":\"q7Zx\"}\n",
            "line 1, column temp: expected a whole number of 64 bits",
        ),
    ];
    for (cases, format) in [(&csv[..], Format::Csv), (&json[..], Format::Json)] {
        for (bytes, expected) in cases {
            let text = failure(bytes.as_bytes(), format).unwrap().for_status();
            assert_eq!(text, format!("http://host/a: {expected}"));
        }
    }
}

#[test]
fn a_panic_is_not_quoted() {
    let failure = Failure::Internal(format!("task 7 panicked with message \"{MARKER}\""));
    assert!(failure.to_string().contains(MARKER));
    assert_eq!(failure.for_status(), "internal error; see the Job's log");
}

/// Pieces of files, valid and invalid. Each has the marker where a value may be.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"city,temp,ok\n"[..]),
        Just(&b"{\"city\":\"q7Zx\",\"temp\":"[..]),
        Just(&b"{\"q7Zx\":1}"[..]),
        Just(&b"q7Zx"[..]),
        Just(&b"\"q7Zx\""[..]),
        Just(&b"\"q7Zx"[..]),
        Just(&b"{"[..]),
        Just(&b"}"[..]),
        Just(&b":"[..]),
        Just(&b","[..]),
        Just(&b"\n"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"1"[..]),
        Just(&b"true"[..]),
        Just(&b"\xff"[..]),
        Just(&b"\0"[..]),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_status_holds_bytes_of_the_source(bytes in pieces(), headed: bool) {
        let csv = if headed { [b"city,temp,ok\n", &bytes[..]].concat() } else { bytes.clone() };
        for (bytes, format) in [(csv, Format::Csv), (bytes, Format::Json)] {
            if let Some(failure) = failure(&bytes, format) {
                let text = failure.for_status();
                prop_assert!(!text.contains(MARKER), "{}", text);
            }
        }
    }
}
