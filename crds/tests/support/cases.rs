//! The table of specs in `cases.yaml`; shared with the tests against a real API server.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// A spec, and what must become of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) kind: String,
    patch: Value,
    #[serde(default)]
    before: Option<Value>,
    #[serde(default)]
    update: bool,
    #[serde(default)]
    pub(crate) status: bool,
    #[serde(default)]
    pub(crate) schema: bool,
    pub(crate) message: Option<String>,
}

/// A case with its objects.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) case: Case,
    /// What is there first.
    pub(crate) old: Option<Value>,
    /// What is applied.
    pub(crate) new: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    bases: BTreeMap<String, Value>,
    cases: Vec<Case>,
}

/// Reads all cases.
pub(crate) fn load(root: &Path) -> Result<Vec<Prepared>> {
    let file: File = serde_saphyr::from_str(&read(root, "crds/tests/cases.yaml")?)?;
    let mut bases = file.bases;
    for example in ["cluster", "weather"] {
        let text = read(root, &format!("examples/kubernetes/{example}.yaml"))?;
        for object in serde_saphyr::from_multiple::<Value>(&text)? {
            let kind = object
                .get("kind")
                .and_then(Value::as_str)
                .context("an example without kind")?
                .to_owned();
            bases.insert(kind, object);
        }
    }
    file.cases.into_iter().map(|case| prepare(case, &bases)).collect()
}

fn prepare(case: Case, bases: &BTreeMap<String, Value>) -> Result<Prepared> {
    let mut base = bases.get(&case.kind).with_context(|| format!("no base {}", case.kind))?.clone();
    if let Some(before) = &case.before {
        merge(&mut base, before);
    }
    let old = (case.update || case.status).then(|| base.clone());
    let mut new = base;
    merge(&mut new, &case.patch);
    Ok(Prepared { case, old, new })
}

/// JSON merge patch, RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn read(root: &Path, path: &str) -> Result<String> {
    fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
}
