//! Calls to a cluster: TLS channels to several nodes, failover and deadlines.
//!
//! **Guarantees.** A call sends the same bytes to every node that it tries. The next step after a
//! failure depends only on the kind of failure ([`retry`]). Every call ends by its deadline. A call
//! that must not be repeated obtains a responsive node from `reachable` and is sent to it once.
//! **Assumptions.** Any node answers for the whole cluster.

pub mod calls;
mod dial;
mod node;
pub mod retry;

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opaque_proto::v1::StatusRequest;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

use crate::profile::NodeUrl;
use crate::profile::credentials::Credentials;
use crate::terminal::escaped;
use dial::{Tasks, tls_config};
use node::Node;
pub use node::NodeClient;
use retry::{Failure, Progress, Step, decide};

/// Channels to the nodes of one cluster. A clone is cheap and shares them. They connect on first
/// use.
#[derive(Clone)]
pub struct Session {
    nodes: Arc<[Node]>,
    /// The node that answered last. The next call starts with it.
    current: Arc<AtomicUsize>,
    /// The tasks of all connections.
    tasks: Tasks,
}

/// Maximum time to wait until the close of every connection has been sent.
const CLOSE: Duration = Duration::from_secs(2);

impl Session {
    /// Prepares channels to `endpoints`. They trust the CA in `ca_pem`, or the system's root
    /// certificates if it is `None`. Must be called within a tokio runtime.
    pub fn new(endpoints: &[NodeUrl], ca_pem: Option<&[u8]>) -> Result<Self, CallError> {
        Self::with_credentials(endpoints, ca_pem, &Credentials::default())
    }

    /// Like [`Session::new`], but presents `credentials` to every node.
    pub fn with_credentials(
        endpoints: &[NodeUrl],
        ca_pem: Option<&[u8]>,
        credentials: &Credentials,
    ) -> Result<Self, CallError> {
        let (tls, tasks) = (tls_config(ca_pem, credentials)?, Tasks::default());
        let nodes = endpoints.iter().map(|url| Node::new(url, &tls, credentials, &tasks));
        let nodes: Vec<Node> = nodes.collect::<Result<_, _>>()?;
        if nodes.is_empty() {
            return Err(CallError::Setup { reason: "no node's address is known".to_owned() });
        }
        Ok(Self { nodes: nodes.into(), current: Arc::default(), tasks })
    }

    /// Closes every connection and returns after the close has been sent. Calls that other clones
    /// of the session are making then fail.
    pub(crate) async fn close(self) {
        let Self { nodes, tasks, .. } = self;
        drop(nodes);
        tasks.end(CLOSE).await;
    }

    /// Runs `call` against one node after another until one answers, the retry policy gives up, or
    /// the deadline passes. `call` must send the same bytes each time.
    pub async fn call<T, F>(
        &self,
        within: Duration,
        call: impl Fn(NodeClient) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut progress = Progress::default();
        self.resume(Instant::now() + within, within, &mut progress, call).await
    }

    /// Returns a node that answers now, for a call that must be sent only once. If such a call were
    /// repeated on another node after a broken connection, it might take effect twice.
    pub(crate) async fn reachable(&self, within: Duration) -> Result<NodeClient, CallError> {
        self.call(within, |mut client: NodeClient| async move {
            client.status(StatusRequest {}).await.map(|_| client)
        })
        .await
    }

