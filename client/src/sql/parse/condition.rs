//! The WHERE clause.

use sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator, Value};

use super::{shortened, unsupported};
use crate::sql::SqlError;
use crate::sql::statement::{Comparison, Condition, Literal, Name, Operand};

const CONDITIONS: &str = "compare columns with literals by =, <>, <, <=, >, >=, IN, BETWEEN, LIKE \
                          or IS NULL, joined by AND, OR and NOT";

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser knows fifty kinds of expression")]
pub(super) fn condition(expr: &Expr, table: &str) -> Result<Condition, SqlError> {
    let operand = |expr: &Expr| operand(expr, table);
    let not = |condition| Condition::Not(Box::new(condition));
    let negated_if = |negated: bool, condition| if negated { not(condition) } else { condition };
    match expr {
        Expr::Nested(inner) => condition(inner, table),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Ok(not(condition(expr, table)?)),
        Expr::BinaryOp { op: BinaryOperator::And, .. } => Ok(Condition::And(
            chain(expr, &BinaryOperator::And)
                .map(|e| condition(e, table))
                .collect::<Result<_, _>>()?,
        )),
        Expr::BinaryOp { op: BinaryOperator::Or, .. } => Ok(Condition::Or(
            chain(expr, &BinaryOperator::Or)
                .map(|e| condition(e, table))
                .collect::<Result<_, _>>()?,
        )),
        Expr::BinaryOp { left, op, right } => {
            let comparison = match op {
                BinaryOperator::Eq => Comparison::Equal,
                BinaryOperator::NotEq => Comparison::NotEqual,
                BinaryOperator::Lt => Comparison::Less,
                BinaryOperator::LtEq => Comparison::LessOrEqual,
                BinaryOperator::Gt => Comparison::Greater,
                BinaryOperator::GtEq => Comparison::GreaterOrEqual,
                _ => return Err(unsupported(&shortened(expr), CONDITIONS)),
            };
            Ok(Condition::Compare { left: operand(left)?, comparison, right: operand(right)? })
        }
        Expr::Between { expr, negated, low, high } => {
            let between = Condition::Between {
                operand: operand(expr)?,
                low: operand(low)?,
                high: operand(high)?,
            };
            Ok(negated_if(*negated, between))
        }
        Expr::InList { list, .. } if list.is_empty() => {
            Err(unsupported("an empty IN list", "put at least one literal into it"))
        }
        Expr::InList { expr, list, negated } => {
            let list = list.iter().map(operand).collect::<Result<_, _>>()?;
            Ok(negated_if(*negated, Condition::In { operand: operand(expr)?, list }))
        }
        Expr::Like { negated, any: false, expr, pattern, escape_char } => {
            let like = Condition::Like {
                operand: operand(expr)?,
                pattern: operand(pattern)?,
                escape: escape_char.as_deref().map(escape).transpose()?,
            };
            Ok(negated_if(*negated, like))
        }
        Expr::IsNull(expr) => Ok(Condition::IsNull { operand: operand(expr)? }),
        Expr::IsNotNull(expr) => Ok(not(Condition::IsNull { operand: operand(expr)? })),
        Expr::IsTrue(expr) => Ok(Condition::IsTruth { operand: operand(expr)?, truth: true }),
        Expr::IsFalse(expr) => Ok(Condition::IsTruth { operand: operand(expr)?, truth: false }),
        Expr::IsNotTrue(expr) => {
            Ok(not(Condition::IsTruth { operand: operand(expr)?, truth: true }))
        }
        Expr::IsNotFalse(expr) => {
            Ok(not(Condition::IsTruth { operand: operand(expr)?, truth: false }))
        }
        Expr::ILike { .. } => Err(unsupported("ILIKE", "write LIKE, which ignores ASCII case")),
        Expr::InSubquery { .. } | Expr::Exists { .. } | Expr::Subquery(_) => Err(subquery()),
        _ if name(expr, table)?.is_some() || literal(expr)?.is_some() => {
            Ok(Condition::Truth(operand(expr)?))
        }
        _ => Err(unsupported(&shortened(expr), CONDITIONS)),
    }
}

