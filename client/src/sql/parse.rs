//! Parses text to a statement. Constructs outside the grammar are refused by name. Nothing that the
//! parser understood is silently dropped.

mod condition;

use sqlparser::ast::{
    self, Distinct, Expr, GroupByExpr, LimitClause, ObjectName, OrderByExpr, OrderByKind,
    OrderByOptions, OrderBySort, Query, Select, SelectFlavor, SelectItem, SetExpr, TableFactor,
};
use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::Parser;

use self::condition::{condition, literal, name};
use super::normal::{Statement, normalize};
use super::statement::{Bound, Item, List, Literal, OrderItem, OrderKey, Select as Written};
use super::{Parameters, SqlError};

/// Maximum bytes of a statement. The parser nests one level per AND or OR, and dropping its result
/// takes stack for each level. A statement of this size fits well into a thread's stack of 2 MiB.
const MAX_BYTES: usize = 32 * 1024;

/// Parses one SELECT statement of the grammar in [the module's documentation](super), with the
/// values of its placeholders.
///
/// # Errors
/// Every error that the text and the parameters show independently of any table. Nothing has been
/// sent at this point.
pub fn parse(sql: &str, parameters: &Parameters) -> Result<Statement, SqlError> {
    normalize(written(sql)?, parameters)
}

fn written(sql: &str) -> Result<Written, SqlError> {
    // Some editors write a byte order mark at the start of a file.
    let sql = sql.strip_prefix('\u{feff}').unwrap_or(sql);
    if sql.len() > MAX_BYTES {
        return Err(SqlError::TooLong { bytes: sql.len(), limit: MAX_BYTES });
    }
    let mut statements = Parser::parse_sql(&SQLiteDialect {}, sql)
        .map_err(|error| SqlError::Syntax { message: message(&error) })?;
    match (statements.pop(), statements.is_empty()) {
        (Some(ast::Statement::Query(query)), true) => statement(&query),
        (Some(other), true) => {
            let verb = other.to_string();
            let verb = verb.split_whitespace().next().unwrap_or_default();
            Err(unsupported(verb, "only SELECT reads a table; `opaque load` replaces its rows"))
        }
        (Some(_), false) => {
            Err(unsupported("more than one statement", "send each statement on its own"))
        }
        (None, _) => Err(SqlError::Syntax { message: "it is empty".to_owned() }),
    }
}

fn message(error: &sqlparser::parser::ParserError) -> String {
    use sqlparser::parser::ParserError;
    match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
    }
}

