//! What to fetch for a statement. Decided from the statement and public metadata alone, so that the
//! number and size of the requests tell nothing about the data or the literals.
//!
//! | statement | source |
//! |---|---|
//! | `COUNT(*)` without WHERE, or with `column IS [NOT] NULL` on a searchable column | public metadata |
//! | no WHERE | public scan; LIMIT lets it stop early unless ORDER BY or DISTINCT need every row |
//! | `=`, `IN`, and ORs of them on one searchable column, alone or under AND | one lookup per literal |
//! | `COUNT(*)` with `<>` or `NOT IN` on a searchable column, alone | the same lookups: the rows that are not NULL less those found |
//! | rows with `<>` or `NOT IN` on a searchable column, alone | public scan, always whole |
//! | anything else | refused, or a whole public scan where the caller allows one |
//!
//! A literal that no value of the column can equal (NULL, or 2.5 for an INT) is looked up all the
//! same, as a decoy whose result is ignored: a missing lookup would tell that it was there. The
//! exception is a literal that the column's type has no comparison with (`'warm'` for an INT): the
//! statement is refused and nothing is sent.
//!
//! A statement takes at most [`MAX_LOOKUPS`] lookups; what needs more has no private plan.

mod finish;
mod search;

use std::collections::HashSet;
use std::fmt;

use opaque_pir::geometry::Geometry;
use opaque_pir::table::{ColumnType, Value};

use self::search::Search;
use super::bind::{Output, Query, bind};
use super::error::Refusal;
use super::meta::IndexMeta;
use super::predicate::{Predicate, equal_value};
use super::statement::Statement;
use super::{Options, Parameters, SqlError, TableMeta};

/// Most lookups of one statement, literals times pages: each costs the cluster a share of a pass over
/// the column, and its answer stays in memory until the last one is here.
pub const MAX_LOOKUPS: u64 = 1024;

/// What a plan needs fetched. `Debug` shows no value.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// Nothing: public metadata answers `COUNT(*)`, and this is the count.
    Count(u64),
    /// Private lookups.
    Lookups {
        /// Position of the searched column.
        column: usize,
        /// One value per literal, of the column's type, repeated where a literal is repeated.
        values: Vec<Value>,
        /// Pages to fetch of each value, from page 0; at least one.
        pages: u32,
    },
    /// Every row of the table, in row order. Not private, and told apart by nothing but the
    /// statement's form.
    PublicScan {
        /// Where LIMIT alone decides, rows numbered from this on are not needed. Only for a
        /// statement without WHERE, so that it cannot depend on a literal.
        rows_below: Option<u64>,
    },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => f.debug_tuple("Count").field(count).finish(),
            Self::Lookups { column, values, pages } => f
                .debug_struct("Lookups")
                .field("column", column)
                .field("values", &values.len())
                .field("pages", pages)
                .finish(),
            Self::PublicScan { rows_below } => {
                f.debug_struct("PublicScan").field("rows_below", rows_below).finish()
            }
        }
    }
}

/// What to fetch for a statement, and how to make the answer of it. `Debug` shows the source only.
#[derive(Clone)]
pub struct Plan {
    source: Source,
    method: Method,
    query: Query,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("source", &self.source).finish_non_exhaustive()
    }
}

/// How the answer is made of what was fetched.
#[derive(Clone)]
enum Method {
    /// The count is known.
    Known(u64),
    /// Rows of the public scan, perhaps only to be counted.
    Scan,
    /// Rows of the lookups that count, perhaps only to be counted.
    Rows { counted: Vec<bool>, geometry: Geometry },
    /// The count is the sum of the totals of the lookups that count.
    Matches { counted: Vec<bool> },
    /// The count is what remains of `rows` without the totals of the lookups that count.
    Rest { rows: u64, counted: Vec<bool> },
}

impl Plan {
    /// What to fetch.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether the rows come from a public scan: the cluster sees that the table is read, though
    /// no literal.
    pub fn is_public(&self) -> bool {
        matches!(self.source, Source::PublicScan { .. })
    }
}

/// Plans a statement.
///
/// # Errors
/// When a name, literal or parameter does not fit the table, and [`SqlError::NotPrivate`] when the
/// statement has no private plan of at most [`MAX_LOOKUPS`] lookups and `options` allow no public scan.
pub fn plan(
    statement: &Statement,
    parameters: &Parameters,
    table: &TableMeta<'_>,
    options: &Options,
) -> Result<Plan, SqlError> {
    let query = bind(statement, parameters, table.schema)?;
    let (source, method) = match &query.filter {
        None => unfiltered(&query, table),
        Some(filter) => filtered(&query, filter, table, options)?,
    };
    Ok(Plan { source, method, query })
}

