//! The nodes' coordination through a real API server: the requirements of
//! `node/src/coordination/tests.rs` for files, and the failures that only an API can have.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic of a helper is a failed test")]

#[path = "coordination/lost.rs"]
mod lost;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use opaque_crds::{OpaqueShardMap, definitions};
use opaque_e2e::ControlPlane;
use opaque_e2e::processes::signal;
use opaque_node::coordination::{
    Change, Coordination, CoordinationError, Failure, KubernetesCoordination, Leadership, Map,
    MemberRecord, Outcome, Pod, Snapshot, Waited, alive,
};
use opaque_node::map::placement::Shards;
use opaque_node::shard::replica::ReplicaState;
use opaque_store::UnixMillis;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

const NOW: UnixMillis = UnixMillis(1_795_000_000_000);
const LIMIT: Duration = Duration::from_secs(60);
const CLUSTER: &str = "demo";

fn open(control_plane: &ControlPlane, process: u64) -> Result<KubernetesCoordination> {
    let pod = Pod { name: "pod".into(), uid: "0b3c3d9e-5d8e-4f6c-9a0e-0c8f6f0a7a11".into() };
    let config = control_plane.config();
    Ok(KubernetesCoordination::open(config, "default", CLUSTER, Some(pod), process)?)
}

fn shards(count: u32) -> Shards {
    Shards::equal(count).unwrap()
}

fn load(table: &str, epoch: u64) -> Change {
    Change::Table { table: table.to_owned(), epoch: Some(epoch) }
}

fn member(node: &str) -> MemberRecord {
    let addresses = ["10.0.0.7:7100", "10.0.0.7:7200"].map(str::to_owned);
    let [client_address, peer_address] = addresses;
    let state = ReplicaState::new(node.to_owned(), 2, client_address, peer_address);
    MemberRecord {
        active_generation: 1,
        prepared_generation: 2,
        failed: Some(Failure { generation: 3, reason: "a \"reason\"".to_owned() }),
        message: "loading".to_owned(),
        trust: Some("ab".to_owned()),
        ..state.record(UnixMillis(77), 1 << 40)
    }
}

fn maps(control_plane: &ControlPlane) -> Result<Api<OpaqueShardMap>> {
    Ok(Api::namespaced(control_plane.client()?, "default"))
}

/// The object that the operator creates.
async fn make_map(control_plane: &ControlPlane, count: u32) -> Result<()> {
    let shards: Vec<_> = (0..count).map(|id| json!({"id": id, "weight": 1})).collect();
    let object = json!({
        "metadata": {"name": CLUSTER},
        "spec": {"clusterRef": {"name": CLUSTER}, "map": {
            "generation": 1, "placementVersion": 1, "virtualNodes": 64, "shards": shards,
            "proposedAt": "2026-11-21T00:00:00Z",
        }},
    });
    let object: OpaqueShardMap = serde_json::from_value(object)?;
    maps(control_plane)?.create(&PostParams::default(), &object).await?;
    Ok(())
}

fn leases(control_plane: &ControlPlane) -> Result<Api<Lease>> {
    Ok(Api::namespaced(control_plane.client()?, "default"))
}

async fn patch_status(control_plane: &ControlPlane, status: Value) -> Result<()> {
    let (params, patch) = (PatchParams::default(), Patch::Merge(json!({"status": status})));
    maps(control_plane)?.patch_status(CLUSTER, &params, &patch).await?;
    Ok(())
}

/// Two nodes of a cluster of one shard. The first leads.
async fn two(
    control_plane: &ControlPlane,
) -> Result<(KubernetesCoordination, KubernetesCoordination, Leadership)> {
    make_map(control_plane, 1).await?;
    let (one, two) = (open(control_plane, 1)?, open(control_plane, 2)?);
    let lead = one.try_lead("one").await?.unwrap();
    one.initialize(shards(1)).await?;
    Ok((one, two, lead))
}

async fn start() -> Result<ControlPlane> {
    let control_plane = ControlPlane::start().await?;
    control_plane.establish(&definitions()).await?;
    Ok(control_plane)
}

async fn seen(
    cluster: &KubernetesCoordination,
    what: &str,
    holds: impl Fn(&Snapshot) -> bool,
) -> Arc<Snapshot> {
    let mut watch = cluster.watch();
    match timeout(LIMIT, watch.wait_for(|snapshot| holds(snapshot))).await {
        Ok(snapshot) => Arc::clone(&snapshot.unwrap()),
        Err(_) => panic!("{what} was never seen: {:?}", cluster.watch().borrow()),
    }
}

