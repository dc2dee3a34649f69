//! Repairs: what continues, is restored, or is waited for if people or earlier objects interfere.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    PostParams,
};
use kube::{Api, ResourceExt};
use opaque_crds::{OpaqueCluster, OpaqueShardMap, OpaqueTable, names};
use opaque_e2e::poll::until;
use serde_json::{Value, json};

use super::harness::{COMPLETE, LIMIT, SERVES, Test, WELL, degraded, made, operation, truth};

fn definition(kind: &str, plural: &str) -> Result<CustomResourceDefinition> {
    let name = format!("{plural}.monitoring.coreos.com");
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "metadata": {"name": name},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    });
    Ok(serde_json::from_value(definition)?)
}

impl Test {
    fn of_prometheus(&self, kind: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", kind);
        self.dynamic(&ApiResource::from_gvk(&kind))
    }
}

/// The custom resource accepts any field of a pod. The API server reports an unknown field only when
/// the StatefulSet is applied, with status 500.
#[tokio::test]
async fn a_misspelt_field_is_named() -> Result<()> {
    let test = Test::serving("misspelt").await?;
    let misspelt = json!({"spec": {"podTemplate": {"spec": {"nodeSelectors": {"a": "b"}}}}});
    test.merge::<OpaqueCluster>("demo", &misspelt).await?;
    let status = test.conditions(&[("Degraded", "True", "WriteRefused")]).await?;
    ensure!(degraded(&status).contains("nodeSelectors"), "{status:?}");
    let none = json!({"spec": {"podTemplate": {"spec": {"nodeSelectors": null}}}});
    test.merge::<OpaqueCluster>("demo", &none).await?;
    test.conditions(&[WELL]).await.map(drop)
}

/// The kinds of the Prometheus operator are installed after this operator has started.
#[tokio::test]
async fn monitoring_comes_and_goes() -> Result<()> {
    let test = Test::serving("monitoring").await?;
    let on = json!({"spec": {"monitoring": {"enabled": true}}});
    let off = json!({"spec": {"monitoring": {"enabled": false}}});
    test.merge::<OpaqueCluster>("demo", &on).await?;
    test.settle().await?;
    let status = test.status("it is seen", |status| status.observed_generation > Some(1)).await?;
    ensure!(truth(&status, "Degraded") == Some(("False", "AsExpected")), "{status:?}");
    test.merge::<OpaqueCluster>("demo", &off).await?;
    let kinds = [
        definition("ServiceMonitor", "servicemonitors")?,
        definition("PrometheusRule", "prometheusrules")?,
    ];
    test.servers.control_plane.establish(&kinds).await?;
    test.merge::<OpaqueCluster>("demo", &on).await?;
    let exist = async |exist: bool| {
        for (kind, name) in [("ServiceMonitor", "demo-peers"), ("PrometheusRule", "demo")] {
            let api = test.of_prometheus(kind);
            let look = async || Ok(api.get_opt(name).await?.is_some() == exist);
            test.until(&format!("{kind} exists: {exist}"), look).await?;
        }
        anyhow::Ok(())
    };
    exist(true).await?;
    test.merge::<OpaqueCluster>("demo", &off).await?;
    exist(false).await
}

/// The kind accepts fields that this operator does not know, like that of a later version.
#[tokio::test]
async fn an_object_that_cannot_be_read_says_so() -> Result<()> {
    let test = Test::alone("unreadable").await?;
    let kinds: Api<CustomResourceDefinition> = Api::all(test.client.clone());
    let kind = "opaqueclusters.opaque.dev";
    let field =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/imagePullPolicy/enum";
    let mut later = serde_json::to_value(kinds.get(kind).await?)?;
    let values = later.pointer_mut(field).and_then(Value::as_array_mut);
    values.context("no values")?.push(json!("Sometimes"));
    let later = serde_json::from_value(later)?;
    kinds.replace(kind, &PostParams::default(), &later).await?;
    let api = test.dynamic(&ApiResource::erase::<OpaqueCluster>(&()));
    let sometimes = Patch::Merge(json!({"spec": {"imagePullPolicy": "Sometimes"}}));
    test.until("the kind takes it", async || {
        Ok(api.patch("demo", &PatchParams::default(), &sometimes).await.is_ok())
    })
    .await?;
    test.until("its status says so", async || {
        let object = api.get("demo").await?;
        let conditions = object.data.pointer("/status/conditions").cloned();
        let conditions = conditions.context("no conditions")?.to_string();
        let told = conditions.contains("\"Unreadable\"") && conditions.contains("`Sometimes`");
        ensure!(told && conditions.contains("CertificatesReady"), "{conditions}");
        Ok(true)
    })
    .await?;
    let none = Patch::Merge(json!({"spec": {"imagePullPolicy": null}}));
    api.patch("demo", &PatchParams::default(), &none).await?;
    test.conditions(&[WELL]).await.map(drop)
}

