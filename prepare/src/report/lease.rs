//! The annotation of a Lease that holds a report.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use opaque_crds::table::report::{ANNOTATION, Report};
use serde_json::json;
use thiserror::Error;
use tokio::time::timeout;

use crate::config::LeaseName;

/// Longest wait for the API server.
const DEADLINE: Duration = Duration::from_secs(10);
/// Attempts to write while others keep changing the Lease.
const CONFLICTS: usize = 8;

/// A Lease that receives the report of one run.
#[derive(Clone)]
pub(super) struct ReportLease {
    leases: Api<Lease>,
    name: String,
    run: String,
}

/// Why a report was not written.
#[derive(Debug, Error)]
pub(super) enum WriteError {
    /// The Lease holds the report of another run.
    #[error("the Lease holds the report of another run")]
    Superseded,
    /// The API server refused or failed.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The API server did not respond.
    #[error("the API server did not respond within {} s", DEADLINE.as_secs())]
    Silent,
    /// The Lease changed at every attempt.
    #[error("other writers change the Lease all the time")]
    Conflict,
    /// A bug in this program.
    #[error("the report cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl ReportLease {
    /// Connects to the API server like any pod, or as KUBECONFIG describes.
    pub(super) async fn connect(lease: &LeaseName, run: &str) -> anyhow::Result<Self> {
        let client = Client::try_default().await.context("cannot connect to the Kubernetes API")?;
        let leases = Api::namespaced(client, &lease.namespace);
        Ok(Self { leases, name: lease.name.clone(), run: run.to_owned() })
    }

    /// Writes the first report, replacing any other.
    pub(super) async fn begin(&self, report: &Report) -> Result<(), WriteError> {
        self.replace(report, true).await
    }

    /// Writes a report, unless another run has begun since.
    pub(super) async fn write(&self, report: &Report) -> Result<(), WriteError> {
        self.replace(report, false).await
    }

    async fn replace(&self, report: &Report, first: bool) -> Result<(), WriteError> {
        let text = serde_json::to_string(report)?;
        for _ in 0..CONFLICTS {
            let lease = timeout(DEADLINE, self.leases.get(&self.name));
            let lease = lease.await.map_err(|_| WriteError::Silent)??;
            let run = lease.annotations().get(ANNOTATION).and_then(|text| run_of(text));
            if !first && run.as_deref() != Some(self.run.as_str()) {
                return Err(WriteError::Superseded);
            }
            let patch = Patch::Merge(json!({ "metadata": {
                "resourceVersion": lease.resource_version(),
                "annotations": { ANNOTATION: text },
            }}));
            let params = PatchParams::default();
            let patched = timeout(DEADLINE, self.leases.patch(&self.name, &params, &patch));
            match patched.await.map_err(|_| WriteError::Silent)? {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Conflict)
    }
}

/// The run that a report belongs to. Also reads reports of other versions.
fn run_of(text: &str) -> Option<String> {
    let report: serde_json::Value = serde_json::from_str(text).ok()?;
    report.get("run")?.as_str().map(str::to_owned)
}
