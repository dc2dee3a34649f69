//! The operator's command line.

use std::net::SocketAddr;

use clap::Parser;

use crate::release::Release;

/// Runs Opaque's clusters and tables on Kubernetes.
#[derive(Debug, Clone, Parser)]
#[command(version, about)]
pub struct Args {
    /// The namespace whose objects are reconciled.
    #[arg(long, value_name = "NS", required_unless_present = "all_namespaces")]
    pub namespace: Option<String>,

    /// Reconcile the objects of all namespaces; needs a ClusterRole.
    #[arg(long, conflicts_with = "namespace")]
    pub all_namespaces: bool,

    /// Image of the nodes of clusters that set no image.
    #[arg(long, value_name = "IMAGE")]
    pub node_image: String,

    /// Allow tables to have sources at loopback addresses, link-local addresses and cloud metadata
    /// addresses.
    #[arg(long)]
    pub allow_local_sources: bool,

    /// Namespace and name of this operator's Deployment. Its replicas elect the active one. Other
    /// releases that watch the same namespace wait for it, and report it by this name.
    #[arg(long, value_name = "NS/NAME")]
    pub release: Release,

    /// Listen address of health, readiness and metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    pub admin_listen: SocketAddr,

    /// DNS domain of the Kubernetes cluster, for names in certificates. If absent: the domain in
    /// this pod's resolver configuration, or else cluster.local.
    #[arg(long, value_name = "DOMAIN")]
    pub cluster_domain: Option<String>,

    /// Name of this process in the Lease.
    #[arg(long, env = "POD_NAME", default_value = "opaque-operator", hide_env_values = true)]
    pub identity: String,

    /// Write log lines as JSON.
    #[arg(long)]
    pub log_json: bool,
}

/// The default DNS domain of Kubernetes clusters.
pub const DOMAIN: &str = "cluster.local";
/// Where the kubelet writes a pod's DNS search domains.
const RESOLVER: &str = "/etc/resolv.conf";

/// The cluster's domain, from a pod's search domains: `ns.svc.DOMAIN svc.DOMAIN DOMAIN`.
fn searched(resolver: &str) -> Option<String> {
    let searches = resolver.lines().filter_map(|line| line.trim().strip_prefix("search"));
    let mut domains = searches.flat_map(str::split_whitespace);
    let domain = domains.find_map(|domain| domain.strip_prefix("svc."))?;
    Some(domain.trim_end_matches('.').to_owned()).filter(|domain| !domain.is_empty())
}

/// The namespaces that the operator watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every namespace.
    All,
    /// One namespace.
    Namespace(String),
}

impl Args {
    /// DNS domain of the Kubernetes cluster.
    pub fn cluster_domain(&self) -> String {
        let searched = || searched(&std::fs::read_to_string(RESOLVER).unwrap_or_default());
        let domain = self.cluster_domain.clone().or_else(searched);
        domain.unwrap_or_else(|| DOMAIN.to_owned())
    }

    /// The namespaces that the operator watches. Parsing ensures that a namespace is set unless all
    /// are watched.
    pub fn scope(&self) -> Scope {
        match &self.namespace {
            Some(namespace) => Scope::Namespace(namespace.clone()),
            None => Scope::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: [&str; 5] =
        ["opaque-operator", "--node-image", "node:1", "--release", "opaque/operator"];

    fn parse(more: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(REST.iter().chain(more))
    }

    #[test]
    fn the_clusters_domain_is_what_a_pod_searches() {
        let pod = "nameserver 10.0.0.10\nsearch ops.svc.k8s.example svc.k8s.example k8s.example\n";
        assert_eq!(searched(pod).as_deref(), Some("k8s.example"));
        let dotted = "search ops.svc.cluster.local. svc.cluster.local. cluster.local.";
        assert_eq!(searched(dotted).as_deref(), Some("cluster.local"));
        for elsewhere in ["", "search example.com", "nameserver 1.1.1.1\noptions ndots:5"] {
            assert_eq!(searched(elsewhere), None, "{elsewhere:?}");
        }
        let given = parse(&["--all-namespaces", "--cluster-domain", "corp.example"]).unwrap();
        assert_eq!(given.cluster_domain(), "corp.example");
    }

    #[test]
    fn one_namespace_or_all_must_be_chosen() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--namespace", "a", "--all-namespaces"]).is_err());
        assert_eq!(parse(&["--namespace", "a"]).unwrap().scope(), Scope::Namespace("a".into()));
        assert_eq!(parse(&["--all-namespaces"]).unwrap().scope(), Scope::All);
    }

    #[test]
    fn a_release_without_its_namespace_is_refused() {
        let wrong = ["opaque-operator", "--all-namespaces", "--node-image", "a", "--release", "b"];
        let error = Args::try_parse_from(wrong).unwrap_err().to_string();
        assert!(error.contains("write NAMESPACE/NAME of the operator's Deployment"), "{error}");
    }
}