/// The map is deleted while nodes serve, and `cities` is an OpaqueTable.
#[tokio::test]
async fn a_lost_map_is_made_from_what_is_left() -> Result<()> {
    let test = Test::serving("lost-map").await?;
    test.create::<OpaqueTable>(json!({
        "metadata": {"name": "big-cities"},
        "spec": {
            "clusterRef": {"name": "demo"},
            "schema": {"columns": [{"name": "city", "type": "TEXT", "role": "key"}]},
            "source": {"configMapRef": {"name": "cities", "key": "cities.csv"}},
        },
    }))
    .await?;
    let before = test.get::<OpaqueShardMap>("demo").await?;
    let tables = json!([
        {"table": "big_cities", "epoch": 2}, {"table": "prices", "epoch": 1},
    ]);
    let map = json!({"spec": {"map": {"generation": 5, "tables": tables}}});
    test.merge::<OpaqueShardMap>("demo", &map).await?;
    test.activate_map().await?;
    test.until("the table's epoch is reported", async || {
        let status = test.get::<OpaqueTable>("big-cities").await?.status.unwrap_or_default();
        Ok(status.active_epoch == Some(2))
    })
    .await?;
    test.status("the generation is reported", |status| status.active_generation == Some(5)).await?;
    // A node knows a higher generation than the operator.
    let record = json!({
        "node": "demo-shard-0-0", "shard": 0, "active_generation": 6, "prepared_generation": 7,
        "tables": {"prices": 4, "loaded": 1},
    });
    let record = json!({"opaque.dev/member": record.to_string()});
    test.lease("demo-shard-0-0", record, "demo-shard-0-0").await?;
    test.settle().await?;

    test.delete::<OpaqueShardMap>("demo").await?;
    let (made, waited) = until("the map is created again", LIMIT, || async {
        let map = test.api::<OpaqueShardMap>().get_opt("demo").await?;
        Ok(map.filter(|map| map.metadata.uid != before.metadata.uid))
    })
    .await?;
    println!("a lost map was created again after {waited:?}");
    let tables = made.spec.map.tables.iter();
    let tables: Vec<_> = tables.map(|t| (t.table.as_str(), t.epoch, t.owner.as_deref())).collect();
    let left = [("big_cities", 2, Some("big-cities")), ("loaded", 1, None), ("prices", 4, None)];
    ensure!(made.spec.map.generation == 8 && tables == left, "{:?}", made.spec.map);
    ensure!(made.spec.map.shards.len() == 2 && made.status.is_none());
    let status = test.conditions(&[("Degraded", "True", "ShardMapLost")]).await?;
    ensure!(truth(&status, "Available") == Some(("True", "Serving")), "{status:?}");
    ensure!(status.active_generation >= Some(5), "{status:?}");
    test.event("ShardMapRestored").await?;
    test.activate_map().await?;
    let status = test.conditions(&[WELL]).await?;
    ensure!(status.active_generation == Some(8) && status.tables == 3, "{status:?}");
    Ok(())
}

/// The object is as an earlier operator left it. A Secret of the old name that belongs to someone
/// else is not touched.
#[tokio::test]
async fn an_authority_of_an_earlier_version_is_moved() -> Result<()> {
    let mut test = Test::serving("moved").await?;
    test.settle().await?;
    test.stop_operator().await;
    let (old, new) = (names::earlier_authority("demo"), names::authority("demo"));
    let secrets = test.api::<Secret>();
    let authority = secrets.get(&new).await?;
    let mut earlier = authority.clone();
    let metadata = &mut earlier.metadata;
    (metadata.name, metadata.uid, metadata.resource_version) = (Some(old.clone()), None, None);
    metadata.managed_fields = None;
    secrets.create(&PostParams::default(), &earlier).await?;
    secrets.delete(&new, &DeleteParams::default()).await?;
    let trust = test.get::<ConfigMap>(&names::trust("demo")).await?.data;
    test.start_operator()?;
    test.until("the authority is moved", async || {
        let moved = secrets.get_opt(&new).await?.map(|secret| secret.data);
        Ok(secrets.get_opt(&old).await?.is_none() && moved.as_ref() == Some(&authority.data))
    })
    .await?;
    let persons = json!({"metadata": {"name": old}, "stringData": {"ca.crt": "a person's"}});
    test.create::<Secret>(persons).await?;
    test.settle().await?;
    ensure!(secrets.get(&old).await?.metadata.owner_references.is_none(), "it was taken");
    let now = test.get::<ConfigMap>(&names::trust("demo")).await?.data;
    ensure!(now == trust, "nodes trust something else");
    test.everything_is_owned().await
}

