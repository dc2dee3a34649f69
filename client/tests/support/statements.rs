//! Random tables and random statements of the grammar, for tests that compare with SQLite.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "test support: a failure is a failed test"
)]

use jiff::Timestamp;
use opaque_pir::table::{Column, ColumnType, Role, Schema, Value};
use rand::{Rng, RngExt};

/// A table's columns and rows, in load order.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) schema: Schema,
    pub(crate) rows: Vec<Vec<Value>>,
}

const TYPES: [ColumnType; 6] = [
    ColumnType::Int,
    ColumnType::Real,
    ColumnType::Text,
    ColumnType::Json,
    ColumnType::Bool,
    ColumnType::Timestamp,
];

/// A small table of odd values. Payload columns share the pools of searchable ones, so that
/// conditions on them are often true.
pub(crate) fn table(rng: &mut impl Rng) -> Table {
    let mut columns = Vec::new();
    let has_key = rng.random_bool(0.7);
    if has_key {
        let column_type = if rng.random_bool(0.5) { ColumnType::Int } else { ColumnType::Text };
        let name = "id".to_owned();
        columns.push(Column { name, column_type, role: Role::Key, nullable: false });
    }
    for (role, prefix) in [(Role::Index, "i"), (Role::Payload, "p")] {
        for number in 0..rng.random_range(1..4) {
            columns.push(Column {
                name: format!("{prefix}{number}"),
                column_type: *choose(rng, &TYPES),
                role,
                nullable: rng.random_bool(0.7),
            });
        }
    }
    let row_count = rng.random_range(0..40);
    let rows = (0..row_count).map(|number| {
        let cell = |column: &Column| match (column.role, column.column_type) {
            (Role::Key, ColumnType::Int) => Value::Int(number - 3),
            (Role::Key, _) => Value::Text(format!("k{number}")),
            _ if column.nullable && rng.random_bool(0.2) => Value::Null,
            _ => value(rng, column.column_type),
        };
        columns.iter().map(cell).collect()
    });
    let rows = rows.collect();
    Table { schema: Schema::new("t".to_owned(), columns).unwrap(), rows }
}

/// A value from the type's small pool.
pub(crate) fn value(rng: &mut impl Rng, column_type: ColumnType) -> Value {
    const TWO_53: i64 = 1 << 53;
    let texts =
        ["", "a", "A", "ab", "Ab%", "a_b", "it's", "\"q\"", "é", "É", "日本語", "%", "a\nb", "5"];
    let documents = ["null", "{}", "{\"a\": 1}", "[1,2]", "\"x\"", "5"];
    let ints = [0, 1, -1, 2, 5, TWO_53, TWO_53 + 1, -TWO_53 - 1, i64::MAX, i64::MAX - 1, i64::MIN];
    let reals = [
        0.0,
        1.0,
        -1.0,
        2.5,
        5.0,
        0.1,
        -1e-9,
        9007199254740992.0,
        9007199254740994.0,
        1e300,
        9223372036854775808.0,
        -9223372036854775808.0,
        f64::INFINITY,
    ];
    let instants = [
        0,
        1,
        -1,
        1_000_000,
        1_795_253_400_000_000,
        1_795_253_400_000_001,
        -62_000_000_000_000_000,
    ];
    match column_type {
        ColumnType::Int => Value::Int(*choose(rng, &ints)),
        ColumnType::Real => Value::Real(*choose(rng, &reals)),
        ColumnType::Text => Value::Text((*choose(rng, &texts)).to_owned()),
        ColumnType::Json => Value::Json((*choose(rng, &documents)).to_owned()),
        ColumnType::Bool => Value::Bool(rng.random()),
        ColumnType::Timestamp => Value::Timestamp(*choose(rng, &instants)),
    }
}

/// A random statement over a table. Every statement belongs to the grammar, but not every one has a
/// private plan. For about half of them, lookups answer the whole WHERE.
pub(crate) fn statement(rng: &mut impl Rng, table: &Table) -> String {
    Statements { rng, table }.statement()
}

struct Statements<'a, R> {
    rng: &'a mut R,
    table: &'a Table,
}

