//! Reads a sample in one dialect.

use opaque_pir::table::{ColumnType, Schema, Value};

use crate::MAX_RECORD_BYTES;
use crate::header::{matched, named};
use crate::names::Names;
use crate::sample::Sample;
use crate::settings::Settings;
use crate::tokens::{Syntax, TokenError, Tokenizer};
use crate::values::{Field, value};

/// The sample in one dialect.
pub(super) struct Candidate {
    pub(super) syntax: Syntax,
    pub(super) has_header: bool,
    pub(super) rank: Rank,
    /// Number of lines up to the last detected comment before the first record.
    pub(super) leading: u64,
    /// Whether some line that counts as a detected comment could be a record.
    pub(super) hides_lines: bool,
    records: Vec<Vec<Cell>>,
}

/// A field's bytes, and whether it is quoted.
type Cell = (Vec<u8>, bool);

/// How well a dialect fits, from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Neither a header nor rows of the schema.
    Unfit {
        /// Columns that the first record names.
        named: usize,
        /// Whether the first record has as many fields as the schema has columns.
        is_complete: bool,
        /// Whether the first record has several fields.
        is_divided: bool,
    },
    /// Rows of the schema without a header.
    Rows,
    /// A header, and then something other than rows of the schema.
    Header,
    /// A header and rows of the schema.
    HeaderAndRows,
}

impl Rank {
    /// Whether all records fit the schema.
    pub(super) fn fits(self) -> bool {
        matches!(self, Self::Rows | Self::HeaderAndRows)
    }
}

impl Candidate {
    pub(super) fn read(
        syntax: Syntax,
        sample: &Sample,
        schema: &Schema,
        settings: &Settings,
    ) -> Self {
        let (records, is_broken) = records(syntax, sample, settings);
        let first: Vec<&[u8]> = match records.first() {
            Some(first) => first.iter().map(|(text, _)| text.as_slice()).collect(),
            None => Vec::new(),
        };
        let columns = &settings.dialect.columns;
        let set = settings.dialect.has_header();
        let names = Names::new(schema, &settings.columns);
        let named = named(&names, &first);
        let header = matched(&names, &first, true).ok().filter(|_| set != Some(false));
        let fields = match (&header, set) {
            (Some(header), _) => Some(header.clone()),
            // An error in the given names is reported when they are used.
            (None, Some(false)) if !columns.is_empty() => {
                let given: Vec<&[u8]> = columns.iter().map(String::as_bytes).collect();
                matched(&names, &given, true).ok()
            }
            (None, Some(true)) => None,
            (None, _) => Some((0..schema.columns().len()).collect()),
        };
        let width = match (&header, columns.len()) {
            (Some(_), _) => first.len(),
            (None, 0) => schema.columns().len(),
            (None, given) => given,
        };
        let rows = records.get(usize::from(header.is_some())..).unwrap_or_default();
        let fits = !is_broken
            && !records.is_empty()
            && fields.as_ref().is_some_and(|fields| {
                rows.iter().all(|row| row.len() == width && is_row(schema, fields, row, settings))
            });
        let rank = match (&header, fits) {
            (Some(_), true) => Rank::HeaderAndRows,
            (Some(_), false) => Rank::Header,
            (None, true) => Rank::Rows,
            (None, false) => Rank::Unfit {
                named,
                is_complete: first.len() == width,
                is_divided: first.len() > 1,
            },
        };
        let is_data = || named == 0 && first.len() == width && is_evidence(schema, &first);
        let has_header = set.unwrap_or_else(|| header.is_some() || !is_data());
        let (leading, hides_lines) = match settings.dialect.comment {
            None => comments(
                syntax,
                sample,
                |fields| crate::header::named(&names, fields) > 0,
                settings.dialect.skip,
                width,
            ),
            Some(_) => (0, false),
        };
        Self { syntax, has_header, rank, leading, hides_lines, records }
    }

    /// Number of fields of the first record.
    pub(super) fn fields(&self) -> usize {
        self.records.first().map_or(0, Vec::len)
    }

