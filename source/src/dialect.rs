//! Detects how delimited text is written, from the beginning of the file and the schema.
//!
//! **What.** `detect` chooses delimiter, quote, comments and whether there is a header. Anything
//! that the caller has set is not detected.
//!
//! **Why not simpler.** Counting delimiters is right for most files and silently wrong for others:
//! text contains commas, and `'` and `#` are data more often than not. A wrong guess would load
//! other values than the file has. Here every possible dialect reads the sample, with the values'
//! types, and two dialects that both fit but read different values are an error that names both.
//!
//! **Flow.** Each candidate reads the sample (`candidate`). A header is a first record that names
//! all columns of the schema. Candidates with a header are better than others, and candidates whose
//! records all fit the schema are better than others. If no candidate fits, the best one is
//! returned, and reading with it gives an error with its line.
//!
//! **Guarantees.** A file that was written in one of the dialects, and whose rows fit the schema,
//! is read as it was written, or refused. This presumes that no first row consists of the column
//! names, that a file with quotes `'` has one of them in the sample if a field begins with `"`, and
//! that not all rows are comments. Comments are detected only before the first record, and only if
//! none of them could be a record or a header. A number of four digits may be a year in a header,
//! so it does not show that a first line is a row.
//!
//! **Limits.** A file without quotes, in which fields begin with `"`, must be declared.

pub(crate) mod blind;
mod candidate;

use std::fmt;

use opaque_pir::table::Schema;

use self::candidate::Candidate;
use crate::sample::Sample;
use crate::settings::{Dialect, Settings};
use crate::tokens::Syntax;

/// Delimiters that are detected, the most frequent first.
const DELIMITERS: [u8; 4] = *b",\t;|";

/// The dialect of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detected {
    pub(crate) syntax: Syntax,
    pub(crate) has_header: bool,
    /// Number of fields of the first record.
    pub(crate) fields: usize,
    /// Number of lines that hold detected comments, after the lines that the caller skips. Later
    /// lines are no comments.
    pub(crate) leading: u64,
    pub(crate) open: Open,
}

/// Questions that the sample did not raise. If the rest of the file raises them, it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    /// Whether `'` is a quote.
    pub(crate) quote: bool,
    /// Whether `#` begins a comment.
    pub(crate) comment: bool,
}

/// Two dialects that both fit a file, but read different values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    pub(crate) first: Detected,
    pub(crate) second: Detected,
}

impl Doubt {
    /// The setting that decides.
    pub(crate) fn setting(&self) -> &'static str {
        let (first, second) = (self.first.syntax, self.second.syntax);
        if first.delimiter() != second.delimiter() {
            "delimiter"
        } else if first.quote() != second.quote() {
            "quote"
        } else {
            "comment"
        }
    }
}

/// Detects the dialect of a file that begins with `sample`. Returns `None` if the characters that
/// are set exclude each other.
pub(crate) fn detect(
    sample: &Sample,
    schema: &Schema,
    settings: &Settings,
) -> Option<Result<Detected, Doubt>> {
    let marks = Marks::of(&sample.bytes, &settings.dialect);
    let syntaxes = marks.syntaxes();
    let read = |syntax| Candidate::read(syntax, sample, schema, settings);
    let mut candidates: Vec<Candidate> = syntaxes.map(read).collect();
    // A file of comments only is not what anyone loads.
    if candidates.iter().any(|other| other.rank.fits() && other.has_rows()) {
        let is_empty = |one: &Candidate| one.syntax.comment().is_some() && !one.has_rows();
        candidates.retain(|one| settings.dialect.comment.is_some() || !is_empty(one));
    }
    let best = candidates.iter().map(|candidate| candidate.rank).max()?;
    candidates.retain(|candidate| candidate.rank == best);
    let (first, others) = candidates.split_first()?;
    let detected = |candidate: &Candidate| Detected {
        syntax: candidate.syntax,
        has_header: candidate.has_header,
        fields: candidate.fields(),
        open: Open {
            quote: marks.is_quote_open && !candidate.is_quoted() && !sample.is_whole,
            comment: (marks.is_comment_open || candidate.leading > 0) && !sample.is_whole,
        },
        leading: candidate.leading,
    };
    let other = others.iter().find(|other| best.fits() && !other.reads_as(first));
    Some(match other {
        Some(other) => Err(Doubt { first: detected(first), second: detected(other) }),
        // The file fits only if lines are left out that could be records.
        None if best.fits() && first.hides_lines => {
            let plain = Candidate::read(first.syntax.without_comments(), sample, schema, settings);
            Err(Doubt { first: detected(&plain), second: detected(first) })
        }
        None => Ok(detected(first)),
    })
}

