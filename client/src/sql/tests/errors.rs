//! The texts of errors: what happened, then what to do. The golden file lists statements. Below
//! each are the requests, if any are sent, and the error. `OPAQUE_UPDATE_GOLDEN=1 cargo test`
//! rewrites it.

use super::super::{Bounds, Options, Parameters, Source};
use super::{nothing, planned_with};

#[track_caller]
fn text(sql: &str, parameters: &[(&str, &str)]) -> String {
    let plan = match planned_with(sql, parameters, Options::default()) {
        Ok(plan) => plan,
        Err(error) => return error.to_string(),
    };
    let sent = plan.sources().map(|source| match source {
        Source::Count(_) => String::new(),
        Source::Lookups { values, .. } => format!("(after lookups: {})\n", values.len()),
        Source::PublicScan { .. } => "(after a public scan)\n".to_owned(),
    });
    let sent: String = sent.collect();
    match plan.finish(plan.sources().map(nothing).collect(), &Bounds::default()) {
        Ok(_) => format!("{sent}(no error)"),
        Err(error) => format!("{sent}{error}"),
    }
}

#[test]
fn golden() {
    let golden = include_str!("errors.golden");
    let mut written = String::new();
    for case in golden.lines().filter_map(|line| line.strip_prefix("> ")) {
        let (sql, parameters) = case.split_once(" -- ").unwrap_or((case, ""));
        let parameters: Vec<_> =
            parameters.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
        written += &format!("> {case}\n{}\n\n", text(sql, &parameters));
    }
    if std::env::var_os("OPAQUE_UPDATE_GOLDEN").is_some() {
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/src/sql/tests/errors.golden"),
            &written,
        )
        .unwrap();
    }
    assert_eq!(written, golden);
}

#[test]
fn a_byte_order_mark_before_a_statement_is_not_part_of_it() {
    let sql = "SELECT sky FROM weather WHERE city = 'Oslo';\n";
    let parse = |sql: &str| crate::sql::parse(sql, &Parameters::default());
    let plain = parse(sql).unwrap();
    assert_eq!(parse(&format!("\u{feff}{sql}")), Ok(plain));
    assert!(parse(&format!(" \u{feff}{sql}")).is_err(), "only at the beginning");
}

#[test]
fn a_statement_too_long_to_be_safe_is_refused() {
    let sql = format!("SELECT * FROM weather WHERE sky = '{}'", "a".repeat(40_000));
    assert_eq!(
        text(&sql, &[]),
        "the statement has 40036 bytes, more than 32768: send several statements"
    );
}
