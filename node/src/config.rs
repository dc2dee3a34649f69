//! Command line of `opaque-node`. Each setting is one field of [`Config`], parsed by clap. The only
//! way to a `Config` checks that the settings agree with each other.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Parser, ValueEnum, value_parser};
use opaque_ops::drain;
use opaque_pir::machine::{Kernels, ScanKernel};
use thiserror::Error;

/// Stands for all clients in `--loader`.
pub const EVERYONE: &str = "*";
const MIB: u64 = 1 << 20;

/// One node of an Opaque cluster: scans its shard, and coordinates queries for clients.
///
/// Usually started by `opaque dev` or by a StatefulSet.
#[derive(Debug, Clone, Parser)]
#[command(version, name = "opaque-node")]
pub struct Args {
    #[command(flatten)]
    unchecked: Config,
}

/// Settings of a running node.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Unique name of this node.
    #[arg(long)]
    pub name: String,
    /// Shard that this node serves, counted from 0.
    #[arg(long)]
    pub shard: u32,
    /// Number of shards of the cluster, for its first map.
    #[arg(long)]
    pub shards: u32,
    /// Address to listen on for clients. `[::]:7100` means all addresses of this machine, even if
    /// it has no IPv6.
    #[arg(long, value_name = "ADDR")]
    pub client_listen: SocketAddr,
    /// Address to listen on for peers.
    #[arg(long, value_name = "ADDR")]
    pub peer_listen: SocketAddr,
    /// IPv4 or IPv6 address of this node's pod. Clients and peers reach the node there, at the
    /// ports that it listens on.
    #[arg(long, value_name = "IP")]
    pod_ip: Option<IpAddr>,
    /// Address at which clients reach this node. Default: --pod-ip, or the address that it listens
    /// on.
    #[arg(long, value_name = "HOST:PORT")]
    client_address: Option<String>,
    /// Address at which peers reach this node. Default: --pod-ip, or the address that it listens
    /// on.
    #[arg(long, value_name = "HOST:PORT")]
    peer_address: Option<String>,
    /// Object store: s3://, gs://, az://, file:// or a directory.
    #[arg(long, value_name = "DIR|URL")]
    pub store: String,
    /// Folder with further variables of the store, one file each, such as AWS_SECRET_ACCESS_KEY.
    /// The file ca.crt holds authorities of the store's server. The folder is read again whenever
    /// it changes. Variables of the environment take precedence over files.
    #[arg(long, value_name = "DIR")]
    pub store_credentials: Option<PathBuf>,
    /// Where the nodes coordinate: a directory, or kubernetes://NAMESPACE/CLUSTER.
    #[arg(long, value_name = "DIR|URL")]
    pub coordination: Backend,
    /// Address for health, readiness and metrics over plain HTTP. Without it, they are not served.
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,
    /// Time in seconds during which new connections are still accepted after SIGTERM. Load
    /// balancers need it to notice that this node is not ready.
    #[arg(long = "drain-delay-s", value_name = "DRAIN_DELAY_S", default_value = "0", value_parser = seconds(0))]
    pub drain_delay: Duration,
    /// Uid of this node's pod, with --coordination kubernetes://. The pod owns the node's Lease.
    #[arg(long, env = "POD_UID")]
    pod_uid: Option<String>,
    /// Directory with client.crt, client.key, peer.crt, peer.key and peer-ca.crt, and peer-ca.crl
    /// if revocation is required. With --client-auth mtls also clients-ca.crt and, if clients'
    /// certificates were revoked, clients-ca.crl (lists in PEM) or clients-ca.revoked (serial
    /// numbers in hexadecimal, one per line). Read again whenever it changes.
    #[arg(long, value_name = "DIR")]
    pub tls_dir: PathBuf,
    /// Whether to refuse a peer unless a valid revocation list covers its certificate.
    #[arg(long, value_enum, default_value_t = Revocation::None)]
    pub revocation: Revocation,
    /// How clients authenticate.
    #[arg(long, value_enum, default_value_t = ClientAuth::None)]
    pub client_auth: ClientAuth,
    /// Directory of tokens: one file per client, named after the client. Read again whenever it
    /// changes. While it holds no token, all clients are refused and the node is not ready.
    #[arg(long, value_name = "DIR")]
    pub tokens_dir: Option<PathBuf>,
    /// A client that may load tables and roll them back, by its authenticated name, or '*' for all
    /// clients. May be repeated. All other clients may only query.
    #[arg(long = "loader", value_name = "NAME")]
    pub loaders: Vec<String>,
    /// Requests in progress per client. Default: 64, or 512 if clients do not authenticate, since
    /// many clients may then share an address.
    #[arg(long, env = "OPAQUE_CLIENT_CONCURRENCY")]
    client_concurrency: Option<u32>,
    /// Requests per second and client. 0 means no limit.
    #[arg(long, env = "OPAQUE_CLIENT_RATE", default_value_t = 0)]
    pub client_rate: u32,
    /// Connections per client, which is identified by its certificate, or by its address if it has
    /// none.
    #[arg(long, env = "OPAQUE_CLIENT_CONNECTIONS", default_value_t = 512, value_parser = value_parser!(u32).map(at_least_one))]
    pub client_connections: u32,
    /// Requests in progress, all clients together.
    #[arg(long, env = "OPAQUE_REQUESTS", default_value_t = 1024, value_parser = value_parser!(u32).map(at_least_one))]
    pub requests: u32,
    /// Connections, all clients together.
    #[arg(long, env = "OPAQUE_CONNECTIONS", default_value_t = 4096, value_parser = value_parser!(u32).map(at_least_one))]
    pub connections: u32,
    /// Number of threads for scans and hint products. Default: all cores.
    #[arg(long, env = "OPAQUE_THREADS")]
    threads: Option<usize>,
    /// Instruction set for scan and hint: scalar, avx2, avx-vnni, avx512-vnni, amx or neon-dotprod.
    /// Default: the fastest that this CPU supports.
    #[arg(long, env = "OPAQUE_KERNEL", value_parser = kernels)]
    kernel: Option<Kernels>,
    /// Memory that this node may use in total, in MiB. Default: the limit of its container, or else
    /// the machine's memory.
    #[arg(long = "memory-limit-mib", value_name = "MEMORY_LIMIT_MIB", env = "OPAQUE_MEMORY_LIMIT_MIB",
        value_parser = value_parser!(u64).range(1..).map(|mib: u64| mib.saturating_mul(MIB)))]
    pub memory_limit: Option<u64>,
    /// Memory for requests in progress, in MiB. At most a quarter of the node's memory.
    #[arg(long = "request-memory-mib", value_name = "REQUEST_MEMORY_MIB", env = "OPAQUE_REQUEST_MEMORY_MIB",
        default_value = "512", value_parser = value_parser!(u32).map(|mib: u32| u64::from(mib) * MIB))]
    pub request_memory: u64,
    /// Longest duration of a query, in seconds.
    #[arg(long, env = drain::QUERY_DEADLINE_VARIABLE, default_value_t = drain::QUERY_DEADLINE_SECONDS)]
    query_deadline_s: u64,
    /// Largest table that a client may load, in MiB of encoded rows.
    #[arg(long = "load-memory-mib", value_name = "LOAD_MEMORY_MIB", env = "OPAQUE_LOAD_MEMORY_MIB",
        default_value = "4096", value_parser = value_parser!(u64).map(|mib: u64| mib << 20))]
    pub load_memory: u64,
    /// Longest time that a load waits for its epoch to become active, in seconds.
    #[arg(long = "activation-deadline-s", value_name = "ACTIVATION_DEADLINE_S", env = "OPAQUE_ACTIVATION_DEADLINE_S",
        default_value = "120", value_parser = seconds(1))]
    pub activation_deadline: Duration,
    /// Longest time that a proposed epoch may wait for a shard to load it, in seconds. After that,
    /// the leader rejects the epoch permanently. This is far longer than clients wait, since a pod
    /// may first have to be scheduled and then load everything. Time during which the store cannot
    /// be read does not count.
    #[arg(long = "prepare-deadline-s", value_name = "PREPARE_DEADLINE_S", env = "OPAQUE_PREPARE_DEADLINE_S",
        default_value = "1800", value_parser = seconds(1))]
    pub prepare_deadline: Duration,
    /// Interval in seconds at which the leader tests each table with a query whose answer is known.
    /// 0 turns this off.
    #[arg(long = "probe-interval-s", value_name = "PROBE_INTERVAL_S", env = "OPAQUE_PROBE_INTERVAL_S",
        default_value = "60", value_parser = seconds(0))]
    pub probe_interval: Duration,
    /// Epochs of a table to keep for `opaque rollback`.
    #[arg(long, default_value_t = 8)]
    pub retain_epochs: usize,
    /// Number of evaluation keys to keep in memory (1 MiB each). They use at most an eighth of the
    /// node's memory.
    #[arg(long, default_value = "256", value_parser = value_parser!(u64).map(|keys: u64| keys.max(1)))]
    pub keys_in_memory: u64,
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    /// Checks the name, and the flags against each other.
    fn try_from(Args { unchecked: config }: Args) -> Result<Self, ConfigError> {
        let Self { name, shard, shards, client_auth, tokens_dir, loaders, .. } = &config;
        if shard >= shards {
            return Err(ConfigError::Shard { shard: *shard, shards: *shards });
        }
        if (*client_auth == ClientAuth::Token) != tokens_dir.is_some() {
            return Err(ConfigError::Tokens);
        }
        if *client_auth == ClientAuth::None && loaders.iter().any(|name| name != EVERYONE) {
            return Err(ConfigError::Loaders);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if name.is_empty() || name.len() > 253 || !name.chars().all(plain) {
            return Err(ConfigError::Name(name.clone()));
        }
        Ok(config)
    }
}

