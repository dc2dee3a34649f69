//! Reads the text of a statement.
//!
//! Everything that the text and the parameters show to be wrong is refused here, independently of
//! any table, before anything is sent. What depends on the columns that a server states is reported
//! after the answers have arrived, by [`Plan::finish`](super::Plan::finish).

mod condition;
mod grouping;
mod parentheses;
mod places;
mod references;
mod weights;

use std::ops::ControlFlow;

use sqlparser::ast::{Query, Statement as Parsed, VisitMut, VisitorMut};
use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer};

use self::parentheses::{Names, Parentheses};
use self::places::Places;
use self::references::References;
use super::sqlite::Sqlite;
use super::{Parameters, SqlError, Statement};

/// Maximum bytes of a statement. The parser nests one level per AND or OR, and dropping its result
/// takes stack for each level. A statement of this size fits well into a thread's stack of 2 MiB.
const MAX_BYTES: usize = 32 * 1024;

/// Maximum bytes of a text that a constant expression computes. Some functions take quadratic time.
const PARSED_TEXT_BYTES: i32 = 64 << 10;

/// Parses one SELECT statement, with the values of its placeholders.
///
/// # Errors
/// Every error that the text and the parameters show independently of any table. Nothing has been
/// sent at this point.
pub fn parse(sql: &str, parameters: &Parameters) -> Result<Statement, SqlError> {
    let mut tree = query(sql)?;
    weights::check(&tree)?;
    let mut sqlite = Sqlite::new(PARSED_TEXT_BYTES)?;
    let mut names = Names::default();
    visit(&mut tree, &mut names)?;
    let mut places = Places::new(parameters, &sqlite);
    visit(&mut tree, &mut places)?;
    let mut references = References::new(places);
    visit(&mut tree, &mut references)?;
    let mut statement = references.statement(tree)?;
    let Statement { tree, places, .. } = &mut statement;
    visit(tree, &mut Parentheses { places })?;
    // Where `*` stands for columns, only the tables show what fits together.
    let tables = if names.wildcard { 0 } else { statement.references.len() };
    sqlite.check(&statement.tree.to_string(), tables, &names.idents)?;
    Ok(statement)
}

fn visit<V: VisitorMut<Break = SqlError>>(
    tree: &mut impl VisitMut,
    visitor: &mut V,
) -> Result<(), SqlError> {
    match tree.visit(visitor) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn query(sql: &str) -> Result<Query, SqlError> {
    // Some editors write a byte order mark at the start of a file.
    let sql = sql.strip_prefix('\u{feff}').unwrap_or(sql);
    if sql.len() > MAX_BYTES {
        return Err(SqlError::TooLong { bytes: sql.len(), limit: MAX_BYTES });
    }
    let syntax = |message: &str| SqlError::Syntax { message: message.to_owned() };
    refuse_letters_in_numbers(sql)?;
    let mut statements =
        Parser::parse_sql(&SQLiteDialect {}, sql).map_err(|error| match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => syntax(&text),
            ParserError::RecursionLimitExceeded => syntax("it is nested too deeply"),
        })?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Parsed::Query(query)), true) => Ok(*query),
        (Some(other), true) => {
            let verb = other.to_string();
            let verb = verb.split_whitespace().next().unwrap_or_default();
            Err(unsupported(verb, "only SELECT reads a table; `opaque load` replaces its rows"))
        }
        (Some(_), false) => {
            Err(unsupported("more than one statement", "send each statement on its own"))
        }
        (None, _) => Err(syntax("it is empty")),
    }
}

/// Refuses hexadecimal numbers and BLOBs, which the parser takes for each other: it reads 0x10 as a
/// BLOB and 0X10 as 0 with the name X10.
fn refuse_letters_in_numbers(sql: &str) -> Result<(), SqlError> {
    // The parser reports what is no token.
    let tokens = Tokenizer::new(&SQLiteDialect {}, sql).tokenize().unwrap_or_default();
    let joined = tokens.windows(2).any(|pair| matches!(pair, [Token::Number(..), Token::Word(_)]));
    let blob = tokens.iter().any(|token| matches!(token, Token::HexStringLiteral(_)));
    refuse(joined || blob, "a number with letters (0x1F, X'1F')", "write numbers in decimals")
}

fn refuse(present: bool, what: &str, instead: &'static str) -> Result<(), SqlError> {
    if present { Err(unsupported(what, instead)) } else { Ok(()) }
}

fn unsupported(what: &str, instead: &'static str) -> SqlError {
    SqlError::Unsupported { what: what.to_owned(), instead }
}

/// The beginning of a construct's text, for an error message.
fn shortened(construct: &impl ToString) -> String {
    const CHARS: usize = 60;
    let text = construct.to_string();
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}
