use csv::{QuoteStyle, Terminator, WriterBuilder};
use opaque_pir::table::{ColumnType, Schema, Value};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::fixtures::schema;
use crate::sample::SAMPLE_BYTES;
use crate::{Compression, Input, Reader, SourceError};

fn people() -> Schema {
    schema(&[("id", ColumnType::Int), ("name", ColumnType::Text), ("at", ColumnType::Timestamp)])
}

fn open(bytes: &[u8], schema: &Schema, settings: &Settings) -> Result<Reader, SourceError> {
    let bytes = std::io::Cursor::new(bytes.to_vec());
    let input = Input::stream("f.csv".to_owned(), bytes, None, Compression::None)?;
    Reader::new(input, None, schema, settings)
}

fn rows(
    bytes: &[u8],
    schema: &Schema,
    settings: &Settings,
) -> Result<Vec<Vec<Value>>, SourceError> {
    open(bytes, schema, settings)?.collect()
}

/// The dialect in words, or the error.
fn told(text: &str, schema: &Schema, settings: &Settings) -> String {
    let reader = open(text.as_bytes(), schema, settings);
    let dialect = reader.map(|reader| reader.dialect().unwrap().to_string());
    dialect.unwrap_or_else(|error| error.to_string())
}

/// A way to write a table.
#[derive(Debug, Clone)]
struct Grid {
    delimiter: u8,
    quote: u8,
    all_quoted: bool,
    end: Terminator,
    has_header: bool,
    comments: bool,
    /// Whether comments are before every second record, and not only before the first.
    scattered: bool,
    has_mark: bool,
}

