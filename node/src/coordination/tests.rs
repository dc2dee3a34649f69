use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::map::placement;
use crate::support;

const NOW: UnixMillis = UnixMillis(5);

async fn open(directory: &Path) -> FileCoordination {
    FileCoordination::open(directory).await.unwrap()
}

fn shards(count: u32) -> Shards {
    Shards::equal(count).unwrap()
}

fn load(table: &str, epoch: u64) -> Change {
    Change::Table { table: table.to_owned(), epoch: Some(epoch) }
}

pub(super) fn member(node: &str) -> MemberRecord {
    MemberRecord {
        client_address: "https://127.0.0.1:7100".to_owned(),
        peer_address: "https://127.0.0.1:7200".to_owned(),
        active_generation: 1,
        prepared_generation: 2,
        failed: Some(Failure { generation: 3, reason: "a \"reason\"".to_owned() }),
        message: "loading".to_owned(),
        resident_bytes: 1 << 40,
        trust: Some("ab".to_owned()),
        ..support::member(node, 2, UnixMillis(77))
    }
}

/// A cluster of one shard, and its lead.
async fn led() -> (TempDir, FileCoordination, Leadership) {
    let directory = TempDir::new().unwrap();
    let cluster = open(directory.path()).await;
    cluster.initialize(shards(1)).await.unwrap();
    let lead = cluster.try_lead("a").await.unwrap().unwrap();
    (directory, cluster, lead)
}

/// A lead of the node `one` that holds no lock.
fn stale(token: u64) -> Leadership {
    Leadership::new("one".to_owned(), token, Box::new(tempfile::tempfile().unwrap()))
}

/// Two connections to one cluster.
async fn two() -> (TempDir, FileCoordination, FileCoordination) {
    let directory = TempDir::new().unwrap();
    let (one, two) = (open(directory.path()).await, open(directory.path()).await);
    (directory, one, two)
}

#[tokio::test]
async fn a_change_goes_from_proposed_to_active() {
    let directory = TempDir::new().unwrap();
    let cluster = open(directory.path()).await;
    assert_eq!(cluster.active().await.unwrap(), None);
    let early = cluster.propose(load("t", 1), 0, NOW).await;
    assert!(matches!(early, Err(CoordinationError::NotInitialized)));

    let first = cluster.initialize(shards(3)).await.unwrap();
    assert_eq!((first.generation, first.shards.count()), (1, 3));
    // Only the first call has an effect.
    assert_eq!(cluster.initialize(shards(5)).await.unwrap(), first);

    let proposed = cluster.propose(load("t", 4), 1, NOW).await.unwrap();
    assert_eq!((proposed.generation, proposed.tables["t"], proposed.proposed_at), (2, 4, NOW));
    assert_eq!(cluster.proposed().await.unwrap(), Some(proposed.clone()));
    assert_eq!(cluster.active().await.unwrap(), Some(first));
    assert_eq!(cluster.outcome(2).await.unwrap(), Outcome::Pending);
    assert_eq!(cluster.outcome(3).await.unwrap(), Outcome::Unknown);

    let lead = cluster.try_lead("a").await.unwrap().unwrap();
    let wrong = cluster.activate(&lead, 3).await;
    assert!(matches!(
        wrong,
        Err(CoordinationError::NotProposed { generation: 3, proposed: Some(2) })
    ));
    assert_eq!(cluster.activate(&lead, 2).await.unwrap(), proposed);
    assert_eq!(cluster.active().await.unwrap(), Some(proposed));
    assert_eq!(cluster.proposed().await.unwrap(), None);
    assert_eq!(cluster.outcome(2).await.unwrap(), Outcome::Activated);
    assert_eq!(cluster.outcome(1).await.unwrap(), Outcome::Activated);
    // The state survives all processes.
    drop(cluster);
    let again = open(directory.path()).await;
    assert_eq!(again.watch().borrow().active.as_ref().unwrap().generation, 2);
}

#[tokio::test]
async fn a_rejected_generation_is_never_used_again() {
    let (_directory, cluster, lead) = led().await;
    let first = cluster.active().await.unwrap();
    cluster.propose(load("t", 1), 1, NOW).await.unwrap();
    cluster.reject(&lead, 2, "the self-test failed").await.unwrap();
    let reason = "the self-test failed".to_owned();
    assert_eq!(cluster.outcome(2).await.unwrap(), Outcome::Rejected { reason: reason.clone() });
    assert_eq!(cluster.active().await.unwrap(), first);
    assert_eq!(cluster.proposed().await.unwrap(), None);
    let next = cluster.propose(Change::Shards(shards(2)), 1, NOW).await.unwrap();
    assert_eq!((next.generation, next.shards.count(), next.tables.len()), (3, 2, 0));
    cluster.activate(&lead, 3).await.unwrap();
    assert_eq!(cluster.outcome(2).await.unwrap(), Outcome::Rejected { reason });
    // A table can also be dropped.
    cluster.propose(load("t", 9), 3, NOW).await.unwrap();
    cluster.activate(&lead, 4).await.unwrap();
    let drop_table = Change::Table { table: "t".to_owned(), epoch: None };
    assert_eq!(cluster.propose(drop_table, 4, NOW).await.unwrap().tables.len(), 0);
}

