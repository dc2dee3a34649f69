//! The Service that clients connect to.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How clients reach the nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.loadBalancerSourceRanges) || self.loadBalancerSourceRanges.size() == 0 || self.type == 'LoadBalancer'").message(
        "loadBalancerSourceRanges applies to type LoadBalancer only"
    )
)]
pub struct Service {
    /// What Kubernetes makes of the Service `NAME-query`: an address inside the cluster, a port of every machine, or a
    /// load balancer of the cloud. Clients verify the name that they connect to.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Annotations of the Service, which controllers of load balancers read.
    #[schemars(extend("maxProperties" = 64))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('opaque.dev/'))").message(
        "annotations under opaque.dev/ are the operator's"
    ))]
    pub annotations: BTreeMap<String, String>,

    /// Addresses that the load balancer lets through, such as `203.0.113.0/24`. Empty: all.
    #[schemars(length(max = 64), inner(length(max = 64)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(validation = Rule::new("self.all(range, range.matches('^[0-9a-fA-F:.]+/[0-9]{1,3}$'))").message(
        "each must be a range of addresses such as 203.0.113.0/24"
    ))]
    pub load_balancer_source_ranges: Vec<String>,
}

/// What Kubernetes makes of a Service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// An address inside the cluster.
    #[default]
    ClusterIP,
    /// A port of every machine.
    NodePort,
    /// A load balancer of the cloud.
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
