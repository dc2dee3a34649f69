//! Detects how delimited text is written if no schema is known.
//!
//! A dialect fits if it divides all lines of the sample into the same number of fields, at least
//! two. If two dialects fit and read different fields, the file is refused with both. If none fits,
//! the one with which most lines agree is chosen, and reading with it gives an error with its line.
//!
//! The first line is a header unless one of its fields is a number other than a year, a date or a
//! time.

use std::collections::HashMap;

use opaque_pir::table::{ColumnType, Value};

use crate::SourceError;
use crate::dialect::blind::{Blind, detect};
use crate::sample::Sample;
use crate::settings::{Dialect, Mark, Settings};
use crate::shown::quoted;

/// How a file is written.
#[derive(Debug)]
pub(super) struct Layout {
    /// Everything that is needed to read it.
    pub(super) dialect: Dialect,
    pub(super) has_header: bool,
    /// The names of the fields.
    pub(super) names: Vec<String>,
}

impl Layout {
    pub(super) fn of(
        path: &str,
        sample: &Sample,
        settings: &Settings,
    ) -> Result<Self, SourceError> {
        let Blind { syntax, leading, first } = detect(path, sample, settings)?;
        let set = &settings.dialect;
        let first: Vec<&str> = first.iter().map(|field| field.trim()).collect();
        let has_header =
            set.has_header().unwrap_or_else(|| !first.iter().any(|text| is_data(text)));
        let names: Vec<String> = if has_header {
            first.iter().map(|name| (*name).to_owned()).collect()
        } else if set.columns.is_empty() {
            (1..=first.len()).map(|number| format!("column_{number}")).collect()
        } else {
            set.columns.clone()
        };
        check(path, &names)?;
        let mark = |byte: Option<u8>| byte.map_or(Mark::None, Mark::Byte);
        let dialect = Dialect {
            delimiter: char::from(syntax.delimiter()).to_string().parse().ok(),
            quote: Some(mark(syntax.quote())),
            comment: Some(mark(set.comment.and_then(Mark::byte))),
            header: Some(has_header),
            columns: set.columns.clone(),
            skip: set.skip.saturating_add(leading),
        };
        Ok(Self { dialect, has_header, names })
    }
}

/// Refuses names that occur twice.
fn check(path: &str, names: &[String]) -> Result<(), SourceError> {
    let mut seen = HashMap::new();
    for (number, name) in (1..).zip(names) {
        if let Some(first) = seen.insert(name, number) {
            let (path, name) = (path.to_owned(), quoted(name));
            return Err(SourceError::SameNames { path, name, first, second: number });
        }
    }
    Ok(())
}

/// Whether a field is hardly the name of a column.
fn is_data(text: &str) -> bool {
    let begins = text.trim_start_matches(['-', '+', '.']).starts_with(|c: char| c.is_ascii_digit());
    // Years are frequent names of columns.
    let is_year = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = || text.replace(',', ".").parse::<f64>().is_ok();
    let is_date = || matches!(text.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _]);
    begins
        && !is_year
        && (is_date() || is_number() || Value::parse(ColumnType::Timestamp, text).is_ok())
}
