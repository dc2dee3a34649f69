//! The command line.

use std::net::SocketAddr;

use clap::Parser;

/// Runs Opaque's clusters and tables on Kubernetes.
#[derive(Debug, Clone, Parser)]
#[command(version, about)]
pub struct Args {
    /// The namespace whose objects are reconciled.
    #[arg(long, value_name = "NS", required_unless_present = "all_namespaces")]
    pub namespace: Option<String>,

    /// Reconcile the objects of every namespace; needs a ClusterRole.
    #[arg(long, conflicts_with = "namespace")]
    pub all_namespaces: bool,

    /// Image of the nodes of clusters that name none.
    #[arg(long, value_name = "IMAGE")]
    pub node_image: String,

    /// Namespace of the Lease by which one of several operators is the active one.
    #[arg(long, value_name = "NS")]
    pub lease_namespace: String,

    /// Address of health, readiness and metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub admin_listen: SocketAddr,

    /// Name of this process in the Lease.
    #[arg(long, env = "POD_NAME", default_value = "opaque-operator", hide_env_values = true)]
    pub identity: String,

    /// Log lines as JSON.
    #[arg(long)]
    pub log_json: bool,
}

/// Where the operator looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every namespace.
    All,
    /// One namespace.
    Namespace(String),
}

impl Args {
    /// Where the operator looks. Parsing gives a namespace unless all are meant.
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
        ["opaque-operator", "--node-image", "node:1", "--lease-namespace", "opaque"];

    fn parse(more: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(REST.iter().chain(more))
    }

    #[test]
    fn one_namespace_or_all_must_be_chosen() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--namespace", "a", "--all-namespaces"]).is_err());
        assert_eq!(parse(&["--namespace", "a"]).unwrap().scope(), Scope::Namespace("a".into()));
        assert_eq!(parse(&["--all-namespaces"]).unwrap().scope(), Scope::All);
    }
}
