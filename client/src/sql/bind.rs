//! Names to columns, literals to values: what a [`Statement`] means for one table.

mod condition;
mod literal;

use std::cell::RefCell;
use std::collections::BTreeSet;

use opaque_pir::table::{Column, ColumnType, Schema, Value};

use self::literal::typed;
use super::predicate::Predicate;
use super::statement::{Bound, Item, Literal, Name, OrderItem, OrderKey, Statement};
use super::{OutputColumn, Parameters, SqlError};

/// A statement bound to a table.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) output: Output,
    pub(super) distinct: bool,
    pub(super) filter: Option<Predicate>,
    /// Ignored for a count, which has one row.
    pub(super) order: Vec<Order>,
    pub(super) limit: Option<u64>,
    pub(super) offset: u64,
}

/// What the answer's columns are.
#[derive(Debug, Clone)]
pub(super) enum Output {
    Count(OutputColumn),
    /// Output columns, each with the position of the table's column that it shows.
    Columns(Vec<(usize, OutputColumn)>),
}

/// One key to sort by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) column: usize,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

/// Binds a statement.
pub(super) fn bind(
    statement: &Statement,
    parameters: &Parameters,
    schema: &Schema,
) -> Result<Query, SqlError> {
    if !statement.table.eq_ignore_ascii_case(schema.table()) {
        return Err(SqlError::OtherTable {
            statement: statement.table.clone(),
            described: schema.table().to_owned(),
        });
    }
    let binder = Binder { schema, parameters, used: RefCell::default() };
    let output = binder.output(&statement.items)?;
    let filter = statement.filter.as_ref();
    let query = Query {
        distinct: statement.distinct,
        filter: filter.map(|condition| binder.condition(condition, false)).transpose()?,
        order: binder.order(statement, &output)?,
        limit: binder.bound("LIMIT", statement.limit.as_ref())?.and_then(|n| n.try_into().ok()),
        // SQLite reads a negative LIMIT as none and a negative OFFSET as 0.
        offset: binder
            .bound("OFFSET", statement.offset.as_ref())?
            .and_then(|n| n.try_into().ok())
            .unwrap_or(0),
        output,
    };
    let used = binder.used.into_inner();
    match parameters.names().find(|name| !used.contains(*name)) {
        Some(name) => Err(SqlError::UnusedParameter { name: name.to_owned() }),
        None => Ok(query),
    }
}

struct Binder<'a> {
    schema: &'a Schema,
    parameters: &'a Parameters,
    used: RefCell<BTreeSet<String>>,
}

impl Binder<'_> {
    fn output(&self, items: &[Item]) -> Result<Output, SqlError> {
        if let [Item::Count { name }] = items {
            return Ok(Output::Count(OutputColumn {
                name: name.clone(),
                column_type: ColumnType::Int,
            }));
        }
        let shown = |(position, column): (usize, &Column), name: Option<&String>| {
            let name = name.unwrap_or(&column.name).clone();
            (position, OutputColumn { name, column_type: column.column_type })
        };
        let mut columns = Vec::new();
        for item in items {
            match item {
                Item::All => {
                    let all = self.schema.columns().iter().enumerate();
                    columns.extend(all.map(|column| shown(column, None)));
                }
                Item::Column { column, alias } => {
                    columns.push(shown(self.column(column)?, alias.as_ref()));
                }
                Item::Count { .. } => {
                    return Err(SqlError::Unsupported {
                        what: "COUNT(*) beside other columns".to_owned(),
                        instead: "ask for COUNT(*) alone",
                    });
                }
            }
        }
        Ok(Output::Columns(columns))
    }

    fn order(&self, statement: &Statement, output: &Output) -> Result<Vec<Order>, SqlError> {
        let mut order = Vec::new();
        for OrderItem { key, descending, nulls_first } in &statement.order {
            if let Some(column) = self.order_column(key, &statement.items, output)? {
                order.push(Order {
                    column,
                    descending: *descending,
                    nulls_first: nulls_first.unwrap_or(!descending),
                });
            }
        }
        Ok(order)
    }

    /// A position, else a name given with AS, else a column, as in SQLite. `None` for the count.
    fn order_column(
        &self,
        key: &OrderKey,
        items: &[Item],
        output: &Output,
    ) -> Result<Option<usize>, SqlError> {
        let columns = match output {
            Output::Count(_) => [].as_slice(),
            Output::Columns(columns) => columns,
        };
        match key {
            OrderKey::Position(written) => {
                let position = written.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                match (output, position) {
                    (Output::Count(_), Some(0)) => return Ok(None),
                    (Output::Columns(columns), Some(position)) => {
                        if let Some((column, _)) = columns.get(position) {
                            return Ok(Some(*column));
                        }
                    }
                    _ => {}
                }
                Err(SqlError::Position { position: written.clone(), columns: columns.len().max(1) })
            }
            OrderKey::Name(name) => {
                for item in items {
                    match item {
                        Item::Column { column, alias: Some(alias) }
                            if alias.eq_ignore_ascii_case(&name.text) =>
                        {
                            return Ok(Some(self.column(column)?.0));
                        }
                        Item::Count { name: count } if count.eq_ignore_ascii_case(&name.text) => {
                            return Ok(None);
                        }
                        Item::Column { .. } | Item::Count { .. } | Item::All => {}
                    }
                }
                Ok(Some(self.column(name)?.0))
            }
        }
    }

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

    fn column(&self, name: &Name) -> Result<(usize, &Column), SqlError> {
        self.schema.column(&name.text).ok_or_else(|| SqlError::UnknownColumn {
            name: name.text.clone(),
            table: self.schema.table().to_owned(),
            columns: self.schema.columns().iter().map(|column| column.name.clone()).collect(),
        })
    }

    fn parameter(&self, name: &str) -> Result<&str, SqlError> {
        self.used.borrow_mut().insert(name.to_owned());
        self.parameters
            .value(name)
            .ok_or_else(|| SqlError::MissingParameter { name: name.to_owned() })
    }

    fn value(&self, column: &Column, literal: &Literal) -> Result<Value, SqlError> {
        let given = match literal {
            Literal::Parameter(name) => Some(self.parameter(name)?),
            _ => None,
        };
        typed(column, literal, given)
    }
}
