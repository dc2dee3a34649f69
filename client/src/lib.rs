//! Client library of Opaque: private SQL over a cluster.
//!
//! **What.** [`Client`] answers SQL over a cluster that never learns the value looked up: it plans
//! ([`sql`]), encrypts, asks, decrypts and checks. The `opaque` command (crate opaque-cli) is a
//! thin shell around it.
//!
//! **Why not a thinner client.** The servers must not be able to tell which row was wanted, so the
//! plan, the keys and the filtering of rows all stay on this side.
//!
//! **Map**
//! - before a query: [`profile`] (the cluster's address and the client's credentials),
//!   [`registered`] (the interface of keys that the cluster stores);
//! - a query: [`sql`] decides what to fetch and computes the answer, [`execute`] runs the query,
//!   [`lookup`] converts values into requests and answers into rows, [`session`] calls nodes,
//!   [`description`] checks a table's description, [`salts`] refuses a salt that belongs to another
//!   epoch;
//! - a load: [`ddl`] and [`opaque_source`] read the input, [`load`] sends it.
//!
//! **Limits.** A query's size depends on the table, the column and the number of lookups. These
//! three, LIMIT and OFFSET are not hidden. The seeds of lookups come from the operating system;
//! registered keys draw their own randomness.
//!
//! **Connections.** [`Client::query`] keeps connections open. No request of a statement follows its
//! first decrypted answer, but whether and when the next statement comes may tell a server
//! something about the previous answer. [`Client::query_and_close`] is for a single statement: it
//! closes the connections before it decrypts. [`Client::gather_and_close`] is for several: it sends
//! the requests of all of them before. A server can link all requests of one [`Client`],
//! even over several connections. With inline keys, nothing links two processes.
//!
//! **Logs.** This crate logs addresses and kinds of failures through `tracing`. It never logs a
//! part of a statement or an answer. **Its SQL parser does**: `sqlparser` passes whole statements,
//! literals included, to the `log` facade at level debug with target `sqlparser`, and has no option
//! against it. These records are dropped unless the application installs a `log` logger. An
//! application that installs one (`tracing-log` and most loggers of `log`) must disable that
//! target, for instance with `RUST_LOG=debug,sqlparser=off`. The program `opaque` installs none.
//!
//! **Keys.** Each lookup carries fresh keys (inline keys) unless [`ClientConfig::keys`] is
//! [`KeyMode::Registered`]. Registered keys need a key store ([`ClientConfig::key_store`]), which
//! crate `opaque-registered` implements.
//!
//! **WebAssembly.** A build for WebAssembly omits everything that needs an operating system.
//! [`sql`], [`lookup`] and their dependencies remain.
//!
//! **Features.** `test-randomness` adds a client that takes its seeds from a given generator. Only
//! this crate's own tests may enable it: two lookups with the same seed reveal both their buckets.
#![deny(unsafe_code)]

#[cfg(not(target_family = "wasm"))]
pub mod client;
#[cfg(not(target_family = "wasm"))]
pub mod ddl;
pub mod description;
#[cfg(not(target_family = "wasm"))]
pub mod error;
#[cfg(not(target_family = "wasm"))]
pub mod execute;
#[cfg(not(target_family = "wasm"))]
pub mod load;
pub mod lookup;
#[cfg(not(target_family = "wasm"))]
pub mod profile;
pub mod registered;
#[cfg(not(target_family = "wasm"))]
pub mod salts;
#[cfg(not(target_family = "wasm"))]
pub mod session;
pub mod sql;
pub mod terminal;

#[cfg(not(target_family = "wasm"))]
pub use client::{Client, ClientConfig, Event, OnEvent, Overrides, Tables};
#[cfg(not(target_family = "wasm"))]
pub use error::Error;
#[cfg(not(target_family = "wasm"))]
pub use execute::{Gathered, QueryOptions, Timing};
#[cfg(not(target_family = "wasm"))]
pub use load::{Place, Published, Rows, RowsBuilder};
pub use opaque_pir::table::{ColumnType, Value};
#[cfg(not(target_family = "wasm"))]
pub use profile::{
    KeyMode,
    credentials::{Credentials, CredentialsError},
};
