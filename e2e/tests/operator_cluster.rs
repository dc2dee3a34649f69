//! The controller of OpaqueClusters against a real API server, with the real controllers of StatefulSets and
//! PodDisruptionBudgets. There is no kubelet: the test places pods, writes their status, and ends them.

#[path = "operator_cluster/drift.rs"]
mod drift;
#[path = "operator_cluster/kubelet.rs"]
mod kubelet;
#[path = "operator_cluster/missing.rs"]
mod missing;
#[path = "operator_cluster/repair.rs"]
mod repair;
#[path = "operator_cluster/rollout.rs"]
mod rollout;
#[path = "operator_cluster/size.rs"]
mod size;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
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
use serde_json::{Value, json};

const NAMESPACE: &str = "default";
const LIMIT: Duration = Duration::from_secs(120);
/// For how long nothing must happen.
const QUIET: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_cluster_is_made_kept_and_explained() -> Result<()> {
    let (test, operator) = Test::start().await?;
    test.a_missing_secret_is_named().await?;
    test.every_object_appears().await?;
    test.pods_explain_themselves().await?;
    test.a_quiet_cluster_is_not_written_to().await?;
    test.what_somebody_deletes_or_changes_is_restored().await?;
    test.what_drifts_in_a_field_of_one_value_is_put_back().await?;
    test.another_size_is_refused_at_admission().await?;
    test.a_map_resizes_no_cluster().await?;
    test.a_nodes_words_read_no_secret().await?;
    test.paused_changes_nothing().await?;
    test.a_misspelt_field_is_named().await?;
    test.monitoring_comes_and_goes().await?;
    test.damaged_records_and_foreign_objects_break_nothing().await?;
    test.an_invalid_object_is_left_alone().await?;
    test.an_object_that_cannot_be_read_says_so().await?;
    test.a_lost_map_is_made_from_what_is_left().await?;
    operator.stop().await;

    // Another operator over what is there: nothing to do.
    let before = test.versions().await?;
    let again = test.operator()?;
    test.settle().await?;
    ensure!(test.versions().await? == before, "a restarted operator has written");
    again.stop().await;
    let again = test.an_authority_of_an_earlier_version_is_moved().await?;
    test.everything_is_owned().await?;
    test.what_a_cluster_left_is_adopted_by_the_next().await?;
    test.everything_is_owned().await?;
    test.a_cluster_made_again_waits_for_the_one_before().await?;
    again.stop().await;
    Ok(())
}

#[tokio::test]
async fn pods_are_replaced_one_at_a_time() -> Result<()> {
    let (test, operator) = Test::start().await?;
    test.a_missing_secret_is_named().await?;
    test.every_object_appears().await?;
    test.pods_explain_themselves().await?;
    test.a_changed_image_goes_pod_by_pod_and_the_leader_is_last().await?;
    test.no_rollout_passes_a_pod_that_lacks_a_table().await?;
    test.an_edited_template_is_put_back_and_replaces_no_pod().await?;
    test.a_set_scaled_by_hand_does_not_stall_a_rollout().await?;
    test.rollout_restart_replaces_every_pod().await?;
    test.a_pod_that_is_refused_holds_the_rest_and_is_explained().await?;
    test.a_bad_image_behind_an_admission_policy_reaches_one_pod().await?;
    operator.stop().await;
    Ok(())
}

struct Test {
    client: Client,
    metrics: Metrics,
    _kubelet: kubelet::Kubelet,
    control_plane: ControlPlane,
}

impl Test {
    async fn start() -> Result<(Self, Operator)> {
        let mut control_plane = ControlPlane::start().await?;
        control_plane.start_controllers("statefulset,disruption")?;
        control_plane.establish(&opaque_crds::definitions()).await?;
        let client = control_plane.client()?;
        let metrics = Metrics::new(&mut Registry::default());
        let _kubelet = kubelet::Kubelet::start(client.clone());
        let test = Self { client, metrics, _kubelet, control_plane };
        let operator = test.operator()?;
        Ok((test, operator))
    }

    fn operator(&self) -> Result<Operator> {
        let settings = Settings {
            scope: Scope::Namespace(NAMESPACE.into()),
            node_image: "node:1".into(),
            cluster_domain: "cluster.local".into(),
            allow_local_sources: false,
            identity: "test".into(),
            release: "test/operator".parse()?,
            times: Times::default(),
        };
        Operator::start(self.control_plane.config().clone(), settings, self.metrics.clone())
    }

