//! Detects a dialect without a schema.

use super::candidate::{comments, records};
use super::{Detected, Marks, Open};
use crate::SourceError;
use crate::sample::Sample;
use crate::settings::Settings;
use crate::tokens::Syntax;

/// What the beginning of a file shows.
pub(crate) struct Blind {
    pub(crate) syntax: Syntax,
    /// Number of lines that hold comments before the first record.
    pub(crate) leading: u64,
    /// The fields of the first record.
    pub(crate) first: Vec<String>,
}

/// The sample in one dialect.
struct Reading {
    syntax: Syntax,
    records: Vec<Vec<(Vec<u8>, bool)>>,
    /// Whether all records have as many fields as the first.
    is_even: bool,
    leading: u64,
    /// Whether some line that counts as a comment could be a record.
    hides_lines: bool,
}

impl Reading {
    fn new(syntax: Syntax, sample: &Sample, settings: &Settings) -> Self {
        let (records, is_broken) = records(syntax, sample, settings);
        let width = records.first().map_or(0, Vec::len);
        let is_even = !is_broken && records.iter().all(|record| record.len() == width);
        let (leading, hides_lines) = match settings.dialect.comment {
            None => comments(syntax, sample, |_| false, settings.dialect.skip, width),
            Some(_) => (0, false),
        };
        Self { syntax, records, is_even, leading, hides_lines }
    }

    fn width(&self) -> usize {
        self.records.first().map_or(0, Vec::len)
    }

    /// Whether the records are divided, and all alike.
    fn fits(&self) -> bool {
        self.is_even && self.width() > 1
    }

    /// Records with as many fields as the first, if those are several.
    fn agreeing(&self) -> usize {
        let width = self.width();
        let alike = self.records.iter().filter(|record| record.len() == width).count();
        if width > 1 { alike } else { 0 }
    }

    fn detected(&self) -> Detected {
        Detected {
            syntax: self.syntax,
            has_header: true,
            fields: self.width(),
            leading: self.leading,
            open: Open { quote: false, comment: false },
        }
    }
}

/// Detects how the sample is written.
///
/// # Errors
/// [`SourceError::Dialect`] if two dialects fit, [`SourceError::Marks`] if the characters that are
/// set exclude each other, and [`SourceError::Empty`] without any record.
pub(crate) fn detect(
    path: &str,
    sample: &Sample,
    settings: &Settings,
) -> Result<Blind, SourceError> {
    let marks = Marks::of(&sample.bytes, &settings.dialect);
    let read = |syntax| Reading::new(syntax, sample, settings);
    let readings: Vec<Reading> = marks.syntaxes().map(read).collect();
    if readings.is_empty() {
        return Err(SourceError::Marks { path: path.to_owned() });
    }
    let doubt = |first: &Reading, second: &Reading| {
        let doubt = super::Doubt { first: first.detected(), second: second.detected() };
        let setting = doubt.setting();
        let (first, second) = (doubt.first.to_string(), doubt.second.to_string());
        SourceError::Dialect { path: path.to_owned(), first, second, setting }
    };
    let mut fitting = readings.iter().filter(|reading| reading.fits());
    let best = match fitting.next() {
        Some(first) => {
            if let Some(other) = fitting.find(|other| other.records != first.records) {
                return Err(doubt(first, other));
            }
            first
        }
        // The first of several that are equal, because it is the most frequent dialect.
        None => readings
            .iter()
            .rev()
            .max_by_key(|reading| (reading.agreeing(), reading.is_even))
            .ok_or_else(|| SourceError::Empty { path: path.to_owned() })?,
    };
    if best.hides_lines {
        let plain = Reading::new(best.syntax.without_comments(), sample, settings);
        return Err(doubt(&plain, best));
    }
    let Some(first) = best.records.first() else {
        return Err(SourceError::Empty { path: path.to_owned() });
    };
    let text = |(bytes, _): &(Vec<u8>, bool)| String::from_utf8_lossy(bytes).into_owned();
    let first = first.iter().map(text).collect();
    Ok(Blind { syntax: best.syntax, leading: best.leading, first })
}
