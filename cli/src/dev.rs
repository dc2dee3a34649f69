//! `opaque dev`: a cluster of node processes on this machine, in the foreground.
//!
//! **Flow.** The command refuses to start if the profile belongs to another cluster. It locks the
//! data directory, reads or creates its record (`layout`), ports
//! and certificates (`authority`), and starts one process per replica. It restarts processes that
//! die (`supervise`). When every shard serves, it writes the profile. On a signal it stops all
//! processes.
//!
//! ```text
//! DATA/lock              held while a cluster runs
//! DATA/dev.json          shards, and the ports of every node
//! DATA/tls/              the two CAs; DATA/tls/NODE/ one node's certificates
//! DATA/store/            tables: what a second start serves again
//! DATA/coordination/     members, leader, shard map
//! DATA/logs/NODE.log     DATA/run/NODE.pid
//! ```
//!
//! **Assumption.** The command runs on the thread that entered the runtime. The kernel kills
//! children when the thread that started them ends (`process`), and a worker thread may end before
//! the command does.

mod authority;
mod error;
mod layout;
mod process;
mod supervise;
mod temporary;

use std::{
    io::Write,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use clap::Args;
use opaque_client::{
    Client, ClientConfig,
    profile::{Home, NodeUrl, Profile},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use authority::Authorities;
use layout::{Layout, Node};
use supervise::Supervisor;

pub use error::DevError;
pub use temporary::with_cluster;

#[derive(Args)]
#[command(after_help = "\
Examples:
  opaque dev                                three shards, one process each
  opaque dev --shards 2 --replicas 2        two shards, each served twice
  opaque dev --data-dir ./cluster           keep its data here; a second start serves it again
  opaque dev --profile two                  another cluster, with its own data, profile and keys

A profile that belongs to another cluster is never overwritten: name another one with --profile.

Ctrl-C stops every node, a second one at once. Logs are in DATA/logs; RUST_LOG=debug
makes them longer.")]
pub(crate) struct Arguments {
    /// Number of shards; fixed once the data directory exists
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: Option<u32>,
    /// Number of processes that serve each shard
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    replicas: u32,
    /// Directory for all data of the cluster [default: dev/ in OPAQUE_HOME]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// First port; each node takes two consecutive ports. Free ports are used if absent
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    base_port: Option<u16>,
    /// Threads of each node; all cores if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Do not restart a node that died
    #[arg(long)]
    no_restart: bool,
}

/// Default number of shards of a new cluster.
const SHARDS: u32 = 3;
/// Interval at which children are checked.
const TICK: Duration = Duration::from_millis(200);
/// Pause between two checks of the cluster until it serves.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Time limit of one check of the cluster. It is long enough to skip a node that hangs.
const LOOK: Duration = Duration::from_secs(10);

pub(crate) async fn run(arguments: Arguments, home: Home) -> Result<(), DevError> {
    let Arguments { shards, replicas, data_dir, base_port, threads, no_restart } = arguments;
    let mut signals = Signals::new()?;
    let binary = process::node_binary()?;
    let data = std::path::absolute(data_dir.unwrap_or_else(|| home.dev_dir()))
        .map_err(|source| DevError::Files { path: PathBuf::from("."), source })?;
    profile_of(&data, &home)?;
    let layout = Layout::open(data, shards, SHARDS, replicas, base_port)?;
    let authorities = Authorities::open(&layout.tls_dir())?;
    for node in layout.nodes() {
        authorities.issue(&layout.node_tls_dir(node), node.shard)?;
    }
    say(&format!("starting {} shards with {replicas} replicas each", layout.shards()));
    say(&format!("data in {}", layout.data().display()));
    let mut supervisor = Supervisor::new(&layout, binary, threads, !no_restart);
    let outcome = serve(&layout, &authorities, &home, &mut supervisor, &mut signals).await;
    say("stopping every node");
    supervisor.stop(signals.next()).await;
    outcome
}

/// Keeps the cluster running until a signal arrives or until it cannot continue.
async fn serve(
    layout: &Layout,
    authorities: &Authorities,
    home: &Home,
    supervisor: &mut Supervisor<'_>,
    signals: &mut Signals,
) -> Result<(), DevError> {
    supervisor.start_all()?;
    let endpoints = layout.nodes().iter().map(Node::url).collect::<Result<Vec<_>, _>>()?;
    let client = Client::connect(ClientConfig {
        ca_pem: Some(authorities.client_ca_pem().as_bytes().to_vec()),
        deadline: LOOK,
        ..ClientConfig::of(endpoints.clone())
    })
    .map_err(DevError::Client)?;
    let mut ticks = tokio::time::interval(TICK);
    let mut serving = false;
    // One future spans all ticks. If each tick started a new one, it would never get past a first
    // node that hangs.
    let mut every_shard_serves = pin!(every_shard_serves(&client));
    loop {
        tokio::select! {
            () = signals.next() => return Ok(()),
            _ = ticks.tick() => supervisor.look(serving)?,
            () = &mut every_shard_serves, if !serving => {
                serving = true;
                announce(layout, home, &endpoints)?;
            }
        }
    }
}

/// Checks until some node reports that every shard serves.
async fn every_shard_serves(client: &Client) {
    while !client.status().await.is_ok_and(|status| status.serving) {
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// The profile that the cluster with data in `data` may replace: none, its own, or that of a
/// cluster whose data is gone.
///
/// # Errors
/// The profile belongs to another cluster, or cannot be read: a person may be editing it.
fn profile_of(data: &Path, home: &Home) -> Result<Profile, DevError> {
    let profile = Profile::read(home).map_err(|error| DevError::Client(error.into()))?;
    let Some(profile) = profile else { return Ok(Profile::default()) };
    let is_same = |other: &PathBuf| {
        let resolved = |path: &Path| std::fs::canonicalize(path).ok();
        other == data || (resolved(other).is_some() && resolved(other) == resolved(data))
    };
    let is_ours = |other: &PathBuf| is_same(other) || !other.exists();
    if profile.written_by_dev.as_ref().is_some_and(is_ours) {
        return Ok(profile);
    }
    Err(DevError::Profile {
        name: home.name().clone(),
        path: home.profile_file(),
        other: profile.written_by_dev,
    })
}

/// Writes the profile, unless it has come to belong to another cluster, and prints how to connect.
fn announce(layout: &Layout, home: &Home, endpoints: &[NodeUrl]) -> Result<(), DevError> {
    let ca_file = layout.client_ca_file();
    say("every shard serves:");
    for node in layout.nodes() {
        say(&format!("  {}  https://127.0.0.1:{}", node.name, node.client_port));
    }
    if let Ok(before) = profile_of(layout.data(), home) {
        // The user may have added other settings, such as `keys`.
        let profile = Profile {
            endpoints: endpoints.to_vec(),
            ca_file: Some(ca_file),
            written_by_dev: Some(layout.data().to_owned()),
            ..before
        };
        profile.write(home).map_err(|error| DevError::Client(error.into()))?;
        say(&format!("profile written: {}", home.profile_file().display()));
        let option = if home.name().is_default() {
            String::new()
        } else {
            format!("--profile {} ", home.name())
        };
        say(&format!(
            "try: opaque {option}load SCHEMA.sql DATA.csv, then opaque {option}query 'SELECT ...'"
        ));
    } else {
        let cluster: Vec<String> = endpoints.iter().map(NodeUrl::to_string).collect();
        say(&format!("{} is another cluster's: it is kept", home.profile_file().display()));
        say(&format!("connect with: --cluster {} --ca {}", cluster.join(","), ca_file.display()));
    }
    say("Ctrl-C stops it");
    Ok(())
}

/// Prints a message. A closed standard output is no reason to stop a cluster.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The signals that stop the command.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, DevError> {
        let listen = |kind| signal(kind).map_err(DevError::Signals);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use opaque_client::KeyMode;

    use super::*;

    #[test]
    fn another_clusters_profile_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::create_dir_all(&one).unwrap();
        assert_eq!(profile_of(&one, &home).unwrap(), Profile::default());
        let profile = Profile {
            endpoints: vec!["https://127.0.0.1:1".parse().unwrap()],
            written_by_dev: Some(one.clone()),
            ..Profile::default()
        };
        profile.write(&home).unwrap();
        for same in [one.clone(), one.join("."), one.join("../one")] {
            assert_eq!(profile_of(&same, &home).unwrap(), profile, "{}", same.display());
        }
        let refused = profile_of(&two, &home).unwrap_err();
        assert!(refused.to_string().contains(one.to_str().unwrap()), "{refused}");
        assert!(refused.hint().unwrap().contains("--profile"));
        assert!(profile_of(&two, &home.named("two".parse().unwrap())).is_ok());
        std::fs::remove_dir(&one).unwrap();
        assert_eq!(profile_of(&two, &home).unwrap(), profile, "its cluster is gone");
        std::fs::write(home.profile_file(), "?").unwrap();
        assert!(profile_of(&two, &home).is_err(), "a person may be editing it");
    }

    #[test]
    fn a_second_start_keeps_what_else_the_profile_says() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        let layout = Layout::open(dir.path().join("data"), Some(1), 1, 1, None).unwrap();
        let announce = |url: &str| announce(&layout, &home, &[url.parse().unwrap()]).unwrap();
        announce("https://127.0.0.1:1");
        let mut profile = Profile::read(&home).unwrap().unwrap();
        assert_eq!(profile.ca_file, Some(layout.client_ca_file()));
        profile.keys = Some(KeyMode::Inline);
        profile.server_name = Some("dev".to_owned());
        profile.write(&home).unwrap();
        announce("https://127.0.0.1:2");
        let url = "https://127.0.0.1:2".parse().unwrap();
        let expected = Profile { endpoints: vec![url], ..profile.clone() };
        assert_eq!(Profile::read(&home).unwrap(), Some(expected));

        profile.written_by_dev = None;
        profile.write(&home).unwrap();
        announce("https://127.0.0.1:3");
        assert_eq!(Profile::read(&home).unwrap(), Some(profile), "a person's stays");
    }
}