fn statement(query: &Query) -> Result<Written, SqlError> {
    let Query {
        with,
        body,
        order_by,
        limit_clause,
        fetch,
        locks,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    refuse(with.is_some(), "WITH", "write the SELECT without it")?;
    refuse(fetch.is_some(), "FETCH", "write LIMIT n")?;
    refuse(!locks.is_empty() || for_clause.is_some(), "FOR", "leave it out")?;
    refuse(settings.is_some(), "SETTINGS", "leave it out")?;
    refuse(format_clause.is_some(), "FORMAT", "use --format")?;
    refuse(!pipe_operators.is_empty(), "|>", "write one plain SELECT")?;
    let SetExpr::Select(select) = body.as_ref() else {
        return Err(unsupported(
            &shortened(body),
            "write one plain SELECT; combine several answers yourself",
        ));
    };
    let (table, items, filter) = body_of(select)?;
    let (limit, offset) = bounds(limit_clause.as_ref())?;
    Ok(Written {
        distinct: is_distinct(select)?,
        list: list(items, &table)?,
        filter: filter.map(|expr| condition(expr, &table)).transpose()?,
        order: order_by.as_ref().map_or(Ok(Vec::new()), |order| order_items(order, &table))?,
        limit,
        offset,
        table,
    })
}

/// The parts of a SELECT that the grammar supports. All other parts must be absent.
fn body_of(select: &Select) -> Result<(String, &[SelectItem], Option<&Expr>), SqlError> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct: _,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection,
        exclude,
        into,
        from,
        lateral_views,
        prewhere,
        selection,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    let grouped = match group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(expressions, modifiers) => {
            !expressions.is_empty() || !modifiers.is_empty()
        }
    };
    const GROUPS: &str = "send COUNT(*) with WHERE column = value for each group";
    refuse(grouped, "GROUP BY", GROUPS)?;
    refuse(having.is_some(), "HAVING", GROUPS)?;
    refuse(top.is_some(), "TOP", "write LIMIT n")?;
    refuse(into.is_some(), "INTO", "redirect the output of `opaque query` to a file")?;
    refuse(!named_window.is_empty() || qualify.is_some(), "WINDOW", "leave it out")?;
    refuse(prewhere.is_some(), "PREWHERE", "write WHERE")?;
    refuse(exclude.is_some(), "EXCLUDE", "list the columns that you want")?;
    refuse(
        !cluster_by.is_empty() || !distribute_by.is_empty() || !sort_by.is_empty(),
        "CLUSTER, DISTRIBUTE or SORT BY",
        "write ORDER BY",
    )?;
    refuse(
        !optimizer_hints.is_empty()
            || select_modifiers.is_some()
            || !lateral_views.is_empty()
            || !connect_by.is_empty()
            || value_table_mode.is_some()
            || !matches!(flavor, SelectFlavor::Standard),
        "this form of SELECT",
        "write SELECT columns FROM table WHERE condition",
    )?;
    Ok((table_of(from)?, projection, selection.as_ref()))
}

fn table_of(from: &[ast::TableWithJoins]) -> Result<String, SqlError> {
    const JOINS: &str = "read each table with a separate SELECT and join the answers yourself";
    let [only] = from else {
        return if from.is_empty() {
            Err(unsupported("a SELECT without FROM", "write FROM table"))
        } else {
            Err(unsupported("more than one table", JOINS))
        };
    };
    refuse(!only.joins.is_empty(), "JOIN", JOINS)?;
    let TableFactor::Table { name, alias, .. } = &only.relation else {
        return Err(unsupported(&shortened(&only.relation), "write FROM table"));
    };
    // Parts that `..` skipped (arguments, hints, sampling and the like) would appear in the text.
    if only.relation.to_string() != shown(name, alias.as_ref()) {
        return Err(unsupported(&shortened(&only.relation), "write FROM table"));
    }
    refuse(alias.is_some(), "a table alias", "write the table's own name, or leave it out")?;
    match name.0.as_slice() {
        [part] => match part.as_ident() {
            Some(ident) => Ok(ident.value.clone()),
            None => Err(unsupported(&shortened(name), "write FROM table")),
        },
        _ => Err(unsupported(&shortened(name), "a table has a simple name: write FROM table")),
    }
}

fn shown(name: &ObjectName, alias: Option<&ast::TableAlias>) -> String {
    alias.map_or_else(|| name.to_string(), |alias| format!("{name} {alias}"))
}

fn is_distinct(select: &Select) -> Result<bool, SqlError> {
    match select.distinct {
        None | Some(Distinct::All) => Ok(false),
        Some(Distinct::Distinct) => Ok(true),
        Some(Distinct::On(_)) => Err(unsupported("DISTINCT ON", "write DISTINCT")),
    }
}

fn list(items: &[SelectItem], table: &str) -> Result<List, SqlError> {
    let (mut columns, mut count) = (Vec::new(), None);
    for item in items {
        match select_item(item, table)? {
            Listed::Item(item) => columns.push(item),
            Listed::Count { name } => count = Some(name),
        }
    }
    match count {
        None => Ok(List::Columns(columns)),
        Some(name) if items.len() == 1 => Ok(List::Count { name }),
        Some(_) => Err(unsupported("COUNT(*) with other columns", "select only COUNT(*)")),
    }
}

