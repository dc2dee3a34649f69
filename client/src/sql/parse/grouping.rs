//! Refuses expressions that SQLite groups in another way than our parser.
//!
//! The parser has its own precedence of operators. An expression is read alike by both if every
//! operand without parentheses binds more tightly in SQLite than its operator, or equally tightly on
//! its left side (<https://www.sqlite.org/lang_expr.html>, "Operators").

use sqlparser::ast::{BinaryOperator as Binary, Expr, UnaryOperator};

use super::{shortened, unsupported};
use crate::sql::SqlError;

/// Depth up to which operators may be nested without parentheses, besides AND and OR. Parts of this
/// module and of the parser are recursive.
const DEPTH: usize = 200;

/// How tightly SQLite's operators bind.
mod level {
    pub(super) const OR: u8 = 0;
    pub(super) const AND: u8 = 1;
    pub(super) const NOT: u8 = 2;
    pub(super) const EQUAL: u8 = 3;
    pub(super) const LESS: u8 = 4;
    pub(super) const BITS: u8 = 5;
    pub(super) const PLUS: u8 = 6;
    pub(super) const TIMES: u8 = 7;
    pub(super) const CONCAT: u8 = 8;
    pub(super) const COLLATE: u8 = 9;
    pub(super) const PREFIX: u8 = 10;
}

/// Checks one operator and its operands.
pub(super) fn check(expr: &Expr) -> Result<(), SqlError> {
    let Some(own) = level_of(expr) else { return Ok(()) };
    let fits = |operand: &Expr, least: u8| level_of(operand).is_none_or(|level| level >= least);
    let alike = match expr {
        Expr::BinaryOp { left, op: Binary::And | Binary::Or, right } => {
            fits(left, own) && fits(right, own)
        }
        Expr::BinaryOp { left, right, .. }
        | Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right)
        | Expr::Like { expr: left, pattern: right, .. }
        | Expr::RLike { expr: left, pattern: right, .. } => fits(left, own) && fits(right, own + 1),
        Expr::Between { expr, low, high, .. } => {
            fits(expr, own) && fits(low, own + 1) && fits(high, own + 1)
        }
        Expr::UnaryOp { expr, .. }
        | Expr::Collate { expr, .. }
        | Expr::IsNull(expr)
        | Expr::IsNotNull(expr)
        | Expr::IsTrue(expr)
        | Expr::IsNotTrue(expr)
        | Expr::IsFalse(expr)
        | Expr::IsNotFalse(expr)
        | Expr::InList { expr, .. }
        | Expr::InSubquery { expr, .. } => fits(expr, own),
        _ => true,
    };
    if !alike {
        let what = format!("{} without parentheses", shortened(expr));
        return Err(unsupported(&what, "write parentheses around what is computed first"));
    }
    let mut next = expr;
    for _ in 0..DEPTH {
        match next {
            Expr::BinaryOp { op: Binary::And | Binary::Or, .. } => return Ok(()),
            Expr::BinaryOp { left, .. } => next = left,
            Expr::UnaryOp { expr, .. } => next = expr,
            _ => return Ok(()),
        }
    }
    Err(SqlError::Syntax { message: "it is nested too deeply".to_owned() })
}

/// How tightly an operator binds; `None` for what has no operands without parentheses.
fn level_of(expr: &Expr) -> Option<u8> {
    Some(match expr {
        Expr::BinaryOp { op, .. } => match op {
            Binary::Or => level::OR,
            Binary::And => level::AND,
            Binary::Lt | Binary::LtEq | Binary::Gt | Binary::GtEq => level::LESS,
            Binary::BitwiseAnd
            | Binary::BitwiseOr
            | Binary::PGBitwiseShiftLeft
            | Binary::PGBitwiseShiftRight => level::BITS,
            Binary::Plus | Binary::Minus => level::PLUS,
            Binary::Multiply | Binary::Divide | Binary::Modulo => level::TIMES,
            Binary::StringConcat | Binary::Arrow | Binary::LongArrow => level::CONCAT,
            _ => level::EQUAL,
        },
        Expr::UnaryOp { op: UnaryOperator::Not, .. } | Expr::Exists { negated: true, .. } => {
            level::NOT
        }
        Expr::UnaryOp { .. } => level::PREFIX,
        Expr::Collate { .. } => level::COLLATE,
        Expr::Like { .. }
        | Expr::RLike { .. }
        | Expr::Between { .. }
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..) => level::EQUAL,
        _ => return None,
    })
}
