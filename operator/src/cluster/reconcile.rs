//! Reconciles one OpaqueCluster.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ApiResource;
use kube::core::Resource;
use kube::runtime::events::EventType;
use opaque_crds::cluster::OpaqueClusterStatus;
use opaque_crds::{OpaqueCluster, OpaqueTable};
use serde_json::Value;

use super::absent_pods::Absences;
use super::adopt::adopt;
use super::evictions::{EVICT_AGAIN, Evicted, Evictions};
use super::facts::Facts;
use super::findings::Findings;
use super::lost_map::Remains;
use super::monitors::Monitors;
use super::objects::{self, Blueprint};
use super::observe::observe;
use super::rollout::{self, Phase, ShardState};
use super::size::Size;
use super::{status, validate};
use crate::certificates::{self, CertificateRequest, CertificateState};
use crate::claims::contested;
use crate::error::Error;
use crate::kube::{Applied, Context, Reconciler, SECRET_AGAIN, SECRET_MISSING, Touched, announce};
use crate::labels;
use crate::metrics::Ends;

/// Interval at which the Leases of the leader and of waiting releases are checked: an expired Lease
/// causes no event.
const LEASES_AGAIN: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct ClusterReconciler {
    monitors: Monitors,
    evictions: Evictions,
    absences: Absences,
}

impl Reconciler for ClusterReconciler {
    const NAME: &'static str = "cluster";
    type Root = OpaqueCluster;

    fn roots(&self, context: &Context, touched: &Touched) -> Vec<(String, String)> {
        let namespace = touched.namespace().to_owned();
        if touched.kind == "OpaqueCluster" && touched.deleted {
            context.metrics.ends(&namespace, touched.name(), None);
        }
        match touched.kind {
            "OpaqueCluster" | "OpaqueShardMap" => vec![(namespace, touched.name().to_owned())],
            "Lease" if touched.label(labels::LEASE) == Some(labels::WAITING) => {
                let clusters = context.observed.raw_in("OpaqueCluster", &namespace);
                clusters.iter().map(|it| (namespace.clone(), it.name_any())).collect()
            }
            _ => touched
                .label(labels::CLUSTER)
                .map(|cluster| vec![(namespace, cluster.to_owned())])
                .unwrap_or_default(),
        }
    }

    async fn reconcile(
        &self,
        context: &Context,
        cluster: OpaqueCluster,
    ) -> Result<Option<Duration>, Error> {
        let facts = observe(&context.observed, &cluster, Timestamp::now())?;
        let accepted = Size::accepted(&cluster, &facts.sets);
        let size = accepted.unwrap_or_else(|| Size::wanted(&cluster.spec));
        // The nodes' current setting, until the certificates decide otherwise.
        let revocation = facts.sets.iter().find_map(objects::demands_revocation);
        let blueprint = Blueprint {
            cluster: &cluster,
            size,
            installed_image: &context.installed.node_image,
            revocation: revocation.unwrap_or(cluster.spec.tls.issuer_ref.is_none()),
        };
        let sets = validate::rules(&cluster).and_then(|()| sets(&blueprint));
        let mut found = Findings::new(&cluster, &facts, size);
        found.accepted = accepted.is_some();
        let namespace = cluster.namespace().unwrap_or_default();
        found.contested = contested(&context.observed, &context.release, &namespace);
        let watched = facts.leader.is_some() || found.contested.is_some();
        let outcome = match sets {
            Ok(sets) => self.change(context, blueprint, &facts, sets, &mut found).await,
            Err(error) => {
                found.invalid = Some(error.to_string());
                found.shards = states(&blueprint, &facts);
                // Certificates expire whether or not the spec is valid.
                if accepted.is_none() || cluster.spec.paused {
                    Err(error)
                } else {
                    match certificates(context, &blueprint).await {
                        Ok(state) => {
                            found.certificates = Some(state);
                            Err(error)
                        }
                        // A failed write is tried again; an invalid spec is not.
                        Err(failed) => Err(failed),
                    }
                }
            }
        };
        if let Err(error) = &outcome
            && found.invalid.is_none()
            && error.lasts()
        {
            found.failed = Some(error.to_string());
        }
        let previous = cluster.status.clone().unwrap_or_default();
        let (status, transitions) = status::status(&found, &previous, &Time(Timestamp::now()));
        // Secrets of users are not watched.
        let secrets = if found.secrets.is_empty() { SECRET_AGAIN } else { SECRET_MISSING };
        let secrets = validate::has_needs(&cluster).then_some(secrets);
        let end = |time: &Option<Time>| time.as_ref().map(|Time(time)| time.as_second());
        let ends = Ends {
            certificates: end(&status.certificates_not_after),
            revocation_lists: end(&status.revocation_lists_not_after),
        };
        context.metrics.ends(&namespace, &cluster.name_any(), Some(ends));
        context.write_status(&cluster, cluster.status.as_ref(), &status, None).await?;
        announce(context, &cluster.object_ref(&()), &transitions).await;
        // An expired Lease causes no event.
        let lease = watched.then_some(LEASES_AGAIN);
        Ok([outcome?, secrets, lease].into_iter().flatten().min())
    }
}