impl Config {
    /// The address at which clients reach this node.
    pub fn client_address(&self) -> String {
        self.client_address.clone().unwrap_or_else(|| reached_at(self.pod_ip, self.client_listen))
    }

    /// The address at which peers reach this node.
    pub fn peer_address(&self) -> String {
        self.peer_address.clone().unwrap_or_else(|| reached_at(self.pod_ip, self.peer_listen))
    }

    /// Uid of this node's pod.
    pub fn pod_uid(&self) -> Option<&str> {
        self.pod_uid.as_deref().filter(|uid| !uid.is_empty())
    }

    /// Requests in progress per client.
    pub fn client_concurrency(&self) -> u32 {
        let usual = match self.client_auth {
            ClientAuth::Mtls | ClientAuth::Token => 64,
            ClientAuth::None => 512,
        };
        self.client_concurrency.unwrap_or(usual).max(1)
    }

    /// Number of threads that compute.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.filter(|threads| *threads > 0).unwrap_or_else(cores)
    }

    /// Instruction set for scan and hint.
    pub fn kernels(&self) -> Kernels {
        self.kernel.unwrap_or_else(Kernels::best)
    }

    /// Longest duration of a query.
    pub fn query_deadline(&self) -> Duration {
        Duration::from_secs(self.query_deadline_s.max(1))
    }
}

