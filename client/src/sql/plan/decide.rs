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
use crate::sql::statement::{Filter, Reference, Shape, Statement};
use crate::sql::{LOOKUPS_PER_STATEMENT, Options, SqlError};

/// The requests to send.
pub(super) enum Decision<'a> {
    /// No requests: this is the count.
    Count(u64),
    /// `pages` lookups of each value.
    Lookups { column: &'a SearchableColumn<'a>, sought: Vec<Sought>, pages: u32, wanted: Wanted },
    /// A public scan, limited to rows below this number if there is one.
    Scan { rows_below: Option<u64> },
}

/// A value that is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    /// That of the literal at this place.
    Place(usize),
    /// NULL, which IS NULL finds and no literal equals.
    Null,
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
    statement: &Statement,
    reference: &Reference,
    table: &'a PlanInput<'a>,
    options: &Options,
) -> Result<Decision<'a>, SqlError> {
    if !reference.table.eq_ignore_ascii_case(table.name) {
        return Err(SqlError::OtherTable {
            statement: reference.table.clone(),
            described: table.name.to_owned(),
        });
    }
    let decided = match (&reference.filter, &statement.shape) {
        (None, Shape::Nested) => Err(Refusal::NoCondition {
            table: table.name.to_owned(),
            searchable: table.searchable.iter().map(|column| column.name.to_owned()).collect(),
        }),
        (None, shape) => Ok(unfiltered(statement, shape, table)),
        (Some(filter), shape) => {
            filtered(statement, shape, (filter, reference.is_alone()), table, options)
        }
    };
    match decided {
        Ok(decision) => Ok(decision),
        Err(_) if options.allow_public_scan => Ok(Decision::Scan { rows_below: None }),
        Err(refusal) => Err(match (refusal, &reference.quoted, &reference.qualifier) {
            (_, Some(text), _) => Refusal::DoubleQuoted { text: text.clone() }.into(),
            (Refusal::NotSearchable { columns, searchable }, _, Some(table))
                if columns.is_empty() =>
            {
                Refusal::Unqualified { table: table.clone(), searchable }.into()
            }
            (refusal, ..) => refusal.into(),
        }),
    }
}

fn unfiltered<'a>(statement: &Statement, shape: &Shape, table: &PlanInput<'_>) -> Decision<'a> {
    if *shape == Shape::Count {
        return Decision::Count(table.rows);
    }
    let rows_needed = statement.limit.map(|limit| limit.saturating_add(statement.offset));
    let first_suffice = *shape == Shape::Stream { distinct: false };
    Decision::Scan { rows_below: rows_needed.filter(|_| first_suffice) }
}

fn filtered<'a>(
    statement: &Statement,
    shape: &Shape,
    (filter, is_alone): (&Filter, bool),
    table: &'a PlanInput<'a>,
    options: &Options,
) -> Result<Decision<'a>, Refusal> {
    let counts = *shape == Shape::Count;
    if let (Filter::IsNull { column, negated }, true) = (filter, counts)
        && let Some(column) = table.searchable(column)
    {
        return Ok(Decision::Count(match negated {
            true => column.non_null_rows,
            false => table.rows.saturating_sub(column.non_null_rows),
        }));
    }
    match Search::of(filter, is_alone, table)? {
        // The first page of a value states how many rows have it.
        Search::Matches { column, sought, complete: true } if counts => {
            lookups(column, sought, 1, Wanted::Matches)
        }
        Search::Matches { column, sought, complete } => {
            let first_suffice = complete && *shape == Shape::Stream { distinct: false };
            let pages = match statement.limit.filter(|_| first_suffice) {
                Some(limit) => column.geometry.pages_for(statement.offset, limit),
                None => u64::from(options.pages.max(1)),
            };
            let mut most = column.most_pages();
            if sought.contains(&Sought::Null) {
                most = most.max(column.null_pages(table.rows));
            }
            lookups(column, sought, pages.min(most), Wanted::Rows)
        }
        Search::Rest { column, places } if counts => {
            let sought = places.into_iter().map(Sought::Place).collect();
            lookups(column, sought, 1, Wanted::Rest)
        }
        // Almost every row is needed, so nothing is gained by hiding which are not.
        Search::Rest { .. } if *shape != Shape::Nested => Ok(Decision::Scan { rows_below: None }),
        Search::Rest { column, .. } => Err(Refusal::NoEquality { column: column.name.to_owned() }),
    }
}

