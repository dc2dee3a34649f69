//! What to do after a failed call: one pure function.
//!
//! Nothing here sees a request's or an answer's content: only which kind of failure it was, and how
//! often something has been tried. So a server learns nothing from what a client repeats.

use std::{error::Error, io, time::Duration};

use rustls::CertificateError;
use tonic::{Code, Status};

/// Metadata key under which a node says why it refused.
const REASON: &str = "opaque-reason";

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No answer came from the node: refused connection, TLS, a cut stream.
    Transport,
    /// The node showed a certificate of an authority or for a name that this client does not trust.
    Untrusted,
    /// The node answered that it, or the cluster behind it, cannot now.
    Unavailable,
    /// The node does not know the evaluation keys.
    UnknownKeys,
    /// The table was republished: the query names an epoch or parameters that are gone.
    Stale,
    /// Everything else: asking again would not help.
    Refused,
}

impl Failure {
    /// The kind of a failure, from its code, its origin and its declared reason alone.
    pub fn of(status: &Status) -> Self {
        // A status that came over the wire has no source; one that this side made has.
        if let Some(source) = status.source() {
            return if is_untrusted(source) { Self::Untrusted } else { Self::Transport };
        }
        match (status.code(), reason(status)) {
            (Code::FailedPrecondition, Some("unknown-keys")) => Self::UnknownKeys,
            (Code::FailedPrecondition, Some("stale-epoch" | "params")) => Self::Stale,
            // It never fits; its text names the setting.
            (Code::ResourceExhausted, Some("too-large")) => Self::Refused,
            (Code::Unavailable | Code::ResourceExhausted, _) => Self::Unavailable,
            _ => Self::Refused,
        }
    }
}

/// Whether a certificate was refused for what no other moment will mend, as an expired one might be.
fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // `source` of an I/O error passes over what it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = match wrapped {
            Some(wrapped) => wrapped.downcast_ref(),
            None => error.downcast_ref(),
        };
        if let Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer
            // Of an authority that has the same name, and another key.
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

/// The stable reason that a node gave, if it gave one.
pub fn reason(status: &Status) -> Option<&str> {
    status.metadata().get(REASON).and_then(|value| value.to_str().ok())
}

/// What has been done for one call so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Failed tries.
    pub tries: u32,
    /// Whether the keys were registered on behalf of this call.
    pub registered: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send the same bytes to the next node, after a pause.
    NextNode(Duration),
    /// Register the keys, then send the same bytes to the same node.
    Register,
    /// Give up.
    Fail,
}

/// Rounds over all nodes before giving up.
const ROUNDS: u32 = 3;
/// Tries, at least. One address may be that of a Service, behind which each try meets one of several
/// nodes by chance; and some seconds pass until one that died is no longer among them.
const TRIES: u32 = 8;
/// Pause after a whole round; doubles with each.
const PAUSE: Duration = Duration::from_millis(200);
/// It grows no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Decides after a failure. `progress.tries` counts it already; `nodes` is how many there are.
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
        // The other nodes may still be whom they should be; a second look would see the same.
        Failure::Untrusted if progress.tries < nodes => Step::NextNode(Duration::ZERO),
        Failure::Untrusted => Step::Fail,
        Failure::UnknownKeys if !progress.registered => Step::Register,
        Failure::UnknownKeys | Failure::Stale | Failure::Refused => Step::Fail,
    }
}

/// Rounds over this many nodes.
fn rounds(nodes: u32) -> u32 {
    ROUNDS.max(TRIES.div_ceil(nodes))
}

/// Plans of one query: the first, and others after the table was republished meanwhile.
const PLANS: u32 = 3;

/// Whether to describe the table again and make another plan, after `plans` went stale; and how
/// long to wait first. Nodes may see a new epoch some milliseconds apart.
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
    fn failures_are_told_apart() {
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
                // Longer than a probe takes to notice that a node of a Service has died.
                assert!(patience > Duration::from_secs(5), "{patience:?}");
            }
        }
        assert_eq!((rounds(1), rounds(2), rounds(3), rounds(100)), (TRIES, 4, ROUNDS, ROUNDS));
    }

    #[test]
    fn whom_nobody_trusts_is_asked_once() {
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
