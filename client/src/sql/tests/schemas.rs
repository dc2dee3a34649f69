//! Requests depend only on the searchable columns' names, roles and geometries and on row counts,
//! not on anything else that a server states. The test compares random statements over pairs of
//! schemas that agree in these properties only.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};

use opaque_pir::geometry::Geometry;
use opaque_pir::table::{Column, ColumnType, Role, Schema};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::{Bounds, IndexMeta, Options, Parameters, Refusal, Source, SqlError};
use super::super::{TableMeta, parse, plan};
use super::nothing;

const STATEMENTS: u64 = 20_000;
const ROWS: u64 = 1000;
/// Name, role, number of rows that are not NULL, rows per page: the same in both schemas of a pair.
const SEARCHABLE: [(&str, Role, u64, u32); 4] = [
    ("k", Role::Key, 1000, 1),
    ("i", Role::Index, 900, 10),
    ("j", Role::Index, 30, 10),
    ("l", Role::Key, 1000, 1),
];
/// Each schema has some of them.
const OTHERS: [&str; 5] = ["o", "p", "q", "r", "n"];
const TYPES: [ColumnType; 6] = [
    ColumnType::Int,
    ColumnType::Real,
    ColumnType::Text,
    ColumnType::Json,
    ColumnType::Bool,
    ColumnType::Timestamp,
];
const LITERALS: [&str; 20] = [
    "NULL",
    "TRUE",
    "FALSE",
    "0",
    "1",
    "-7",
    "2.5",
    "1e300",
    "9223372036854775808",
    "''",
    "'warm'",
    "' 5 '",
    "'true'",
    "'inf'",
    "'now'",
    "'2026-01-01T00:00:00Z'",
    "'{\"a\": 1}'",
    "'%'",
    ":a",
    ":b",
];
const GIVEN: [&str; 7] = ["5", "2.5", "t", "warm", "", "2026-01-01T00:00:00Z", "{}"];

/// What a server sees of a statement.
#[derive(Debug, PartialEq)]
enum Seen {
    RefusedByText(SqlError),
    Refused(Discriminant<Refusal>),
    Count(u64),
    Lookups { column: String, number: usize, pages: u32 },
    Scan(Option<u64>),
    Several(Vec<Seen>),
}

#[test]
fn nothing_else_that_a_server_states_decides_what_is_sent() {
    let mut ways = BTreeMap::new();
    let mut only_one_fits = 0;
    for seed in 0..STATEMENTS {
        let mut rng = StdRng::seed_from_u64(seed);
        let (sql, parameters) = Statements { rng: &mut rng }.statement();
        let options =
            Options { pages: rng.random_range(1..4), allow_public_scan: rng.random_bool(0.3) };
        let schemas = [schema(&mut rng), schema(&mut rng)];
        let [first, second] = schemas.each_ref().map(|schema| {
            let indexes = indexes(schema);
            let meta = TableMeta { schema, rows: ROWS, indexes: &indexes };
            outcome(&sql, &parameters, &meta, &options)
        });
        assert_eq!(first.0, second.0, "seed {seed}: {sql}\n{schemas:?}");
        let way = match first.0 {
            Seen::RefusedByText(_) => "refused by text",
            Seen::Refused(_) => "refused",
            Seen::Count(_) => "count",
            Seen::Lookups { .. } => "lookups",
            Seen::Scan(_) => "scan",
            Seen::Several(_) => "several tables",
        };
        *ways.entry(way).or_insert(0) += 1;
        only_one_fits += u32::from(first.1 != second.1 && way == "lookups");
    }
    // The pairs differ in properties that matter to the statements, and every kind of answer
    // occurs.
    assert!(only_one_fits > 1000, "{only_one_fits} of {ways:?}");
    assert!(ways.len() == 6 && ways.values().all(|number| *number > 300), "{ways:?}");
}

