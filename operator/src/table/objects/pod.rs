//! The pod of a prepare Job.

mod volumes;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use opaque_crds::cluster::{ImagePullPolicy, PodTemplate};
use opaque_crds::table::{Compression, Format, PrepareResources};
use opaque_crds::{OpaqueCluster, OpaqueTable, names};
use serde_json::{Map, Value, json};

use super::of_table;
use crate::Error;
use crate::kube::Installed;
use crate::pod::{STORE_DIR, store_credentials};
use crate::table::decide::Start;

/// Name of the Job's container.
const CONTAINER: &str = "prepare";
/// Mount path of a ConfigMap's file.
const SOURCE: &str = "/etc/opaque/source";
/// Default resources of a Job: name, request, limit.
const RESOURCES: [(&str, &str, &str); 2] = [("cpu", "100m", "4"), ("memory", "256Mi", "8Gi")];
/// Size limit of a source if `maxSourceSize` violates its rule.
const MAX_SOURCE_MIB: u64 = 65_536;
/// User and group ID of our images.
const USER: i64 = 65532;
/// Fields of `podTemplate.spec` that determine where a pod may run and what it mounts. The other
/// fields concern serving and are ignored.
const TAKEN: [&str; 12] = [
    "affinity",
    "dnsConfig",
    "dnsPolicy",
    "hostAliases",
    "imagePullSecrets",
    "nodeSelector",
    "preemptionPolicy",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "tolerations",
    "volumes",
];

