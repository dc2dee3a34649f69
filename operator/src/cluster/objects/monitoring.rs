//! Objects of the Prometheus operator, created if `monitoring.enabled` is set and its kinds exist.

use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use opaque_crds::names;
use serde_json::{Value, json};

use super::{Blueprint, Size};
use crate::{duration, labels};

/// Their group and version.
const GROUP_VERSION: (&str, &str) = ("monitoring.coreos.com", "v1");
/// Path of the runbooks in Opaque's repository.
const RUNBOOKS: &str = "docs/runbooks";

/// The API resource of a kind.
fn resource(kind: &str) -> ApiResource {
    let (group, version) = GROUP_VERSION;
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Defines where Prometheus scrapes.
pub(in crate::cluster) fn service_monitor(blueprint: &Blueprint<'_>) -> (ApiResource, Value) {
    let cluster = blueprint.name();
    let body = json!({
        "spec": {
            "selector": {"matchLabels": {
                labels::CLUSTER: cluster,
                labels::COMPONENT: "peers",
            }},
            "endpoints": [{
                "port": "admin",
                "interval": "15s",
                "relabelings": [{
                    "sourceLabels": ["__meta_kubernetes_pod_label_opaque_dev_cluster"],
                    "targetLabel": "cluster",
                }],
            }],
        },
    });
    finish(blueprint, "ServiceMonitor", names::peer_service(&cluster), body)
}

/// Alerts, each with a runbook in docs/runbooks.
pub(in crate::cluster) fn rule(blueprint: &Blueprint<'_>) -> (ApiResource, Value) {
    let (cluster, namespace) = (blueprint.name(), blueprint.namespace());
    let of = format!("cluster=\"{cluster}\",namespace=\"{namespace}\"");
    let tls = &blueprint.cluster.spec.tls;
    let Size { shards, replicas, .. } = blueprint.size;
    let pods = i64::from(shards) * i64::from(replicas);
    // A pod that cannot be scheduled is no target of Prometheus, so only its absence is visible.
    let count = |series: String| format!("(count({series}) or vector(0))");
    let shard_of = r#""shard", "$1", "pod", ".*-shard-([0-9]+)-[0-9]+""#;
    // A pod that turns clients away because it does not reach every shard still answers its peers.
    let serving = format!("opaque_node_ready{{{of}}} == 1 or opaque_node_turned_away{{{of}}} == 1");
    let serving = format!("label_replace({serving}, {shard_of})");
    let alerts = vec![
        alert(
            "OpaqueShardDown",
            format!("{} < {shards}", count(format!("count by (shard) ({serving})"))),
            "2m",
            "critical",
            "A shard has had no ready pod for 2 minutes, so every query fails.",
        ),
        alert(
            "OpaquePodsMissing",
            format!("{} < {pods}", count(format!("up{{{of}}} == 1"))),
            "15m",
            "warning",
            "Prometheus reaches fewer pods than the cluster should have.",
        ),
        alert(
            "OpaqueNodeDown",
            format!("up{{{of}}} == 0"),
            "5m",
            "warning",
            "Prometheus has not been able to scrape pod {{ $labels.pod }} for 5 minutes.",
        ),
        alert(
            "OpaqueNodeNotReady",
            format!("opaque_node_ready{{{of}}} == 0"),
            "10m",
            "warning",
            "Pod {{ $labels.pod }} has not served the active generation for 10 minutes.",
        ),
        alert(
            "OpaqueShardMapLost",
            format!("max(opaque_node_shard_map_lost{{{of}}}) == 1"),
            "2m",
            "warning",
            "For 2 minutes, the OpaqueShardMap object has not matched what the nodes serve.",
        ),
        alert(
            "OpaqueNoPodReachesAllShards",
            format!("min(opaque_node_unreachable_shards{{{of}}}) > 0"),
            "1m",
            "critical",
            "No pod reaches every shard, so every query fails.",
        ),
        alert(
            "OpaqueShardsUnreachable",
            format!("opaque_node_unreachable_shards{{{of}}} > 0"),
            "2m",
            "warning",
            "Pod {{ $labels.pod }} reaches no replica of {{ $value }} shards.",
        ),
        alert(
            "OpaqueProbeFailed",
            format!("max(opaque_node_failing_probes{{{of}}}) > 0"),
            "1m",
            "critical",
            "The self-test query of a served table fails.",
        ),
        alert(
            "OpaqueWatchLost",
            format!("opaque_node_watch_silent_seconds{{{of}}} > 60"),
            "1m",
            "warning",
            "Pod {{ $labels.pod }} has received no updates of the cluster's state for a minute.",
        ),
        alert(
            "OpaqueShardMapContradicts",
            format!("max(opaque_node_map_shards{{{of}}}) != {shards}"),
            "2m",
            "critical",
            "The shard map has a different number of shards than the cluster.",
        ),
        alert(
            "OpaqueTablesMissing",
            format!("opaque_node_missing_tables{{{of}}} > 0"),
            "5m",
            "warning",
            "Pod {{ $labels.pod }} has not been able to load a table for 5 minutes.",
        ),
        alert(
            "OpaqueProposalWaits",
            format!("max(opaque_node_proposal_waited_seconds{{{of}}}) > 600"),
            "1m",
            "warning",
            "A proposed epoch has waited for the nodes for over 10 minutes and delays later changes.",
        ),
        alert(
            "OpaqueStoreUnavailable",
            format!("opaque_node_store_unreadable{{{of}}} == 1"),
            "5m",
            "warning",
            "Pod {{ $labels.pod }} has not been able to read the object store for 5 minutes.",
        ),
        alert(
            "OpaqueClientsLimited",
            format!(
                "sum by (pod) (rate({{__name__=~\"{}\",{of},reason=~\"{}\"}}[5m])) > 0",
                "opaque_node_(connections_closed|requests_refused)_total",
                "all|client|handshakes|limit|busy",
            ),
            "10m",
            "warning",
            "Pod {{ $labels.pod }} has refused clients for 10 minutes because a limit was reached.",
        ),
        alert(
            "OpaqueCertificateExpires",
            format!(
                "opaque_node_certificate_not_after_seconds{{{of}}} - time() < {}",
                remaining(&tls.renew_before),
            ),
            "5m",
            "critical",
            "A certificate of pod {{ $labels.pod }} should have been renewed.",
        ),
        alert(
            "OpaqueRevocationListExpires",
            format!(
                "opaque_node_revocation_list_not_after_seconds{{{of},kind=\"peers\"}} - time() < {}",
                (seconds(&tls.duration) - remaining(&tls.renew_before)).max(0),
            ),
            "5m",
            "critical",
            "The nodes' revocation list of pod {{ $labels.pod }} should have been renewed.",
        ),
        alert(
            "OpaqueClientRevocationListExpires",
            ending("revocation_list", &format!("{of},kind=\"clients\""), 4),
            "5m",
            "critical",
            "A client revocation list expires soon; after that, clients of its authority are refused.",
        ),
        alert(
            "OpaqueAuthorityExpires",
            ending("authority", &of, 8),
            "5m",
            "warning",
            "A certificate authority of {{ $labels.kind }} expires soon.",
        ),
        alert(
            "OpaqueTlsMaterialRefused",
            format!("opaque_node_tls_material_refused{{{of}}} == 1"),
            "5m",
            "critical",
            "Pod {{ $labels.pod }} has received certificates or revocation lists that it cannot use.",
        ),
        alert(
            "OpaqueClientAuthFaulty",
            format!(
                "opaque_node_client_auth_void{{{of}}} > 0 or opaque_node_client_auth_unread_seconds{{{of}}} > 30"
            ),
            "1m",
            "warning",
            "Pod {{ $labels.pod }} cannot use some tokens, authorities or revocation lists of clients.",
        ),
        alert(
            "OpaqueClientsRefused",
            format!("opaque_node_client_auth_closed{{{of}}} == 1"),
            "1m",
            "critical",
            "Pod {{ $labels.pod }} refuses every client: it has no usable tokens, authorities or lists.",
        ),
    ];
    let body =
        json!({"spec": {"groups": [{"name": format!("opaque-{cluster}"), "rules": alerts}]}});
    finish(blueprint, "PrometheusRule", cluster, body)
}

fn alert(name: &str, expression: String, lasting: &str, severity: &str, summary: &str) -> Value {
    json!({
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "runbook": format!("{RUNBOOKS}/{name}.md")},
    })
}

