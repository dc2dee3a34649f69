//! Resolves names to columns and literals to values: the meaning of a [`Statement`] for one table.
//!
//! Binding runs after the answers have arrived. A server states the columns' types and may lie
//! about them, so an error from this module must never prevent a request.

mod condition;
mod literal;

use opaque_pir::table::{Column, ColumnType, Schema};

pub(super) use self::literal::typed;
use super::normal::{Statement, position};
use super::predicate::Predicate;
use super::statement::{Item, List, Name, OrderItem, OrderKey};
use super::{OutputColumn, SqlError};

/// A statement bound to a table.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) output: Output,
    pub(super) distinct: bool,
    pub(super) filter: Option<Predicate>,
    /// Ignored for a count, which has exactly one row.
    pub(super) order: Vec<Order>,
    pub(super) limit: Option<u64>,
    pub(super) offset: u64,
}

/// The columns of the answer.
#[derive(Debug, Clone)]
pub(super) enum Output {
    Count(OutputColumn),
    /// Output columns, each with the position of the table column that it shows.
    Columns(Vec<(usize, OutputColumn)>),
}

/// One sort key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) column: usize,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

/// Binds a statement.
pub(super) fn bind(statement: &Statement, schema: &Schema) -> Result<Query, SqlError> {
    let output = output(&statement.list, schema)?;
    let filter = statement.filter.as_ref();
    Ok(Query {
        distinct: statement.distinct,
        filter: filter.map(|filter| condition::bind(filter, schema)).transpose()?,
        order: order(statement, &output, schema)?,
        limit: statement.limit,
        offset: statement.offset,
        output,
    })
}

/// The column with this name, and its position.
pub(super) fn column<'a>(schema: &'a Schema, name: &str) -> Result<(usize, &'a Column), SqlError> {
    schema.column(name).ok_or_else(|| SqlError::UnknownColumn {
        name: name.to_owned(),
        table: schema.table().to_owned(),
        columns: schema.columns().iter().map(|column| column.name.clone()).collect(),
    })
}

fn output(list: &List, schema: &Schema) -> Result<Output, SqlError> {
    let items = match list {
        List::Count { name } => {
            let (name, column_type) = (name.clone(), ColumnType::Int);
            return Ok(Output::Count(OutputColumn { name, column_type }));
        }
        List::Columns(items) => items,
    };
    let shown = |(position, column): (usize, &Column), name: Option<&String>| {
        let name = name.unwrap_or(&column.name).clone();
        (position, OutputColumn { name, column_type: column.column_type })
    };
    let mut columns = Vec::new();
    for item in items {
        match item {
            Item::All => {
                let all = schema.columns().iter().enumerate();
                columns.extend(all.map(|column| shown(column, None)));
            }
            Item::Column { column: name, alias } => {
                columns.push(shown(column(schema, &name.text)?, alias.as_ref()));
            }
        }
    }
    Ok(Output::Columns(columns))
}

fn order(statement: &Statement, output: &Output, schema: &Schema) -> Result<Vec<Order>, SqlError> {
    let mut order = Vec::new();
    for OrderItem { key, descending, nulls_first } in &statement.order {
        if let Some(column) = order_column(key, &statement.list, output, schema)? {
            order.push(Order {
                column,
                descending: *descending,
                nulls_first: nulls_first.unwrap_or(!descending),
            });
        }
    }
    Ok(order)
}

/// Resolves a sort key: a position first, then a name given with AS, then a column, as in SQLite.
/// Returns `None` for a count.
fn order_column(
    key: &OrderKey,
    list: &List,
    output: &Output,
    schema: &Schema,
) -> Result<Option<usize>, SqlError> {
    match key {
        OrderKey::Position(written) => match output {
            Output::Count(_) => position(written, 1).map(|_| None),
            Output::Columns(columns) => {
                let position = position(written, columns.len())?;
                Ok(columns.get(position).map(|(column, _)| *column))
            }
        },
        OrderKey::Name(name) => match list {
            List::Count { name: count } if count.eq_ignore_ascii_case(&name.text) => Ok(None),
            List::Count { .. } => Ok(Some(column(schema, &name.text)?.0)),
            List::Columns(items) => {
                let named = items.iter().find_map(|item| aliased(item, &name.text)).unwrap_or(name);
                Ok(Some(column(schema, &named.text)?.0))
            }
        },
    }
}

/// The column that an item shows under this name.
fn aliased<'a>(item: &'a Item, name: &str) -> Option<&'a Name> {
    match item {
        Item::Column { column, alias: Some(alias) } if alias.eq_ignore_ascii_case(name) => {
            Some(column)
        }
        Item::Column { .. } | Item::All => None,
    }
}
