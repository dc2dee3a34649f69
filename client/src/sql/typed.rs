//! Converts a literal to a value of the column that it is compared with.

use std::cmp::Ordering;

use opaque_pir::table::{Column, ColumnType, Value};

use super::SqlError;
use super::statement::Literal;

/// Converts a literal to the type of the column that it is compared with.
///
/// The result has the column's type, with one exception: for an INT or REAL column it may be either
/// kind of number, which SQLite compares exactly. As in SQLite, text that reads as a number counts
/// as one for a numeric column, and TRUE and FALSE are 1 and 0.
pub(super) fn typed(column: &Column, literal: &Literal) -> Result<Value, SqlError> {
    let text = match literal {
        Literal::Parameter { given: text, .. } | Literal::Text(text) => Some(text.as_str()),
        Literal::Null | Literal::Bool(_) | Literal::Int(_) | Literal::Real(_) => None,
    };
    let value = match (column.column_type, literal, text) {
        (_, Literal::Null, _) => Some(Value::Null),
        (ColumnType::Int | ColumnType::Real, Literal::Int(number), _) => Some(Value::Int(*number)),
        (ColumnType::Int | ColumnType::Real, Literal::Real(number), _) => {
            Some(Value::Real(*number))
        }
        (ColumnType::Int | ColumnType::Real, Literal::Bool(truth), _) => {
            Some(Value::Int(i64::from(*truth)))
        }
        (ColumnType::Int, _, Some(text)) => number(text),
        (ColumnType::Real, _, Some(text)) => number(text).or_else(|| infinity(text)),
        (ColumnType::Text, _, Some(text)) => Some(Value::Text(text.to_owned())),
        // The text is not checked to be JSON. If it is not, it compares with documents as text and
        // equals none of them.
        (ColumnType::Json, _, Some(text)) => Some(Value::Json(text.to_owned())),
        (ColumnType::Bool, Literal::Bool(truth), _) => Some(Value::Bool(*truth)),
        (ColumnType::Bool, Literal::Int(0), _) => Some(Value::Bool(false)),
        (ColumnType::Bool, Literal::Int(1), _) => Some(Value::Bool(true)),
        // This applies only to parameters: SQLite does not read quoted text as a truth value.
        (ColumnType::Bool, Literal::Parameter { .. }, Some(text)) => {
            Value::parse(ColumnType::Bool, text).ok()
        }
        (ColumnType::Timestamp, _, Some(text)) => Value::parse(ColumnType::Timestamp, text).ok(),
        _ => None,
    };
    value.ok_or_else(|| SqlError::Literal {
        column: column.name.clone(),
        column_type: column.column_type,
        literal: literal.to_string(),
        write: match column.column_type {
            ColumnType::Int => "a number such as 21",
            ColumnType::Real => "a number such as 21.5",
            ColumnType::Text => "text in single quotes, as in 'abc'",
            ColumnType::Json => "JSON text in single quotes, as in '{\"a\":1}'",
            ColumnType::Bool => "TRUE or FALSE",
            ColumnType::Timestamp => {
                match text.map(|text| Value::parse(ColumnType::Timestamp, text)) {
                    Some(Err(error)) => error.expected,
                    _ => "an RFC 3339 time, as in '2026-11-21T09:30:00Z'",
                }
            }
        },
    })
}

/// Parses an infinite number in the form that answers print, with optional space around it. SQLite
/// prints infinity differently and reads no text as infinity.
fn infinity(text: &str) -> Option<Value> {
    match text.trim_ascii() {
        "inf" => Some(Value::Real(f64::INFINITY)),
        "-inf" => Some(Value::Real(f64::NEG_INFINITY)),
        _ => None,
    }
}

/// Parses a decimal number, with optional space around it. Rust would also accept `inf`.
fn number(text: &str) -> Option<Value> {
    let text = text.trim_ascii();
    let digits = text.trim_start_matches(['+', '-']);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let real = || text.parse().ok().map(Value::Real);
    text.parse().ok().map(Value::Int).or_else(real)
}

/// The comparison is exact even if no double equals the integer: beyond 2^53 both are compared as
/// integers.
fn compare_int_real(int: i64, real: f64) -> Option<Ordering> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0; // 2^63
    if real.is_nan() {
        return None;
    }
    if real < -LIMIT {
        return Some(Ordering::Greater);
    }
    if real >= LIMIT {
        return Some(Ordering::Less);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "-2^63 <= real < 2^63, and truncation is meant"
    )]
    let whole = real as i64;
    let fraction = real - real.trunc();
    Some(int.cmp(&whole).then(0.0.partial_cmp(&fraction)?))
}

/// The stored value that equals a literal. Returns `None` if no value of a column of this type can
/// equal it: the literal is NULL, or a number that the column's type cannot represent.
pub(super) fn equal_value(column_type: ColumnType, literal: &Value) -> Option<Value> {
    match (column_type, literal) {
        (_, Value::Null) => None,
        (ColumnType::Int, Value::Real(real)) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the cast saturates and is checked"
            )]
            let whole = *real as i64;
            (compare_int_real(whole, *real) == Some(Ordering::Equal)).then_some(Value::Int(whole))
        }
        (ColumnType::Real, Value::Int(int)) => {
            let real = *int as f64;
            (compare_int_real(*int, real) == Some(Ordering::Equal)).then_some(())?;
            Value::real(real)
        }
        (ColumnType::Real, Value::Real(real)) => Value::real(*real),
        _ => literal.is_of(column_type).then(|| literal.clone()),
    }
}

#[cfg(test)]
mod tests {
    use opaque_pir::table::Role;

    use super::*;

    fn given(column_type: ColumnType, text: &str) -> Result<Value, SqlError> {
        let column =
            Column { name: "c".to_owned(), column_type, role: Role::Payload, nullable: true };
        typed(&column, &Literal::Parameter { name: "p".to_owned(), given: text.to_owned() })
    }

    #[test]
    fn infinity_is_searched_for_as_it_is_printed() {
        for (text, number) in [("inf", f64::INFINITY), (" -inf ", f64::NEG_INFINITY)] {
            assert_eq!(given(ColumnType::Real, text), Ok(Value::Real(number)));
            assert!(given(ColumnType::Int, text).is_err());
        }
        for other in ["nan", "infinite", "--inf", "in"] {
            assert!(given(ColumnType::Real, other).is_err(), "{other}");
        }
    }
}
