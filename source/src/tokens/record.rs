//! A record and its fields.

use super::words::{Marks, breaks};

/// How a field is written, from usual to odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Without quotes around it.
    Plain,
    /// In quotes.
    Quoted,
    /// In quotes, and with doubled ones inside.
    Escaped,
    /// Quoted, and not as RFC 4180 has it.
    Bent,
}

/// Where a field is in its record, without the quotes around it.
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

    /// Its fields.
    pub fn fields(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Self { bytes, fields, line: _ } = *self;
        fields.iter().map(move |field| content(bytes, *field))
    }

    /// A field's bytes.
    pub fn field(&self, position: usize) -> Option<&'a [u8]> {
        self.fields.get(position).map(|field| content(self.bytes, *field))
    }

    /// Whether a field stands in quotes.
    pub fn is_quoted(&self, position: usize) -> bool {
        self.fields.get(position).is_some_and(|field| field.kind != Kind::Plain)
    }

    /// The line on which it begins; the first is 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The line on which a field begins: some below the record's, after quoted line breaks.
    pub fn line_of(&self, position: usize) -> u64 {
        self.line + self.fields().take(position).map(breaks).sum::<u64>()
    }
}

fn content(bytes: &[u8], field: Field) -> &[u8] {
    bytes.get(field.begin as usize..field.end as usize).unwrap_or_default()
}

/// Takes the quotes out of a field: one of two, and the one that closes it where text follows. What
/// follows that is as it stands.
pub(super) fn unquote(record: &mut [u8], field: &mut Field, quote: u8) {
    if field.kind < Kind::Escaped {
        return;
    }
    let (begin, end) = (field.begin as usize, field.end as usize);
    let bytes = record.get_mut(begin..end).unwrap_or_default();
    let mut quotes = Marks::<false>::new(quote, 0);
    let (mut from, mut to) = (0, 0);
    // What was moved is before what is still searched.
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
