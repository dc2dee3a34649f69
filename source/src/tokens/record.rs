//! A record and its fields.

use super::words::{Marks, breaks};

/// How a field is written, from usual to unusual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Without quotes.
    Plain,
    /// In quotes.
    Quoted,
    /// In quotes, with doubled quotes inside.
    Escaped,
    /// With quotes that violate RFC 4180.
    Bent,
}

/// Position of a field in its record, without the surrounding quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    begin: u32,
    end: u32,
    kind: Kind,
}

impl Field {
    #[expect(clippy::cast_possible_truncation, reason = "a record has at most 2^31 + 2^16 bytes")]
    pub(super) fn new(begin: usize, end: usize, kind: Kind) -> Self {
        Self { begin: begin as u32, end: end as u32, kind }
    }
}

/// A record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    bytes: &'a [u8],
    fields: &'a [Field],
    line: u64,
}

impl<'a> Record<'a> {
    pub(super) fn new(bytes: &'a [u8], fields: &'a [Field], line: u64) -> Self {
        Self { bytes, fields, line }
    }

    /// Number of fields, at least one.
    pub fn count(&self) -> usize {
        self.fields.len()
    }

    /// The fields.
    pub fn fields(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Self { bytes, fields, line: _ } = *self;
        fields.iter().map(move |field| content(bytes, *field))
    }

    /// A field's bytes.
    pub fn field(&self, position: usize) -> Option<&'a [u8]> {
        self.fields.get(position).map(|field| content(self.bytes, *field))
    }

    /// Whether a field is in quotes.
    pub fn is_quoted(&self, position: usize) -> bool {
        self.fields.get(position).is_some_and(|field| field.kind != Kind::Plain)
    }

    /// The line on which the record begins, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The line on which a field begins. It may be after the record's first line if earlier fields
    /// contain quoted line breaks.
    pub fn line_of(&self, position: usize) -> u64 {
        self.line + self.fields().take(position).map(breaks).sum::<u64>()
    }
}

fn content(bytes: &[u8], field: Field) -> &[u8] {
    bytes.get(field.begin as usize..field.end as usize).unwrap_or_default()
}

/// Removes the quotes from a field: one of each doubled quote, and the closing quote if text
/// follows it. The text after it stays as it is.
pub(super) fn unquote(record: &mut [u8], field: &mut Field, quote: u8) {
    if field.kind < Kind::Escaped {
        return;
    }
    let (begin, end) = (field.begin as usize, field.end as usize);
    let bytes = record.get_mut(begin..end).unwrap_or_default();
    let mut quotes = Marks::<false>::new(quote, 0);
    let (mut from, mut to) = (0, 0);
    // The bytes that were moved are before the part that is still searched.
    while let Some(at) = quotes.find(bytes) {
        let is_doubled = bytes.get(at + 1) == Some(&quote);
        let kept = from..at + usize::from(is_doubled);
        let length = kept.len();
        if from != to {
            bytes.copy_within(kept, to);
        }
        to += length;
        from = at + 1 + usize::from(is_doubled);
        if !is_doubled {
            break;
        }
        quotes.find(bytes);
    }
    let rest = bytes.len() - from;
    bytes.copy_within(from.., to);
    *field = Field::new(begin, begin + to + rest, field.kind);
}
