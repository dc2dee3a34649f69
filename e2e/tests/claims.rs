//! Several releases of the operator that watch the same namespace, against a real API server: one
//! acts, the others wait and report that.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{NamespaceResourceScope, Resource};
use kube::{Api, Client, Config, ResourceExt};
use opaque_crds::{OpaqueCluster, OpaqueShardMap};
use opaque_e2e::ControlPlane;
use opaque_e2e::poll::until;
use opaque_election::{Held, Policy};
use opaque_operator::args::Scope;
use opaque_operator::claims::{LEASE, Times};
use opaque_operator::metrics::Metrics;
use opaque_operator::run::{Operator, Settings, stand};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::time::{Instant, timeout};

const LIMIT: Duration = Duration::from_secs(120);
/// A namespace that several releases watch, and one that only some watch.
const SHARED: &str = "default";
const SECOND: &str = "second";
/// Number of changes to a cluster while two operators run.
const CHANGES: u32 = 20;

#[tokio::test]
async fn one_release_acts_on_a_namespace_and_the_other_says_that_it_waits() -> Result<()> {
    let test = Test::start().await?;
    test.make_cluster(SHARED).await?;
    let one = test.operator("default/one", "node:1", Times::default()).await?;
    test.acts(SHARED, "node:1").await?;

    // The release for all namespaces serves those that no other release watches.
    test.make_cluster(SECOND).await?;
    let all = test.operator("every/all", "node:2", Times::default()).await?;
    test.acts(SECOND, "node:2").await?;
    test.says(SHARED, &waits("every/all")).await?;
    test.event(&acts("default/one", "every/all")).await?;
    test.nobody_fights(&one.metrics).await?;
    ensure!(test.contested(SECOND).await?.is_none(), "a release waits for {SECOND}");
    ensure!(test.holder(SECOND).await?.as_deref() == Some("every/all"));

    one.stop().await?;
    test.acts(SHARED, "node:2").await?;
    test.says_nothing(SHARED).await?;

    // The same with exchanged roles.
    let waiting = test.operator("default/one", "node:1", Times::default());
    let mut waiting = std::pin::pin!(waiting);
    let says = async {
        test.says(SHARED, &waits("default/one")).await?;
        test.event(&acts("every/all", "default/one")).await?;
        test.nobody_fights(&all.metrics).await
    };
    tokio::select! {
        said = says => said?,
        _ = &mut waiting => anyhow::bail!("two hold the claim"),
    }

    // A namespace without our objects is not claimed.
    test.api::<OpaqueCluster>(SECOND).delete("demo", &DeleteParams::default()).await?;
    test.api::<OpaqueShardMap>(SECOND).delete("demo", &DeleteParams::default()).await?;
    until("the claim is released", LIMIT, || async {
        Ok(test.holder(SECOND).await?.is_none().then_some(()))
    })
    .await?;

    let (stopped, one) = tokio::join!(all.stop(), waiting);
    stopped?;
    let one = one?;
    test.acts(SHARED, "node:1").await?;
    test.says_nothing(SHARED).await?;
    one.stop().await
}

#[tokio::test]
async fn a_claim_passes_on_by_name_within_a_release_and_by_its_end_to_another() -> Result<()> {
    let test = Test::start().await?;
    test.make_cluster(SHARED).await?;
    let short = |claim| Times { lead: times(4, 3), claim };
    let first = test.operator("a/all", "node:1", short(Times::default().claim)).await?;
    test.acts(SHARED, "node:1").await?;
    let other = test.operator("b/all", "node:2", short(times(6, 4))).await?;
    test.says(SHARED, &waits("b/all")).await?;

    // The next replica of the release does not wait until the claim expires, but the other release
    // does.
    let before = test.token().await?;
    first.crash();
    let next = test.operator("a/all", "node:3", short(times(6, 4))).await?;
    test.acts(SHARED, "node:3").await?;
    ensure!(test.token().await? == before + 1, "another has held the claim in between");
    test.says(SHARED, &waits("b/all")).await?;

    next.crash();
    test.acts(SHARED, "node:2").await?;
    test.says_nothing(SHARED).await?;
    ensure!(test.holder(SHARED).await?.as_deref() == Some("b/all"));
    other.stop().await
}

