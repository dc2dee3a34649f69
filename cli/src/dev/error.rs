//! What stops `opaque dev`.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a cluster could not be started or kept.
#[derive(Debug, Error)]
pub enum DevError {
    /// There is no node binary.
    #[error("cannot find the program `opaque-node`")]
    NoBinary,
    /// A file of the data directory cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Files {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another `opaque dev` uses the data directory.
    #[error("another `opaque dev` runs on {}", data.display())]
    Locked {
        /// The directory.
        data: PathBuf,
    },
    /// The data directory's record does not decode.
    #[error("{} is damaged or of another version", path.display())]
    Record {
        /// The record.
        path: PathBuf,
    },
    /// The data directory has another number of shards.
    #[error("{} holds a cluster of {found} shards, not {asked}", data.display())]
    Shards {
        /// The directory.
        data: PathBuf,
        /// Its shards.
        found: u32,
        /// As asked.
        asked: u32,
    },
    /// No port is left.
    #[error("no port for node {node}: {source}")]
    Port {
        /// The node.
        node: String,
        /// Why.
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("cannot make certificates: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A node could not be named.
    #[error("cannot make certificates: {0}")]
    Name(#[from] opaque_identity::UriError),
    /// What a node may do could not be written.
    #[error("cannot make certificates: {0}")]
    Extension(#[from] opaque_identity::ExtensionError),
    /// A process could not be started.
    #[error("cannot start {}: {source}", binary.display())]
    Spawn {
        /// The program.
        binary: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A node keeps dying before the cluster served once.
    #[error("node {node} stopped ({status}); its log ends:\n{log}")]
    NodeFailed {
        /// The node.
        node: String,
        /// Its exit status.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// A signal came before the work was done.
    #[error("interrupted: every node was stopped")]
    Interrupted,
    /// Signals cannot be received.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    /// The client library's.
    #[error(transparent)]
    Client(opaque_client::Error),
}

impl DevError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoBinary => Some(
                "build it with `make build` (or `cargo build --release -p opaque-node`), beside \
                 `opaque` or on PATH"
                    .to_owned(),
            ),
            Self::Locked { .. } => {
                Some("stop it with Ctrl-C there, or use another --data-dir".to_owned())
            }
            Self::Record { path } => Some(format!(
                "use another --data-dir, or delete {} and everything beside it",
                path.display()
            )),
            Self::Shards { found, .. } => Some(format!(
                "the number of shards of existing data cannot be changed yet: use --shards {found}, \
                 or another --data-dir"
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
