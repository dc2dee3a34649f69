//! Only the operator replaces pods, one at a time.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::LimitRange;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use opaque_crds::{OpaqueCluster, names};
use opaque_e2e::poll::until;
use serde_json::{Value, json};

use super::harness::{COMPLETE, LIMIT, QUIET, Test, WELL, operation, truth};

/// UIDs of pods.
type Pods = BTreeMap<String, String>;

const ALL: [&str; 4] = ["demo-shard-0-0", "demo-shard-0-1", "demo-shard-1-0", "demo-shard-1-1"];

/// The names of the pods that were created since `before`.
fn new(now: &Pods, before: &Pods) -> Vec<&'static str> {
    let is_new = |name: &&str| now.get(*name).is_some_and(|uid| before.get(*name) != Some(uid));
    ALL.into_iter().filter(is_new).collect()
}

impl Test {
    /// Waits until a pod has been created again, and checks that no other has. Returns the pods.
    pub(super) async fn goes_alone(&self, before: Pods, pod: &str) -> Result<Pods> {
        let old = before.get(pod).context("there is no such pod")?;
        self.until(&format!("{pod} is created again"), async || {
            Ok(self.pods().await?.get(pod).is_some_and(|uid| uid != old))
        })
        .await?;
        self.settle().await?;
        let now = self.pods().await?;
        let others = |pods: &Pods| -> Pods {
            pods.clone().into_iter().filter(|(name, _)| name != pod).collect()
        };
        ensure!(others(&now) == others(&before), "others than {pod}: {before:?} {now:?}");
        Ok(now)
    }

    /// Makes new pods ready until all pods except `except` differ from `before`.
    pub(super) async fn all_are_replaced(&self, before: &Pods, except: &[&str]) -> Result<()> {
        let mut made: Pods = BTreeMap::new();
        loop {
            let now = self.pods().await?;
            let new = new(&now, before);
            for name in &new {
                if made.get(*name) != now.get(*name) {
                    self.set_ready(name, true).await?;
                    made.extend(now.get(*name).map(|uid| ((*name).to_owned(), uid.clone())));
                }
            }
            if ALL.iter().all(|name| new.contains(name) || except.contains(name)) {
                return Ok(());
            }
            let seen = new.len();
            self.until("the next pod is created again", async || {
                Ok(self::new(&self.pods().await?, before).len() > seen)
            })
            .await?;
        }
    }

    async fn pause(&self) -> Result<()> {
        self.merge::<OpaqueCluster>("demo", &json!({"spec": {"paused": true}})).await?;
        self.paused("True").await.map(drop)
    }

    async fn edit(&self, shard: i32, patch: &Value) -> Result<()> {
        let (name, params) = (names::shard("demo", shard), PatchParams::default());
        self.api::<StatefulSet>().patch(&name, &params, &Patch::Strategic(patch)).await?;
        Ok(())
    }

    async fn rewrite_sets(&self) -> Result<()> {
        let image = "object.spec.template.spec.containers[0].image";
        let patches = format!(
            r#"[
                JSONPatch{{op: "replace", path: "/spec/template/spec/containers/0/image",
                           value: "mirror.example/" + {image}.replace("mirror.example/", "")}},
                JSONPatch{{op: "replace", path: "/spec/template/spec/terminationGracePeriodSeconds", value: 77}}
            ]"#
        );
        let policy = json!({
            "metadata": {"name": "mirror"},
            "spec": {
                "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {
                        "kubernetes.io/metadata.name": self.namespace,
                    }},
                    "resourceRules": [{
                        "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["statefulsets"],
                        "operations": ["CREATE", "UPDATE"],
                    }],
                },
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patches}}],
            },
        });
        let binding = json!({"metadata": {"name": "mirror"}, "spec": {"policyName": "mirror"}});
        for (kind, object) in
            [("MutatingAdmissionPolicy", policy), ("MutatingAdmissionPolicyBinding", binding)]
        {
            let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
            let resource = ApiResource::from_gvk(&kind);
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            let mut made: DynamicObject = serde_json::from_value(object)?;
            made.types = Some(kube::api::TypeMeta {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
            });
            api.create(&PostParams::default(), &made).await?;
        }
        let trial = json!({"metadata": {"labels": {"trial": "x"}}});
        self.until("the policy is in force", async || {
            let params = PatchParams { dry_run: true, ..PatchParams::default() };
            let api = self.api::<StatefulSet>();
            let set = api.patch("demo-shard-0", &params, &Patch::Merge(&trial)).await?;
            let pod = set.spec.and_then(|spec| spec.template.spec).context("no pods")?;
            Ok(pod.termination_grace_period_seconds == Some(77))
        })
        .await
    }
}

#[tokio::test]
async fn a_changed_image_goes_pod_by_pod_and_the_leader_is_last() -> Result<()> {
    let test = Test::serving("image").await?;
    let mut pods = test.pods().await?;
    test.merge::<OpaqueCluster>("demo", &json!({"spec": {"image": "node:2"}})).await?;
    for pod in ["demo-shard-0-1", "demo-shard-1-1", "demo-shard-1-0", "demo-shard-0-0"] {
        pods = test.goes_alone(pods, pod).await?;
        test.set_ready(pod, true).await?;
    }
    test.conditions(&[COMPLETE]).await.map(drop)
}

