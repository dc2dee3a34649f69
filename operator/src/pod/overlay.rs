//! Merges `spec.podTemplate` into a pod, as a strategic merge patch.
//!
//! The merge works on untyped JSON, so that fields of newer Kubernetes versions pass through. Rules
//! of a strategic merge: maps are merged, lists whose items have a merge key are merged by it,
//! other lists and all other values are replaced, and `null` removes. Fields on which certificates
//! and permissions depend are refused, as by the CEL rules.

use serde_json::{Map, Value};

/// Lists that are merged, with the key of their items, as Kubernetes declares them in
/// `patchMergeKey`.
const MERGE_KEYS: [(&str, &str); 11] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("resourceClaims", "name"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("ports", "containerPort"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
];

/// Fields of a pod that only the operator may set.
const PROTECTED: [&str; 10] = [
    "serviceAccountName",
    "serviceAccount",
    "automountServiceAccountToken",
    "restartPolicy",
    "hostname",
    "subdomain",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "shareProcessNamespace",
];
/// Fields of the operator's own containers that only the operator may set.
const PROTECTED_OF_CONTAINER: [&str; 3] = ["image", "command", "args"];

/// Why an overlay cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OverlayError {
    /// A field that only the operator may set.
    #[error("spec.podTemplate.spec.{0} is set by the operator: remove it from podTemplate")]
    Protected(String),
    /// An item lacks the key by which it is merged.
    #[error("an item of spec.podTemplate's {list} has no {key}")]
    NoKey {
        /// The list.
        list: String,
        /// The key.
        key: &'static str,
    },
    /// A list or map of the overlay has another type in a PodSpec, or the reverse.
    #[error("spec.podTemplate's {0} has another type than in a PodSpec")]
    Type(String),
}

/// Merges `overlay`, a PodSpec, into `pod`, a PodSpec with the operator's containers.
///
/// # Errors
/// The overlay sets a protected field, or does not fit a PodSpec.
pub(crate) fn merge_pod(pod: &mut Value, overlay: &Value) -> Result<(), OverlayError> {
    let Value::Object(patch) = overlay else { return Err(OverlayError::Type("spec".into())) };
    for field in PROTECTED {
        if patch.contains_key(field) {
            return Err(OverlayError::Protected(field.into()));
        }
    }
    for list in ["containers", "initContainers"] {
        for container in patch.get(list).and_then(Value::as_array).into_iter().flatten() {
            check_container(list, container, pod)?;
        }
    }
    merge_map(pod, patch, "spec")
}

fn check_container(list: &str, container: &Value, pod: &Value) -> Result<(), OverlayError> {
    let own = pod.get(list).and_then(Value::as_array).into_iter().flatten();
    let mut names = own.filter_map(|own| own.get("name"));
    if !names.any(|name| Some(name) == container.get("name")) {
        return Ok(());
    }
    let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
    for field in PROTECTED_OF_CONTAINER {
        if container.get(field).is_some() {
            return Err(OverlayError::Protected(format!("{list}[{name}].{field}")));
        }
    }
    Ok(())
}

