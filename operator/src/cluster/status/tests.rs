//! The status of a cluster with problems, as a person reads it.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use opaque_crds::OpaqueCluster;
use serde_json::{Value, json};

use super::super::facts::{Facts, Member};
use super::super::rollout::{Replacement, ShardState};
use super::super::size::Size;
use super::*;
use crate::certificates::CertificateState;
use crate::claims::words_of_waiting;
use crate::golden;
use crate::kube::Activity;

/// Two shards of one pod each, which serve generation 7 with one table.
fn facts() -> Facts {
    let mut facts = Facts { leader: Some("demo-shard-0-0".into()), ..Facts::default() };
    for shard in 0..2 {
        let node = format!("demo-shard-{shard}-0");
        facts.pods.insert(node.clone(), pod(&node, json!({"running": {}}), true));
        facts.members.push(Member {
            node,
            shard,
            active_generation: 7,
            prepared_generation: 7,
            resident_bytes: 1 << 20,
            tables: [("weather".to_owned(), 1)].into(),
            ..Member::default()
        });
    }
    facts.map = Some(map(7));
    facts
}

fn pod(name: &str, state: Value, ready: bool) -> Pod {
    let status = if ready { "True" } else { "False" };
    object!({
        "metadata": {"name": name},
        "status": {
            "conditions": [{"type": "Ready", "status": status}],
            "containerStatuses": [{
                "name": "node", "image": "", "imageID": "", "restartCount": 0,
                "ready": ready, "state": state,
            }],
        },
    })
}

/// Generation 7 is active, and this one proposed.
fn map(proposed: i64) -> opaque_crds::OpaqueShardMap {
    let map = |generation: i64| {
        json!({
            "generation": generation, "placementVersion": 1, "virtualNodes": 64,
            "shards": [{"id": 0, "weight": 1}, {"id": 1, "weight": 1}],
            "tables": [{"table": "weather", "epoch": generation - 6}],
            "proposedAt": "2026-01-01T00:00:00Z",
        })
    };
    object!({
        "metadata": {"name": "demo"},
        "spec": {"clusterRef": {"name": "demo"}, "map": map(proposed)},
        "status": {"active": map(7)},
    })
}

fn cluster() -> OpaqueCluster {
    object!({
        "metadata": {"name": "demo", "namespace": "ns", "generation": 1},
        "spec": {
            "shards": 2, "replicasPerShard": 1, "clientAuth": {"mode": "none"},
            "storage": {"url": "s3://opaque/demo", "secretRef": {"name": "demo-storage"}},
        },
    })
}

/// The status after `change` is applied to a healthy cluster.
fn told(title: &str, change: impl FnOnce(&mut Facts, &mut Findings<'_>)) -> String {
    let (cluster, mut facts, nothing) = (cluster(), facts(), Facts::default());
    let size = Size::wanted(&cluster.spec);
    let mut found = Findings::new(&cluster, &nothing, size);
    found.replacement = Some(Replacement::default());
    change(&mut facts, &mut found);
    let shard = |number| ShardState {
        settled: true,
        available: facts.pods.values().all(is_ready) && facts.pods.len() == 2,
        ..facts.shard("demo", size, number)
    };
    let found = Findings { facts: &facts, shards: vec![shard(0), shard(1)], ..found };
    let now = Time(Timestamp::from_second(1).unwrap());
    let (status, _) = status(&found, &OpaqueClusterStatus::default(), &now);
    let said = |one: &opaque_crds::status::Operation| {
        let by = one.blocked_by.as_deref().unwrap_or("nothing");
        format!("  {} ({}) waits for: {by}\n", one.name, one.step)
    };
    let conditions = status
        .conditions
        .iter()
        .map(|one| format!("  {} {} {}: {}\n", one.type_, one.status, one.reason, one.message));
    let operations = status.operations.iter().map(said);
    format!("{title}\n{}\n", conditions.chain(operations).collect::<String>())
}

#[test]
fn texts_are_as_in_the_golden_file() {
    let stuck = |reason: &str, message: &str| {
        let waiting = json!({"waiting": {"reason": reason, "message": message}});
        pod("demo-shard-0-0", waiting, false)
    };
    let texts = [
        told("Nothing is wrong", |_, _| {}),
        told("An image does not exist", |facts, _| {
            let message = "Back-off pulling image \"registry.example/opaque-node:9\": not found";
            facts.pods.insert("demo-shard-0-0".into(), stuck("ImagePullBackOff", message));
            facts.members.remove(0);
        }),
        told("A quota refuses a pod", |facts, found| {
            facts.pods.remove("demo-shard-1-0");
            facts.members.pop();
            found.absent = vec![
                "pod demo-shard-1-0 cannot be created: pods \"demo-shard-1-0\" is forbidden: exceeded quota: small, requested: requests.cpu=250m, used: requests.cpu=1, limited: requests.cpu=1".into(),
            ];
        }),
        told("The store refuses the credentials", |facts, _| {
            for member in &mut facts.members {
                let trouble = "the store refuses access (403 Forbidden, InvalidAccessKeyId)";
                member.store = Some(trouble.into());
            }
        }),
        told("The store is away while an epoch waits for it", |facts, _| {
            facts.map = Some(map(8));
            let trouble = "the store cannot be reached (http://minio:9000: Connection refused (os error 111))";
            facts.members[1].store = Some(trouble.into());
        }),
        told("The Secret of the store is missing", |_, found| {
            let words =
                "Secret demo-storage does not exist: create it, or correct spec.storage.secretRef";
            found.secrets = vec![words.into()];
        }),
        told("A change of the authority waits for a pod", |_, found| {
            found.certificates = Some(CertificateState {
                ready: true,
                reason: "AuthorityChanging",
                message: "every certificate is valid; the nodes' authority is being replaced"
                    .into(),
                usable: true,
                revocation: true,
                not_after: None,
                lists_not_after: None,
                next: None,
                operations: vec![Activity::blocked(
                    "CertificateAuthority",
                    "TrustBoth",
                    "pod demo-shard-1-0: not yet reported to trust the new authority; a node reloads it within two minutes",
                )],
            });
        }),
        told("Another release of the operator waits", |_, found| {
            found.contested = words_of_waiting(&["tools/opaque".to_owned()]);
        }),
        told("The API server refuses a write", |_, found| {
            found.failed = Some("applying StatefulSet demo-shard-0: admission webhook \"policy.example\" denied the request: label team is missing".into());
        }),
        told("A pod reaches no replica of a shard", |facts, _| {
            facts.members[0].unreachable = vec![1];
        }),
    ];
    golden::check("cluster/status/golden.txt", &texts.concat());
}
