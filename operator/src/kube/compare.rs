//! Decides whether an apply would change anything.
//!
//! A server-side apply that changes nothing still costs a request, and one request per object and
//! reconcile adds up. An apply is needed unless both of these hold:
//! 1. **The same object was applied last.** An annotation contains its digest.
//! 2. **Every field of it is still ours**, according to `metadata.managedFields`. A writer that
//!    changes a field takes over its ownership. If the API server treats a map or list as one
//!    value, such as a selector, this also applies to a writer that only adds to it.
//!
//! Values are not compared. The server changes them by defaults, by normalizing quantities, or by
//! an admission policy, and none of these is a reason to apply again. A field of a later Kubernetes
//! that an earlier one drops is never ours, so it is applied again at every reconcile.

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Map, Value};

use crate::labels::{APPLIED, FIELD_MANAGER};

/// Records in `desired` its digest, for [`differs`] in a later reconcile.
pub(super) fn stamp(desired: &mut DynamicObject) -> Result<(), serde_json::Error> {
    let digest = blake3::hash(&serde_json::to_vec(desired)?).to_hex();
    let digest = digest.get(..16).unwrap_or_default().to_owned();
    desired.annotations_mut().insert(APPLIED.to_owned(), digest);
    Ok(())
}

/// Whether applying `desired`, which has its [`stamp`], would change `live`.
pub(super) fn differs(desired: &Value, live: &DynamicObject) -> bool {
    let stamp = desired.pointer("/metadata/annotations").and_then(|all| all.get(APPLIED)?.as_str());
    let applied = live.metadata.annotations.as_ref().and_then(|all| all.get(APPLIED));
    let (Some(fields), Some(owned)) = (desired.as_object(), owned_fields(live)) else {
        return true;
    };
    stamp != applied.map(String::as_str)
        || !fields.iter().filter(|(key, _)| !is_identity(key)).all(|(key, value)| {
            let below = owned.get(format!("f:{key}"));
            if key == "metadata" { owns_metadata(below, value) } else { owns(below, value) }
        })
}

/// The fields that our applies own, in the format of `fieldsV1`.
fn owned_fields(live: &DynamicObject) -> Option<&Value> {
    let entries = live.metadata.managed_fields.iter().flatten();
    let mut ours = entries.filter(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    });
    ours.next()?.fields_v1.as_ref().map(|fields| &fields.0)
}

/// Fields that have no owner in `managedFields`.
fn is_identity(key: &str) -> bool {
    ["apiVersion", "kind"].contains(&key)
}

fn owns_metadata(owned: Option<&Value>, desired: &Value) -> bool {
    let fields = desired.as_object().into_iter().flatten();
    fields
        .filter(|(key, _)| !["name", "namespace"].contains(&key.as_str()))
        .all(|(key, value)| owns(owned.and_then(|owned| owned.get(format!("f:{key}"))), value))
}

/// Whether each field of `desired` is in `owned`, whose keys are `f:field`, `k:{"key":"of item"}`
/// and `v:value`. An owned entry without children is owned as a whole.
fn owns(owned: Option<&Value>, desired: &Value) -> bool {
    // The server drops empty values.
    if is_empty(desired) {
        return true;
    }
    let Some(Value::Object(owned)) = owned else { return false };
    if owned.is_empty() {
        return true;
    }
    match desired {
        Value::Object(fields) => {
            fields.iter().all(|(key, value)| owns(owned.get(&format!("f:{key}")), value))
        }
        Value::Array(items) => items.iter().all(|item| owns_item(owned, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Whether an item of a list is owned, by its keys or by its value.
fn owns_item(owned: &Map<String, Value>, item: &Value) -> bool {
    owned.iter().any(|(key, below)| match key.split_at_checked(2) {
        Some(("k:", keys)) => has_keys(item, keys) && owns(Some(below), item),
        Some(("v:", value)) => serde_json::from_str::<Value>(value).is_ok_and(|it| it == *item),
        _ => false,
    })
}

/// Whether an item has these keys. Keys with default values may be absent from the item.
fn has_keys(item: &Value, keys: &str) -> bool {
    let Ok(keys) = serde_json::from_str::<Map<String, Value>>(keys) else { return false };
    keys.iter().any(|(key, _)| item.get(key).is_some())
        && keys.iter().all(|(key, value)| item.get(key).is_none_or(|found| found == value))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
#[path = "compare/tests.rs"]
mod tests;
