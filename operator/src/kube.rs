//! The Kubernetes API for both controllers: reading, comparing and writing objects.
//!
//! **Why a layer around `kube::runtime`.** Two controllers use the same objects. Watching each kind
//! only once, as untyped objects, halves the number of watches. An object that does not parse is
//! reported instead of breaking a watch, and applies have the live object to compare with. From
//! `kube::runtime` this layer uses watches, stores and the scheduler.
//!
//! **Map.** The steps have the same names as in the controllers:
//! - `observe`: one watch of each kind, and what it reports to the controllers; `secrets`: users'
//!   Secrets, read by name and rarely; `liveness`: whether pods and holders of Leases are alive;
//!   `refusal`: why the API server refused a pod;
//! - `apply`, `compare`: writing objects only if needed; `status`: conditions and operations;
//!   `events`;
//! - `controller`: runs a reconciler, with time limit, `backoff` and metrics;
//! - `context`: state that all reconcilers share; `requests`: counts their requests; `claimed`: the
//!   namespaces on which they may act.
mod apply;
mod backoff;
mod claimed;
mod compare;
mod context;
mod controller;
mod events;
mod liveness;
mod observe;
mod refusal;
mod requests;
mod secrets;
mod status;

pub use claimed::Claimed;
pub use context::{Context, Installed};
pub use events::Events;
pub use observe::Observed;

pub(crate) use apply::{Applied, check_owner};
pub(crate) use backoff::fraction;
pub(crate) use context::clients;
pub(crate) use controller::{Reconciler, run_controller};
pub(crate) use events::reference;
pub(crate) use liveness::{is_overdue, is_ready, is_renewed, trouble};
pub(crate) use observe::{FOREIGN_CONFIG_MAP, ROOTS, Touched};
pub(crate) use refusal::{ASK_AGAIN, refusal};
#[cfg(test)]
pub(crate) use secrets::Found;
pub(crate) use secrets::{Keys, SECRET_AGAIN, SECRET_MISSING};
pub(crate) use status::{Activity, Conditions, Transition, Truth, announce, operations};
