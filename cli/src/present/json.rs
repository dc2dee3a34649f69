//! JSON output, for programs. INT keeps its 64 bits, JSON is embedded unchanged, and an infinite
//! REAL, which JSON cannot express, is `"inf"` or `"-inf"`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};

use opaque_client::sql::{OutputColumn, ResultSet};
use opaque_pir::table::Value;
use serde::de::IgnoredAny;

use super::{instant, real};

/// One array of objects.
pub(super) fn write(answer: &ResultSet, out: &mut impl Write) -> io::Result<()> {
    let names = names(answer);
    let mut separator = "[";
    for row in &answer.rows {
        write!(out, "{separator}\n  ")?;
        object(&names, row, out)?;
        separator = ",";
    }
    if answer.rows.is_empty() { writeln!(out, "[]") } else { writeln!(out, "\n]") }
}

/// One object per line.
pub(super) fn write_lines(answer: &ResultSet, out: &mut impl Write) -> io::Result<()> {
    let names = names(answer);
    for row in &answer.rows {
        object(&names, row, out)?;
        writeln!(out)?;
    }
    Ok(())
}

/// The columns' names as keys. An object keeps only one of two equal keys, so the second `a`
/// becomes `a_2`.
fn names(answer: &ResultSet) -> Vec<String> {
    let mut taken: HashSet<String> = answer.columns.iter().map(|c| c.name.clone()).collect();
    let mut used = HashSet::new();
    let name = |column: &OutputColumn| {
        if used.insert(column.name.clone()) {
            return column.name.clone();
        }
        let mut number = 2u64;
        loop {
            let name = format!("{}_{number}", column.name);
            if taken.insert(name.clone()) {
                return name;
            }
            number += 1;
        }
    };
    answer.columns.iter().map(name).collect()
}

fn object(names: &[String], row: &[Value], out: &mut impl Write) -> io::Result<()> {
    let mut separator = "{";
    for (name, value) in names.iter().zip(row) {
        write!(out, "{separator}{}:{}", string(name)?, json(value)?)?;
        separator = ",";
    }
    write!(out, "}}")
}

fn json(value: &Value) -> io::Result<Cow<'_, str>> {
    Ok(match value {
        Value::Null => "null".into(),
        Value::Int(number) => number.to_string().into(),
        Value::Real(number) if number.is_finite() => real(*number).into(),
        Value::Real(number) => string(&real(*number))?.into(),
        Value::Text(text) => string(text)?.into(),
        Value::Json(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => one_line(text),
        // The loader may not have checked that the text is JSON.
        Value::Json(text) => string(text)?.into(),
        Value::Bool(truth) => truth.to_string().into(),
        Value::Timestamp(micros) => string(&instant(*micros))?.into(),
    })
}

/// A document on one line. Inside its strings, line breaks are already escaped.
fn one_line(document: &str) -> Cow<'_, str> {
    if document.contains(['\n', '\r']) {
        document.replace(['\n', '\r'], " ").into()
    } else {
        document.into()
    }
}

fn string(text: &str) -> io::Result<String> {
    Ok(serde_json::to_string(text)?)
}
