//! Binds the condition of WHERE: names become positions, literals become values.

use opaque_pir::table::{Column, ColumnType, Schema, Value};

use super::{column, typed};
use crate::sql::SqlError;
use crate::sql::like::Pattern;
use crate::sql::normal::{Constant, Filter};
use crate::sql::predicate::Predicate;

pub(super) fn bind(filter: &Filter, schema: &Schema) -> Result<Predicate, SqlError> {
    match filter {
        Filter::Compare { column: name, comparison, constant, bool_operator } => {
            let (position, column) = column(schema, name)?;
            if let Some(operator) = bool_operator
                && column.column_type != ColumnType::Bool
            {
                return Err(inapplicable(column, operator, "compare it with a literal"));
            }
            let value = typed(column, constant)?;
            Ok(Predicate::Compare { column: position, comparison: *comparison, value })
        }
        Filter::In { column: name, constants, negated } => {
            let (position, column) = column(schema, name)?;
            let values = constants.iter().map(|constant| typed(column, constant));
            let values = values.collect::<Result<_, _>>()?;
            Ok(Predicate::In { column: position, values, negated: *negated })
        }
        Filter::Like { column: name, pattern, escape, negated } => {
            let (position, column) = column(schema, name)?;
            let pattern = like(column, pattern, *escape)?;
            Ok(Predicate::Like { column: position, pattern, negated: *negated })
        }
        Filter::IsNull { column: name, negated } => {
            Ok(Predicate::IsNull { column: column(schema, name)?.0, negated: *negated })
        }
        Filter::And(parts) => Ok(Predicate::And(all(parts, schema)?)),
        Filter::Or(parts) => Ok(Predicate::Or(all(parts, schema)?)),
    }
}

fn all(parts: &[Filter], schema: &Schema) -> Result<Vec<Predicate>, SqlError> {
    parts.iter().map(|part| bind(part, schema)).collect()
}

fn like(
    column: &Column,
    pattern: &Constant,
    escape: Option<char>,
) -> Result<Option<Pattern>, SqlError> {
    if !matches!(column.column_type, ColumnType::Text | ColumnType::Json) {
        return Err(inapplicable(column, "LIKE", "compare it by =, <, > or BETWEEN"));
    }
    match typed(column, pattern)? {
        Value::Text(text) | Value::Json(text) => Ok(Some(Pattern::new(&text, escape))),
        Value::Null | Value::Int(_) | Value::Real(_) | Value::Bool(_) | Value::Timestamp(_) => {
            Ok(None)
        }
    }
}

fn inapplicable(column: &Column, operator: &'static str, instead: &'static str) -> SqlError {
    SqlError::Operator {
        column: column.name.clone(),
        column_type: column.column_type,
        operator,
        instead,
    }
}
