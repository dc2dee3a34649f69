//! What a node's token may write: only what nodes do, even if RBAC allowed more.

use std::cell::Cell;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Config, ResourceExt};
use opaque_crds::OpaqueShardMap;
use opaque_e2e::ControlPlane;
use opaque_node::coordination::{
    Change, Coordination, KubernetesCoordination, Outcome, Pod as PodOfNode,
};
use opaque_node::map::placement::Shards;
use opaque_node::shard::replica::ReplicaState;
use opaque_operator::args::Scope;
use opaque_operator::claims::Times;
use opaque_operator::metrics::Metrics;
use opaque_operator::run::{Operator, Settings};
use opaque_store::UnixMillis;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::apply::{apply, binding, role, until};
use super::helm::{objects, rendered, root};

/// Namespace of the clusters.
const LAB: &str = "lab";
const NOW: UnixMillis = UnixMillis(1_795_000_000_000);

#[tokio::test]
async fn a_nodes_token_writes_what_nodes_write_and_nothing_else() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let client = control_plane.client()?;
    let operator = two_clusters(&control_plane).await?;
    let (config, uid) = token(&control_plane, "demo-shard-0-0").await?;
    token(&control_plane, "demo-shard-1-0").await?;
    works_as_a_node(&config, &uid).await?;
    operator.stop().await;

    // From here on, RBAC allows everything.
    allow_all(&client, "demo-node").await?;
    let node = Node { client: Client::try_from(config)? };
    node.is_refused_by_the_policies().await?;
    node.resizes_nothing(&client).await?;
    node.takes_no_table(&client).await?;
    node.touches_no_other_map().await?;
    node.writes_no_other_lease(&client).await?;
    a_job_becomes_no_member(&control_plane).await?;
    accounts_that_are_named_alike_are_left_alone(&control_plane).await
}

#[test]
fn without_the_policies_a_namespaced_operator_needs_nothing_outside_its_namespaces() -> Result<()> {
    let values = root().join("charts/opaque/values.yaml");
    let with = objects(&rendered(&values, &[])?)?;
    let without = objects(&rendered(&values, &["--set", "nodePolicy.enabled=false"])?)?;
    let policies = |objects: &[Value]| {
        let kinds = objects.iter().filter_map(|object| object["kind"].as_str());
        kinds.filter(|kind| kind.starts_with("ValidatingAdmissionPolicy")).count()
    };
    assert_eq!((policies(&with), policies(&without)), (6, 0));
    assert_eq!(with.len() - without.len(), 6);
    for object in &without {
        assert!(object["metadata"]["namespace"].is_string(), "{}", object["kind"]);
    }
    Ok(())
}

/// The chart's policies, and clusters `demo` and `other` with everything that the operator creates
/// for their nodes.
async fn two_clusters(control_plane: &ControlPlane) -> Result<Operator> {
    control_plane.establish(&opaque_crds::definitions()).await?;
    let client = control_plane.client()?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LAB}});
    apply(&client, &namespace).await?;
    let values = root().join("charts/opaque/values.yaml");
    let options = ["--set", "watch.namespaces={lab}", "--show-only", "templates/nodepolicy.yaml"];
    for object in objects(&rendered(&values, &options)?)? {
        apply(&client, &object).await?;
    }
    let settings = Settings {
        scope: Scope::Namespace(LAB.into()),
        node_image: "node:1".into(),
        cluster_domain: "cluster.local".into(),
        allow_local_sources: false,
        identity: "test".into(),
        release: "test/operator".parse()?,
        times: Times::default(),
    };
    let metrics = Metrics::new(&mut Registry::default());
    let operator = Operator::start(control_plane.config().clone(), settings, metrics)?;
    for name in ["demo", "other"] {
        let cluster = json!({
            "apiVersion": "opaque.dev/v1alpha1", "kind": "OpaqueCluster",
            "metadata": {"name": name, "namespace": LAB},
            "spec": {
                "shards": 2, "replicasPerShard": 1, "clientAuth": {"mode": "none"},
                "storage": {"url": "gs://opaque/demo"},
            },
        });
        apply(&client, &cluster).await?;
        let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> =
            Api::namespaced(client.clone(), LAB);
        until("the nodes' rights are granted", async || {
            Ok(bindings.get_opt(&format!("{name}-node")).await?)
        })
        .await?;
    }
    Ok(operator)
}

