//! Splits a text into statements.

use std::collections::BTreeSet;

use sqlparser::dialect::SQLiteDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::{Parameters, SqlError};

/// One statement of a text.
#[derive(Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its text, without the semicolon.
    pub text: &'a str,
    /// The names of its `:name` placeholders.
    placeholders: BTreeSet<String>,
}

impl Part<'_> {
    /// The values that the statement's placeholders have.
    pub fn parameters(&self, all: &Parameters) -> Parameters {
        let value = |name: &String| Some((name.clone(), all.value(name)?.to_owned()));
        self.placeholders.iter().filter_map(value).collect()
    }
}

/// The statements of a text that semicolons separate. Semicolons in strings and comments do not
/// count, and neither do statements without a word.
///
/// # Errors
/// A string or comment is not closed. A value of `parameters` belongs to no statement.
pub fn split<'a>(text: &'a str, parameters: &Parameters) -> Result<Vec<Part<'a>>, SqlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tokens = Tokenizer::new(&SQLiteDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| SqlError::Syntax { message: error.to_string() })?;
    let lines = line_starts(text);
    let mut parts = Vec::new();
    let (mut start, mut from) = (0, 0);
    for (position, TokenWithSpan { token, span }) in tokens.iter().enumerate() {
        if *token == Token::SemiColon {
            let end = offset(text, &lines, span.start.line, span.start.column);
            parts.extend(part(text.get(start..end), tokens.get(from..position)));
            (start, from) = (end + 1, position + 1);
        }
    }
    parts.extend(part(text.get(start..), tokens.get(from..)));
    let used = |name: &&str| !parts.iter().any(|part| part.placeholders.contains(*name));
    match parameters.names().find(used) {
        Some(name) => Err(SqlError::UnusedParameter { name: name.to_owned() }),
        None => Ok(parts),
    }
}

/// The statement that these tokens are, unless they are all blank.
fn part<'a>(text: Option<&'a str>, tokens: Option<&[TokenWithSpan]>) -> Option<Part<'a>> {
    let (text, tokens) = (text?, tokens?);
    let blank = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_) | Token::EOF);
    if tokens.iter().all(blank) {
        return None;
    }
    let placeholders = tokens.windows(2).filter_map(|pair| match pair {
        [
            TokenWithSpan { token: Token::Colon, .. },
            TokenWithSpan { token: Token::Word(word), .. },
        ] => Some(word.value.clone()),
        [TokenWithSpan { token: Token::Placeholder(name), .. }, _] => {
            name.strip_prefix(':').map(str::to_owned)
        }
        _ => None,
    });
    Some(Part { text: text.trim(), placeholders: placeholders.collect() })
}

/// The byte at which each line begins.
fn line_starts(text: &str) -> Vec<usize> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    std::iter::once(0).chain(breaks.map(|(position, _)| position + 1)).collect()
}

/// The byte at a line and column, both counted from 1; columns are characters.
fn offset(text: &str, lines: &[usize], line: u64, column: u64) -> usize {
    let number = |from: u64| usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
    let start = lines.get(number(line)).copied().unwrap_or(text.len());
    let rest = text.get(start..).unwrap_or_default();
    start + rest.char_indices().nth(number(column)).map_or(rest.len(), |(byte, _)| byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        split(text, &Parameters::default()).unwrap().iter().map(|part| part.text).collect()
    }

    #[test]
    fn semicolons_outside_strings_and_comments_separate_statements() {
        assert_eq!(texts("SELECT 1"), ["SELECT 1"]);
        assert_eq!(texts("SELECT 1;"), ["SELECT 1"]);
        assert_eq!(texts("; ;\n-- nothing; at all\n"), [""; 0]);
        assert_eq!(
            texts("SELECT 'é;''' AS \"a;b\";\n/* ; */ SELECT\n 2 -- ;\n;SELECT [c;d]"),
            ["SELECT 'é;''' AS \"a;b\"", "/* ; */ SELECT\n 2 -- ;", "SELECT [c;d]"]
        );
        assert_eq!(texts("\u{feff}SELECT 1;\r\nSELECT 2"), ["SELECT 1", "SELECT 2"]);
        assert!(split("SELECT 'a; SELECT 2", &Parameters::default()).is_err());
    }

    #[test]
    fn each_statement_gets_its_own_parameters() {
        let given = |names: &[&str]| -> Parameters {
            names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect()
        };
        let text = "SELECT ':c', :a; SELECT :b + :a";
        let parts = split(text, &given(&["a", "b"])).unwrap();
        let names = |part: &Part<'_>| {
            let parameters = part.parameters(&given(&["a", "b"]));
            parameters.names().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(names(&parts[0]), ["a"]);
        assert_eq!(names(&parts[1]), ["a", "b"]);
        let unused = split(text, &given(&["a", "b", "c"])).err().unwrap();
        assert_eq!(unused, SqlError::UnusedParameter { name: "c".to_owned() });
    }
}
