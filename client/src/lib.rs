//! Client library of Opaque: the only holder of secrets.
//!
//! **What.** [`Client`] answers SQL over a cluster that never learns the value looked up: it plans
//! ([`sql`]), encrypts, asks, decrypts and checks. The `opaque` command is a thin shell around it.
//!
//! **Why not a thinner client.** The servers must not be able to tell which row was wanted, so the
//! plan, the keys and the filtering of rows all stay on this side.
//!
//! **Map**
//! - before a query: [`profile`] (where the cluster is), [`keys`] (the long-lived secret);
//! - a query: [`sql`] says what to fetch and what the answer is, [`execute`] runs it,
//!   [`lookup`] and [`lwe`] turn values into requests and answers into rows, [`session`] calls nodes,
//!   [`description`] checks what they say of a table;
//! - a load: [`ddl`] and [`opaque_source`] read, [`load`] sends;
//! - [`present`] writes answers.
//!
//! **Limits.** A query's size depends on table, column and number of lookups; those, LIMIT and
//! OFFSET are not hidden. The seeds of lookups come from the system, or from
//! what [`Client::with_randomness`] is given; SEAL draws its own randomness.
#![deny(unsafe_code)]

pub mod bench;
pub mod client;
pub mod credentials;
pub mod ddl;
pub mod description;
pub mod error;
pub mod execute;
pub mod files;
pub mod keys;
pub mod load;
pub mod lookup;
pub mod lwe;
pub mod present;
pub mod profile;
pub mod session;
pub mod sql;

pub use client::{Client, ClientConfig, Event, OnEvent, Overrides};
pub use credentials::Credentials;
pub use error::Error;
pub use execute::{QueryOptions, Timing};
pub use load::{Published, Rows};
