//! Finds a searchable column and literals that can answer a condition, or the reason why none can.

use opaque_pir::table::Role;

use crate::sql::error::Refusal;
use crate::sql::meta::{PlanInput, SearchableColumn};
use crate::sql::normal::{Constant, Filter};
use crate::sql::statement::Comparison;

/// How lookups on one column answer a condition.
pub(super) enum Search<'a> {
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
    pub(super) fn of(filter: &'a Filter, table: &'a PlanInput<'a>) -> Result<Self, Refusal> {
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
