//! Tables in addition to the example, and a web server for their rows.

use opaque_e2e::cluster::pod_image;
use serde_json::{Value, json};

/// A pod `files` and its Service, which serve a `weather.csv` with this content. Other paths do not
/// exist.
pub(crate) fn file_server(weather: &str) -> String {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"},
        "data": {"weather.csv": weather},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "files"},
        "spec": {"selector": {"app": "files"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "files", "labels": {"app": "files"}},
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "files",
                "image": pod_image(),
                "args": ["files", "--port", "8080", "/files"],
                "readinessProbe": {
                    "httpGet": {"path": "/weather.csv", "port": 8080}, "periodSeconds": 1,
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "files", "mountPath": "/files"}],
            }],
            "volumes": [{"name": "files", "configMap": {"name": "files"}}],
        },
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [map, service, pod]}).to_string()
}

/// A table with the columns of `examples/kubernetes/weather.yaml`, and another name and source.
pub(crate) fn weather_table(name: &str, cluster: &str, source: &Value) -> String {
    json!({
        "apiVersion": "opaque.dev/v1alpha1", "kind": "OpaqueTable", "metadata": {"name": name},
        "spec": {
            "clusterRef": {"name": cluster},
            "schema": {"columns": [
                {"name": "id", "type": "INT"},
                {"name": "city", "type": "TEXT", "role": "key"},
                {"name": "country", "type": "TEXT"},
                {"name": "conditions", "type": "TEXT", "role": "index"},
                {"name": "temperature", "type": "INT"},
                {"name": "humidity", "type": "INT"},
            ]},
            "source": source,
        },
    })
    .to_string()
}

/// A table of [`weather_table`] with the rows of the example, in the ConfigMap of
/// [`opaque_e2e::harness::product::apply_weather`].
pub(crate) fn same_weather(name: &str) -> String {
    let source = json!({"configMapRef": {"name": "weather", "key": "weather.csv"}});
    weather_table(name, "demo", &source)
}

/// `examples/cities/schema.sql` as a table, from a file of that form. These columns are searchable
/// in addition to the key.
pub(crate) fn cities_table(name: &str, source: &Value, searchable: &[&str]) -> String {
    let payload = [
        ("name", "TEXT", false),
        ("country", "TEXT", false),
        ("admin1", "TEXT", true),
        ("feature", "TEXT", false),
        ("population", "INT", false),
        ("elevation", "INT", true),
        ("latitude", "REAL", false),
        ("longitude", "REAL", false),
        ("timezone", "TEXT", false),
    ];
    let mut columns = vec![json!({"name": "id", "type": "INT", "role": "key"})];
    columns.extend(payload.map(|(name, of, nulls)| match searchable.contains(&name) {
        true => json!({"name": name, "type": of, "nullable": nulls, "role": "index"}),
        false => json!({"name": name, "type": of, "nullable": nulls}),
    }));
    json!({
        "apiVersion": "opaque.dev/v1alpha1", "kind": "OpaqueTable", "metadata": {"name": name},
        "spec": {
            "clusterRef": {"name": "demo"},
            "schema": {"columns": columns},
            "source": source,
        },
    })
    .to_string()
}
