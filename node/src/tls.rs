//! TLS of both listeners and of calls to peers, reloaded without a restart.
//!
//! Clients and peers are separate trust domains with separate CAs. Peers prove to each other which
//! shard of which cluster they are. Both sides check chain, purpose, revocation, and the URI in the
//! certificate ([`opaque_identity`]). The dialing side accepts only the shard that it dialed.
//!
//! **Flow.** [`Tls::open`] reads and checks one [`Material`] from a directory. Without it, a node
//! does not start. [`Tls::follow`] reads the directory every two seconds and replaces the whole set
//! if a new one is valid. [`accept`] accepts connections, each with the material in use at that
//! time. [`Line`] is a connection to a peer.
//!
//! **Guarantees.** A set is used as a whole or not at all: after any error, the old one stays in
//! use, and the error is counted and logged once. The material for verifying clients is handled
//! separately, whatever else is wrong (`clients`). An accepted certificate is verified again on
//! calls after the material has changed, and every five seconds ([`Presented`]). A revoked
//! certificate, or one whose list has expired, is thus refused on open connections as well.
//! Sessions are not resumed, since resumption skips all of this. Peers only use TLS 1.3. Plaintext
//! is never accepted.
//!
//! **Assumption.** The machine's clock is accurate compared with the lifetimes of certificates.

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
