//! The source of each form of statement.

use opaque_pir::table::Value;

use super::super::{Options, Refusal, Source, SqlError};
use super::{planned, planned_with, source};

const SKY: usize = 0;
const CITY: usize = 1;
const TEMP: usize = 2;

/// A source without the literals' types: texts and numbers.
#[derive(Debug, Clone, PartialEq)]
enum Expected {
    Count(u64),
    Look(usize, &'static [&'static str], u32),
    Scan(Option<u64>),
    Refused,
}
use Expected::{Count, Look, Refused, Scan};

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Null => "NULL".to_owned(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(cases: &[(&str, Expected)], options: Options) {
    for (sql, expected) in cases {
        let planned = planned_with(&format!("SELECT {sql}"), &[], options);
        let fits = match (planned.as_ref().map(source), expected) {
            (Ok(Source::Count(count)), Count(expected)) => count == expected,
            (Ok(Source::Lookups { column, values, pages }), Look(on, literals, expected)) => {
                let values: Vec<_> = values.iter().map(shown).collect();
                column == on && values == *literals && pages == expected
            }
            (Ok(Source::PublicScan { rows_below }), Scan(expected)) => rows_below == expected,
            (Err(SqlError::NotPrivate(_)), Refused) => true,
            _ => false,
        };
        assert!(fits, "{sql}: {planned:?}, not {expected:?}");
    }
}

fn check_default(cases: &[(&str, Expected)]) {
    check(cases, Options::default());
}

#[test]
fn no_where_is_metadata_or_a_public_scan() {
    check_default(&[
        ("COUNT(*) FROM weather", Count(1000)),
        ("count(*) AS n FROM weather LIMIT 0", Count(1000)),
        ("DISTINCT COUNT(*) FROM weather ORDER BY 1", Count(1000)),
        ("* FROM weather", Scan(None)),
        ("* FROM weather LIMIT 7", Scan(Some(7))),
        ("* FROM weather LIMIT 7 OFFSET 3", Scan(Some(10))),
        ("* FROM weather LIMIT 3, 7", Scan(Some(10))),
        ("* FROM weather LIMIT 0", Scan(Some(0))),
        ("* FROM weather LIMIT -1", Scan(None)),
        ("* FROM weather LIMIT 7 OFFSET -1", Scan(Some(7))),
        (
            "* FROM weather LIMIT 9223372036854775807 OFFSET 9223372036854775807",
            Scan(Some(u64::MAX - 1)),
        ),
        ("* FROM weather OFFSET 3", Scan(None)),
        ("DISTINCT sky FROM weather LIMIT 7", Scan(None)),
        ("* FROM weather ORDER BY city LIMIT 7", Scan(None)),
        ("COUNT(*) FROM weather WHERE sky IS NULL", Count(100)),
        ("COUNT(*) FROM weather WHERE NOT sky IS NULL", Count(900)),
        ("COUNT(*) FROM weather WHERE temp IS NOT NULL", Count(800)),
        ("COUNT(*) FROM weather WHERE wind IS NULL", Refused),
    ]);
}

#[test]
fn is_null_is_a_lookup_of_null() {
    check_default(&[
        ("* FROM weather WHERE sky IS NULL", Look(SKY, &["NULL"], 1)),
        ("* FROM weather WHERE NOT (sky IS NOT NULL)", Look(SKY, &["NULL"], 1)),
        ("* FROM weather WHERE sky IS NULL OR sky = 'a'", Look(SKY, &["NULL", "a"], 1)),
        ("COUNT(*) FROM weather WHERE sky = 'a' OR sky IS NULL", Look(SKY, &["a", "NULL"], 1)),
        ("* FROM weather WHERE sky IS NULL AND wind > 3", Look(SKY, &["NULL"], 1)),
        // Fewer rows have a literal's value.
        ("* FROM weather WHERE sky IS NULL AND temp = 3", Look(TEMP, &["3"], 1)),
        ("* FROM weather WHERE sky IS NULL OR temp IS NULL", Refused),
        ("* FROM weather WHERE (sky IS NULL OR sky = 'b') AND sky = 'a'", Look(SKY, &["a"], 1)),
        // Rows of `v` with another sky decide whether the join adds a row of NULL.
        (
            "* FROM weather w LEFT JOIN weather v ON v.city = w.city \
             WHERE w.city = 'a' AND v.sky IS NULL",
            Refused,
        ),
        ("* FROM weather w, weather v WHERE w.city = 'a' AND v.sky IS NULL", Refused),
        ("* FROM weather WHERE wind IS NULL", Refused),
        ("* FROM weather WHERE sky = NULL OR sky IS NULL", Look(SKY, &["", "NULL"], 1)),
    ]);
}

#[test]
fn equalities_on_one_column_are_lookups() {
    check_default(&[
        ("* FROM weather WHERE city = 'a'", Look(CITY, &["a"], 1)),
        ("* FROM weather WHERE 'a' = city", Look(CITY, &["a"], 1)),
        ("* FROM weather WHERE city == 'a'", Look(CITY, &["a"], 1)),
        ("* FROM weather WHERE (((city) = ('a')))", Look(CITY, &["a"], 1)),
        ("* FROM weather WHERE weather.CITY = 'a';", Look(CITY, &["a"], 1)),
        ("* FROM WEATHER WHERE \"city\" = 'a'", Look(CITY, &["a"], 1)),
        ("* FROM weather WHERE 'a' = \"city\"", Look(CITY, &["a"], 1)),
        ("* FROM weather WHERE `city` = 'a'", Look(CITY, &["a"], 1)),
        ("* FROM weather WHERE [city] = 'it''s'", Look(CITY, &["it's"], 1)),
        ("* FROM weather WHERE city IN ('a', 'b')", Look(CITY, &["a", "b"], 1)),
        ("* FROM weather WHERE city IN ('a', 'a')", Look(CITY, &["a", "a"], 1)),
        ("* FROM weather WHERE sky = 'a' OR sky = 'b'", Look(SKY, &["a", "b"], 1)),
        (
            "* FROM weather WHERE (sky = 'a' OR (sky IN ('b', 'c') OR sky = 'a'))",
            Look(SKY, &["a", "b", "c", "a"], 1),
        ),
        ("* FROM weather WHERE NOT (sky <> 'a')", Look(SKY, &["a"], 1)),
        ("* FROM weather WHERE NOT (sky <> 'a' AND sky NOT IN ('b'))", Look(SKY, &["a", "b"], 1)),
        ("COUNT(*) FROM weather WHERE sky = 'a'", Look(SKY, &["a"], 1)),
        ("COUNT(*) FROM weather WHERE sky IN ('a', 'b') LIMIT 5", Look(SKY, &["a", "b"], 1)),
        (
            "* FROM weather WHERE temp = -9223372036854775808",
            Look(TEMP, &["-9223372036854775808"], 1),
        ),
        (
            "* FROM weather WHERE temp = 21.0 OR temp = '22' OR temp = TRUE",
            Look(TEMP, &["21", "22", "1"], 1),
        ),
        ("* FROM weather WHERE city < 'a' OR city = 'b'", Refused),
        ("* FROM weather WHERE city = 'a' OR sky = 'b'", Refused),
        ("* FROM weather WHERE wind = 2.5", Refused),
    ]);
}

/// A cluster that names its columns after guesses must not see from the requests which guess is
/// right.
#[test]
fn double_quotes_are_never_a_literal_whatever_the_columns_are() {
    for quoted in ["\"Tokyo\"", "\"sky\""] {
        for sql in [
            format!("SELECT * FROM weather WHERE city = {quoted}"),
            format!("SELECT * FROM weather WHERE {quoted} = city"),
            format!("SELECT COUNT(*) FROM weather WHERE city <> {quoted}"),
            format!("SELECT * FROM weather WHERE city IN ('a', {quoted})"),
            format!("SELECT * FROM weather WHERE sky = 'a' AND city LIKE {quoted}"),
            format!("SELECT * FROM weather WHERE sky = 'a' AND city BETWEEN 'a' AND {quoted}"),
        ] {
            let allowed = Options { pages: 1, allow_public_scan: true };
            // Only a literal beside it is looked up, and 'Tokyo' never is.
            let planned = planned_with(&sql, &[], allowed).unwrap();
            let expected = usize::from(sql.contains("sky = 'a'"));
            let looked_up = match source(&planned) {
                Source::Lookups { values, .. } => values.len(),
                Source::Count(_) | Source::PublicScan { .. } => 0,
            };
            assert_eq!(looked_up, expected, "{sql}");
        }
    }
}

#[test]
fn a_literal_that_nothing_equals_is_looked_up_all_the_same() {
    check_default(&[
        ("* FROM weather WHERE temp = 2.5", Look(TEMP, &["0"], 1)),
        (
            "* FROM weather WHERE temp IN (1, 2.5, NULL, 9223372036854775808)",
            Look(TEMP, &["1", "0", "0", "0"], 1),
        ),
        ("* FROM weather WHERE sky = NULL", Look(SKY, &[""], 1)),
        ("COUNT(*) FROM weather WHERE temp <> 2.5", Look(TEMP, &["0"], 1)),
        ("COUNT(*) FROM weather WHERE temp NOT IN (1, NULL)", Look(TEMP, &["1", "0"], 1)),
    ]);
}

#[test]
fn pages_follow_from_limit_or_the_option() {
    let cases = [
        ("* FROM weather WHERE sky = 'a' LIMIT 0", 1),
        ("* FROM weather WHERE sky = 'a' LIMIT 10", 1),
        ("* FROM weather WHERE sky = 'a' LIMIT 11", 2),
        ("* FROM weather WHERE sky = 'a' LIMIT 10 OFFSET 11", 3),
        ("* FROM weather WHERE sky IN ('a', 'b') LIMIT 25", 3),
        // No value has more rows than the column: 900 in pages of 10.
        ("* FROM weather WHERE sky = 'a' LIMIT 100000", 90),
        // If LIMIT does not determine the pages, the option does.
        ("* FROM weather WHERE sky = 'a'", 5),
        ("* FROM weather WHERE sky = 'a' OFFSET 100", 5),
        ("* FROM weather WHERE sky = 'a' ORDER BY city LIMIT 10", 5),
        ("DISTINCT sky FROM weather WHERE sky = 'a' LIMIT 10", 5),
        ("* FROM weather WHERE sky = 'a' AND temp > 1 LIMIT 10", 5),
        ("COUNT(*) FROM weather WHERE sky = 'a' AND temp > 1", 5),
        // The first page contains the count.
        ("COUNT(*) FROM weather WHERE sky = 'a'", 1),
        ("COUNT(*) FROM weather WHERE sky <> 'a'", 1),
        // A KEY's value has one row.
        ("* FROM weather WHERE city = 'a'", 1),
        ("* FROM weather WHERE city = 'a' LIMIT 100", 1),
    ];
    for (sql, expected) in cases {
        let options = Options { pages: 5, allow_public_scan: false };
        let plan = planned_with(&format!("SELECT {sql}"), &[], options).unwrap();
        let Source::Lookups { pages, .. } = source(&plan) else { panic!("{plan:?}") };
        assert_eq!(*pages, expected, "{sql}");
    }
}

#[test]
fn conjunctions_look_up_the_key_or_the_first_equality() {
    check_default(&[
        ("* FROM weather WHERE sky = 'a' AND wind > 2", Look(SKY, &["a"], 1)),
        ("* FROM weather WHERE wind > 2 AND (dry AND sky = 'a')", Look(SKY, &["a"], 1)),
        ("* FROM weather WHERE sky = 'a' AND temp = 1", Look(SKY, &["a"], 1)),
        ("* FROM weather WHERE temp = 1 AND sky = 'a'", Look(TEMP, &["1"], 1)),
        ("* FROM weather WHERE temp = 1 AND sky = 'a' AND city = 'c'", Look(CITY, &["c"], 1)),
        ("* FROM weather WHERE sky = 'a' AND sky = 'b'", Look(SKY, &["a"], 1)),
        ("* FROM weather WHERE sky = 'a' AND sky <> 'b'", Look(SKY, &["a"], 1)),
        ("* FROM weather WHERE (sky = 'a' OR sky = 'b') AND temp > 1", Look(SKY, &["a", "b"], 1)),
        (
            "* FROM weather WHERE (sky = 'a' AND temp > 1) OR (sky = 'b' AND temp < 1)",
            Look(SKY, &["a", "b"], 1),
        ),
        (
            "* FROM weather WHERE (sky = 'a' AND temp = 1) OR (temp = 2 AND sky = 'b')",
            Look(SKY, &["a", "b"], 1),
        ),
        ("* FROM weather WHERE city LIKE 'a%' AND temp = 1", Look(TEMP, &["1"], 1)),
        ("COUNT(*) FROM weather WHERE sky = 'a' AND wind > 2", Look(SKY, &["a"], 1)),
        ("* FROM weather WHERE (sky = 'a' AND temp > 1) OR dry", Refused),
    ]);
}

#[test]
fn exclusions_count_privately_and_list_publicly() {
    check_default(&[
        ("COUNT(*) FROM weather WHERE sky <> 'a'", Look(SKY, &["a"], 1)),
        ("COUNT(*) FROM weather WHERE sky != 'a'", Look(SKY, &["a"], 1)),
        ("COUNT(*) FROM weather WHERE NOT (sky = 'a')", Look(SKY, &["a"], 1)),
        ("COUNT(*) FROM weather WHERE NOT sky = 'a'", Look(SKY, &["a"], 1)),
        ("COUNT(*) FROM weather WHERE sky NOT IN ('a', 'b')", Look(SKY, &["a", "b"], 1)),
        ("COUNT(*) FROM weather WHERE NOT (sky = 'a' OR sky = 'b')", Look(SKY, &["a", "b"], 1)),
        ("COUNT(*) FROM weather WHERE sky <> 'a' AND sky <> 'b'", Look(SKY, &["a", "b"], 1)),
        ("* FROM weather WHERE sky <> 'a'", Scan(None)),
        ("* FROM weather WHERE sky <> 'a' LIMIT 1", Scan(None)),
        ("* FROM weather WHERE sky NOT IN ('a')", Scan(None)),
        ("COUNT(*) FROM weather WHERE sky <> 'a' AND wind > 1", Refused),
        ("COUNT(*) FROM weather WHERE sky <> 'a' OR sky = 'b'", Refused),
        ("* FROM weather WHERE sky <> 'a' AND temp <> 1", Refused),
        ("COUNT(*) FROM weather WHERE wind <> 1", Refused),
        ("* FROM weather WHERE wind <> 1", Refused),
    ]);
}

#[test]
fn the_rest_needs_leave_for_a_public_scan_which_is_always_whole() {
    let cases = [
        "* FROM weather WHERE wind > 1",
        "* FROM weather WHERE city > 'a' LIMIT 1",
        "* FROM weather WHERE city LIKE 'a%' LIMIT 1",
        "* FROM weather WHERE city BETWEEN 'a' AND 'b'",
        "* FROM weather WHERE dry",
        "* FROM weather WHERE NOT dry",
        "* FROM weather WHERE dry IS NOT TRUE",
        "* FROM weather WHERE at < '2026-01-01T00:00:00Z'",
        "* FROM weather WHERE doc = '{}'",
        "* FROM weather WHERE city = 'a' OR wind > 1",
        "COUNT(*) FROM weather WHERE temp > 1",
    ];
    for sql in cases {
        check_default(&[(sql, Refused)]);
        check(&[(sql, Scan(None))], Options { pages: 1, allow_public_scan: true });
    }
    // Permission for a public scan changes nothing for statements that are private without it.
    let allowed = Options { pages: 1, allow_public_scan: true };
    check(&[("* FROM weather WHERE city = 'a'", Look(CITY, &["a"], 1))], allowed);
    assert!(planned("SELECT * FROM weather").unwrap().is_public());
    assert!(!planned("SELECT COUNT(*) FROM weather").unwrap().is_public());
    assert!(!planned("SELECT * FROM weather WHERE sky = 'a'").unwrap().is_public());
}

#[test]
fn parameters_take_the_type_of_their_column() {
    let sql = "SELECT * FROM weather WHERE temp IN (:a, :b) AND dry = :dry AND at > :at \
               AND city LIKE :a LIMIT :n OFFSET :n";
    let parameters =
        [("a", "7"), ("b", "8.5"), ("dry", "t"), ("at", "2026-01-01T00:00:00Z"), ("n", "3")];
    let plan = planned_with(sql, &parameters, Options::default()).unwrap();
    let values = vec![Value::Int(7), Value::Int(0)];
    assert_eq!(*source(&plan), Source::Lookups { column: TEMP, values, pages: 1 });

    let sql = "SELECT * FROM weather WHERE sky = :sky LIMIT :n";
    let quoted = [("sky", "it's :n"), ("n", "25")];
    let plan = planned_with(sql, &quoted, Options::default()).unwrap();
    let values = vec![Value::Text("it's :n".to_owned())];
    assert_eq!(*source(&plan), Source::Lookups { column: SKY, values, pages: 3 });
}

#[test]
fn thousands_of_alternatives_do_not_exhaust_the_stack() {
    let mut sql = "SELECT * FROM weather WHERE sky='a'".to_owned();
    while sql.len() < 32_000 {
        sql += " OR sky='a'";
    }
    let refused = planned(&sql).unwrap_err();
    let SqlError::NotPrivate(Refusal::TooManyLookups { literals, .. }) = refused else {
        panic!("{refused}")
    };
    assert!(literals > 2_900, "{literals}");
    let allowed = Options { allow_public_scan: true, ..Options::default() };
    assert!(planned_with(&sql, &[], allowed).unwrap().is_public());
    let refused = planned(&sql.replace("sky", "wet")).unwrap_err();
    let SqlError::NotPrivate(Refusal::NotSearchable { columns, .. }) = refused else {
        panic!("{refused}")
    };
    assert_eq!(columns, ["wet (no such column)"]);
}

/// The refusal depends only on the number of lookups, not on the literals.
#[test]
fn lookups_of_a_statement_are_bounded() {
    let literals = |count: usize, literal: &str| vec![literal; count].join(", ");
    let refused = |sql: &str, pages| {
        let options = Options { pages, ..Options::default() };
        match planned_with(sql, &[], options) {
            Err(SqlError::NotPrivate(refusal)) => Some(refusal.to_string()),
            _ => None,
        }
    };
    for select in ["*", "COUNT(*)"] {
        for literal in ["'x'", "NULL"] {
            let sql = |count| {
                let literals = literals(count, literal);
                format!("SELECT {select} FROM weather WHERE sky IN ({literals})")
            };
            assert_eq!(refused(&sql(1024), 1), None);
            let text = refused(&sql(1025), 1).unwrap();
            assert!(text.contains("1025 lookups (1025 literals, 1 pages of each)"), "{text}");
            assert!(text.contains("LIMIT") && text.contains("--pages"), "{text}");
        }
    }
    let sql = format!("SELECT * FROM weather WHERE sky IN ({}) AND wind > 1", literals(40, "'x'"));
    assert_eq!(refused(&sql, 25), None);
    assert!(refused(&sql, 26).unwrap().contains("1040 lookups (40 literals, 26 pages of each)"));
    let allowed = Options { pages: 26, allow_public_scan: true };
    let plan = planned_with(&sql, &[], allowed).unwrap();
    assert_eq!(*source(&plan), Source::PublicScan { rows_below: None });
}

#[test]
fn debug_shows_no_literal() {
    let sql = "SELECT * FROM weather WHERE city = 'Secretville' AND wind > 987654";
    let plan = planned(sql).unwrap();
    let statement = crate::sql::parse(sql, &Default::default()).unwrap();
    let rows = vec![(3, vec![Value::Text("Secretville".to_owned()), Value::Int(987_654)])];
    let found = crate::sql::Found { total_rows: 987_654, rows: rows.clone() };
    let result = crate::sql::ResultSet { columns: Vec::new(), rows: vec![rows[0].1.clone()] };
    let texts = [
        format!("{plan:?}"),
        format!("{:?}", source(&plan)),
        format!("{statement:?}"),
        format!("{found:?}"),
        format!("{:?}", crate::sql::Fetched::Lookups(vec![found])),
        format!("{:?}", crate::sql::Fetched::Rows(rows.clone().into())),
        format!("{result:?}"),
    ];
    for text in texts {
        assert!(!text.contains("Secret") && !text.contains("987"), "{text}");
    }
}
