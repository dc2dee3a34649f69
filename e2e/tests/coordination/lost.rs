//! The map's object is deleted, restored or damaged while two nodes use it.

use anyhow::Result;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use opaque_crds::OpaqueShardMap;
use opaque_e2e::ControlPlane;
use opaque_node::coordination::{
    Coordination, CoordinationError, KubernetesCoordination, Leadership, Loss, Map, MemberRecord,
    Outcome, Snapshot, Standing,
};
use serde_json::json;

use super::{CLUSTER, NOW, load, make_map, maps, member, open, seen, shards, start, two};

/// Two nodes that serve table `t`, and the lead of one of them.
struct Nodes {
    api: Api<OpaqueShardMap>,
    one: KubernetesCoordination,
    two: KubernetesCoordination,
    lead: Leadership,
}

impl Nodes {
    async fn start(control_plane: &ControlPlane) -> Result<Self> {
        let (one, two, lead) = two(control_plane).await?;
        let nodes = Self { api: maps(control_plane)?, one, two, lead };
        nodes.load("t", 1).await?;
        Ok(nodes)
    }

    /// Another epoch of a table becomes active and is served.
    async fn load(&self, table: &str, epoch: u64) -> Result<Map> {
        let active = self.one.active().await?.unwrap().generation;
        let next = self.one.propose(load(table, epoch), active, NOW).await?;
        self.activate(next.generation).await
    }

    async fn activate(&self, generation: u64) -> Result<Map> {
        let active = self.one.activate(&self.lead, generation).await?;
        for (cluster, node) in [(&self.one, "one"), (&self.two, "two")] {
            let snapshot =
                seen(cluster, "the new map", |s| s.active.as_ref() == Some(&active)).await;
            let record = MemberRecord {
                active_generation: generation,
                prepared_generation: generation,
                failed: None,
                map: snapshot.map_uid.clone(),
                tables: active.tables.clone(),
                ..member(node)
            };
            cluster.heartbeat(&record).await?;
        }
        let told = |s: &Snapshot| {
            s.members.len() == 2 && s.members.iter().all(|m| m.active_generation == generation)
        };
        for cluster in [&self.one, &self.two] {
            seen(cluster, "what the nodes serve", told).await;
        }
        Ok(active)
    }

    /// Both nodes see that the map is lost, and continue with the one that they serve.
    async fn lose(&self, loss: Loss, serves: &Map) {
        let lost = Standing::Lost(loss);
        for cluster in [&self.one, &self.two] {
            let snapshot = seen(cluster, "the loss", |s| s.standing == lost).await;
            assert_eq!(snapshot.active.as_ref(), Some(serves));
        }
    }

    async fn restore(&self) -> Result<()> {
        Ok(self.one.restore(&self.lead, shards(1), NOW).await?)
    }

    async fn object(&self) -> Result<OpaqueShardMap> {
        Ok(self.api.get(CLUSTER).await?)
    }

