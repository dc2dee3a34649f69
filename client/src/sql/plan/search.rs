//! Which searchable column and which literals can answer a condition, or why none can.

use opaque_pir::table::{Role, Value};

use crate::sql::error::Refusal;
use crate::sql::meta::{IndexMeta, TableMeta};
use crate::sql::predicate::Predicate;
use crate::sql::statement::Comparison;

/// How lookups on one column answer a condition.
pub(super) enum Search<'a> {
    /// Every row that the condition accepts has one of these values.
    Matches {
        index: &'a IndexMeta,
        literals: Vec<&'a Value>,
        /// And every row with one of the values is accepted.
        complete: bool,
    },
    /// The condition accepts the rows with none of these values and not NULL.
    Rest { index: &'a IndexMeta, literals: Vec<&'a Value> },
}

impl<'a> Search<'a> {
    pub(super) fn of(filter: &'a Predicate, table: &TableMeta<'a>) -> Result<Self, Refusal> {
        let mut columns = Vec::new();
        mentioned(filter, &mut columns);
        // A KEY's values are unique, so its lookups bring the fewest rows. The sort is stable:
        // otherwise the column written first wins.
        let role = |column: usize| table.schema.columns().get(column).map(|column| column.role);
        columns.sort_by_key(|column| role(*column) != Some(Role::Key));
        for index in columns.iter().filter_map(|column| index(table, *column)) {
            if let Some((literals, complete)) = matches(filter, index.column) {
                return Ok(Self::Matches { index, literals, complete });
            }
            if let Some(literals) = excluded(filter, index.column) {
                return Ok(Self::Rest { index, literals });
            }
        }
        Err(refusal(filter, table, &columns))
    }
}

fn index<'a>(table: &TableMeta<'a>, column: usize) -> Option<&'a IndexMeta> {
    table.indexes.iter().find(|index| index.column == column)
}

/// Literals of the column such that a row accepted by the condition has one of them, and whether
/// every row that has one is accepted.
fn matches(filter: &Predicate, column: usize) -> Option<(Vec<&Value>, bool)> {
    match filter {
        Predicate::Compare { column: compared, comparison: Comparison::Equal, value } => {
            (*compared == column).then(|| (vec![value], true))
        }
        Predicate::In { column: compared, values, negated: false } => {
            (*compared == column).then(|| (values.iter().collect(), true))
        }
        // Each row comes from some side, so every side must bring its rows.
        Predicate::Or(parts) => {
            let (mut literals, mut complete) = (Vec::new(), true);
            for part in parts {
                let (more, all) = matches(part, column)?;
                literals.extend(more);
                complete &= all;
            }
            Some((literals, complete))
        }
        // Each row is accepted by every part, so one part is enough; the first.
        Predicate::And(parts) => {
            let (literals, complete) = parts.iter().find_map(|part| matches(part, column))?;
            Some((literals, complete && parts.len() == 1))
        }
        Predicate::Compare { .. }
        | Predicate::In { .. }
        | Predicate::Like { .. }
        | Predicate::IsNull { .. } => None,
    }
}

/// Literals of the column such that the condition accepts exactly the rows with another value.
fn excluded(filter: &Predicate, column: usize) -> Option<Vec<&Value>> {
    match filter {
        Predicate::Compare { column: compared, comparison: Comparison::NotEqual, value } => {
            (*compared == column).then(|| vec![value])
        }
        Predicate::In { column: compared, values, negated: true } => {
            (*compared == column).then(|| values.iter().collect())
        }
        Predicate::And(parts) => {
            let mut literals = Vec::new();
            for part in parts {
                literals.extend(excluded(part, column)?);
            }
            Some(literals)
        }
        Predicate::Compare { .. }
        | Predicate::In { .. }
        | Predicate::Like { .. }
        | Predicate::IsNull { .. }
        | Predicate::Or(_) => None,
    }
}

/// Columns in the order in which the condition first mentions them.
fn mentioned(filter: &Predicate, columns: &mut Vec<usize>) {
    match filter {
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::Like { column, .. }
        | Predicate::IsNull { column, .. } => {
            if !columns.contains(column) {
                columns.push(*column);
            }
        }
        Predicate::And(parts) | Predicate::Or(parts) => {
            parts.iter().for_each(|part| mentioned(part, columns));
        }
    }
}

fn refusal(filter: &Predicate, table: &TableMeta<'_>, columns: &[usize]) -> Refusal {
    let name = |column: &usize| table.schema.columns().get(*column).map(|c| c.name.clone());
    let searchable: Vec<_> =
        columns.iter().filter(|column| index(table, **column).is_some()).collect();
    let Some(first) = searchable.first() else {
        return Refusal::NotSearchable {
            columns: columns.iter().filter_map(name).collect(),
            searchable: table.indexes.iter().filter_map(|index| name(&index.column)).collect(),
        };
    };
    let finds =
        |part: &Predicate| searchable.iter().any(|column| matches(part, **column).is_some());
    let column = name(first).unwrap_or_default();
    match filter {
        Predicate::Or(parts) if parts.iter().any(finds) => {
            if parts.iter().all(finds) {
                Refusal::OrOfColumns { columns: searchable.into_iter().filter_map(name).collect() }
            } else {
                Refusal::OrWithOther { column }
            }
        }
        _ => Refusal::NoEquality { column },
    }
}