/// Creates a pod. Returns the credentials that its container would use, and its uid.
async fn token(control_plane: &ControlPlane, name: &str) -> Result<(Config, String)> {
    let client = control_plane.client()?;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "serviceAccountName": "demo-node", "automountServiceAccountToken": false,
            "containers": [{"name": "node", "image": "node:1"}],
        },
    }))?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), LAB);
    let uid = pods.create(&PostParams::default(), &pod).await?.uid().context("no uid")?;
    let request: TokenRequest = serde_json::from_value(json!({"metadata": {}, "spec": {
        "audiences": [],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid},
    }}))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client, LAB);
    let answer =
        accounts.create_token_request("demo-node", &PostParams::default(), &request).await?;
    let token = answer.status.context("no token")?.token;
    let mut config = control_plane.config().clone();
    config.auth_info = serde_json::from_value(json!({"token": token}))?;
    Ok((config, uid))
}

/// Performs everything that a node writes, with the permissions that the operator gave it.
async fn works_as_a_node(config: &Config, uid: &str) -> Result<()> {
    let name = "demo-shard-0-0";
    let pod = PodOfNode { name: name.into(), uid: uid.into() };
    let cluster = KubernetesCoordination::open(config, LAB, "demo", Some(pod), 1)?;
    let addresses = ["10.0.0.7:7100", "10.0.0.7:7200"].map(str::to_owned);
    let [client_address, peer_address] = addresses;
    let member =
        ReplicaState::new(name.into(), 0, client_address, peer_address).record(UnixMillis(1), 1);
    // The authorizer reads Roles a moment after they are written.
    until("the node's rights are known", async || Ok(cluster.heartbeat(&member).await.ok()))
        .await?;
    cluster.heartbeat(&member).await?;
    let lead =
        until("the node leads", async || Ok(cluster.try_lead(name).await.ok().flatten())).await?;
    let first = cluster.initialize(Shards::equal(2)?).await?;
    let change = |epoch| Change::Table { table: "loaded".into(), epoch: Some(epoch) };
    let proposed = cluster.propose(change(1), first.generation, NOW).await?;
    cluster.activate(&lead, proposed.generation).await?;
    let refused = cluster.propose(change(2), proposed.generation, NOW).await?;
    cluster.reject(&lead, refused.generation, "a test").await?;
    let outcome = cluster.outcome(refused.generation).await?;
    assert_eq!(outcome, Outcome::Rejected { reason: "a test".into() });
    lead.release().await;
    cluster.leave(name).await?;
    cluster.heartbeat(&member).await?;
    Ok(())
}

