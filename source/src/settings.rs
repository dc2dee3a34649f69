//! The caller's settings for a file, and the words for them in errors.

use std::collections::HashSet;
use std::fmt;

use opaque_pir::table::{Column, Role, Value};

pub use self::mark::{Delimiter, Mark};
use crate::tokens::Quotes;

mod mark;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Delimited text, such as comma-separated values.
    Csv,
    /// JSON objects one after another, such as JSON lines, or one array of objects.
    Json,
    /// Apache Parquet. Only builds with the feature `parquet` read it.
    Parquet,
}

impl Format {
    /// The format according to a file's name, without the ending of a compression, or else to its
    /// first bytes.
    pub(crate) fn of(name: &str, start: &[u8]) -> Self {
        if start.starts_with(b"PAR1") {
            return Self::Parquet;
        }
        Self::named(name).unwrap_or_else(|| {
            let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
            match start.split_first() {
                Some((b'{', _)) => Self::Json,
                Some((b'[', rest)) if matches!(rest.trim_ascii_start(), [b'{' | b']', ..]) => {
                    Self::Json
                }
                _ => Self::Csv,
            }
        })
    }

    fn named(name: &str) -> Option<Self> {
        let name = name.rsplit(['/', '\\']).next()?.to_ascii_lowercase();
        let compressions = [".gz", ".zst"];
        let inner = compressions.iter().find_map(|ending| name.strip_suffix(ending));
        let (_, ending) = inner.unwrap_or(&name).rsplit_once('.')?;
        match ending {
            "csv" | "tsv" | "psv" => Some(Self::Csv),
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Which fields of delimited text are NULL. JSON has its own `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Null {
    /// An empty field.
    Empty,
    /// A field with this text, which the caller's `--null` sets.
    Text(String),
}

impl Null {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Empty => "",
            Self::Text(text) => text,
        }
    }

    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Empty => "fill it in, or make the column nullable",
            Self::Text(_) => "fill it in, or name another text for NULL by --null",
        }
    }
}

/// Settings for a file. The default detects the dialect, takes empty fields for NULL, refuses wrong
/// quotes, and refuses columns that the schema lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How delimited text is written.
    pub dialect: Dialect,
    /// Which fields of delimited text are NULL.
    pub null: Null,
    /// How to treat quotes in delimited text that are never closed or that are followed by text.
    pub quotes: Quotes,
    /// Whether columns of the file that the schema does not name are skipped. They also are if a
    /// column has a name of its own in the file.
    pub ignore_extra: bool,
    /// Where the file has the columns of the schema, in their order. Columns beyond the end of this
    /// list have the default.
    pub columns: Vec<ColumnSource>,
}

/// Where a file has a column, and what it may hold there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnSource {
    /// The header, or the key of a JSON object, exactly as written in the file. `None` is the name
    /// of the column in any case.
    pub from: Option<String>,
    /// What values may be beyond the column's type.
    pub limit: Option<Limit>,
}

impl ColumnSource {
    /// The position of the first column whose name in the file could also be another column's: it is
    /// that of an earlier one, or, in any case, the own name of a column without `from`. `names` are
    /// the columns' own names.
    pub fn first_ambiguous<'a>(
        names: impl Iterator<Item = &'a str>,
        columns: &[Self],
    ) -> Option<usize> {
        let own = names.zip(columns).filter(|(_, column)| column.from.is_none());
        let own: HashSet<String> = own.map(|(name, _)| name.to_ascii_lowercase()).collect();
        let mut seen = HashSet::new();
        let names = columns.iter().map(|column| column.from.as_deref());
        names.enumerate().find_map(|(at, from)| {
            let from = from?;
            (!seen.insert(from) || own.contains(&from.to_ascii_lowercase())).then_some(at)
        })
    }
}

/// A limit that a declared type sets, and the stored type does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// At most this many characters, as in `VARCHAR(20)`.
    Characters(u64),
    /// A whole number of 16 bits, as `SMALLINT` has.
    Bits16,
}

impl Limit {
    fn allows(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Characters(most), Value::Text(text)) => {
                // No text has more characters than bytes.
                text.len() as u64 <= most || text.chars().count() as u64 <= most
            }
            (Self::Bits16, Value::Int(number)) => i16::try_from(*number).is_ok(),
            _ => true,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Characters(1) => f.write_str("at most 1 character"),
            Self::Characters(most) => write!(f, "at most {most} characters"),
            Self::Bits16 => f.write_str("a whole number from -32768 to 32767"),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dialect: Dialect::default(),
            null: Null::Empty,
            quotes: Quotes::Strict,
            ignore_extra: false,
            columns: Vec::new(),
        }
    }
}

impl Settings {
    /// Whether columns of the file that the schema does not name are skipped.
    pub(crate) fn skips_extra(&self) -> bool {
        self.ignore_extra || self.columns.iter().any(|column| column.from.is_some())
    }

    /// The position of the first value in `row` that its column may not hold, and why.
    pub(crate) fn beyond(&self, row: &[Value]) -> Option<(usize, Limit)> {
        let mut columns = self.columns.iter().zip(row).enumerate();
        columns.find_map(|(at, (column, value))| {
            column.limit.filter(|limit| !limit.allows(value)).map(|limit| (at, limit))
        })
    }
}

/// How delimited text is written. What is not set is detected from the beginning of the file.
///
/// As JSON it is the `dialect` of an `OpaqueTable`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Dialect {
    /// The character between two fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<Delimiter>,
    /// The character around fields that contain delimiters or line breaks, and twice within them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<Mark>,
    /// The character at the beginning of lines that are not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<Mark>,
    /// Whether the first record names the columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// Names of the fields of a file without a header, in the file's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Number of lines before the header, or before the first row, that are not read.
    #[serde(skip_serializing_if = "is_zero")]
    pub skip: u64,
}

impl Dialect {
    /// Whether there is a header, if this is set. A file whose columns are named here has none.
    pub(crate) fn has_header(&self) -> Option<bool> {
        self.header.or((!self.columns.is_empty()).then_some(false))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why a column does not allow NULL.
pub(crate) fn declared(column: &Column) -> &'static str {
    if column.role == Role::Key { "a KEY" } else { "NOT NULL" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_about_the_format_and_then_the_first_bytes() {
        for (name, start, format) in [
            ("a.csv", "{\"a\":1}", Format::Csv),
            ("a.TSV.gz", "", Format::Csv),
            ("a.psv.zst", "", Format::Csv),
            ("https://host/a.json", "a,b", Format::Json),
            ("a.jsonl.zst", "", Format::Json),
            ("a.b.ndjson", "", Format::Json),
            ("-", "{\"a\":1}", Format::Json),
            ("a.dat", "\u{feff} [\n {", Format::Json),
            ("json", "[]", Format::Json),
            ("a.json/data", "[a],b", Format::Csv),
            ("a", "", Format::Csv),
            ("a.parquet", "", Format::Parquet),
            ("a.csv", "PAR1", Format::Parquet),
        ] {
            assert_eq!(Format::of(name, start.as_bytes()), format, "{name}");
        }
    }

    #[test]
    fn a_dialect_is_what_a_table_declares() {
        let json = r##"{"delimiter":"tab","quote":"none","comment":"#","header":false,"columns":["a","b"],"skip":2}"##;
        let dialect: Dialect = serde_json::from_str(json).unwrap();
        let expected = Dialect {
            delimiter: Some("\t".parse().unwrap()),
            quote: Some(Mark::None),
            comment: Some(Mark::Byte(b'#')),
            header: Some(false),
            columns: vec!["a".to_owned(), "b".to_owned()],
            skip: 2,
        };
        assert_eq!(dialect, expected);
        assert_eq!(serde_json::to_string(&dialect).unwrap(), json);
        assert_eq!(serde_json::from_str::<Dialect>("{}").unwrap(), Dialect::default());
        for wrong in [r#"{"delimiter":"ab"}"#, r#"{"quotes":"'"}"#, r#"{"delimiter":"none"}"#] {
            assert!(serde_json::from_str::<Dialect>(wrong).is_err(), "{wrong}");
        }
    }
}