/// The Lease of a running operator is deleted, which the operator may not know yet.
#[tokio::test]
async fn a_deleted_claim_is_waited_for_where_an_operator_has_reported() -> Result<()> {
    let test = Test::start().await?;
    test.make_cluster(SHARED).await?;
    let start = Instant::now();
    let slow = Times { lead: times(30, 20), claim: times(30, 20) };
    let first = test.operator("default/one", "node:1", slow).await?;
    ensure!(start.elapsed() < slow.lead.lease_duration(), "the first operator has waited");
    test.acts(SHARED, "node:1").await?;
    first.crash();
    test.api::<Lease>(SHARED).delete(LEASE, &DeleteParams::default()).await?;
    let deleted = Instant::now();
    let next = test.operator("default/one", "node:2", slow).await?;
    ensure!(deleted.elapsed() >= slow.lead.lease_duration(), "both may lead at once");
    next.stop().await
}

fn times(lease: u64, deadline: u64) -> Policy {
    let seconds = Duration::from_secs;
    Policy::new(seconds(lease), seconds(deadline), Duration::from_millis(500)).unwrap_or_default()
}

/// The text in the clusters' status about a release that waits.
fn waits(release: &str) -> String {
    format!(
        "True AnotherOperatorWaits: another release of the operator, {release}, watches this namespace too and waits: uninstall it, or give it other namespaces (watch.namespaces)"
    )
}

/// The text of a waiting release about the one that acts.
fn acts(acting: &str, waiting: &str) -> String {
    format!(
        "release {acting} of the operator acts on this namespace; release {waiting} watches it too and waits: uninstall one of them, or give it other namespaces (watch.namespaces)"
    )
}

/// An operator that leads its release.
struct Active {
    operator: Operator,
    lead: Held,
    metrics: Metrics,
}

impl Active {
    /// Stops like after a SIGTERM.
    async fn stop(self) -> Result<()> {
        self.operator.stop().await;
        Ok(self.lead.release().await?)
    }

    /// Stops without releasing or reporting anything.
    fn crash(self) {
        drop((self.operator, self.lead));
    }
}

struct Test {
    client: Client,
    control_plane: ControlPlane,
}

impl Test {
    async fn start() -> Result<Self> {
        let control_plane = ControlPlane::start().await?;
        control_plane.establish(&opaque_crds::definitions()).await?;
        let client = control_plane.client()?;
        for name in [SECOND, "every", "a", "b"] {
            let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        }
        Ok(Self { client, control_plane })
    }

    /// An operator of a release, once it leads that release. The one of `default` watches only this
    /// namespace.
    async fn operator(&self, release: &str, image: &str, times: Times) -> Result<Active> {
        let scope = match release.split_once('/') {
            Some((SHARED, _)) => Scope::Namespace(SHARED.into()),
            _ => Scope::All,
        };
        let release = release.parse()?;
        let identity = format!("{image}-pod");
        let settings = Settings {
            scope,
            node_image: image.into(),
            cluster_domain: "cluster.local".into(),
            allow_local_sources: false,
            identity,
            release,
            times,
        };
        let config: Config = self.control_plane.config().clone();
        let metrics = Metrics::new(&mut Registry::default());
        let mut standing = stand(&config, &settings, &metrics)?;
        let lead = timeout(LIMIT, standing.acquire()).await?;
        standing.withdraw().await;
        let operator = Operator::start(config, settings, metrics.clone())?;
        Ok(Active { operator, lead, metrics })
    }

