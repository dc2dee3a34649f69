//! Literals and parameters of a statement, by their places.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
    ValueWithSpan, VisitorMut,
};

use super::parentheses::{Parentheses, numbered};
use super::{shortened, unsupported, visit};
use crate::sql::sqlite::Sqlite;
use crate::sql::statement::{Compared, Literal, Place};
use crate::sql::{Parameters, SqlError};

/// The places of a statement. As a visitor, it replaces each parameter by its place, and refuses
/// functions that SQLite does not have.
pub(super) struct Places<'a> {
    parameters: &'a Parameters,
    sqlite: &'a Sqlite,
    list: Vec<Place>,
    used: BTreeSet<String>,
    /// Parameters in positions where their text is meant as text, by place.
    text: BTreeSet<usize>,
    /// The first constant expression without a value.
    invalid: Option<SqlError>,
}

impl<'a> Places<'a> {
    pub(super) fn new(parameters: &'a Parameters, sqlite: &'a Sqlite) -> Self {
        let (list, used, text) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        Self { parameters, sqlite, list, used, text, invalid: None }
    }

    /// All places, once every reference is known.
    ///
    /// # Errors
    /// A parameter has no type, or is not used. A constant expression has no value.
    pub(super) fn finish(self) -> Result<Vec<Place>, SqlError> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        if let Some(name) = self.parameters.names().find(|name| !self.used.contains(*name)) {
            return Err(SqlError::UnusedParameter { name: name.to_owned() });
        }
        for (number, Place { literal, compared }) in self.list.iter().enumerate() {
            if let Literal::Parameter { name, .. } = literal
                && compared.is_none()
                && !self.text.contains(&number)
            {
                return Err(SqlError::UntypedParameter { name: name.clone() });
            }
        }
        Ok(self.list)
    }

    /// The value of an expression without columns, subqueries and functions that depend on the time
    /// or on chance. If it has no value, the statement is refused when the places are complete:
    /// whether it has one may not decide which column is searched.
    pub(super) fn literal(&mut self, expr: &Expr) -> Option<Literal> {
        match expr {
            Expr::Nested(inner) => self.literal(inner),
            Expr::Value(ValueWithSpan { value, .. }) => match value {
                Value::Number(digits, false) => number(digits),
                Value::SingleQuotedString(text) => Some(Literal::Text(text.clone())),
                Value::Boolean(truth) => Some(Literal::Bool(*truth)),
                Value::Null => Some(Literal::Null),
                Value::Placeholder(text) => {
                    self.list.get(numbered(text)?).map(|place| place.literal.clone())
                }
                _ => None,
            },
            _ if constant(expr) => {
                let (mut tree, mut texts) = (expr.clone(), Vec::new());
                visit(&mut tree, &mut Parentheses { places: &mut texts }).ok()?;
                let value = self.sqlite.constant(&tree.to_string(), &texts);
                if value.is_none() {
                    self.invalid
                        .get_or_insert_with(|| SqlError::NoValue { expression: shortened(expr) });
                }
                Some(value.unwrap_or(Literal::Null))
            }
            _ => None,
        }
    }

    /// Makes a literal or parameter a place that is compared with a column, and returns the place.
    pub(super) fn compare(&mut self, expr: &mut Expr, compared: Compared) -> Option<usize> {
        let literal = self.literal(expr)?;
        let number = placed(expr).unwrap_or_else(|| {
            let number = self.add(literal, None);
            *expr = placeholder(number);
            number
        });
        self.list.get_mut(number)?.compared = Some(compared);
        Some(number)
    }

    /// Adds a literal that the tree does not contain.
    pub(super) fn add(&mut self, literal: Literal, compared: Option<Compared>) -> usize {
        self.list.push(Place { literal, compared });
        self.list.len() - 1
    }

    /// The text of a parameter that stands for a whole number.
    pub(super) fn whole(&mut self, expr: &Expr) -> Option<i64> {
        match self.literal(expr)? {
            Literal::Int(number) => Some(number),
            Literal::Parameter { given, .. } => given.trim().parse().ok(),
            Literal::Null | Literal::Bool(_) | Literal::Real(_) | Literal::Text(_) => None,
        }
    }

    /// The expression as written, for an error message: places appear as their literals.
    pub(super) fn written(&mut self, expr: &Expr) -> String {
        match self.literal(expr) {
            Some(literal) if placed(expr).is_some() => literal.to_string(),
            _ => shortened(expr),
        }
    }

    /// A place whose value no expression needs any more. It counts as used.
    pub(super) fn consume(&mut self, expr: &Expr) {
        self.text.extend(placed(expr));
    }
}

