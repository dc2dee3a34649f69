//! Computes the answer from the fetched data.

use std::collections::BTreeMap;
use std::sync::Arc;

use opaque_pir::geometry::Geometry;
use opaque_pir::table::{ColumnType, Value};
use sqlparser::ast::{Expr, Query, SelectItem, SetExpr, Value as SqlValue};

use super::times::with_times;
use super::{Method, Plan, TablePlan};
use crate::sql::sqlite::{Sqlite, TEXT_BYTES};
use crate::sql::statement::{Literal, Place, Shape};
use crate::sql::typed::typed;
use crate::sql::{Bounds, Fetched, Found, ResultSet, SqlError};

impl Plan {
    /// Computes the answer from what each [`Source`](super::Source) returned. Nothing more is ever
    /// fetched.
    ///
    /// # Errors
    /// The statement does not fit the tables' columns, or `bounds` are exceeded.
    /// [`SqlError::MorePages`] if the fetched pages do not hold every row that an exact answer
    /// needs. [`SqlError::Fetched`] if `fetched` does not match the sources.
    pub fn finish(&self, fetched: Vec<Fetched>, bounds: &Bounds) -> Result<ResultSet, SqlError> {
        let values = self.values()?;
        if fetched.len() != self.tables.len() {
            return Err(SqlError::Fetched);
        }
        let mut sqlite = Sqlite::new(TEXT_BYTES)?;
        let (mut count, mut missing) = (None, None);
        for (number, (table, fetched)) in self.tables.iter().zip(fetched).enumerate() {
            // Several references may share the rows of a scan.
            let (mut shared, mut owned): (Arc<[_]>, _) = (Arc::default(), Vec::new());
            let mut upto = u64::MAX;
            match (&table.method, fetched) {
                (Method::Known(known), Fetched::Nothing) => {
                    count = Some(*known);
                    continue;
                }
                (Method::Matches { counted }, Fetched::Lookups(found)) => {
                    count = Some(total(&picked(counted, found)?));
                    continue;
                }
                (Method::Rest { rows, counted }, Fetched::Lookups(found)) => {
                    count = Some(rows.saturating_sub(total(&picked(counted, found)?)));
                    continue;
                }
                (Method::Scan, Fetched::Rows(rows)) => shared = rows,
                (Method::Rows { counted, geometry }, Fetched::Lookups(found)) => {
                    let found = picked(counted, found)?;
                    let gap = Missing::of(&found, geometry, counted.len() as u64);
                    owned = found.into_iter().flat_map(|found| found.rows).collect();
                    if let Some(gap) = gap {
                        upto = gap.from;
                        missing = Some(gap.error);
                    }
                }
                _ => return Err(SqlError::Fetched),
            }
            let rows = shared.iter().chain(&owned);
            let rows = rows.filter(|(number, _)| *number < upto);
            let rows: BTreeMap<u64, &[Value]> =
                rows.map(|(number, row)| (*number, row.as_slice())).collect();
            sqlite.fill(number, &table.schema, rows.into_iter())?;
        }
        // Rows are missing, so only the first rows in load order may be known to be the answer.
        let partial = missing.is_some() && self.statement.limit != Some(0);
        if let Some(error) = &missing
            && partial
            && (!matches!(self.statement.shape, Shape::Stream { .. })
                || self.statement.limit.is_none())
        {
            return Err(error.clone());
        }
        let schemas: Vec<_> = self.tables.iter().map(|table| &table.schema).collect();
        let tree = with_times(&self.statement, &schemas);
        let text = count.map_or_else(|| tree.to_string(), |count| with_count(&tree, count));
        let mut arms = Vec::new();
        collect_arms(&tree, &tree.body, &mut arms);
        let answer = sqlite.answer(&text, &arms, values, bounds);
        let answer = answer.map_err(|error| self.explained(error))?;
        match missing {
            Some(error) if partial && Some(answer.rows.len() as u64) != self.statement.limit => {
                Err(error)
            }
            _ => Ok(answer),
        }
    }

    /// The values of the statement's places.
    fn values(&self) -> Result<Vec<Value>, SqlError> {
        self.statement.places.iter().map(|place| self.value(place)).collect()
    }