    /// Whether there are records after the header.
    pub(super) fn has_rows(&self) -> bool {
        self.records.len() > usize::from(self.has_header)
    }

    /// Whether a field is quoted.
    pub(super) fn is_quoted(&self) -> bool {
        self.records.iter().flatten().any(|(_, is_quoted)| *is_quoted)
    }

    /// Whether the other dialect reads the same.
    pub(super) fn reads_as(&self, other: &Self) -> bool {
        self.has_header == other.has_header && self.records == other.records
    }
}

/// The number of lines up to the last comment before the first record, and whether some comment
/// could be a record: it follows one, has as many fields, or `names` a column.
pub(super) fn comments(
    syntax: Syntax,
    sample: &Sample,
    names: impl Fn(&[&[u8]]) -> bool,
    skip: u64,
    width: usize,
) -> (u64, bool) {
    let Some(mark) = syntax.comment() else { return (0, false) };
    let (mut number, mut leading, mut begun, mut hides) = (0, 0, false, false);
    let mut rest = sample.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&sample.bytes);
    while !rest.is_empty() {
        let (line, after) = line(rest);
        (rest, number) = (after, number + 1);
        match line.split_first() {
            _ if number <= skip => {}
            None => {}
            Some((first, text)) if *first == mark => {
                let fields: Vec<&[u8]> = text.split(|byte| *byte == syntax.delimiter()).collect();
                hides |= begun || fields.len() == width || names(&fields);
                leading = if begun { leading } else { number - skip };
            }
            Some(_) => begun = true,
        }
    }
    (leading, hides)
}

/// The first line without its end, and what follows.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(text.len());
    let (line, rest) = text.split_at(end);
    let rest = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
    (line, rest)
}

/// The complete records of a sample, and whether an error follows them.
pub(super) fn records(
    syntax: Syntax,
    sample: &Sample,
    settings: &Settings,
) -> (Vec<Vec<Cell>>, bool) {
    let mut tokens =
        Tokenizer::new(sample.bytes.as_slice(), syntax, settings.quotes, MAX_RECORD_BYTES);
    let mut records: Vec<Vec<Cell>> = Vec::new();
    if tokens.skip_lines(settings.dialect.skip).is_err() {
        return (records, true);
    }
    loop {
        match tokens.read() {
            Ok(Some(record)) => {
                let cells = record.fields().enumerate();
                let cell = |(at, text): (usize, &[u8])| (text.to_vec(), record.is_quoted(at));
                records.push(cells.map(cell).collect());
            }
            Ok(None) => {
                if !sample.is_whole {
                    // The sample may end within this record.
                    records.pop();
                }
                return (records, false);
            }
            Err(TokenError::Unclosed { .. }) if !sample.is_whole => return (records, false),
            Err(_) => return (records, true),
        }
    }
}

/// Whether a record's fields are values of their columns.
fn is_row(schema: &Schema, fields: &[usize], row: &[Cell], settings: &Settings) -> bool {
    schema.columns().iter().zip(fields).all(|(column, at)| {
        let Some((text, is_quoted)) = row.get(*at) else { return false };
        let field = Field { text, is_quoted: *is_quoted, is_alone: row.len() == 1 };
        value(column, field, &settings.null).is_ok()
    })
}

/// Whether a record has a value that is hardly the name of a column.
fn is_evidence(schema: &Schema, record: &[&[u8]]) -> bool {
    schema.columns().iter().zip(record).any(|(column, text)| {
        let Ok(text) = std::str::from_utf8(text) else { return false };
        let text = text.trim();
        let begins_with_digit = text
            .trim_start_matches(['-', '+', '.'])
            .starts_with(|first: char| first.is_ascii_digit());
        // Years are frequent names of columns.
        let is_year = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        match column.column_type {
            ColumnType::Text => false,
            ColumnType::Bool => Value::parse(ColumnType::Bool, text).is_ok(),
            ColumnType::Json => {
                text.starts_with(['{', '[']) && Value::parse(ColumnType::Json, text).is_ok()
            }
            other => {
                begins_with_digit
                    && !is_year
                    && Value::parse(other, crate::values::whole(text)).is_ok()
            }
        }
    })
}
