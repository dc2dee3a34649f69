//! Command line of `opaque-node`, and the validated configuration made of it once.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use opaque_ops::drain;
use opaque_pir::machine::Kernels;
use thiserror::Error;

/// Name of every client, for `--loader`.
pub const EVERYONE: &str = "*";

/// One node of an Opaque cluster: scans its shard, and coordinates queries for clients.
///
/// Started by `opaque dev`, or by a StatefulSet; rarely by hand.
#[derive(Debug, Clone, Parser)]
#[command(version, name = "opaque-node")]
pub struct Args {
    /// Unique name of this node.
    #[arg(long)]
    pub name: String,
    /// The shard that this node serves, from 0.
    #[arg(long)]
    pub shard: u32,
    /// Shards of the cluster, for its first map.
    #[arg(long)]
    pub shards: u32,
    /// Where clients connect. `[::]:7100` is every address of this machine, also where it has no IPv6.
    #[arg(long, value_name = "ADDR")]
    pub client_listen: SocketAddr,
    /// Where peers connect.
    #[arg(long, value_name = "ADDR")]
    pub peer_listen: SocketAddr,
    /// The address of this node's pod, IPv4 or IPv6: clients and peers reach it there, at the ports that it listens on.
    #[arg(long, value_name = "IP")]
    pub pod_ip: Option<IpAddr>,
    /// The address that clients reach this node at, if not at --pod-ip or the one it listens on.
    #[arg(long, value_name = "HOST:PORT")]
    pub client_address: Option<String>,
    /// The address that peers reach this node at, if not at --pod-ip or the one it listens on.
    #[arg(long, value_name = "HOST:PORT")]
    pub peer_address: Option<String>,
    /// Object store: a directory or a file:// URL.
    #[arg(long, value_name = "DIR|URL")]
    pub store: String,
    /// Folder of further variables of the store, one a file, such as AWS_SECRET_ACCESS_KEY, and of ca.crt, authorities
    /// of the store's server; read again whenever it changes. A variable of the environment holds whatever a file says.
    #[arg(long, value_name = "DIR")]
    pub store_credentials: Option<PathBuf>,
    /// What the nodes agree through: a directory, or kubernetes://NAMESPACE/CLUSTER.
    #[arg(long, value_name = "DIR|URL")]
    pub coordination: String,
    /// Where health, readiness and metrics are served over plain HTTP; nowhere when absent.
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,
    /// How long new connections are still accepted after SIGTERM, in seconds: until whoever sends
    /// clients here has heard that this node is not ready.
    #[arg(long, default_value_t = 0)]
    pub drain_delay_s: u64,
    /// Uid of the pod that this node is, with --coordination kubernetes://; it owns the node's Lease.
    #[arg(long, env = "POD_UID")]
    pub pod_uid: Option<String>,
    /// Directory with client.crt, client.key, peer.crt, peer.key and peer-ca.crt; peer-ca.crl where
    /// it is needed. For --client-auth mtls clients-ca.crt, and if clients' certificates were
    /// revoked clients-ca.crl (lists in PEM) or clients-ca.revoked (serial numbers in hexadecimal,
    /// one a line). Read again whenever it changes.
    #[arg(long, value_name = "DIR")]
    pub tls_dir: PathBuf,
    /// Whether a peer is refused unless a valid revocation list covers its certificate.
    #[arg(long, value_enum, default_value_t = Revocation::None)]
    pub revocation: Revocation,
    /// How clients prove who they are.
    #[arg(long, value_enum, default_value_t = ClientAuth::None)]
    pub client_auth: ClientAuth,
    /// Directory of tokens, one file per client, named as the client. Read again whenever it
    /// changes; while it holds no token no client may ask, and the node is not ready.
    #[arg(long, value_name = "DIR")]
    pub tokens_dir: Option<PathBuf>,
    /// A client that may load tables and roll them back, by the name that it proves; '*' for every client.
    /// Repeat it for more. All others may only query.
    #[arg(long = "loader", value_name = "NAME")]
    pub loaders: Vec<String>,
    /// Requests in progress per client; 64 when absent, and 512 where clients prove nothing: there a
    /// client is an address, behind which many may be.
    #[arg(long, env = "OPAQUE_CLIENT_CONCURRENCY")]
    pub client_concurrency: Option<u32>,
    /// Requests per second and client; 0 for no limit.
    #[arg(long, env = "OPAQUE_CLIENT_RATE", default_value_t = 0)]
    pub client_rate: u32,
    /// Connections per client: of one certificate, or of one address where there are none.
    #[arg(long, env = "OPAQUE_CLIENT_CONNECTIONS", default_value_t = 512)]
    pub client_connections: u32,
    /// Requests in progress of all clients.
    #[arg(long, env = "OPAQUE_REQUESTS", default_value_t = 1024)]
    pub requests: u32,
    /// Connections of all clients.
    #[arg(long, env = "OPAQUE_CONNECTIONS", default_value_t = 4096)]
    pub connections: u32,
    /// Threads for scans and hint products; all cores when absent.
    #[arg(long, env = "OPAQUE_THREADS")]
    pub threads: Option<usize>,
    /// Machine code for scan and hint: scalar, avx2, avx-vnni, avx512-vnni, amx or neon-dotprod; the fastest that this CPU
    /// has when absent.
    #[arg(long, env = "OPAQUE_KERNEL")]
    pub kernel: Option<String>,
    /// Memory that this node may use in all, in MiB; the limit of its container, or else the
    /// machine's memory, when absent.
    #[arg(long, env = "OPAQUE_MEMORY_LIMIT_MIB", value_parser = clap::value_parser!(u64).range(1..))]
    pub memory_limit_mib: Option<u64>,
    /// Memory for requests in flight, in MiB; a quarter of the node's memory at most.
    #[arg(long, env = "OPAQUE_REQUEST_MEMORY_MIB", default_value_t = 512)]
    pub request_memory_mib: u32,
    /// Longest that one query may take, in seconds.
    #[arg(long, env = drain::QUERY_DEADLINE_VARIABLE, default_value_t = drain::QUERY_DEADLINE_SECONDS)]
    pub query_deadline_s: u64,
    /// Largest table that one load may bring, in MiB of encoded rows.
    #[arg(long, env = "OPAQUE_LOAD_MEMORY_MIB", default_value_t = 4096)]
    pub load_memory_mib: u64,
    /// Longest that a load waits for its epoch to become active, in seconds.
    #[arg(long, env = "OPAQUE_ACTIVATION_DEADLINE_S", default_value_t = 120)]
    pub activation_deadline_s: u64,
    /// Longest that a proposed epoch may wait for a shard that has not loaded it, in seconds; then the
    /// leader rejects it for good. Far longer than clients wait: a pod may have to be scheduled first,
    /// and then load everything. Time in which the store cannot be read does not count.
    #[arg(long, env = "OPAQUE_PREPARE_DEADLINE_S", default_value_t = 1800)]
    pub prepare_deadline_s: u64,
    /// How often the leader asks each table a question whose answer is known, in seconds; 0 for never.
    #[arg(long, env = "OPAQUE_PROBE_INTERVAL_S", default_value_t = 60)]
    pub probe_interval_s: u64,
    /// Epochs of a table that are kept for `opaque rollback`.
    #[arg(long, default_value_t = 8)]
    pub retain_epochs: usize,
    /// Evaluation keys kept in memory (1 MiB each); an eighth of the node's memory at most.
    #[arg(long, default_value_t = 256)]
    pub keys_in_memory: usize,
}

