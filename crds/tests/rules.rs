//! Every rule, run as the operator runs it: on the client, without an API server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic of a helper is a failed test")]

#[path = "support/cases.rs"]
mod cases;

use std::collections::BTreeSet;
use std::path::Path;

use kube::core::cel::ValidationErrors;
use opaque_crds::{OpaqueCluster, OpaqueShardMap, OpaqueTable, definitions};
use serde_json::Value;

use cases::Prepared;

#[test]
fn specs_are_accepted_or_refused_with_the_message_of_their_rule() {
    let mut failures = Vec::new();
    for prepared in load() {
        let outcome = validate(&prepared);
        let verdict = match (&outcome, &prepared.case.message) {
            (Ok(()), None) => Ok(()),
            (Err(_), Some(_)) if prepared.case.schema => Ok(()),
            (Err(found), Some(message)) if found.contains(message.as_str()) => Ok(()),
            (found, wanted) => Err(format!("found {found:?}, wanted {wanted:?}")),
        };
        if let Err(failure) = verdict {
            failures.push(format!("{}: {failure}", prepared.case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Each rule has a case that breaks it: otherwise its effect is untested.
#[test]
fn every_rule_is_broken_by_a_case() {
    let expected: Vec<String> = load().into_iter().filter_map(|p| p.case.message).collect();
    let mut messages = BTreeSet::new();
    for definition in definitions() {
        collect_messages(&serde_json::to_value(definition).unwrap(), &mut messages);
    }
    assert!(messages.len() > 30, "only {} rules were found", messages.len());
    messages.retain(|rule| {
        // An expected message may begin with the field's path.
        !expected.iter().any(|text| {
            let tail = text.split_once(": ").map_or(text.as_str(), |(_, tail)| tail);
            rule.contains(text.as_str()) || rule.contains(tail)
        })
    });
    assert!(messages.is_empty(), "not tested: {messages:#?}");
}

fn load() -> Vec<Prepared> {
    cases::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}

fn validate(prepared: &Prepared) -> Result<(), String> {
    macro_rules! run {
        ($kind:ty) => {{
            let parse = |value: &Value| serde_json::from_value::<$kind>(value.clone());
            let new = parse(&prepared.new).map_err(|error| error.to_string())?;
            match &prepared.old {
                None => new.validate_cel(),
                Some(old) => new.validate_cel_update(&parse(old).unwrap()),
            }
        }};
    }
    let outcome: Result<(), ValidationErrors> = match prepared.case.kind.as_str() {
        "OpaqueCluster" => run!(OpaqueCluster),
        "OpaqueTable" => run!(OpaqueTable),
        "OpaqueShardMap" => run!(OpaqueShardMap),
        kind => panic!("no kind {kind}"),
    };
    outcome.map_err(|errors| errors.to_string())
}

fn collect_messages(schema: &Value, messages: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "x-kubernetes-validations" {
                    let rules = value.as_array().unwrap().iter();
                    messages.extend(rules.map(|rule| rule["message"].as_str().unwrap().to_owned()));
                }
                collect_messages(value, messages);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_messages(value, messages)),
        _ => {}
    }
}