#[tokio::test]
async fn maps_go_from_proposed_to_active_or_are_rejected() -> Result<()> {
    let control_plane = start().await?;
    let cluster = open(&control_plane, 1)?;
    assert_eq!(cluster.active().await?, None);
    let early = cluster.initialize(shards(3)).await;
    assert!(matches!(early, Err(CoordinationError::NotInitialized)));
    let early = cluster.propose(load("t", 1), 0, NOW).await;
    assert!(matches!(early, Err(CoordinationError::NotInitialized)));
    assert!(cluster.try_lead("a").await?.is_none(), "there is nothing to lead");
    assert_eq!(cluster.leader().await?, None);

    make_map(&control_plane, 3).await?;
    let early = cluster.propose(load("t", 1), 1, NOW).await;
    assert!(matches!(early, Err(CoordinationError::NotInitialized)));
    assert_eq!(cluster.leader().await?, None, "a map alone has no leader");
    let lead = cluster.try_lead("a").await?.unwrap();
    assert_eq!(cluster.leader().await?.map(|leader| leader.node).as_deref(), Some("a"));
    let first = cluster.initialize(shards(5)).await?;
    assert_eq!((first.generation, first.shards.count()), (1, 3), "the operator's shards count");
    assert_eq!(cluster.initialize(shards(5)).await?, first);

    let proposed = cluster.propose(load("t", 4), 1, NOW).await?;
    assert_eq!((proposed.generation, proposed.tables["t"], proposed.proposed_at), (2, 4, NOW));
    assert_eq!(cluster.proposed().await?, Some(proposed.clone()));
    assert_eq!(cluster.active().await?, Some(first));
    assert_eq!(cluster.outcome(2).await?, Outcome::Pending);
    assert_eq!(cluster.outcome(3).await?, Outcome::Unknown);
    let conflict = cluster.propose(load("u", 1), 1, NOW).await;
    assert!(matches!(conflict, Err(CoordinationError::Conflict { proposed: Some(2), .. })));
    let wrong = cluster.activate(&lead, 3).await;
    assert!(matches!(
        wrong,
        Err(CoordinationError::NotProposed { generation: 3, proposed: Some(2) })
    ));
    assert_eq!(cluster.activate(&lead, 2).await?, proposed);
    assert_eq!(cluster.activate(&lead, 2).await?, proposed, "an answer may be lost");
    assert_eq!(cluster.active().await?, Some(proposed));
    assert_eq!(cluster.proposed().await?, None);
    assert_eq!(cluster.outcome(2).await?, Outcome::Activated);
    let clash = cluster.propose(load("T", 1), 2, NOW).await;
    assert!(matches!(clash, Err(CoordinationError::NameTaken { .. })));

    // A rejected number is never used again, and a rejected proposal changes nothing.
    cluster.propose(load("t", 5), 2, NOW).await?;
    cluster.reject(&lead, 3, &"long ".repeat(1000)).await?;
    let Outcome::Rejected { reason } = cluster.outcome(3).await? else { panic!("not rejected") };
    assert!(reason.starts_with("long long") && reason.chars().count() == 1024);
    assert_eq!(cluster.proposed().await?, None);
    let next = cluster.propose(load("t", 6), 2, NOW).await?;
    assert_eq!((next.generation, next.tables["t"]), (4, 6));
    cluster.activate(&lead, 4).await?;
    // Only the newest of many rejections are kept.
    for generation in 5..25 {
        cluster.propose(load("t", 9), 4, NOW).await?;
        cluster.reject(&lead, generation, "no").await?;
    }
    assert!(matches!(cluster.outcome(24).await?, Outcome::Rejected { .. }));
    let status = maps(&control_plane)?.get(CLUSTER).await?.status.unwrap();
    assert_eq!(status.rejected.len(), 16);
    assert_eq!((status.leader.as_deref(), status.fencing_token), (Some("a"), Some(1)));
    Ok(())
}