enum Listed {
    Item(Item),
    Count { name: String },
}

fn select_item(item: &SelectItem, table: &str) -> Result<Listed, SqlError> {
    let (expr, alias) = match item {
        SelectItem::Wildcard(_) if item.to_string() == "*" => return Ok(Listed::Item(Item::All)),
        SelectItem::UnnamedExpr(expr) => (expr, None),
        SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.value.clone())),
        SelectItem::Wildcard(_)
        | SelectItem::QualifiedWildcard(..)
        | SelectItem::ExprWithAliases { .. } => {
            return Err(unsupported(&shortened(item), "write * or list the columns"));
        }
    };
    if let Expr::Function(function) = expr {
        let text = function.to_string();
        return if text.eq_ignore_ascii_case("count(*)") {
            Ok(Listed::Count { name: alias.unwrap_or(text) })
        } else {
            Err(unsupported(
                &shortened(function),
                "the SELECT list is *, COUNT(*) or columns; compute on the answer yourself",
            ))
        };
    }
    match name(expr, table)? {
        Some(column) => Ok(Listed::Item(Item::Column { column, alias })),
        None => Err(unsupported(
            &shortened(expr),
            "the SELECT list is *, COUNT(*) or columns; compute on the answer yourself",
        )),
    }
}

fn order_items(order: &ast::OrderBy, table: &str) -> Result<Vec<OrderItem>, SqlError> {
    let OrderByKind::Expressions(terms) = &order.kind else {
        return Err(unsupported("ORDER BY ALL", "list the columns"));
    };
    refuse(order.interpolate.is_some(), "INTERPOLATE", "leave it out")?;
    terms.iter().map(|term| order_item(term, table)).collect()
}

fn order_item(term: &OrderByExpr, table: &str) -> Result<OrderItem, SqlError> {
    let OrderByExpr { expr, options: OrderByOptions { sort, nulls_first }, with_fill } = term;
    refuse(with_fill.is_some(), "WITH FILL", "leave it out")?;
    let descending = match sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(OrderBySort::Using(_)) => return Err(unsupported("USING", "write ASC or DESC")),
    };
    let key = match (name(expr, table)?, literal(expr)?) {
        (Some(name), _) => OrderKey::Name(name),
        (None, Some(Literal::Int(position))) => OrderKey::Position(position.to_string()),
        (None, _) => {
            return Err(unsupported(
                &format!("ORDER BY {}", shortened(expr)),
                "order by columns, by names given with AS, or by positions",
            ));
        }
    };
    Ok(OrderItem { key, descending, nulls_first: *nulls_first })
}

fn bounds(clause: Option<&LimitClause>) -> Result<(Option<Bound>, Option<Bound>), SqlError> {
    let (limit, offset) = match clause {
        None => return Ok((None, None)),
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
            refuse(!limit_by.is_empty(), "LIMIT BY", "write LIMIT n")?;
            (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
    };
    let bound = |clause, expr: &Expr| match literal(expr)? {
        Some(Literal::Int(number)) => Ok(Bound::Number(number)),
        Some(Literal::Parameter(name)) => Ok(Bound::Parameter(name)),
        _ => Err(SqlError::Bound { clause, text: shortened(expr) }),
    };
    Ok((
        limit.map(|expr| bound("LIMIT", expr)).transpose()?,
        offset.map(|expr| bound("OFFSET", expr)).transpose()?,
    ))
}

fn refuse(present: bool, what: &str, instead: &'static str) -> Result<(), SqlError> {
    if present { Err(unsupported(what, instead)) } else { Ok(()) }
}

fn unsupported(what: &str, instead: &'static str) -> SqlError {
    SqlError::Unsupported { what: what.to_owned(), instead }
}

/// The beginning of a construct's text, for an error message.
fn shortened(construct: &impl ToString) -> String {
    const CHARS: usize = 60;
    let text = construct.to_string();
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}
