//! Reconciles one OpaqueTable.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::runtime::events::EventType;
use kube::{Api, Resource, ResourceExt};
use opaque_crds::table::report::REPORT_ANNOTATION;
use opaque_crds::{OpaqueTable, names};
use serde_json::json;

use super::decide::{Action, Decision, Start, decide};
use super::facts::Facts;
use super::objects::{Objects, objects};
use super::observe::observe;
use super::retry::Retry;
use crate::error::Error;
use crate::kube::{Context, FOREIGN_CONFIG_MAP, Reconciler, Touched, announce};
use crate::labels::{FIELD_MANAGER, TABLE};

/// Reason of the event for an epoch that needs memory out of proportion to its rows.
const HIGH_MEMORY: &str = "HighMemory";

/// The reconciler of OpaqueTables.
#[derive(Debug, Default)]
pub(super) struct TableReconciler {
    retry: Retry,
}

impl Reconciler for TableReconciler {
    const NAME: &'static str = "table";
    type Root = OpaqueTable;

    fn roots(&self, context: &Context, touched: &Touched) -> Vec<(String, String)> {
        let namespace = touched.namespace();
        match touched.kind {
            "OpaqueTable" => vec![(namespace.to_owned(), touched.name().to_owned())],
            "Job" | "Pod" | "Lease" => {
                let table = touched.label(TABLE);
                table.map(|table| (namespace.to_owned(), table.to_owned())).into_iter().collect()
            }
            "OpaqueCluster" | "OpaqueShardMap" => {
                let of = |table: &OpaqueTable| table.spec.cluster_ref.name == touched.name();
                tables(context, namespace, of)
            }
            "ConfigMap" | FOREIGN_CONFIG_MAP => {
                let reads = |table: &OpaqueTable| {
                    let reference = table.spec.source.config_map_ref.as_ref();
                    reference.is_some_and(|reference| reference.name == touched.name())
                };
                tables(context, namespace, reads)
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(
        &self,
        context: &Context,
        root: OpaqueTable,
    ) -> Result<Option<Duration>, Error> {
        let facts = observe(context, root).await?;
        let Decision { status, transitions, warning, action, again } = decide(&facts, &self.retry);
        let table = &facts.table;
        // The status is written first, because a new Job clears the report of the last one. The
        // write does not overwrite a concurrent change: until it succeeds, a pin to an epoch that
        // the new Job may remove still counts.
        let seen = table.resource_version();
        context.write_status(table, table.status.as_ref(), &status, seen).await?;
        let about = table.object_ref(&());
        announce(context, &about, &transitions).await;
        if let Some(warning) = warning {
            context.events.publish(&about, EventType::Warning, HIGH_MEMORY, &warning).await;
        }
        match action {
            Action::None => {}
            Action::Stop(name) => stop(context, table, &name).await?,
            Action::Start(order) => start(context, &facts, &order).await?,
        }
        Ok(again)
    }
}

/// Namespaces and names of a namespace's tables that `concerned` selects.
fn tables(
    context: &Context,
    namespace: &str,
    concerned: impl Fn(&OpaqueTable) -> bool,
) -> Vec<(String, String)> {
    let mut tables: Vec<OpaqueTable> = context.observed.all();
    tables.retain(|table| table.namespace().as_deref() == Some(namespace) && concerned(table));
    tables.iter().map(|table| (namespace.to_owned(), table.name_any())).collect()
}

/// Deletes a Job. The Job remains, marked as being deleted, until its pods are gone.
async fn stop(context: &Context, table: &OpaqueTable, name: &str) -> Result<(), Error> {
    let namespace = table.namespace().unwrap_or_default();
    let Some(job) = context.observed.get::<Job>(&namespace, name)? else { return Ok(()) };
    let api: Api<Job> = Api::namespaced(context.client.clone(), &namespace);
    let same = Preconditions { uid: job.uid(), ..Preconditions::default() };
    match api.delete(name, &DeleteParams::foreground().preconditions(same)).await {
        Ok(_) => {
            tracing::info!(namespace, name, "stopping a Job of an earlier source");
            context.metrics.wrote("Job");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::api(format!("deleting Job {name}"))(error)),
    }
}

/// Creates a Job and the objects that it needs. If the Job exists already, this operator created it
/// a moment ago or before a restart.
async fn start(context: &Context, facts: &Facts, order: &Start) -> Result<(), Error> {
    let table = &facts.table;
    let cluster = facts.cluster.as_ref();
    let cluster = cluster.ok_or_else(|| Error::Internal("a Job without a cluster".into()))?;
    let Objects { account, role, binding, lease, job } =
        objects(table, cluster, order, &context.installed)?;
    context.apply(&account).await?;
    context.apply(&role).await?;
    context.apply(&binding).await?;
    context.apply(&lease).await?;
    if facts.report.is_some() {
        forget_report(context, table).await?;
    }
    context.create(&job).await?;
    Ok(())
}

/// Removes the last Job's report, so that it is not taken for the next Job's.
async fn forget_report(context: &Context, table: &OpaqueTable) -> Result<(), Error> {
    let namespace = table.namespace().unwrap_or_default();
    let name = names::prepare(&table.name_any());
    let resource = ApiResource::erase::<Lease>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &namespace, &resource);
    let patch = json!({"metadata": {"annotations": {REPORT_ANNOTATION: null}}});
    let params =
        PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let written = api
        .patch(&name, &params, &Patch::Merge(&patch))
        .await
        .map_err(Error::api(format!("clearing Lease {name}")))?;
    context.wrote(&resource, written);
    Ok(())
}