/// What the server sees, and whether the statement fits the schema in the end.
fn outcome(
    sql: &str,
    parameters: &Parameters,
    meta: &TableMeta<'_>,
    options: &Options,
) -> (Seen, bool) {
    let statement = match parse(sql, parameters) {
        Ok(statement) => statement,
        Err(SqlError::Syntax { message }) => panic!("{sql}: {message}"),
        Err(error) => return (Seen::RefusedByText(error), false),
    };
    let planned = match plan(&statement, &vec![*meta; statement.tables().len()], options) {
        Ok(planned) => planned,
        Err(SqlError::NotPrivate(refusal)) => {
            return (Seen::Refused(discriminant(&refusal)), false);
        }
        Err(error) => panic!("{sql}: refused for what a server states: {error}"),
    };
    let seen = |source: &Source| match source {
        Source::Count(count) => Seen::Count(*count),
        Source::Lookups { column, values, pages } => {
            let column = &meta.schema.columns()[*column];
            assert!(values.iter().all(|value| value.is_of(column.column_type)), "{sql}");
            Seen::Lookups { column: column.name.clone(), number: values.len(), pages: *pages }
        }
        Source::PublicScan { rows_below } => Seen::Scan(*rows_below),
    };
    let mut all: Vec<_> = planned.sources().map(seen).collect();
    let seen = if all.len() == 1 { all.remove(0) } else { Seen::Several(all) };
    let fetched = planned.sources().map(nothing).collect();
    (seen, planned.finish(fetched, &Bounds::default()).is_ok())
}

fn schema(rng: &mut StdRng) -> Schema {
    let mut columns = Vec::new();
    for (name, role, ..) in SEARCHABLE {
        let nullable = role != Role::Key && rng.random();
        columns.push(Column {
            name: name.to_owned(),
            column_type: one_of(rng, &TYPES),
            role,
            nullable,
        });
    }
    for name in OTHERS {
        if rng.random_bool(0.6) {
            let (column_type, nullable) = (one_of(rng, &TYPES), rng.random());
            columns.push(Column {
                name: name.to_owned(),
                column_type,
                role: Role::Payload,
                nullable,
            });
        }
    }
    let mut shuffled = Vec::new();
    while !columns.is_empty() {
        shuffled.push(columns.swap_remove(rng.random_range(0..columns.len())));
    }
    Schema::new("t".to_owned(), shuffled).unwrap()
}

fn indexes(schema: &Schema) -> Vec<IndexMeta> {
    let index = |column: usize| {
        let name = &schema.columns()[column].name;
        let (_, _, non_null_rows, page_rows) =
            *SEARCHABLE.iter().find(|searchable| searchable.0 == name).unwrap();
        let geometry = Geometry::new(4096, 1024, page_rows).unwrap();
        IndexMeta { column, non_null_rows, geometry }
    };
    schema.searchable().map(index).collect()
}

fn one_of<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

/// A condition with a table's name before its columns.
fn qualified(condition: &str, table: &str) -> String {
    let column = |word: &str| SEARCHABLE.iter().any(|searchable| searchable.0 == word);
    let word = |word: &str| {
        let name = word.trim_start_matches('(');
        if column(name) { word.replace(name, &format!("{table}.{name}")) } else { word.to_owned() }
    };
    condition.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Statements of the grammar, valid and invalid for the schema.
struct Statements<'a> {
    rng: &'a mut StdRng,
}