    fn value(&self, Place { literal, compared }: &Place) -> Result<Value, SqlError> {
        if let Some(compared) = compared
            && let Some(TablePlan { schema, .. }) = self.tables.get(compared.reference)
            && let Some((_, column)) = schema.column(&compared.column)
        {
            if let Some(operator) = compared.bool_operator
                && column.column_type != ColumnType::Bool
            {
                return Err(SqlError::Operator {
                    column: column.name.clone(),
                    column_type: column.column_type,
                    operator,
                    instead: "compare it with a literal",
                });
            }
            return typed(column, literal);
        }
        Ok(match literal {
            Literal::Null => Value::Null,
            Literal::Bool(truth) => Value::Bool(*truth),
            Literal::Int(number) => Value::Int(*number),
            Literal::Real(number) => Value::Real(*number),
            Literal::Text(text) | Literal::Parameter { given: text, .. } => {
                Value::Text(text.clone())
            }
        })
    }

    /// Adds the tables' columns to SQLite's message about a column that does not exist.
    fn explained(&self, error: SqlError) -> SqlError {
        let SqlError::Sqlite { message } = &error else { return error };
        let Some(name) = message.strip_prefix("no such column: ") else { return error };
        // SQLite appends a suggestion to a name in double quotes.
        let name = name.split(" - ").next().unwrap_or(name);
        let listed = |table: &TablePlan| {
            let columns = table.schema.columns().iter().map(|column| column.name.as_str());
            format!("{} has {}", table.schema.table(), columns.collect::<Vec<_>>().join(", "))
        };
        let tables: Vec<_> = self.tables.iter().map(listed).collect();
        SqlError::UnknownColumn { name: name.to_owned(), tables: tables.join("; ") }
    }
}

/// The text of a statement that counts rows, with the count in place of the rows. A single row
/// needs no order, and ORDER BY may name a column.
fn with_count(tree: &Query, count: u64) -> String {
    let mut tree = tree.clone();
    tree.order_by = None;
    if let SetExpr::Select(select) = tree.body.as_mut() {
        select.from.clear();
        select.selection = None;
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { expr, .. } = item {
                *expr = Expr::value(SqlValue::Number(count.to_string(), false));
            }
        }
    }
    tree.to_string()
}

/// The SELECTs that UNION, EXCEPT and INTERSECT combine, each with the statement's common table
/// expressions. There are none in a statement without these.
fn collect_arms(tree: &Query, body: &SetExpr, arms: &mut Vec<String>) {
    if let SetExpr::SetOperation { left, right, .. } = body {
        for side in [left, right] {
            match side.as_ref() {
                SetExpr::SetOperation { .. } => collect_arms(tree, side, arms),
                arm => {
                    let (with, body) = (tree.with.clone(), Box::new(arm.clone()));
                    let plain =
                        Query { with, body, order_by: None, limit_clause: None, ..tree.clone() };
                    arms.push(plain.to_string());
                }
            }
        }
    }
}

/// The results that count: without decoys, and each value once.
fn picked(counted: &[bool], found: Vec<Found>) -> Result<Vec<Found>, SqlError> {
    if counted.len() != found.len() {
        return Err(SqlError::Fetched);
    }
    Ok(found
        .into_iter()
        .zip(counted)
        .filter_map(|(found, counts)| counts.then_some(found))
        .collect())
}

fn total(found: &[Found]) -> u64 {
    found.iter().fold(0, |sum, found| sum.saturating_add(found.total_rows))
}

/// Some value has more rows than its pages hold.
struct Missing {
    /// No row with a number below this one is missing, because a value's pages hold its first rows.
    from: u64,
    error: SqlError,
}

impl Missing {
    fn of(found: &[Found], geometry: &Geometry, literals: u64) -> Option<Self> {
        let partial = || found.iter().filter(|found| (found.rows.len() as u64) < found.total_rows);
        let complete_to =
            |found: &Found| found.rows.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
        Some(Self {
            from: partial().map(complete_to).min()?,
            error: SqlError::MorePages {
                matches: total(found),
                fetched: found.iter().map(|found| found.rows.len() as u64).sum(),
                pages: partial().map(|found| geometry.pages_for(0, found.total_rows)).max()?,
                literals,
            },
        })
    }
}
