use std::io::{self, Read};

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// A field's bytes, and whether it was quoted.
type Cells = Vec<(Vec<u8>, bool)>;

/// The result of reading: records with their lines, the lines of their fields, and the error.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reading {
    records: Vec<(u64, Cells, Vec<u64>)>,
    bent: Option<Bent>,
    error: Option<String>,
}

/// Bytes that arrive in pieces.
struct Pieces<'a> {
    bytes: &'a [u8],
    at_once: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.at_once.min(buffer.len());
        self.bytes.read(&mut buffer[..length])
    }
}

fn read_by(bytes: &[u8], syntax: Syntax, quotes: Quotes, at_once: usize) -> Reading {
    let mut tokens = Tokenizer::new(Pieces { bytes, at_once }, syntax, quotes, 1 << 24);
    let mut reading = Reading::default();
    loop {
        match tokens.read() {
            Ok(Some(record)) => {
                let quoted = (0..record.count()).map(|field| record.is_quoted(field));
                let cells = record.fields().map(<[u8]>::to_vec).zip(quoted).collect();
                let lines = (0..record.count()).map(|field| record.line_of(field)).collect();
                reading.records.push((record.line(), cells, lines));
            }
            Ok(None) => break,
            Err(error) => {
                reading.error = Some(error.to_string());
                break;
            }
        }
    }
    reading.bent = tokens.bent();
    reading
}

fn read(bytes: &[u8], syntax: Syntax, quotes: Quotes) -> Reading {
    read_by(bytes, syntax, quotes, usize::MAX)
}

fn strict(text: &str) -> Reading {
    read(text.as_bytes(), Syntax::CSV, Quotes::Strict)
}

fn texts(reading: &Reading) -> Vec<Vec<Vec<u8>>> {
    let cells = |cells: &Cells| cells.iter().map(|(text, _)| text.clone()).collect();
    reading.records.iter().map(|(_, fields, _)| cells(fields)).collect()
}

/// The records that crate `csv` reads.
fn by_csv(bytes: &[u8], syntax: Syntax) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(syntax.delimiter)
        .quoting(syntax.quote.is_some())
        .quote(syntax.quote.unwrap_or_default())
        .comment(syntax.comment)
        .from_reader(bytes);
    let records = reader.byte_records().map(Result::unwrap);
    records.map(|record| record.iter().map(<[u8]>::to_vec).collect()).collect()
}

/// A reader that follows the rules byte by byte, without any optimization.
fn naive(bytes: &[u8], syntax: Syntax) -> Reading {
    let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
    let is_break = |at: usize| matches!(bytes.get(at), Some(b'\n' | b'\r'));
    let place = |at: usize| {
        let (mut line, mut begin) = (1, 0);
        for end in 0..at {
            let first_half = bytes[end] == b'\r' && bytes.get(end + 1) == Some(&b'\n');
            if is_break(end) && !(first_half && end + 1 < at) {
                (line, begin) = (line + 1, end + 1);
            }
        }
        let before = &bytes[begin..at];
        let characters =
            std::str::from_utf8(before).map_or(before.len(), |text| text.chars().count());
        Position { line, column: characters as u64 + 1 }
    };
    let mut reading = Reading::default();
    let mut at = 0;
    'records: while at < bytes.len() {
        if is_break(at) {
            at += 1;
            continue;
        }
        if syntax.comment == Some(bytes[at]) {
            while at < bytes.len() && !is_break(at) {
                at += 1;
            }
            continue;
        }
        let (mut cells, mut lines, line) = (Vec::new(), Vec::new(), place(at).line);
        loop {
            let (mut text, begin) = (Vec::new(), at);
            lines.push(place(at).line);
            let quoted = at < bytes.len() && syntax.quote == Some(bytes[at]);
            if quoted {
                let quote = bytes[at];
                at += 1;
                loop {
                    match (bytes.get(at), bytes.get(at + 1)) {
                        (None, _) => {
                            let quote = place(begin);
                            reading.error = Some(TokenError::Unclosed { quote }.to_string());
                            break 'records;
                        }
                        (Some(byte), Some(next)) if *byte == quote && *next == quote => {
                            text.push(quote);
                            at += 2;
                        }
                        (Some(byte), _) if *byte == quote => break,
                        (Some(byte), _) => {
                            text.push(*byte);
                            at += 1;
                        }
                    }
                }
                at += 1;
                if at < bytes.len() && !is_break(at) && bytes[at] != syntax.delimiter {
                    let (quote, closed) = (place(begin), place(at - 1));
                    let followed = TokenError::Followed { quote, closed, escaped: false, by: 0 };
                    reading.error = Some(followed.to_string());
                    break 'records;
                }
            } else {
                while at < bytes.len() && !is_break(at) && bytes[at] != syntax.delimiter {
                    text.push(bytes[at]);
                    at += 1;
                }
            }
            cells.push((text, quoted));
            if bytes.get(at) != Some(&syntax.delimiter) {
                break;
            }
            at += 1;
        }
        reading.records.push((line, cells, lines));
    }
    reading
}