    async fn delete(&self) -> Result<()> {
        self.api.delete(CLUSTER, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Restores like a backup: the object, and then its status.
    async fn put_back(&self, object: &OpaqueShardMap, status: bool) -> Result<()> {
        let mut made = object.clone();
        (made.metadata.uid, made.metadata.resource_version) = (None, None);
        self.api.create(&PostParams::default(), &made).await?;
        if status {
            let status = json!({"status": object.status});
            self.api.patch_status(CLUSTER, &PatchParams::default(), &Patch::Merge(status)).await?;
        }
        Ok(())
    }

    async fn lose_status(&self) -> Result<()> {
        let status = json!({"status": {"active": null, "uid": null, "rejected": null}});
        self.api.patch_status(CLUSTER, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_map_that_is_deleted_and_made_again_by_hand_takes_nothing_away() -> Result<()> {
    let control_plane = start().await?;
    let nodes = Nodes::start(&control_plane).await?;
    let active = nodes.load("u", 3).await?;
    let pending = nodes.two.propose(load("t", 2), active.generation, NOW).await?;
    seen(&nodes.one, "the proposal", |s| s.proposed.is_some()).await;
    nodes.delete().await?;
    nodes.lose(Loss::Missing, &active).await;
    assert_eq!(nodes.two.active().await?.as_ref(), Some(&active));
    let waits = nodes.two.propose(load("t", 2), active.generation, NOW).await;
    assert!(matches!(waits, Err(CoordinationError::Conflict { .. })), "{waits:?}");
    let waits = nodes.restore().await.unwrap_err();
    assert!(waits.to_string().contains("no shard map yet"), "{waits}");

    make_map(&control_plane, 1).await?;
    nodes.lose(Loss::NotActive, &active).await;
    // A node that starts now does not trust the new map.
    let new = open(&control_plane, 3)?;
    seen(&new, "the others", |s| s.members.len() == 2 && s.standing.is_lost()).await;
    assert_eq!(new.active().await?, None);
    let refused = new.initialize(shards(1)).await;
    assert!(matches!(refused, Err(CoordinationError::NotInitialized)), "{refused:?}");

    nodes.restore().await?;
    let object = nodes.object().await?;
    let status = object.status.clone().unwrap();
    assert_eq!(status.uid, object.metadata.uid);
    assert_eq!(new.active().await?.as_ref(), Some(&active));
    let again = nodes.one.proposed().await?.unwrap();
    let above = pending.generation + 1;
    assert_eq!(again, Map { generation: above, proposed_at: NOW, ..active.clone() });
    nodes.activate(above).await?;
    let settled = |s: &Snapshot| s.standing == Standing::Agreed && s.proposed.is_none();
    for cluster in [&nodes.one, &nodes.two, &new] {
        seen(cluster, "peace", settled).await;
    }
    // The waiting proposal was lost with the map. Its outcome says so.
    let Outcome::Rejected { reason } = nodes.two.outcome(pending.generation).await? else {
        panic!("a lost proposal is taken for an active one")
    };
    assert!(reason.contains("lost"), "{reason}");
    assert_eq!(nodes.load("t", 2).await?.tables["t"], 2);
    Ok(())
}

#[tokio::test]
async fn a_map_that_is_restored_older_or_elsewhere_is_replaced_by_what_is_served() -> Result<()> {
    let control_plane = start().await?;
    let nodes = Nodes::start(&control_plane).await?;
    let backup = nodes.object().await?;
    nodes.load("t", 2).await?;
    let mut active = nodes.load("t", 3).await?;
    for with_status in [true, false] {
        nodes.delete().await?;
        nodes.put_back(&backup, with_status).await?;
        let loss = if with_status { Loss::Foreign } else { Loss::NotActive };
        nodes.lose(loss, &active).await;
        nodes.restore().await?;
        let again = nodes.one.proposed().await?.unwrap();
        assert_eq!((again.generation, &again.tables), (active.generation + 1, &active.tables));
        active = nodes.activate(again.generation).await?;
        nodes.restore().await?;
        assert_eq!(nodes.one.proposed().await?, None, "there was nothing to do");
    }
    // The same object, edited by hand.
    let object = nodes.object().await?;
    nodes.lose_status().await?;
    let older = json!({"status": {"active": backup.spec.map, "uid": object.metadata.uid}});
    nodes.api.patch_status(CLUSTER, &PatchParams::default(), &Patch::Merge(older)).await?;
    let written = u64::try_from(backup.spec.map.generation)?;
    nodes.lose(Loss::Older { written, served: active.generation }, &active).await;
    nodes.restore().await?;
    assert_eq!(nodes.two.active().await?.as_ref(), Some(&active));
    let status = nodes.object().await?.status.unwrap();
    let restored = status.active.unwrap();
    assert_eq!(u64::try_from(restored.generation)?, active.generation);
    Ok(())
}

#[tokio::test]
async fn a_lost_status_is_written_again_and_another_map_is_tested() -> Result<()> {
    let control_plane = start().await?;
    let nodes = Nodes::start(&control_plane).await?;
    let active = nodes.load("t", 2).await?;
    let before = nodes.object().await?;
    nodes.lose_status().await?;
    nodes.lose(Loss::NotActive, &active).await;
    nodes.restore().await?;
    let after = nodes.object().await?;
    assert_eq!(after.spec, before.spec, "what is served is active as it was");
    let (before, after) = (before.status.unwrap(), after.status.unwrap());
    assert_eq!((before.active, before.uid), (after.active, after.uid));
    // The same with a proposal, which may not become active untested.
    let next = nodes.two.propose(load("t", 3), active.generation, NOW).await?;
    nodes.lose_status().await?;
    nodes.lose(Loss::NotActive, &active).await;
    assert_eq!(nodes.one.initialize(shards(1)).await?, active);
    nodes.restore().await?;
    assert_eq!(nodes.two.active().await?.as_ref(), Some(&active));
    assert_eq!(nodes.two.proposed().await?.as_ref(), Some(&next));
    nodes.activate(next.generation).await?;
    assert_eq!(nodes.two.outcome(next.generation).await?, Outcome::Activated);
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_is_made_again_and_the_one_before_know_nothing_of_each_other() -> Result<()>
{
    let control_plane = start().await?;
    let of_cluster = |uid: &str| {
        json!({"metadata": {"ownerReferences": [{
            "apiVersion": "opaque.dev/v1alpha1", "kind": "OpaqueCluster", "name": CLUSTER,
            "uid": uid, "controller": true,
        }]}})
    };
    let api = maps(&control_plane)?;
    let own = async |uid: &str| {
        make_map(&control_plane, 1).await?;
        let owner = Patch::Merge(of_cluster(uid));
        api.patch(CLUSTER, &PatchParams::default(), &owner).await.map_err(anyhow::Error::from)
    };
    own("00000000-0000-0000-0000-000000000001").await?;
    let old = open(&control_plane, 1)?;
    let lead = old.try_lead("old").await?.unwrap();
    old.initialize(shards(1)).await?;
    let proposed = old.propose(load("t", 1), 1, NOW).await?;
    let active = old.activate(&lead, proposed.generation).await?;
    seen(&old, "the map", |s| s.active.as_ref() == Some(&active)).await;
    let record = MemberRecord { active_generation: 2, failed: None, ..member("old") };
    old.heartbeat(&record).await?;

    api.delete(CLUSTER, &DeleteParams::default()).await?;
    seen(&old, "the loss", |s| s.standing == Standing::Lost(Loss::Missing)).await;
    own("00000000-0000-0000-0000-000000000002").await?;
    // A pod of the old cluster that is still ending leads on, and does not touch the new map.
    let waits = old.restore(&lead, shards(1), NOW).await;
    assert!(matches!(waits, Err(CoordinationError::NotInitialized)), "{waits:?}");
    let new = open(&control_plane, 2)?;
    let first = seen(&new, "the new map", |s| s.standing == Standing::First).await;
    assert!(first.members.is_empty() && first.proposed.is_none(), "{first:?}");
    assert!(new.initialize(shards(1)).await?.tables.is_empty());
    seen(&new, "the first map", |s| s.active.is_some() && s.standing == Standing::Agreed).await;
    assert_eq!(old.active().await?.as_ref(), Some(&active));
    Ok(())
}
