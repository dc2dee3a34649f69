//! Names to columns, literals to values: what a [`Statement`] means for one table.

mod literal;

use std::cell::RefCell;
use std::collections::BTreeSet;

use opaque_pir::table::{Column, ColumnType, Schema, Value};

use self::literal::typed;
use super::like::Pattern;
use super::predicate::Predicate;
use super::statement::{
    Bound, Comparison, Condition, Item, Literal, Name, Operand, OrderItem, OrderKey, Statement,
};
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

    /// Binds a condition, or what is true when it is false.
    fn condition(&self, condition: &Condition, negate: bool) -> Result<Predicate, SqlError> {
        match condition {
            Condition::Not(inner) => self.condition(inner, !negate),
            Condition::And(parts) => self.parts(parts, negate, !negate),
            Condition::Or(parts) => self.parts(parts, negate, negate),
            Condition::Compare { left, comparison, right } => {
                self.comparison(left, *comparison, right, negate)
            }
            Condition::Between { operand, low, high } => {
                let low = self.comparison(operand, Comparison::GreaterOrEqual, low, negate)?;
                let high = self.comparison(operand, Comparison::LessOrEqual, high, negate)?;
                Ok(joined(vec![low, high], !negate))
            }
            Condition::In { operand, list } => {
                let (position, column) = self.operand_column(operand)?;
                let literals = list.iter().map(|item| {
                    let literal = self.operand_literal(item).ok_or_else(|| no_column(item))?;
                    self.value(column, &literal)
                });
                Ok(Predicate::In {
                    column: position,
                    values: literals.collect::<Result<_, _>>()?,
                    negated: negate,
                })
            }
            Condition::Like { operand, pattern, escape } => {
                self.like(operand, pattern, *escape, negate)
            }
            Condition::IsNull { operand } => {
                let (column, _) = self.operand_column(operand)?;
                Ok(Predicate::IsNull { column, negated: negate })
            }
            Condition::IsTruth { operand, truth } => {
                // Never unknown: `b IS TRUE` is `b = TRUE AND b IS NOT NULL`.
                let column = self.bool_column(operand, "IS TRUE")?;
                let equal = truth_of(column, *truth, negate);
                Ok(joined(vec![equal, Predicate::IsNull { column, negated: !negate }], !negate))
            }
            Condition::Truth(operand) => Ok(truth_of(
                self.bool_column(operand, "a condition without comparison")?,
                true,
                negate,
            )),
        }
    }

    fn parts(&self, parts: &[Condition], negate: bool, all: bool) -> Result<Predicate, SqlError> {
        let parts = parts.iter().map(|part| self.condition(part, negate));
        Ok(joined(parts.collect::<Result<_, _>>()?, all))
    }

    fn comparison(
        &self,
        left: &Operand,
        comparison: Comparison,
        right: &Operand,
        negate: bool,
    ) -> Result<Predicate, SqlError> {
        let comparison = if negate { comparison.negated() } else { comparison };
        let text = || SqlError::NoColumn { text: format!("{left} {comparison} {right}") };
        let (operand, comparison, literal) =
            match (self.operand_literal(left), self.operand_literal(right)) {
                (None, Some(literal)) => (left, comparison, literal),
                (Some(literal), None) => (right, comparison.mirrored(), literal),
                _ => return Err(text()),
            };
        let (position, column) = self.operand_column(operand)?;
        let value = self.value(column, &literal)?;
        Ok(Predicate::Compare { column: position, comparison, value })
    }

    fn like(
        &self,
        operand: &Operand,
        pattern: &Operand,
        escape: Option<char>,
        negated: bool,
    ) -> Result<Predicate, SqlError> {
        let (position, column) = self.operand_column(operand)?;
        if !matches!(column.column_type, ColumnType::Text | ColumnType::Json) {
            return Err(SqlError::Operator {
                column: column.name.clone(),
                column_type: column.column_type,
                operator: "LIKE",
                instead: "compare it by =, <, > or BETWEEN",
            });
        }
        let literal = self.operand_literal(pattern).ok_or_else(|| no_column(pattern))?;
        let pattern = match self.value(column, &literal)? {
            Value::Text(text) | Value::Json(text) => Some(Pattern::new(&text, escape)),
            Value::Null | Value::Int(_) | Value::Real(_) | Value::Bool(_) | Value::Timestamp(_) => {
                None
            }
        };
        Ok(Predicate::Like { column: position, pattern, negated })
    }

    /// An operand as a literal. A name in double quotes that is no column is text, as in SQLite.
    fn operand_literal(&self, operand: &Operand) -> Option<Literal> {
        match operand {
            Operand::Literal(literal) => Some(literal.clone()),
            Operand::Column(name) => (name.double_quoted
                && self.schema.column(&name.text).is_none())
            .then(|| Literal::Text(name.text.clone())),
        }
    }

    fn operand_column(&self, operand: &Operand) -> Result<(usize, &Column), SqlError> {
        match operand {
            Operand::Column(name) => self.column(name),
            Operand::Literal(_) => Err(no_column(operand)),
        }
    }

    fn bool_column(&self, operand: &Operand, operator: &'static str) -> Result<usize, SqlError> {
        let (position, column) = self.operand_column(operand)?;
        if column.column_type == ColumnType::Bool {
            return Ok(position);
        }
        Err(SqlError::Operator {
            column: column.name.clone(),
            column_type: column.column_type,
            operator,
            instead: "compare it with a literal",
        })
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

fn truth_of(column: usize, truth: bool, negate: bool) -> Predicate {
    let comparison = if negate { Comparison::NotEqual } else { Comparison::Equal };
    Predicate::Compare { column, comparison, value: Value::Bool(truth) }
}

/// Parts under AND (`all`) or OR, flat: parts of the same kind are taken apart.
fn joined(parts: Vec<Predicate>, all: bool) -> Predicate {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Predicate::And(inner) if all => flat.extend(inner),
            Predicate::Or(inner) if !all => flat.extend(inner),
            part => flat.push(part),
        }
    }
    if all { Predicate::And(flat) } else { Predicate::Or(flat) }
}

fn no_column(operand: &Operand) -> SqlError {
    SqlError::NoColumn { text: operand.to_string() }
}
