//! Makes a tree whose text has one reading.
//!
//! The statement is planned as a tree and executed as text. [`Names`] and [`Parentheses`] change the
//! tree so that SQLite reads its text as the same tree and gives the answer's columns the same names,
//! whatever the precedence of operators is in SQLite's grammar and in our parser's.

use std::collections::BTreeSet;
use std::mem;
use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, Select, SelectItem, UnaryOperator, Value, ValueWithSpan,
    VisitorMut,
};

use super::grouping;
use crate::sql::SqlError;
use crate::sql::sqlite::quoted;
use crate::sql::statement::{Literal, Place};

/// The first of both: gives each expression of a SELECT list the name that it has as written, and
/// makes long chains of AND and OR balanced.
#[derive(Default)]
pub(super) struct Names {
    /// Every name in the statement, in lower case.
    pub(super) idents: BTreeSet<String>,
    /// Whether `*` stands for columns.
    pub(super) wildcard: bool,
}

impl VisitorMut for Names {
    type Break = SqlError;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        for item in &mut select.projection {
            self.wildcard |=
                matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some(name) = name(expr)
            {
                let alias = Ident::with_quote('"', name);
                let expr = mem::replace(expr, Expr::value(Value::Null));
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_ident(&mut self, ident: &mut Ident) -> ControlFlow<SqlError> {
        self.idents.insert(ident.value.to_ascii_lowercase());
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        balance(expr);
        if let Err(error) = grouping::check(expr) {
            return ControlFlow::Break(error);
        }
        ControlFlow::Continue(())
    }
}

/// The last of all changes: puts every operand into parentheses, and makes every text a place,
/// because the parser does not write all texts and quoted names back as it read them.
pub(super) struct Parentheses<'a> {
    pub(super) places: &'a mut Vec<Place>,
}

impl Parentheses<'_> {
    /// Writes the number of the first place that is equal to this one, or of a new place.
    fn replace(&mut self, value: &mut ValueWithSpan, place: Place) {
        let known = self.places.iter().position(|known| *known == place);
        let number = known.unwrap_or_else(|| {
            self.places.push(place);
            self.places.len() - 1
        });
        value.value = Value::Placeholder(format!("?{}", number + 1));
    }
}

impl VisitorMut for Parentheses<'_> {
    type Break = SqlError;

    /// TRUE and FALSE are places too: SQLite reads them as columns if there are columns of these
    /// names. Equal literals have one place, so that equal expressions stay equal.
    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<SqlError> {
        let literal = match &mut value.value {
            Value::Boolean(truth) => Literal::Bool(*truth),
            Value::SingleQuotedString(text) => Literal::Text(mem::take(text)),
            Value::Placeholder(text) => {
                let number = numbered(text);
                if let Some(place) = number.and_then(|number| self.places.get(number)).cloned() {
                    self.replace(value, place);
                }
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        let place = Place { literal, compared: None };
        self.replace(value, place);
        ControlFlow::Continue(())
    }

    /// A name in quotes is written by SQLite's rule for quotes. The parser's own differs for names
    /// with backslashes or with two quotes in a row.
    fn pre_visit_ident(&mut self, ident: &mut Ident) -> ControlFlow<SqlError> {
        if ident.quote_style.take().is_some() {
            ident.value = quoted(&ident.value);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        without_truth(expr);
        let is_whole = matches!(
            expr,
            Expr::Identifier(_)
                | Expr::CompoundIdentifier(_)
                | Expr::Value(_)
                | Expr::Nested(_)
                | Expr::Function(_)
                | Expr::Cast { .. }
                | Expr::Case { .. }
                | Expr::Exists { .. }
                | Expr::Subquery(_)
                | Expr::Tuple(_)
                | Expr::Wildcard(_)
                | Expr::QualifiedWildcard(..)
        );
        if !is_whole {
            let inner = mem::replace(expr, Expr::value(Value::Null));
            *expr = Expr::Nested(Box::new(inner));
        }
        ControlFlow::Continue(())
    }
}

/// The name that an expression needs; `None` for a column, which SQLite names. A column with COLLATE
/// has the column's name, by which SQLite finds it in a subquery.
fn name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => None,
        Expr::Nested(inner) if name(inner).is_none() => None,
        Expr::Collate { expr: inner, .. } => {
            let mut column = inner.as_ref();
            while let Expr::Nested(inner) | Expr::Collate { expr: inner, .. } = column {
                column = inner;
            }
            Some(match column {
                Expr::Identifier(column) => column.value.clone(),
                Expr::CompoundIdentifier(parts) => parts.last()?.value.clone(),
                _ => expr.to_string(),
            })
        }
        _ => Some(expr.to_string()),
    }
}

/// Writes `x IS TRUE` and the like as CASE. SQLite reads TRUE as a column if there is a column or
/// alias of this name.
fn without_truth(expr: &mut Expr) {
    let (operand, is_true, then) = match expr {
        Expr::IsTrue(operand) => (operand, true, "1"),
        Expr::IsNotTrue(operand) => (operand, true, "0"),
        Expr::IsFalse(operand) => (operand, false, "1"),
        Expr::IsNotFalse(operand) => (operand, false, "0"),
        _ => return,
    };
    let operand = mem::replace(operand.as_mut(), Expr::value(Value::Null));
    let condition = if is_true {
        operand
    } else {
        Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(operand) }
    };
    let number = |digit: &str| Expr::value(Value::Number(digit.to_owned(), false));
    *expr = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result: number(then) }],
        else_result: Some(Box::new(number(if then == "1" { "0" } else { "1" }))),
    };
}

/// Makes a chain of AND or OR a balanced tree. A chain of thousands is nested equally deep, and
/// SQLite limits the depth of an expression.
fn balance(expr: &mut Expr) {
    let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr else {
        return;
    };
    let op = op.clone();
    let mut waiting = vec![mem::replace(expr, Expr::value(Value::Null))];
    let mut operands = Vec::new();
    while let Some(part) = waiting.pop() {
        match part {
            Expr::BinaryOp { left, op: found, right } if found == op => {
                waiting.push(*right);
                waiting.push(*left);
            }
            operand => operands.push(operand),
        }
    }
    while operands.len() > 1 {
        let mut pairs = operands.into_iter();
        operands = Vec::new();
        while let Some(left) = pairs.next() {
            operands.push(match pairs.next() {
                Some(right) => {
                    Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) }
                }
                None => left,
            });
        }
    }
    *expr = operands.pop().unwrap_or_else(|| Expr::value(Value::Null));
}

/// The number of the place that a placeholder such as `?1` names, counted from 0.
pub(super) fn numbered(text: &str) -> Option<usize> {
    text.strip_prefix('?')?.parse::<usize>().ok()?.checked_sub(1)
}
