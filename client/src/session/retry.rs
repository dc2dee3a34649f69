//! Decides what to do after a failed call, in one pure function.
//!
//! The decision depends only on the kind of failure and on the number of tries. It never depends on
//! the content of a request or an answer, so a server learns nothing from a client's retries.

use std::{error::Error, io, time::Duration};

use rustls::CertificateError;
use tonic::{Code, Status};

/// Metadata key under which a node states the reason for a refusal.
const REASON: &str = "opaque-reason";

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The node gave no answer: connection refused, TLS failure, or a broken stream.
    Transport,
    /// The node's certificate has an authority or a name that the client does not trust.
    Untrusted,
    /// The node answered that it, or the cluster behind it, is unavailable.
    Unavailable,
    /// The node does not know the evaluation keys.
    UnknownKeys,
    /// The table was republished: the query names an epoch or parameters that no longer exist.
    Stale,
    /// Any other failure. A retry would not help.
    Refused,
}

impl Failure {
    /// Classifies a failure by its code, its origin and its declared reason only.
    pub fn of(status: &Status) -> Self {
        // A status that came over the network has no source. A status that this side created has
        // one.
        if let Some(source) = status.source() {
            return if is_untrusted(source) { Self::Untrusted } else { Self::Transport };
        }
        match (status.code(), reason(status)) {
            (Code::FailedPrecondition, Some("unknown-keys")) => Self::UnknownKeys,
            (Code::FailedPrecondition, Some("stale-epoch" | "params")) => Self::Stale,
            // The request will never fit. The error's text names the setting.
            (Code::ResourceExhausted, Some("too-large")) => Self::Refused,
            (Code::Unavailable | Code::ResourceExhausted, _) => Self::Unavailable,
            _ => Self::Refused,
        }
    }
}

/// Whether a certificate was refused for a permanent reason. An expired certificate, for instance,
/// may be replaced.
fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // `source` of an I/O error skips the error that it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = match wrapped {
            Some(wrapped) => wrapped.downcast_ref(),
            None => error.downcast_ref(),
        };
        if let Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer
            // The CA has the same name but another key.
            | CertificateError::BadSignature
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. },
        )) = tls
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// The node's stable reason, if it gave one.
pub fn reason(status: &Status) -> Option<&str> {
    status.metadata().get(REASON).and_then(|value| value.to_str().ok())
}

/// What has been done so far for one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Failed tries.
    pub tries: u32,
    /// Whether the keys were registered during this call.
    pub registered: bool,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send the same bytes to the next node after a pause.
    NextNode(Duration),
    /// Register the keys, then send the same bytes to the same node again.
    Register,
    /// Give up.
    Fail,
}

/// Number of rounds over all nodes before the call fails.
const ROUNDS: u32 = 3;
/// Minimum number of tries. One address may belong to a Service, which sends each connection to a
/// random node, and a dead node stays among them for some seconds.
const TRIES: u32 = 8;
/// Pause after the first complete round. It doubles with each further round.
const PAUSE: Duration = Duration::from_millis(200);
/// Upper limit of the pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Decides the step after a failure. `progress.tries` already includes the failed try; `nodes` is
/// the number of nodes.
pub fn decide(nodes: u32, progress: Progress, failure: Failure) -> Step {
    let nodes = nodes.max(1);
    match failure {
        Failure::Transport | Failure::Unavailable => {
            if progress.tries >= nodes.saturating_mul(rounds(nodes)) {
                return Step::Fail;
            }
            let done = progress.tries / nodes;
            let whole = done > 0 && progress.tries.is_multiple_of(nodes);
            let pause = || LONGEST_PAUSE.min(PAUSE * (1 << (done - 1)));
            Step::NextNode(if whole { pause() } else { Duration::ZERO })
        }
        // The other nodes may have valid certificates. A second try of the same node would give the
        // same result.
        Failure::Untrusted if progress.tries < nodes => Step::NextNode(Duration::ZERO),
        Failure::Untrusted => Step::Fail,
        Failure::UnknownKeys if !progress.registered => Step::Register,
        Failure::UnknownKeys | Failure::Stale | Failure::Refused => Step::Fail,
    }
}

/// Number of rounds over this many nodes.
fn rounds(nodes: u32) -> u32 {
    ROUNDS.max(TRIES.div_ceil(nodes))
}

/// Maximum number of plans for one query. A new plan is needed if the table was republished during
/// the query.
const PLANS: u32 = 3;