#[tokio::test]
async fn a_proposal_is_withdrawn_or_activated_and_never_both() -> Result<()> {
    let control_plane = start().await?;
    let (one, two, lead) = two(&control_plane).await?;
    // Another epoch replaces the one that waits. Changes of other tables wait.
    one.propose(load("t", 1), 1, NOW).await?;
    let next = two.propose(load("t", 2), 1, NOW).await?;
    assert_eq!((next.generation, next.tables["t"]), (3, 2));
    assert_eq!(two.propose(load("t", 2), 1, NOW).await?, next, "it is there already");
    let other = two.propose(load("u", 1), 1, NOW).await;
    assert!(matches!(other, Err(CoordinationError::Conflict { proposed: Some(3), .. })));
    let Outcome::Rejected { reason } = one.outcome(2).await? else { panic!("not withdrawn") };
    assert!(reason.starts_with("withdrawn: generation 3"), "{reason}");
    let late = one.activate(&lead, 2).await;
    assert!(matches!(late, Err(CoordinationError::NotProposed { proposed: Some(3), .. })));
    let start = Instant::now();
    two.withdraw(3, "withdrawn: no longer wanted").await?;
    two.withdraw(3, "withdrawn: again").await?;
    seen(&one, "the withdrawal", |snapshot| snapshot.proposed.is_none()).await;
    println!("a withdrawal is seen after {:?}", start.elapsed());
    let reason = "withdrawn: no longer wanted".to_owned();
    assert_eq!(one.outcome(3).await?, Outcome::Rejected { reason });

    // Both happen concurrently.
    for generation in 4..14 {
        let active = one.active().await?.unwrap().generation;
        one.propose(load("t", generation), active, NOW).await?;
        let (activated, withdrawn) =
            tokio::join!(one.activate(&lead, generation), two.withdraw(generation, "withdrawn"));
        assert!(activated.is_ok() != withdrawn.is_ok(), "{activated:?} {withdrawn:?}");
        let outcome = two.outcome(generation).await?;
        assert_eq!(activated.is_ok(), outcome == Outcome::Activated, "{outcome:?}");
        let active = two.active().await?.unwrap().generation;
        assert_eq!(activated.is_ok(), active == generation);
    }
    Ok(())
}

#[tokio::test]
async fn how_long_a_proposal_has_waited_outlives_its_leader() -> Result<()> {
    let control_plane = start().await?;
    let (one, two, lead) = two(&control_plane).await?;
    one.propose(load("t", 1), 1, NOW).await?;
    let waited = Waited { generation: 2, seconds: 16 };
    one.note_wait(&lead, waited).await?;
    seen(&two, "the wait", |snapshot| snapshot.waited == Some(waited)).await;
    let early = one.note_wait(&lead, Waited { generation: 3, ..waited }).await;
    assert!(matches!(early, Err(CoordinationError::NotProposed { .. })));
    Ok(())
}

#[tokio::test]
async fn one_of_concurrent_proposals_wins() -> Result<()> {
    let control_plane = start().await?;
    make_map(&control_plane, 1).await?;
    let cluster = open(&control_plane, 1)?;
    let lead = cluster.try_lead("a").await?.unwrap();
    cluster.initialize(shards(1)).await?;
    for expected in 1..4u64 {
        let mut racers = tokio::task::JoinSet::new();
        for racer in 1..=6 {
            let racing = open(&control_plane, racer)?;
            let change = load(&format!("t{racer}"), expected);
            racers.spawn(async move { racing.propose(change, expected, NOW).await });
        }
        let results = racers.join_all().await;
        let won: Vec<&Map> = results.iter().flatten().collect();
        assert_eq!(won.len(), 1, "{results:?}");
        assert!(results.iter().filter_map(|result| result.as_ref().err()).all(
            |error| matches!(error, CoordinationError::Conflict { active, .. } if *active == expected)
        ));
        assert_eq!(cluster.activate(&lead, expected + 1).await?, *won[0]);
    }
    Ok(())
}

