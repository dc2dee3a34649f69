//! What both controllers need of the Kubernetes API: reading, comparing and writing objects.
//!
//! **Why own plumbing around `kube::runtime`.** Two controllers look at the same objects. Watching
//! each kind once, as untyped objects, halves the watches, lets one bad object be reported instead
//! of breaking a watch, and gives applies the live object to compare with. Of `kube::runtime` it
//! uses watches, stores and the scheduler.
//!
//! **Map.** The same steps as in the rooms of the kinds:
//! - `observe`: one watch of each kind, and what it tells the controllers; `secrets`: people's
//!   Secrets, read by name and seldom; `liveness`: whether pods and holders of Leases are alive;
//!   `refusal`: why the API server refused a pod;
//! - `apply`, `compare`: writing objects only if needed; `status`: conditions and operations;
//!   `events`;
//! - `controller`: runs a reconciler: time limit, `backoff`, metrics;
//! - `context`: what all reconcilers share; `requests` counts their requests; `claimed`: on which
//!   namespaces they may act.
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
