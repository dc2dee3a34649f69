//! Reconciles one OpaqueShardMap: proposes maps to the cluster's nodes.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::runtime::events::EventType;
use kube::{Api, Resource, ResourceExt};
use opaque_crds::{OpaqueCluster, OpaqueShardMap, OpaqueTable, names};
use serde_json::Value;

use super::map_view::MapView;
use super::propose::{ClusterTables, Outcome, Proposal, propose};
use crate::error::Error;
use crate::kube::{Context, Reconciler, Touched};
use crate::labels::{self, FIELD_MANAGER, TABLES};

/// The reconciler of OpaqueShardMaps.
#[derive(Debug)]
pub(super) struct MapReconciler;

impl Reconciler for MapReconciler {
    const NAME: &'static str = "map";
    type Root = OpaqueShardMap;

    fn roots(&self, context: &Context, touched: &Touched) -> Vec<(String, String)> {
        let namespace = touched.namespace();
        match touched.kind {
            "OpaqueShardMap" | "OpaqueCluster" => {
                vec![(namespace.to_owned(), touched.name().to_owned())]
            }
            // This includes deleted tables, whose cluster is no longer known. There are few maps.
            "OpaqueTable" => {
                let maps = context.observed.raw_in("OpaqueShardMap", namespace);
                maps.iter().map(|map| (namespace.to_owned(), map.name_any())).collect()
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(
        &self,
        context: &Context,
        root: OpaqueShardMap,
    ) -> Result<Option<Duration>, Error> {
        let namespace = root.namespace().unwrap_or_default();
        let cluster = &root.spec.cluster_ref.name;
        let Some(cluster) = context.observed.get::<OpaqueCluster>(&namespace, cluster)? else {
            return Ok(None);
        };
        if cluster.spec.paused || cluster.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let tables = tables(context, &namespace, &cluster.name_any());
        let now = Timestamp::now();
        match propose(&MapView::new(&root), &tables, now) {
            Outcome::Settled => Ok(None),
            Outcome::Later(at) => {
                Ok(Some(Duration::try_from(at.duration_since(now)).unwrap_or_default()))
            }
            Outcome::Propose(proposal) => {
                write(context, root, proposal).await?;
                Ok(None)
            }
        }
    }
}

/// Whether a serving node does not state from which object its map comes, unlike nodes of later
/// versions.
fn is_of_an_earlier_version(lease: &Lease) -> bool {
    let record = lease.annotations().get(labels::MEMBER);
    let record = record.and_then(|record| serde_json::from_str::<Value>(record).ok());
    record.is_some_and(|record| {
        let serves = record.get("active_generation").and_then(Value::as_u64) > Some(0);
        serves && record.get("map").is_none_or(Value::is_null)
    })
}

/// The tables of a cluster. Tables that cannot be read count as the cluster's, so that an
/// unreadable field never removes one from the map.
fn tables(context: &Context, namespace: &str, cluster: &str) -> ClusterTables {
    let leases = context.observed.list::<Lease>(namespace, labels::CLUSTER, cluster);
    let loses_owners = leases.iter().any(is_of_an_earlier_version);
    let mut tables = ClusterTables { loses_owners, ..ClusterTables::default() };
    for object in context.observed.raw_in("OpaqueTable", namespace) {
        if object.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let name = object.name_any();
        match context.observed.get::<OpaqueTable>(namespace, &name) {
            Ok(Some(table)) if table.spec.cluster_ref.name == cluster => {
                tables.readable.push(table);
            }
            Ok(_) => {}
            Err(_) => {
                tables.unreadable.insert(names::sql_table(&name));
            }
        }
    }
    tables
}

/// Replaces the observed map. A map that has changed since causes a conflict.
async fn write(
    context: &Context,
    mut map: OpaqueShardMap,
    proposal: Proposal,
) -> Result<(), Error> {
    let (namespace, name) = (map.namespace().unwrap_or_default(), map.name_any());
    let Proposal { map: proposed, withdraws, owned } = proposal;
    let owned = serde_json::to_string(&owned).map_err(not_json)?;
    map.annotations_mut().insert(TABLES.to_owned(), owned);
    let withdrawn = map.spec.map.generation;
    if let Some(reason) = &withdraws {
        map.spec.withdraw(withdrawn, &format!("withdrawn: {reason}"));
    }
    if let Some(proposed) = proposed {
        let (generation, tables) = (proposed.generation, proposed.tables.len());
        tracing::info!(namespace, name, generation, tables, "proposing a shard map");
        map.spec.map = proposed;
    }
    let resource = ApiResource::erase::<OpaqueShardMap>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &namespace, &resource);
    let body: DynamicObject =
        serde_json::to_value(&map).and_then(serde_json::from_value).map_err(not_json)?;
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let action = format!("proposing generation {} of shard map {name}", map.spec.map.generation);
    let written = api.replace(&name, &params, &body).await.map_err(Error::api(action))?;
    context.wrote(&resource, written);
    if let Some(reason) = withdraws {
        tracing::info!(namespace, name, generation = withdrawn, reason, "withdrew a shard map");
        let note = format!("generation {withdrawn} was withdrawn: {reason}");
        context
            .events
            .publish(&map.object_ref(&()), EventType::Normal, "ProposalWithdrawn", &note)
            .await;
    }
    Ok(())
}

fn not_json(error: serde_json::Error) -> Error {
    Error::Internal(format!("a shard map is not JSON: {error}"))
}