#[tokio::test]
async fn a_table_with_an_owner_is_not_changed() {
    let directory = TempDir::new().unwrap();
    let cluster = open(directory.path()).await;
    cluster.initialize(shards(1)).await.unwrap();
    let path = directory.path().join("active.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let owned =
        text.replace("\"tables\": {}", "\"tables\": {\"t\": 1}, \"owners\": {\"t\": \"t-1\"}");
    assert_ne!(owned, text);
    drop(cluster);
    std::fs::write(&path, owned).unwrap();
    let cluster = open(directory.path()).await;
    for table in ["t", "T"] {
        let refused = cluster.propose(load(table, 2), 1, NOW).await;
        assert!(matches!(refused, Err(CoordinationError::Owned { owner, .. }) if owner == "t-1"));
    }
    let proposed = cluster.propose(load("other", 2), 1, NOW).await.unwrap();
    assert_eq!(proposed.owners, [("t".to_owned(), "t-1".to_owned())].into());
}

#[tokio::test]
async fn what_a_crash_leaves_behind_is_void() {
    let (directory, cluster, lead) = led().await;
    let proposal = directory.path().join("proposed.json");
    for generation in [2, 3] {
        let active = cluster.active().await.unwrap().unwrap().generation;
        cluster.propose(load("t", 1), active, NOW).await.unwrap();
        let left = std::fs::read(&proposal).unwrap();
        if generation == 2 {
            cluster.activate(&lead, 2).await.unwrap();
        } else {
            cluster.reject(&lead, 3, "no").await.unwrap();
        }
        // The state after the process died before it removed the proposal.
        std::fs::write(&proposal, left).unwrap();
        assert_eq!(cluster.proposed().await.unwrap(), None);
        let again = cluster.activate(&lead, generation).await;
        assert!(matches!(again, Err(CoordinationError::NotProposed { proposed: None, .. })));
    }
    assert_eq!(cluster.propose(load("t", 1), 2, NOW).await.unwrap().generation, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_concurrent_proposals_one_wins() {
    let (directory, cluster, lead) = led().await;
    for expected in 1..6 {
        let mut racers = tokio::task::JoinSet::new();
        for racer in 0..8 {
            // Each has separate handles, like a separate process.
            let path = directory.path().to_owned();
            racers.spawn(async move {
                let cluster = open(&path).await;
                cluster.propose(load(&format!("t{racer}"), expected), expected, NOW).await
            });
        }
        let results = racers.join_all().await;
        let won: Vec<&Map> = results.iter().flatten().collect();
        assert_eq!(won.len(), 1);
        assert!(results.iter().filter_map(|result| result.as_ref().err()).all(
            |error| matches!(error, CoordinationError::Conflict { active, .. } if *active == expected)
        ));
        assert_eq!(cluster.activate(&lead, expected + 1).await.unwrap(), *won[0]);
    }
}

#[tokio::test]
async fn the_lead_passes_on_and_old_leads_are_fenced() {
    let (_directory, one, two) = two().await;
    one.initialize(shards(1)).await.unwrap();
    assert_eq!(one.leader().await.unwrap(), None);
    let lead = one.try_lead("one").await.unwrap().unwrap();
    assert_eq!((lead.node(), lead.token()), ("one", 1));
    assert!(two.try_lead("two").await.unwrap().is_none());
    assert!(one.try_lead("one").await.unwrap().is_none());

    let stale = stale(lead.token());
    drop(lead);
    let next = two.try_lead("two").await.unwrap().unwrap();
    assert_eq!(next.token(), 2);
    let leader = Leader { node: "two".to_owned(), token: 2 };
    assert_eq!(one.leader().await.unwrap(), Some(leader));

    one.propose(load("t", 1), 1, NOW).await.unwrap();
    let fenced = |error| matches!(error, CoordinationError::Fenced { token: 1, current: 2 });
    assert!(fenced(one.activate(&stale, 2).await.unwrap_err()));
    assert!(fenced(one.reject(&stale, 2, "no").await.unwrap_err()));
    assert_eq!(one.outcome(2).await.unwrap(), Outcome::Pending);
    two.activate(&next, 2).await.unwrap();
}

#[tokio::test]
async fn a_token_that_starts_again_belongs_to_one_node_only() {
    let directory = TempDir::new().unwrap();
    let cluster = open(directory.path()).await;
    cluster.initialize(shards(1)).await.unwrap();
    drop(cluster.try_lead("one").await.unwrap().unwrap());
    let stale = stale(1);
    std::fs::remove_file(directory.path().join("leader.json")).unwrap();
    // A process that has seen no lead. The first one may have read the file before it was deleted.
    let next = open(directory.path()).await.try_lead("two").await.unwrap().unwrap();
    assert_eq!(next.token(), stale.token());
    cluster.propose(load("t", 1), 1, NOW).await.unwrap();
    let refused = cluster.activate(&stale, 2).await.unwrap_err();
    assert!(matches!(refused, CoordinationError::Fenced { token: 1, current: 1 }), "{refused}");
    cluster.activate(&next, 2).await.unwrap();
}

#[tokio::test]
async fn members_come_and_go() {
    let (_directory, one, two) = two().await;
    let (a, mut b) = (member("node-a.1"), member("b"));
    one.heartbeat(&a).await.unwrap();
    two.heartbeat(&b).await.unwrap();
    assert_eq!(one.members().await.unwrap(), [b.clone(), a.clone()]);
    b.heartbeat = UnixMillis(78);
    two.heartbeat(&b).await.unwrap();
    two.leave("node-a.1").await.unwrap();
    two.leave("node-a.1").await.unwrap();
    assert_eq!(one.members().await.unwrap(), [b]);
    for name in ["", ".hidden", "../escape", "a/b", "a b"] {
        let refused = one.heartbeat(&member(name)).await;
        assert!(matches!(refused, Err(CoordinationError::NodeName(_))), "{name:?}");
        assert!(one.try_lead(name).await.is_err());
    }
}

#[tokio::test]
async fn changes_are_seen_by_others() {
    let (_directory, one, two) = two().await;
    assert_eq!(**two.watch().borrow(), Snapshot::default());
    one.initialize(shards(2)).await.unwrap();
    one.heartbeat(&member("a")).await.unwrap();
    let lead = one.try_lead("a").await.unwrap().unwrap();
    let proposed = one.propose(load("t", 3), 1, NOW).await.unwrap();
    let whole = |snapshot: &Snapshot| {
        snapshot.active.as_ref().is_some_and(|map| map.generation == 1)
            && snapshot.proposed.as_ref() == Some(&proposed)
            && snapshot.leader.as_ref().is_some_and(|leader| leader.token == lead.token())
            && snapshot.members == [member("a")]
    };
    until(&two, whole).await;
    one.activate(&lead, 2).await.unwrap();
    until(&two, |snapshot| snapshot.active.as_ref() == Some(&proposed)).await;
}

/// The record of a node that serves a map.
fn serves(node: &str, map: &Map) -> MemberRecord {
    let (active_generation, tables) = (map.generation, map.tables.clone());
    let (prepared_generation, failed) = (active_generation, None);
    MemberRecord { active_generation, prepared_generation, failed, tables, ..member(node) }
}

async fn until(cluster: &FileCoordination, holds: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut watch = cluster.watch();
    let seen = tokio::time::timeout(Duration::from_secs(20), watch.wait_for(|s| holds(s))).await;
    Arc::clone(&seen.expect("waited in vain").unwrap())
}

#[tokio::test]
async fn lost_files_are_written_again_from_what_is_served() {
    let (directory, one, two) = two().await;
    one.initialize(shards(3)).await.unwrap();
    let lead = one.try_lead("one").await.unwrap().unwrap();
    one.propose(load("t", 4), 1, NOW).await.unwrap();
    let active = one.activate(&lead, 2).await.unwrap();
    let knows = |map: Map| move |s: &Snapshot| s.active.as_ref() == Some(&map);
    until(&one, knows(active.clone())).await;
    until(&two, knows(active.clone())).await;
    one.heartbeat(&serves("one", &active)).await.unwrap();
    let older = std::fs::read(directory.path().join("active.json")).unwrap();

    std::fs::remove_file(directory.path().join("active.json")).unwrap();
    let lost = until(&two, |s| s.standing.is_lost()).await;
    assert_eq!(
        (&lost.standing, lost.active.as_ref()),
        (&Standing::Lost(Loss::Missing), Some(&active))
    );
    assert_eq!(two.active().await.unwrap(), Some(active.clone()));
    let wait = two.propose(load("t", 5), 2, NOW).await.unwrap_err();
    assert!(
        matches!(wait, CoordinationError::Conflict { active: 2, proposed: None, .. }),
        "{wait}"
    );
    // A node that starts now waits for the leader.
    let new = open(directory.path()).await;
    assert_eq!(new.active().await.unwrap(), None);
    let wait = new.initialize(shards(3)).await.unwrap_err();
    assert!(matches!(wait, CoordinationError::NotInitialized), "{wait}");
    one.restore(&lead, shards(3), NOW).await.unwrap();
    assert_eq!(new.active().await.unwrap(), Some(active.clone()));
    one.restore(&lead, shards(3), NOW).await.unwrap();
    assert_eq!(two.proposed().await.unwrap(), None, "nothing was to be done");

    // An older map from a backup: the served map is proposed again.
    one.propose(load("t", 5), 2, NOW).await.unwrap();
    let active = one.activate(&lead, 3).await.unwrap();
    one.heartbeat(&serves("one", &active)).await.unwrap();
    until(&one, knows(active.clone())).await;
    std::fs::write(directory.path().join("active.json"), older).unwrap();
    assert_eq!(open(directory.path()).await.active().await.unwrap(), None);
    one.restore(&lead, shards(3), NOW).await.unwrap();
    assert_eq!(new.active().await.unwrap(), Some(active.clone()));
    let again = new.proposed().await.unwrap().unwrap();
    assert_eq!(again, Map { generation: 4, proposed_at: NOW, ..active });
    one.activate(&lead, 4).await.unwrap();
    assert_eq!(two.active().await.unwrap(), Some(again.clone()));
    assert_eq!(two.outcome(4).await.unwrap(), Outcome::Activated);
}

#[tokio::test]
async fn the_loss_of_everything_costs_the_lead_and_what_was_proposed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("state");
    let (one, two) = (open(&path).await, open(&path).await);
    one.initialize(shards(1)).await.unwrap();
    let lead = one.try_lead("one").await.unwrap().unwrap();
    one.propose(load("t", 4), 1, NOW).await.unwrap();
    let active = one.activate(&lead, 2).await.unwrap();
    one.propose(load("t", 5), 2, NOW).await.unwrap();
    let knows = |s: &Snapshot| s.proposed.is_some() && s.leader.is_some();
    until(&one, knows).await;
    until(&two, knows).await;

    std::fs::remove_dir_all(&path).unwrap();
    until(&two, |s| s.standing.is_lost() && s.proposed.is_none()).await;
    let mut record = serves("one", &active);
    record.prepared_generation = 3;
    one.heartbeat(&record).await.unwrap();
    assert_eq!(two.members().await.unwrap(), [record]);
    let fenced = |error| matches!(error, CoordinationError::Fenced { token: 1, .. });
    assert!(fenced(one.restore(&lead, shards(1), NOW).await.unwrap_err()));
    // The locked file is gone, so another node leads with a different token.
    let next = two.try_lead("two").await.unwrap().unwrap();
    assert_eq!(next.token(), 2);
    two.restore(&next, shards(1), NOW).await.unwrap();
    assert!(fenced(one.restore(&lead, shards(1), NOW).await.unwrap_err()));
    assert_eq!(one.active().await.unwrap(), Some(active));
    let Outcome::Rejected { reason } = one.outcome(3).await.unwrap() else { panic!("forgotten") };
    assert!(reason.contains("lost"), "{reason}");
    assert_eq!(one.propose(load("t", 5), 2, NOW).await.unwrap().generation, 4);
}

#[tokio::test]
async fn the_newest_wish_for_a_table_takes_the_place_of_the_one_that_waits() {
    let (_directory, cluster, lead) = led().await;
    let first = cluster.propose(load("t", 1), 1, NOW).await.unwrap();
    // The same change is already proposed.
    assert_eq!(cluster.propose(load("t", 1), 1, NOW).await.unwrap(), first);
    let second = cluster.propose(load("t", 2), 1, NOW).await.unwrap();
    assert_eq!((first.generation, second.generation, second.tables["t"]), (2, 3, 2));
    assert_eq!(cluster.proposed().await.unwrap(), Some(second.clone()));
    let Outcome::Rejected { reason } = cluster.outcome(2).await.unwrap() else { panic!("kept") };
    assert!(reason.starts_with("withdrawn: generation 3"), "{reason}");
    let late = cluster.activate(&lead, 2).await;
    assert!(matches!(late, Err(CoordinationError::NotProposed { proposed: Some(3), .. })));
    // Other changes wait for their turn.
    for other in [load("u", 1), Change::Shards(shards(2))] {
        let conflict = cluster.propose(other, 1, NOW).await;
        assert!(matches!(conflict, Err(CoordinationError::Conflict { proposed: Some(3), .. })));
    }
    assert_eq!(cluster.activate(&lead, 3).await.unwrap(), second);
    assert!(matches!(cluster.outcome(2).await.unwrap(), Outcome::Rejected { .. }));
    assert_eq!(cluster.outcome(3).await.unwrap(), Outcome::Activated);
}

#[tokio::test]
async fn a_proposal_is_withdrawn_or_activated_and_never_both() {
    let (_directory, cluster, lead) = led().await;
    let proposed = cluster.propose(load("t", 1), 1, NOW).await.unwrap();
    cluster.withdraw(2, "withdrawn: no longer wanted").await.unwrap();
    cluster.withdraw(2, "withdrawn: again").await.unwrap();
    let reason = "withdrawn: no longer wanted".to_owned();
    assert_eq!(cluster.outcome(2).await.unwrap(), Outcome::Rejected { reason });
    let late = cluster.activate(&lead, 2).await;
    assert!(matches!(late, Err(CoordinationError::NotProposed { proposed: None, .. })));
    assert_eq!(cluster.proposed().await.unwrap(), None);

    let next = cluster.propose(load("t", 1), 1, NOW).await.unwrap();
    assert_eq!((next.generation, &next.tables), (3, &proposed.tables));
    cluster.activate(&lead, 3).await.unwrap();
    let late = cluster.withdraw(3, "too late").await;
    assert!(matches!(late, Err(CoordinationError::NotProposed { proposed: None, .. })));
    assert_eq!(cluster.outcome(3).await.unwrap(), Outcome::Activated);
}

#[tokio::test]
async fn how_long_a_proposal_has_waited_outlives_its_leader() {
    let (_directory, one, two) = two().await;
    one.initialize(shards(1)).await.unwrap();
    let lead = one.try_lead("one").await.unwrap().unwrap();
    one.propose(load("t", 1), 1, NOW).await.unwrap();
    let waited = Waited { generation: 2, seconds: 16 };
    let early = one.note_wait(&lead, Waited { generation: 3, ..waited }).await;
    assert!(matches!(early, Err(CoordinationError::NotProposed { .. })));
    one.note_wait(&lead, waited).await.unwrap();
    let stale = stale(lead.token());
    drop(lead);
    let _next = two.try_lead("two").await.unwrap().unwrap();
    let fenced = one.note_wait(&stale, Waited { seconds: 99, ..waited }).await;
    assert!(matches!(fenced, Err(CoordinationError::Fenced { .. })));
    until(&two, |snapshot| snapshot.waited == Some(waited)).await;
}

#[tokio::test]
async fn damaged_and_foreign_files_are_named() {
    let directory = TempDir::new().unwrap();
    let cluster = open(directory.path()).await;
    cluster.initialize(shards(1)).await.unwrap();
    let path = directory.path().join("active.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let cases = [
        (good.replace("\"version\": 1", "\"version\": 2"), "version 2; this node knows 1"),
        (good.replace("opaque-map", "opaque-cap"), "it is a \"opaque-cap\", not a \"opaque-map\""),
        (
            good.replace("\"placement\": 1", "\"placement\": 9"),
            "placement rule 9; this node knows 1",
        ),
        (good[..good.len() / 2].to_owned(), "EOF while parsing"),
        (good.replace("tables", "tabels"), "unknown field `tabels`"),
    ];
    for (damaged, reason) in cases {
        assert_ne!(damaged, good);
        std::fs::write(&path, damaged).unwrap();
        let error = cluster.active().await.unwrap_err().to_string();
        assert!(error.contains("active.json is damaged") && error.contains(reason), "{error}");
    }
    std::fs::write(&path, "{").unwrap();
    let error = cluster.active().await.unwrap_err().to_string();
    assert!(error.contains("remove the file while nodes run, and they write it again"), "{error}");
    assert_eq!(placement::VERSION, 1);
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_an_error() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = FileCoordination::open(file.join("state")).await.err().unwrap();
    assert!(matches!(error, CoordinationError::Io { .. }), "{error}");
}

#[test]
fn a_clock_never_runs_backwards() {
    assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
    assert_eq!(UnixMillis(9_500).since(UnixMillis(5_000)), Duration::from_millis(4500));
    assert!(UnixMillis::now() > UnixMillis(1_700_000_000_000));
}
