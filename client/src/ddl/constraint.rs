//! Constraints on a table, which may appear wherever a column declaration may.

use sqlparser::tokenizer::Token;

use super::DdlError;
use super::tokens::Tokens;

/// A constraint that is supported.
pub(super) enum Constraint {
    /// `PRIMARY KEY (column)`.
    PrimaryKey { column: String },
}

/// Reads a constraint if one comes next. A column may be named `check`, `key` or `constraint`, so
/// only tokens that cannot begin a column declaration count as a constraint.
///
/// # Errors
/// The constraint is not supported. The error says what to write instead.
pub(super) fn read(tokens: &mut Tokens) -> Result<Option<Constraint>, DdlError> {
    let line = tokens.line();
    let named = tokens.ahead(0, &["CONSTRAINT"]) && tokens.word_ahead(1);
    let skip = if named { 2 } else { 0 };
    let refused = |found, instead| Err(DdlError::Constraint { line, found, instead });
    if tokens.ahead(skip, &["PRIMARY", "KEY"]) {
        tokens.skip(skip + 2);
        tokens.expect(&Token::LParen, "(")?;
        let column = tokens.name("a column's name")?;
        if tokens.take(&Token::Comma) {
            let found = "a PRIMARY KEY of several columns";
            return refused(found, "mark each column INDEX, or one of them KEY");
        }
        tokens.expect(&Token::RParen, ")")?;
        return Ok(Some(Constraint::PrimaryKey { column }));
    }
    let opens = |after: usize| tokens.is_ahead(skip + after, &Token::LParen);
    // Matches INDEX (column) and INDEX name (column), but not a column with the name `index`, as in
    // `index VARCHAR(20)`.
    let lists = || {
        let list = |after: usize| opens(after) && tokens.word_ahead(skip + after + 1);
        list(1) || (tokens.word_ahead(skip + 1) && list(2))
    };
    let is = |word| tokens.ahead(skip, &[word]);
    let unique = ["KEY", "INDEX"].iter().any(|word| tokens.ahead(skip, &["UNIQUE", word]));
    if is("UNIQUE") && (opens(1) || unique) {
        return refused("UNIQUE", "write KEY after the column's type; it is unique and searchable");
    }
    if tokens.ahead(skip, &["FOREIGN", "KEY"]) {
        return refused("FOREIGN KEY", "no value is checked against others; leave it out");
    }
    if is("CHECK") && opens(1) {
        return refused("CHECK", "no value is checked against others; leave it out");
    }
    if is("KEY") && lists() {
        return refused("a separate line KEY", "write KEY after the column's type");
    }
    if is("INDEX") && lists() {
        return refused("a separate line INDEX", "write INDEX after the column's type");
    }
    Ok(None)
}