fn subquery() -> SqlError {
    unsupported("a subquery", "run it first and write its answer as literals")
}

/// The operands of a chain of one operator, from left to right. A chain of thousands of ORs is
/// nested equally deep, so it is walked without recursion.
fn chain<'a>(expr: &'a Expr, operator: &BinaryOperator) -> impl Iterator<Item = &'a Expr> {
    let mut waiting = vec![expr];
    let mut operands = Vec::new();
    while let Some(expr) = waiting.pop() {
        match expr {
            Expr::BinaryOp { left, op, right } if op == operator => {
                waiting.push(right);
                waiting.push(left);
            }
            operand => operands.push(operand),
        }
    }
    operands.into_iter()
}

fn operand(expr: &Expr, table: &str) -> Result<Operand, SqlError> {
    if let Expr::Nested(inner) = expr {
        return operand(inner, table);
    }
    if matches!(expr, Expr::Subquery(_)) {
        return Err(subquery());
    }
    if let Some(name) = name(expr, table)? {
        return Ok(Operand::Column(name));
    }
    literal(expr)?.map(Operand::Literal).ok_or_else(|| unsupported(&shortened(expr), CONDITIONS))
}

/// A column's name, optionally qualified by the table's name.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser knows fifty kinds of expression")]
pub(super) fn name(expr: &Expr, table: &str) -> Result<Option<Name>, SqlError> {
    let of = |ident: &Ident| Name {
        text: ident.value.clone(),
        double_quoted: ident.quote_style == Some('"'),
    };
    match expr {
        Expr::Identifier(ident) => Ok(Some(of(ident))),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [qualifier, ident] if qualifier.value.eq_ignore_ascii_case(table) => {
                // A qualified name is never a string.
                Ok(Some(Name { double_quoted: false, ..of(ident) }))
            }
            _ => Err(unsupported(&shortened(expr), "write only the column's name")),
        },
        _ => Ok(None),
    }
}

/// A literal or a placeholder.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser knows fifty kinds of expression")]
pub(super) fn literal(expr: &Expr) -> Result<Option<Literal>, SqlError> {
    let (value, sign) = match expr {
        Expr::Value(value) => (&value.value, ""),
        Expr::UnaryOp { op, expr: inner } => match (op, inner.as_ref()) {
            (UnaryOperator::Minus, Expr::Value(value)) => (&value.value, "-"),
            (UnaryOperator::Plus, Expr::Value(value)) => (&value.value, ""),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    match value {
        Value::Number(digits, false) => number(&format!("{sign}{digits}"))
            .map(Some)
            .ok_or_else(|| unsupported(&shortened(expr), "write a decimal number")),
        _ if matches!(expr, Expr::UnaryOp { .. }) => Ok(None),
        Value::SingleQuotedString(text) => Ok(Some(Literal::Text(text.clone()))),
        Value::Boolean(truth) => Ok(Some(Literal::Bool(*truth))),
        Value::Null => Ok(Some(Literal::Null)),
        Value::Placeholder(text) => match text.strip_prefix(':') {
            Some(name) => Ok(Some(Literal::Parameter(name.to_owned()))),
            None => Err(unsupported(&shortened(text), "name the parameter, as in :name")),
        },
        _ => Err(unsupported(&shortened(expr), "write text as 'text' and numbers in decimals")),
    }
}

/// Parses an integer, or a REAL if the number has a fraction or exponent or does not fit 64 bits.
fn number(text: &str) -> Option<Literal> {
    let real = || text.parse().ok().map(Literal::Real);
    text.parse().ok().map(Literal::Int).or_else(real)
}

fn escape(expr: &Expr) -> Result<char, SqlError> {
    if let Some(Literal::Text(text)) = literal(expr)? {
        let mut chars = text.chars();
        if let (Some(escape), None) = (chars.next(), chars.next()) {
            return Ok(escape);
        }
    }
    Err(unsupported(
        &format!("ESCAPE {}", shortened(expr)),
        "write one character, as in ESCAPE '\\'",
    ))
}
