//! When the fetched pages are enough, and how decoys and repetitions affect an answer. The
//! differential test checks that answers are correct.

use std::sync::Arc;

use opaque_pir::table::{ColumnType, Value};

use super::super::{Bounds, Fetched, Found, Options, Source, SqlError};
use super::{finish, planned, planned_with, source};

fn row(number: u64, sky: &str, temp: i64) -> (u64, Vec<Value>) {
    let mut row = vec![Value::Null; 7];
    row[0] = Value::Text(sky.to_owned());
    row[1] = Value::Text(format!("c{number}"));
    row[2] = Value::Int(temp);
    (number, row)
}

/// 25 rows with the value, of which the first `fetched` were fetched; temp counts up from 0.
fn found(sky: &str, first: u64, fetched: u64) -> Found {
    let rows = (0..fetched).map(|i| row(first + 2 * i, sky, i.cast_signed()));
    Found { total_rows: 25, rows: rows.collect() }
}

fn cities(sql: &str, found: Vec<Found>) -> Result<Vec<String>, SqlError> {
    let answer = finish(&planned(sql)?, Fetched::Lookups(found))?;
    let shown = |row: Vec<Value>| match row.as_slice() {
        [Value::Text(text)] => text.clone(),
        [Value::Int(number)] => number.to_string(),
        other => panic!("{other:?}"),
    };
    Ok(answer.rows.into_iter().map(shown).collect())
}

#[test]
fn pages_that_cannot_be_exact_are_an_error_with_the_count() {
    for sql in [
        "SELECT city FROM weather WHERE sky = 'a'",
        "SELECT city FROM weather WHERE sky = 'a' OFFSET 30",
        "SELECT city FROM weather WHERE sky = 'a' ORDER BY temp LIMIT 1",
        "SELECT city FROM weather WHERE sky = 'a' AND temp > 90",
        "SELECT city FROM weather WHERE sky = 'a' AND temp > 7 LIMIT 3",
        "SELECT COUNT(*) FROM weather WHERE sky = 'a' AND temp > 1",
        "SELECT COUNT(*) FROM weather WHERE sky = 'a' AND temp > 1 LIMIT 1",
        "SELECT DISTINCT sky FROM weather WHERE sky = 'a'",
        "SELECT DISTINCT sky FROM weather WHERE sky = 'a' LIMIT 2",
    ] {
        let error = cities(sql, vec![found("a", 0, 10)]).unwrap_err();
        let expected = SqlError::MorePages { matches: 25, fetched: 10, pages: 3, literals: 1 };
        assert_eq!(error, expected, "{sql}");
    }
    let two = "SELECT city FROM weather WHERE sky IN ('a', 'b')";
    let error = cities(two, vec![found("a", 0, 25), found("b", 1, 20)]).unwrap_err();
    assert_eq!(error, SqlError::MorePages { matches: 50, fetched: 45, pages: 3, literals: 2 });
}

/// The 900 rows that have a sky are 90 pages. For 12 literals, that is more lookups than a
/// statement may take.
#[test]
fn what_is_advised_for_more_pages_works() {
    let many = |literals: usize| {
        let sql =
            format!("SELECT city FROM weather WHERE sky IN ({})", vec!["'a'"; literals].join(", "));
        let mut came = vec![found("a", 0, 10); literals];
        came[0].total_rows = 900;
        (sql.clone(), cities(&sql, came).unwrap_err().to_string())
    };
    let again = |sql: &str, allow_public_scan| {
        planned_with(sql, &[], Options { pages: 90, allow_public_scan })
    };
    let (sql, advice) = many(11);
    assert!(advice.ends_with("run it again with --pages 90"), "{advice}");
    assert!(!again(&sql, false).unwrap().is_public());
    let (sql, advice) = many(12);
    assert!(advice.contains("1080 lookups") && advice.contains("write a LIMIT and no other"));
    assert!(advice.contains("--pages 90 --allow-public-scan"), "{advice}");
    assert!(again(&sql, false).is_err());
    assert!(again(&sql, true).unwrap().is_public());
    assert!(planned(&format!("{sql} LIMIT 20")).is_ok());
}

#[test]
fn pages_that_hold_the_first_rows_answer_a_limit() {
    for (sql, expected) in [
        ("SELECT city FROM weather WHERE sky = 'a' LIMIT 3", ["c0", "c2", "c4"].as_slice()),
        ("SELECT city FROM weather WHERE sky = 'a' LIMIT 2 OFFSET 8", &["c16", "c18"]),
        ("SELECT city FROM weather WHERE sky = 'a' AND temp > 7 LIMIT 2", &["c16", "c18"]),
        ("SELECT DISTINCT sky FROM weather WHERE sky = 'a' LIMIT 1", &["a"]),
        ("SELECT city FROM weather WHERE sky = 'a' ORDER BY temp LIMIT 0", &[]),
        ("SELECT COUNT(*) FROM weather WHERE sky = 'a' AND temp > 7 LIMIT 0", &[]),
        ("SELECT COUNT(*) FROM weather WHERE sky = 'a'", &["25"]),
        ("SELECT COUNT(*) FROM weather WHERE sky <> 'a'", &["875"]),
    ] {
        assert_eq!(cities(sql, vec![found("a", 0, 10)]).unwrap(), expected, "{sql}");
    }
}

#[test]
fn rows_beyond_the_first_gap_do_not_count() {
    // Only row 1 of b was fetched, so nothing is known about its later rows.
    let sql = |limit| format!("SELECT city FROM weather WHERE sky IN ('a', 'b') LIMIT {limit}");
    let fetched = || vec![found("a", 0, 10), found("b", 1, 1)];
    assert_eq!(cities(&sql(2), fetched()).unwrap(), ["c0", "c1"]);
    let error = cities(&sql(3), fetched()).unwrap_err();
    assert_eq!(error, SqlError::MorePages { matches: 50, fetched: 11, pages: 3, literals: 2 });
}