/// What the nodes agree through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A directory that all nodes of a machine share.
    Directory(PathBuf),
    /// The API of the Kubernetes that this node runs in, or of the current context of a kubeconfig.
    Kubernetes {
        /// Namespace of the OpaqueCluster.
        namespace: String,
        /// Its name.
        cluster: String,
    },
}

impl FromStr for Backend {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let Some(place) = text.strip_prefix("kubernetes://") else {
            return Ok(Self::Directory(text.into()));
        };
        let label = |name: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            (1..=63).contains(&name.len()) && name.chars().all(plain)
        };
        match place.split_once('/') {
            Some((namespace, cluster)) if label(namespace) && label(cluster) => {
                Ok(Self::Kubernetes { namespace: namespace.into(), cluster: cluster.into() })
            }
            Some(_) | None => Err(ConfigError::Coordination(text.into())),
        }
    }
}

/// Settings of a running node, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Unique name of this node.
    pub name: String,
    /// The shard that this node serves.
    pub shard: u32,
    /// Shards of the cluster's first map.
    pub shards: u32,
    /// Where clients connect.
    pub client_listen: SocketAddr,
    /// Where peers connect.
    pub peer_listen: SocketAddr,
    /// The address that clients reach this node at.
    pub client_address: String,
    /// The address that peers reach this node at.
    pub peer_address: String,
    /// Object store.
    pub store: String,
    /// Folder of the store's credentials.
    pub store_credentials: Option<PathBuf>,
    /// What the nodes agree through.
    pub coordination: Backend,
    /// Where health, readiness and metrics are served.
    pub admin_listen: Option<SocketAddr>,
    /// How long new connections are accepted after the drain began.
    pub drain_delay: Duration,
    /// Uid of the pod that this node is.
    pub pod_uid: Option<String>,
    /// TLS material.
    pub tls_dir: PathBuf,
    /// Whether revocation lists are required.
    pub revocation: Revocation,
    /// How clients prove who they are.
    pub client_auth: ClientAuth,
    /// Clients' tokens; there in mode `token`.
    pub tokens_dir: Option<PathBuf>,
    /// Clients that may load; `*` for all.
    pub loaders: Vec<String>,
    /// Requests in progress per client.
    pub client_concurrency: u32,
    /// Requests per second and client; 0 for no limit.
    pub client_rate: u32,
    /// Connections per client.
    pub client_connections: u32,
    /// Requests in progress of all clients.
    pub requests: u32,
    /// Connections of all clients.
    pub connections: u32,
    /// CPU threads.
    pub threads: usize,
    /// Machine code for scan and hint.
    pub kernels: Kernels,
    /// Bytes that the node may use in all; none for what the system allows.
    pub memory_limit: Option<u64>,
    /// Bytes of requests in flight.
    pub request_memory: usize,
    /// Deadline of one query.
    pub query_deadline: Duration,
    /// Bytes of encoded rows that one load may bring.
    pub load_memory: u64,
    /// How long a client waits for an activation.
    pub activation_deadline: Duration,
    /// How long the leader lets a proposal wait for a shard.
    pub prepare_deadline: Duration,
    /// How often the leader probes each table; zero for never.
    pub probe_interval: Duration,
    /// Epochs kept per table.
    pub retain_epochs: usize,
    /// Evaluation keys kept in memory.
    pub keys_in_memory: usize,
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let Args {
            name,
            shard,
            shards,
            client_listen,
            peer_listen,
            pod_ip,
            client_address,
            peer_address,
            store,
            store_credentials,
            coordination,
            admin_listen,
            drain_delay_s,
            pod_uid,
            tls_dir,
            revocation,
            client_auth,
            tokens_dir,
            loaders,
            client_concurrency,
            client_rate,
            client_connections,
            requests,
            connections,
            threads,
            kernel,
            memory_limit_mib,
            request_memory_mib,
            query_deadline_s,
            load_memory_mib,
            activation_deadline_s,
            prepare_deadline_s,
            probe_interval_s,
            retain_epochs,
            keys_in_memory,
        } = args;
        if shard >= shards {
            return Err(ConfigError::Shard { shard, shards });
        }
        if (client_auth == ClientAuth::Token) != tokens_dir.is_some() {
            return Err(ConfigError::Tokens);
        }
        if client_auth == ClientAuth::None && loaders.iter().any(|name| name != EVERYONE) {
            return Err(ConfigError::Loaders);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if name.is_empty() || name.len() > 253 || !name.chars().all(plain) {
            return Err(ConfigError::Name(name));
        }
        let kernels = match kernel {
            None => Kernels::best(),
            Some(wanted) => Kernels::from_name(&wanted).ok_or(ConfigError::Kernel(wanted))?,
        };
        let concurrency = match client_auth {
            ClientAuth::Mtls | ClientAuth::Token => 64,
            ClientAuth::None => 512,
        };
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            name,
            shard,
            shards,
            client_listen,
            peer_listen,
            client_address: client_address.unwrap_or_else(|| reached_at(pod_ip, client_listen)),
            peer_address: peer_address.unwrap_or_else(|| reached_at(pod_ip, peer_listen)),
            store,
            store_credentials,
            coordination: coordination.parse()?,
            admin_listen,
            drain_delay: Duration::from_secs(drain_delay_s),
            pod_uid: pod_uid.filter(|uid| !uid.is_empty()),
            tls_dir,
            revocation,
            client_auth,
            tokens_dir,
            loaders,
            client_concurrency: client_concurrency.unwrap_or(concurrency).max(1),
            client_rate,
            client_connections: client_connections.max(1),
            requests: requests.max(1),
            connections: connections.max(1),
            threads: threads.filter(|threads| *threads > 0).unwrap_or_else(cores),
            kernels,
            memory_limit: memory_limit_mib.map(|mib| mib.saturating_mul(1 << 20)),
            request_memory: (request_memory_mib as usize) << 20,
            query_deadline: Duration::from_secs(query_deadline_s.max(1)),
            load_memory: load_memory_mib << 20,
            activation_deadline: Duration::from_secs(activation_deadline_s.max(1)),
            prepare_deadline: Duration::from_secs(prepare_deadline_s.max(1)),
            probe_interval: Duration::from_secs(probe_interval_s),
            retain_epochs: retain_epochs.max(1),
            keys_in_memory: keys_in_memory.max(1),
        })
    }
}

