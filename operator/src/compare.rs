//! Whether an apply would change anything.
//!
//! A server-side apply that changes nothing still costs a request, and a request per object and reconcile adds
//! up. An apply is needed unless both hold:
//! 1. **Everything desired is there.** The server adds defaults, so the live object may have more fields,
//!    but none that is desired may be missing or differ.
//! 2. **Nothing else is ours.** A field that is no longer desired is removed by an apply that leaves it out;
//!    that it is still there, and still ours, is written in `metadata.managedFields`.
//!
//! A false "needed" costs one request; a false "not needed" would leave a change undone, so in doubt it is
//! needed.

use kube::api::DynamicObject;
use serde_json::{Map, Value};

use crate::labels::FIELD_MANAGER;

/// Keys below which strings are quantities, which the server writes in its own form.
const QUANTITIES: [&str; 4] = ["requests", "limits", "sizeLimit", "divisor"];

/// Whether applying `desired` would change `live`.
pub fn differs(desired: &Value, live: &DynamicObject) -> bool {
    let Some(owned) = owned_fields(live) else { return true };
    let Ok(found) = serde_json::to_value(live) else { return true };
    !(covers(&found, desired, false) && only(owned, desired))
}

/// Whether `live` has every desired field below `pointer`, such as `/spec/template`: an apply would take back
/// nothing there that somebody else has written.
pub fn agrees(desired: &Value, live: &DynamicObject, pointer: &str) -> bool {
    let Ok(found) = serde_json::to_value(live) else { return false };
    match (found.pointer(pointer), desired.pointer(pointer)) {
        (Some(found), Some(desired)) => covers(found, desired, false),
        (found, desired) => found == desired,
    }
}

/// The fields that our applies own, in the form of `fieldsV1`.
fn owned_fields(live: &DynamicObject) -> Option<&Value> {
    let entries = live.metadata.managed_fields.iter().flatten();
    let mut ours = entries.filter(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    });
    ours.next()?.fields_v1.as_ref().map(|fields| &fields.0)
}

/// Whether every field of `desired` is in `found` with the same value.
fn covers(found: &Value, desired: &Value, quantity: bool) -> bool {
    match (found, desired) {
        (Value::Object(found), Value::Object(desired)) => desired.iter().all(|(key, wanted)| {
            let quantity = quantity || QUANTITIES.contains(&key.as_str());
            match found.get(key) {
                Some(found) => covers(found, wanted, quantity),
                // The server drops what is empty.
                None => is_empty(wanted),
            }
        }),
        (Value::Array(found), Value::Array(desired)) if is_named(desired) => {
            desired.iter().all(|wanted| {
                let name = wanted.get("name");
                found.iter().any(|item| item.get("name") == name && covers(item, wanted, quantity))
            })
        }
        (Value::Array(found), Value::Array(desired)) => {
            found.len() == desired.len()
                && found.iter().zip(desired).all(|(item, wanted)| covers(item, wanted, quantity))
        }
        (found, desired) => {
            found == desired || (quantity && same_quantity(found, desired).unwrap_or(false))
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether a list is one of named items, whose order does not matter and to which others may add.
fn is_named(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| item.get("name").is_some_and(Value::is_string))
}

/// Whether every field of `owned` is desired. Keys are `f:field`, `k:{"key":"of item"}`, `v:value`,
/// and `.` for the item itself.
fn only(owned: &Value, desired: &Value) -> bool {
    let Value::Object(owned) = owned else { return true };
    owned.iter().all(|(key, below)| {
        if key == "." {
            return true;
        }
        match key.split_at_checked(2) {
            Some(("f:", field)) => desired.get(field).is_some_and(|inner| only(below, inner)),
            Some(("k:", keys)) => item(keys, desired).is_some_and(|inner| only(below, inner)),
            Some(("v:", value)) => has_value(value, desired),
            // Of lists that are owned by position: they are compared as a whole.
            _ => true,
        }
    })
}

/// The item of a list with the given keys; keys that were left to a default are not in the desired item.
fn item<'a>(keys: &str, desired: &'a Value) -> Option<&'a Value> {
    let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
    desired.as_array()?.iter().find(|item| {
        keys.iter().any(|(key, _)| item.get(key).is_some())
            && keys.iter().all(|(key, value)| item.get(key).is_none_or(|found| found == value))
    })
}

fn has_value(value: &str, desired: &Value) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(value) else { return false };
    desired.as_array().is_some_and(|items| items.contains(&value))
}

/// Whether two quantities are the same number: `0.5` and `500m`.
fn same_quantity(one: &Value, other: &Value) -> Option<bool> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Some(millis(&text(one)?)? == millis(&text(other)?)?)
}

/// A quantity in thousandths; none when it is finer than that or not a quantity.
fn millis(quantity: &str) -> Option<i128> {
    let digits = quantity.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at_checked(digits)?;
    let factor: i128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1000_i128.pow(2),
        "M" => 1000_i128.pow(3),
        "G" => 1000_i128.pow(4),
        "T" => 1000_i128.pow(5),
        "P" => 1000_i128.pow(6),
        "E" => 1000_i128.pow(7),
        "Ki" => 1000 * 1024,
        "Mi" => 1000 * 1024_i128.pow(2),
        "Gi" => 1000 * 1024_i128.pow(3),
        "Ti" => 1000 * 1024_i128.pow(4),
        "Pi" => 1000 * 1024_i128.pow(5),
        "Ei" => 1000 * 1024_i128.pow(6),
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = value.checked_mul(factor)?;
    (scaled % scale == 0).then_some(scaled / scale)
}

#[cfg(test)]
#[path = "compare/tests.rs"]
mod tests;
