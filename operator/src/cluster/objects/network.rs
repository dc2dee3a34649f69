//! Services, the NetworkPolicy, and the PodDisruptionBudgets.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use opaque_crds::names;

use super::{ADMIN_PORT, Blueprint, CLIENT_PORT, PEER_PORT};
use crate::labels;

/// The Service for clients. Any ready node answers any query.
pub(in crate::cluster) fn client_service(blueprint: &Blueprint<'_>) -> Service {
    let wanted = &blueprint.cluster.spec.service;
    let ports = vec![port("query", CLIENT_PORT)];
    let ranges = wanted.load_balancer_source_ranges.clone();
    let spec = ServiceSpec {
        type_: Some(wanted.type_.as_str().to_owned()),
        load_balancer_source_ranges: (!ranges.is_empty()).then_some(ranges),
        ..ServiceSpec::default()
    };
    let mut made =
        service(blueprint, names::client_service(&blueprint.name()), "query", ports, spec);
    let annotations = wanted.annotations.clone();
    made.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    made
}

/// Gives each pod a host name, ready or not, because certificates contain the names. Prometheus
/// finds the pods by it.
pub(in crate::cluster) fn peer_service(blueprint: &Blueprint<'_>) -> Service {
    let ports = vec![port("peer", PEER_PORT), port("admin", ADMIN_PORT)];
    let headless = ServiceSpec {
        cluster_ip: Some("None".into()),
        publish_not_ready_addresses: Some(true),
        ..ServiceSpec::default()
    };
    service(blueprint, names::peer_service(&blueprint.name()), "peers", ports, headless)
}

fn service(
    blueprint: &Blueprint<'_>,
    name: String,
    component: &str,
    ports: Vec<ServicePort>,
    spec: ServiceSpec,
) -> Service {
    let cluster = blueprint.name();
    let mut labels = labels::of_cluster(&cluster);
    labels.insert(labels::COMPONENT.into(), component.into());
    Service {
        metadata: labels::owned(blueprint.cluster, name, labels),
        spec: Some(ServiceSpec {
            selector: Some(labels::select_nodes(&cluster)),
            // Uses both address families if Kubernetes has both.
            ip_family_policy: Some("PreferDualStack".into()),
            ports: Some(ports),
            ..spec
        }),
        status: None,
    }
}

fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::String(name.into())),
        ..ServicePort::default()
    }
}

/// Permits the eviction of one pod of a shard at a time. The limit is one unavailable pod rather
/// than one available pod: with a single replica, a drain must still be able to finish. A pod that
/// does not serve may always be evicted.
pub(in crate::cluster) fn disruption_budget(
    blueprint: &Blueprint<'_>,
    shard: i32,
) -> PodDisruptionBudget {
    let cluster = blueprint.name();
    PodDisruptionBudget {
        metadata: labels::owned(
            blueprint.cluster,
            names::shard(&cluster, shard),
            labels::of_shard(&cluster, shard),
        ),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            selector: Some(LabelSelector {
                match_labels: Some(select_shard(&cluster, shard)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

/// Labels that select one shard's pods.
pub(super) fn select_shard(
    cluster: &str,
    shard: i32,
) -> std::collections::BTreeMap<String, String> {
    let mut labels = labels::select_nodes(cluster);
    labels.insert(labels::SHARD.into(), shard.to_string());
    labels
}

/// Permitted connections: clients from anywhere to the query port, where TLS and `clientAuth`
/// decide; peers from the cluster's own pods; health and metrics from the namespace and from any
/// Prometheus.
///
/// Outgoing connections of nodes are not restricted: the API server and the object store are
/// outside the cluster's network, or have addresses that no policy can name. Add a separate policy
/// if you know their addresses.
pub(in crate::cluster) fn policy(blueprint: &Blueprint<'_>) -> NetworkPolicy {
    let cluster = blueprint.name();
    let nodes = selector(labels::select_nodes(&cluster));
    let prometheus = selector(labels::labels([(labels::NAME, "prometheus")]));
    let peers = NetworkPolicyPeer { pod_selector: Some(nodes.clone()), ..Default::default() };
    let neighbours =
        NetworkPolicyPeer { pod_selector: Some(LabelSelector::default()), ..Default::default() };
    let monitoring = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(prometheus),
        ..Default::default()
    };
    let ingress = vec![
        allow(CLIENT_PORT, None),
        allow(PEER_PORT, Some(vec![peers])),
        allow(ADMIN_PORT, Some(vec![neighbours, monitoring])),
    ];
    NetworkPolicy {
        metadata: labels::owned(blueprint.cluster, cluster.clone(), labels::of_cluster(&cluster)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(nodes),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }
}

fn selector(labels: std::collections::BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

fn allow(port: i32, from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyIngressRule {
    let port = NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".into()),
        end_port: None,
    };
    NetworkPolicyIngressRule { ports: Some(vec![port]), from }
}
