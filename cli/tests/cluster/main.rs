//! The product as users run it: the program `opaque`, a cluster of real node processes, real TLS,
//! and faults. One cluster runs at a time.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

// This import must come first: it determines the order in which two copies of zstd are linked. The
// `lib.rs` of opaque-registered explains it.
use opaque_registered as _;

mod agreement;
mod bare;
mod certificates;
mod closing;
mod cost;
mod differential;
mod epochs;
mod harness;
mod hostile;
mod ipv6;
mod keys;
mod limits;
mod loading;
mod logs;
mod memory;
mod missing;
#[path = "../../../client/tests/support/oracle.rs"]
mod oracle;
mod peers;
mod profiles;
mod proposing;
mod reach;
mod repair;
mod replicas;
mod rights;
#[cfg(feature = "shell")]
mod shell;
mod sql;
#[path = "../../../client/tests/support/statements.rs"]
mod statements;
mod stored;
#[cfg(feature = "shell")]
mod terminal;
mod wire;
