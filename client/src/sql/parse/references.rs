//! Finds the tables that a statement reads, and what the statement says about each.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Cte, Distinct, Expr, GroupByExpr, Ident, LimitClause, ObjectName, Offset, OffsetRows, Query,
    Select, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, Value, Visit, Visitor,
    VisitorMut, visit_relations,
};

use super::condition::Condition;
use super::places::Places;
use super::{refuse, shortened, unsupported};
use crate::sql::statement::{Reference, Shape, Statement};
use crate::sql::{SqlError, table_name};

/// Replaces each table by the table of the rows that will be fetched for it.
///
/// Every name in FROM that is no common table expression is a reference, also the name of a table
/// that SQLite has itself. No statement therefore reads anything but fetched rows.
pub(super) struct References<'a> {
    places: Places<'a>,
    list: Vec<Reference>,
    /// Names of the common table expressions of each query around the current position.
    scopes: Vec<Vec<String>>,
    /// LIMIT and OFFSET of the outermost query.
    limits: Option<(Option<u64>, u64)>,
}

impl<'a> References<'a> {
    pub(super) fn new(places: Places<'a>) -> Self {
        Self { places, list: Vec::new(), scopes: Vec::new(), limits: None }
    }

    /// The statement, once the tree has been visited.
    pub(super) fn statement(self, tree: Query) -> Result<Statement, SqlError> {
        let Self { places, list: references, limits, .. } = self;
        let (limit, offset) = limits.unwrap_or((None, 0));
        let shape = shape(&tree, &references);
        Ok(Statement { tree, references, places: places.finish()?, shape, limit, offset })
    }

    fn query(&mut self, query: &mut Query) -> Result<(), SqlError> {
        refuse(query.fetch.is_some(), "FETCH", "write LIMIT n")?;
        let limits = self.limit(&mut query.limit_clause)?;
        self.limits.get_or_insert(limits);
        let mut names = Vec::new();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = cte.alias.name.value.to_ascii_lowercase();
            let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
            if !recursive && reads(cte, &name) {
                return Err(unsupported(
                    &format!("{} in its own definition", cte.alias.name),
                    "write WITH RECURSIVE, or give the common table expression another name than \
                     the table's",
                ));
            }
            refuse(
                name.starts_with("opaque_"),
                "a common table expression whose name begins with opaque_",
                "give it another name",
            )?;
            names.push(name);
        }
        self.scopes.push(names);
        Ok(())
    }

    /// Reads LIMIT and OFFSET, and writes them as numbers. SQLite treats a negative LIMIT as no limit
    /// and a negative OFFSET as 0.
    fn limit(&mut self, clause: &mut Option<LimitClause>) -> Result<(Option<u64>, u64), SqlError> {
        let (limit, offset) = match clause {
            None => return Ok((None, 0)),
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                refuse(!limit_by.is_empty(), "LIMIT BY", "write LIMIT n")?;
                (limit.take(), offset.take().map(|offset| offset.value))
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                (Some(limit.clone()), Some(offset.clone()))
            }
        };
        let mut number = |clause, expr: Option<Expr>, default| {
            let Some(expr) = expr else { return Ok(default) };
            let text = self.places.written(&expr);
            let number = self.places.whole(&expr).ok_or(SqlError::Bound { clause, text });
            self.places.consume(&expr);
            number
        };
        let (limit, offset) = (number("LIMIT", limit, -1)?, number("OFFSET", offset, 0)?);
        let written = |number: i64| Expr::value(Value::Number(number.to_string(), false));
        *clause = Some(LimitClause::LimitOffset {
            limit: Some(written(limit)),
            offset: Some(Offset { value: written(offset), rows: OffsetRows::None }),
            limit_by: Vec::new(),
        });
        Ok((limit.try_into().ok(), offset.try_into().unwrap_or(0)))
    }

    fn select(&mut self, select: &mut Select) -> Result<(), SqlError> {
        let mut found = FromClause::default();
        for table in &mut select.from {
            self.joined(table, &mut found)?;
        }
        let alone = found.sources == 1;
        for (reference, name) in found.references {
            if let Some(reference) = self.list.get_mut(reference).filter(|_| !alone) {
                reference.qualifier = Some(name.clone());
            }
            let Some(selection) = &mut select.selection else { continue };
            let mut condition =
                Condition { places: &mut self.places, reference, name: &name, alone, quoted: None };
            let filter = condition.filter(selection, false);
            let quoted = condition.quoted;
            if let Some(reference) = self.list.get_mut(reference) {
                (reference.filter, reference.quoted) = (Some(filter), quoted);
            }
        }
        Ok(())
    }

    fn joined(
        &mut self,
        table: &mut TableWithJoins,
        found: &mut FromClause,
    ) -> Result<(), SqlError> {
        self.factor(&mut table.relation, found)?;
        table.joins.iter_mut().try_for_each(|join| self.factor(&mut join.relation, found))
    }

    fn factor(&mut self, factor: &mut TableFactor, found: &mut FromClause) -> Result<(), SqlError> {
        let text = factor.to_string();
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                refuse(
                    alias.is_some(),
                    "a name for joined tables in parentheses",
                    "leave out the name, or write (SELECT ... FROM ...) AS name",
                )?;
                return self.joined(table_with_joins, found);
            }
            TableFactor::Derived { lateral: false, alias, .. } => {
                found.name(alias.as_ref().map(|alias| &alias.name))?;
            }
            TableFactor::Table { name, args: Some(_), alias, .. } if is_json_function(name) => {
                found.name(alias.as_ref().map(|alias| &alias.name))?;
            }
            // Parts that `..` skipped (hints, sampling and the like) would appear in the text.
            TableFactor::Table { name, alias, .. } if text == shown(name, alias.as_ref()) => {
                let written = simple(name)?;
                found.name(Some(alias.as_ref().map_or(&written, |alias| &alias.name)))?;
                if !self.is_common(&written.value) {
                    let alias = alias.get_or_insert_with(|| named(written.clone()));
                    refuse(
                        !alias.columns.is_empty(),
                        "names of columns after a table's alias",
                        "name the columns in the SELECT list",
                    )?;
                    found.references.push((self.list.len(), alias.name.value.clone()));
                    *name = ObjectName::from(vec![Ident::new(table_name(self.list.len()))]);
                    self.list.push(Reference {
                        table: written.value,
                        filter: None,
                        qualifier: None,
                        quoted: None,
                    });
                }
            }
            _ => return Err(unsupported(&shortened(&text), "write FROM table")),
        }
        found.sources += 1;
        Ok(())
    }

    /// Whether a name is that of a common table expression.
    fn is_common(&self, name: &str) -> bool {
        self.scopes.iter().flatten().any(|common| common.eq_ignore_ascii_case(name))
    }
}

