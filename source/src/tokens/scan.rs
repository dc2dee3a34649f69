//! Finds the fields of one record, in bytes that may arrive in pieces.

use super::record::{Field, Kind};
use super::words::Marks;
use super::{Quotes, Syntax, is_break};

/// A scan in progress. Each call gets all bytes of the record so far, and continues where the last
/// call stopped.
pub(super) struct Scan {
    syntax: Syntax,
    quotes: Quotes,
    phase: Phase,
    /// Start of the current field, including its quote.
    begin: usize,
    /// The most unusual kind of field so far.
    oddest: Kind,
}

/// What the bytes up to the current position belong to.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// To completed fields.
    Begin,
    /// To an unquoted field.
    Plain { position: usize },
    /// To a quoted field. A quote at the end of the bytes is examined again later, because it may
    /// be the first of two.
    Quoted { position: usize, kind: Kind },
    /// To the text after a quoted field.
    Bent { position: usize },
}

/// The result of a step.
pub(super) enum Step {
    /// The record ends at this position, before a line break or at the end of the file.
    Record(usize),
    /// More bytes are needed.
    More,
    /// Text follows the field whose quotes are at these positions.
    Followed { open: usize, close: usize, by: u8 },
}

impl Scan {
    pub(super) fn new(syntax: Syntax, quotes: Quotes) -> Self {
        Self { syntax, quotes, phase: Phase::Begin, begin: 0, oddest: Kind::Plain }
    }

    pub(super) fn oddest(&self) -> Kind {
        self.oddest
    }

    /// The position of the open quote, if any.
    pub(super) fn open(&self) -> Option<usize> {
        matches!(self.phase, Phase::Quoted { .. }).then_some(self.begin)
    }

    /// Adds the fields found in `bytes`.
    pub(super) fn step(&mut self, bytes: &[u8], fields: &mut Vec<Field>) -> Step {
        loop {
            match self.phase {
                Phase::Begin => match bytes.get(self.begin) {
                    None => return Step::More,
                    Some(byte) if self.syntax.quote == Some(*byte) => {
                        self.phase = Phase::Quoted { position: self.begin + 1, kind: Kind::Quoted };
                    }
                    Some(_) => self.phase = Phase::Plain { position: self.begin },
                },
                Phase::Plain { position } => {
                    if let Some(step) = self.plain(bytes, position, fields) {
                        return step;
                    }
                }
                Phase::Quoted { position, kind } => {
                    if let Some(step) = self.quoted(bytes, position, kind, fields) {
                        return step;
                    }
                }
                Phase::Bent { position } => {
                    let stop = Marks::<true>::new(self.syntax.delimiter, position).find(bytes);
                    let Some((stop, byte)) = stop.and_then(|at| Some((at, *bytes.get(at)?))) else {
                        self.phase = Phase::Bent { position: bytes.len() };
                        return Step::More;
                    };
                    fields.push(Field::new(self.begin + 1, stop, Kind::Bent));
                    if let Some(step) = self.ended(stop, Kind::Bent, byte) {
                        return step;
                    }
                }
            }
        }
    }

    /// Adds unquoted fields up to a field that begins with a quote.
    fn plain(&mut self, bytes: &[u8], position: usize, fields: &mut Vec<Field>) -> Option<Step> {
        let Syntax { delimiter, quote, comment: _ } = self.syntax;
        let mut stops = Marks::<true>::new(delimiter, position);
        loop {
            let Some(stop) = stops.find(bytes) else {
                self.phase = Phase::Plain { position: bytes.len() };
                return Some(Step::More);
            };
            fields.push(Field::new(self.begin, stop, Kind::Plain));
            if bytes.get(stop) != Some(&delimiter) {
                return Some(Step::Record(stop));
            }
            self.begin = stop + 1;
            if bytes.get(self.begin).is_none_or(|byte| quote == Some(*byte)) {
                self.phase = Phase::Begin;
                return None;
            }
        }
    }

    /// Adds a quoted field, or detects text after it.
    fn quoted(
        &mut self,
        bytes: &[u8],
        position: usize,
        mut kind: Kind,
        fields: &mut Vec<Field>,
    ) -> Option<Step> {
        // If the syntax has no quotes, no field is quoted.
        let quote = self.syntax.quote?;
        let mut quotes = Marks::<false>::new(quote, position);
        loop {
            let Some(close) = quotes.find(bytes) else {
                self.phase = Phase::Quoted { position: bytes.len(), kind };
                return Some(Step::More);
            };
            let Some(byte) = bytes.get(close + 1).copied() else {
                self.phase = Phase::Quoted { position: close, kind };
                return Some(Step::More);
            };
            if byte == quote {
                kind = Kind::Escaped;
                quotes.find(bytes);
            } else if byte == self.syntax.delimiter || is_break(byte) {
                fields.push(Field::new(self.begin + 1, close, kind));
                return self.ended(close + 1, kind, byte);
            } else if self.quotes == Quotes::Strict {
                return Some(Step::Followed { open: self.begin, close, by: byte });
            } else {
                self.phase = Phase::Bent { position: close + 1 };
                return None;
            }
        }
    }

    /// Continues after a completed field: `byte`, at `end`, is a delimiter or a line break.
    fn ended(&mut self, end: usize, kind: Kind, byte: u8) -> Option<Step> {
        self.oddest = self.oddest.max(kind);
        if byte != self.syntax.delimiter {
            return Some(Step::Record(end));
        }
        self.begin = end + 1;
        self.phase = Phase::Begin;
        None
    }

    /// Adds the last field of a file, whose last record is `bytes`. Returns `None` if its quote is
    /// open.
    pub(super) fn end(&mut self, bytes: &[u8], fields: &mut Vec<Field>) -> Option<usize> {
        let (quoted, length) = (self.begin + 1, bytes.len());
        let (begin, end, kind) = match self.phase {
            Phase::Begin | Phase::Plain { .. } => (self.begin, length, Kind::Plain),
            Phase::Bent { .. } => (quoted, length, Kind::Bent),
            // The bytes end with this quote.
            Phase::Quoted { position, kind } if position < length => (quoted, position, kind),
            Phase::Quoted { .. } if self.quotes == Quotes::Strict => return None,
            Phase::Quoted { .. } => (quoted, length, Kind::Bent),
        };
        fields.push(Field::new(begin, end, kind));
        self.oddest = self.oddest.max(kind);
        Some(length)
    }
}