    async fn a_missing_secret_is_named(&self) -> Result<()> {
        let cluster: OpaqueCluster = serde_json::from_value(json!({
            "apiVersion": "opaque.dev/v1alpha1", "kind": "OpaqueCluster",
            "metadata": {"name": "demo"},
            "spec": {
                "shards": 2, "replicasPerShard": 2, "clientAuth": {"mode": "none"},
                "storage": {"url": "s3://opaque/demo", "secretRef": {"name": "store"}},
                "podTemplate": {"spec": {"nodeSelector": {"kubernetes.io/os": "linux"}}},
            },
        }))?;
        self.api::<OpaqueCluster>().create(&PostParams::default(), &cluster).await?;
        let status = self
            .status("the Secret is named", |status| {
                truth(status, "Degraded") == Some(("True", "SecretNotUsable"))
            })
            .await?;
        let blocked = operation(&status, "Secrets").context("no operation Secrets")?;
        ensure!(blocked.contains("Secret store does not exist"), "{blocked}");
        ensure!(self.list::<StatefulSet>().await?.is_empty(), "pods would start without a Secret");

        let secret = |data: Value| -> Result<Secret> {
            Ok(serde_json::from_value(json!({"metadata": {"name": "store"}, "stringData": data}))?)
        };
        let one = secret(json!({"AWS_ACCESS_KEY_ID": "a"}))?;
        self.api::<Secret>().create(&PostParams::default(), &one).await?;
        self.status("the missing key is named", |status| {
            operation(status, "Secrets").is_some_and(|by| by.contains("AWS_SECRET_ACCESS_KEY"))
        })
        .await?;
        let both = json!({"stringData": {"AWS_SECRET_ACCESS_KEY": "b"}});
        self.merge::<Secret>("store", &both).await
    }

    async fn every_object_appears(&self) -> Result<()> {
        until("every set exists", LIMIT, || async {
            Ok((self.list::<StatefulSet>().await?.len() == 2).then_some(()))
        })
        .await?;
        self.get::<ServiceAccount>("demo-node").await?;
        self.get::<Role>("demo-node").await?;
        self.get::<RoleBinding>("demo-node").await?;
        self.get::<Service>("demo-query").await?;
        self.get::<Service>("demo-peers").await?;
        self.get::<NetworkPolicy>("demo").await?;
        self.get::<ConfigMap>(&names::trust("demo")).await?;
        let map = self.get::<OpaqueShardMap>("demo").await?;
        ensure!(map.spec.map.generation == 1 && map.spec.map.shards.len() == 2);
        for shard in 0..2 {
            self.get::<PodDisruptionBudget>(&names::shard("demo", shard)).await?;
            self.get::<Secret>(&names::shard_certificate("demo", shard)).await?;
        }
        let status = self
            .status("certificates are ready", |status| {
                truth(status, "CertificatesReady").is_some_and(|(status, _)| status == "True")
            })
            .await?;
        ensure!(status.selector.is_some() && status.certificates_not_after.is_some());
        // No list is the first to end.
        let ends = (&status.certificates_not_after, &status.revocation_lists_not_after);
        ensure!(ends.0 <= ends.1 && ends.1.is_some(), "{ends:?}");
        ensure!(truth(&status, "Available") == Some(("False", "ShardsNotReady")));
        Ok(())
    }

