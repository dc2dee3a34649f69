//! Computes the answer from the fetched data.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use opaque_pir::geometry::Geometry;
use opaque_pir::table::Value;

use super::{Method, Plan};
use crate::sql::bind::{Order, Output, Query};
use crate::sql::predicate::compare;
use crate::sql::{Fetched, Found, Kept, ResultSet, SqlError};

type Row = Vec<Value>;

impl Plan {
    /// Computes the answer from what the [`Source`](super::Source) returned. This function is pure:
    /// nothing more is ever fetched.
    ///
    /// # Errors
    /// A name, literal or position does not fit the table's columns. [`SqlError::MorePages`] if the
    /// fetched pages do not hold every row that an exact answer needs. [`SqlError::Fetched`] if
    /// `fetched` does not match the source.
    pub fn finish(&self, fetched: Fetched) -> Result<ResultSet, SqlError> {
        let query = self.query.as_ref().map_err(Clone::clone)?;
        match (&self.method, fetched) {
            (Method::Known(count), Fetched::Nothing) => Ok(count_answer(query, *count)),
            (Method::Matches { counted }, Fetched::Lookups(found)) => {
                Ok(count_answer(query, total(&picked(counted, found)?)))
            }
            (Method::Rest { rows, counted }, Fetched::Lookups(found)) => {
                let found = total(&picked(counted, found)?);
                Ok(count_answer(query, rows.saturating_sub(found)))
            }
            (Method::Scan, Fetched::Rows(kept)) => Ok(scan_answer(query, kept)),
            (Method::Rows { counted, geometry }, Fetched::Lookups(found)) => {
                let found = picked(counted, found)?;
                let missing = Missing::of(&found, geometry, counted.len() as u64);
                let rows = found.into_iter().flat_map(|found| found.rows);
                rows_answer(query, rows.collect(), missing)
            }
            _ => Err(SqlError::Fetched),
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

fn count_answer(query: &Query, count: u64) -> ResultSet {
    let columns = match &query.output {
        Output::Count(column) => vec![column.clone()],
        Output::Columns(columns) => columns.iter().map(|(_, column)| column.clone()).collect(),
    };
    let row = vec![Value::Int(i64::try_from(count).unwrap_or(i64::MAX))];
    ResultSet { columns, rows: limited(query, vec![row]) }
}

/// The answer from the rows that [`Plan::keep`] accepted, after DISTINCT, ORDER BY, OFFSET and
/// LIMIT.
fn scan_answer(query: &Query, kept: Kept) -> ResultSet {
    let mut rows: Vec<Row> = kept.rows.into_values().collect();
    if query.distinct && !matches!(query.output, Output::Count(_)) {
        distinct(query, &mut rows);
    }
    arranged(query, rows)
}

/// Applies filter, DISTINCT, ORDER BY, OFFSET and LIMIT to rows that are unique by number and in
/// load order. SQLite uses the same order for a table read from its beginning.
fn rows_answer(
    query: &Query,
    mut rows: BTreeMap<u64, Row>,
    missing: Option<Missing>,
) -> Result<ResultSet, SqlError> {
    let counts = matches!(query.output, Output::Count(_));
    if let Some(missing) = &missing {
        rows.split_off(&missing.from);
    }
    let accepts = |row: &Row| query.filter.as_ref().is_none_or(|f| f.evaluate(row) == Some(true));
    let mut rows: Vec<Row> = rows.into_values().filter(accepts).collect();
    if query.distinct && !counts {
        distinct(query, &mut rows);
    }
    if let Some(Missing { error, .. }) = missing {
        let wanted = query.limit.map(|limit| limit.saturating_add(query.offset));
        let enough = wanted.is_some_and(|wanted| rows.len() as u64 >= wanted);
        let in_load_order = query.order.is_empty() && !counts;
        if query.limit != Some(0) && !(enough && in_load_order) {
            return Err(error);
        }
    }
    Ok(arranged(query, rows))
}

/// Applies ORDER BY, OFFSET and LIMIT to the accepted rows, or counts them.
fn arranged(query: &Query, mut rows: Vec<Row>) -> ResultSet {
    let Output::Columns(columns) = &query.output else {
        return count_answer(query, rows.len() as u64);
    };
    rows.sort_by(|a, b| ordered(&query.order, a, b));
    let project =
        |row: Row| columns.iter().map(|(position, _)| cell(&row, *position).clone()).collect();
    ResultSet {
        columns: columns.iter().map(|(_, column)| column.clone()).collect(),
        rows: limited(query, rows).into_iter().map(project).collect(),
    }
}

/// Of rows that look the same in the answer, keeps the first.
fn distinct(query: &Query, rows: &mut Vec<Row>) {
    let Output::Columns(columns) = &query.output else { return };
    let mut seen = HashSet::new();
    rows.retain(|row| {
        let key = columns.iter().map(|(position, _)| cell(row, *position).search_key());
        seen.insert(key.collect::<Vec<_>>())
    });
}

fn ordered(order: &[Order], a: &Row, b: &Row) -> Ordering {
    let mut orders = order.iter().map(|Order { column, descending, nulls_first }| {
        let (a, b) = (cell(a, *column), cell(b, *column));
        match (*a == Value::Null, *b == Value::Null) {
            (true, true) => Ordering::Equal,
            (true, false) => {
                if *nulls_first {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (false, true) => {
                if *nulls_first {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (false, false) => {
                let order = compare(a, b).unwrap_or(Ordering::Equal);
                if *descending { order.reverse() } else { order }
            }
        }
    });
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn cell(row: &Row, position: usize) -> &Value {
    row.get(position).unwrap_or(&Value::Null)
}

fn limited(query: &Query, rows: Vec<Row>) -> Vec<Row> {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let limit = query.limit.map_or(usize::MAX, number);
    rows.into_iter().skip(number(query.offset)).take(limit).collect()
}
