//! Guesses why a header does not match the schema.

use std::fmt;

use opaque_pir::table::Schema;

/// Delimiters that a file may have instead of the declared one.
const DELIMITERS: [(u8, &str); 4] =
    [(b',', "comma"), (b';', "semicolon"), (b'\t', "tab"), (b'|', "pipe")];
/// Maximum number of header fields that are compared with columns.
const COMPARED: usize = 1024;

/// The likely cause. It contains only numbers of fields and names of the schema, because a status
/// shows it too.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The header is not UTF-8.
    Utf8,
    /// The file has another delimiter.
    Separated {
        /// The delimiter's name.
        by: &'static str,
        /// Number of its occurrences in the only field.
        count: usize,
    },
    /// A quote is closed on a later line.
    LineBreak {
        /// Number of the field.
        field: usize,
    },
    /// A field has no name.
    Unnamed {
        /// Number of the field.
        field: usize,
        /// Whether it is the last field.
        last: bool,
    },
    /// A name equals a column's name, except for case or for characters other than letters and
    /// digits.
    Alike {
        /// Number of the field.
        field: usize,
        /// The column.
        column: String,
    },
    /// The first line is a row, so the header is missing.
    NoHeader,
}

impl Cause {
    /// The likely cause. `matched` are the fields that name columns.
    pub(super) fn of(schema: &Schema, header: &[&[u8]], matched: &[Option<usize>]) -> Option<Self> {
        let fields = || (1..).zip(header.iter().copied());
        let first = |is: &dyn Fn(&[u8]) -> bool| {
            fields().find(|(_, name)| is(name)).map(|(field, _)| field)
        };
        if first(&|name| std::str::from_utf8(name).is_err()).is_some() {
            return Some(Self::Utf8);
        }
        if let [only] = header {
            let count = |byte| only.iter().filter(|other| **other == byte).count();
            let counts = DELIMITERS.map(|(byte, by)| (count(byte), by));
            let most = counts.into_iter().max_by_key(|(count, _)| *count);
            if let Some((count, by)) = most.filter(|(count, _)| *count > 0) {
                return Some(Self::Separated { by, count });
            }
        }
        if let Some(field) = first(&|name| name.contains(&b'\n') || name.contains(&b'\r')) {
            return Some(Self::LineBreak { field });
        }
        if let Some(field) = first(&|name| name.trim_ascii().is_empty()) {
            return Some(Self::Unnamed { field, last: field == header.len() });
        }
        let columns = || schema.columns().iter().zip(matched);
        let missing = columns().filter(|(_, field)| field.is_none());
        let missing: Vec<_> =
            missing.map(|(column, _)| (&column.name, letters(&column.name))).collect();
        for (field, name) in
            fields().take(COMPARED).filter(|(field, _)| !matched.contains(&Some(field - 1)))
        {
            let name = letters(&String::from_utf8_lossy(name));
            if let Some((column, _)) = missing.iter().find(|(_, other)| *other == name) {
                return Some(Self::Alike { field, column: (*column).clone() });
            }
        }
        let as_many = header.len() > 1 && header.len() == matched.len();
        (as_many && missing.len() == matched.len()).then_some(Self::NoHeader)
    }
}

/// The letters and digits of a name, in lower case.
fn letters(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf8 => f.write_str(
                "the header is not valid UTF-8: convert the file, for instance with iconv",
            ),
            Self::Separated { by, count } => {
                let ending = if *count == 1 { "" } else { "s" };
                write!(
                    f,
                    "the header is one field with {count} {by}{ending}: is it {by}-separated? Then set the delimiter"
                )
            }
            Self::LineBreak { field } => {
                write!(f, "field {field} of the header has a line break: is a quote left open?")
            }
            Self::Unnamed { field, last: true } => {
                write!(f, "field {field} of the header has no name: the line ends with a delimiter")
            }
            Self::Unnamed { field, last: false } => {
                write!(f, "field {field} of the header has no name")
            }
            Self::Alike { field, column } => write!(
                f,
                "field {field} of the header equals column {column} except for case, blanks, marks or invisible characters"
            ),
            Self::NoHeader => f.write_str(
                "the first line names no column of the schema: if it is a row, say that there is no header, or name the columns",
            ),
        }
    }
}