/// `kubectl delete --cascade=orphan`, and the same manifest again.
#[tokio::test]
async fn what_a_cluster_left_is_adopted_by_the_next() -> Result<()> {
    let test = Test::serving("adopted").await?;
    let pods = test.pods().await?;
    let authority = test.get::<Secret>(&names::authority("demo")).await?;
    let OpaqueCluster { metadata, spec, .. } = test.get::<OpaqueCluster>("demo").await?;
    // There is no garbage collector, so the test does its work.
    test.delete::<OpaqueCluster>("demo").await?;
    let alone = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
    for resource in made() {
        let api = test.dynamic(&resource);
        for object in api.list(&ListParams::default().labels("opaque.dev/cluster=demo")).await? {
            api.patch(&object.name_any(), &PatchParams::default(), &alone).await?;
        }
    }
    // A person's copy of a key has the same labels. It must not be deleted with the cluster.
    let mut copy = authority.clone();
    copy.metadata = ObjectMeta {
        name: Some("copy".into()),
        labels: copy.metadata.labels.take(),
        ..ObjectMeta::default()
    };
    test.api::<Secret>().create(&PostParams::default(), &copy).await?;
    test.settle().await?;
    let mut again = OpaqueCluster::new("demo", spec);
    again.metadata.labels = metadata.labels;
    let again = test.api::<OpaqueCluster>().create(&PostParams::default(), &again).await?;
    let uid = again.metadata.uid.context("no uid")?;
    test.until("everything has the new owner", async || {
        let objects = test.objects().await?;
        let owned = |object: &DynamicObject| {
            object.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
        };
        for (key, object) in &objects {
            ensure!(owned(object) || key == "Secret copy", "{key} is not adopted");
        }
        Ok(true)
    })
    .await?;
    let status = test.conditions(&[SERVES, WELL, COMPLETE]).await?;
    ensure!((status.shards, status.replicas_per_shard) == (2, 2), "{status:?}");
    test.settle().await?;
    ensure!(test.pods().await? == pods, "pods were replaced");
    let now = test.get::<Secret>(&names::authority("demo")).await?;
    ensure!(now.data == authority.data, "the authority is another one");
    let copy = test.get::<Secret>("copy").await?;
    ensure!(copy.metadata.owner_references.is_none(), "a person's copy was taken");
    test.delete::<Secret>("copy").await?;
    test.everything_is_owned().await
}

/// `kubectl replace --force`: the former cluster's sets are removed in any order, possibly after
/// its map.
#[tokio::test]
async fn a_cluster_made_again_waits_for_the_one_before() -> Result<()> {
    let test = Test::start("again").await?;
    test.create::<StatefulSet>(json!({
        "metadata": {
            "name": "again-shard-0",
            "labels": {
                "app.kubernetes.io/name": "opaque",
                "opaque.dev/cluster": "again",
                "opaque.dev/shard": "0",
                "app.kubernetes.io/managed-by": "opaque-operator",
            },
            "ownerReferences": [{
                "apiVersion": "opaque.dev/v1alpha1", "kind": "OpaqueCluster", "name": "again",
                "uid": "00000000-0000-0000-0000-000000000001", "controller": true,
            }],
        },
        "spec": {
            "replicas": 1, "serviceName": "again-peers",
            "selector": {"matchLabels": {"opaque.dev/cluster": "again"}},
            "template": {
                "metadata": {"labels": {"opaque.dev/cluster": "again"}},
                "spec": {"containers": [{"name": "node", "image": "node:1"}]},
            },
        },
    }))
    .await?;
    test.create::<OpaqueCluster>(json!({
        "metadata": {"name": "again"},
        "spec": {
            "shards": 3, "replicasPerShard": 2, "clientAuth": {"mode": "none"},
            "storage": {"url": "s3://opaque/again"},
        },
    }))
    .await?;
    test.until("it says what it waits for", async || {
        let status = test.get::<OpaqueCluster>("again").await?.status.unwrap_or_default();
        let by = operation(&status, "Removal").unwrap_or_default();
        Ok(by.contains("StatefulSet again-shard-0"))
    })
    .await?;
    test.settle().await?;
    let map = test.api::<OpaqueShardMap>().get_opt("again").await?;
    ensure!(map.is_none(), "a map was made: {map:?}");
    let status = test.get::<OpaqueCluster>("again").await?.status.unwrap_or_default();
    ensure!((status.shards, status.replicas_per_shard) == (0, 0), "a size was accepted");
    test.delete::<StatefulSet>("again-shard-0").await?;
    test.until("it has the size of its spec", async || {
        let map = test.api::<OpaqueShardMap>().get_opt("again").await?;
        Ok(map.is_some_and(|map| map.spec.map.shards.len() == 3))
    })
    .await
}