impl ClusterReconciler {
    /// Creates everything that is possible, and returns the first error after trying the rest.
    async fn change(
        &self,
        context: &Context,
        mut blueprint: Blueprint<'_>,
        facts: &Facts,
        mut wanted: Vec<Value>,
        found: &mut Findings<'_>,
    ) -> Result<Option<Duration>, Error> {
        let cluster = blueprint.cluster;
        found.shards = states(&blueprint, facts);
        found.secrets = validate::secrets(context, cluster).await?;
        if cluster.spec.paused {
            return Ok(None);
        }
        if let Some(name) = &facts.leftover {
            // This happens before a size is accepted. Otherwise the old sets would count as this
            // cluster's.
            let owner = format!("OpaqueCluster {}", cluster.name_any());
            return Err(Error::Leaving { kind: "StatefulSet".into(), name: name.clone(), owner });
        }
        accept(context, &blueprint).await?;
        found.accepted = true;
        adopt(context, &blueprint).await?;
        create_map(context, &blueprint, facts).await?;
        let size = blueprint.size;
        let issued = certificates(context, &blueprint).await;
        if let Ok(state) = &issued
            && state.revocation != blueprint.revocation
        {
            blueprint.revocation = state.revocation;
            wanted = sets(&blueprint)?;
        }
        let blueprint = &blueprint;
        let mut results = vec![
            context.apply(&objects::account(blueprint)).await,
            context.apply(&objects::role(blueprint)).await,
            context.apply(&objects::role_binding(blueprint)).await,
            context.apply(&objects::peer_service(blueprint)).await,
            context.apply(&objects::client_service(blueprint)).await,
            context.apply(&objects::policy(blueprint)).await,
        ];
        // A new pod would wait for a missing file, and a running pod would be replaced by a waiting
        // one.
        let usable = issued.as_ref().is_ok_and(|state| state.usable) && found.secrets.is_empty();
        let resource = ApiResource::erase::<k8s_openapi::api::apps::v1::StatefulSet>(&());
        for (shard, set) in (0..size.shards).zip(wanted) {
            results.push(context.apply(&objects::disruption_budget(blueprint, shard)).await);
            if usable {
                results.push(context.apply_raw(&resource, set).await);
            }
        }
        results.push(self.replace_pods(context, blueprint, usable, found).await);
        let mut next = found.refused.is_some().then_some(EVICT_AGAIN);
        match self.absences.explain(context, blueprint, facts).await {
            Ok((absent, again)) => {
                found.absent = absent;
                next = [next, again].into_iter().flatten().min();
            }
            Err(error) => results.push(Err(error)),
        }
        match self.monitors.reconcile(context, blueprint).await {
            Ok(again) => next = [next, again].into_iter().flatten().min(),
            Err(error) => results.push(Err(error)),
        }
        let state = issued?;
        next = [next, state.next].into_iter().flatten().min();
        found.certificates = Some(state);
        results.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(next)
    }