/// Where others reach what listens on `listen`.
fn reached_at(pod: Option<IpAddr>, listen: SocketAddr) -> String {
    pod.map_or(listen, |pod| SocketAddr::new(pod, listen.port())).to_string()
}

/// Whether peers must be covered by a valid revocation list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Revocation {
    /// A certificate that no valid list covers is refused.
    Required,
    /// Lists are not looked at.
    None,
}

/// How clients prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClientAuth {
    /// By a certificate of clients-ca.crt.
    Mtls,
    /// By a token of --tokens-dir.
    Token,
    /// Not at all: whoever reaches the port may ask.
    None,
}

/// A command line that makes no node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The shard is not one of the cluster's.
    #[error("--shard {shard} is not one of --shards {shards}: shards count from 0")]
    Shard {
        /// As given.
        shard: u32,
        /// As given.
        shards: u32,
    },
    /// Tokens and their directory go together.
    #[error("--client-auth token and --tokens-dir DIR go together")]
    Tokens,
    /// A name that no client can prove.
    #[error(
        "--loader NAME needs --client-auth mtls or token: with none nobody proves a name. --loader '*' is for all"
    )]
    Loaders,
    /// The name cannot name a file or a Lease.
    #[error("--name {0:?}: use letters, digits, - and ., at most 253")]
    Name(String),
    /// The coordination names no cluster.
    #[error("--coordination {0:?}: use a directory, or kubernetes://NAMESPACE/CLUSTER")]
    Coordination(String),
    /// No such kernel, or not on this CPU.
    #[error("no kernel {0:?} on this CPU: use `scalar`, or leave the choice to the node")]
    Kernel(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_reached_at_its_address_of_either_family() {
        let listen = "[::]:7100".parse().unwrap();
        let at = |pod: &str| reached_at(Some(pod.parse().unwrap()), listen);
        assert_eq!(
            (at("10.1.2.3"), at("fd00::7")),
            ("10.1.2.3:7100".into(), "[fd00::7]:7100".into())
        );
        assert_eq!(reached_at(None, listen), "[::]:7100");
    }

    #[test]
    fn a_coordination_is_a_directory_or_a_cluster() {
        let kubernetes = Backend::Kubernetes { namespace: "prod".into(), cluster: "demo-1".into() };
        assert_eq!("kubernetes://prod/demo-1".parse(), Ok(kubernetes));
        assert_eq!("/var/x".parse(), Ok(Backend::Directory("/var/x".into())));
        for bad in
            ["kubernetes://", "kubernetes://prod", "kubernetes://prod/", "kubernetes://a/b/c"]
        {
            assert_eq!(bad.parse::<Backend>(), Err(ConfigError::Coordination(bad.into())));
        }
    }
}