impl Grid {
    /// Writes the rows, with comments that have more fields than any row.
    fn written(&self, names: &[&str], rows: &[Vec<String>]) -> Vec<u8> {
        let mut bytes = if self.has_mark { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        let end: &[u8] = match self.end {
            Terminator::CRLF => b"\r\n",
            Terminator::Any(b'\r') => b"\r",
            _ => b"\n",
        };
        let header = self.has_header.then(|| names.iter().map(|name| (*name).to_owned()).collect());
        for (number, row) in header.iter().chain(rows).enumerate() {
            if self.comments && (number == 0 || self.scattered && number % 2 == 0) {
                bytes.extend_from_slice(b"# made by \"it's\", a, b, c, tool; 1;2;3;4|5|6|7|8");
                bytes.extend_from_slice(end);
            }
            let style = if self.all_quoted { QuoteStyle::Always } else { QuoteStyle::Necessary };
            let mut writer = WriterBuilder::new()
                .delimiter(self.delimiter)
                .quote(self.quote)
                .quote_style(style)
                .terminator(self.end)
                .comment(self.comments.then_some(b'#'))
                .from_writer(Vec::new());
            writer.write_record(row).unwrap();
            bytes.extend(writer.into_inner().unwrap());
        }
        bytes
    }

    /// Whether the table is one that cannot be told from another, as the module says.
    fn is_excluded(&self, rows: &[Vec<String>]) -> bool {
        let mut fields = rows.iter().flatten();
        let needs = |field: &String| {
            field.bytes().any(|byte| byte == self.delimiter || b"'\r\n".contains(&byte))
        };
        self.quote == b'\''
            && fields.clone().any(|field| field.starts_with('"'))
            && !self.all_quoted
            && !fields.any(needs)
    }
}

fn grid() -> impl Strategy<Value = Grid> {
    let ends = vec![Terminator::Any(b'\n'), Terminator::CRLF, Terminator::Any(b'\r')];
    let marks = (select(DELIMITERS.to_vec()), select(b"\"\"'".to_vec()), any::<bool>());
    let comments = (any::<bool>(), any::<bool>());
    (marks, select(ends), any::<bool>(), comments, any::<bool>()).prop_map(
        |((delimiter, quote, all_quoted), end, has_header, (comments, scattered), has_mark)| Grid {
            delimiter,
            quote,
            all_quoted,
            end,
            has_header,
            comments,
            scattered,
            has_mark,
        },
    )
}

/// Columns, and text of rows that fit them.
fn table(
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = (Vec<(&'static str, ColumnType)>, Vec<Vec<String>>)> {
    use ColumnType::{Bool, Int, Real, Text};
    let shapes = vec![
        vec![("id", Int), ("name", Text)],
        vec![("name", Text), ("id", Int), ("ok", Bool)],
        vec![("name", Text), ("note", Text)],
        vec![("one", Text)],
        vec![("one", Int)],
        vec![("x", Real), ("y", Real), ("name", Text), ("note", Text)],
    ];
    (select(shapes), count).prop_flat_map(|(shape, count)| {
        let field = |column_type| match column_type {
            Int => any::<i16>().prop_map(|number| number.to_string()).boxed(),
            Real => any::<i16>().prop_map(|number| (f64::from(number) / 4.0).to_string()).boxed(),
            Bool => select(vec!["true", "no"]).prop_map(str::to_owned).boxed(),
            _ => prop_oneof![
                2 => "[b-e]{1,5}",
                1 => "[b,;|\t'\"# \n\r1é]{0,6}",
                1 => select(vec!["'b'", "\"c\"", "#d", "", "e,f", "g;1", "h|i;j", "'k''l'", "4"]).prop_map(str::to_owned),
            ]
            .boxed(),
        };
        let row: Vec<_> = shape.iter().map(|(_, column_type)| field(*column_type)).collect();
        (Just(shape), prop::collection::vec(row, count))
    })
}

/// The rows as text, with NULL as an empty text: `csv` writes both alike.
fn texts(rows: Vec<Vec<Value>>) -> Vec<Vec<String>> {
    let text = |value| match value {
        Value::Null => String::new(),
        Value::Int(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Bool(truth) => (if truth { "true" } else { "no" }).to_owned(),
        Value::Text(text) | Value::Json(text) => text,
        Value::Timestamp(micros) => micros.to_string(),
    };
    rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_written_table_is_read_back_or_refused_with_both_guesses(
        grid in grid(),
        (shape, rows) in table(1..6),
    ) {
        prop_assume!(!grid.is_excluded(&rows));
        let names: Vec<&str> = shape.iter().map(|(name, _)| *name).collect();
        let bytes = grid.written(&names, &rows);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        match super::tests::rows(&bytes, &schema(&shape), &Settings::default()) {
            Ok(read) => prop_assert_eq!(texts(read), rows.clone(), "{:?}", shown),
            Err(SourceError::Dialect { first, second, .. }) => prop_assert_ne!(first, second),
            // A first line of text may be a header with other names.
            Err(SourceError::Header { mismatch, .. }) => {
                prop_assert!(!grid.has_header, "{:?}: {}", shown, mismatch);
            }
            Err(error) => prop_assert!(false, "{:?}: {}", shown, error),
        }
        // What is set is not detected.
        let dialect = Dialect {
            delimiter: char::from(grid.delimiter).to_string().parse().ok(),
            quote: char::from(grid.quote).to_string().parse().ok(),
            comment: if grid.comments { "#" } else { "none" }.parse().ok(),
            header: Some(grid.has_header),
            ..Dialect::default()
        };
        let settings = Settings { dialect, ..Settings::default() };
        let read = super::tests::rows(&bytes, &schema(&shape), &settings);
        prop_assert_eq!(read.map(texts).map_err(|error| error.to_string()), Ok(rows), "{:?}", shown);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_comes_after_the_sample_is_not_misread(
        grid in grid(),
        (shape, rows) in table(1..6),
    ) {
        prop_assume!(!grid.is_excluded(&rows));
        let plain = |(_, column_type): &(&str, ColumnType)| match column_type {
            ColumnType::Text => "plain",
            ColumnType::Bool => "true",
            ColumnType::Real => "0.5",
            _ => "7",
        };
        let plain: Vec<String> = shape.iter().map(|column| plain(column).to_owned()).collect();
        let mut all = vec![plain; SAMPLE_BYTES / 2];
        all.extend(rows);
        let names: Vec<&str> = shape.iter().map(|(name, _)| *name).collect();
        let bytes = grid.written(&names, &all);
        match super::tests::rows(&bytes, &schema(&shape), &Settings::default()) {
            Ok(read) => {
                let last = all.len() - 6;
                prop_assert_eq!(read.len(), all.len(), "{:?}", grid);
                prop_assert_eq!(&texts(read)[last..], &all[last..], "{:?}", grid);
            }
            // The question is not raised by the sample, or its answer does not fit the rest.
            Err(SourceError::Dialect { .. } | SourceError::Undeclared { .. }) => {}
            Err(
                SourceError::Fields { .. }
                | SourceError::Value { .. }
                | SourceError::Followed { .. }
                | SourceError::Unclosed { .. },
            ) => prop_assert!(grid.quote == b'\'' || grid.comments, "{:?}", grid),
            Err(SourceError::Header { .. }) => prop_assert!(!grid.has_header, "{:?}", grid),
            Err(error) => prop_assert!(false, "{:?}: {}", grid, error),
        }
    }
}

#[test]
fn usual_files_are_detected() {
    let row = "1\tAna; Bo, \"the\" 3rd\t2026-11-21T09:30:00Z\n";
    for (text, expected) in [
        ("id,name,at\n", "comma-separated, 3 columns, with a header"),
        ("\u{feff}id;name;at\r\n1;Ana, Bo;\r\n", "semicolon-separated, 3 columns, with a header"),
        ("name|AT|id\rAna||1\r", "pipe-separated, 3 columns, with a header"),
        (row, "tab-separated, 3 columns, no header"),
        (
            "# a comment, with; marks\n\n# more\nid,name,at\n1,Ana,\n",
            "comma-separated, 3 columns, with a header, comments after #",
        ),
        ("id,name,at\n1,'Ana, Bo',\n", "comma-separated, 3 columns, with a header, quotes '"),
        ("id,name,at\n1,\"'Ana'\",\n2,'tis,\n", "comma-separated, 3 columns, with a header"),
        ("id,name,at\n1,#Ana,\n", "comma-separated, 3 columns, with a header"),
    ] {
        assert_eq!(told(text, &people(), &Settings::default()), expected, "{text:?}");
    }
    let colors = schema(&[("color", ColumnType::Text), ("name", ColumnType::Text)]);
    let told = told("color,name\n#f00,red\n#0f0,green\n", &colors, &Settings::default());
    assert_eq!(told, "comma-separated, 2 columns, with a header");
    // A list of texts, whatever is in them.
    let names = schema(&[("name", ColumnType::Text)]);
    let read = rows(b"name\nSmith, Ana\nBo\n", &names, &Settings::default()).unwrap();
    assert_eq!(texts(read), [["Smith, Ana"], ["Bo"]]);
}

#[test]
fn a_doubtful_file_is_refused_with_both_guesses_and_the_option() {
    let two = schema(&[("a", ColumnType::Text), ("b", ColumnType::Text)]);
    let places = schema(&[("lat", ColumnType::Real), ("lon", ColumnType::Real)]);
    let rates = schema(&[("rate", ColumnType::Real), ("city", ColumnType::Text)]);
    // A header, an error of a spreadsheet and a row that is no comment would be left out.
    for (text, schema) in [
        ("#lon,lat\n10.1,59.9\n", &places),
        ("rate,city\n1.5,Oslo\n#N/A,Rome\n", &rates),
        ("# rates of\nrate,city\n1.5,Oslo\n# 2\n", &rates),
    ] {
        let told = told(text, schema, &Settings::default());
        assert!(told.contains("comments after #; set its comment"), "{text}: {told}");
    }
    let years = schema(&[("name", ColumnType::Text), ("y2019", ColumnType::Real)]);
    let told_years = told("Country,2019\nNorway,5\n", &years, &Settings::default());
    assert!(told_years.contains("names no column of the schema"), "{told_years}");
    for (text, schema, expected) in [
        (
            "a,b\n'x',y\n",
            two.clone(),
            "cannot tell how f.csv is written: comma-separated, 2 columns, with a header, or \
             comma-separated, 2 columns, with a header, quotes '; set its quote (--quote), or to none if it is data",
        ),
        (
            "a,b\nx,y\n#z,y\n",
            two.clone(),
            "cannot tell how f.csv is written: comma-separated, 2 columns, with a header, or \
             comma-separated, 2 columns, with a header, comments after #; set its comment (--comment), or to none if it is data",
        ),
        (
            "x,y\nz,y\n",
            two.clone(),
            "the header of f.csv does not fit the schema: the first line names no column of the schema: if it \
             is a row, say that there is no header, or name the columns; missing: a, b; unknown: x, y; the \
             schema has a, b; the header has x, y",
        ),
    ] {
        let told = told(text, &schema, &Settings::default());
        assert_eq!(told, expected);
    }
    let three = schema(&[("a", ColumnType::Text), ("b", ColumnType::Int), ("c", ColumnType::Text)]);
    let numbers = schema(&[("a", ColumnType::Int), ("b", ColumnType::Text)]);
    assert_eq!(
        told("1,x;y\n2,z\n", &numbers, &Settings::default()),
        "comma-separated, 2 columns, no header"
    );
    assert_eq!(
        told("x,1,y;2;z\n", &three, &Settings::default()),
        "cannot tell how f.csv is written: comma-separated, 3 columns, no header, or semicolon-separated, 3 \
         columns, no header; set its delimiter (--delimiter)"
    );
}

fn settings(set: impl FnOnce(&mut Dialect)) -> Settings {
    let mut settings = Settings::default();
    set(&mut settings.dialect);
    settings
}

#[test]
fn settings_beat_detection() {
    let two = schema(&[("a", ColumnType::Text), ("b", ColumnType::Text)]);
    let read = |text: &str, settings: &Settings| {
        rows(text.as_bytes(), &two, settings).map(texts).map_err(|error| error.to_string())
    };
    let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
    let headless = settings(|dialect| dialect.header = Some(false));
    assert_eq!(read("a,b\nx,y\n", &headless), Ok(vec![row("a", "b"), row("x", "y")]));
    assert_eq!(read("x\ty\n", &headless), Ok(vec![row("x", "y")]));
    let semicolon = settings(|dialect| dialect.delimiter = ";".parse().ok());
    assert!(read("a,b\nx,y\n", &semicolon).unwrap_err().contains("1 comma: is it comma-separated"));
    let plain = settings(|dialect| dialect.quote = Some(crate::Mark::None));
    assert_eq!(read("a,b\n\"x,'y'\n", &plain), Ok(vec![row("\"x", "'y'")]));
    let hash = settings(|dialect| dialect.comment = "none".parse().ok());
    assert_eq!(read("a,b\n#x,y\nz,\n", &hash), Ok(vec![row("#x", "y"), row("z", "")]));
    let skip = settings(|dialect| dialect.skip = 2);
    assert_eq!(read("Report of \"May\n\na;b\nx;y\n", &skip), Ok(vec![row("x", "y")]));
    let named = settings(|dialect| dialect.columns = vec!["B".to_owned(), "a".to_owned()]);
    assert_eq!(read("x,y\n", &named), Ok(vec![row("y", "x")]));
    let more = Settings {
        ignore_extra: true,
        ..settings(|dialect| dialect.columns = ["a", "_", "b"].map(str::to_owned).to_vec())
    };
    assert_eq!(read("x|-|y\n", &more), Ok(vec![row("x", "y")]));
    let fewer = settings(|dialect| dialect.columns = vec!["a".to_owned()]);
    assert_eq!(
        read("x\n", &fewer).unwrap_err(),
        "the columns given for f.csv do not fit the schema: missing: b; the schema has a, b; the header has a"
    );
    let same = settings(|dialect| {
        dialect.delimiter = "'".parse().ok();
        dialect.quote = "'".parse().ok();
    });
    assert!(read("a,b\n", &same).unwrap_err().contains("must be different"));
}

#[test]
fn columns_that_the_schema_lacks_are_skipped_on_demand() {
    let text = "extra;id;name;at;more\nx;1;Ana;;y\n";
    let error = told(text, &people(), &Settings::default());
    assert!(error.contains("unknown: extra, more; --ignore-extra skips them;"), "{error}");
    let ignore = Settings { ignore_extra: true, ..Settings::default() };
    let read = rows(text.as_bytes(), &people(), &ignore).unwrap();
    assert_eq!(texts(read), [["1", "Ana", ""]]);
    let json = b"{\"id\":1,\"more\":[1],\"name\":\"Ana\"}";
    let read = rows(json, &people(), &ignore);
    assert!(read.is_err(), "the name says that it is CSV");
}

#[test]
fn ragged_rows_are_refused_with_line_and_counts() {
    let error = |text: &str| {
        let read = rows(text.as_bytes(), &people(), &Settings::default());
        read.unwrap_err().to_string()
    };
    assert_eq!(
        error("id;name;at\n1;Ana;\n2;Bo\n"),
        "line 3: 2 fields, but the header has 3; check for a missing delimiter, or one that is data and not in quotes"
    );
    assert_eq!(
        error("1\tAna\t\n2\tBo\t\t\n"),
        "line 2: 4 fields, but expected 3; check for a missing delimiter, or one that is data and not in quotes"
    );
}