/// The characters that a file may use.
struct Marks {
    delimiters: Vec<u8>,
    quotes: Vec<Option<u8>>,
    comments: Vec<Option<u8>>,
    is_quote_open: bool,
    is_comment_open: bool,
}

impl Marks {
    fn of(bytes: &[u8], dialect: &Dialect) -> Self {
        let set = dialect.delimiter.map(|delimiter| vec![delimiter.byte()]);
        let delimiters = set.unwrap_or_else(|| DELIMITERS.to_vec());
        let is_break = |byte: u8| byte == b'\n' || byte == b'\r';
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let begins = |mark: u8, after: &dyn Fn(u8) -> bool| {
            let pairs = text.iter().zip(text.iter().skip(1));
            text.first() == Some(&mark)
                || pairs.into_iter().any(|(before, byte)| *byte == mark && after(*before))
        };
        let single = begins(b'\'', &|byte| is_break(byte) || delimiters.contains(&byte));
        let quotes = match dialect.quote {
            Some(quote) => vec![quote.byte()],
            None if single => vec![Some(b'"'), Some(b'\'')],
            None => vec![Some(b'"')],
        };
        let hash = begins(b'#', &is_break);
        let comments = match dialect.comment {
            Some(comment) => vec![comment.byte()],
            None if hash => vec![None, Some(b'#')],
            None => vec![None],
        };
        Self {
            delimiters,
            quotes,
            comments,
            is_quote_open: dialect.quote.is_none() && !single,
            is_comment_open: dialect.comment.is_none() && !hash,
        }
    }

    /// All combinations, the most frequent first.
    fn syntaxes(&self) -> impl Iterator<Item = Syntax> {
        let quoted = |quote: Option<u8>| self.comments.iter().map(move |mark| (quote, *mark));
        let others = move || self.quotes.iter().flat_map(move |quote| quoted(*quote));
        let delimited =
            move |delimiter: u8| others().map(move |(quote, mark)| (delimiter, quote, mark));
        let all = self.delimiters.iter().flat_map(move |delimiter| delimited(*delimiter));
        all.filter_map(|(delimiter, quote, comment)| Syntax::new(delimiter, quote, comment))
    }
}

impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { syntax, has_header, fields, leading: _, open: _ } = self;
        let ending = if *fields == 1 { "" } else { "s" };
        let header = if *has_header { "with a header" } else { "no header" };
        write!(f, "{}-separated, {fields} column{ending}, {header}", name(syntax.delimiter()))?;
        match syntax.quote() {
            Some(b'"') => {}
            Some(quote) => write!(f, ", quotes {}", name(quote))?,
            None => f.write_str(", no quotes")?,
        }
        match syntax.comment() {
            Some(comment) => write!(f, ", comments after {}", name(comment)),
            None => Ok(()),
        }
    }
}

/// A character in words.
fn name(byte: u8) -> String {
    match byte {
        b',' => "comma".to_owned(),
        b'\t' => "tab".to_owned(),
        b';' => "semicolon".to_owned(),
        b'|' => "pipe".to_owned(),
        b' ' => "blank".to_owned(),
        byte if byte.is_ascii_graphic() => char::from(byte).to_string(),
        byte => char::from(byte).escape_default().to_string(),
    }
}

#[cfg(test)]
mod tests;