fn unfiltered(query: &Query, table: &TableMeta<'_>) -> (Source, Method) {
    match query.output {
        Output::Count(_) => known(table.rows),
        Output::Columns(_) => {
            let rows_needed = query.limit.map(|limit| limit.saturating_add(query.offset));
            let in_row_order = query.order.is_empty() && !query.distinct;
            scan(rows_needed.filter(|_| in_row_order))
        }
    }
}

fn filtered(
    query: &Query,
    filter: &Predicate,
    table: &TableMeta<'_>,
    options: &Options,
) -> Result<(Source, Method), SqlError> {
    let counts = matches!(query.output, Output::Count(_));
    if let (Predicate::IsNull { column, negated }, true) = (filter, counts)
        && let Some(index) = table.index(*column)
    {
        return Ok(match negated {
            true => known(index.non_null_rows),
            false => known(table.rows.saturating_sub(index.non_null_rows)),
        });
    }
    let planned = Search::of(filter, table).and_then(|search| match search {
        Search::Matches { index, literals, complete } => {
            matches(query, table, index, &literals, complete, options)
        }
        Search::Rest { index, literals } if counts => rest(table, index, &literals),
        Search::Rest { .. } => Ok(scan(None)),
    });
    match planned {
        Ok(planned) => Ok(planned),
        Err(_) if options.allow_public_scan => Ok(scan(None)),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Lookups that bring every row that the filter can accept; when they are `complete` the filter
/// accepts every row with one of the values.
fn matches(
    query: &Query,
    table: &TableMeta<'_>,
    index: &IndexMeta,
    literals: &[&Value],
    complete: bool,
    options: &Options,
) -> Result<(Source, Method), Refusal> {
    let probes = Probes::new(table, index, literals);
    let counts = matches!(query.output, Output::Count(_));
    if counts && complete {
        // The first page of a value tells how many rows have it.
        return Ok((probes.source(1)?, Method::Matches { counted: probes.counted }));
    }
    let bare = complete && query.order.is_empty() && !query.distinct;
    let pages = match query.limit {
        Some(limit) if bare => index.geometry.pages_for(query.offset, limit),
        _ => u64::from(options.pages.max(1)),
    };
    let source = probes.source(pages.min(table.most_pages(index)))?;
    Ok((source, Method::Rows { counted: probes.counted, geometry: index.geometry }))
}

/// Lookups that count the rows that `<>` or NOT IN leave out.
fn rest(
    table: &TableMeta<'_>,
    index: &IndexMeta,
    literals: &[&Value],
) -> Result<(Source, Method), Refusal> {
    let probes = Probes::new(table, index, literals);
    // Next to a NULL, `<>` and NOT IN are never true.
    let unknown = literals.iter().any(|literal| **literal == Value::Null);
    let rows = if unknown { 0 } else { index.non_null_rows };
    Ok((probes.source(1)?, Method::Rest { rows, counted: probes.counted }))
}

fn known(count: u64) -> (Source, Method) {
    (Source::Count(count), Method::Known(count))
}

fn scan(rows_below: Option<u64>) -> (Source, Method) {
    (Source::PublicScan { rows_below }, Method::Scan)
}

/// The lookups of a plan, one per literal.
struct Probes {
    column: usize,
    values: Vec<Value>,
    /// Whether the result counts: it is no decoy's, and the first of its value.
    counted: Vec<bool>,
}

impl Probes {
    fn new(table: &TableMeta<'_>, index: &IndexMeta, literals: &[&Value]) -> Self {
        let column_type = table.schema.columns().get(index.column).map(|column| column.column_type);
        let (mut values, mut counted) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for literal in literals {
            let value = column_type.and_then(|column_type| equal_value(column_type, literal));
            counted.push(value.as_ref().is_some_and(|value| seen.insert(value.search_key())));
            values.push(value.unwrap_or_else(|| decoy(column_type)));
        }
        Self { column: index.column, values, counted }
    }

    /// Lookups of the first `pages` pages of each value. Refused by numbers that the cluster would
    /// see anyway, so that a refusal tells nothing about values.
    fn source(&self, pages: u64) -> Result<Source, Refusal> {
        let literals = self.values.len() as u64;
        let lookups = literals.saturating_mul(pages);
        let refusal = Refusal::TooManyLookups { lookups, literals, pages };
        let pages = u32::try_from(pages).ok().filter(|_| lookups <= MAX_LOOKUPS).ok_or(refusal)?;
        Ok(Source::Lookups { column: self.column, values: self.values.clone(), pages })
    }
}

/// Some value of the type: what it finds is ignored.
fn decoy(column_type: Option<ColumnType>) -> Value {
    match column_type {
        Some(ColumnType::Int) => Value::Int(0),
        Some(ColumnType::Real) => Value::Real(0.0),
        Some(ColumnType::Text) => Value::Text(String::new()),
        Some(ColumnType::Json) => Value::Json("null".to_owned()),
        Some(ColumnType::Bool) => Value::Bool(false),
        Some(ColumnType::Timestamp) => Value::Timestamp(0),
        None => Value::Null,
    }
}