    /// Like [`Session::call`], but continues from `progress` and ends at `deadline`. `within`
    /// appears only in the error text.
    pub async fn resume<T, F>(
        &self,
        deadline: Instant,
        within: Duration,
        progress: &mut Progress,
        call: impl Fn(NodeClient) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let count = self.nodes.len();
        // A node's answer is more useful to the user than the failure to reach another node.
        let mut said: Option<CallError> = None;
        loop {
            let position = self.current.load(Ordering::Relaxed) % count;
            let Some(node) = self.nodes.get(position) else {
                return Err(CallError::Setup { reason: "no node's address is known".to_owned() });
            };
            let Ok(result) = timeout_at(deadline, call(node.client())).await else {
                // The node may hang, so the next call starts with another one.
                self.current.store((position + 1) % count, Ordering::Relaxed);
                return Err(said.unwrap_or(CallError::Deadline { within }));
            };
            let status = match result {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            progress.tries += 1;
            let failure = Failure::of(&status);
            tracing::debug!(node = %node.url(), code = ?status.code(), ?failure, "call failed");
            if failure != Failure::Transport || said.is_none() {
                said = Some(CallError::new(failure, &status, count));
            }
            match decide(u32::try_from(count).unwrap_or(u32::MAX), *progress, failure) {
                Step::NextNode(pause) => {
                    // If the address belongs to a Service, a new connection may reach another node.
                    node.reconnect();
                    let next = (position + 1) % count;
                    self.current.store(next, Ordering::Relaxed);
                    if timeout_at(deadline, sleep(pause)).await.is_err() {
                        return Err(said.unwrap_or(CallError::Deadline { within }));
                    }
                }
                Step::Register => return Err(CallError::UnknownKeys),
                Step::Fail => return Err(said.unwrap_or(CallError::Deadline { within })),
            }
        }
    }
}

/// Whether a certificate was signed by another CA, or by a CA with the same name and another key.
fn of_another_ca(reason: &str) -> bool {
    reason.contains("UnknownIssuer") || reason.contains("BadSignature")
}

/// Whether a failure looks as if the node rejected the client's certificate. In TLS 1.3 the
/// client's handshake completes before the node checks the certificate, and the connection is often
/// gone when the client notices. The resulting error then depends on which side wrote last.
fn refused_us(reason: &str) -> bool {
    let reason = reason.to_lowercase();
    ["received fatal alert", "connection closed", "broken pipe", "connection reset"]
        .iter()
        .any(|end| reason.contains(end))
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// TLS or the addresses could not be set up.
    #[error("cannot set up the connection: {reason}")]
    Setup {
        /// The reason.
        reason: String,
    },
    /// No node could be reached.
    #[error("no node answers ({nodes} tried): {reason}")]
    Unreachable {
        /// Number of known addresses.
        nodes: usize,
        /// The first failure.
        reason: String,
    },
    /// A node answered that the cluster is unavailable.
    #[error("the cluster cannot answer now: {message}")]
    Unavailable {
        /// The node's message, escaped as in [`Self::Refused`].
        message: String,
    },
    /// The deadline passed.
    #[error("no answer within {} s", within.as_secs_f32())]
    Deadline {
        /// The time limit of the call.
        within: Duration,
    },
    /// The table was republished after it was described.
    #[error("the table keeps being republished")]
    Stale,
    /// The node does not know the client's keys.
    #[error("the cluster does not know this client's keys, although they have been sent")]
    UnknownKeys,
    /// A node refused the call.
    #[error("{message}")]
    Refused {
        /// The gRPC code.
        code: Code,
        /// The node's stable reason; empty if it gave none.
        reason: String,
        /// The node's message, on one line and without control characters.
        message: String,
    },
    /// The node's answer is malformed.
    #[error("the answer failed its check: {0}")]
    Answer(&'static str),
}

impl CallError {
    fn new(failure: Failure, status: &Status, nodes: usize) -> Self {
        // The server controls this text, and a certificate's author controls the names in it.
        let message = escaped(status.message());
        match failure {
            Failure::Transport | Failure::Untrusted => {
                let reason = status.source().map_or(message, |source| escaped(&chain(source)));
                Self::Unreachable { nodes, reason }
            }
            Failure::Unavailable => Self::Unavailable { message },
            Failure::UnknownKeys => Self::UnknownKeys,
            Failure::Stale => Self::Stale,
            Failure::Refused => {
                let reason = retry::reason(status).unwrap_or_default().to_owned();
                Self::Refused { code: status.code(), reason, message }
            }
        }
    }

    /// The error of a call that was sent once, to one node.
    pub(crate) fn once(status: &Status) -> Self {
        Self::new(Failure::of(status), status, 1)
    }

    /// The node's reason for its refusal.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason, .. } if !reason.is_empty() => Some(reason),
            _ => None,
        }
    }

    /// What to do about the error, if anything can be done.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { reason, .. } if reason.contains("NotValidForName") => Some(
                "the certificate has other names: --server-name NAME expects one of them, for \
                 example behind a port forward",
            ),
            Self::Unreachable { reason, .. } if of_another_ca(reason) => {
                Some("another CA signed the certificate: pass the cluster's CA with --ca FILE")
            }
            Self::Unreachable { reason, .. } if refused_us(reason) => Some(
                "the node ended the connection at once: if the cluster requires client certificates, \
                 the one of --client-cert and --client-key must be valid, and signed by the CA that \
                 the cluster trusts",
            ),
            Self::Refused { code: Code::Unauthenticated, .. } => Some(
                "prove who you are: --token-file FILE, or --client-cert FILE and --client-key FILE, \
                 or the same in profile.toml; the cluster's administrator issues them",
            ),
            Self::Refused { code: Code::PermissionDenied, .. } => {
                Some("the cluster's administrator decides what a client may do")
            }
            Self::Unreachable { .. } => Some(
                "is the cluster up? `opaque dev` starts one; --cluster and --ca name another and its CA",
            ),
            Self::Unavailable { .. } => Some("`opaque status` shows which shard is missing"),
            Self::Deadline { .. } => Some("`opaque status` shows whether every shard serves"),
            Self::Stale => Some("run it again once the load is over"),
            Self::Setup { .. } => Some("check the profile's endpoints and CA file"),
            Self::UnknownKeys | Self::Refused { .. } | Self::Answer(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_words_cannot_steer_a_terminal() {
        let words = "gone\u{1b}]0;owned\u{7}\nhint: run this\u{202e}";
        for code in [Code::Unavailable, Code::InvalidArgument, Code::Unauthenticated] {
            let shown = CallError::once(&Status::new(code, words)).to_string();
            let safe = r"gone\u{1b}]0;owned\u{7}\nhint: run this\u{202e}";
            assert!(shown.ends_with(safe), "{shown:?}");
        }
    }
}
