//! Converts the condition of WHERE to normal form.

use super::{Constant, Filter, Given};
use crate::sql::SqlError;
use crate::sql::statement::{Comparison, Condition, Literal, Name, Operand};

impl Given<'_> {
    /// The normal form of a condition, or of its negation.
    pub(super) fn condition(
        &self,
        condition: &Condition,
        negate: bool,
    ) -> Result<Filter, SqlError> {
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
                let column = operand_column(operand)?;
                let constants = list.iter().map(|item| {
                    self.constant(operand_literal(item).ok_or_else(|| no_literal(item))?)
                });
                let constants = constants.collect::<Result<_, _>>()?;
                Ok(Filter::In { column, constants, negated: negate })
            }
            Condition::Like { operand, pattern, escape } => {
                let column = operand_column(operand)?;
                let pattern = operand_literal(pattern).ok_or_else(|| no_literal(pattern))?;
                let pattern = self.constant(pattern)?;
                Ok(Filter::Like { column, pattern, escape: *escape, negated: negate })
            }
            Condition::IsNull { operand } => {
                Ok(Filter::IsNull { column: operand_column(operand)?, negated: negate })
            }
            Condition::IsTruth { operand, truth } => {
                // The result is never unknown: `b IS TRUE` means `b = TRUE AND b IS NOT NULL`.
                let column = operand_column(operand)?;
                let equal = truth_of(column.clone(), *truth, negate, "IS TRUE");
                Ok(joined(vec![equal, Filter::IsNull { column, negated: !negate }], !negate))
            }
            Condition::Truth(operand) => {
                let column = operand_column(operand)?;
                Ok(truth_of(column, true, negate, "a condition without comparison"))
            }
        }
    }

    fn parts(&self, parts: &[Condition], negate: bool, all: bool) -> Result<Filter, SqlError> {
        let parts = parts.iter().map(|part| self.condition(part, negate));
        Ok(joined(parts.collect::<Result<_, _>>()?, all))
    }

    fn comparison(
        &self,
        left: &Operand,
        comparison: Comparison,
        right: &Operand,
        negate: bool,
    ) -> Result<Filter, SqlError> {
        let comparison = if negate { comparison.negated() } else { comparison };
        let (operand, comparison, literal) = match (operand_literal(left), operand_literal(right)) {
            (None, Some(literal)) => (left, comparison, literal),
            (Some(literal), None) => (right, comparison.mirrored(), literal),
            _ => {
                let none = SqlError::NoColumn { text: format!("{left} {comparison} {right}") };
                return Err(double_quoted(right).or_else(|| double_quoted(left)).unwrap_or(none));
            }
        };
        let (column, constant) = (operand_column(operand)?, self.constant(literal)?);
        Ok(Filter::Compare { column, comparison, constant, bool_operator: None })
    }
}

fn truth_of(column: String, truth: bool, negate: bool, operator: &'static str) -> Filter {
    let comparison = if negate { Comparison::NotEqual } else { Comparison::Equal };
    let constant = Constant { literal: Literal::Bool(truth), given: None };
    Filter::Compare { column, comparison, constant, bool_operator: Some(operator) }
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

fn operand_column(operand: &Operand) -> Result<String, SqlError> {
    match operand {
        Operand::Column(Name { text, double_quoted: _ }) => Ok(text.clone()),
        Operand::Literal(_) => Err(no_column(operand)),
    }
}

/// An operand as a literal. SQLite reads a name in double quotes as text if no column has that
/// name. Here it is always a name: the cluster states which columns exist, and from a missing
/// lookup it would learn whether the text is one of the names that it invented.
fn operand_literal(operand: &Operand) -> Option<Literal> {
    match operand {
        Operand::Literal(literal) => Some(literal.clone()),
        Operand::Column(_) => None,
    }
}

/// The error for a name in place of a literal, with a suggestion.
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