/// A person edits the templates while the cluster is paused. The operator restores them, and
/// replaces no pod.
#[tokio::test]
async fn an_edited_template_is_put_back_and_replaces_no_pod() -> Result<()> {
    let test = Test::serving("edited").await?;
    test.pause().await?;
    let pods = test.pods().await?;
    let image = json!({"spec": {"template": {"spec": {
        "containers": [{"name": "node", "image": "hotfix:1"}],
    }}}});
    for shard in 0..2 {
        test.edit(shard, &image).await?;
    }
    test.merge::<OpaqueCluster>("demo", &json!({"spec": {"paused": false}})).await?;
    for shard in 0..2 {
        test.image_of(shard, "node:1").await?;
    }
    test.settle().await?;
    ensure!(test.pods().await? == pods, "pods were replaced");
    Ok(())
}

/// A rollout reaches a set that has more replicas than it should.
#[tokio::test]
async fn a_set_scaled_by_hand_does_not_stall_a_rollout() -> Result<()> {
    let test = Test::serving("scaled").await?;
    let scaled = json!({"spec": {"replicas": 3}});
    test.pause().await?;
    let pods = test.pods().await?;
    test.merge::<StatefulSet>("demo-shard-0", &scaled).await?;
    test.until("the third pod exists", async || {
        Ok(test.pods().await?.contains_key("demo-shard-0-2"))
    })
    .await?;
    let resumed = json!({"spec": {"paused": false, "image": "node:4"}});
    test.merge::<OpaqueCluster>("demo", &resumed).await?;
    test.all_are_replaced(&pods, &[]).await?;
    let set = test.get::<StatefulSet>("demo-shard-0").await?;
    ensure!(set.spec.and_then(|spec| spec.replicas) == Some(2));
    test.conditions(&[COMPLETE]).await.map(drop)
}

/// The change that `kubectl rollout restart statefulset` makes.
#[tokio::test]
async fn rollout_restart_replaces_every_pod() -> Result<()> {
    let test = Test::serving("restart").await?;
    let pods = test.pods().await?;
    let restart = json!({"spec": {"template": {"metadata": {"annotations": {
        "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z",
    }}}}});
    for shard in 0..2 {
        test.edit(shard, &restart).await?;
    }
    test.all_are_replaced(&pods, &[]).await
}

/// A policy permanently rewrites a registry and a grace period in a set that the operator applies.
#[tokio::test]
async fn a_bad_image_behind_an_admission_policy_reaches_one_pod() -> Result<()> {
    let test = Test::serving("bad-image").await?;
    test.rewrite_sets().await?;
    test.settle().await?;
    let pods = test.pods().await?;
    test.merge::<OpaqueCluster>("demo", &json!({"spec": {"image": "bad:1"}})).await?;
    let pods = test.goes_alone(pods, "demo-shard-0-1").await?;
    test.image_of(1, "mirror.example/bad:1").await?;
    // That pod never becomes ready, and the operator does not apply the rewritten sets again.
    test.settle().await?;
    let (writes, versions) = (test.metrics.requests().1, test.versions().await?);
    tokio::time::sleep(QUIET).await;
    ensure!(test.metrics.requests().1 == writes, "what was rewritten was applied again");
    ensure!(test.versions().await? == versions && test.pods().await? == pods);
    // The fix reaches that pod first, and then the others.
    test.merge::<OpaqueCluster>("demo", &json!({"spec": {"image": "node:4"}})).await?;
    let pods = test.goes_alone(pods, "demo-shard-0-1").await?;
    test.set_ready("demo-shard-0-1", true).await?;
    test.all_are_replaced(&pods, &["demo-shard-0-1"]).await?;
    test.conditions(&[COMPLETE]).await.map(drop)
}

/// A LimitRange refuses to create the first pod again. The others stay, and the server's message is
/// quoted.
#[tokio::test]
async fn a_pod_that_is_refused_holds_the_rest_and_is_explained() -> Result<()> {
    let test = Test::serving("refused").await?;
    test.create::<LimitRange>(json!({
        "metadata": {"name": "small"},
        "spec": {"limits": [{"type": "Container", "min": {"cpu": "4"}}]},
    }))
    .await?;
    let before = test.pods().await?;
    test.merge::<OpaqueCluster>("demo", &json!({"spec": {"image": "node:8"}})).await?;
    let words = "pod demo-shard-0-1 cannot be created: pods \"demo-shard-0-1\" is forbidden: \
                 minimum cpu usage per Container is 4, but request is 250m";
    let (_, waited) = until("the server is quoted", LIMIT, || async {
        let status = test.get::<OpaqueCluster>("demo").await?.status.context("no status")?;
        let told = truth(&status, "Degraded") == Some(("True", "PodsNotStarting"))
            && operation(&status, "Rollout").is_some_and(|by| by.contains(words));
        ensure!(told, "{}", serde_json::to_string(&status)?);
        Ok(Some(()))
    })
    .await?;
    println!("a refused pod was explained after {waited:?}");
    test.settle().await?;
    let mut others = before.clone();
    others.remove("demo-shard-0-1");
    ensure!(test.pods().await? == others, "others were replaced");
    test.delete::<LimitRange>("small").await?;
    test.all_are_replaced(&before, &[]).await?;
    test.conditions(&[COMPLETE, WELL]).await.map(drop)
}
