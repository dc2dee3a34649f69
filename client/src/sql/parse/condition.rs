//! What a WHERE clause says about the rows of one reference.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, visit_expressions};

use super::places::Places;
use crate::sql::statement::{Compared, Filter, Literal};

/// Reads a WHERE clause on behalf of one reference.
pub(super) struct Condition<'p, 'a> {
    pub(super) places: &'p mut Places<'a>,
    /// The reference's position.
    pub(super) reference: usize,
    /// The name that qualifies its columns.
    pub(super) name: &'p str,
    /// Whether FROM has nothing else, so that a name without qualifier is its column. Otherwise the
    /// columns that a server states would decide which table is searched for a literal.
    pub(super) alone: bool,
    /// A name in double quotes that is compared with a column.
    pub(super) quoted: Option<String>,
}

impl Condition<'_, '_> {
    /// The normal form of a condition, or of its negation.
    pub(super) fn filter(&mut self, expr: &mut Expr, negate: bool) -> Filter {
        let known = match expr {
            Expr::Nested(inner) => return self.filter(inner, negate),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => return self.filter(expr, !negate),
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
                let all = (*op == BinaryOperator::And) != negate;
                let parts = vec![self.filter(left, negate), self.filter(right, negate)];
                return joined(parts, all);
            }
            Expr::BinaryOp { left, op, right } => self.comparison(left, op, right, negate),
            Expr::InList { expr, list, negated } => self.column(expr).and_then(|column| {
                // `NOT IN ()` is true, also for NULL.
                let mut literal = |item| self.places.literal(item).is_some();
                if list.is_empty() || !list.iter().all(&mut literal) {
                    return None;
                }
                let places = list.iter_mut().map(|item| self.place(item, &column));
                let places = places.collect::<Option<_>>()?;
                Some(Filter::In { column, places, negated: *negated != negate })
            }),
            Expr::Between { expr, low, high, .. } => {
                if let Some(column) = self.column(expr) {
                    for bound in [low, high] {
                        self.place(bound, &column);
                    }
                }
                None
            }
            Expr::IsNull(inner) => {
                self.column(inner).map(|column| Filter::IsNull { column, negated: negate })
            }
            Expr::IsNotNull(inner) => {
                self.column(inner).map(|column| Filter::IsNull { column, negated: !negate })
            }
            Expr::IsTrue(inner) => self.truth(inner, true, negate),
            Expr::IsFalse(inner) => self.truth(inner, false, negate),
            Expr::IsNotTrue(inner) => self.truth(inner, true, !negate),
            Expr::IsNotFalse(inner) => self.truth(inner, false, !negate),
            _ => self.column(expr).map(|column| {
                self.equal_truth(column, true, negate, "a condition without comparison")
            }),
        };
        known.unwrap_or_else(|| Filter::Other { columns: self.mentioned(expr) })
    }

    /// A comparison of a column with a literal.
    fn comparison(
        &mut self,
        left: &mut Expr,
        op: &BinaryOperator,
        right: &mut Expr,
        negate: bool,
    ) -> Option<Filter> {
        let negated = match op {
            BinaryOperator::Eq => Some(negate),
            BinaryOperator::NotEq => Some(!negate),
            BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => None,
            _ => return None,
        };
        let (column, literal) = match (self.column(left), self.column(right)) {
            (Some(column), None) => (column, right),
            (None, Some(column)) => (column, left),
            (Some(_), Some(_)) => {
                let quoted = [left, right].into_iter().find_map(|side| double_quoted(side));
                self.quoted = self.quoted.take().or(quoted);
                return None;
            }
            (None, None) => return None,
        };
        let place = self.place(literal, &column)?;
        Some(match negated {
            Some(negated) => Filter::In { column, places: vec![place], negated },
            None => Filter::Other { columns: vec![column] },
        })
    }

    fn place(&mut self, literal: &mut Expr, column: &str) -> Option<usize> {
        let compared = self.compared(column, None);
        self.places.compare(literal, compared)
    }

    fn compared(&self, column: &str, bool_operator: Option<&'static str>) -> Compared {
        Compared { reference: self.reference, column: column.to_owned(), bool_operator }
    }

    /// `b IS TRUE` means `b = TRUE AND b IS NOT NULL`: it is never unknown.
    fn truth(&mut self, expr: &Expr, truth: bool, negate: bool) -> Option<Filter> {
        let column = self.column(expr)?;
        let equal = self.equal_truth(column.clone(), truth, negate, "IS TRUE");
        Some(joined(vec![equal, Filter::IsNull { column, negated: !negate }], !negate))
    }

    fn equal_truth(
        &mut self,
        column: String,
        truth: bool,
        negated: bool,
        operator: &'static str,
    ) -> Filter {
        let compared = self.compared(&column, Some(operator));
        let place = self.places.add(Literal::Bool(truth), Some(compared));
        Filter::In { column, places: vec![place], negated }
    }

    /// The column of this reference that an expression is.
    fn column(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Nested(inner) => self.column(inner),
            Expr::Identifier(name) if self.alone => Some(name.value.clone()),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, name] if table.value.eq_ignore_ascii_case(self.name) => {
                    Some(name.value.clone())
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The columns that a condition names, for error messages.
    fn mentioned(&self, expr: &Expr) -> Vec<String> {
        let mut columns = Vec::new();
        let _: ControlFlow<()> = visit_expressions(expr, |part| {
            columns.extend(self.column(part));
            ControlFlow::Continue(())
        });
        columns
    }
}

/// A name in double quotes, with the quotes.
fn double_quoted(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => double_quoted(inner),
        Expr::Identifier(name) if name.quote_style == Some('"') => Some(name.to_string()),
        _ => None,
    }
}

/// Joins parts under AND (`all`) or OR. Nested parts of the same kind are flattened.
fn joined(parts: Vec<Filter>, all: bool) -> Filter {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Filter::And(inner) if all => flat.extend(inner),
            Filter::Or(inner) if !all => flat.extend(inner),
            part => flat.push(part),
        }
    }
    if all { Filter::And(flat) } else { Filter::Or(flat) }
}