#[tokio::test]
async fn the_lead_passes_on_and_old_leads_are_fenced() -> Result<()> {
    let control_plane = start().await?;
    let (one, two, lead) = two(&control_plane).await?;
    assert_eq!((lead.node(), lead.token()), ("one", 1));
    assert_eq!(one.leader().await?.unwrap().node, "one");
    let waits = timeout(Duration::from_secs(10), two.try_lead("two")).await;
    assert!(waits.is_err(), "two lead");

    let start = Instant::now();
    lead.release().await;
    let lead = two.try_lead("two").await?.unwrap();
    println!("hand-over: {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(lead.token(), 2);
    seen(&one, "the new leader", |snapshot| {
        snapshot.leader.as_ref().is_some_and(|leader| leader.node == "two" && leader.token == 2)
    })
    .await;

    // Another node has acquired the Lease, and the holder does not know yet.
    one.propose(load("t", 1), 1, NOW).await?;
    let leases = leases(&control_plane)?;
    let taken = json!({"spec": {"holderIdentity": "three_0", "leaseTransitions": 3}});
    leases.patch("demo-leader", &PatchParams::default(), &Patch::Merge(taken)).await?;
    let fenced = |error| matches!(error, CoordinationError::Fenced { token: 2, current: 3 });
    assert!(fenced(two.activate(&lead, 2).await.unwrap_err()));
    assert!(fenced(two.reject(&lead, 2, "no").await.unwrap_err()));
    assert_eq!(one.outcome(2).await?, Outcome::Pending);
    timeout(LIMIT, lead.lost()).await?;
    // If the Lease is gone, the status still has the newest token.
    leases.delete("demo-leader", &Default::default()).await?;
    patch_status(&control_plane, json!({"fencingToken": 7})).await?;
    let lead = one.try_lead("one").await?.unwrap();
    assert_eq!(lead.token(), 8);
    one.activate(&lead, 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_lease_gives_no_two_leaders_one_token() -> Result<()> {
    let control_plane = start().await?;
    let (one, two, lead) = two(&control_plane).await?;
    assert_eq!(lead.token(), 1);
    one.propose(load("t", 1), 1, NOW).await?;
    let leases = leases(&control_plane)?;
    leases.delete("demo-leader", &Default::default()).await?;
    // The next leader never saw the Lease. It knows the first leader from the map's status.
    let deleted = Instant::now();
    timeout(LIMIT, lead.lost()).await?;
    let next = timeout(LIMIT, two.try_lead("two")).await??.unwrap();
    assert_eq!(next.token(), 2);
    println!("hand-over by a deleted Lease: {:?}", deleted.elapsed());
    let refused = one.activate(&lead, 2).await.unwrap_err();
    assert!(matches!(refused, CoordinationError::Fenced { token: 1, current: 2 }), "{refused}");
    // If two leaders have the same token, it belongs to the node that wrote it first.
    patch_status(&control_plane, json!({"leader": "one"})).await?;
    let refused = two.activate(&next, 2).await.unwrap_err();
    assert!(matches!(refused, CoordinationError::Fenced { token: 2, current: 2 }), "{refused}");
    Ok(())
}

#[tokio::test]
async fn members_come_and_go_and_damage_is_passed_over() -> Result<()> {
    let control_plane = start().await?;
    let (one, two) = (open(&control_plane, 1)?, open(&control_plane, 2)?);
    let before = UnixMillis::now();
    one.heartbeat(&member("node-a.1")).await?;
    two.heartbeat(&member("b")).await?;
    let members = one.members().await?;
    let names: Vec<_> = members.iter().map(|member| member.node.as_str()).collect();
    assert_eq!(names, ["b", "node-a.1"]);
    // The time is that of the reader, whatever the writer's clock says.
    assert!(members.iter().all(|member| member.heartbeat >= before));
    assert_eq!(MemberRecord { heartbeat: UnixMillis(77), ..members[0].clone() }, member("b"));
    let snapshot = seen(&two, "both members", |snapshot| snapshot.members.len() == 2).await;
    let changed = MemberRecord { message: String::new(), ..member("b") };
    two.heartbeat(&changed).await?;
    let later = seen(&one, "the change", |s| s.members.iter().any(|m| m.message.is_empty())).await;
    assert!(later.members[0].heartbeat >= snapshot.members[0].heartbeat);

    let leases = leases(&control_plane)?;
    let owners = leases.get("b").await?.metadata.owner_references.unwrap();
    assert_eq!((owners[0].kind.as_str(), owners[0].name.as_str()), ("Pod", "pod"));
    // A former pod of the same name has left the Lease, which would be deleted with that pod.
    let left = [OwnerReference { uid: "earlier".to_owned(), ..owners[0].clone() }];
    let left = json!({"metadata": {"ownerReferences": left}});
    leases.patch("b", &PatchParams::default(), &Patch::Merge(left)).await?;
    two.heartbeat(&changed).await?;
    assert_eq!(leases.get("b").await?.metadata.owner_references.unwrap(), owners);
    let damage = json!({"metadata": {"annotations": {"opaque.dev/member": "{\"node\": 5}"}}});
    leases.patch("b", &PatchParams::default(), &Patch::Merge(damage)).await?;
    // One damaged record does not affect the others.
    let members = one.members().await?;
    let names: Vec<_> = members.iter().map(|member| member.node.as_str()).collect();
    assert_eq!(names, ["node-a.1"]);

    two.leave("node-a.1").await?;
    two.leave("node-a.1").await?;
    seen(&one, "the leave", |s| s.members.iter().all(|m| m.node != "node-a.1")).await;
    for name in ["", ".hidden", "../escape", "a/b", "a b", "Upper"] {
        let refused = one.heartbeat(&member(name)).await;
        assert!(matches!(refused, Err(CoordinationError::NodeName(_))), "{name:?}");
        assert!(one.try_lead(name).await.is_err());
    }
    Ok(())
}

#[tokio::test]
async fn a_map_that_this_node_cannot_serve_is_named_and_the_last_one_stays() -> Result<()> {
    let control_plane = start().await?;
    make_map(&control_plane, 2).await?;
    let cluster = open(&control_plane, 1)?;
    let _lead = cluster.try_lead("a").await?.unwrap();
    let first = cluster.initialize(shards(2)).await?;
    seen(&cluster, "the first map", |s| s.active.as_ref() == Some(&first)).await;
    for (field, value, reason) in [
        ("placementVersion", 9, "placement rule 9; this node knows 1"),
        ("virtualNodes", 65, "65 virtual nodes; this node places with 64"),
    ] {
        let object = maps(&control_plane)?.get(CLUSTER).await?;
        let generation = object.spec.map.generation + 1;
        let change = json!({"spec": {"map": {"generation": generation, field: value}}});
        let api = maps(&control_plane)?;
        api.patch(CLUSTER, &PatchParams::default(), &Patch::Merge(change)).await?;
        let error = cluster.active().await.unwrap_err().to_string();
        assert!(error.contains("OpaqueShardMap default/demo is damaged"), "{error}");
        assert!(error.contains(reason), "{error}");
        assert_eq!(cluster.watch().borrow().active.as_ref(), Some(&first));
        let mended = json!({"spec": {"map": {
            "generation": generation + 1, "placementVersion": 1, "virtualNodes": 64,
        }}});
        api.patch(CLUSTER, &PatchParams::default(), &Patch::Merge(mended)).await?;
    }
    seen(&cluster, "the mended map", |s| s.proposed.as_ref().is_some_and(|p| p.generation == 5))
        .await;
    Ok(())
}

#[tokio::test]
async fn while_the_api_stalls_no_member_dies_and_afterwards_nothing_is_lost() -> Result<()> {
    let control_plane = start().await?;
    let (one, two, lead) = two(&control_plane).await?;
    let first = one.active().await?.unwrap();
    for (cluster, node) in [(&one, "a"), (&two, "b")] {
        cluster.heartbeat(&member(node)).await?;
    }
    let whole = |s: &Snapshot| s.members.len() == 2 && s.active.as_ref() == Some(&first);
    seen(&one, "the state", whole).await;

    let [_, apiserver] = control_plane.processes();
    signal(apiserver, "STOP").await?;
    let ttl = one.rhythm().member_ttl;
    let stalled = Instant::now();
    let mut renewals = 0;
    while stalled.elapsed() < ttl * 2 {
        // Like a node does. Each renewal fails within its timeout.
        renewals += u32::from(one.heartbeat(&member("a")).await.is_err());
        let snapshot = one.watch().borrow().clone();
        let alive = alive(&snapshot.members, UnixMillis::now(), ttl).count();
        if alive != 2 || snapshot.active.as_ref() != Some(&first) {
            signal(apiserver, "CONT").await?;
            panic!("{alive} alive after {:?}: {snapshot:?}", stalled.elapsed());
        }
        sleep(Duration::from_millis(200)).await;
    }
    signal(apiserver, "CONT").await?;
    assert!(renewals > 0, "the API was to stall");

    // The lead could not be renewed. When the API is back, so is everything that was agreed.
    timeout(LIMIT, lead.lost()).await?;
    drop(lead);
    let limit = Instant::now() + LIMIT;
    while two.heartbeat(&MemberRecord { message: String::new(), ..member("b") }).await.is_err() {
        assert!(Instant::now() < limit, "the API did not come back");
    }
    seen(&one, "the change", |s| s.members.iter().any(|m| m.message.is_empty())).await;
    let lead = timeout(LIMIT, two.try_lead("b")).await??.unwrap();
    let proposed = one.propose(load("t", 1), 1, NOW).await?;
    two.activate(&lead, 2).await?;
    seen(&one, "the new map", |s| s.active.as_ref() == Some(&proposed)).await;
    // When the API is reachable again, silent members count as dead: only `b` renews.
    let limit = Instant::now() + LIMIT;
    loop {
        two.heartbeat(&member("b")).await?;
        let snapshot = one.watch().borrow().clone();
        let now = UnixMillis::now();
        let alive: Vec<_> = alive(&snapshot.members, now, ttl).map(|m| m.node.clone()).collect();
        if alive == ["b"] {
            return Ok(());
        }
        assert!(Instant::now() < limit, "{alive:?} are alive");
        sleep(Duration::from_millis(500)).await;
    }
}