    /// Evicts the pods whose turn it is. Evicts none unless the next pod would be `usable`.
    async fn replace_pods(
        &self,
        context: &Context,
        blueprint: &Blueprint<'_>,
        usable: bool,
        found: &mut Findings<'_>,
    ) -> Result<Applied, Error> {
        // Uses the sets that were just written.
        let facts = observe(&context.observed, blueprint.cluster, Timestamp::now())?;
        found.shards = states(blueprint, &facts);
        let gone = self.evictions.ended(&blueprint.namespace(), &blueprint.name(), &facts.pods);
        for pod in found.shards.iter_mut().flat_map(|shard| &mut shard.pods) {
            if gone.contains(&pod.name) {
                pod.phase = Phase::Gone;
            }
        }
        let replacement = found.replacement.insert(rollout::next_replacement(&found.shards));
        let mut done = Applied::Unchanged;
        let pods = replacement.pods.iter().filter(|_| usable);
        for pod in pods.filter_map(|name| facts.pods.get(name)) {
            match self.evictions.evict(context, &blueprint.name(), pod).await? {
                Evicted::Gone => done = Applied::Written,
                Evicted::Refused(words) => found.refused = Some(words),
            }
        }
        Ok(done)
    }
}

/// Creates the shard map if it is absent. A lost map is restored from what remains of it, and an
/// event reports that.
async fn create_map(
    context: &Context,
    blueprint: &Blueprint<'_>,
    facts: &Facts,
) -> Result<(), Error> {
    if facts.map.is_some() {
        return Ok(());
    }
    let (cluster, status) = (blueprint.cluster, blueprint.cluster.status.as_ref());
    let tables = tables(context, blueprint);
    let remains = Remains::of(status, &facts.members, &tables);
    let map = objects::shard_map(blueprint, remains.as_ref(), Time(Timestamp::now()));
    let made = context.create(&map).await?;
    if let (Applied::Written, Some(Remains { generation, tables })) = (made, &remains) {
        let note = format!(
            "the OpaqueShardMap was lost after generation {generation}; it is proposed again with the {} tables that nodes serve or that OpaqueTables have published",
            tables.len(),
        );
        let about = cluster.object_ref(&());
        context.events.publish(&about, EventType::Warning, "ShardMapRestored", &note).await;
    }
    Ok(())
}

/// The cluster's readable tables.
fn tables(context: &Context, blueprint: &Blueprint<'_>) -> Vec<OpaqueTable> {
    let (namespace, cluster) = (blueprint.namespace(), blueprint.name());
    let objects = context.observed.raw_in("OpaqueTable", &namespace);
    let read = |name: String| context.observed.get::<OpaqueTable>(&namespace, &name).ok()?;
    let tables = objects.iter().filter_map(|object| read(object.name_any()));
    tables.filter(|table| table.spec.cluster_ref.name == cluster).collect()
}

/// Records the cluster's size before anything is created from it. If the spec changes later, the
/// recorded size counts, even after a crash. The write does not overwrite a concurrent change:
/// another operator may have accepted another size.
async fn accept(context: &Context, blueprint: &Blueprint<'_>) -> Result<(), Error> {
    let Blueprint { cluster, size, .. } = *blueprint;
    let previous = cluster.status.clone().unwrap_or_default();
    let status =
        OpaqueClusterStatus { shards: size.shards, replicas_per_shard: size.replicas, ..previous };
    let version = cluster.resource_version();
    context.write_status(cluster, cluster.status.as_ref(), &status, version).await.map(|_| ())
}

async fn certificates(
    context: &Context,
    blueprint: &Blueprint<'_>,
) -> Result<CertificateState, Error> {
    let Blueprint { cluster, size, .. } = *blueprint;
    let request = CertificateRequest { cluster, shards: size.shards, replicas: size.replicas };
    certificates::reconcile(context, &request).await
}

/// The desired StatefulSet of each shard.
fn sets(blueprint: &Blueprint<'_>) -> Result<Vec<Value>, Error> {
    (0..blueprint.size.shards).map(|shard| objects::set(blueprint, shard)).collect()
}

fn states(blueprint: &Blueprint<'_>, facts: &Facts) -> Vec<ShardState> {
    let cluster = blueprint.name();
    (0..blueprint.size.shards).map(|shard| facts.shard(&cluster, blueprint.size, shard)).collect()
}
