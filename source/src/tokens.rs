//! Splits a CSV file into records, with strict handling of quotes.
//!
//! **What.** [`Tokenizer`] splits bytes into records and fields according to RFC 4180, with any
//! delimiter, any quote or none, and optional comments. A quote opens a quoted field only as the
//! field's first byte; elsewhere in an unquoted field it is data. Lines end with LF, CR LF or CR,
//! and empty lines are skipped.
//!
//! **Why not an existing CSV parser.** Existing parsers prefer any parse over an error: a quote
//! that is never closed silently takes all following rows into one field, and `""` is the same as
//! an empty field. Here such a quote is an error with its position, unless [`Quotes::Lenient`] is
//! selected, and a record knows which fields were quoted. Accepted files give the same records as
//! crate `csv`; tests check this.
//!
//! **Flow.** Bytes are read into one buffer and scanned there once; fields are ranges of the
//! buffer. An incomplete record is moved to the front of the buffer, which grows up to the longest
//! permitted record.
//!
//! **Limits.** Memory is bounded by one record, plus twelve bytes for each of its fields.

mod error;
mod record;
mod scan;
mod words;

use std::io::{ErrorKind, Read};

pub use self::error::{Position, TokenError};
pub use self::record::Record;
use self::record::{Field, Kind, unquote};
use self::scan::{Scan, Step};
use self::words::breaks;

/// Initial size of the buffer, and its capacity beyond the longest record.
const CHUNK: usize = 1 << 16;
/// The UTF-8 byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The bytes that separate, quote and comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syntax {
    delimiter: u8,
    quote: Option<u8>,
    comment: Option<u8>,
}

impl Syntax {
    /// Commas, double quotes, no comments.
    pub const CSV: Self = Self { delimiter: b',', quote: Some(b'"'), comment: None };

    /// Returns `None` unless all bytes are different, are ASCII, and are not line breaks. A comment
    /// is a line whose first byte is `comment`.
    pub fn new(delimiter: u8, quote: Option<u8>, comment: Option<u8>) -> Option<Self> {
        let usable = |byte: u8| byte.is_ascii() && byte != b'\n' && byte != b'\r';
        let all_usable = [Some(delimiter), quote, comment].into_iter().flatten().all(usable);
        let differ = quote != Some(delimiter)
            && comment != Some(delimiter)
            && (quote.is_none() || quote != comment);
        (all_usable && differ).then_some(Self { delimiter, quote, comment })
    }

    /// The same without comments.
    #[must_use]
    pub fn without_comments(self) -> Self {
        Self { comment: None, ..self }
    }

    /// The byte between two fields.
    pub fn delimiter(self) -> u8 {
        self.delimiter
    }

    /// The byte around quoted fields.
    pub fn quote(self) -> Option<u8> {
        self.quote
    }

    /// The first byte of comments.
    pub fn comment(self) -> Option<u8> {
        self.comment
    }
}

/// How to treat a quoted field that is never closed, or that is followed by text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// Both are errors.
    Strict,
    /// An unclosed field extends to the end of the file, and text after a quoted field becomes part
    /// of it.
    Lenient,
}

/// Records that were accepted although [`Quotes::Strict`] refuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bent {
    /// Number of records.
    pub records: u64,
    /// The line on which the first begins.
    pub first_line: u64,
}

/// Reads records.
pub struct Tokenizer<R> {
    source: R,
    syntax: Syntax,
    quotes: Quotes,
    limit: usize,
    /// Bytes that were read, up to `end`.
    buffer: Vec<u8>,
    end: usize,
    /// Start of the current record. Positions in a record are relative to it.
    start: usize,
    /// Length of the record that was returned last, including its line end.
    taken: usize,
    fields: Vec<Field>,
    /// Line of the next record's first byte.
    line: u64,
    /// Whether that byte follows a CR, so that an LF there does not end another line.
    after_cr: bool,
    begun: bool,
    ended: bool,
    bent: Option<Bent>,
}

impl<R: Read> Tokenizer<R> {
    /// Reads records of at most about `limit` bytes. A UTF-8 byte order mark at the beginning is
    /// skipped.
    pub fn new(source: R, syntax: Syntax, quotes: Quotes, limit: u32) -> Self {
        Self {
            source,
            syntax,
            quotes,
            // Positions in the buffer must fit 32 bits.
            limit: limit.min(1 << 31) as usize,
            buffer: vec![0; CHUNK],
            end: 0,
            start: 0,
            taken: 0,
            fields: Vec::new(),
            line: 1,
            after_cr: false,
            begun: false,
            ended: false,
            bent: None,
        }
    }

