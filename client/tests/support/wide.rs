//! Random statements of SQLite's SELECT over one or two tables: expressions, functions, CASE,
//! aggregates, groups, windows, joins, subqueries, common table expressions, UNION.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test support: a failure is a failed test"
)]

use opaque_pir::table::{Column, ColumnType, Value};
use rand::{Rng, RngExt};

use super::statements::{Table, literal, value};

/// A statement, and whether it determines the order of its rows.
pub(crate) struct Wide {
    pub(crate) sql: String,
    pub(crate) ordered: bool,
}

/// A random statement. `tables` have the names `t` and `u`.
pub(crate) fn statement(rng: &mut impl Rng, tables: [&Table; 2]) -> Wide {
    Writer { rng, tables }.statement()
}

struct Writer<'a, R> {
    rng: &'a mut R,
    tables: [&'a Table; 2],
}

/// A table under a name, in whose columns expressions are written.
#[derive(Clone, Copy)]
struct Scope<'a> {
    table: &'a Table,
    name: &'a str,
}

impl<'a, R: Rng> Writer<'a, R> {
    fn statement(&mut self) -> Wide {
        let one = Scope { table: self.tables[0], name: "t" };
        match self.rng.random_range(0..8) {
            0..=1 => self.plain(one),
            2 => self.grouped(one),
            3 => self.window(one),
            4 => self.join(),
            5 => self.union(),
            6 => self.common(),
            _ => self.subquery(),
        }
    }

    /// Expressions over one table, in load order, perhaps with LIMIT.
    fn plain(&mut self, scope: Scope<'_>) -> Wide {
        let items: Vec<_> = (0..self.rng.random_range(1..4)).map(|_| self.expr(scope, 2)).collect();
        let filter = self.filter(scope, false);
        let distinct = if self.rng.random_bool(0.2) { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{} FROM t WHERE {filter}", items.join(", "));
        if self.rng.random_bool(0.4) {
            sql += &format!(" LIMIT {}", self.rng.random_range(0..6));
        }
        Wide { sql, ordered: true }
    }

    fn grouped(&mut self, scope: Scope<'_>) -> Wide {
        let by = self.column(scope);
        let (first, second) = (self.aggregate(scope), self.aggregate(scope));
        let filter = self.filter(scope, false);
        let mut sql = format!("SELECT {by}, {first}, {second} FROM t WHERE {filter} GROUP BY {by}");
        if self.rng.random_bool(0.5) {
            sql += &format!(" HAVING COUNT(*) > {}", self.rng.random_range(0..3));
        }
        Wide { sql, ordered: false }
    }

    fn window(&mut self, scope: Scope<'_>) -> Wide {
        let (by, order) = (self.column(scope), self.column(scope));
        let filter = self.filter(scope, false);
        let function = self.pick(&["COUNT(*)", "DENSE_RANK()", "RANK()"]);
        let shown = self.column(scope);
        let sql = format!(
            "SELECT {shown}, {function} OVER (PARTITION BY {by} ORDER BY {order}) FROM t WHERE {filter}"
        );
        Wide { sql, ordered: false }
    }

    fn join(&mut self) -> Wide {
        let [t, u] = self.tables;
        let (left, right) = (Scope { table: t, name: "a" }, Scope { table: u, name: "b" });
        let kind = self.pick(&["JOIN", "LEFT JOIN", "CROSS JOIN", "INNER JOIN", "FULL JOIN"]);
        let on = match kind {
            "CROSS JOIN" => String::new(),
            _ => format!(" ON {} = {}", self.column(left), self.column(right)),
        };
        let items = format!("{}, {}", self.expr(left, 1), self.expr(right, 1));
        let (left, right) = (self.filter(left, true), self.filter(right, true));
        let sql = format!("SELECT {items} FROM t AS a {kind} u b{on} WHERE {left} AND {right}");
        Wide { sql, ordered: false }
    }

    fn union(&mut self) -> Wide {
        let [t, u] = self.tables;
        let (left, right) = (Scope { table: t, name: "t" }, Scope { table: u, name: "u" });
        let operator = self.pick(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
        let (first, second) = (self.expr(left, 1), self.expr(right, 1));
        let (left, right) = (self.filter(left, false), self.filter(right, false));
        let sql = format!(
            "SELECT {first} FROM t WHERE {left} {operator} SELECT {second} FROM u WHERE {right}"
        );
        Wide { sql, ordered: false }
    }

    fn common(&mut self) -> Wide {
        let t = Scope { table: self.tables[0], name: "t" };
        let (shown, other) = (self.expr(t, 1), self.aggregate(t));
        let filter = self.filter(t, false);
        let sql = match self.rng.random_range(0..3) {
            0 => format!(
                "WITH c AS (SELECT {shown} AS x FROM t WHERE {filter}) SELECT COUNT(*), MIN(x) FROM c"
            ),
            1 => format!("SELECT x FROM (SELECT {other} AS x FROM t WHERE {filter}) AS d"),
            _ => format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4) \
                 SELECT i, {shown} FROM n, t WHERE {}",
                self.filter(t, true)
            ),
        };
        Wide { sql, ordered: false }
    }

