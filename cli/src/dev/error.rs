//! Errors of `opaque dev`.

use std::{
    io,
    path::{Path, PathBuf},
};

use opaque_client::profile::ProfileName;
use thiserror::Error;

/// Why a cluster could not be started or kept running.
#[derive(Debug, Error)]
pub enum DevError {
    /// The node program was not found.
    #[error("cannot find the program `opaque-node`")]
    NoBinary,
    /// A file of the data directory cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Files {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// Another `opaque dev` uses the data directory.
    #[error("another `opaque dev` runs on {}", data.display())]
    Locked {
        /// The directory.
        data: PathBuf,
    },
    /// The data directory's record does not decode.
    #[error("{} is damaged or has another version", path.display())]
    Record {
        /// The record.
        path: PathBuf,
    },
    /// The data directory belongs to a cluster with another number of shards.
    #[error("{} holds a cluster of {found} shards, not {asked}", data.display())]
    Shards {
        /// The directory.
        data: PathBuf,
        /// The cluster's number of shards.
        found: u32,
        /// The requested number.
        asked: u32,
    },
    /// The profile belongs to another cluster.
    #[error("profile {name} belongs to {}: nothing was started", owner(other.as_deref()))]
    Profile {
        /// Its name.
        name: ProfileName,
        /// Its file.
        path: PathBuf,
        /// The data directory of its cluster, if another `opaque dev` wrote it.
        other: Option<PathBuf>,
    },
    /// No port is available.
    #[error("no port for node {node}: {source}")]
    Port {
        /// The node.
        node: String,
        /// The I/O error.
        source: io::Error,
    },
    /// A certificate could not be created.
    #[error("cannot make certificates: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A node's name is not valid in a certificate.
    #[error("cannot make certificates: {0}")]
    Name(#[from] opaque_identity::UriError),
    /// A node's capabilities could not be encoded in a certificate.
    #[error("cannot make certificates: {0}")]
    Extension(#[from] opaque_identity::ExtensionError),
    /// A process could not be started.
    #[error("cannot start {}: {source}", binary.display())]
    Spawn {
        /// The program.
        binary: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// A node died repeatedly before the cluster had served once.
    #[error("node {node} stopped ({status}); its log ends:\n{log}")]
    NodeFailed {
        /// The node.
        node: String,
        /// Its exit status.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// A signal arrived before the work was finished.
    #[error("interrupted: every node was stopped")]
    Interrupted,
    /// Signals cannot be received.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    /// An error of the client library.
    #[error(transparent)]
    Client(opaque_client::Error),
}

/// Whose profile it is.
fn owner(other: Option<&Path>) -> String {
    match other {
        Some(data) => format!("the `opaque dev` with data in {}", data.display()),
        None => "a cluster that no `opaque dev` started".to_owned(),
    }
}

impl DevError {
    /// What to do about the error, if anything can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoBinary => Some(
                "build it with `make build` (or `cargo build --release -p opaque-node`); it must be in the \
                 directory of this program or on PATH"
                    .to_owned(),
            ),
            Self::Locked { .. } => {
                Some("stop it with Ctrl-C there, or use another --data-dir".to_owned())
            }
            Self::Record { path } => Some(format!(
                "use another --data-dir, or delete {} and everything else in its directory",
                path.display()
            )),
            Self::Shards { found, .. } => Some(format!(
                "the number of shards of existing data cannot be changed yet: use --shards {found}, \
                 or another --data-dir"
            )),
            Self::Profile { path, .. } => Some(format!(
                "start this cluster under another name, `opaque dev --profile NAME`, or delete {} \
                 if its cluster is no longer needed",
                path.display()
            )),
            Self::Port { .. } => Some("choose another --base-port, or none".to_owned()),
            Self::Client(error) => error.hint(),
            Self::Files { .. }
            | Self::Certificate(_)
            | Self::Name(_)
            | Self::Extension(_)
            | Self::Spawn { .. }
            | Self::NodeFailed { .. }
            | Self::Interrupted
            | Self::Signals(_) => None,
        }
    }
}
