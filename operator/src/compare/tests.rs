use proptest::prelude::*;
use serde_json::json;

use super::*;

fn live(fields: &Value, owned: &Value) -> DynamicObject {
    let mut object = fields.clone();
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("Service");
    object["metadata"] = json!({
        "name": "a",
        "managedFields": [
            {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:status": {}}},
            {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": owned},
        ],
    });
    serde_json::from_value(object).unwrap()
}

#[test]
fn a_template_agrees_until_somebody_takes_something_back() {
    let desired =
        json!({"spec": {"replicas": 2, "template": {"image": "a", "limits": {"cpu": "0.5"}}}});
    let found = json!({"spec": {"replicas": 3, "template": {"image": "a", "limits": {"cpu": "500m"}, "more": 1}}});
    // What an apply would not take back, and what stands elsewhere, is no matter.
    assert!(agrees(&desired, &live(&found, &json!({})), "/spec/template"));
    let edited = json!({"spec": {"template": {"image": "b", "limits": {"cpu": "500m"}}}});
    assert!(!agrees(&desired, &live(&edited, &json!({})), "/spec/template"));
    assert!(!agrees(&desired, &live(&json!({"spec": {}}), &json!({})), "/spec/template"));
}

#[test]
fn defaults_of_the_server_are_no_difference() {
    let desired = json!({"spec": {"ports": [{"name": "q", "port": 1}], "selector": {"a": "b"}}});
    let found = json!({"spec": {
        "ports": [{"name": "q", "port": 1, "protocol": "TCP", "targetPort": 1}],
        "selector": {"a": "b"}, "type": "ClusterIP",
    }});
    let owned = json!({"f:spec": {
        "f:ports": {"k:{\"port\":1,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}},
        "f:selector": {},
    }});
    assert!(!differs(&desired, &live(&found, &owned)));
}

#[test]
fn a_changed_value_is_a_difference() {
    let owned = json!({"f:spec": {"f:replicas": {}}});
    let found = live(&json!({"spec": {"replicas": 2}}), &owned);
    assert!(differs(&json!({"spec": {"replicas": 3}}), &found));
    assert!(!differs(&json!({"spec": {"replicas": 2}}), &found));
}

#[test]
fn a_field_that_is_no_longer_desired_is_a_difference() {
    let found = json!({"spec": {"nodeSelector": {"disk": "fast"}, "replicas": 2}});
    let owned = json!({"f:spec": {"f:nodeSelector": {}, "f:replicas": {}}});
    assert!(differs(&json!({"spec": {"replicas": 2}}), &live(&found, &owned)));
}

#[test]
fn a_field_of_somebody_else_is_left_alone() {
    let found = json!({"spec": {"replicas": 2, "externalName": "theirs"}});
    let owned = json!({"f:spec": {"f:replicas": {}}});
    assert!(!differs(&json!({"spec": {"replicas": 2}}), &live(&found, &owned)));
}

#[test]
fn an_item_that_is_no_longer_desired_is_a_difference() {
    let found = json!({"c": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]});
    let owned = json!({"f:c": {
        "k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:image": {}},
        "k:{\"name\":\"b\"}": {".": {}, "f:name": {}, "f:image": {}},
    }});
    let desired = json!({"c": [{"name": "a", "image": "x"}]});
    assert!(differs(&desired, &live(&found, &owned)));
}

#[test]
fn an_object_that_was_never_applied_is_a_difference() {
    let mut object = live(&json!({"spec": {"replicas": 2}}), &json!({}));
    object.metadata.managed_fields = None;
    assert!(differs(&json!({"spec": {"replicas": 2}}), &object));
}

#[test]
fn quantities_are_compared_as_numbers() {
    let limits = |cpu: Value| json!({"limits": {"cpu": cpu}});
    assert!(covers(&limits(json!("500m")), &limits(json!("0.5")), false));
    assert!(covers(&limits(json!("2")), &limits(json!(2)), false));
    assert!(covers(&limits(json!("1Gi")), &limits(json!("1024Mi")), false));
    assert!(!covers(&limits(json!("1G")), &limits(json!("1Gi")), false));
    // Elsewhere these are just strings.
    assert!(!covers(&json!({"a": "500m"}), &json!({"a": "0.5"}), false));
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{1,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 1..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn an_object_covers_itself(value in tree()) {
        prop_assert!(covers(&value, &value, false));
    }

    #[test]
    fn a_changed_leaf_is_found(value in tree()) {
        let changed = bump(&value);
        prop_assert!(!covers(&value, &changed, false), "{value} {changed}");
    }

    #[test]
    fn quantities_never_panic(text in "\\PC{0,12}") {
        let _ = millis(&text);
    }
}

/// The same tree with its first leaf changed.
fn bump(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields = fields.clone();
            if let Some((_, first)) = fields.iter_mut().next() {
                *first = bump(first);
            }
            Value::Object(fields)
        }
        Value::Array(items) => {
            let mut items = items.clone();
            items[0] = bump(&items[0]);
            Value::Array(items)
        }
        Value::Bool(flag) => Value::Bool(!flag),
        Value::Number(number) => json!(number.as_i64().unwrap() + 1),
        Value::String(text) => json!(format!("{text}x")),
        Value::Null => json!(1),
    }
}
