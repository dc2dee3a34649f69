//! SQL that our parser and SQLite could read differently, and what is refused of it.

use opaque_pir::table::{Column, ColumnType, Role, Schema, Value};

use super::super::{
    Bounds, Fetched, Found, OutputColumn, Parameters, ResultSet, Source, SqlError, TableMeta,
};
use super::super::{parse, plan};
use super::{planned, planned_with, source};

/// A row of the table `weather`.
fn row(number: u64, city: &str, at: &str) -> (u64, Vec<Value>) {
    let mut row = vec![Value::Null; 7];
    row[0] = Value::Text("a".to_owned());
    row[1] = Value::Text(city.to_owned());
    row[2] = Value::Int(number.cast_signed());
    row[5] = Value::parse(ColumnType::Timestamp, at).unwrap();
    (number, row)
}

/// The answer if each table has two rows with sky `a`.
fn ask_with(sql: &str, parameters: &[(&str, &str)]) -> Result<ResultSet, SqlError> {
    let plan = planned_with(sql, parameters, Default::default())?;
    let rows =
        || vec![row(0, "Ulm", "2026-11-30T10:00:00Z"), row(1, "Bonn", "2026-11-30T10:00:00.5Z")];
    let fetched = plan.sources().map(|source| match source {
        Source::Count(_) => Fetched::Nothing,
        Source::Lookups { values, .. } => {
            Fetched::Lookups(vec![Found { total_rows: 2, rows: rows() }; values.len()])
        }
        Source::PublicScan { .. } => Fetched::Rows(rows().into()),
    });
    plan.finish(fetched.collect(), &Bounds::default())
}

fn ask(sql: &str) -> Result<ResultSet, SqlError> {
    ask_with(sql, &[])
}

