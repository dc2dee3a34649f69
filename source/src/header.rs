//! Matches the header of delimited text with the columns of a schema, by name and ignoring ASCII
//! case.

mod cause;

use std::collections::HashSet;
use std::fmt;

pub use self::cause::Cause;
use crate::names;
use crate::shown::Names;

/// How a header and a schema differ.
#[derive(Debug)]
pub struct HeaderMismatch {
    /// The likely cause.
    pub cause: Option<Cause>,
    /// Columns that the header does not name.
    pub missing: Names,
    /// Header names that are not columns.
    pub unknown: Names,
    /// The numbers of those fields, counted from 1.
    pub unknown_fields: Names,
    /// Columns that the header names more than once.
    pub repeated: Names,
    /// Columns of the schema.
    pub expected: Names,
    /// Names in the header.
    pub found: Names,
}

/// For each column of the schema, the position of its name in the header. Other names are an error
/// unless `ignore_extra` is set.
pub(crate) fn matched(
    columns: &names::Names,
    header: &[&[u8]],
    ignore_extra: bool,
) -> Result<Vec<usize>, Box<HeaderMismatch>> {
    let labels = columns.labels();
    let mut fields = vec![None; labels.len()];
    let (mut unknown, mut unknown_fields) = (Names::default(), Names::default());
    let (mut repeated, mut found) = (Names::default(), Names::default());
    for (number, field) in header.iter().enumerate() {
        let written = String::from_utf8_lossy(field);
        let name = written.trim();
        found.add(name);
        let column = columns.find(&written).or_else(|| columns.find(name));
        let column = column.and_then(|at| fields.get_mut(at).zip(labels.get(at)));
        match column {
            Some((field @ None, _)) => *field = Some(number),
            Some((Some(_), label)) => repeated.add(label),
            None => {
                unknown.add(name);
                unknown_fields.add(&(number + 1).to_string());
            }
        }
    }
    let whole: Option<Vec<usize>> = fields.iter().copied().collect();
    let whole = whole.filter(|_| (ignore_extra || unknown.is_empty()) && repeated.is_empty());
    whole.ok_or_else(|| {
        let missing = labels.iter().zip(&fields).filter(|(_, field)| field.is_none());
        Box::new(HeaderMismatch {
            cause: Cause::of(labels, header, &fields),
            missing: missing.map(|(label, _)| label).collect(),
            unknown,
            unknown_fields,
            repeated,
            expected: labels.iter().collect(),
            found,
        })
    })
}

/// Number of columns that a record names.
pub(crate) fn named(columns: &names::Names, record: &[&[u8]]) -> usize {
    let names = record.iter().filter_map(|name| std::str::from_utf8(name).ok());
    names
        .filter_map(|name| columns.find(name).or_else(|| columns.find(name.trim())))
        .collect::<HashSet<_>>()
        .len()
}

impl HeaderMismatch {
    /// Whether the header has all columns and further ones.
    fn has_only_extra(&self) -> bool {
        self.missing.is_empty() && self.repeated.is_empty() && !self.unknown.is_empty()
    }

    /// Like [`SourceError::for_status`](crate::SourceError::for_status): header fields appear by
    /// number only.
    pub(crate) fn for_status(&self) -> String {
        let Self { cause, missing, unknown: _, unknown_fields, repeated, expected, found: _ } =
            self;
        let mut text = cause.iter().map(|cause| format!(" {cause};")).collect::<String>();
        for (what, names) in [
            ("missing", missing),
            ("fields that are not columns", unknown_fields),
            ("repeated", repeated),
        ] {
            if !names.is_empty() {
                text.push_str(&format!(" {what}: {names};"));
            }
        }
        if self.has_only_extra() {
            text.push_str(" ignoreExtra skips them;");
        }
        text + &format!(" the schema has {expected}")
    }
}

impl fmt::Display for HeaderMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, missing, unknown, unknown_fields: _, repeated, expected, found } = self;
        if let Some(cause) = cause {
            write!(f, " {cause};")?;
        }
        for (what, names) in [("missing", missing), ("unknown", unknown), ("repeated", repeated)] {
            if !names.is_empty() {
                write!(f, " {what}: {names};")?;
            }
        }
        if self.has_only_extra() {
            f.write_str(" --ignore-extra skips them;")?;
        }
        write!(f, " the schema has {expected}; the header has {found}")
    }
}

#[cfg(test)]
mod tests;
