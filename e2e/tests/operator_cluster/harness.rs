//! A separate cluster for each test: a namespace, an operator, and replacements for kubelet and
//! nodes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, Namespace, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::{NamespaceResourceScope, Resource};
use kube::{Api, Client, ResourceExt};
use opaque_crds::cluster::OpaqueClusterStatus;
use opaque_crds::{OpaqueCluster, OpaqueShardMap, names};
use opaque_e2e::ControlPlane;
use opaque_e2e::poll::until;
use opaque_operator::args::Scope;
use opaque_operator::claims::Times;
use opaque_operator::metrics::Metrics;
use opaque_operator::run::{Operator, Settings};
use prometheus_client::registry::Registry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::kubelet::Kubelet;

pub(super) const LIMIT: Duration = Duration::from_secs(120);
/// How long nothing may happen.
pub(super) const QUIET: Duration = Duration::from_secs(3);

// Conditions with their status and reason.
pub(super) const SERVES: (&str, &str, &str) = ("Available", "True", "Serving");
pub(super) const COMPLETE: (&str, &str, &str) = ("Progressing", "False", "Complete");
pub(super) const WELL: (&str, &str, &str) = ("Degraded", "False", "AsExpected");

/// A kind of namespaced objects.
pub(super) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

/// Servers, and the handle that ends their thread.
pub(super) struct Servers {
    pub(super) control_plane: ControlPlane,
    _end: SyncSender<()>,
}

impl Servers {
    /// Starts servers on a separate thread. Servers die with the thread that starts them, and these
    /// outlive the first test that uses them.
    fn start() -> Result<Self> {
        let (tell, told) = sync_channel(1);
        let (_end, ended) = sync_channel(1);
        std::thread::spawn(move || {
            // Fails only if the test has ended.
            let _ = tell.send(Self::control_plane());
            // Nothing is ever sent. Dropping the sender is the signal.
            let _ = ended.recv();
        });
        Ok(Self { control_plane: told.recv()??, _end })
    }

    #[tokio::main(flavor = "current_thread")]
    async fn control_plane() -> Result<ControlPlane> {
        let mut control_plane = ControlPlane::start().await?;
        control_plane.start_controllers("statefulset,disruption")?;
        control_plane.establish(&opaque_crds::definitions()).await?;
        Ok(control_plane)
    }

    /// The servers of the tests that run at present.
    fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Servers>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(servers) = shared.upgrade() {
            return Ok(servers);
        }
        let servers = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&servers);
        Ok(servers)
    }
}

pub(super) struct Test {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) metrics: Metrics,
    operator: Option<Operator>,
    _kubelet: Kubelet,
    pub(super) servers: Arc<Servers>,
}

impl Test {
    /// An operator in a new namespace, with nothing to do yet.
    pub(super) async fn start(namespace: &str) -> Result<Self> {
        Self::start_at(Servers::shared()?, namespace).await
    }

    /// A cluster that serves.
    pub(super) async fn serving(namespace: &str) -> Result<Self> {
        Self::start(namespace).await?.with_a_cluster().await
    }

    /// A cluster that serves, at an API server that no other test uses.
    pub(super) async fn alone(namespace: &str) -> Result<Self> {
        Self::start_at(Arc::new(Servers::start()?), namespace).await?.with_a_cluster().await
    }

