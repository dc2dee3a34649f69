use proptest::prelude::*;
use serde_json::json;

use super::*;

/// An object that `manager` applied and owns.
fn live(desired: &Value, owned: Value) -> DynamicObject {
    let mut object = desired.clone();
    let mut owned = owned;
    owned["f:metadata"]["f:annotations"][format!("f:{APPLIED}")] = json!({});
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("Service");
    object["metadata"]["name"] = json!("a");
    object["metadata"]["managedFields"] = json!([
        {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:status": {}}},
        {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": owned},
    ]);
    serde_json::from_value(object).unwrap()
}

fn stamped(desired: Value) -> Value {
    let mut object: DynamicObject = serde_json::from_value(desired).unwrap();
    stamp(&mut object).unwrap();
    serde_json::to_value(object).unwrap()
}

#[test]
fn what_was_applied_and_is_ours_is_not_applied_again() {
    let desired = stamped(json!({
        "metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}},
        "spec": {
            "ports": [{"name": "q", "port": 1}], "selector": {"a": "b"}, "names": ["one"],
            "empty": {}, "nothing": null, "deep": {"empty": []},
        },
    }));
    let owned = json!({
        "f:metadata": {"f:labels": {"f:x": {}}},
        "f:spec": {
            "f:ports": {"k:{\"port\":1,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}},
            "f:selector": {}, "f:names": {"v:\"one\"": {}},
        },
    });
    assert!(!differs(&desired, &live(&desired, owned.clone())));
    // Changes by the server or by an admission policy are no difference, and neither are additions
    // by others.
    let mut rewritten = live(&desired, owned);
    rewritten.data["spec"]["ports"][0]["port"] = json!(2);
    rewritten.data["spec"]["type"] = json!("ClusterIP");
    assert!(!differs(&desired, &rewritten));
}

#[test]
fn what_is_desired_otherwise_is_applied() {
    let desired = stamped(json!({"spec": {"replicas": 2}}));
    let found = live(&desired, json!({"f:spec": {"f:replicas": {}}}));
    assert!(differs(&stamped(json!({"spec": {"replicas": 3}})), &found));
    assert!(differs(&stamped(json!({"spec": {"replicas": 2, "more": 1}})), &found));
    assert!(differs(&stamped(json!({"spec": {}})), &found));
}

#[test]
fn fields_that_another_writer_took_over_are_applied_again() {
    let desired = stamped(json!({
        "metadata": {"labels": {"x": "y", "z": "y"}},
        "spec": {"ports": [{"name": "q", "port": 1}, {"name": "p", "port": 2}], "selector": {"a": "b"}},
    }));
    let (one, two) = (r#"k:{"port":1,"protocol":"TCP"}"#, r#"k:{"port":2,"protocol":"TCP"}"#);
    let all = json!({
        "f:metadata": {"f:labels": {"f:x": {}, "f:z": {}}},
        "f:spec": {
            "f:ports": {
                one: {".": {}, "f:name": {}, "f:port": {}}, two: {".": {}, "f:name": {}, "f:port": {}},
            },
            "f:selector": {},
        },
    });
    assert!(!differs(&desired, &live(&desired, all.clone())));
    let lost = [
        "/f:metadata/f:labels/f:x".to_owned(),
        "/f:metadata/f:labels".to_owned(),
        "/f:spec/f:selector".to_owned(),
        format!("/f:spec/f:ports/{two}"),
        format!("/f:spec/f:ports/{one}/f:name"),
        "/f:spec".to_owned(),
    ];
    for path in lost {
        let mut owned = all.clone();
        let (above, key) = path.rsplit_once('/').unwrap();
        // A key of a list has no `/` in it.
        owned.pointer_mut(above).unwrap().as_object_mut().unwrap().remove(key);
        assert!(differs(&desired, &live(&desired, owned)), "{path}");
    }
}

#[test]
fn an_object_that_was_never_applied_is_applied() {
    let desired = stamped(json!({"spec": {"replicas": 2}}));
    let mut object = live(&desired, json!({"f:spec": {"f:replicas": {}}}));
    assert!(!differs(&desired, &object));
    object.metadata.managed_fields = None;
    assert!(differs(&desired, &object));
    // The same holds for a field that an earlier version applied.
    let mut object = live(&desired, json!({"f:spec": {"f:replicas": {}}}));
    object.metadata.annotations = None;
    assert!(differs(&desired, &object));
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

/// The fields that an owner of `value` owns; lists are owned as a whole.
fn owned_by(value: &Value) -> Value {
    let Value::Object(fields) = value else { return json!({}) };
    let entry = |(key, value): (&String, &Value)| (format!("f:{key}"), owned_by(value));
    Value::Object(fields.iter().map(entry).collect())
}

/// The same without the last owned field.
fn lose_one(owned: &Value) -> Option<Value> {
    let mut fields = owned.as_object().filter(|fields| !fields.is_empty())?.clone();
    let (key, last) = fields.iter().next_back().map(|(key, last)| (key.clone(), last.clone()))?;
    match lose_one(&last) {
        // A map in which nothing is owned would count as owned as a whole.
        Some(less) if less.as_object().is_some_and(|less| !less.is_empty()) => {
            fields.insert(key, less);
        }
        Some(_) | None => {
            fields.remove(&key);
        }
    }
    Some(Value::Object(fields))
}

proptest! {
    #[test]
    fn every_field_counts(value in tree()) {
        let owned = owned_by(&value);
        prop_assert!(owns(Some(&owned), &value));
        if let Some(less) = lose_one(&owned).filter(|less| less != &json!({})) {
            prop_assert!(!owns(Some(&less), &value), "{value} {less}");
        }
    }

    #[test]
    fn a_stamp_tells_objects_apart(one in tree(), other in tree()) {
        let stamp = |value: &Value| stamped(json!({"metadata": {}, "spec": value}));
        prop_assert_eq!(one == other, stamp(&one)["metadata"] == stamp(&other)["metadata"]);
    }
}