/// The cells of an answer, as text.
fn cells(sql: &str) -> Vec<String> {
    let answer = ask(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let shown = |value| match value {
        Value::Text(text) => text,
        Value::Int(number) => number.to_string(),
        Value::Null => "NULL".to_owned(),
        other => panic!("{other:?}"),
    };
    answer.rows.into_iter().flatten().map(shown).collect()
}

fn names(sql: &str) -> Vec<String> {
    let answer = ask(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    answer.columns.into_iter().map(|OutputColumn { name, .. }| name).collect()
}

#[track_caller]
fn refused(sql: &str, with: &str) {
    let error = match planned(sql) {
        Ok(_) => panic!("{sql} is accepted"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(with), "{sql}: {error}");
}

/// SQLite reads TRUE as a column if there is one of this name.
#[test]
fn is_true_is_no_comparison_with_a_column_named_true() {
    let column = |name: &str, column_type, role, nullable| Column {
        name: name.to_owned(),
        column_type,
        role,
        nullable,
    };
    let columns = vec![
        column("id", ColumnType::Int, Role::Key, false),
        column("b", ColumnType::Bool, Role::Payload, true),
        column("true", ColumnType::Int, Role::Payload, false),
    ];
    let schema = Schema::new("t".to_owned(), columns).unwrap();
    let meta = TableMeta { schema: &schema, rows: 3, indexes: &[] };
    let row = |id: u64, b| (id, vec![Value::Int(id.cast_signed()), b, Value::Int(7)]);
    let rows =
        || [row(0, Value::Bool(true)), row(1, Value::Bool(false)), row(2, Value::Null)].to_vec();
    for (condition, expected) in [
        ("b IS TRUE", [1, 0, 0]),
        ("b IS NOT TRUE", [0, 1, 1]),
        ("b IS FALSE", [0, 1, 0]),
        ("b IS NOT FALSE", [1, 0, 1]),
        ("NOT b IS TRUE", [0, 1, 1]),
        ("b = TRUE IS TRUE", [1, 0, 0]),
        ("coalesce(b, \"true\" = 7) IS TRUE", [1, 0, 1]),
    ] {
        let sql = format!("SELECT ({condition}) + 0 FROM t");
        let statement = parse(&sql, &Parameters::default()).unwrap();
        let plan = plan(&statement, &[meta], &Default::default()).unwrap();
        let answer = plan.finish(vec![Fetched::Rows(rows().into())], &Bounds::default()).unwrap();
        assert_eq!(answer.rows, expected.map(|number| vec![Value::Int(number)]), "{condition}");
    }
    let aliased =
        "SELECT temp AS \"true\", temp > 0 IS TRUE FROM weather WHERE sky = 'a' ORDER BY 1";
    assert_eq!(cells(aliased), ["0", "0", "1", "1"]);
}

#[test]
fn a_count_may_have_an_order() {
    assert_eq!(cells("SELECT COUNT(*) FROM weather ORDER BY temp"), ["1000"]);
    assert_eq!(
        cells("SELECT COUNT(*) FROM weather WHERE sky = 'a' ORDER BY weather.temp DESC"),
        ["2"]
    );
    assert_eq!(cells("SELECT COUNT(*) AS n FROM weather ORDER BY n LIMIT 1"), ["1000"]);
}

/// A literal may write an instant with other digits or in another time zone.
#[test]
fn computed_times_compare_with_literals_as_instants() {
    for (condition, expected) in [
        ("coalesce(at, '') = '2026-11-30T10:00:00Z'", ["Ulm"].as_slice()),
        ("'2026-11-30T11:00:00+01:00' = coalesce(at, '')", &["Ulm"]),
        ("coalesce(at, '') > '2026-11-30T11:00:00.25+01:00'", &["Bonn"]),
        ("coalesce(at, '') IN ('2026-11-30T10:00:00.50Z', 'x')", &["Bonn"]),
        ("coalesce(at, '') BETWEEN '2026-11-30T09:00:00Z' AND '2026-11-30T10:00:00Z'", &["Ulm"]),
        ("strftime('%Y-%m-%dT%H:%M:%SZ', at) = '2026-11-30T10:00:00Z'", &["Ulm", "Bonn"]),
        // Parts of a time are text.
        ("substr(at, 1, 10) = '2026-11-30'", &["Ulm", "Bonn"]),
        ("coalesce(at, '') < '2026-11-30'", &[]),
        // A text that is not computed from a time stays one.
        ("city || 'x' = '2026-11-30T10:00:00Z'", &[]),
    ] {
        let sql = format!("SELECT city FROM weather WHERE sky = 'a' AND {condition}");
        assert_eq!(cells(&sql), expected, "{condition}");
    }
    for sql in [
        "SELECT city FROM weather WHERE sky = 'a' GROUP BY city HAVING MAX(at) = '2026-11-30T10:00:00Z'",
        "WITH m AS (SELECT city, MAX(at) AS \"Last\" FROM weather WHERE sky = 'a' GROUP BY city) \
         SELECT city FROM m WHERE last = '2026-11-30T10:00:00Z'",
        "SELECT city FROM (SELECT city, l AS x FROM (SELECT city, MIN(at) AS l FROM weather \
         WHERE sky = 'a' GROUP BY city)) WHERE x <= '2026-11-30T10:00:00Z'",
    ] {
        assert_eq!(cells(sql), ["Ulm"], "{sql}");
    }
    let sql = "SELECT city FROM weather WHERE sky = 'a' AND coalesce(at, '') = :t || ''";
    let parameters = [("t", "2026-11-30T10:00:00Z")];
    assert!(ask_with(sql, &parameters).unwrap().rows.is_empty(), "|| makes it a text");
    let sql = "SELECT city FROM weather WHERE sky = 'a' AND lower(:t) <> '' \
               AND coalesce(at, '') = '2026-11-30T10:00:00Z'";
    assert_eq!(ask_with(sql, &parameters).unwrap().rows.len(), 1);
}

/// A TEXT column is compared as text, also if another table has a TIMESTAMP column of its name.
#[test]
fn a_text_is_no_time_because_of_its_name() {
    let schema = |table: &str, column_type| {
        let column = |name: &str, column_type, role| Column {
            name: name.to_owned(),
            column_type,
            role,
            nullable: false,
        };
        let id = column("id", ColumnType::Int, Role::Key);
        Schema::new(table.to_owned(), vec![id, column("at", column_type, Role::Payload)]).unwrap()
    };
    let (t, u) = (schema("t", ColumnType::Timestamp), schema("u", ColumnType::Text));
    let metas = [&t, &u].map(|schema| TableMeta { schema, rows: 1, indexes: &[] });
    let sql = "SELECT t.at = '2026-11-30T11:00:00+01:00', u.at = '2026-11-30T11:00:00+01:00', \
               MAX(t.at) = '2026-11-30T11:00:00+01:00' FROM t, u";
    let statement = parse(sql, &Parameters::default()).unwrap();
    let options = super::super::Options { allow_public_scan: true, ..Default::default() };
    let plan = plan(&statement, &metas, &options).unwrap();
    let text = "2026-11-30T10:00:00Z";
    let rows = [Value::parse(ColumnType::Timestamp, text).unwrap(), Value::Text(text.to_owned())];
    let rows = rows.map(|at| Fetched::Rows([(0, vec![Value::Int(0), at])].into()));
    let answer = plan.finish(rows.into(), &Bounds::default()).unwrap();
    assert_eq!(answer.rows, [[1, 0, 1].map(Value::Int)]);
}

#[test]
fn equal_parameters_are_equal_expressions() {
    let sql = "SELECT city || CAST(:p AS TEXT) FROM weather WHERE sky = 'a' \
               UNION SELECT sky || 'x' FROM weather WHERE sky = 'a' ORDER BY city || CAST(:p AS TEXT)";
    assert_eq!(ask_with(sql, &[("p", "!")]).unwrap().rows.len(), 3);
    // The same parameter may still have two types.
    let sql = "SELECT city FROM weather WHERE temp = :p AND sky <> :p";
    assert_eq!(ask_with(sql, &[("p", "1")]).unwrap().rows.len(), 1);
}

#[test]
fn names_of_columns_are_those_of_sqlite() {
    for (selected, name) in [
        ("(city)", "city"),
        ("city COLLATE NOCASE", "city"),
        ("(weather.city) COLLATE NOCASE", "city"),
        ("upper(city) COLLATE NOCASE", "upper(city) COLLATE NOCASE"),
        ("'\"`]'", "'\"`]'"),
        ("'a''b\\\"\"' || \"city\"", "'a''b\\\"\"' || \"city\""),
    ] {
        assert_eq!(names(&format!("SELECT {selected} FROM weather WHERE sky = 'a'")), [name]);
    }
    let sql = "SELECT city FROM (SELECT city COLLATE NOCASE FROM weather WHERE sky = 'a')";
    assert_eq!(names(sql), ["city"]);
    assert_eq!(
        names("SELECT city AS \"a\"\"`]\\\"\"\" FROM weather WHERE sky = 'a'"),
        ["a\"`]\\\""]
    );
    let typed = ask("SELECT (city) FROM weather WHERE sky = 'a'").unwrap();
    assert_eq!(typed.columns[0].column_type, Some(ColumnType::Text));
}

#[test]
fn parentheses_around_aliases_and_columns_change_nothing() {
    for sql in [
        "SELECT upper(city) AS u FROM weather WHERE sky = 'a' ORDER BY (u)",
        "SELECT upper(city) AS u FROM weather WHERE sky = 'a' GROUP BY (u) ORDER BY ((u))",
        "SELECT upper((city)) AS u FROM weather WHERE sky = 'a' AND (u) <> '' ORDER BY u",
    ] {
        assert_eq!(cells(sql), ["BONN", "ULM"], "{sql}");
    }
}

/// GROUP BY 1 is the first column, and GROUP BY TRUE a constant.
#[test]
fn group_by_true_is_one_group() {
    let grouped = |by: &str| {
        cells(&format!("SELECT COUNT(*) + 0 FROM weather WHERE sky = 'a' GROUP BY {by}"))
    };
    assert_eq!(grouped("TRUE"), ["2"]);
    assert_eq!(grouped("city"), ["1", "1"]);
}

#[test]
fn substr_and_trim_of_constants_are_constants() {
    for literal in
        ["substr('xab', 2, 1)", "substring('xab', 2, 1)", "trim(' a ')", "trim('xax', 'x')"]
    {
        let plan = planned(&format!("SELECT city FROM weather WHERE sky = {literal}")).unwrap();
        let Source::Lookups { values, .. } = source(&plan) else { panic!("{literal}") };
        assert_eq!(*values, [Value::Text("a".to_owned())], "{literal}");
    }
    refused("SELECT city FROM weather WHERE sky = substr(city, 1)", "not answered privately");
    for call in ["substr(:p, 1, 1)", "trim(:p)", "trim(city, :p)"] {
        let sql = format!("SELECT {call} FROM weather WHERE sky = 'a'");
        assert_eq!(ask_with(&sql, &[("p", "a")]).unwrap().rows.len(), 2, "{call}");
    }
}

/// Ten expressions of which each reads the one before it four times are a million tables.
#[test]
fn expressions_that_multiply_are_refused_wherever_they_are() {
    let chain = |count: usize| {
        let mut with = "x0 AS (SELECT 1 AS i)".to_owned();
        for number in 1..count {
            let before = format!("x{}", number - 1);
            with += &format!(
                ", x{number} AS (SELECT 1 AS i FROM {before}, {before} b, {before} c, {before} d)"
            );
        }
        with
    };
    let (long, last) = (chain(10), "x9");
    let half = chain(5);
    for sql in [
        format!("WITH {long} SELECT 1 FROM {last}"),
        format!("SELECT 1 FROM (WITH {long} SELECT 1 FROM {last})"),
        format!("SELECT (WITH {long} SELECT 1 FROM {last})"),
        format!("WITH y AS (WITH {long} SELECT 1 FROM {last}) SELECT 1 FROM y"),
        // Half of them in a WITH, and the rest in the queries that use it.
        format!("WITH {half} SELECT 1 FROM x4, x4 b, x4 c, x4 d"),
        format!(
            "WITH {half} SELECT 1 FROM (WITH y AS (SELECT 1 FROM x4, x4 b) SELECT 1 FROM y, y z)"
        ),
        // Each name is used before its expression.
        "WITH a AS (SELECT 1 FROM b, b x, b y, b z), b AS (SELECT 1 FROM c, c x, c y, c z), \
         c AS (SELECT 1 FROM d, d x, d y, d z), d AS (SELECT 1 FROM e, e x, e y, e z), \
         e AS (SELECT 1 FROM f, f x, f y, f z), f AS (SELECT 1) SELECT 1 FROM a"
            .to_owned(),
    ] {
        refused(&sql, "multiplies");
    }
    for sql in [
        format!("WITH {} SELECT 1 FROM x3", chain(4)),
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT i FROM n"
            .to_owned(),
        "WITH x AS (SELECT 1 AS i) SELECT i FROM x WHERE i IN (WITH x AS (SELECT i FROM x) SELECT 1)"
            .to_owned(),
    ] {
        let outcome = planned(&sql).map(|_| ()).map_err(|error| error.to_string());
        assert!(outcome.as_ref().err().is_none_or(|error| !error.contains("multiplies")), "{outcome:?}");
    }
}

#[test]
fn texts_are_bounded() {
    let repeated =
        |times: usize| format!("replace('{}', 'x', '{}')", "x".repeat(times), "y".repeat(300));
    let constant = format!("SELECT city FROM weather WHERE sky = {}", repeated(300));
    refused(&constant, "has no value");
    assert!(planned(&format!("SELECT city FROM weather WHERE sky = {}", repeated(200))).is_ok());
    assert!(ask("SELECT length(printf('%1000000d', temp)) FROM weather WHERE sky = 'a'").is_ok());
    let error = ask("SELECT length(printf('%2000000d', temp)) FROM weather WHERE sky = 'a'");
    assert!(error.unwrap_err().to_string().contains("too big"));
}

/// A chain of thousands of operators would otherwise exhaust the stack.
#[test]
fn deep_expressions_are_refused() {
    for (first, more) in [
        ("temp", " + 1"),
        ("temp", " IS NULL"),
        ("temp", " = 1"),
        ("city", " LIKE 'a'"),
        ("temp", " IN (1)"),
        ("temp", " BETWEEN 1 AND 2"),
        ("temp", " IS NOT TRUE"),
        ("temp", " IS DISTINCT FROM 1"),
    ] {
        let sql =
            |times| format!("SELECT {first}{} FROM weather WHERE sky = 'a'", more.repeat(times));
        let long = sql(30_000 / more.len());
        let error = planned(&long).unwrap_err().to_string();
        assert!(error.contains("nested too deeply"), "{more}: {error}");
    }
    let many = format!("SELECT temp{} FROM weather WHERE sky = 'a'", " + 1".repeat(150));
    assert_eq!(cells(&many), ["150", "151"]);
    let parentheses = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    refused(&parentheses, "nested too deeply");
    let minus = format!("SELECT {}1", "- ".repeat(10_000));
    refused(&minus, "nested too deeply");
}

/// The parser reads more than SQLite, and groups it by its own rules.
#[test]
fn what_sqlite_does_not_have_is_refused() {
    for (expression, with) in [
        ("temp XOR 1", "XOR"),
        ("city SIMILAR TO 'a'", "SIMILAR TO"),
        ("at AT TIME ZONE 'UTC'", "AT TIME ZONE"),
        ("temp IS UNKNOWN", "IS UNKNOWN"),
        ("DATE '2026-01-01'", "DATE"),
        ("INTERVAL '1' DAY", "INTERVAL"),
        ("city::TEXT", "::"),
        ("EXTRACT(YEAR FROM at)", "EXTRACT"),
    ] {
        let error = planned(&format!("SELECT {expression} FROM weather WHERE sky = 'a'"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(with) || error.contains("cannot be read"), "{expression}: {error}");
    }
    refused(
        "SELECT * FROM (weather w JOIN weather x ON w.sky = x.sky) AS j WHERE w.city = 'a' AND x.city = 'b'",
        "a name for joined tables",
    );
}
