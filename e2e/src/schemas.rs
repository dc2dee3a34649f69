//! JSON schemas for `kubeconform`, made from the document that a live API server publishes.
//!
//! The server's document is Swagger 2.0. Its definitions are JSON schemas with two exceptions that
//! this module repairs: numbers that may also be written as text, and objects that would accept any
//! field.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// The values of this type are numbers or text.
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const KINDS: &str = "x-kubernetes-group-version-kind";
const PREFIX: &str = "#/definitions/";

/// The argument for `kubeconform -schema-location`, for schemas in `folder`.
pub fn location(folder: &Path) -> String {
    format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", folder.display())
}

/// Writes a schema for every kind in the server's `/openapi/v2`. Returns their number. The schemas
/// refuse fields that a kind does not have.
pub fn write(document: &Value, folder: &Path) -> Result<usize> {
    let definitions = document.get("definitions").and_then(Value::as_object);
    let definitions = definitions.context("the document has no definitions")?;
    let mut written = 0;
    for (name, definition) in definitions {
        for kind in definition.get(KINDS).and_then(Value::as_array).into_iter().flatten() {
            let text = |field| kind.get(field).and_then(Value::as_str).unwrap_or_default();
            let file = file_name(text("group"), text("version"), text("kind"));
            let schema = schema(name, definitions)?;
            fs::write(folder.join(file), serde_json::to_vec(&schema)?)?;
            written += 1;
        }
    }
    Ok(written)
}

/// The file name that kubeconform expects: `deployment-apps-v1.json`, `pod-v1.json`,
/// `role-rbac-v1.json`.
fn file_name(group: &str, version: &str, kind: &str) -> String {
    let group = group.split('.').next().unwrap_or_default();
    let separator = if group.is_empty() { "" } else { "-" };
    format!("{kind}-{group}{separator}{version}.json").to_lowercase()
}

/// A definition with everything that it refers to.
fn schema(name: &str, definitions: &Map<String, Value>) -> Result<Value> {
    let mut needed = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(next) = open.pop() {
        let definition = definitions.get(&next).with_context(|| format!("no definition {next}"))?;
        if needed.insert(next) {
            references(definition, &mut open);
        }
    }
    let mut own = Map::new();
    for name in needed {
        let definition = definitions.get(&name).cloned().unwrap_or_default();
        let repaired = match name.as_str() {
            QUANTITY => json!({"type": ["string", "number"]}),
            _ => repaired(definition),
        };
        own.insert(name, repaired);
    }
    let reference = format!("{PREFIX}{name}");
    Ok(json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "allOf": [{"$ref": reference}],
        "definitions": own,
    }))
}

/// Adds the names to which a schema refers.
fn references(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                names.extend(reference.strip_prefix(PREFIX).map(str::to_owned));
            }
            fields.values().for_each(|value| references(value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A schema that accepts numbers for `IntOrString`, and no fields that it does not name.
fn repaired(schema: Value) -> Value {
    let fields = match schema {
        Value::Object(fields) => fields,
        Value::Array(items) => return items.into_iter().map(repaired).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            return other;
        }
    };
    let marked = |field: &str| fields.get(field) == Some(&Value::Bool(true));
    let either = marked("x-kubernetes-int-or-string")
        || fields.get("format").is_some_and(|format| format == "int-or-string");
    let closed = fields.get("properties").is_some_and(Value::is_object)
        && !fields.contains_key("additionalProperties")
        && !marked("x-kubernetes-preserve-unknown-fields");
    let mut result: Map<String, Value> = Map::new();
    for (name, value) in fields {
        match name.as_str() {
            "format" | "type" if either => {}
            "enum" | "default" => drop(result.insert(name, value)),
            "properties" => drop(result.insert(name, properties(value))),
            _ => drop(result.insert(name, repaired(value))),
        }
    }
    if either {
        result.insert("type".into(), json!(["string", "integer"]));
    }
    if closed {
        result.insert("additionalProperties".into(), Value::Bool(false));
    }
    Value::Object(result)
}

/// Schemas by field name. A field name is not a keyword here, even if it looks like one.
fn properties(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().map(|(name, schema)| (name, repaired(schema))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_kubeconform_looks_for_them() {
        assert_eq!(file_name("", "v1", "Pod"), "pod-v1.json");
        assert_eq!(file_name("rbac.authorization.k8s.io", "v1", "Role"), "role-rbac-v1.json");
    }

    #[test]
    fn objects_take_only_fields_that_they_name() {
        let open = json!({"type": "object", "additionalProperties": {"type": "string"}});
        assert_eq!(repaired(open.clone()), open);
        let fields =
            json!({"type": "object", "properties": {"enum": {"type": "object", "properties": {}}}});
        let closed = repaired(fields);
        assert_eq!(closed["additionalProperties"], false);
        assert_eq!(closed["properties"]["enum"]["additionalProperties"], false);
        assert!(closed["properties"].get("additionalProperties").is_none());
    }

    #[test]
    fn a_port_is_a_number_or_a_name() {
        let port = json!({"type": "string", "format": "int-or-string"});
        assert_eq!(repaired(port), json!({"type": ["string", "integer"]}));
    }

    #[test]
    fn a_schema_holds_all_that_it_refers_to_even_in_circles() -> Result<()> {
        let document = json!({
            "A": {"properties": {"b": {"$ref": "#/definitions/B"}}},
            "B": {"properties": {"a": {"$ref": "#/definitions/A"}}},
            "C": {},
        });
        let definitions = document.as_object().context("an object")?;
        let schema = schema("A", definitions)?;
        let names: Vec<_> = schema["definitions"].as_object().context("names")?.keys().collect();
        assert_eq!(names, ["A", "B"]);
        Ok(())
    }
}
