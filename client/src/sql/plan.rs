//! Decides what to fetch for each table of a statement. The decision depends only on the
//! statement's text, the searchable columns and the row counts. The number and size of the requests
//! therefore reveal nothing about the data or the literals, whatever else a server states about the
//! table.
//!
//! | statement | source |
//! |---|---|
//! | `COUNT(*)` without WHERE, or with `column IS [NOT] NULL` on a searchable column | public metadata |
//! | no WHERE | public scan; LIMIT lets it stop early unless ORDER BY or DISTINCT need every row |
//! | `=`, `IN`, `IS NULL`, and ORs of them on one searchable column, possibly under AND | one lookup per literal or `IS NULL` |
//! | `COUNT(*)` with only `<>` or `NOT IN` on a searchable column | the same lookups: the rows that are not NULL minus those found |
//! | rows with only `<>` or `NOT IN` on a searchable column | public scan, always whole |
//! | anything else | refused, or a whole public scan if the caller allows one |
//!
//! A statement that reads several tables, or one several times, needs a private plan for each of
//! them, so each of them needs `=` or `IN` in the WHERE of its own SELECT. A condition in ON does
//! not count: an outer join shows rows that do not satisfy it.
//!
//! A literal that no value of the column can equal (NULL, or 2.5 for an INT) is still looked up, as
//! a decoy whose result is ignored. A missing lookup would reveal that such a literal was there.
//! The same holds for a literal that cannot be compared with the column's type (`'warm'` for an
//! INT): a server states the type, and from a missing lookup it would learn whether the literal is
//! a number. [`Plan::finish`] reports that the statement is wrong, after the answers have arrived.
//!
//! `decide` makes the decision. This file converts the decision to values, whose number and size do
//! not depend on their type.
//!
//! A statement takes at most [`LOOKUPS_PER_STATEMENT`] lookups. A statement that needs more has no
//! private plan.

mod decide;
mod finish;
mod times;

use std::collections::HashSet;
use std::fmt;

use opaque_pir::geometry::Geometry;
use opaque_pir::table::{Column, ColumnType, Schema, Value};

use self::decide::{Decision, Sought, Wanted, decide};
use super::error::Refusal;
use super::statement::{Literal, Reference, Statement};
use super::typed::{equal_value, typed};
use super::{LOOKUPS_PER_STATEMENT, Options, SqlError, TableMeta};

/// What a plan needs to fetch for one table. `Debug` shows no value.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// Nothing: public metadata answers `COUNT(*)`, and this is the count.
    Count(u64),
    /// Private lookups.
    Lookups {
        /// Position of the searched column.
        column: usize,
        /// One value per literal, of the column's type, repeated where a literal is repeated; NULL
        /// for IS NULL.
        values: Vec<Value>,
        /// Pages to fetch of each value, from page 0; at least one.
        pages: u32,
    },
    /// Every row of the table, in row order. This is not private. Two scans differ only in the
    /// statement's form.
    PublicScan {
        /// If only LIMIT determines the answer, rows with this number or a higher one are not
        /// needed. This is set only for a statement without WHERE, so it cannot depend on a
        /// literal.
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

/// What to fetch for a statement, and how to compute the answer. `Debug` shows only the sources.
#[derive(Clone)]
pub struct Plan {
    statement: Statement,
    tables: Vec<TablePlan>,
}

/// The plan for one reference.
#[derive(Clone)]
struct TablePlan {
    source: Source,
    method: Method,
    schema: Schema,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources()).finish()
    }
}

/// How to compute the answer from the fetched data.
#[derive(Clone)]
enum Method {
    /// The count is known.
    Known(u64),
    /// The rows of the public scan.
    Scan,
    /// The rows of the lookups that are not decoys.
    Rows { counted: Vec<bool>, geometry: Geometry },
    /// The count is the sum of the totals of the lookups that are not decoys.
    Matches { counted: Vec<bool> },
    /// The count is `rows` minus the totals of the lookups that are not decoys.
    Rest { rows: u64, counted: Vec<bool> },
}

impl Plan {
    /// What the plan needs to fetch, for each of [`Statement::tables`].
    pub fn sources(&self) -> impl ExactSizeIterator<Item = &Source> {
        self.tables.iter().map(|table| &table.source)
    }

    /// Whether rows come from a public scan. The cluster then sees that the table is read, but no
    /// literal.
    pub fn is_public(&self) -> bool {
        self.sources().any(|source| matches!(source, Source::PublicScan { .. }))
    }
}