/// Gives an account all permissions on Leases and shard maps.
async fn allow_all(client: &Client, account: &str) -> Result<()> {
    let name = format!("{account}-all");
    let rules = json!([
        {"apiGroups": ["opaque.dev"], "resources": ["opaqueshardmaps", "opaqueshardmaps/status"],
            "verbs": ["*"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
    ]);
    apply(client, &role(LAB, &name, rules)).await?;
    apply(client, &binding(LAB, ("Role", &name), account)).await.map(drop)
}

/// A client with the token of pod `demo-shard-0-0`.
struct Node {
    client: Client,
}

impl Node {
    fn maps(&self) -> Api<OpaqueShardMap> {
        Api::namespaced(self.client.clone(), LAB)
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), LAB)
    }

    async fn patch(&self, map: &str, patch: &Value) -> kube::Result<()> {
        let params = PatchParams::default();
        self.maps().patch(map, &params, &Patch::Merge(patch)).await.map(drop)
    }

    async fn patch_status(&self, map: &str, patch: &Value) -> kube::Result<()> {
        let params = PatchParams::default();
        self.maps().patch_status(map, &params, &Patch::Merge(patch)).await.map(drop)
    }

    async fn patch_lease(&self, lease: &str, patch: &Value) -> kube::Result<()> {
        let params = PatchParams::default();
        self.leases().patch(lease, &params, &Patch::Merge(patch)).await.map(drop)
    }

    async fn lease(&self, name: &str, labels: Value, finalizers: &[&str]) -> kube::Result<()> {
        let metadata = json!({"name": name, "labels": labels, "finalizers": finalizers});
        let lease = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        self.leases().create(&PostParams::default(), &lease).await.map(drop)
    }

    /// Waits until RBAC and the policies are in force, in this order.
    async fn is_refused_by_the_policies(&self) -> Result<()> {
        let tries = Cell::new(0);
        until("the policies are in force", async || {
            tries.set(tries.get() + 1);
            let label = json!({"metadata": {"labels": {"a": tries.get().to_string()}}});
            let of_map = self.patch("demo", &label).await;
            let of_lease = self.lease("other-leader", mine(), &[]).await;
            let refused = |result: kube::Result<()>| by_policy(&result).is_some();
            Ok((refused(of_map) && refused(of_lease)).then_some(()))
        })
        .await
    }

    async fn resizes_nothing(&self, admin: &Client) -> Result<()> {
        let maps: Api<OpaqueShardMap> = Api::namespaced(admin.clone(), LAB);
        let before = maps.get("demo").await?;
        let generation = before.spec.map.generation + 1;
        for shards in [
            json!([{"id": 0, "weight": 1}]),
            json!([{"id": 0, "weight": 1}, {"id": 1, "weight": 1}, {"id": 2, "weight": 1}]),
            json!([{"id": 0, "weight": 1}, {"id": 1, "weight": 9}]),
        ] {
            let patch = json!({"spec": {"map": {"generation": generation, "shards": shards}}});
            refused(self.patch("demo", &patch).await, "may not change the shards")?;
            // The newest map was rejected and is not active, so a node might try to activate its
            // generation with other shards.
            let newest = before.spec.map.generation;
            let active = json!({"status": {"active": {"generation": newest, "shards": shards}}});
            refused(self.patch_status("demo", &active).await, "may not change the shards")?;
        }
        for metadata in [
            json!({"labels": {"opaque.dev/cluster": "other"}}),
            json!({"annotations": {"opaque.dev/tables": "[\"loaded\"]"}}),
            json!({"ownerReferences": null}),
            json!({"finalizers": ["example.com/stays"]}),
        ] {
            let patch = json!({"metadata": metadata});
            refused(
                self.patch("demo", &patch).await,
                "labels, annotations, owners and finalizers",
            )?;
        }
        let after = maps.get("demo").await?;
        ensure!((&after.metadata.labels, &after.spec) == (&before.metadata.labels, &before.spec));
        // Nodes propose a new map with the same shards.
        let patch = json!({"spec": {"map": {"generation": generation}}});
        self.patch("demo", &patch).await?;
        Ok(())
    }

    async fn takes_no_table(&self, admin: &Client) -> Result<()> {
        let maps: Api<OpaqueShardMap> = Api::namespaced(admin.clone(), LAB);
        let generation = maps.get("demo").await?.spec.map.generation;
        let tables = |owner: Value, generation: i64| {
            let owned = match owner {
                Value::Null => json!({"table": "owned", "epoch": 2}),
                owner => json!({"table": "owned", "epoch": 2, "owner": owner}),
            };
            let tables = json!([{"table": "loaded", "epoch": 1}, owned]);
            json!({"spec": {"map": {"generation": generation, "tables": tables}}})
        };
        let params = PatchParams::default();
        let owned = tables(json!("owned"), generation + 1);
        maps.patch("demo", &params, &Patch::Merge(&owned)).await?;
        for owner in [Value::Null, json!("another")] {
            let patch = tables(owner, generation + 2);
            refused(self.patch("demo", &patch).await, "may not take a table")?;
        }
        self.patch("demo", &tables(json!("owned"), generation + 2)).await?;
        Ok(())
    }

    async fn touches_no_other_map(&self) -> Result<()> {
        let words = "of its own cluster";
        let patch = json!({"spec": {"map": {"generation": 9}}});
        refused(self.patch("other", &patch).await, words)?;
        let status = json!({"status": {"leader": "demo-shard-0-0"}});
        refused(self.patch_status("other", &status).await, words)?;
        for map in ["other", "demo"] {
            let deleted = self.maps().delete(map, &DeleteParams::default()).await;
            refused(deleted.map(drop), words)?;
        }
        let mut third = self.maps().get("other").await?;
        third.metadata = kube::api::ObjectMeta { name: Some("third".into()), ..Default::default() };
        third.spec.cluster_ref.name = "third".into();
        let made = self.maps().create(&PostParams::default(), &third).await;
        refused(made.map(drop), words)
    }

    async fn writes_no_other_lease(&self, admin: &Client) -> Result<()> {
        let words = "may write its own Lease";
        for name in ["other-leader", "other-shard-0-0", "demo-shard-1-0", "weather-prepare", "x"] {
            refused(self.lease(name, mine(), &[]).await, words)?;
        }
        let all: Api<Lease> = Api::namespaced(admin.clone(), LAB);
        let peers = serde_json::from_value(json!({"metadata": {"name": "demo-shard-1-0"}}))?;
        all.create(&PostParams::default(), &peers).await?;
        let record = json!({"metadata": {"annotations": {"opaque.dev/member": "{}"}}});
        refused(self.patch_lease("demo-shard-1-0", &record).await, words)?;
        for name in ["demo-shard-1-0", "demo-leader"] {
            let deleted = self.leases().delete(name, &DeleteParams::default()).await;
            refused(deleted.map(drop), words)?;
        }
        let own = "demo-shard-0-0";
        for labels in [
            json!({"opaque.dev/cluster": "other"}),
            json!({"opaque.dev/cluster": null}),
            json!({"opaque.dev/table": "weather"}),
        ] {
            let patch = json!({"metadata": {"labels": labels}});
            let words = "label its Lease with its own cluster";
            refused(self.patch_lease(own, &patch).await, words)?;
        }
        let stays = json!({"metadata": {"finalizers": ["example.com/stays"]}});
        refused(self.patch_lease(own, &stays).await, "finalizer")?;
        self.leases().delete(own, &DeleteParams::default()).await?;
        self.lease(own, mine(), &[]).await?;
        Ok(())
    }
}