impl Statements<'_> {
    fn statement(&mut self) -> (String, Parameters) {
        let distinct = if self.rng.random_bool(0.1) { "DISTINCT " } else { "" };
        let list = match self.rng.random_range(0..20) {
            0..=6 => "*".to_owned(),
            7..=11 => "COUNT(*)".to_owned(),
            12 => format!("*, {}", self.name()),
            13 => format!("{}, COUNT(*)", self.name()),
            14..=16 => format!("{} AS p, {}", self.name(), self.name()),
            _ => self.name().to_owned(),
        };
        let mut sql = format!("SELECT {distinct}{list} FROM t");
        if self.rng.random_bool(0.1) {
            let (first, second) = (self.search(), self.search());
            let kind = one_of(self.rng, &["JOIN", "LEFT JOIN", "FULL JOIN"]);
            sql = format!(
                "SELECT a.{} FROM t a {kind} t b ON a.{} = b.{} WHERE {} AND {}",
                self.name(),
                self.name(),
                self.name(),
                qualified(&first, "a"),
                qualified(&second, "b"),
            );
            return (sql, self.parameters(&first, &second));
        }
        match self.rng.random_range(0..10) {
            0 => {}
            1..=5 => {
                let (searched, more) = (self.search(), self.condition(2));
                sql += &match self.rng.random_range(0..3) {
                    0 => format!(" WHERE {searched}"),
                    1 => format!(" WHERE {searched} AND {more}"),
                    _ => format!(" WHERE {more} AND {searched}"),
                };
            }
            _ => sql += &format!(" WHERE {}", self.condition(2)),
        }
        if self.rng.random_bool(0.3) {
            let key = match self.rng.random_range(0..3) {
                0 => self.rng.random_range(0..10).to_string(),
                _ => self.name().to_owned(),
            };
            sql += &format!(" ORDER BY {key}{}", one_of(self.rng, &["", " DESC"]));
        }
        if self.rng.random_bool(0.3) {
            sql += &format!(" LIMIT {}", one_of(self.rng, &["0", "3", "40", "-1", ":limit"]));
            sql += one_of(self.rng, &["", " OFFSET 2", " OFFSET 25"]);
        }
        let mut given = BTreeMap::new();
        for name in ["a", "b"] {
            if sql.contains(&format!(":{name}")) != self.rng.random_bool(0.02) {
                given.insert(name.to_owned(), one_of(self.rng, &GIVEN).to_owned());
            }
        }
        if sql.contains(":limit") {
            given.insert("limit".to_owned(), one_of(self.rng, &["7", "7", "many"]).to_owned());
        }
        (sql, Parameters::new(given))
    }

    /// The values of the parameters of two conditions.
    fn parameters(&mut self, first: &str, second: &str) -> Parameters {
        let used = |name: &&str| format!("{first} {second}").contains(&format!(":{name}"));
        let names: Vec<_> = ["a", "b"].into_iter().filter(used).collect();
        names
            .into_iter()
            .map(|name| (name.to_owned(), one_of(self.rng, &GIVEN).to_owned()))
            .collect()
    }

    /// A condition that lookups answer, if the literals have the column's type.
    fn search(&mut self) -> String {
        let column = one_of(self.rng, &SEARCHABLE).0;
        match self.rng.random_range(0..5) {
            0..=1 => format!("{column} = {}", self.literal()),
            2 => format!("{column} IN ({})", self.literals()),
            3 => format!("({column} = {} OR {column} IS TRUE)", self.literal()),
            _ => {
                let operator = one_of(self.rng, &["<>", "NOT IN"]);
                format!("{column} {operator} ({})", self.literal())
            }
        }
    }

    fn condition(&mut self, depth: u32) -> String {
        if depth > 0 {
            match self.rng.random_range(0..5) {
                0 => return format!("({} AND {})", self.condition(depth - 1), self.search()),
                1 => return format!("({} OR {})", self.search(), self.condition(depth - 1)),
                2 => return format!("NOT ({})", self.condition(depth - 1)),
                _ => {}
            }
        }
        let (name, not) = (self.name(), one_of(self.rng, &["", "NOT "]));
        match self.rng.random_range(0..20) {
            0..=1 => format!("{name} IS {not}NULL"),
            2..=3 => format!("{name} {not}BETWEEN {} AND {}", self.literal(), self.literal()),
            4..=6 => format!("{name} {not}IN ({})", self.literals()),
            7..=8 => format!("{name} {not}LIKE {}", self.literal()),
            9 => format!("{name} IS {not}FALSE"),
            10 => format!("{not}{name}"),
            11 if self.rng.random_bool(0.2) => format!("{name} = {}", self.name()),
            11 if self.rng.random_bool(0.2) => format!("{name} = \"{}\"", self.name()),
            12 => format!("{} = {name}", self.literal()),
            _ => {
                let operator = one_of(self.rng, &["=", "=", "<>", "<", "<=", ">", ">="]);
                format!("{name} {operator} {}", self.literal())
            }
        }
    }

    /// A column of both schemas, of one of them, or of none.
    fn name(&mut self) -> &'static str {
        match self.rng.random_range(0..5) {
            0..=1 => one_of(self.rng, &SEARCHABLE).0,
            2..=3 => one_of(self.rng, &OTHERS),
            _ => one_of(self.rng, &["none", "K", "P"]),
        }
    }

    fn literal(&mut self) -> &'static str {
        one_of(self.rng, &LITERALS)
    }

    fn literals(&mut self) -> String {
        // Rarely more than a statement may look up.
        let number = if self.rng.random_bool(0.01) { 400 } else { self.rng.random_range(1..5) };
        let literals: Vec<_> = (0..number).map(|_| self.literal()).collect();
        literals.join(", ")
    }
}