/// Parses a number of seconds. Numbers smaller than `least` count as `least`.
fn seconds(least: u64) -> impl TypedValueParser<Value = Duration> {
    value_parser!(u64).map(move |seconds: u64| Duration::from_secs(seconds.max(least)))
}

/// Zero counts as one.
fn at_least_one(number: u32) -> u32 {
    number.max(1)
}

fn kernels(name: &str) -> Result<Kernels, ConfigError> {
    Kernels::from_name(name).ok_or(ConfigError::Kernel)
}

/// The kernels that this CPU supports, slowest first: `scalar, avx2 or amx`.
fn supported() -> String {
    let mut names: Vec<_> = ScanKernel::available().map(ScanKernel::name).collect();
    let last = names.pop().unwrap_or_default();
    if names.is_empty() { last.to_owned() } else { format!("{} or {last}", names.join(", ")) }
}

/// Where the nodes coordinate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A directory that all nodes of a machine share.
    Directory(PathBuf),
    /// The API of the Kubernetes cluster in which this node runs, or of the current context of a
    /// kubeconfig.
    Kubernetes {
        /// Namespace of the OpaqueCluster.
        namespace: String,
        /// Name of the OpaqueCluster.
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
            Some(_) | None => Err(ConfigError::Coordination),
        }
    }
}

/// The address at which others reach a listener on `listen`.
fn reached_at(pod: Option<IpAddr>, listen: SocketAddr) -> String {
    pod.map_or(listen, |pod| SocketAddr::new(pod, listen.port())).to_string()
}

/// Whether peers must be covered by a valid revocation list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Revocation {
    /// A certificate that no valid list covers is refused.
    Required,
    /// Lists are not used.
    None,
}

/// How clients authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClientAuth {
    /// With a certificate that an authority of clients-ca.crt issued.
    Mtls,
    /// With a token of --tokens-dir.
    Token,
    /// Not at all: everyone who reaches the port may query.
    None,
}

/// Why a command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The cluster has no such shard.
    #[error("--shard {shard} is not one of --shards {shards}: shards count from 0")]
    Shard {
        /// As given.
        shard: u32,
        /// As given.
        shards: u32,
    },
    /// A mode needs a directory of tokens, or a directory needs its mode.
    #[error("--client-auth token requires --tokens-dir DIR, and vice versa")]
    Tokens,
    /// A name that no client can prove.
    #[error(
        "--loader NAME needs --client-auth mtls or token: with none, clients cannot prove a name. --loader '*' means all clients"
    )]
    Loaders,
    /// The name cannot be the name of a file or a Lease.
    #[error("--name {0:?}: use letters, digits, - and ., at most 253")]
    Name(String),
    /// The value of `--coordination` is malformed.
    #[error("use a directory, or kubernetes://NAMESPACE/CLUSTER")]
    Coordination,
    /// The kernel does not exist, or this CPU does not support it.
    #[error(
        "this CPU has no such kernel: use {}, or set neither --kernel nor OPAQUE_KERNEL for the fastest",
        supported()
    )]
    Kernel,
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
            assert_eq!(bad.parse::<Backend>(), Err(ConfigError::Coordination));
        }
    }

    #[test]
    fn a_malformed_value_is_shown_with_what_to_write() {
        for (flag, value, advice) in [
            ("--coordination", "kubernetes://prod", "kubernetes://NAMESPACE/CLUSTER"),
            ("--kernel", "none", format!("use {}, or set neither", supported()).as_str()),
        ] {
            let arguments = ["opaque-node", "--name=n", "--shard=0", "--shards=1", flag, value];
            let text = Args::try_parse_from(arguments).err().unwrap().to_string();
            assert!(text.contains(value) && text.contains(advice), "{text}");
        }
    }
}