/// A refusal depends only on numbers that the cluster would see anyway, so it reveals nothing about
/// values.
fn lookups<'a>(
    column: &'a SearchableColumn<'a>,
    sought: Vec<Sought>,
    pages: u64,
    wanted: Wanted,
) -> Result<Decision<'a>, Refusal> {
    let number = sought.len() as u64;
    let lookups = number.saturating_mul(pages);
    let refusal = Refusal::TooManyLookups { lookups, literals: number, pages };
    let pages =
        u32::try_from(pages).ok().filter(|_| lookups <= LOOKUPS_PER_STATEMENT).ok_or(refusal)?;
    Ok(Decision::Lookups { column, sought, pages, wanted })
}

/// How lookups on one column answer a condition.
enum Search<'a> {
    /// Every row that the condition accepts has one of these values.
    Matches {
        column: &'a SearchableColumn<'a>,
        sought: Vec<Sought>,
        /// True if also every row with one of the values is accepted.
        complete: bool,
    },
    /// The condition accepts exactly the rows that are not NULL and have none of these values.
    Rest { column: &'a SearchableColumn<'a>, places: Vec<usize> },
}

impl<'a> Search<'a> {
    /// `is_alone` is whether the table is the only one of its FROM. Otherwise, IS NULL is no
    /// search: an outer join adds rows of NULL where it finds no others, so it needs the others.
    fn of(filter: &Filter, is_alone: bool, table: &'a PlanInput<'a>) -> Result<Self, Refusal> {
        let mut names = Vec::new();
        mentioned(filter, &mut names);
        // A name that is not a searchable column may not exist at all. Both cases are skipped in
        // the same way.
        let mut columns: Vec<_> = names.iter().filter_map(|name| table.searchable(name)).collect();
        // A KEY's values are unique, so its lookups return the fewest rows. The sort is stable:
        // otherwise the column written first wins.
        columns.sort_by_key(|column| column.role != Role::Key);
        // Many rows may be NULL in a column, so another column is better if it has literals.
        let mut null = None;
        for &column in &columns {
            match matches(filter, column.name) {
                Some((sought, complete)) if sought.contains(&Sought::Null) => {
                    null = null.or(Some(Self::Matches { column, sought, complete }));
                }
                Some((sought, complete)) => return Ok(Self::Matches { column, sought, complete }),
                None => {}
            }
            if let Some(places) = excluded(filter, column.name) {
                return Ok(Self::Rest { column, places });
            }
        }
        if let Some(null) = null.filter(|_| is_alone) {
            return Ok(null);
        }
        Err(refusal(filter, table, &names, &columns))
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Values of the column such that every row accepted by the condition has one of them, and whether
/// every row with one of them is accepted.
fn matches(filter: &Filter, column: &str) -> Option<(Vec<Sought>, bool)> {
    match filter {
        Filter::In { column: compared, places, negated: false } => {
            let sought = || places.iter().copied().map(Sought::Place).collect();
            same(compared, column).then(|| (sought(), true))
        }
        Filter::IsNull { column: compared, negated: false } => {
            same(compared, column).then(|| (vec![Sought::Null], true))
        }
        // A row may come from any side, so every side must contribute its values.
        Filter::Or(parts) => {
            let (mut sought, mut complete) = (Vec::new(), true);
            for part in parts {
                let (more, all) = matches(part, column)?;
                sought.extend(more);
                complete &= all;
            }
            Some((sought, complete))
        }
        // A row is accepted by every part, so one part suffices: the first that has
        // literals, or else values.
        Filter::And(parts) => {
            let found = || parts.iter().filter_map(|part| matches(part, column));
            let is_literal = |(sought, _): &(Vec<Sought>, bool)| !sought.contains(&Sought::Null);
            let (sought, complete) = found().find(is_literal).or_else(|| found().next())?;
            Some((sought, complete && parts.len() == 1))
        }
        Filter::In { .. } | Filter::IsNull { .. } | Filter::Other { .. } => None,
    }
}

/// Places of literals such that the condition accepts exactly the rows with other values.
fn excluded(filter: &Filter, column: &str) -> Option<Vec<usize>> {
    match filter {
        Filter::In { column: compared, places, negated: true } => {
            same(compared, column).then(|| places.clone())
        }
        Filter::And(parts) => {
            let mut places = Vec::new();
            for part in parts {
                places.extend(excluded(part, column)?);
            }
            Some(places)
        }
        Filter::In { .. } | Filter::IsNull { .. } | Filter::Other { .. } | Filter::Or(_) => None,
    }
}

/// Collects names in the order in which the condition first mentions them.
fn mentioned<'a>(filter: &'a Filter, names: &mut Vec<&'a str>) {
    let here: &[String] = match filter {
        Filter::In { column, .. } | Filter::IsNull { column, .. } => std::slice::from_ref(column),
        Filter::Other { columns } => columns,
        Filter::And(parts) | Filter::Or(parts) => {
            return parts.iter().for_each(|part| mentioned(part, names));
        }
    };
    for column in here {
        if !names.iter().any(|name| same(name, column)) {
            names.push(column);
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
