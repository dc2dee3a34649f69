//! Refuses expressions that SQLite groups in another way than our parser.
//!
//! The parser has its own precedence of operators. An expression is read alike by both if every
//! operand without parentheses binds more tightly in SQLite than its operator, or equally tightly on
//! its left side (<https://www.sqlite.org/lang_expr.html>, "Operators").

use sqlparser::ast::{BinaryOperator as Binary, CastKind, Expr, UnaryOperator};

use super::{shortened, unsupported};
use crate::sql::SqlError;

/// Maximum number of operators of which each is the left operand of the next, without parentheses.
/// AND and OR do not count, because `balance` makes them flat. The parser reads such a chain in a
/// loop, so its own limit on depth does not bound it, but each later step takes stack for each
/// operator, and SQLite accepts a depth of 1000. A chain of right operands or parentheses is bounded
/// by the parser.
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
    let own = match kind(expr) {
        Kind::Operator(level) => level,
        Kind::Whole => return Ok(()),
        Kind::Foreign => {
            return Err(unsupported(&shortened(expr), "SQLite has no such expression"));
        }
    };
    let fits = |operand: &Expr, least: u8| match kind(operand) {
        Kind::Operator(level) => level >= least,
        // A foreign operand is refused when it is visited itself.
        Kind::Whole | Kind::Foreign => true,
    };
    let alike = match expr {
        Expr::BinaryOp { left, op: Binary::And | Binary::Or, right } => {
            fits(left, own) && fits(right, own)
        }
        Expr::BinaryOp { left, right, .. }
        | Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right)
        | Expr::Like { expr: left, pattern: right, .. } => fits(left, own) && fits(right, own + 1),
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
    let mut next = Some(expr);
    for _ in 0..DEPTH {
        next = next.and_then(left_operand);
        if next.is_none() {
            return Ok(());
        }
    }
    Err(SqlError::Syntax { message: "it is nested too deeply".to_owned() })
}

/// The first operand of an operator other than AND and OR.
fn left_operand(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::BinaryOp { op: Binary::And | Binary::Or, .. } => None,
        Expr::BinaryOp { left, .. }
        | Expr::IsDistinctFrom(left, _)
        | Expr::IsNotDistinctFrom(left, _) => Some(left),
        Expr::UnaryOp { expr, .. }
        | Expr::Like { expr, .. }
        | Expr::Between { expr, .. }
        | Expr::Collate { expr, .. }
        | Expr::IsNull(expr)
        | Expr::IsNotNull(expr)
        | Expr::IsTrue(expr)
        | Expr::IsNotTrue(expr)
        | Expr::IsFalse(expr)
        | Expr::IsNotFalse(expr)
        | Expr::InList { expr, .. }
        | Expr::InSubquery { expr, .. } => Some(expr),
        _ => None,
    }
}

/// How an expression reads as an operand.
enum Kind {
    /// It is an operator that binds this tightly.
    Operator(u8),
    /// It has no operands without parentheses.
    Whole,
    /// SQLite has no such expression, or its grammar was not compared with the parser's.
    Foreign,
}

fn kind(expr: &Expr) -> Kind {
    Kind::Operator(match expr {
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
            Binary::Eq | Binary::NotEq | Binary::Glob | Binary::Match | Binary::Regexp => {
                level::EQUAL
            }
            _ => return Kind::Foreign,
        },
        Expr::UnaryOp { op: UnaryOperator::Not, .. } | Expr::Exists { negated: true, .. } => {
            level::NOT
        }
        Expr::UnaryOp {
            op: UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::BitwiseNot, ..
        } => level::PREFIX,
        Expr::Collate { .. } => level::COLLATE,
        Expr::Like { .. }
        // ILIKE is refused with a better text later.
        | Expr::ILike { .. }
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
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Value(_)
        | Expr::Nested(_)
        | Expr::Function(_)
        | Expr::Substring { .. }
        | Expr::Trim { .. }
        | Expr::Ceil { .. }
        | Expr::Floor { .. }
        | Expr::Cast { kind: CastKind::Cast, .. }
        | Expr::Case { .. }
        | Expr::Exists { .. }
        | Expr::Subquery(_)
        | Expr::Tuple(_)
        | Expr::Wildcard(_)
        | Expr::QualifiedWildcard(..) => return Kind::Whole,
        _ => return Kind::Foreign,
    })
}
