//! The effects of tokens: a node's token cannot change its cluster's size, owners or finalizers,
//! nor another cluster's map. A client's removed token is soon refused, whatever else is in the
//! Secret.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use opaque_crds::OpaqueShardMap;
use opaque_e2e::harness::{
    self, Containers, Faults, Namespace, QueryLoop, Question, measured, product,
};
use opaque_e2e::poll;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ANSWER, SQL};

const LIMIT: Duration = Duration::from_secs(240);
/// How long a removed token may still be accepted: 2 minutes, of which the kubelet needs most, and
/// longer on a busy machine.
const REFUSED: Duration = Duration::from_secs(300);
const ALICE: &str = "alice-0123456789abcdef";
const BOB: &str = "bob-0123456789abcdef";
/// Replaces mode none.
const MODE: (&str, &str) = ("mode: none", "mode: token\n    tokenSecretRef: {name: clients}");

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_token_allows_what_it_should_for_as_long_as_it_should() -> Result<()> {
    harness::run("tokens", async |namespace| {
        // Only in our own cluster, since queries must continue through every pod.
        Faults::new()?;
        let tokens = json!({"alice": ALICE, "bob": BOB});
        product::secret(namespace, "clients", tokens).await?;
        product::install(namespace, &["replicas=1"]).await?;
        product::apply_cluster_with(namespace, 1, 2, &[MODE]).await?;
        product::serves_weather(namespace).await?;
        let containers = Containers::of(namespace, product::NODES).await?;
        let (alice, _alice) = asks_as(namespace, ALICE).await?;
        let (bob, _bob) = asks_as(namespace, BOB).await?;
        product::ask(&alice).await?;
        let queries = QueryLoop::start(bob).await?;

        // Next to a file that holds no token.
        let patch = json!({"data": {"alice": null}, "stringData": {"broken": "short"}});
        let patch = patch.to_string();
        namespace.kubectl(&["patch", "secret/clients", "--type=merge", "--patch", &patch]).await?;
        let refused = || async {
            let Err(error) = alice.ask().await else { return Ok(None) };
            let words = format!("{error:#}");
            ensure!(words.contains("token"), "{words}");
            Ok(Some(()))
        };
        let (_, time) = poll::until("the removed token is refused", REFUSED, refused).await?;
        measured("token removed to refused", time);
        // Refused by every node, not only by the one that answered.
        let all = || async {
            for _ in 0..8 {
                if alice.ask().await.is_ok() {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        };
        poll::until("every node refuses it", REFUSED, all).await?;
        a_node_may_not(namespace).await?;
        queries.finish(5, LIMIT).await?;
        containers.check(namespace).await
    })
    .await
}

/// A query with a client's token.
async fn asks_as(namespace: &Namespace, token: &str) -> Result<(Question, TempDir)> {
    let (mut question, folder) = product::question(namespace, SQL, &[ANSWER]).await?;
    let file = folder.path().join("token");
    std::fs::write(&file, token)?;
    let file = file.to_str().context("the folder's path is not text")?;
    question.options = vec!["--token-file".to_owned(), file.to_owned()];
    Ok((question, folder))
}

/// Changes that a node's token does not allow, and those that a node must be able to make. Nothing
/// is changed, since all requests are dry runs.
async fn a_node_may_not(namespace: &Namespace) -> Result<()> {
    let admin = namespace.api::<OpaqueShardMap>();
    let map = admin.get("demo").await?;
    let mut other = OpaqueShardMap::new("other", map.spec.clone());
    other.spec.cluster_ref = opaque_crds::reference::LocalReference::new("other");
    admin.create(&PostParams::default(), &other).await?;

    let token = namespace.kubectl(&["create", "token", "demo-node"]).await?;
    let node: Api<OpaqueShardMap> = Api::namespaced(client(token.trim()).await?, namespace.name());
    let spec = serde_json::to_value(&map.spec)?;
    // The next generation of the map, with another change.
    let next = |change: Value| {
        let mut next = spec.clone();
        if let Some(fields) = next.pointer_mut("/map").and_then(Value::as_object_mut) {
            fields.insert("generation".into(), (map.spec.map.generation + 1).into());
            fields.extend(change.as_object().cloned().unwrap_or_default());
        }
        json!({ "spec": next })
    };
    let tables = |owner: &str, epoch: i64| json!({"tables": [{"table": "weather", "owner": owner, "epoch": epoch}]});
    let shards = json!({"shards": [{"id": 0, "weight": 1}, {"id": 1, "weight": 1}]});
    for (what, object, change) in [
        ("more shards", "demo", next(shards)),
        ("another owner of a table", "demo", next(tables("nobody", 1))),
        ("a finalizer", "demo", json!({"metadata": {"finalizers": ["example.com/keep"]}})),
        ("no owner of the map", "demo", json!({"metadata": {"ownerReferences": []}})),
        ("another cluster's map", "other", next(json!({}))),
    ] {
        match try_merge(&node, object, &change).await {
            Ok(()) => bail!("a node may write {what}"),
            Err(kube::Error::Api(status)) if status.code == 403 || status.code == 422 => {
                println!("a node may not write {what}: {}", status.message);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let same = next(json!({}));
    try_merge(&node, "demo", &same).await.context("a node may not propose a map")?;
    admin.delete("other", &kube::api::DeleteParams::default()).await?;
    Ok(())
}

async fn try_merge(
    maps: &Api<OpaqueShardMap>,
    name: &str,
    change: &Value,
) -> Result<(), kube::Error> {
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    maps.patch(name, &dry, &Patch::Merge(change)).await.map(drop)
}

/// A client that only has a token.
async fn client(token: &str) -> Result<Client> {
    let mut kubeconfig = Kubeconfig::read()?;
    for user in &mut kubeconfig.auth_infos {
        user.auth_info = Some(serde_json::from_value(json!({ "token": token }))?);
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
