//! Golden manifests, and properties of every cluster.

use std::path::Path;

use kube::api::DynamicObject;
use opaque_crds::names::{MAX_CLUSTER_NAME, MAX_LABEL};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use crate::{golden, labels};

/// All objects of a cluster, in the order of creation.
fn all(cluster: &OpaqueCluster) -> Vec<Value> {
    let blueprint = Blueprint {
        cluster,
        size: Size::wanted(&cluster.spec),
        installed_image: "node:1",
        revocation: cluster.spec.tls.issuer_ref.is_none(),
    };
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        k8s_openapi::jiff::Timestamp::from_second(1_767_225_600).unwrap(),
    );
    let mut objects = vec![
        value(&shard_map(&blueprint, None, now)),
        value(&account(&blueprint)),
        value(&role(&blueprint)),
        value(&role_binding(&blueprint)),
        value(&peer_service(&blueprint)),
        value(&client_service(&blueprint)),
        value(&policy(&blueprint)),
    ];
    for shard in 0..blueprint.size.shards {
        objects.push(value(&disruption_budget(&blueprint, shard)));
        objects.push(set(&blueprint, shard).unwrap());
    }
    if cluster.spec.monitoring.enabled {
        objects.extend([service_monitor(&blueprint).1, rule(&blueprint).1]);
    }
    objects
}

fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

fn cluster(name: &str, spec: &Value) -> OpaqueCluster {
    object!({
        "metadata": {"name": name, "namespace": "lab", "uid": "0a1b", "generation": 1},
        "spec": spec,
    })
}

fn small() -> Value {
    json!({
        "shards": 1, "replicasPerShard": 2, "clientAuth": {"mode": "none"},
        "storage": {
            "url": "s3://opaque/demo", "endpoint": "http://minio:9000", "region": "eu",
            "secretRef": {"name": "store"},
        },
    })
}

