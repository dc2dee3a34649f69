//! Reads the rows of a table from delimited text.
//!
//! Columns are matched by the header, ignoring ASCII case, or by their order if there is none. Line
//! numbers in errors are those of an editor, for every kind of line end and for quoted fields that
//! span lines.

use opaque_pir::table::{Column, Schema, Value};

use crate::dialect::{Detected, Open, detect};
use crate::header::matched;
use crate::input::Bytes;
use crate::sample::Sample;
use crate::settings::{Null, Settings, declared};
use crate::shown::quoted;
use crate::tokens::{Bent, Record, TokenError, Tokenizer};
use crate::values::{Field, Refused, value};
use crate::{MAX_RECORD_BYTES, SourceError};

/// Typed rows of delimited text, in file order.
pub(crate) struct CsvRows {
    tokens: Tokenizer<Bytes>,
    path: String,
    dialect: Detected,
    columns: Vec<Column>,
    /// For each column of the schema, the number of its field in a record.
    fields: Vec<usize>,
    null: Null,
    /// The line on which the last record began.
    line: u64,
}

impl CsvRows {
    /// Detects the dialect from the `sample` at the beginning of `bytes`, and reads and checks the
    /// header.
    pub(crate) fn open(
        path: String,
        sample: &Sample,
        bytes: Bytes,
        schema: &Schema,
        settings: &Settings,
    ) -> Result<Self, SourceError> {
        let Settings { dialect: set, null, quotes, ignore_extra } = settings;
        let mut dialect = match detect(sample, schema, settings) {
            None => return Err(SourceError::Marks { path }),
            Some(Err(doubt)) => {
                let setting = doubt.setting();
                let (first, second) = (doubt.first.to_string(), doubt.second.to_string());
                return Err(SourceError::Dialect { path, first, second, setting });
            }
            Some(Ok(dialect)) => dialect,
        };
        // Detected comments are only at the beginning.
        let syntax = match set.comment {
            Some(_) => dialect.syntax,
            None => dialect.syntax.without_comments(),
        };
        let mut tokens = Tokenizer::new(bytes, syntax, *quotes, MAX_RECORD_BYTES);
        tokens
            .skip_lines(set.skip.saturating_add(dialect.leading))
            .map_err(|error| unread(&path, error))?;
        let names: Vec<&[u8]> = set.columns.iter().map(String::as_bytes).collect();
        let fields = if dialect.has_header {
            match tokens.read() {
                Ok(None) => return Err(SourceError::Empty { path }),
                Ok(Some(header)) => {
                    dialect.fields = header.count();
                    let names: Vec<&[u8]> = header.fields().collect();
                    matched(schema, &names, *ignore_extra)
                        .map_err(|mismatch| SourceError::Header { path: path.clone(), mismatch })
                }
                Err(error) => Err(unread(&path, error)),
            }
        } else if names.is_empty() {
            dialect.fields = schema.columns().len();
            Ok((0..dialect.fields).collect())
        } else {
            dialect.fields = names.len();
            matched(schema, &names, *ignore_extra)
                .map_err(|mismatch| SourceError::Names { path: path.clone(), mismatch })
        };
        let fields = fields.map_err(|error| match error {
            SourceError::Read { .. } | SourceError::Names { .. } => error,
            // If the file has another format, that error is more useful than one about names or
            // quotes.
            error => not_csv(&path, tokens.record()).unwrap_or(error),
        })?;
        let columns = schema.columns().to_vec();
        Ok(Self { tokens, path, dialect, columns, fields, null: null.clone(), line: 1 })
    }

    /// The line on which the most recently returned row begins.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    pub(crate) fn bent(&self) -> Option<Bent> {
        self.tokens.bent()
    }

    pub(crate) fn dialect(&self) -> Detected {
        self.dialect
    }

    pub(crate) fn read(&mut self) -> Result<Option<Vec<Value>>, SourceError> {
        let Detected { syntax: _, has_header, fields: expected, leading: _, open } = self.dialect;
        let record = self.tokens.read().map_err(|error| unread(&self.path, error))?;
        let Some(record) = record else { return Ok(None) };
        self.line = record.line();
        let found = record.count();
        if found != expected {
            let line = self.line;
            return Err(SourceError::Fields { line, expected, found, has_header });
        }
        raises(open, &record, self.line)?;
        let cells = self.columns.iter().zip(&self.fields);
        cells
            .map(|(column, field)| cell(column, &record, *field, &self.null))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

/// Refuses a record that raises a question which the sample did not raise.
fn raises(open: Open, record: &Record<'_>, line: u64) -> Result<(), SourceError> {
    let Open { quote, comment } = open;
    let unquoted = |at: usize| record.field(at).filter(|_| !record.is_quoted(at));
    if comment && unquoted(0).is_some_and(|text| text.starts_with(b"#")) {
        return Err(SourceError::Undeclared { line, mark: '#', setting: "comment" });
    }
    let is_single = |text: &[u8]| match text {
        [b'\'', .., last] => *last == b'\'' || record.count() == 1,
        _ => false,
    };
    if quote && (0..record.count()).filter_map(unquoted).any(is_single) {
        return Err(SourceError::Undeclared { line, mark: '\'', setting: "quote" });
    }
    Ok(())
}

fn cell(
    column: &Column,
    record: &Record<'_>,
    at: usize,
    null: &Null,
) -> Result<Value, SourceError> {
    let text = record.field(at).unwrap_or_default();
    let field = Field { text, is_quoted: record.is_quoted(at), is_alone: record.count() == 1 };
    value(column, field, null).map_err(|refused| {
        let (line, name) = (record.line_of(at), column.name.clone());
        match refused {
            Refused::Utf8 => SourceError::Utf8 { line, column: name },
            Refused::Null => {
                let (declared, remedy) = (declared(column), null.remedy());
                SourceError::Null { line, column: name, declared, remedy }
            }
            Refused::Form(expected) => {
                let found = quoted(&String::from_utf8_lossy(text));
                SourceError::Value { line, column: name, expected, found }
            }
        }
    })
}

fn unread(path: &str, error: TokenError) -> SourceError {
    match error {
        TokenError::Read { line, source } => {
            SourceError::Read { path: path.to_owned(), line, source }
        }
        TokenError::TooLong { line, limit, quote } => SourceError::TooLong { line, limit, quote },
        TokenError::Unclosed { quote } => SourceError::Unclosed { quote },
        TokenError::Followed { quote, closed, escaped, by } => {
            let remedy = match by {
                _ if escaped => {
                    "a backslash does not escape a quote: write a quote that is data twice"
                }
                b',' | b';' | b'\t' | b'|' => "does the file have another delimiter? Then set it",
                _ => "write a quote that is data twice",
            };
            SourceError::Followed { quote, closed, remedy }
        }
    }
}

/// Recognizes another format by its first byte. No sensible CSV header begins with these bytes,
/// although a name may.
fn not_csv(path: &str, start: &[u8]) -> Option<SourceError> {
    let (found, remedy) = match start.trim_ascii_start().first()? {
        b'{' | b'[' => ("JSON", "set the format to json"),
        b'<' => ("HTML or XML", "does the address lead to a page about the file?"),
        _ => return None,
    };
    Some(SourceError::NotCsv { path: path.to_owned(), found, remedy })
}

#[cfg(test)]
mod tests;