fn mine() -> Value {
    json!({"opaque.dev/cluster": "demo"})
}

/// A prepare Job may write only its report, in an annotation.
async fn a_job_becomes_no_member(control_plane: &ControlPlane) -> Result<()> {
    let client = control_plane.client()?;
    allow_all(&client, "weather-prepare").await?;
    let leases: Api<Lease> = Api::namespaced(client, LAB);
    let lease = serde_json::from_value(json!({
        "metadata": {"name": "weather-prepare", "labels": {"opaque.dev/table": "weather"}},
    }))?;
    leases.create(&PostParams::default(), &lease).await?;
    let job: Api<Lease> = Api::namespaced(control_plane.client_as(LAB, "weather-prepare")?, LAB);
    let params = PatchParams::default();
    let patch = async |metadata: Value| {
        let patch = json!({"metadata": metadata});
        job.patch("weather-prepare", &params, &Patch::Merge(&patch)).await.map(drop)
    };
    let report = json!({"annotations": {"opaque.dev/prepare": "{}"}});
    until("the Job's rights are known", async || Ok(patch(report.clone()).await.ok())).await?;
    for metadata in [
        json!({"labels": {"opaque.dev/cluster": "demo", "opaque.dev/lease": "member"}}),
        json!({"labels": {"opaque.dev/table": null}}),
        json!({"finalizers": ["example.com/stays"]}),
    ] {
        refused(patch(metadata).await, "a prepare Job may not change labels")?;
    }
    Ok(())
}

/// The account of a driver that has nothing to do with Opaque.
async fn accounts_that_are_named_alike_are_left_alone(control_plane: &ControlPlane) -> Result<()> {
    let client = control_plane.client()?;
    let rules =
        json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}]);
    apply(&client, &role(LAB, "csi-node", rules)).await?;
    apply(&client, &binding(LAB, ("Role", "csi-node"), "csi-node")).await?;
    let driver = Node { client: control_plane.client_as(LAB, "csi-node")? };
    until("the driver's rights are known", async || {
        match driver.lease("driver", json!({}), &["example.com/a"]).await {
            Ok(()) => Ok(Some(())),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                assert!(!status.message.contains("Policy"), "{}", status.message);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// The message of the policy that refused.
fn by_policy(result: &kube::Result<()>) -> Option<&str> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 => Some(status.message.as_str())
            .filter(|words| words.contains("ValidatingAdmissionPolicy")),
        _ => None,
    }
}

fn refused(result: kube::Result<()>, words: &str) -> Result<()> {
    let said = by_policy(&result);
    ensure!(said.is_some_and(|said| said.contains(words)), "not refused as {words:?}: {result:?}");
    Ok(())
}