fn rich() -> Value {
    json!({
        "shards": 2, "replicasPerShard": 1, "image": "registry.example/node@sha256:01",
        "imagePullPolicy": "Always",
        "clientAuth": {
            "mode": "token", "tokenSecretRef": {"name": "tokens"}, "loaders": ["etl", "a $(POD_NAME)"],
        },
        "storage": {"url": "file:///data/opaque"},
        "tls": {"issuerRef": {"name": "ca"}, "duration": "24h", "renewBefore": "8h"},
        "monitoring": {"enabled": true, "labels": {"release": "prometheus"}},
        "service": {
            "type": "LoadBalancer", "annotations": {"example.com/internal": "true"},
            "loadBalancerSourceRanges": ["203.0.113.0/24"],
        },
        "podTemplate": {
            "metadata": {"labels": {"team": "data"}, "annotations": {"example.com/a": "b"}},
            "spec": {
                "nodeSelector": {"disk": "fast"},
                "containers": [{
                    "name": "node",
                    "resources": {"limits": {"memory": "2Gi"}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    "env": [{"name": "RUST_LOG", "value": "debug"}],
                }],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
                "fieldOfTheFuture": true,
            },
        },
    })
}

/// A changed pod restarts every cluster when the operator is upgraded, so a change must be
/// deliberate.
#[test]
fn manifests_are_as_in_the_golden_files() {
    for (name, spec) in [("small", small()), ("rich", rich())] {
        let objects = all(&cluster("demo", &spec));
        let documents: Vec<_> =
            objects.iter().map(|object| serde_saphyr::to_string(object).unwrap()).collect();
        let text = documents.join("---\n");
        golden::check(&format!("cluster/objects/golden/{name}.yaml"), &text);
    }
}

#[test]
fn every_alert_has_its_runbook() {
    let objects = all(&cluster("demo", &rich()));
    let rule = objects.iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    let alerts = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    assert!(!alerts.is_empty());
    for alert in alerts {
        let runbook = alert["annotations"]["runbook"].as_str().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(runbook);
        let title = format!("# {}\n", alert["alert"].as_str().unwrap());
        assert!(std::fs::read_to_string(path).unwrap().starts_with(&title), "{runbook}");
    }
}

#[test]
fn the_overlay_reaches_the_pods_and_the_operators_labels_win() {
    let mut spec = rich();
    spec["podTemplate"]["metadata"]["labels"] = json!({"opaque.dev/shard": "7", "team": "data"});
    let objects = all(&cluster("demo", &spec));
    let set = objects.iter().find(|object| object["kind"] == "StatefulSet").unwrap();
    let template = &set["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "data");
    assert_eq!(template["metadata"]["labels"]["opaque.dev/shard"], "0");
    assert_eq!(template["spec"]["fieldOfTheFuture"], true);
    assert_eq!(template["spec"]["containers"][0]["volumeMounts"].as_array().unwrap().len(), 5);
}

#[test]
fn a_pod_gets_the_authorities_of_clients_and_what_is_revoked_of_them() {
    let mut spec = small();
    spec["clientAuth"] = json!({"mode": "mtls", "caSecretRef": {"name": "clients"}});
    let objects = all(&cluster("demo", &spec));
    let set = objects.iter().find(|object| object["kind"] == "StatefulSet").unwrap();
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    let tls = volumes.iter().find(|volume| volume["name"] == "tls").unwrap();
    let sources = tls["projected"]["sources"].as_array().unwrap();
    let item = |from: &str, to: &str| json!([{"key": from, "path": to}]);
    let secret = |items: Value| json!({"secret": {"name": "clients", "items": items}});
    assert!(sources.contains(&secret(item("ca.crt", "clients-ca.crt"))));
    let mut lists = secret(item("ca.crl", "clients-ca.crl"));
    lists["secret"]["optional"] = json!(true);
    assert!(sources.contains(&lists), "{sources:#?}");
    let trust = sources.iter().find(|source| source.get("configMap").is_some()).unwrap();
    let revoked = json!({"key": "clients-ca.revoked", "path": "clients-ca.revoked"});
    assert!(trust["configMap"]["items"].as_array().unwrap().contains(&revoked), "{trust:#}");
}

#[test]
fn the_grace_period_covers_the_drain_of_the_longest_query() {
    let grace = |pod: &Value| {
        let mut spec = small();
        spec["podTemplate"] = json!({"spec": pod});
        let objects = all(&cluster("demo", &spec));
        let set = objects.iter().find(|object| object["kind"] == "StatefulSet").unwrap();
        set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap()
    };
    let deadline = |seconds: &str| {
        let variable = json!({"name": "OPAQUE_QUERY_DEADLINE_S", "value": seconds});
        json!({"containers": [{"name": "node", "env": [variable]}]})
    };
    let usual = grace(&json!({}));
    // Accepting for 5 s, twice the deadline, and leaving for 5 s.
    assert!(usual > 5 + 2 * 30 + 5, "{usual} s");
    assert_eq!(grace(&deadline("90")), usual + 2 * (90 - 30));
    assert_eq!(grace(&deadline("soon")), usual);
    assert_eq!(grace(&json!({"terminationGracePeriodSeconds": 2})), 2);
}

/// Checks the level *restricted*, as Kubernetes defines it, and the stricter rules of this project.
fn assert_restricted(pod: &Value) {
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(container["readOnlyRootFilesystem"], true);
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(field).is_none());
    }
    for volume in pod["volumes"].as_array().unwrap() {
        assert!(volume.get("hostPath").is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_object_is_owned_labelled_and_named_within_limits(
        name in "[a-z][a-z0-9]{0,40}",
        shards in prop_oneof![1..4_i32, Just(1024)],
        replicas in 1..33_i32,
        mode in 0..3_usize,
    ) {
        let mut spec = small();
        spec["shards"] = json!(shards);
        spec["replicasPerShard"] = json!(replicas);
        spec["clientAuth"] = [
            json!({"mode": "none"}),
            json!({"mode": "token", "tokenSecretRef": {"name": "t"}}),
            json!({"mode": "mtls", "caSecretRef": {"name": "c"}}),
        ][mode].clone();
        prop_assert!(name.len() <= MAX_CLUSTER_NAME);
        for object in all(&cluster(&name, &spec)) {
            let kind = object["kind"].as_str().unwrap().to_owned();
            let bytes = object.to_string().len();
            prop_assert!(bytes < 1_000_000, "{} has {} bytes", kind, bytes);
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            prop_assert!(object.name_any().len() <= MAX_LABEL);
            prop_assert_eq!(object.namespace(), Some("lab".to_owned()));
            prop_assert_eq!(&labels::controller_of(&object.metadata).unwrap().uid, "0a1b");
            prop_assert_eq!(&object.labels()[labels::MANAGED_BY], labels::OPERATOR);
            prop_assert!(object.labels().values().all(|value| value.len() <= MAX_LABEL));
            if kind == "StatefulSet" {
                prop_assert!(object.name_any().len() <= 52);
                assert_restricted(&object.data["spec"]["template"]["spec"]);
                let selector = &object.data["spec"]["selector"]["matchLabels"];
                let labels = &object.data["spec"]["template"]["metadata"]["labels"];
                for (key, value) in selector.as_object().unwrap() {
                    prop_assert_eq!(&labels[key], value);
                }
            }
        }
    }
}