#[test]
fn repetitions_count_once_and_decoys_never() {
    let one = || Found { total_rows: 1, rows: vec![row(4, "a", 0)] };
    let twice = "FROM weather WHERE sky IN ('a', 'a')";
    assert_eq!(cities(&format!("SELECT city {twice}"), vec![one(), one()]).unwrap(), ["c4"]);
    assert_eq!(cities(&format!("SELECT COUNT(*) {twice}"), vec![one(), one()]).unwrap(), ["1"]);
    // The decoy for 2.5 is 0, and finds rows.
    for (sql, expected) in [
        ("SELECT city FROM weather WHERE temp = 2.5", [].as_slice()),
        ("SELECT COUNT(*) FROM weather WHERE temp = 2.5", &["0"]),
        ("SELECT COUNT(*) FROM weather WHERE temp <> 2.5", &["800"]),
        ("SELECT COUNT(*) FROM weather WHERE temp <> NULL", &["0"]),
        ("SELECT COUNT(*) FROM weather WHERE temp <> NULL OFFSET 1", &[]),
    ] {
        let many = Found { total_rows: 25, rows: vec![row(4, "a", 0)] };
        assert_eq!(cities(sql, vec![many]).unwrap(), expected, "{sql}");
    }
}

/// Times of a column with and without a fraction, in one of which byte order is not the order of
/// time as answers show it.
#[test]
fn times_are_ordered_as_times_even_when_computed() {
    let at = |number: u64, text: &str| {
        let (number, mut row) = row(number, "a", 0);
        row[5] = Value::parse(ColumnType::Timestamp, text).unwrap();
        (number, row)
    };
    let times = ["2026-11-30T10:00:00Z", "2026-11-30T10:00:00.5Z", "2026-11-30T09:59:59.25Z"];
    let rows = (0..).zip(times).map(|(number, text)| at(number, text)).collect();
    let found = || vec![Found { total_rows: 3, rows: Vec::clone(&rows) }];
    for (sql, expected) in [
        ("SELECT city FROM weather WHERE sky = 'a' ORDER BY at", ["c2", "c0", "c1"].as_slice()),
        (
            "SELECT city FROM weather WHERE sky = 'a' ORDER BY coalesce(at, '') DESC",
            &["c1", "c0", "c2"],
        ),
        ("SELECT MAX(at) FROM weather WHERE sky = 'a'", &["2026-11-30T10:00:00.500000Z"]),
        ("SELECT city FROM weather WHERE sky = 'a' AND at > '2026-11-30T11:00:00+01:00'", &["c1"]),
        ("SELECT city FROM weather WHERE sky = 'a' AND at = '2026-11-30T10:00:00.000Z'", &["c0"]),
    ] {
        assert_eq!(cities(sql, found()).unwrap(), expected, "{sql}");
    }
}

/// The parser writes some texts and names with quotes and backslashes back as other ones.
#[test]
fn texts_and_names_reach_sqlite_as_they_were_written() {
    for text in ["it''s", "''''", "\\'' OR 1 --", "a\\''", "\"\"", "x''''y", "?1", ":p"] {
        let plain = text.replace("''", "'");
        let name = plain.replace('"', "\"\"");
        let sql = format!(
            "SELECT '{text}' AS \"{name}\" FROM weather \
             WHERE sky = '{text}' || '' AND '{text}' <> upper('{text}x')"
        );
        let plan = planned(&sql).unwrap();
        let Source::Lookups { values, .. } = source(&plan) else { panic!("{sql}") };
        assert_eq!(*values, [Value::Text(plain.clone())], "{sql}");
        let found = Found { total_rows: 1, rows: vec![row(0, &plain, 0)] };
        let answer = finish(&plan, Fetched::Lookups(vec![found])).unwrap();
        assert_eq!(answer.rows, [[Value::Text(plain.clone())]], "{sql}");
        assert_eq!(answer.columns[0].name, plain, "{sql}");
    }
}

#[test]
fn an_endless_statement_is_stopped_and_a_large_answer_refused() {
    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
    let stopped = Bounds { stop: Arc::new(true.into()), ..Bounds::default() };
    let plan = planned(&format!("{ENDLESS} SELECT COUNT(*) FROM n")).unwrap();
    assert_eq!(plan.finish(Vec::new(), &stopped).unwrap_err(), SqlError::Stopped);
    let small = Bounds { bytes: 1 << 20, ..Bounds::default() };
    let plan = planned(&format!("{ENDLESS} SELECT i FROM n")).unwrap();
    let error = plan.finish(Vec::new(), &small).unwrap_err();
    assert_eq!(error, SqlError::AnswerTooLarge { bytes: 1 << 20 });
}

#[test]
fn what_the_plan_did_not_ask_for_is_refused() {
    let lookup = planned("SELECT city FROM weather WHERE sky = 'a'").unwrap();
    for fetched in [
        Fetched::Nothing,
        Fetched::Rows(Arc::default()),
        Fetched::Lookups(Vec::new()),
        Fetched::Lookups(vec![Found::default(); 2]),
    ] {
        assert_eq!(finish(&lookup, fetched).unwrap_err(), SqlError::Fetched);
    }
    let scan = planned_with("SELECT * FROM weather", &[], Options::default()).unwrap();
    assert_eq!(finish(&scan, Fetched::Lookups(Vec::new())).unwrap_err(), SqlError::Fetched);
    let count = planned("SELECT COUNT(*) FROM weather").unwrap();
    assert_eq!(finish(&count, Fetched::Rows(Arc::default())).unwrap_err(), SqlError::Fetched);
}