    /// The next record, or `None` at the end.
    ///
    /// # Errors
    /// After an error, nothing more can be read.
    pub fn read(&mut self) -> Result<Option<Record<'_>>, TokenError> {
        self.start += std::mem::take(&mut self.taken);
        self.fields.clear();
        if !self.skip_to_record()? {
            return Ok(None);
        }
        let line = self.line;
        let (length, kind) = self.scan()?;
        self.finish(length, kind);
        Ok(Some(Record::new(self.record(), &self.fields, line)))
    }

    /// Records that were accepted only because of lenient quotes.
    pub fn bent(&self) -> Option<Bent> {
        self.bent
    }

    /// The bytes read so far from the start of the last record. After an error, this is the
    /// beginning of the record in question.
    pub fn record(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Skips up to `count` lines, whatever is in them, before the first record is read.
    pub fn skip_lines(&mut self, count: u64) -> Result<(), TokenError> {
        self.begin()?;
        for _ in 0..count {
            self.skip_line()?;
            let Some(byte) = self.record().first().copied() else { return Ok(()) };
            self.pass_break(byte);
            self.start += 1;
            if byte == b'\r' && (!self.record().is_empty() || self.more(None)?) {
                self.start += usize::from(self.record().first() == Some(&b'\n'));
            }
        }
        Ok(())
    }

    /// Skips a byte order mark.
    fn begin(&mut self) -> Result<(), TokenError> {
        if !self.begun {
            self.begun = true;
            while self.record().len() < MARK.len() && self.more(None)? {}
            self.start += if self.record().starts_with(MARK) { MARK.len() } else { 0 };
        }
        Ok(())
    }

    /// Skips empty lines and comments. Returns `false` at the end of the file.
    fn skip_to_record(&mut self) -> Result<bool, TokenError> {
        self.begin()?;
        loop {
            match self.record().first().copied() {
                None if self.more(None)? => {}
                None => return Ok(false),
                Some(byte) if is_break(byte) => {
                    self.pass_break(byte);
                    self.start += 1;
                }
                Some(byte) if self.syntax.comment == Some(byte) => self.skip_line()?,
                Some(_) => {
                    self.after_cr = false;
                    return Ok(true);
                }
            }
        }
    }

    /// Counts the line that a CR or LF ends.
    fn pass_break(&mut self, byte: u8) {
        let second_half = byte == b'\n' && self.after_cr;
        self.line += u64::from(!second_half);
        self.after_cr = byte == b'\r';
    }

    fn skip_line(&mut self) -> Result<(), TokenError> {
        self.after_cr = false;
        loop {
            if let Some(length) = self.record().iter().position(|byte| is_break(*byte)) {
                self.start += length;
                return Ok(());
            }
            self.start = self.end;
            if !self.more(None)? {
                return Ok(());
            }
        }
    }

    /// Finds the fields of the record. Returns the record's length without the line end, and the
    /// most unusual kind among its fields.
    fn scan(&mut self) -> Result<(usize, Kind), TokenError> {
        let mut scan = Scan::new(self.syntax, self.quotes);
        let length = loop {
            let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
            match scan.step(bytes, &mut self.fields) {
                Step::Record(length) => break length,
                Step::More if self.more(scan.open())? => {}
                Step::More => {
                    let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
                    let end = scan.end(bytes, &mut self.fields);
                    let open = scan.open().unwrap_or_default();
                    break end.ok_or_else(|| TokenError::Unclosed { quote: self.place(open) })?;
                }
                Step::Followed { open, close, by } => {
                    let before = self.record().get(close.saturating_sub(1));
                    let escaped = before == Some(&b'\\');
                    let (quote, closed) = (self.place(open), self.place(close));
                    return Err(TokenError::Followed { quote, closed, escaped, by });
                }
            }
        };
        Ok((length, scan.oddest()))
    }

    /// Consumes the record of `length` and the line end after it.
    fn finish(&mut self, length: usize, oddest: Kind) {
        let line = self.line;
        let record = self.buffer.get_mut(self.start..self.start + length).unwrap_or_default();
        if oddest > Kind::Plain {
            self.line += breaks(record);
        }
        if oddest > Kind::Quoted
            && let Some(quote) = self.syntax.quote
        {
            self.fields.iter_mut().for_each(|field| unquote(record, field, quote));
        }
        if oddest == Kind::Bent {
            let bent = self.bent.get_or_insert(Bent { records: 0, first_line: line });
            bent.records += 1;
        }
        self.taken = length;
        if let Some(byte) = self.record().get(length).copied() {
            self.pass_break(byte);
            self.taken += 1;
        }
    }

    /// Reads more bytes. Returns `false` at the end. `quote` is the position of an open quote, if
    /// any.
    fn more(&mut self, quote: Option<usize>) -> Result<bool, TokenError> {
        if self.ended {
            return Ok(false);
        }
        if self.record().len() >= self.limit {
            let (line, quote) = (self.line, quote.map(|at| self.place(at)));
            return Err(TokenError::TooLong { line, limit: self.limit as u64, quote });
        }
        self.make_room();
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = loop {
            match self.source.read(room) {
                Ok(read) => break read.min(room.len()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    let line = self.line + breaks(self.record());
                    return Err(TokenError::Read { line, source });
                }
            }
        };
        self.end += read;
        self.ended = read == 0;
        Ok(!self.ended)
    }

    fn make_room(&mut self) {
        if self.end < self.buffer.len() {
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        // Moving is cheap on average: less is moved than can then be read before the next move.
        if self.end > self.buffer.len() / 2 {
            let length = self.buffer.len() * 2;
            self.buffer.resize(length.min(self.limit + CHUNK).max(self.buffer.len()), 0);
        }
    }

    fn place(&self, at: usize) -> Position {
        Position::of(self.record().get(..at).unwrap_or_default(), self.line)
    }
}

fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

#[cfg(test)]
mod tests;
