//! Compares computed times with literals as instants.
//!
//! A TIMESTAMP column has a collation that compares instants, and what is computed from it, such as
//! `MAX(at)`, is text without a collation. A literal may write the same instant in another way:
//! without six digits of a fraction, or in another time zone. A comparison of both therefore gets
//! the collation. It applies only if the literal is an RFC 3339 time. An expression counts as
//! computed from a time if it has the name of a TIMESTAMP column, or of an alias of such an
//! expression.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use opaque_pir::table::{ColumnType, Schema, Value};
use sqlparser::ast::{
    BinaryOperator, Expr, Ident, ObjectName, Query, SelectItem, Value as SqlValue, ValueWithSpan,
    VisitMut, VisitorMut, visit_expressions,
};

use crate::sql::sqlite::INSTANT;
use crate::sql::statement::{Literal, Place, Statement};

/// The tree of a statement, with the collation where it compares computed times with literals.
pub(super) fn with_times(statement: &Statement, schemas: &[&Schema]) -> Query {
    let mut tree = statement.tree.clone();
    let columns = || schemas.iter().flat_map(|schema| schema.columns());
    let times = columns().filter(|column| column.column_type == ColumnType::Timestamp);
    let mut times: BTreeSet<String> =
        times.map(|column| column.name.to_ascii_lowercase()).collect();
    if times.is_empty() {
        return tree;
    }
    let mut aliases = Aliases::default();
    let _ = VisitMut::visit(&mut tree, &mut aliases);
    // An alias of a computed time is one itself, also if it is an alias of an alias.
    loop {
        let before = times.len();
        for (alias, names) in &aliases.0 {
            if !names.is_disjoint(&times) {
                times.insert(alias.clone());
            }
        }
        if times.len() == before {
            break;
        }
    }
    let others = columns().filter(|column| column.column_type != ColumnType::Timestamp);
    let others = others.map(|column| column.name.to_ascii_lowercase()).collect();
    let mut times = Times { places: &statement.places, times, others };
    let _ = VisitMut::visit(&mut tree, &mut times);
    tree
}

/// The names in the expression of each alias of a SELECT list.
#[derive(Default)]
struct Aliases(BTreeMap<String, BTreeSet<String>>);

impl VisitorMut for Aliases {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut sqlparser::ast::Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { expr, alias } = item {
                self.0.entry(plain(alias)).or_default().extend(names(expr));
            }
        }
        ControlFlow::Continue(())
    }
}

struct Times<'a> {
    places: &'a [Place],
    /// Columns and aliases that are times, in lower case.
    times: BTreeSet<String>,
    /// Columns of other types, in lower case. Two tables may have columns of one name.
    others: BTreeSet<String>,
}

impl VisitorMut for Times<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        use BinaryOperator as Binary;
        let (first, others): (&mut Expr, Vec<&Expr>) = match expr {
            Expr::BinaryOp {
                left,
                op:
                    Binary::Eq | Binary::NotEq | Binary::Lt | Binary::LtEq | Binary::Gt | Binary::GtEq,
                right,
            }
            | Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right) => (&mut **left, vec![&**right]),
            Expr::InList { expr, list, .. } => (&mut **expr, list.iter().collect()),
            Expr::Between { expr, low, high, .. } => (&mut **expr, vec![&**low, &**high]),
            _ => return ControlFlow::Continue(()),
        };
        if self.are_compared(first, &others) {
            collate(first);
        }
        ControlFlow::Continue(())
    }
}

impl Times<'_> {
    /// Whether one side is computed from a time, and the other one a literal.
    fn are_compared(&self, first: &Expr, others: &[&Expr]) -> bool {
        let literal = || others.iter().any(|other| self.is_literal(other));
        let time = || others.iter().any(|other| self.is_time(other));
        self.is_time(first) && literal() || self.is_literal(first) && time()
    }

    /// Whether an expression is a literal or parameter that is a time.
    fn is_literal(&self, expr: &Expr) -> bool {
        let number = match expr {
            Expr::Nested(inner) => return self.is_literal(inner),
            Expr::Value(ValueWithSpan { value: SqlValue::Placeholder(text), .. }) => {
                text.strip_prefix('?').and_then(|number| number.parse::<usize>().ok())
            }
            _ => None,
        };
        let place = number.and_then(|number| self.places.get(number.checked_sub(1)?));
        match place.map(|place| &place.literal) {
            Some(Literal::Text(text) | Literal::Parameter { given: text, .. }) => {
                Value::parse(ColumnType::Timestamp, text).is_ok()
            }
            _ => false,
        }
    }

    /// Whether an expression is computed from a time and has no collation of its own.
    fn is_time(&self, expr: &Expr) -> bool {
        let column = match expr {
            Expr::Nested(inner) => return self.is_time(inner),
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        // A TIMESTAMP column needs nothing, and a column of another type must stay as it is.
        if column.is_some_and(|column| self.others.contains(&plain(column))) {
            return false;
        }
        let collated = visit_expressions(expr, |part| match part {
            Expr::Collate { .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        collated.is_continue() && !names(expr).is_disjoint(&self.times)
    }
}

fn collate(expr: &mut Expr) {
    let operand = std::mem::replace(expr, Expr::value(SqlValue::Null));
    let collation = ObjectName::from(vec![Ident::new(INSTANT)]);
    let collated = Expr::Collate { expr: Box::new(operand), collation };
    *expr = Expr::Nested(Box::new(collated));
}

/// The names of columns and aliases in an expression, in lower case.
fn names(expr: &Expr) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let _: ControlFlow<()> = visit_expressions(expr, |part| {
        match part {
            Expr::Identifier(name) => names.extend([plain(name)]),
            Expr::CompoundIdentifier(parts) => names.extend(parts.last().map(plain)),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    names
}

/// A name of the tree in lower case. Names in quotes are written with them there.
fn plain(ident: &Ident) -> String {
    let inner = ident.value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner
        .map_or_else(|| ident.value.clone(), |inner| inner.replace("\"\"", "\""))
        .to_ascii_lowercase()
}