/// Whether to describe the table again and make a new plan after `plans` plans became stale, and
/// how long to wait first. Nodes may learn of a new epoch some milliseconds apart.
pub fn replan(plans: u32) -> Option<Duration> {
    (plans < PLANS).then(|| PAUSE * plans.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic::metadata::MetadataMap;

    use super::*;

    fn with_reason(code: Code, reason: &'static str) -> Failure {
        let mut metadata = MetadataMap::new();
        metadata.insert(REASON, reason.parse().unwrap());
        Failure::of(&Status::with_metadata(code, "text", metadata))
    }

    #[test]
    fn failures_are_distinguished() {
        let mut local = Status::internal("h2");
        local.set_source(Arc::new(std::io::Error::other("reset")));
        assert_eq!(Failure::of(&local), Failure::Transport);
        for (cause, failure) in [
            (CertificateError::UnknownIssuer, Failure::Untrusted),
            (CertificateError::BadSignature, Failure::Untrusted),
            (CertificateError::NotValidForName, Failure::Untrusted),
            (CertificateError::Expired, Failure::Transport),
        ] {
            let tls = rustls::Error::InvalidCertificate(cause);
            local.set_source(Arc::new(std::io::Error::other(tls)));
            assert_eq!(Failure::of(&local), failure);
        }
        assert_eq!(Failure::of(&Status::unavailable("shard 1")), Failure::Unavailable);
        assert_eq!(Failure::of(&Status::internal("bug")), Failure::Refused);
        assert_eq!(Failure::of(&Status::deadline_exceeded("slow")), Failure::Refused);
        assert_eq!(with_reason(Code::FailedPrecondition, "unknown-keys"), Failure::UnknownKeys);
        assert_eq!(with_reason(Code::FailedPrecondition, "stale-epoch"), Failure::Stale);
        assert_eq!(with_reason(Code::FailedPrecondition, "else"), Failure::Refused);
        assert_eq!(with_reason(Code::NotFound, "stale-epoch"), Failure::Refused);
    }

    #[test]
    fn every_node_is_tried_in_each_round_and_rounds_are_bounded() {
        for nodes in 1..5 {
            let mut pauses = Vec::new();
            let mut progress = Progress::default();
            loop {
                progress.tries += 1;
                match decide(nodes, progress, Failure::Transport) {
                    Step::NextNode(pause) => pauses.push(pause),
                    Step::Register => panic!("nothing to register"),
                    Step::Fail => break,
                }
            }
            assert_eq!(progress.tries, nodes * rounds(nodes));
            pauses.retain(|pause| !pause.is_zero());
            assert_eq!(pauses[..2], [PAUSE, PAUSE * 2]);
            assert_eq!(pauses.len() + 1, rounds(nodes) as usize);
            assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
            let patience: Duration = pauses.iter().sum();
            if nodes == 1 {
                // The total time must exceed the time in which a probe detects that a node of a
                // Service has died.
                assert!(patience > Duration::from_secs(5), "{patience:?}");
            }
        }
        assert_eq!((rounds(1), rounds(2), rounds(3), rounds(100)), (TRIES, 4, ROUNDS, ROUNDS));
    }

    #[test]
    fn an_untrusted_node_is_tried_once() {
        let tried = |tries| Progress { tries, registered: false };
        assert_eq!(decide(1, tried(1), Failure::Untrusted), Step::Fail);
        assert_eq!(decide(2, tried(1), Failure::Untrusted), Step::NextNode(Duration::ZERO));
        assert_eq!(decide(2, tried(2), Failure::Untrusted), Step::Fail);
    }

    #[test]
    fn keys_are_registered_once_per_call() {
        let mut progress = Progress { tries: 1, registered: false };
        assert_eq!(decide(3, progress, Failure::UnknownKeys), Step::Register);
        progress.registered = true;
        assert_eq!(decide(3, progress, Failure::UnknownKeys), Step::Fail);
        assert_eq!(decide(3, progress, Failure::Stale), Step::Fail);
        assert_eq!(decide(3, progress, Failure::Refused), Step::Fail);
        assert!(matches!(decide(3, progress, Failure::Unavailable), Step::NextNode(_)));
    }

    #[test]
    fn plans_are_bounded() {
        assert_eq!(replan(1), Some(Duration::ZERO));
        assert_eq!(replan(2), Some(PAUSE));
        assert_eq!(replan(3), None);
    }
}