/// The pod's template.
pub(super) fn template(
    table: &OpaqueTable,
    cluster: &OpaqueCluster,
    start: &Start,
    installed: &Installed,
) -> Result<PodTemplateSpec, Error> {
    let overlay = cluster.spec.pod_template.clone().unwrap_or_default();
    let PodTemplate { metadata, spec: pod } = overlay;
    let mut pod = pod.unwrap_or_default();
    let node = pod.containers.into_iter().find(|container| container.name == "node");
    let mut node = node.unwrap_or_default().other;
    pod.other.retain(|field, _| TAKEN.contains(&field.as_str()));

    let volumes = array(pod.other.remove("volumes"));
    let mounted: BTreeSet<&str> = volumes.iter().filter_map(|volume| name(volume)).collect();
    let mut mounts = array(node.remove("volumeMounts"));
    // A mount of a volume that only the nodes have would make the pod invalid.
    mounts.retain(|mount| name(mount).is_some_and(|name| mounted.contains(name)));

    let mut env = array(node.remove("env"));
    let ours = environment(table, cluster)?;
    env.retain(|one| !ours.iter().any(|other| name(other) == name(one)));
    env.extend(ours);
    let mut env_from = array(node.remove("envFrom"));
    env_from.extend(credentials(table));
    let mut spec: Map<String, Value> = pod.other.into_iter().collect();
    let container = json!({
        "name": CONTAINER,
        "image": cluster.spec.image.as_deref().unwrap_or(&installed.node_image),
        "imagePullPolicy": cluster.spec.image_pull_policy.map(pull_policy),
        "command": ["/usr/bin/opaque-prepare"],
        "args": arguments(table, cluster, start, installed.allow_local_sources)?,
        "env": env,
        "envFrom": env_from,
        "resources": resources(&table.spec.prepare.resources),
        "volumeMounts": all([mounts, volumes::mounts(table, cluster)]),
        // `kubectl describe` shows the last lines of its log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    });
    let ours = json!({
        "restartPolicy": "Never",
        "serviceAccountName": names::prepare(&table.name_any()),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": all([volumes, volumes::volumes(table, cluster)]),
    });
    if let Value::Object(ours) = ours {
        spec.extend(ours);
    }
    let metadata = metadata.unwrap_or_default();
    let mut labels = metadata.labels;
    labels.extend(of_table(&table.name_any()));
    let template = json!({
        "metadata": {"labels": labels, "annotations": metadata.annotations},
        "spec": spec,
    });
    let of = cluster.name_any();
    serde_json::from_value(template).map_err(|error| {
        Error::Invalid(format!(
            "spec.podTemplate of OpaqueCluster {of} does not result in a valid pod: {error}"
        ))
    })
}

/// The command line, as specified in decision 009.
fn arguments(
    table: &OpaqueTable,
    cluster: &OpaqueCluster,
    start: &Start,
    allow_local_sources: bool,
) -> Result<Vec<String>, Error> {
    let (spec, table_name) = (&table.spec, table.name_any());
    let namespace = table.namespace().unwrap_or_default();
    let source = match (&spec.source.url, &spec.source.config_map_ref) {
        // Kubernetes would expand `$(NAME)`.
        (Some(url), _) => url.replace('$', "$$"),
        (None, Some(reference)) => format!("{SOURCE}/{}", reference.key),
        (None, None) => String::new(),
    };
    let format = match spec.source.format {
        Format::Csv => "csv",
        Format::Json => "json",
        Format::Jsonl => "jsonl",
        Format::Parquet => "parquet",
    };
    let compression = match spec.source.compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    };
    let mut arguments = vec![
        format!("--store={}", cluster.spec.storage.url),
        format!("--table={}", table.sql_name()),
        format!("--source={source}"),
        format!("--format={format}"),
        format!("--compression={compression}"),
        format!("--retain={}", spec.retain_epochs),
        format!("--max-source-mib={}", spec.prepare.max_source_mib().unwrap_or(MAX_SOURCE_MIB)),
        format!("--report=kubernetes://{namespace}/{}", names::prepare(&table_name)),
        format!("--run={}", start.run),
    ];
    if store_credentials(&cluster.spec.storage).is_some() {
        arguments.push(format!("--store-credentials={STORE_DIR}"));
    }
    if !start.keep.is_empty() {
        let keep: Vec<String> = start.keep.iter().map(ToString::to_string).collect();
        arguments.push(format!("--keep={}", keep.join(",")));
    }
    // The option is passed only if it is set, because images of earlier versions do not know it.
    if allow_local_sources {
        arguments.push("--allow-local-sources".into());
    }
    if let Some(dialect) = &spec.source.dialect {
        let dialect = serde_json::to_string(dialect)
            .map_err(|error| Error::Internal(format!("a dialect is not JSON: {error}")))?;
        arguments.push(format!("--dialect={}", dialect.replace('$', "$$")));
    }
    if spec.source.ignore_extra {
        arguments.push("--ignore-extra".into());
    }
    if let Some(link) = spec.link_mbits {
        arguments.push(format!("--link={link}"));
    }
    if cluster.spec.storage.share_with_sources {
        arguments.push("--share-store-credentials".into());
    }
    Ok(arguments)
}

/// The schema, the store's address, and credentials for a source that is not a bucket.
fn environment(table: &OpaqueTable, cluster: &OpaqueCluster) -> Result<Vec<Value>, Error> {
    let schema = serde_json::to_string(&table.spec.schema)
        .map_err(|error| Error::Internal(format!("a schema is not JSON: {error}")))?;
    // Kubernetes would expand `$(NAME)`, which a column's `from` may contain.
    let schema = schema.replace('$', "$$");
    let mut environment = vec![json!({"name": "OPAQUE_SCHEMA", "value": schema})];
    let storage = &cluster.spec.storage;
    if let Some(endpoint) = &storage.endpoint {
        environment.push(json!({"name": "AWS_ENDPOINT_URL", "value": endpoint}));
        if endpoint.starts_with("http://") {
            environment.push(json!({"name": "AWS_ALLOW_HTTP", "value": "true"}));
        }
    }
    if let Some(region) = &storage.region {
        environment.push(json!({"name": "AWS_REGION", "value": region}));
    }
    let source = &table.spec.source;
    if let (Some(url), Some(secret)) = (&source.url, &source.secret_ref)
        && url.starts_with("http")
    {
        for (name, key) in [
            ("SOURCE_TOKEN", "token"),
            ("SOURCE_USERNAME", "username"),
            ("SOURCE_PASSWORD", "password"),
        ] {
            let reference = json!({"name": secret.name, "key": key, "optional": true});
            environment.push(json!({"name": name, "valueFrom": {"secretKeyRef": reference}}));
        }
    }
    Ok(environment)
}

/// The Secret whose keys become variables: that of a source in a bucket.
fn credentials(table: &OpaqueTable) -> Option<Value> {
    let source = &table.spec.source;
    if let (Some(url), Some(secret)) = (&source.url, &source.secret_ref)
        && !url.starts_with("http")
    {
        return Some(json!({"prefix": "SOURCE_", "secretRef": {"name": secret.name}}));
    }
    None
}

fn pull_policy(policy: ImagePullPolicy) -> &'static str {
    match policy {
        ImagePullPolicy::Always => "Always",
        ImagePullPolicy::IfNotPresent => "IfNotPresent",
        ImagePullPolicy::Never => "Never",
    }
}

fn name(value: &Value) -> Option<&str> {
    value.get("name").and_then(Value::as_str)
}

fn array(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(values)) => values,
        Some(_) | None => Vec::new(),
    }
}

fn all<const N: usize>(lists: [Vec<Value>; N]) -> Vec<Value> {
    lists.into_iter().flatten().collect()
}

/// Requests and limits of the container. If the table sets only one of the two for a resource, our
/// default for the other could contradict it. A request without a limit then becomes the limit too.
/// A limit without a request is left to Kubernetes, which uses it as the request.
fn resources(wanted: &PrepareResources) -> Value {
    let PrepareResources { requests, limits } = wanted;
    let (mut asked, mut bounds) = (requests.clone(), limits.clone());
    for (name, request, limit) in RESOURCES {
        if !limits.contains_key(name) {
            asked.entry(name.into()).or_insert_with(|| request.into());
        }
        let limit = requests.get(name).map_or(limit, String::as_str);
        bounds.entry(name.into()).or_insert_with(|| limit.to_owned());
    }
    json!({"requests": asked, "limits": bounds})
}