impl<R: Rng> Statements<'_, R> {
    fn statement(&mut self) -> String {
        let (list, mut names) = self.select_list();
        let distinct = if self.rng.random_bool(0.2) { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{list} FROM {}", self.table.schema.table());
        match self.rng.random_range(0..10) {
            0 => {}
            1..=4 => sql += &format!(" WHERE {}", self.search(2)),
            5..=6 => sql += &format!(" WHERE {} AND {}", self.search(1), self.condition(2)),
            7 => sql += &format!(" WHERE {}", self.exclusion()),
            _ => sql += &format!(" WHERE {}", self.condition(3)),
        }
        if self.rng.random_bool(0.4) {
            let terms: Vec<_> =
                (0..self.rng.random_range(1..3)).map(|_| self.order_term(&mut names)).collect();
            sql += &format!(" ORDER BY {}", terms.join(", "));
        }
        if self.rng.random_bool(0.4) {
            sql += &format!(" LIMIT {}", self.rng.random_range(0..12));
            if self.rng.random_bool(0.4) {
                sql += &format!(" OFFSET {}", self.rng.random_range(0..6));
            }
        }
        sql
    }

    /// The list, and what ORDER BY may name.
    fn select_list(&mut self) -> (String, Vec<String>) {
        let mut names: Vec<_> =
            self.table.schema.columns().iter().map(|column| column.name.clone()).collect();
        match self.rng.random_range(0..6) {
            0..=1 => ("*".to_owned(), names),
            2 => ("COUNT(*)".to_owned(), vec!["1".to_owned()]),
            3 => ("COUNT(*) AS n".to_owned(), vec!["n".to_owned()]),
            _ => {
                let mut items = Vec::new();
                for position in 1..=self.rng.random_range(1..4) {
                    let column = self.column().name.clone();
                    names.push(position.to_string());
                    if self.rng.random_bool(0.3) {
                        names.push(format!("c{position}"));
                        items.push(format!("{column} AS c{position}"));
                    } else {
                        items.push(column);
                    }
                }
                (items.join(", "), names)
            }
        }
    }

    fn order_term(&mut self, names: &mut [String]) -> String {
        let direction = *choose(self.rng, &["", " ASC", " DESC"]);
        let nulls = *choose(self.rng, &["", "", " NULLS FIRST", " NULLS LAST"]);
        format!("{}{direction}{nulls}", choose(self.rng, names))
    }

    /// A condition that lookups on one column answer.
    fn search(&mut self, depth: u32) -> String {
        let searchable: Vec<_> = self.table.schema.searchable().collect();
        let column = self.table.schema.columns()[*choose(self.rng, &searchable)].clone();
        self.search_of(&column, depth)
    }

    fn search_of(&mut self, column: &Column, depth: u32) -> String {
        match self.rng.random_range(0..if depth == 0 { 5 } else { 7 }) {
            0..=2 => self.comparison(column, "="),
            4 => format!("{} IS NULL", column.name),
            3 => format!("{} IN ({})", column.name, self.literals(column)),
            5 => format!(
                "({} OR {})",
                self.search_of(column, depth - 1),
                self.search_of(column, depth - 1)
            ),
            _ => format!("NOT ({} <> {})", column.name, self.literal(column)),
        }
    }

    fn exclusion(&mut self) -> String {
        let searchable: Vec<_> = self.table.schema.searchable().collect();
        let column = self.table.schema.columns()[*choose(self.rng, &searchable)].clone();
        match self.rng.random_range(0..3) {
            0 => self.comparison(&column, "<>"),
            1 => format!("{} NOT IN ({})", column.name, self.literals(&column)),
            _ => format!("NOT ({} = {})", column.name, self.literal(&column)),
        }
    }

    /// Any condition.
    fn condition(&mut self, depth: u32) -> String {
        if depth > 0 {
            match self.rng.random_range(0..6) {
                0 => {
                    return format!(
                        "({} AND {})",
                        self.condition(depth - 1),
                        self.condition(depth - 1)
                    );
                }
                1 => {
                    return format!(
                        "({} OR {})",
                        self.condition(depth - 1),
                        self.condition(depth - 1)
                    );
                }
                2 => return format!("NOT ({})", self.condition(depth - 1)),
                _ => {}
            }
        }
        let column = self.column();
        let name = column.name.clone();
        let not = *choose(self.rng, &["", "", "NOT "]);
        let is_text = matches!(column.column_type, ColumnType::Text | ColumnType::Json);
        match self.rng.random_range(0..8) {
            0 => format!("{name} IS {not}NULL"),
            1 => {
                format!(
                    "{name} {not}BETWEEN {} AND {}",
                    self.literal(&column),
                    self.literal(&column)
                )
            }
            2 => format!("{name} {not}IN ({})", self.literals(&column)),
            3 | 4 if is_text => format!("{name} {not}LIKE {}", self.pattern()),
            3 if column.column_type == ColumnType::Bool => format!("{not}{name}"),
            4 if column.column_type == ColumnType::Bool => format!("{name} IS {not}TRUE"),
            _ => {
                let operator = *choose(self.rng, &["=", "<>", "!=", "<", "<=", ">", ">=", "=="]);
                self.comparison(&column, operator)
            }
        }
    }

    fn comparison(&mut self, column: &Column, operator: &str) -> String {
        let literal = self.literal(column);
        if self.rng.random_bool(0.2) {
            format!("{literal} {operator} {}", column.name)
        } else {
            format!("{} {operator} {literal}", column.name)
        }
    }

    fn literals(&mut self, column: &Column) -> String {
        let literals: Vec<_> =
            (0..self.rng.random_range(1..5)).map(|_| self.literal(column)).collect();
        literals.join(", ")
    }

    fn pattern(&mut self) -> String {
        let patterns = [
            "'a%'",
            "'%B'",
            "'_'",
            "'%'",
            "''",
            "'é'",
            "'É'",
            "'a!%b' ESCAPE '!'",
            "'%!_%' ESCAPE '!'",
            "'{%'",
            "'a!' ESCAPE '!'",
            "'%5%'",
            "'a%' ESCAPE '%'",
            "NULL",
            "'_%b%'",
        ];
        (*choose(self.rng, &patterns)).to_owned()
    }

    /// A literal that can be compared with the column; often a value in the table.
    fn literal(&mut self, column: &Column) -> String {
        if self.rng.random_bool(0.04) {
            return "NULL".to_owned();
        }
        let position = self.table.schema.column(&column.name).unwrap().0;
        if !self.table.rows.is_empty() && self.rng.random_bool(0.6) {
            let row = choose(self.rng, &self.table.rows);
            return literal(&row[position]);
        }
        match (column.column_type, self.rng.random_range(0..8)) {
            // Numbers of the other kind, as text, and as truth values.
            (ColumnType::Int, 0..=2) => literal(&value(self.rng, ColumnType::Real)),
            (ColumnType::Real, 0..=2) => literal(&value(self.rng, ColumnType::Int)),
            (ColumnType::Int | ColumnType::Real, 3) => {
                (*choose(self.rng, &["'5'", "' 2.5 '", "'1e0'", "'-1'"])).to_owned()
            }
            (ColumnType::Int | ColumnType::Real, 4) => {
                (*choose(self.rng, &["TRUE", "FALSE", "+1", "9223372036854775808", "1e1", ".5"]))
                    .to_owned()
            }
            (ColumnType::Bool, 0..=2) => (*choose(self.rng, &["0", "1"])).to_owned(),
            (column_type, _) => literal(&value(self.rng, column_type)),
        }
    }

    fn column(&mut self) -> Column {
        choose(self.rng, self.table.schema.columns()).clone()
    }
}

/// A value as SQL.
pub(crate) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Real(number) if number.is_infinite() => {
            if *number > 0.0 {
                "9e999".to_owned()
            } else {
                "-9e999".to_owned()
            }
        }
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) | Value::Json(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Bool(truth) => if *truth { "TRUE" } else { "FALSE" }.to_owned(),
        Value::Timestamp(_) => format!("'{}'", instant(value)),
    }
}

/// An instant in a form whose order as text, which SQLite uses, is the order of time.
pub(crate) fn instant(value: &Value) -> String {
    let Value::Timestamp(micros) = value else { panic!("no instant: {value:?}") };
    Timestamp::from_microsecond(*micros).unwrap().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn choose<'a, T>(rng: &mut impl Rng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}