    async fn make_cluster(&self, namespace: &str) -> Result<()> {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "store"},
            "stringData": {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
        }))?;
        self.api::<Secret>(namespace).create(&PostParams::default(), &secret).await?;
        let cluster: OpaqueCluster = serde_json::from_value(json!({
            "metadata": {"name": "demo"},
            "spec": {
                "shards": 2, "replicasPerShard": 1, "clientAuth": {"mode": "none"},
                "storage": {"url": "s3://opaque/demo", "secretRef": {"name": "store"}},
            },
        }))?;
        self.api::<OpaqueCluster>(namespace).create(&PostParams::default(), &cluster).await?;
        Ok(())
    }

    /// Waits until all sets have the image of an operator.
    async fn acts(&self, namespace: &str, image: &str) -> Result<()> {
        until(&format!("{image} is what runs in {namespace}"), LIMIT, || async {
            let sets = self.sets(namespace).await?;
            ensure!(sets.len() == 2 && sets.values().all(|(_, it)| it == image), "{sets:?}");
            Ok(Some(()))
        })
        .await
        .map(drop)
    }

    /// However often the cluster changes, its sets stay unchanged.
    async fn nobody_fights(&self, acting: &Metrics) -> Result<()> {
        let before = self.sets(SHARED).await?;
        for number in 0..CHANGES {
            let reconciles = acting.reconciles();
            let change = json!({"metadata": {"annotations": {"tested": number.to_string()}}});
            let (params, patch) = (PatchParams::default(), Patch::Merge(change));
            self.api::<OpaqueCluster>(SHARED).patch("demo", &params, &patch).await?;
            until("the change is looked at", LIMIT, || async {
                Ok((acting.reconciles() > reconciles).then_some(()))
            })
            .await?;
        }
        let after = self.sets(SHARED).await?;
        ensure!(before == after, "two operators act: {before:?} {after:?}");
        Ok(())
    }

    /// Generation and image of each set.
    async fn sets(&self, namespace: &str) -> Result<BTreeMap<String, (Option<i64>, String)>> {
        let sets = self.api::<StatefulSet>(namespace).list(&ListParams::default()).await?;
        let image = |set: &StatefulSet| {
            let pod = set.spec.as_ref()?.template.spec.as_ref()?;
            pod.containers.first()?.image.clone()
        };
        let of = |set: &StatefulSet| (set.metadata.generation, image(set).unwrap_or_default());
        Ok(sets.iter().map(|set| (set.name_any(), of(set))).collect())
    }

    async fn contested(&self, namespace: &str) -> Result<Option<String>> {
        let cluster = self.api::<OpaqueCluster>(namespace).get("demo").await?;
        let conditions = cluster.status.context("no status")?.conditions;
        let found = conditions.into_iter().find(|condition| condition.type_ == "Contested");
        Ok(found.map(|it| format!("{} {}: {}", it.status, it.reason, it.message)))
    }

    async fn says(&self, namespace: &str, words: &str) -> Result<()> {
        until("the status says who waits", LIMIT, || async {
            let said = self.contested(namespace).await?;
            ensure!(said.as_deref() == Some(words), "{said:?}");
            Ok(Some(()))
        })
        .await
        .map(drop)
    }

    async fn says_nothing(&self, namespace: &str) -> Result<()> {
        until("the status names no waiting release", LIMIT, || async {
            let said = self.contested(namespace).await?;
            ensure!(said.is_none(), "{said:?}");
            Ok(Some(()))
        })
        .await
        .map(drop)
    }

    /// Waits for the event of a waiting release, of which there is exactly one.
    async fn event(&self, words: &str) -> Result<()> {
        let told = || async {
            let events = self.api::<Event>(SHARED).list(&ListParams::default()).await?;
            let of = |event: &&Event| event.reason.as_deref() == Some("AnotherOperatorActs");
            let told = events.iter().filter(of).filter(|it| it.note.as_deref() == Some(words));
            let told: Vec<_> = told.cloned().collect();
            ensure!(!told.is_empty(), "there are {:?}", events.items);
            Ok(Some(told))
        };
        let (told, _) = until("the event is there", LIMIT, told).await?;
        let about = told.first().and_then(|event| event.regarding.as_ref()?.name.as_deref());
        ensure!(told.len() == 1 && about == Some("demo"), "{told:?}");
        ensure!(told.iter().all(|event| event.series.is_none()), "reported again: {told:?}");
        Ok(())
    }

    async fn claim(&self, namespace: &str) -> Result<Lease> {
        Ok(self.api::<Lease>(namespace).get(LEASE).await?)
    }

    async fn holder(&self, namespace: &str) -> Result<Option<String>> {
        let holder = self.claim(namespace).await?.spec.and_then(|spec| spec.holder_identity);
        Ok(holder.filter(|holder| !holder.is_empty()))
    }

    async fn token(&self) -> Result<i32> {
        let spec = self.claim(SHARED).await?.spec.context("no spec")?;
        spec.lease_transitions.context("never acquired")
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}