    fn subquery(&mut self) -> Wide {
        let [t, u] = self.tables;
        let (outer, inner) = (Scope { table: t, name: "t" }, Scope { table: u, name: "u" });
        let (shown, column) = (self.expr(outer, 1), self.column(outer));
        let (compared, filter) = (self.column(inner), self.filter(inner, true));
        let more = match self.rng.random_range(0..3) {
            0 => format!("{column} IN (SELECT {compared} FROM u WHERE {filter})"),
            1 => format!("EXISTS (SELECT 1 FROM u WHERE {filter} AND {compared} = {column})"),
            _ => format!("(SELECT COUNT(*) FROM u WHERE {filter}) > 1"),
        };
        let filter = self.filter(outer, true);
        let more = if self.rng.random_bool(0.3) { format!("NOT {more}") } else { more };
        Wide { sql: format!("SELECT {shown} FROM t WHERE {filter} AND {more}"), ordered: false }
    }

    /// A condition with a private plan, perhaps with more conditions.
    fn filter(&mut self, scope: Scope<'_>, qualified: bool) -> String {
        let searchable: Vec<_> = scope.table.schema.searchable().collect();
        let position = searchable[self.rng.random_range(0..searchable.len())];
        let column = &scope.table.schema.columns()[position];
        let name = match qualified {
            true => format!("{}.{}", scope.name, column.name),
            false => column.name.clone(),
        };
        let literals: Vec<_> =
            (0..self.rng.random_range(1..4)).map(|_| self.literal(scope, column)).collect();
        let found = match self.rng.random_range(0..3) {
            0 => format!("{name} = {}", literals[0]),
            1 => format!("{name} IN ({})", literals.join(", ")),
            _ => {
                let each: Vec<_> = literals.iter().map(|l| format!("{name} = {l}")).collect();
                format!("({})", each.join(" OR "))
            }
        };
        match self.rng.random_range(0..3) {
            0 => format!("{found} AND {}", self.condition(scope)),
            1 => format!("{} AND {found}", self.condition(scope)),
            _ => found,
        }
    }

    fn condition(&mut self, scope: Scope<'_>) -> String {
        let (left, right) = (self.number(scope, 1), self.number(scope, 1));
        let text = self.text(scope, 1);
        let condition = match self.rng.random_range(0..7) {
            0 => format!("{left} {} {right}", self.pick(&["<", "<=", "=", "<>", ">="])),
            1 => format!("{text} GLOB {}", self.pick(&["'a*'", "'*'", "'[A-Z]*'"])),
            2 => format!("{text} LIKE {}", self.pick(&["'a%'", "'%b%'", "'_'"])),
            3 => format!("NOT {left} = {right} OR {left} IS NULL"),
            4 => format!("{left} BETWEEN {right} AND 100"),
            5 => format!("CASE WHEN {left} > 1 THEN {right} > 0 ELSE {text} = 'a' END"),
            _ => format!("{text} IS NOT NULL"),
        };
        format!("({condition})")
    }