/// The tables of one FROM clause.
#[derive(Default)]
struct FromClause {
    /// Position and qualifying name of each reference.
    references: Vec<(usize, String)>,
    /// Number of tables and subqueries of any kind.
    sources: usize,
    names: Vec<String>,
}

impl FromClause {
    /// Adds the name of a table or subquery. With two equal ones, a condition could belong to either.
    fn name(&mut self, name: Option<&Ident>) -> Result<(), SqlError> {
        let Some(name) = name else { return Ok(()) };
        let lower = name.value.to_ascii_lowercase();
        refuse(
            self.names.contains(&lower),
            &format!("two tables named {name} in one FROM"),
            "give one of them another name by AS",
        )?;
        self.names.push(lower);
        Ok(())
    }
}

impl VisitorMut for References<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        self.query(query).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<SqlError> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        self.select(select).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }
}

/// A table's name.
fn simple(name: &ObjectName) -> Result<Ident, SqlError> {
    let ident = match name.0.as_slice() {
        [part] => part.as_ident(),
        _ => None,
    };
    ident
        .cloned()
        .ok_or_else(|| unsupported(&shortened(name), "a table has a simple name: write FROM table"))
}

fn named(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}

fn shown(name: &ObjectName, alias: Option<&TableAlias>) -> String {
    alias.map_or_else(|| name.to_string(), |alias| format!("{name} {alias}"))
}

/// Functions in FROM that make rows of a JSON text.
fn is_json_function(name: &ObjectName) -> bool {
    ["json_each", "json_tree"].iter().any(|known| name.to_string().eq_ignore_ascii_case(known))
}

/// Whether a common table expression reads a table of this name.
fn reads(cte: &Cte, name: &str) -> bool {
    visit_relations(&cte.query, |relation| {
        match relation.to_string().to_ascii_lowercase() == name {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })
    .is_break()
}

/// Which rows of its references a statement needs.
fn shape(tree: &Query, references: &[Reference]) -> Shape {
    let SetExpr::Select(select) = tree.body.as_ref() else { return Shape::Nested };
    let Select { projection, from, group_by, having, .. } = select.as_ref();
    let [TableWithJoins { relation: TableFactor::Table { args: None, .. }, joins }] =
        from.as_slice()
    else {
        return Shape::Nested;
    };
    if references.len() != 1 || !joins.is_empty() || tree.with.is_some() {
        return Shape::Nested;
    }
    let grouped =
        having.is_some() || !matches!(group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let distinct = match select.distinct {
        None | Some(Distinct::All) => false,
        Some(Distinct::Distinct | Distinct::On(_)) => true,
    };
    let counts = match projection.as_slice() {
        [SelectItem::ExprWithAlias { expr, .. }] => {
            expr.to_string().eq_ignore_ascii_case("count(*)")
        }
        _ => false,
    };
    if counts && !grouped {
        Shape::Count
    } else if !grouped && tree.order_by.is_none() && projection.visit(&mut Scalar).is_continue() {
        Shape::Stream { distinct }
    } else {
        Shape::Whole
    }
}

/// Stops at a function that may need more than one row.
struct Scalar;

impl Visitor for Scalar {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        const SCALAR: [&str; 30] = [
            "abs",
            "coalesce",
            "concat",
            "date",
            "datetime",
            "format",
            "glob",
            "hex",
            "ifnull",
            "iif",
            "instr",
            "json",
            "json_extract",
            "julianday",
            "length",
            "like",
            "lower",
            "ltrim",
            "nullif",
            "printf",
            "replace",
            "round",
            "rtrim",
            "sign",
            "strftime",
            "substr",
            "trim",
            "typeof",
            "unixepoch",
            "upper",
        ];
        match expr {
            Expr::Function(function) => {
                let name = function.name.to_string().to_ascii_lowercase();
                let known = function.over.is_none() && SCALAR.contains(&name.as_str());
                if known { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
