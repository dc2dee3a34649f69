//! Decides which requests are sent for a statement. No other code decides this.
//!
//! The arguments hold everything that may influence the decision: the untyped statement,
//! [`PlanInput`] and the caller's options. Other statements of a server about a table (types,
//! nullability, columns that cannot be searched) are not reachable from here. Otherwise a server
//! could choose them so that a request, or its absence, reveals something about a literal that is
//! not looked up.

use opaque_pir::table::Role;

use crate::sql::error::Refusal;
use crate::sql::meta::{PlanInput, SearchableColumn};
use crate::sql::normal::{Constant, Filter, Statement};
use crate::sql::statement::Comparison;
use crate::sql::{LOOKUPS_PER_STATEMENT, Options, SqlError};

/// The requests to send.
pub(super) enum Decision<'a> {
    /// No requests: this is the count.
    Count(u64),
    /// `pages` lookups of each literal.
    Lookups {
        column: &'a SearchableColumn<'a>,
        literals: Vec<&'a Constant>,
        pages: u32,
        wanted: Wanted,
    },
    /// A public scan, limited to rows below this number if there is one.
    Scan { rows_below: Option<u64> },
}

/// What the answer consists of.
pub(super) enum Wanted {
    /// The rows that were found.
    Rows,
    /// The number of rows that were found.
    Matches,
    /// The number of rows that are not NULL in the column, minus those that were found.
    Rest,
}

pub(super) fn decide<'a>(
    statement: &'a Statement,
    table: &'a PlanInput<'a>,
    options: &Options,
) -> Result<Decision<'a>, SqlError> {
    if !statement.table.eq_ignore_ascii_case(table.name) {
        return Err(SqlError::OtherTable {
            statement: statement.table.clone(),
            described: table.name.to_owned(),
        });
    }
    match &statement.filter {
        None => Ok(unfiltered(statement, table)),
        Some(filter) => filtered(statement, filter, table, options),
    }
}

fn unfiltered<'a>(statement: &Statement, table: &PlanInput<'_>) -> Decision<'a> {
    if statement.counts() {
        return Decision::Count(table.rows);
    }
    let rows_needed = statement.limit.map(|limit| limit.saturating_add(statement.offset));
    let in_row_order = statement.order.is_empty() && !statement.distinct;
    Decision::Scan { rows_below: rows_needed.filter(|_| in_row_order) }
}

fn filtered<'a>(
    statement: &'a Statement,
    filter: &'a Filter,
    table: &'a PlanInput<'a>,
    options: &Options,
) -> Result<Decision<'a>, SqlError> {
    let counts = statement.counts();
    if let (Filter::IsNull { column, negated }, true) = (filter, counts)
        && let Some(column) = table.searchable(column)
    {
        return Ok(Decision::Count(match negated {
            true => column.non_null_rows,
            false => table.rows.saturating_sub(column.non_null_rows),
        }));
    }
    let decided = Search::of(filter, table).and_then(|search| match search {
        // The first page of a value states how many rows have it.
        Search::Matches { column, literals, complete: true } if counts => {
            lookups(column, literals, 1, Wanted::Matches)
        }
        Search::Matches { column, literals, complete } => {
            let pages = pages(statement, column, complete, options);
            lookups(column, literals, pages, Wanted::Rows)
        }
        Search::Rest { column, literals } if counts => lookups(column, literals, 1, Wanted::Rest),
        Search::Rest { .. } => Ok(Decision::Scan { rows_below: None }),
    });
    match decided {
        Ok(decision) => Ok(decision),
        Err(_) if options.allow_public_scan => Ok(Decision::Scan { rows_below: None }),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Pages to fetch for each value. If the lookups are `complete`, the condition accepts every row
/// with one of the values.
fn pages(
    statement: &Statement,
    column: &SearchableColumn<'_>,
    complete: bool,
    options: &Options,
) -> u64 {
    let bare = complete && statement.order.is_empty() && !statement.distinct;
    let pages = match statement.limit {
        Some(limit) if bare => column.geometry.pages_for(statement.offset, limit),
        _ => u64::from(options.pages.max(1)),
    };
    pages.min(column.most_pages())
}

/// A refusal depends only on numbers that the cluster would see anyway, so it reveals nothing about
/// values.
fn lookups<'a>(
    column: &'a SearchableColumn<'a>,
    literals: Vec<&'a Constant>,
    pages: u64,
    wanted: Wanted,
) -> Result<Decision<'a>, Refusal> {
    let number = literals.len() as u64;
    let lookups = number.saturating_mul(pages);
    let refusal = Refusal::TooManyLookups { lookups, literals: number, pages };
    let pages =
        u32::try_from(pages).ok().filter(|_| lookups <= LOOKUPS_PER_STATEMENT).ok_or(refusal)?;
    Ok(Decision::Lookups { column, literals, pages, wanted })
}