/// A condition on an interval with start and end: less than `1/part` of it remains, and less than
/// 30 days.
fn ending(what: &str, of: &str, part: u32) -> String {
    let (start, end) = (
        format!("opaque_node_{what}_not_before_seconds{{{of}}}"),
        format!("opaque_node_{what}_not_after_seconds{{{of}}}"),
    );
    format!("{end} - time() < clamp_max(({end} - {start}) / {part}, 2592000)")
}

/// Half of the time between renewal and expiry of a certificate, in seconds.
fn remaining(renew_before: &str) -> i64 {
    seconds(renew_before) / 2
}

/// Seconds of a duration that the CRD's rules have validated.
fn seconds(text: &str) -> i64 {
    duration::parse(text).map_or(0, |duration| duration.whole_seconds())
}

/// Adds the fields that all objects have, and the labels by which the user's Prometheus selects.
fn finish(
    blueprint: &Blueprint<'_>,
    kind: &str,
    name: String,
    mut body: Value,
) -> (ApiResource, Value) {
    let resource = resource(kind);
    let mut all = blueprint.cluster.spec.monitoring.labels.clone();
    all.extend(labels::of_cluster(&blueprint.name()));
    let metadata = labels::owned(blueprint.cluster, name, all);
    if let Value::Object(fields) = &mut body {
        fields.insert("apiVersion".into(), json!(resource.api_version));
        fields.insert("kind".into(), json!(kind));
        fields.insert("metadata".into(), json!(metadata));
    }
    (resource, body)
}
