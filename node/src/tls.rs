//! TLS of both listeners and of calls to peers, reloaded without a restart.
//!
//! Clients and peers are separate trust domains with separate CAs. Peers prove to each other which
//! shard of which cluster they are, both ways: chain, purpose, revocation, and the URI in the
//! certificate ([`opaque_identity`]); whoever dials demands exactly the shard that it dials.
//!
//! **Flow.** [`Tls::open`] reads and checks one [`Material`] from a directory; without it a node does
//! not start. [`Tls::follow`] looks at the directory every two seconds and swaps the whole set when
//! another one holds. [`accept`] takes connections, each with the material of its moment; [`Line`] is
//! a connection to a peer.
//!
//! **Guarantees.** A set is taken whole or not at all: on any error the old one stays, is counted and
//! logged once. What clients are verified with is taken apart from it, whatever else is wrong
//! (`clients`). A certificate that was accepted is verified again on calls after the material has
//! changed, and every five seconds ([`Presented`]): a revoked one, or one whose list ran out, is
//! refused on connections that are open already. No session is resumed, since resumption skips all of
//! this. TLS 1.3 only between peers; never plaintext.
//!
//! **Assumption.** The clock of the machine is right to within the lives of certificates.

mod accept;
mod clients;
mod error;
mod files;
mod life;
mod limits;
mod line;
mod material;
mod metrics;
mod reload;
mod verify;

pub use accept::{Caller, Connection, Gate, Hangup, Naming, accept};
pub use error::{PeerError, TlsError};
pub use limits::{Limits, Permit, Refusal, client_at};
pub use line::Line;
pub use material::{Material, Settings};
pub use metrics::Lives;
pub use reload::{Outcome, Tls};
pub use verify::Presented;

#[cfg(test)]
mod tests;
