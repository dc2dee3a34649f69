//! The meaning of a statement's text, independent of any table. Parameters have their values, NOT
//! is pushed down to the comparisons, and each comparison relates one name to literals.
//!
//! [`plan`](super::plan()) decides from this form which requests are sent. Errors that are visible
//! from the text are reported while the form is built, before anything is sent.

mod condition;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use super::statement::{Bound, Comparison, List, Literal, OrderItem, OrderKey, Select};
use super::{Parameters, SqlError};

/// A statement with its parameters. `Debug` shows only its table: literals are private.
#[derive(Clone, PartialEq)]
pub struct Statement {
    pub(super) table: String,
    pub(super) distinct: bool,
    pub(super) list: List,
    pub(super) filter: Option<Filter>,
    pub(super) order: Vec<OrderItem>,
    pub(super) limit: Option<u64>,
    pub(super) offset: u64,
}

impl Statement {
    /// The table that the statement reads, as written.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Whether the answer is a count.
    pub(super) fn counts(&self) -> bool {
        matches!(self.list, List::Count { .. })
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").field("table", &self.table).finish_non_exhaustive()
    }
}

/// A condition in negation normal form: NOT has been pushed into the leaves, which three-valued
/// logic permits. Columns are names as written, and literals have no type yet.
#[derive(Clone, PartialEq)]
pub(super) enum Filter {
    Compare {
        column: String,
        comparison: Comparison,
        constant: Constant,
        /// The operator as written, if it applies only to BOOL columns.
        bool_operator: Option<&'static str>,
    },
    In {
        column: String,
        constants: Vec<Constant>,
        negated: bool,
    },
    Like {
        column: String,
        pattern: Constant,
        escape: Option<char>,
        negated: bool,
    },
    IsNull {
        column: String,
        negated: bool,
    },
    And(Vec<Filter>),
    Or(Vec<Filter>),
}

/// A literal as written. For a parameter, the text of its value is included.
#[derive(Clone, PartialEq)]
pub(super) struct Constant {
    pub(super) literal: Literal,
    pub(super) given: Option<String>,
}

/// Converts a statement to normal form.
pub(super) fn normalize(select: Select, parameters: &Parameters) -> Result<Statement, SqlError> {
    let Select { table, distinct, list, filter, order, limit, offset } = select;
    let given = Given { parameters, used: RefCell::default() };
    let filter = filter.map(|condition| given.condition(&condition, false)).transpose()?;
    check_positions(&order, &list)?;
    let limit = given.bound("LIMIT", limit.as_ref())?;
    let offset = given.bound("OFFSET", offset.as_ref())?;
    let used = given.used.into_inner();
    if let Some(name) = parameters.names().find(|name| !used.contains(*name)) {
        return Err(SqlError::UnusedParameter { name: name.to_owned() });
    }
    // SQLite treats a negative LIMIT as no limit and a negative OFFSET as 0.
    let limit = limit.and_then(|n| n.try_into().ok());
    let offset = offset.and_then(|n| n.try_into().ok()).unwrap_or(0);
    Ok(Statement { table, distinct, list, filter, order, limit, offset })
}

/// Checks the positions in ORDER BY, if the text shows how many columns the answer has.
fn check_positions(order: &[OrderItem], list: &List) -> Result<(), SqlError> {
    for OrderItem { key, .. } in order {
        match (key, list.columns()) {
            (OrderKey::Position(written), Some(columns)) => {
                position(written, columns)?;
            }
            (OrderKey::Position(written), None) if index(written).is_none() => {
                return Err(SqlError::Unsupported {
                    what: format!("ORDER BY {written}"),
                    instead: "count positions from 1",
                });
            }
            (OrderKey::Position(_) | OrderKey::Name(_), _) => {}
        }
    }
    Ok(())
}

/// Parses a position of ORDER BY; the result is counted from 0.
pub(super) fn position(written: &str, columns: usize) -> Result<usize, SqlError> {
    index(written)
        .filter(|index| *index < columns)
        .ok_or_else(|| SqlError::Position { position: written.to_owned(), columns })
}

fn index(written: &str) -> Option<usize> {
    written.parse::<usize>().ok().and_then(|number| number.checked_sub(1))
}

/// The values of a statement's parameters, and the names that the statement has used.
struct Given<'a> {
    parameters: &'a Parameters,
    used: RefCell<BTreeSet<String>>,
}

impl Given<'_> {
    fn bound(&self, clause: &'static str, bound: Option<&Bound>) -> Result<Option<i64>, SqlError> {
        match bound {
            None => Ok(None),
            Some(Bound::Number(number)) => Ok(Some(*number)),
            Some(Bound::Parameter(name)) => match self.parameter(name)?.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(SqlError::Bound { clause, text: format!(":{name}") }),
            },
        }
    }

    fn parameter(&self, name: &str) -> Result<&str, SqlError> {
        self.used.borrow_mut().insert(name.to_owned());
        self.parameters
            .value(name)
            .ok_or_else(|| SqlError::MissingParameter { name: name.to_owned() })
    }

    fn constant(&self, literal: Literal) -> Result<Constant, SqlError> {
        let given = match &literal {
            Literal::Parameter(name) => Some(self.parameter(name)?.to_owned()),
            Literal::Null
            | Literal::Bool(_)
            | Literal::Int(_)
            | Literal::Real(_)
            | Literal::Text(_) => None,
        };
        Ok(Constant { literal, given })
    }
}