impl VisitorMut for Places<'_> {
    type Break = SqlError;

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<SqlError> {
        let text = match &value.value {
            Value::Placeholder(text) => text,
            Value::Number(_, false)
            | Value::SingleQuotedString(_)
            | Value::Boolean(_)
            | Value::Null => return ControlFlow::Continue(()),
            other => {
                let instead = "write text as 'text' and numbers in decimals";
                return ControlFlow::Break(unsupported(&shortened(other), instead));
            }
        };
        let Some(name) = text.strip_prefix(':') else {
            let instead = "name the parameter, as in :name";
            return ControlFlow::Break(unsupported(&shortened(text), instead));
        };
        let Some(given) = self.parameters.value(name) else {
            return ControlFlow::Break(SqlError::MissingParameter { name: name.to_owned() });
        };
        self.used.insert(name.to_owned());
        let literal = Literal::Parameter { name: name.to_owned(), given: given.to_owned() };
        let number = self.add(literal, None);
        value.value = Value::Placeholder(format!("?{}", number + 1));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match expr {
            Expr::Function(function) => {
                let name = function.name.to_string();
                if !self.sqlite.has_function(&name) {
                    let instead = "SQLite's functions are at https://sqlite.org/lang_corefunc.html";
                    return ControlFlow::Break(unsupported(&format!("function {name}"), instead));
                }
                self.text.extend(arguments(function).filter_map(placed));
            }
            Expr::ILike { .. } => {
                let instead = "write LIKE, which ignores ASCII case";
                return ControlFlow::Break(unsupported("ILIKE", instead));
            }
            Expr::Cast { expr, .. } => self.text.extend(placed(expr)),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let others = [substring_from, substring_for].into_iter().flatten();
                self.text
                    .extend(std::iter::once(expr).chain(others).filter_map(|part| placed(part)));
            }
            Expr::Trim { expr, trim_what, trim_characters, .. } => {
                let others = trim_what.iter().map(Box::as_ref);
                let others = others.chain(trim_characters.iter().flatten());
                self.text.extend(std::iter::once(expr.as_ref()).chain(others).filter_map(placed));
            }
            Expr::Like { pattern, .. } => self.text.extend(placed(pattern)),
            Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } => {
                self.text.extend([left, right].into_iter().filter_map(|side| placed(side)));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The expressions among a function's arguments.
fn arguments(function: &Function) -> impl Iterator<Item = &Expr> {
    let list = match &function.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => &[],
    };
    list.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    })
}

/// Whether the value of an expression is the same for every row and at every time.
fn constant(expr: &Expr) -> bool {
    use BinaryOperator as Binary;
    match expr {
        Expr::Value(value) => !matches!(value.value, Value::Placeholder(_)),
        Expr::Nested(inner)
        | Expr::UnaryOp { expr: inner, .. }
        | Expr::Cast { expr: inner, .. } => constant(inner),
        Expr::BinaryOp { left, op, right } => {
            let known = matches!(
                op,
                Binary::Plus
                    | Binary::Minus
                    | Binary::Multiply
                    | Binary::Divide
                    | Binary::Modulo
                    | Binary::StringConcat
            );
            known && constant(left) && constant(right)
        }
        // The parser reads these two functions as forms of their own.
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let mut others = [substring_from, substring_for].into_iter().flatten();
            constant(expr) && others.all(|other| constant(other))
        }
        Expr::Trim { expr, trim_where: None, trim_what: None, trim_characters } => {
            constant(expr) && trim_characters.iter().flatten().all(constant)
        }
        Expr::Function(function) => {
            const PURE: [&str; 8] =
                ["abs", "coalesce", "ifnull", "lower", "nullif", "replace", "round", "upper"];
            let name = function.name.to_string().to_ascii_lowercase();
            let plain = function.over.is_none() && function.filter.is_none();
            plain && PURE.contains(&name.as_str()) && arguments(function).all(constant)
        }
        _ => false,
    }
}

/// Parses an integer, or a REAL if the number has a fraction or exponent or does not fit 64 bits.
fn number(text: &str) -> Option<Literal> {
    let real = || text.parse().ok().map(Literal::Real);
    text.parse().ok().map(Literal::Int).or_else(real)
}

fn placeholder(number: usize) -> Expr {
    Expr::value(Value::Placeholder(format!("?{}", number + 1)))
}

/// The place that an expression is.
fn placed(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Nested(inner) => placed(inner),
        Expr::Value(ValueWithSpan { value: Value::Placeholder(text), .. }) => numbered(text),
        _ => None,
    }
}