    async fn start_at(servers: Arc<Servers>, namespace: &str) -> Result<Self> {
        let client = servers.control_plane.client()?;
        let made: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}}))?;
        Api::all(client.clone()).create(&PostParams::default(), &made).await?;
        let metrics = Metrics::new(&mut Registry::default());
        let _kubelet = Kubelet::start(client.clone(), namespace);
        let namespace = namespace.to_owned();
        let mut test = Self { client, namespace, metrics, operator: None, _kubelet, servers };
        test.start_operator()?;
        Ok(test)
    }

    async fn with_a_cluster(self) -> Result<Self> {
        self.create_secret(json!({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})).await?;
        self.create_cluster().await?;
        self.pods_are_placed().await?;
        self.serve().await?;
        Ok(self)
    }

    pub(super) fn start_operator(&mut self) -> Result<()> {
        let settings = Settings {
            scope: Scope::Namespace(self.namespace.clone()),
            node_image: "node:1".into(),
            cluster_domain: "cluster.local".into(),
            allow_local_sources: false,
            identity: "test".into(),
            release: "test/operator".parse()?,
            times: Times::default(),
        };
        let config = self.servers.control_plane.config().clone();
        self.operator = Some(Operator::start(config, settings, self.metrics.clone())?);
        Ok(())
    }

    pub(super) async fn stop_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.stop().await;
        }
    }

    // ---------------------------------------------------------------- what a person would do

    pub(super) async fn create_cluster(&self) -> Result<()> {
        self.create::<OpaqueCluster>(json!({
            "metadata": {"name": "demo"},
            "spec": {
                "shards": 2, "replicasPerShard": 2, "clientAuth": {"mode": "none"},
                "storage": {"url": "s3://opaque/demo", "secretRef": {"name": "store"}},
                "podTemplate": {"spec": {"nodeSelector": {"kubernetes.io/os": "linux"}}},
            },
        }))
        .await
    }

    /// The Secret with the credentials of the store.
    pub(super) async fn create_secret(&self, data: Value) -> Result<()> {
        self.create::<Secret>(json!({"metadata": {"name": "store"}, "stringData": data})).await
    }

    // ------------------------------------------------------------ what kubelet and nodes would do

    /// Waits until the kubelet has placed every pod. Placing a pod overwrites the condition that
    /// says why it is not placed.
    pub(super) async fn pods_are_placed(&self) -> Result<()> {
        let is_placed = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        self.until("every pod is made and placed", async || {
            let pods = self.list::<Pod>().await?;
            Ok(pods.len() == 4 && pods.iter().all(is_placed))
        })
        .await
    }

    /// Makes pods ready and activates the map as the leader. Returns the status that shows it.
    pub(super) async fn serve(&self) -> Result<OpaqueClusterStatus> {
        for shard in 0..2 {
            for replica in 0..2 {
                self.set_ready(&names::pod("demo", shard, replica), true).await?;
            }
        }
        self.activate_map().await?;
        self.lease("demo-leader", json!({}), "demo-shard-0-0").await?;
        self.status("a leader is named", |status| status.leader.is_some()).await?;
        self.conditions(&[SERVES, COMPLETE]).await
    }

    /// The leader's write after a self-test.
    pub(super) async fn activate_map(&self) -> Result<()> {
        let map = self.get::<OpaqueShardMap>("demo").await?;
        let status = json!({"status": {"active": map.spec.map, "uid": map.metadata.uid}});
        self.patch_status::<OpaqueShardMap>("demo", &status).await
    }

    pub(super) async fn set_ready(&self, pod: &str, ready: bool) -> Result<()> {
        let ready = if ready { "True" } else { "False" };
        let now = k8s_openapi::jiff::Timestamp::now();
        let status = json!({"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": ready, "lastTransitionTime": now.to_string()},
            {"type": "PodScheduled", "status": "True"},
        ]}});
        self.patch_status::<Pod>(pod, &status).await
    }

    pub(super) async fn lease(&self, name: &str, annotations: Value, holder: &str) -> Result<()> {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "annotations": annotations, "labels": {
                "app.kubernetes.io/name": "opaque", "opaque.dev/cluster": "demo",
            }},
            "spec": {
                "holderIdentity": holder, "leaseTransitions": 1, "leaseDurationSeconds": 8,
                "renewTime": "2100-01-01T00:00:00.000000Z",
            },
        });
        let params = PatchParams::apply("test").force();
        self.api::<Lease>().patch(name, &params, &Patch::Apply(&lease)).await?;
        Ok(())
    }

    // ---------------------------------------------------------------- looking

    /// Everything has the owner reference that a garbage collector needs to remove it with the
    /// cluster.
    pub(super) async fn everything_is_owned(&self) -> Result<()> {
        let cluster = self.get::<OpaqueCluster>("demo").await?;
        let uid = cluster.uid().context("no uid")?;
        for (key, object) in self.objects().await? {
            let owners = object.metadata.owner_references.unwrap_or_default();
            ensure!(owners.iter().any(|owner| owner.uid == uid), "{key} has no owner");
        }
        ensure!(cluster.finalizers().is_empty());
        Ok(())
    }

    pub(super) async fn image(&self, shard: i32) -> Result<String> {
        let set = self.get::<StatefulSet>(&names::shard("demo", shard)).await?;
        let pod = set.spec.and_then(|spec| spec.template.spec).context("no pods")?;
        let node = pod.containers.into_iter().next().context("no container")?;
        node.image.context("no image")
    }

    pub(super) async fn image_of(&self, shard: i32, image: &str) -> Result<()> {
        self.until("the image is changed", async || Ok(self.image(shard).await? == image)).await
    }

    /// UIDs of the cluster's pods that are not ending.
    pub(super) async fn pods(&self) -> Result<BTreeMap<String, String>> {
        let nodes = ListParams::default().labels("opaque.dev/cluster=demo");
        let pods = self.api::<Pod>().list(&nodes).await?.items.into_iter();
        let pods = pods.filter(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(pods.map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect())
    }

    /// Waits until the operator has not reconciled for a while.
    pub(super) async fn settle(&self) -> Result<()> {
        let mut last = self.metrics.reconciles();
        until("the operator is quiet", LIMIT, || {
            let now = self.metrics.reconciles();
            let quiet = now == last;
            last = now;
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(quiet.then_some(()))
            }
        })
        .await
        .map(drop)
    }

    pub(super) async fn status(
        &self,
        what: &str,
        wanted: impl Fn(&OpaqueClusterStatus) -> bool,
    ) -> Result<OpaqueClusterStatus> {
        let looked = until(what, LIMIT, || async {
            let cluster = self.get::<OpaqueCluster>("demo").await?;
            let status = cluster.status.context("no status")?;
            ensure!(wanted(&status), "{}", serde_json::to_string(&status)?);
            Ok(Some(status))
        })
        .await?;
        Ok(looked.0)
    }

    /// Waits until each of these conditions has its status and reason.
    pub(super) async fn conditions(
        &self,
        wanted: &[(&str, &str, &str)],
    ) -> Result<OpaqueClusterStatus> {
        self.status(&format!("{wanted:?}"), |status| {
            wanted.iter().all(|&(type_, is, reason)| truth(status, type_) == Some((is, reason)))
        })
        .await
    }

    /// Waits until `spec.paused` is reported.
    pub(super) async fn paused(&self, paused: &str) -> Result<OpaqueClusterStatus> {
        self.status("Paused is reported", |status| {
            truth(status, "Paused").is_some_and(|(status, _)| status == paused)
        })
        .await
    }

    /// Waits for an event with this reason.
    pub(super) async fn event(&self, reason: &str) -> Result<()> {
        self.until("an event tells it", async || {
            let events = self.list::<Event>().await?;
            Ok(events.iter().any(|event| event.reason.as_deref() == Some(reason)))
        })
        .await
    }

    /// Waits until `holds` returns `true`.
    pub(super) async fn until(
        &self,
        what: &str,
        holds: impl AsyncFn() -> Result<bool>,
    ) -> Result<()> {
        until(what, LIMIT, || async { Ok(holds().await?.then_some(())) }).await.map(drop)
    }

    /// Versions of all objects that the operator writes.
    pub(super) async fn versions(&self) -> Result<BTreeMap<String, Option<String>>> {
        let objects = self.objects().await?.into_iter();
        Ok(objects.map(|(key, object)| (key, object.resource_version())).collect())
    }

    pub(super) async fn objects(&self) -> Result<BTreeMap<String, DynamicObject>> {
        let mut objects = BTreeMap::new();
        for resource in made() {
            let api = self.dynamic(&resource);
            let ours = ListParams::default().labels("app.kubernetes.io/managed-by=opaque-operator");
            for object in api.list(&ours).await? {
                objects.insert(format!("{} {}", resource.kind, object.name_any()), object);
            }
        }
        Ok(objects)
    }

    pub(super) fn dynamic(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, resource)
    }

    pub(super) fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) async fn create<K: Kind>(&self, object: Value) -> Result<()> {
        let object: K = serde_json::from_value(object)?;
        self.api::<K>().create(&PostParams::default(), &object).await?;
        Ok(())
    }

    pub(super) async fn delete<K: Kind>(&self, name: &str) -> Result<()> {
        self.api::<K>().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    pub(super) async fn get<K: Kind>(&self, name: &str) -> Result<K> {
        self.api().get(name).await.with_context(|| format!("{} {name}", K::kind(&())))
    }

    pub(super) async fn list<K: Kind>(&self) -> Result<Vec<K>> {
        Ok(self.api().list(&ListParams::default()).await?.items)
    }

    pub(super) async fn merge<K: Kind>(&self, name: &str, patch: &Value) -> Result<()> {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    pub(super) async fn patch_status<K: Kind>(&self, name: &str, patch: &Value) -> Result<()> {
        self.api::<K>().patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }
}

/// Status and reason of a condition.
pub(super) fn truth<'a>(
    status: &'a OpaqueClusterStatus,
    type_: &str,
) -> Option<(&'a str, &'a str)> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((condition.status.as_str(), condition.reason.as_str()))
}

/// The message of the condition `Degraded`.
pub(super) fn degraded(status: &OpaqueClusterStatus) -> &str {
    let condition = status.conditions.iter().find(|condition| condition.type_ == "Degraded");
    condition.map_or("", |condition| &condition.message)
}

/// The blocker of an operation.
pub(super) fn operation<'a>(status: &'a OpaqueClusterStatus, name: &str) -> Option<&'a str> {
    status.operations.iter().find(|operation| operation.name == name)?.blocked_by.as_deref()
}

/// The kinds that the operator creates.
pub(super) fn made() -> [ApiResource; 10] {
    [
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<OpaqueShardMap>(&()),
    ]
}
