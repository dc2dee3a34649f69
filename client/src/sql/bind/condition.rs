//! The condition of WHERE: columns found, literals typed, NOT pushed down to the leaves.

use opaque_pir::table::{Column, ColumnType, Value};

use super::Binder;
use crate::sql::SqlError;
use crate::sql::like::Pattern;
use crate::sql::predicate::Predicate;
use crate::sql::statement::{Comparison, Condition, Literal, Operand};

impl Binder<'_> {
    /// Binds a condition, or what is true when it is false.
    pub(super) fn condition(
        &self,
        condition: &Condition,
        negate: bool,
    ) -> Result<Predicate, SqlError> {
        match condition {
            Condition::Not(inner) => self.condition(inner, !negate),
            Condition::And(parts) => self.parts(parts, negate, !negate),
            Condition::Or(parts) => self.parts(parts, negate, negate),
            Condition::Compare { left, comparison, right } => {
                self.comparison(left, *comparison, right, negate)
            }
            Condition::Between { operand, low, high } => {
                let low = self.comparison(operand, Comparison::GreaterOrEqual, low, negate)?;
                let high = self.comparison(operand, Comparison::LessOrEqual, high, negate)?;
                Ok(joined(vec![low, high], !negate))
            }
            Condition::In { operand, list } => {
                let (position, column) = self.operand_column(operand)?;
                let literals = list.iter().map(|item| {
                    let literal = operand_literal(item).ok_or_else(|| no_literal(item))?;
                    self.value(column, &literal)
                });
                Ok(Predicate::In {
                    column: position,
                    values: literals.collect::<Result<_, _>>()?,
                    negated: negate,
                })
            }
            Condition::Like { operand, pattern, escape } => {
                self.like(operand, pattern, *escape, negate)
            }
            Condition::IsNull { operand } => {
                let (column, _) = self.operand_column(operand)?;
                Ok(Predicate::IsNull { column, negated: negate })
            }
            Condition::IsTruth { operand, truth } => {
                // Never unknown: `b IS TRUE` is `b = TRUE AND b IS NOT NULL`.
                let column = self.bool_column(operand, "IS TRUE")?;
                let equal = truth_of(column, *truth, negate);
                Ok(joined(vec![equal, Predicate::IsNull { column, negated: !negate }], !negate))
            }
            Condition::Truth(operand) => Ok(truth_of(
                self.bool_column(operand, "a condition without comparison")?,
                true,
                negate,
            )),
        }
    }

    fn parts(&self, parts: &[Condition], negate: bool, all: bool) -> Result<Predicate, SqlError> {
        let parts = parts.iter().map(|part| self.condition(part, negate));
        Ok(joined(parts.collect::<Result<_, _>>()?, all))
    }

    fn comparison(
        &self,
        left: &Operand,
        comparison: Comparison,
        right: &Operand,
        negate: bool,
    ) -> Result<Predicate, SqlError> {
        let comparison = if negate { comparison.negated() } else { comparison };
        let (operand, comparison, literal) = match (operand_literal(left), operand_literal(right)) {
            (None, Some(literal)) => (left, comparison, literal),
            (Some(literal), None) => (right, comparison.mirrored(), literal),
            _ => {
                let none = SqlError::NoColumn { text: format!("{left} {comparison} {right}") };
                return Err(double_quoted(right).or_else(|| double_quoted(left)).unwrap_or(none));
            }
        };
        let (position, column) = self.operand_column(operand)?;
        let value = self.value(column, &literal)?;
        Ok(Predicate::Compare { column: position, comparison, value })
    }

    fn like(
        &self,
        operand: &Operand,
        pattern: &Operand,
        escape: Option<char>,
        negated: bool,
    ) -> Result<Predicate, SqlError> {
        let (position, column) = self.operand_column(operand)?;
        if !matches!(column.column_type, ColumnType::Text | ColumnType::Json) {
            return Err(SqlError::Operator {
                column: column.name.clone(),
                column_type: column.column_type,
                operator: "LIKE",
                instead: "compare it by =, <, > or BETWEEN",
            });
        }
        let literal = operand_literal(pattern).ok_or_else(|| no_literal(pattern))?;
        let pattern = match self.value(column, &literal)? {
            Value::Text(text) | Value::Json(text) => Some(Pattern::new(&text, escape)),
            Value::Null | Value::Int(_) | Value::Real(_) | Value::Bool(_) | Value::Timestamp(_) => {
                None
            }
        };
        Ok(Predicate::Like { column: position, pattern, negated })
    }

    fn operand_column(&self, operand: &Operand) -> Result<(usize, &Column), SqlError> {
        match operand {
            Operand::Column(name) => self.column(name),
            Operand::Literal(_) => Err(no_column(operand)),
        }
    }

    fn bool_column(&self, operand: &Operand, operator: &'static str) -> Result<usize, SqlError> {
        let (position, column) = self.operand_column(operand)?;
        if column.column_type == ColumnType::Bool {
            return Ok(position);
        }
        Err(SqlError::Operator {
            column: column.name.clone(),
            column_type: column.column_type,
            operator,
            instead: "compare it with a literal",
        })
    }
}

fn truth_of(column: usize, truth: bool, negate: bool) -> Predicate {
    let comparison = if negate { Comparison::NotEqual } else { Comparison::Equal };
    Predicate::Compare { column, comparison, value: Value::Bool(truth) }
}

/// Parts under AND (`all`) or OR, flat: parts of the same kind are taken apart.
fn joined(parts: Vec<Predicate>, all: bool) -> Predicate {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Predicate::And(inner) if all => flat.extend(inner),
            Predicate::Or(inner) if !all => flat.extend(inner),
            part => flat.push(part),
        }
    }
    if all { Predicate::And(flat) } else { Predicate::Or(flat) }
}

/// An operand as a literal. Where SQLite reads a name in double quotes that is no column as text, it is
/// a name here: the cluster says which columns there are, and would learn from a lookup that is not
/// made whether the text is one of the names that it made up.
fn operand_literal(operand: &Operand) -> Option<Literal> {
    match operand {
        Operand::Literal(literal) => Some(literal.clone()),
        Operand::Column(_) => None,
    }
}

/// Where a literal must be: what to write in place of a name.
fn no_literal(operand: &Operand) -> SqlError {
    double_quoted(operand).unwrap_or_else(|| no_column(operand))
}

fn double_quoted(operand: &Operand) -> Option<SqlError> {
    match operand {
        Operand::Column(name) if name.double_quoted => {
            Some(SqlError::DoubleQuoted { text: operand.to_string() })
        }
        Operand::Column(_) | Operand::Literal(_) => None,
    }
}

fn no_column(operand: &Operand) -> SqlError {
    SqlError::NoColumn { text: operand.to_string() }
}