/// Random bytes, with many of those that have a meaning.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![
        &b"\""[..],
        b"\"",
        b"\"\"",
        b",",
        b",",
        b"\n",
        b"\r\n",
        b"\r",
        b"a",
        b"b ",
        b"#",
        b";",
        b"'",
        b"\xc3\x85",
        b"\xff",
        b"\0",
        b"\xef\xbb\xbf",
        b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ]);
    prop_oneof![
        4 => prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat()),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ]
}

fn syntaxes() -> impl Strategy<Value = Syntax> {
    let syntax = |delimiter, quote, comment| Syntax::new(delimiter, quote, comment).unwrap();
    select(vec![
        Syntax::CSV,
        syntax(b';', Some(b'\''), Some(b'#')),
        syntax(b',', None, None),
        syntax(b'b', Some(b'a'), Some(b'"')),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn strict_reading_is_that_of_the_naive_reader(bytes in soup(), syntax in syntaxes()) {
        prop_assert_eq!(read(&bytes, syntax, Quotes::Strict), naive(&bytes, syntax));
    }

    #[test]
    fn what_is_accepted_is_what_csv_reads(bytes in soup()) {
        let reading = read(&bytes, Syntax::CSV, Quotes::Strict);
        let mut expected = by_csv(&bytes, Syntax::CSV);
        if reading.error.is_some() {
            expected.truncate(reading.records.len());
        }
        prop_assert_eq!(texts(&reading), expected);
    }

    #[test]
    fn comments_and_other_marks_are_those_of_csv(bytes in soup(), syntax in syntaxes()) {
        // In `csv`, only LF ends a comment, and a comment at the end of the file is an empty
        // record.
        let mut bytes: Vec<u8> = bytes.into_iter().filter(|byte| *byte != b'\r').collect();
        bytes.push(b'\n');
        prop_assert_eq!(texts(&read(&bytes, syntax, Quotes::Lenient)), by_csv(&bytes, syntax));
    }

    #[test]
    fn lenient_reading_is_that_of_csv_and_tells_when_strict_is_not(bytes in soup()) {
        let lenient = read(&bytes, Syntax::CSV, Quotes::Lenient);
        prop_assert_eq!(lenient.error.as_deref(), None);
        prop_assert_eq!(texts(&lenient), by_csv(&bytes, Syntax::CSV));
        let strict = read(&bytes, Syntax::CSV, Quotes::Strict);
        prop_assert_eq!(lenient.bent.is_some(), strict.error.is_some());
        if let Some(bent) = lenient.bent {
            let position = strict.records.len();
            prop_assert_eq!(bent.first_line, lenient.records[position].0);
            prop_assert!(bent.records <= (lenient.records.len() - position) as u64);
        }
    }

    #[test]
    fn pieces_make_no_difference(bytes in soup(), syntax in syntaxes(), at_once in 1usize..5) {
        for quotes in [Quotes::Strict, Quotes::Lenient] {
            let whole = read(&bytes, syntax, quotes);
            prop_assert_eq!(read_by(&bytes, syntax, quotes, at_once), whole);
        }
    }

    #[test]
    fn a_file_written_by_the_rules_is_read_back(
        rows in prop::collection::vec(prop::collection::vec(("[a,\"\r\n é]{0,9}", any::<bool>()), 1..5), 0..9),
        end in select(&["\n", "\r\n", "\r"][..]),
        last: bool,
    ) {
        let mut text = String::new();
        for row in &rows {
            // A single empty field is no record unless it is quoted.
            let alone = row.len() == 1;
            let fields = row.iter().map(|(field, quote)| {
                let needed = field.starts_with('"') || field.contains([',', '\r', '\n']) || (alone && field.is_empty());
                if *quote || needed { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.clone() }
            });
            text += &(fields.collect::<Vec<_>>().join(",") + end);
        }
        if !last {
            text.truncate(text.trim_end_matches(end).len());
        }
        let expected: Vec<Vec<Vec<u8>>> = rows
            .iter()
            .map(|row| row.iter().map(|(field, _)| field.clone().into_bytes()).collect())
            .collect();
        let reading = strict(&text);
        prop_assert_eq!(reading.error.as_deref(), None);
        prop_assert_eq!(texts(&reading), expected);
    }
}

#[test]
fn quotes_that_are_never_closed_or_that_text_follows_are_refused_with_their_place() {
    let stray =
        (2..=300).fold("id,name\n1,\"Ana\n".to_owned(), |text, n| text + &format!("{n},n{n}\n"));
    for (text, error) in [
        ("id,name\n1,Ana\n2,\"Bo\n3,Cy\n4,Di\n", "line 3, column 3: the quote is never closed"),
        (stray.as_str(), "line 2, column 3: the quote is never closed"),
        ("\u{feff}\"", "line 1, column 1: the quote is never closed"),
        ("a,\"\"\"\"\"", "line 1, column 3: the quote is never closed"),
        (
            "id,name\n1,\"say \\\"hi\\\" now\"\n2,x\n",
            "line 2, column 3: text follows the quote at line 2, column 9, which closes the field",
        ),
        (
            "id,name\r\n1,\"Ana\" Maria\r\n",
            "line 2, column 3: text follows the quote at line 2, column 7, which closes the field",
        ),
        (
            "\r\r\"é\r\nÅ\",東京,\"x\n\"\"y\"z",
            "line 4, column 7: text follows the quote at line 5, column 4, which closes the field",
        ),
    ] {
        assert_eq!(strict(text).error.as_deref(), Some(error), "{text:?}");
    }
}

#[test]
fn a_quote_in_an_unquoted_field_is_data_and_empty_is_not_nothing() {
    let reading = strict("5\" pipe,a\"b\"c,\"\",, \"x\"\n");
    let cells = &reading.records[0].1;
    let quoted: Vec<bool> = cells.iter().map(|(_, quoted)| *quoted).collect();
    assert_eq!(quoted, [false, false, true, false, false]);
    assert_eq!(texts(&reading)[0], [&b"5\" pipe"[..], b"a\"b\"c", b"", b"", b" \"x\""]);
    assert_eq!(reading.bent, None);
}

#[test]
fn records_longer_than_the_buffer_are_read() {
    let long = "é\"\"\r\n,".repeat(CHUNK / 3);
    let text = format!(
        "a,\"{long}\",b\n{}\nc,\"{long}\",d\n",
        format_args!("{0},,{0}", "x".repeat(CHUNK))
    );
    for at_once in [1000, usize::MAX] {
        let reading = read_by(text.as_bytes(), Syntax::CSV, Quotes::Strict, at_once);
        assert_eq!(reading, naive_of_lines(&text, &long));
    }
}

/// The three records above.
fn naive_of_lines(text: &str, long: &str) -> Reading {
    let content = long.replace("\"\"", "\"").into_bytes();
    let breaks = (CHUNK / 3) as u64;
    let cell = |text: &[u8], quoted| (text.to_vec(), quoted);
    let row = |line, first: &str, last: &str| {
        let cells =
            vec![cell(first.as_bytes(), false), cell(&content, true), cell(last.as_bytes(), false)];
        (line, cells, vec![line, line, line + breaks])
    };
    let wide = || cell(&vec![b'x'; CHUNK], false);
    let middle = vec![wide(), cell(b"", false), wide()];
    let line = 2 + breaks;
    let records = vec![row(1, "a", "b"), (line, middle, vec![line; 3]), row(line + 1, "c", "d")];
    assert_eq!(
        texts(&Reading { records: records.clone(), ..Reading::default() }),
        by_csv(text.as_bytes(), Syntax::CSV)
    );
    Reading { records, ..Reading::default() }
}

#[test]
fn a_record_that_is_too_long_is_refused_with_the_quote_that_is_open() {
    let text = format!("a\n{}\n\"{}", "b".repeat(CHUNK), "c".repeat(1 << 20));
    let mut tokens = Tokenizer::new(text.as_bytes(), Syntax::CSV, Quotes::Strict, 1 << 18);
    assert!(tokens.read().unwrap().is_some() && tokens.read().unwrap().is_some());
    let error = tokens.read().unwrap_err();
    let quote = Position { line: 3, column: 1 };
    assert!(
        matches!(error, TokenError::TooLong { line: 3, limit: 0x40000, quote: Some(at) } if at == quote),
        "{error}"
    );
}

#[test]
fn an_error_of_the_source_has_its_line() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let source = (&b"a\n\"b\nc"[..]).chain(Broken);
    let mut tokens = Tokenizer::new(source, Syntax::CSV, Quotes::Lenient, 1 << 24);
    assert!(tokens.read().unwrap().is_some());
    assert_eq!(tokens.read().unwrap_err().to_string(), "cannot read beyond line 3: gone");
}

#[test]
fn a_dialect_needs_different_marks() {
    for (delimiter, quote, comment) in [
        (b'\n', None, None),
        (b',', Some(b'\r'), None),
        (b',', Some(b','), None),
        (b',', None, Some(b',')),
        (b',', Some(b'"'), Some(b'"')),
        (0xc3, None, None),
    ] {
        assert_eq!(Syntax::new(delimiter, quote, comment), None);
    }
}

#[test]
fn skipped_lines_are_counted_and_not_parsed() {
    for end in ["\n", "\r\n", "\r"] {
        for at_once in [1, 2, usize::MAX] {
            let text = ["\u{feff}made by \"x", "", "a,b", "1,2"].join(end);
            let mut tokens = Tokenizer::new(
                Pieces { bytes: text.as_bytes(), at_once },
                Syntax::CSV,
                Quotes::Strict,
                1 << 24,
            );
            tokens.skip_lines(2).unwrap();
            let record = tokens.read().unwrap().unwrap();
            assert_eq!((record.line(), record.field(1)), (3, Some(&b"b"[..])), "{end:?}");
            let record = tokens.read().unwrap().unwrap();
            assert_eq!((record.line(), record.field(1)), (4, Some(&b"2"[..])), "{end:?}");
            assert!(tokens.read().unwrap().is_none());
        }
    }
    let mut tokens = Tokenizer::new(&b"a\nb"[..], Syntax::CSV, Quotes::Strict, 1 << 24);
    tokens.skip_lines(u64::MAX).unwrap();
    assert!(tokens.read().unwrap().is_none());
}