/// How lookups on one column answer a condition.
enum Search<'a> {
    /// Every row that the condition accepts has one of these values.
    Matches {
        column: &'a SearchableColumn<'a>,
        literals: Vec<&'a Constant>,
        /// True if also every row with one of the values is accepted.
        complete: bool,
    },
    /// The condition accepts exactly the rows that are not NULL and have none of these values.
    Rest { column: &'a SearchableColumn<'a>, literals: Vec<&'a Constant> },
}

impl<'a> Search<'a> {
    fn of(filter: &'a Filter, table: &'a PlanInput<'a>) -> Result<Self, Refusal> {
        let mut names = Vec::new();
        mentioned(filter, &mut names);
        // A name that is not a searchable column may not exist at all. Both cases are skipped in
        // the same way.
        let mut columns: Vec<_> = names.iter().filter_map(|name| table.searchable(name)).collect();
        // A KEY's values are unique, so its lookups return the fewest rows. The sort is stable:
        // otherwise the column written first wins.
        columns.sort_by_key(|column| column.role != Role::Key);
        for &column in &columns {
            if let Some((literals, complete)) = matches(filter, column.name) {
                return Ok(Self::Matches { column, literals, complete });
            }
            if let Some(literals) = excluded(filter, column.name) {
                return Ok(Self::Rest { column, literals });
            }
        }
        Err(refusal(filter, table, &names, &columns))
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Literals of the column such that every row accepted by the condition has one of them, and
/// whether every row with one of them is accepted.
fn matches<'a>(filter: &'a Filter, column: &str) -> Option<(Vec<&'a Constant>, bool)> {
    match filter {
        Filter::Compare { column: compared, comparison: Comparison::Equal, constant, .. } => {
            same(compared, column).then(|| (vec![constant], true))
        }
        Filter::In { column: compared, constants, negated: false } => {
            same(compared, column).then(|| (constants.iter().collect(), true))
        }
        // A row may come from any side, so every side must contribute its literals.
        Filter::Or(parts) => {
            let (mut literals, mut complete) = (Vec::new(), true);
            for part in parts {
                let (more, all) = matches(part, column)?;
                literals.extend(more);
                complete &= all;
            }
            Some((literals, complete))
        }
        // A row is accepted by every part, so one part suffices: the first that has literals.
        Filter::And(parts) => {
            let (literals, complete) = parts.iter().find_map(|part| matches(part, column))?;
            Some((literals, complete && parts.len() == 1))
        }
        Filter::Compare { .. }
        | Filter::In { .. }
        | Filter::Like { .. }
        | Filter::IsNull { .. } => None,
    }
}

/// Literals of the column such that the condition accepts exactly the rows with other values.
fn excluded<'a>(filter: &'a Filter, column: &str) -> Option<Vec<&'a Constant>> {
    match filter {
        Filter::Compare {
            column: compared, comparison: Comparison::NotEqual, constant, ..
        } => same(compared, column).then(|| vec![constant]),
        Filter::In { column: compared, constants, negated: true } => {
            same(compared, column).then(|| constants.iter().collect())
        }
        Filter::And(parts) => {
            let mut literals = Vec::new();
            for part in parts {
                literals.extend(excluded(part, column)?);
            }
            Some(literals)
        }
        Filter::Compare { .. }
        | Filter::In { .. }
        | Filter::Like { .. }
        | Filter::IsNull { .. }
        | Filter::Or(_) => None,
    }
}

/// Collects names in the order in which the condition first mentions them.
fn mentioned<'a>(filter: &'a Filter, names: &mut Vec<&'a str>) {
    match filter {
        Filter::Compare { column, .. }
        | Filter::In { column, .. }
        | Filter::Like { column, .. }
        | Filter::IsNull { column, .. } => {
            if !names.iter().any(|name| same(name, column)) {
                names.push(column);
            }
        }
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().for_each(|part| mentioned(part, names));
        }
    }
}

fn refusal(
    filter: &Filter,
    table: &PlanInput<'_>,
    names: &[&str],
    columns: &[&SearchableColumn<'_>],
) -> Refusal {
    let owned = |column: &SearchableColumn<'_>| column.name.to_owned();
    let Some(first) = columns.first() else {
        return Refusal::NotSearchable {
            columns: names.iter().map(|name| (*name).to_owned()).collect(),
            searchable: table.searchable.iter().map(owned).collect(),
        };
    };
    let finds = |part: &Filter| columns.iter().any(|column| matches(part, column.name).is_some());
    match filter {
        Filter::Or(parts) if parts.iter().any(finds) => {
            if parts.iter().all(finds) {
                Refusal::OrOfColumns {
                    columns: columns.iter().map(|column| owned(column)).collect(),
                }
            } else {
                Refusal::OrWithOther { column: owned(first) }
            }
        }
        _ => Refusal::NoEquality { column: owned(first) },
    }
}