    fn aggregate(&mut self, scope: Scope<'_>) -> String {
        let (column, number) = (self.column(scope), self.number(scope, 1));
        match self.rng.random_range(0..6) {
            0 => "COUNT(*)".to_owned(),
            1 => format!("COUNT(DISTINCT {column})"),
            2 => format!("MIN({column})"),
            3 => format!("MAX({column})"),
            4 => format!("SUM(CAST({number} AS INTEGER) % 1000)"),
            _ => format!("MAX({number})"),
        }
    }

    fn expr(&mut self, scope: Scope<'_>, depth: u32) -> String {
        match self.rng.random_range(0..4) {
            0 => self.column(scope),
            1 => self.number(scope, depth),
            2 => self.text(scope, depth),
            _ => {
                let (test, then) = (self.number(scope, depth), self.text(scope, depth));
                format!("CASE WHEN {test} >= 1 THEN {then} ELSE {} END", self.column(scope))
            }
        }
    }

    /// An expression that is a number or NULL.
    fn number(&mut self, scope: Scope<'_>, depth: u32) -> String {
        if depth > 0 {
            let (a, b) = (self.number(scope, depth - 1), self.number(scope, depth - 1));
            match self.rng.random_range(0..6) {
                0 => return format!("{a} % 7 + {b} % 5"),
                1 => return format!("{a} % 3 - {b} % 3 * 2"),
                2 => return format!("coalesce({a}, {b}, -1)"),
                3 => return format!("length({})", self.text(scope, depth - 1)),
                4 => return format!("iif({a} > {b}, 1, 2)"),
                _ => {}
            }
        }
        match self.column_of(scope, &[ColumnType::Int, ColumnType::Bool]) {
            Some(column) if self.rng.random_bool(0.8) => column,
            _ => self.rng.random_range(-3..9).to_string(),
        }
    }

    /// An expression that is a text or NULL.
    fn text(&mut self, scope: Scope<'_>, depth: u32) -> String {
        if depth > 0 {
            let inner = self.text(scope, depth - 1);
            match self.rng.random_range(0..5) {
                0 => return format!("upper({inner})"),
                1 => return format!("substr({inner}, 1, 2)"),
                2 => return format!("{inner} || 'x'"),
                3 => return format!("replace({inner}, 'a', 'b')"),
                _ => {}
            }
        }
        match self.column_of(scope, &[ColumnType::Text]) {
            Some(column) if self.rng.random_bool(0.8) => column,
            _ => self.pick(&["'a'", "'Ab%'", "''", "'it''s'", "'a''''b'", r"'\'''"]).to_owned(),
        }
    }

    fn column(&mut self, scope: Scope<'_>) -> String {
        let columns = scope.table.schema.columns();
        let column = &columns[self.rng.random_range(0..columns.len())];
        format!("{}.{}", scope.name, column.name)
    }

    fn column_of(&mut self, scope: Scope<'_>, types: &[ColumnType]) -> Option<String> {
        let columns = scope.table.schema.columns().iter();
        let fitting: Vec<_> =
            columns.filter(|column| types.contains(&column.column_type)).collect();
        let column = fitting.get(self.rng.random_range(0..fitting.len().max(1)))?;
        Some(format!("{}.{}", scope.name, column.name))
    }

    /// A literal of the column's type, often a value of the table.
    fn literal(&mut self, scope: Scope<'_>, column: &Column) -> String {
        let position = scope.table.schema.column(&column.name).unwrap().0;
        let rows = &scope.table.rows;
        let found = match rows.is_empty() || self.rng.random_bool(0.2) {
            true => value(self.rng, column.column_type),
            false => rows[self.rng.random_range(0..rows.len())][position].clone(),
        };
        match (&found, self.rng.random_range(0..4)) {
            // A constant expression with the same value.
            (Value::Int(number @ -1000..=1000), 0) => format!("{} + {}", number - 1, 1),
            (Value::Text(text), 0) => format!("'' || '{}'", text.replace('\'', "''")),
            _ => literal(&found),
        }
    }

    fn pick<'s>(&mut self, from: &[&'s str]) -> &'s str {
        from[self.rng.random_range(0..from.len())]
    }
}
