//! A condition bound to a table: columns by position, literals as values, and evaluation in
//! three-valued logic.

use std::cmp::Ordering;

use opaque_pir::table::Value;

use super::like::Pattern;
use super::statement::Comparison;

/// A condition in negation normal form: NOT has been pushed into the leaves, which three-valued
/// logic permits.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Predicate {
    Compare {
        column: usize,
        comparison: Comparison,
        value: Value,
    },
    In {
        column: usize,
        values: Vec<Value>,
        negated: bool,
    },
    /// A pattern of `None` stands for NULL.
    Like {
        column: usize,
        pattern: Option<Pattern>,
        negated: bool,
    },
    IsNull {
        column: usize,
        negated: bool,
    },
    And(Vec<Predicate>),
    Or(Vec<Predicate>),
}

impl Predicate {
    /// The condition's truth value for a row; `None` is SQL's unknown.
    pub(super) fn evaluate(&self, row: &[Value]) -> Option<bool> {
        let cell = |column: &usize| row.get(*column).unwrap_or(&Value::Null);
        match self {
            Self::Compare { column, comparison, value } => {
                compare(cell(column), value).map(|order| comparison.holds(order))
            }
            Self::In { column, values, negated } => {
                is_in(cell(column), values).map(|found| found != *negated)
            }
            Self::Like { column, pattern, negated } => match (cell(column), pattern) {
                (Value::Text(text) | Value::Json(text), Some(pattern)) => {
                    Some(pattern.matches(text) != *negated)
                }
                _ => None,
            },
            Self::IsNull { column, negated } => Some((*cell(column) == Value::Null) != *negated),
            Self::And(parts) => all(parts.iter().map(|part| part.evaluate(row))),
            Self::Or(parts) => {
                // a OR b is NOT (NOT a AND NOT b), in three values too.
                let denied = parts.iter().map(|part| part.evaluate(row).map(|truth| !truth));
                all(denied).map(|truth| !truth)
            }
        }
    }
}

/// Three-valued AND: false takes precedence over unknown, and unknown over true.
fn all(truths: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut result = Some(true);
    for truth in truths {
        match truth {
            Some(false) => return Some(false),
            Some(true) => {}
            None => result = None,
        }
    }
    result
}

fn is_in(cell: &Value, values: &[Value]) -> Option<bool> {
    let mut unknown = false;
    for value in values {
        match compare(cell, value) {
            Some(Ordering::Equal) => return Some(true),
            Some(Ordering::Less | Ordering::Greater) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(false)
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Compares two values as SQLite does: numbers exactly, even of different types, and text byte by
/// byte. Returns `None` if either value is NULL or if the types cannot be compared, which binding
/// rules out.
pub(super) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => {
            Some(a.cmp(b))
        }
        (Value::Real(a), Value::Real(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Real(b)) => compare_int_real(*a, *b),
        (Value::Real(a), Value::Int(b)) => compare_int_real(*b, *a).map(Ordering::reverse),
        (Value::Text(a), Value::Text(b)) | (Value::Json(a), Value::Json(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
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
pub(super) fn equal_value(
    column_type: opaque_pir::table::ColumnType,
    literal: &Value,
) -> Option<Value> {
    use opaque_pir::table::ColumnType;
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
