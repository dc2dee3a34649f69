//! Splits JSON text into objects: one after another, as JSON lines have them, or one array.

use std::io::{BufRead, BufReader};

use super::validated;
use crate::input::Bytes;
use crate::shown::quoted;
use crate::{MAX_RECORD_BYTES, SourceError};

/// Bytes of a misplaced text that an error may show.
const SHOWN_BYTES: usize = 80;

/// The objects of a file. One is in memory at a time.
pub(super) struct Objects {
    bytes: BufReader<Bytes>,
    path: String,
    state: State,
    text: Vec<u8>,
    /// Where the last object begins.
    start: Place,
    /// The position of the next byte.
    place: Place,
}

/// A position: the line, counted from 1, and bytes of that line before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) before: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte.
    Begin,
    /// Objects follow, with or without white space between them.
    Sequence,
    /// Within an array, before its first object.
    Opened,
    /// Within an array, after an object.
    Element,
    /// Within an array, after a comma.
    Comma,
    /// After an array.
    Closed,
}

impl Objects {
    pub(super) fn new(path: String, bytes: Bytes) -> Self {
        let bytes = BufReader::with_capacity(1 << 16, bytes);
        let place = Place { line: 1, before: 0 };
        Self { bytes, path, state: State::Begin, text: Vec::new(), start: place, place }
    }

    /// Where the last object begins.
    pub(super) fn start(&self) -> Place {
        self.start
    }

    /// The text of the last object. Only its end was found: it may not be valid.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Reads the next object. Returns `false` at the end.
    pub(super) fn read(&mut self) -> Result<bool, SourceError> {
        if self.state == State::Begin {
            self.skip_mark()?;
        }
        loop {
            let Some(byte) = self.peek()? else {
                return match self.state {
                    State::Begin | State::Sequence | State::Closed => Ok(false),
                    State::Opened | State::Element | State::Comma => {
                        Err(malformed(self.place, "the file ends within the array"))
                    }
                };
            };
            match (byte, self.state) {
                (b' ' | b'\t' | b'\n' | b'\r', _) => self.take(byte),
                (b'{', State::Begin | State::Sequence) => {
                    self.state = State::Sequence;
                    return self.object().map(|()| true);
                }
                (b'{', State::Opened | State::Comma) => {
                    self.state = State::Element;
                    return self.object().map(|()| true);
                }
                (b'[', State::Begin) => {
                    self.take(byte);
                    self.state = State::Opened;
                }
                (b',', State::Element) => {
                    self.take(byte);
                    self.state = State::Comma;
                }
                (b']', State::Opened | State::Element) => {
                    self.take(byte);
                    self.state = State::Closed;
                }
                (_, State::Element) => {
                    return Err(self.unexpected("a comma or the end of the array must follow"));
                }
                (_, State::Closed) => return Err(self.unexpected("text follows the array")),
                (_, _) => return Err(self.unexpected("every row must be an object")),
            }
        }
    }

    /// Reads an object up to its closing brace, or an error up to where it shows.
    fn object(&mut self) -> Result<(), SourceError> {
        self.text.clear();
        self.start = self.place;
        let mut scan = Scan::default();
        loop {
            let buffer = match self.bytes.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let (path, line) = (self.path.clone(), self.place.line);
                    return Err(SourceError::Read { path, line, source });
                }
            };
            if buffer.is_empty() {
                let reason = "the file ends within the object that begins here";
                return Err(self.fault().unwrap_or_else(|| malformed(self.start, reason)));
            }
            let end = buffer.iter().position(|byte| scan.ends_with(*byte));
            let taken = buffer.get(..end.map_or(buffer.len(), |at| at + 1)).unwrap_or_default();
            self.text.extend_from_slice(taken);
            let (length, breaks) = (taken.len(), taken.iter().filter(|byte| **byte == b'\n'));
            self.place.line += breaks.count() as u64;
            self.place.before = match taken.iter().rposition(|byte| *byte == b'\n') {
                Some(at) => length - at - 1,
                None => self.place.before + length,
            };
            self.bytes.consume(length);
            if end.is_some() {
                return Ok(());
            }
            if self.text.len() >= MAX_RECORD_BYTES as usize {
                if let Some(fault) = self.fault() {
                    return Err(fault);
                }
                let (line, limit) = (self.start.line, MAX_RECORD_BYTES.into());
                return Err(SourceError::TooLong { line, limit, quote: None });
            }
        }
    }

    /// What is wrong in an object whose end was not found, except that. If a brace is missing, the
    /// bytes after it show where, because they are not valid.
    fn fault(&self) -> Option<SourceError> {
        let invalid = validated(&self.text, self.start).err()?;
        (!invalid.is_cut).then(|| invalid.into())
    }

    fn skip_mark(&mut self) -> Result<(), SourceError> {
        for mark in *b"\xef\xbb\xbf" {
            if self.peek()? != Some(mark) {
                break;
            }
            self.bytes.consume(1);
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<u8>, SourceError> {
        loop {
            match self.bytes.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let (path, line) = (self.path.clone(), self.place.line);
                    return Err(SourceError::Read { path, line, source });
                }
            }
        }
    }

    /// Consumes the next byte.
    fn take(&mut self, byte: u8) {
        self.bytes.consume(1);
        self.place = match byte {
            b'\n' => Place { line: self.place.line + 1, before: 0 },
            _ => Place { before: self.place.before + 1, ..self.place },
        };
    }

    /// An error that shows the text at the current position.
    fn unexpected(&mut self, reason: &str) -> SourceError {
        let text = self.bytes.fill_buf().unwrap_or_default();
        let text = text.get(..text.len().min(SHOWN_BYTES)).unwrap_or_default();
        let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
        let text = String::from_utf8_lossy(text.get(..end).unwrap_or_default());
        let text = quoted(text.trim_end_matches(['\r', '\u{fffd}']));
        malformed(self.place, &format!("{reason}, found {text}"))
    }
}

fn malformed(place: Place, reason: &str) -> SourceError {
    let Place { line, before } = place;
    SourceError::Json { line, character: before + 1, reason: reason.to_owned() }
}

/// Finds the end of an object.
#[derive(Debug, Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    is_escaped: bool,
}

impl Scan {
    /// Takes the next byte. Returns `true` for the one that closes the object.
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            // At most `MAX_RECORD_BYTES` bytes are taken, so this does not overflow.
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}