fn merge_map(target: &mut Value, patch: &Map<String, Value>, at: &str) -> Result<(), OverlayError> {
    let Value::Object(fields) = target else { return Err(OverlayError::Type(at.into())) };
    for (key, value) in patch {
        match (fields.get_mut(key), value) {
            (_, Value::Null) => {
                fields.remove(key);
            }
            (Some(found @ Value::Object(_)), Value::Object(patch)) => merge_map(found, patch, key)?,
            (Some(Value::Array(found)), Value::Array(items)) => merge_list(found, items, key)?,
            (Some(Value::Object(_) | Value::Array(_)), _) => {
                return Err(OverlayError::Type(key.clone()));
            }
            (_, value) => {
                fields.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(())
}

fn merge_list(found: &mut Vec<Value>, items: &[Value], list: &str) -> Result<(), OverlayError> {
    let Some((_, key)) = MERGE_KEYS.iter().find(|(name, _)| *name == list) else {
        *found = items.to_vec();
        return Ok(());
    };
    for item in items {
        let Some(value) = item.get(key) else {
            return Err(OverlayError::NoKey { list: list.into(), key });
        };
        let Value::Object(patch) = item else { return Err(OverlayError::Type(list.into())) };
        match found.iter_mut().find(|known| known.get(key) == Some(value)) {
            Some(known) => merge_map(known, patch, list)?,
            None => found.push(item.clone()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({
            "serviceAccountName": "demo-node",
            "securityContext": {"runAsNonRoot": true},
            "containers": [{
                "name": "node", "image": "node:1", "args": ["--shard", "0"],
                "env": [{"name": "POD_NAME", "value": "x"}],
                "volumeMounts": [{"name": "tls", "mountPath": "/etc/opaque/tls"}],
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
            }],
            "volumes": [{"name": "tls"}],
        })
    }

    #[test]
    fn items_are_merged_by_their_key_and_others_are_added() {
        let mut pod = pod();
        let overlay = json!({
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {"fsGroup": 7},
            "containers": [
                {"name": "node", "env": [{"name": "RUST_LOG", "value": "debug"}],
                 "resources": {"requests": {"cpu": "2"}},
                 "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
                {"name": "tail", "image": "busybox", "args": ["tail"]},
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "d"}}],
        });
        merge_pod(&mut pod, &overlay).unwrap();
        assert_eq!(pod["containers"][0]["env"].as_array().unwrap().len(), 2);
        let requests = &pod["containers"][0]["resources"]["requests"];
        assert_eq!(*requests, json!({"cpu": "2", "memory": "1Gi"}));
        assert_eq!(pod["containers"][0]["args"], json!(["--shard", "0"]));
        assert_eq!(pod["containers"][1]["name"], "tail");
        assert_eq!(pod["volumes"].as_array().unwrap().len(), 2);
        assert_eq!(pod["securityContext"], json!({"runAsNonRoot": true, "fsGroup": 7}));
        assert_eq!(pod["nodeSelector"]["disk"], "fast");
    }

    #[test]
    fn null_removes_and_a_wrong_type_is_refused() {
        let mut pod = pod();
        merge_pod(&mut pod, &json!({"securityContext": null})).unwrap();
        assert!(pod.get("securityContext").is_none());
        let wrong = merge_pod(&mut pod, &json!({"volumes": {"a": 1}}));
        assert_eq!(wrong, Err(OverlayError::Type("volumes".into())));
        let nameless = merge_pod(&mut pod, &json!({"volumes": [{"emptyDir": {}}]}));
        assert!(matches!(nameless, Err(OverlayError::NoKey { key: "name", .. })));
    }

    fn anything() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            "[a-z]{0,4}".prop_map(Value::from),
            prop::collection::vec("[a-z]{1,3}".prop_map(Value::from), 0..3).prop_map(Value::from),
        ]
    }

    proptest! {
        #[test]
        fn protected_fields_of_a_pod_never_change(field in 0..PROTECTED.len(), value in anything()) {
            let mut pod = pod();
            let before = pod.clone();
            let overlay = json!({PROTECTED[field]: value});
            prop_assert!(merge_pod(&mut pod, &overlay).is_err());
            prop_assert_eq!(pod, before);
        }

        #[test]
        fn protected_fields_of_a_node_never_change(
            field in 0..PROTECTED_OF_CONTAINER.len(),
            value in anything(),
            others in prop::collection::btree_map("[a-h]{1,6}", anything(), 0..3),
        ) {
            let mut pod = pod();
            let mut container = json!({"name": "node"});
            for (key, value) in others {
                container[key] = value;
            }
            container[PROTECTED_OF_CONTAINER[field]] = value;
            let refused = merge_pod(&mut pod, &json!({"containers": [container]})).is_err();
            prop_assert!(refused);
        }
    }
}
