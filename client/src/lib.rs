//! Client library of Opaque: the only holder of secrets.
//!
//! **What.** [`Client`] answers SQL over a cluster that never learns the value looked up: it plans
//! ([`sql`]), encrypts, asks, decrypts and checks. The `opaque` command (crate opaque-cli) is a
//! thin shell around it.
//!
//! **Why not a thinner client.** The servers must not be able to tell which row was wanted, so the
//! plan, the keys and the filtering of rows all stay on this side.
//!
//! **Map**
//! - before a query: [`profile`] (where the cluster is, and what a client shows to it), [`registered`] (what
//!   keys that the cluster keeps must do);
//! - a query: [`sql`] says what to fetch and what the answer is, [`execute`] runs it, [`lookup`] turns values into
//!   requests and answers into rows, [`session`] calls nodes, [`description`] checks what they say of a table,
//!   [`salts`] refuses the salt of another epoch;
//! - a load: [`ddl`] and [`opaque_source`] read, [`load`] sends.
//!
//! **Limits.** A query's size depends on table, column and number of lookups; those, LIMIT and
//! OFFSET are not hidden. The seeds of lookups come from the system;
//! registered keys draw their own randomness.
//!
//! **Connections.** [`Client::query`] keeps them: no request of a statement follows its first
//! decrypted answer, but when the next statement comes, or whether it does, may tell a server what
//! this one brought. [`Client::query_and_close`] is for a single statement: it closes them before
//! it decrypts. Within one [`Client`] a server can link all requests, also over several
//! connections; nothing is left that would link two processes.
//!
//! **Logs.** This crate logs addresses and kinds of failures, through `tracing`, and no part of a
//! statement or an answer. **The SQL parser that it uses does**: `sqlparser` gives whole
//! statements, literals included, to the `log` facade, at level debug and with target `sqlparser`,
//! and has no switch for it. They go nowhere unless the application installs a `log` logger; one
//! that does (`tracing-log` and most loggers of `log`) must keep that target off, as
//! `RUST_LOG=debug,sqlparser=off` does. The `opaque` command installs none.
//!
//! **Keys.** Lookups bring fresh keys along (inline keys) unless the program passes a key store
//! ([`ClientConfig::key_store`]); crate `opaque-registered` has one.
//!
//! **WebAssembly.** Compiled for it, the crate leaves out what needs an operating system: [`sql`],
//! [`lookup`] and what they need remain.
//!
//! **Features.** `test-randomness`: a client with seeds from a given generator. This crate's own
//! tests turn it on, and no program may: two lookups with one seed show both their buckets.
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
pub use execute::{QueryOptions, Timing};
#[cfg(not(target_family = "wasm"))]
pub use load::{Published, Rows};
pub use opaque_pir::table::{ColumnType, Value};
#[cfg(not(target_family = "wasm"))]
pub use profile::{
    KeyMode,
    credentials::{Credentials, CredentialsError},
};
