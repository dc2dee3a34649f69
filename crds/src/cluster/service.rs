//! The Service that clients connect to.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Service through which clients reach the nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.loadBalancerSourceRanges) || self.loadBalancerSourceRanges.size() == 0 || self.type == 'LoadBalancer'").message(
        "loadBalancerSourceRanges applies to type LoadBalancer only"
    )
)]
pub struct Service {
    /// Type of the Service `NAME-query`: an address inside the Kubernetes cluster, a port of every
    /// machine, or a load balancer. Clients verify the host name that they connect to; see
    /// `spec.tls.dnsNames`.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Annotations of the Service, for example for a load balancer controller.
    #[schemars(extend("maxProperties" = 64))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('opaque.dev/'))").message(
        "annotations under opaque.dev/ are the operator's"
    ))]
    pub annotations: BTreeMap<String, String>,

    /// Client addresses that the load balancer accepts, such as `203.0.113.0/24`. If empty, it
    /// accepts all.
    #[schemars(length(max = 64), inner(length(max = 64)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(validation = Rule::new("self.all(range, range.matches('^[0-9a-fA-F:.]+/[0-9]{1,3}$'))").message(
        "each must be a range of addresses such as 203.0.113.0/24"
    ))]
    pub load_balancer_source_ranges: Vec<String>,
}

/// Type of a Service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// An address inside the Kubernetes cluster.
    #[default]
    ClusterIP,
    /// A port of every machine.
    NodePort,
    /// A load balancer.
    LoadBalancer,
}

impl ServiceType {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}