/// Plans a statement. `tables` are those of [`Statement::tables`], in the same order.
///
/// # Errors
/// [`SqlError::OtherTable`]. [`SqlError::NotPrivate`] if a table has no private plan, or if all of
/// them take more than [`LOOKUPS_PER_STATEMENT`] lookups, and `options` allow no public scan. A
/// statement that does not fit the table's columns is no error here: [`Plan::finish`] reports it.
pub fn plan(
    statement: &Statement,
    tables: &[TableMeta<'_>],
    options: &Options,
) -> Result<Plan, SqlError> {
    if tables.len() != statement.references.len() {
        return Err(SqlError::Fetched);
    }
    let mut planned = Vec::with_capacity(tables.len());
    for (reference, table) in statement.references.iter().zip(tables) {
        planned.push(plan_table(statement, reference, table, options)?);
    }
    let lookups = planned.iter().map(|table| match &table.source {
        Source::Lookups { values, pages, .. } => values.len() as u64 * u64::from(*pages),
        Source::Count(_) | Source::PublicScan { .. } => 0,
    });
    let lookups: u64 = lookups.sum();
    if lookups > LOOKUPS_PER_STATEMENT {
        return Err(Refusal::TooManyTables { lookups }.into());
    }
    Ok(Plan { statement: statement.clone(), tables: planned })
}

fn plan_table(
    statement: &Statement,
    reference: &Reference,
    table: &TableMeta<'_>,
    options: &Options,
) -> Result<TablePlan, SqlError> {
    let (input, schema) = (table.plan_input(), table.schema);
    let decision = decide(statement, reference, &input, options);
    let (source, method) = match decision.map_err(|error| explained(error, schema))? {
        Decision::Count(count) => (Source::Count(count), Method::Known(count)),
        Decision::Scan { rows_below } => (Source::PublicScan { rows_below }, Method::Scan),
        Decision::Lookups { column: searched, sought, pages, wanted } => {
            // A searchable column is one of the schema's.
            let (position, column) = schema.column(searched.name).ok_or(SqlError::Fetched)?;
            let sought: Vec<Option<&Literal>> = sought
                .iter()
                .map(|sought| match sought {
                    Sought::Place(at) => statement.places.get(*at).map(|place| &place.literal),
                    Sought::Null => None,
                })
                .collect();
            let Probes { values, counted } = Probes::new(column, &sought);
            let method = match wanted {
                Wanted::Rows => Method::Rows { counted, geometry: searched.geometry },
                Wanted::Matches => Method::Matches { counted },
                Wanted::Rest => {
                    // If the list contains NULL, `<>` and NOT IN are never true.
                    let unknown = sought.contains(&Some(&Literal::Null));
                    let rows = if unknown { 0 } else { searched.non_null_rows };
                    Method::Rest { rows, counted }
                }
            };
            (Source::Lookups { column: position, values, pages }, method)
        }
    };
    Ok(TablePlan { source, method, schema: schema.clone() })
}

/// The error with the table's spelling of its columns. The kind of error stays the same, because a
/// caller may react to it with another statement or a public scan.
fn explained(mut error: SqlError, schema: &Schema) -> SqlError {
    if let SqlError::NotPrivate(Refusal::NotSearchable { columns, .. }) = &mut error {
        for name in columns {
            *name = match schema.column(name) {
                Some((_, column)) => column.name.clone(),
                None => format!("{name} (no such column)"),
            };
        }
    }
    error
}

/// The values to look up, one per literal or IS NULL.
struct Probes {
    values: Vec<Value>,
    /// Whether each result counts: it does not if the lookup is a decoy or repeats an earlier
    /// value.
    counted: Vec<bool>,
}

impl Probes {
    /// `sought` is `None` for NULL itself.
    fn new(column: &Column, sought: &[Option<&Literal>]) -> Self {
        let column_type = column.column_type;
        let (mut values, mut counted) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for literal in sought {
            let value = match literal {
                None => Some(Value::Null),
                Some(literal) => {
                    let typed = typed(column, literal).ok();
                    typed.and_then(|typed| equal_value(column_type, &typed))
                }
            };
            counted.push(value.as_ref().is_some_and(|value| seen.insert(value.search_key())));
            values.push(value.unwrap_or_else(|| decoy(column_type)));
        }
        Self { values, counted }
    }
}

/// An arbitrary value of the type. The result of its lookup is ignored.
fn decoy(column_type: ColumnType) -> Value {
    match column_type {
        ColumnType::Int => Value::Int(0),
        ColumnType::Real => Value::Real(0.0),
        ColumnType::Text => Value::Text(String::new()),
        ColumnType::Json => Value::Json("null".to_owned()),
        ColumnType::Bool => Value::Bool(false),
        ColumnType::Timestamp => Value::Timestamp(0),
    }
}