    async fn pods_explain_themselves(&self) -> Result<()> {
        // Placing a pod overwrites the condition that says why it is not placed.
        let is_placed = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        until("every pod is made and placed", LIMIT, || async {
            let pods = self.list::<Pod>().await?;
            Ok((pods.len() == 4 && pods.iter().all(is_placed)).then_some(()))
        })
        .await?;
        let pod = names::pod("demo", 1, 0);
        let unscheduled = json!({"status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu.",
        }]}});
        self.patch_status::<Pod>(&pod, &unscheduled).await?;
        let status = self
            .status("the scheduler is quoted", |status| {
                operation(status, "Rollout").is_some_and(|by| by.contains("Insufficient cpu"))
            })
            .await?;
        ensure!(truth(&status, "Degraded") == Some(("True", "PodsNotStarting")), "{status:?}");

        for shard in 0..2 {
            for replica in 0..2 {
                self.set_ready(&names::pod("demo", shard, replica), true).await?;
            }
        }
        let map = self.get::<OpaqueShardMap>("demo").await?;
        let active = json!({"status": {"active": map.spec.map, "leader": "demo-shard-0-0"}});
        self.patch_status::<OpaqueShardMap>("demo", &active).await?;
        self.lease("demo-leader", json!({}), "demo-shard-0-0").await?;
        let status = self
            .status("it serves", |status| {
                truth(status, "Available") == Some(("True", "Serving"))
                    && truth(status, "Progressing") == Some(("False", "Complete"))
                    && status.leader.is_some()
            })
            .await?;
        ensure!(status.leader.as_deref() == Some("demo-shard-0-0"), "{status:?}");
        ensure!((status.ready_shards, status.ready_replicas) == (2, 4), "{status:?}");
        ensure!(status.active_generation == Some(1) && status.operations.is_empty(), "{status:?}");
        ensure!(truth(&status, "Degraded") == Some(("False", "AsExpected")));
        Ok(())
    }

    async fn a_quiet_cluster_is_not_written_to(&self) -> Result<()> {
        self.settle().await?;
        let (before, versions) = (self.metrics.requests().1, self.versions().await?);
        // Reasons to look again that change nothing: a renewal, a foreign object.
        self.lease("demo-leader", json!({"seen": "x"}), "demo-shard-0-0").await?;
        tokio::time::sleep(QUIET).await;
        ensure!(self.metrics.requests().1 == before, "a quiet cluster was written to");
        ensure!(self.versions().await? == versions);
        Ok(())
    }

    async fn what_somebody_deletes_or_changes_is_restored(&self) -> Result<()> {
        self.api::<Service>().delete("demo-query", &DeleteParams::default()).await?;
        self.merge::<NetworkPolicy>("demo", &json!({"spec": {"ingress": []}})).await?;
        until("both are restored", LIMIT, || async {
            let service = self.api::<Service>().get_opt("demo-query").await?;
            let policy = self.get::<NetworkPolicy>("demo").await?;
            let ingress = policy.spec.and_then(|spec| spec.ingress).unwrap_or_default();
            Ok((service.is_some() && ingress.len() == 3).then_some(()))
        })
        .await?;
        Ok(())
    }

    async fn paused_changes_nothing(&self) -> Result<()> {
        let paused = json!({"spec": {"paused": true, "image": "node:3"}});
        self.merge::<OpaqueCluster>("demo", &paused).await?;
        self.status("it is paused", |status| {
            truth(status, "Paused").is_some_and(|(status, _)| status == "True")
        })
        .await?;
        self.set_ready("demo-shard-1-1", false).await?;
        self.status("what happens is still told", |status| status.ready_replicas == 3).await?;
        ensure!(self.image(0).await? == "node:1");
        self.set_ready("demo-shard-1-1", true).await?;
        let resumed = json!({"spec": {"paused": false, "image": null}});
        self.merge::<OpaqueCluster>("demo", &resumed).await?;
        self.status("it goes on", |status| {
            truth(status, "Paused").is_some_and(|(status, _)| status == "False")
                && status.ready_replicas == 4
        })
        .await?;
        Ok(())
    }

    async fn damaged_records_and_foreign_objects_break_nothing(&self) -> Result<()> {
        let member = json!({"opaque.dev/member": "{not JSON"});
        self.lease("demo-shard-0-0", member, "demo-shard-0-0").await?;
        // Foreign Secrets are not watched: the operator's own are.
        for number in 0..20 {
            let secret: Secret = serde_json::from_value(json!({
                "metadata": {"name": format!("foreign-{number}")}, "stringData": {"a": "b"},
            }))?;
            self.api::<Secret>().create(&PostParams::default(), &secret).await?;
        }
        self.api::<Service>().delete("demo-query", &DeleteParams::default()).await?;
        until("it still reconciles", LIMIT, || async {
            Ok(self.api::<Service>().get_opt("demo-query").await?)
        })
        .await?;
        Ok(())
    }

    /// `serviceAccount` is the old name of a protected field, which no CEL rule knows.
    async fn an_invalid_object_is_left_alone(&self) -> Result<()> {
        let overlay = json!({"spec": {"podTemplate": {"spec": {"serviceAccount": "admin"}}}});
        self.merge::<OpaqueCluster>("demo", &overlay).await?;
        let status = self
            .status("it is invalid", |status| {
                truth(status, "Degraded") == Some(("True", "InvalidSpec"))
            })
            .await?;
        ensure!(truth(&status, "Available") == Some(("True", "Serving")), "{status:?}");
        self.settle().await?;
        let (before, reconciles) = (self.metrics.requests(), self.metrics.reconciles());
        tokio::time::sleep(QUIET).await;
        // Watches that end by themselves begin anew: those are reads, and few.
        let after = self.metrics.requests();
        ensure!(after.1 == before.1, "an invalid object was written to");
        ensure!(after.0 - before.0 <= 2, "{} reads of an invalid object", after.0 - before.0);
        ensure!(self.metrics.reconciles() == reconciles, "an invalid object was tried again");
        self.an_invalid_object_keeps_its_certificates().await?;
        let none = json!({"spec": {"podTemplate": {"spec": {"serviceAccount": null}}}});
        self.merge::<OpaqueCluster>("demo", &none).await?;
        self.status("it is valid again", |status| {
            truth(status, "Degraded") == Some(("False", "AsExpected"))
        })
        .await?;
        Ok(())
    }

    /// What a garbage collector needs to remove everything with the cluster.
    async fn everything_is_owned(&self) -> Result<()> {
        let cluster = self.get::<OpaqueCluster>("demo").await?;
        let uid = cluster.uid().context("no uid")?;
        for (key, object) in self.objects().await? {
            let owners = object.metadata.owner_references.unwrap_or_default();
            ensure!(owners.iter().any(|owner| owner.uid == uid), "{key} has no owner");
        }
        ensure!(cluster.finalizers().is_empty());
        Ok(())
    }

    // ---------------------------------------------------------------- what a kubelet would do

    async fn set_ready(&self, pod: &str, ready: bool) -> Result<()> {
        let ready = if ready { "True" } else { "False" };
        let now = k8s_openapi::jiff::Timestamp::now();
        let status = json!({"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": ready, "lastTransitionTime": now.to_string()},
            {"type": "PodScheduled", "status": "True"},
        ]}});
        self.patch_status::<Pod>(pod, &status).await
    }

    async fn lease(&self, name: &str, annotations: Value, holder: &str) -> Result<()> {
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

    async fn image(&self, shard: i32) -> Result<String> {
        let set = self.get::<StatefulSet>(&names::shard("demo", shard)).await?;
        let pod = set.spec.and_then(|spec| spec.template.spec).context("no pods")?;
        let node = pod.containers.into_iter().next().context("no container")?;
        node.image.context("no image")
    }

    async fn image_of(&self, shard: i32, image: &str) -> Result<()> {
        until("the image is changed", LIMIT, || async {
            Ok((self.image(shard).await? == image).then_some(()))
        })
        .await?;
        Ok(())
    }

    /// UIDs of the cluster's pods that are not ending.
    async fn pods(&self) -> Result<BTreeMap<String, String>> {
        let nodes = ListParams::default().labels("opaque.dev/cluster=demo");
        let pods = self.api::<Pod>().list(&nodes).await?.items.into_iter();
        let pods = pods.filter(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(pods.map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect())
    }

    /// Waits until the operator has not reconciled for a while.
    async fn settle(&self) -> Result<()> {
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
        .await?;
        Ok(())
    }

    async fn status(
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

    /// Versions of everything that the operator writes.
    async fn versions(&self) -> Result<BTreeMap<String, Option<String>>> {
        let objects = self.objects().await?.into_iter();
        Ok(objects.map(|(key, object)| (key, object.resource_version())).collect())
    }

    async fn objects(&self) -> Result<BTreeMap<String, DynamicObject>> {
        let mut objects = BTreeMap::new();
        for resource in made() {
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), NAMESPACE, &resource);
            let ours = ListParams::default().labels("app.kubernetes.io/managed-by=opaque-operator");
            for object in api.list(&ours).await? {
                objects.insert(format!("{} {}", resource.kind, object.name_any()), object);
            }
        }
        Ok(objects)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn get<K>(&self, name: &str) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        self.api().get(name).await.with_context(|| format!("{} {name}", K::kind(&())))
    }

    async fn list<K>(&self) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        Ok(self.api().list(&ListParams::default()).await?.items)
    }

    async fn merge<K>(&self, name: &str, patch: &Value) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    async fn patch_status<K>(&self, name: &str, patch: &Value) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        self.api::<K>().patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }
}

/// Status and reason of a condition.
fn truth<'a>(status: &'a OpaqueClusterStatus, type_: &str) -> Option<(&'a str, &'a str)> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((condition.status.as_str(), condition.reason.as_str()))
}

/// What an operation is blocked by.
fn operation<'a>(status: &'a OpaqueClusterStatus, name: &str) -> Option<&'a str> {
    status.operations.iter().find(|operation| operation.name == name)?.blocked_by.as_deref()
}

/// Kinds of what the operator makes.
fn made() -> [ApiResource; 10] {
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
