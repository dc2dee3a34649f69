//! Elections against a real API server.
#![expect(clippy::unwrap_used, reason = "a panic of a helper is a failed test")]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use opaque_e2e::ControlPlane;
use opaque_e2e::processes::signal;
use opaque_election::without_retries;
use opaque_election::{Election, Policy};
use serde_json::json;
use tokio::time::{Instant, timeout};

const LEASE: &str = "leader";
/// Longest duration of any step here, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// 4 s, 3 s, 500 ms: short, so that the test is short.
fn policy() -> Policy {
    let seconds = Duration::from_secs;
    Policy::new(seconds(4), seconds(3), Duration::from_millis(500)).unwrap()
}

fn candidate(control_plane: &ControlPlane, identity: &str) -> Result<Election> {
    let client = without_retries(control_plane.config())?;
    let labels = BTreeMap::from([("tested".to_owned(), "yes".to_owned())]);
    Ok(Election::new(client, "default", LEASE, identity.into(), labels, policy()))
}

fn leases(control_plane: &ControlPlane) -> Result<Api<Lease>> {
    Ok(Api::namespaced(control_plane.client()?, "default"))
}

#[tokio::test]
async fn the_lead_passes_on_by_release_by_death_and_by_force() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let (one, two) = (candidate(&control_plane, "one")?, candidate(&control_plane, "two")?);
    let held = timeout(LIMIT, one.acquire()).await?;
    assert_eq!(held.token(), 1);
    assert!(held.is_held());
    let lease = leases(&control_plane)?.get(LEASE).await?;
    assert_eq!(lease.spec.context("no spec")?.holder_identity.as_deref(), Some("one"));
    assert_eq!(lease.metadata.labels.context("no labels")?.get("tested").unwrap(), "yes");

    // A Lease that is renewed outlasts its duration.
    let waits = timeout(policy().lease_duration() * 2, two.acquire()).await;
    assert!(waits.is_err() && held.is_held(), "two lead");

    // If it is released while another candidate waits, it passes on long before its duration is
    // over.
    let (released, next) = tokio::join!(
        async {
            tokio::time::sleep(policy().retry()).await;
            held.release().await.map(|()| Instant::now())
        },
        async { (two.acquire().await, Instant::now()) }
    );
    let (held, acquired) = next;
    let took = acquired.saturating_duration_since(released?);
    assert_eq!(held.token(), 2);
    assert!(took < Duration::from_secs(3), "the hand-over took {took:?}");
    println!("hand-over by release: {took:?}");

    // A holder that dies is succeeded after the lease's duration, and not before its own deadline.
    let died = Instant::now();
    drop(held);
    let held = timeout(LIMIT, one.acquire()).await?;
    assert_eq!(held.token(), 3);
    assert!(died.elapsed() > policy().renew_deadline() - policy().retry());
    println!("hand-over by death: {:?}", died.elapsed());

    // A candidate that takes the Lease by force holds it. After a deletion, tokens start above the
    // last one that was seen.
    let forced = json!({"spec": {"holderIdentity": "somebody", "leaseTransitions": 9}});
    let api = leases(&control_plane)?;
    api.patch(LEASE, &PatchParams::default(), &Patch::Merge(forced)).await?;
    timeout(LIMIT, held.lost()).await?;
    assert!(!held.is_held());
    api.delete(LEASE, &Default::default()).await?;
    let held = timeout(LIMIT, two.acquire_above(9)).await?;
    assert_eq!(held.token(), 10);
    Ok(())
}

#[tokio::test]
async fn a_stale_version_loses() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let api = leases(&control_plane)?;
    let held = timeout(LIMIT, candidate(&control_plane, "one")?.acquire()).await?;
    let mut stale = api.get(LEASE).await?;
    // The next renewal makes the version stale.
    let seen = stale.metadata.resource_version.clone();
    let limit = Instant::now() + LIMIT;
    while api.get(LEASE).await?.metadata.resource_version == seen {
        assert!(Instant::now() < limit, "the lead is not renewed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stale.spec.as_mut().context("no spec")?.holder_identity = Some("thief".into());
    let refused = api.replace(LEASE, &PostParams::default(), &stale).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.is_conflict()));
    // If many candidates want a free Lease, one gets it.
    held.release().await?;
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..6 {
        let candidate = candidate(&control_plane, &format!("racer-{racer}"))?;
        racers.spawn(async move { timeout(Duration::from_secs(2), candidate.acquire()).await });
    }
    let results = racers.join_all().await;
    let won: Vec<_> = results.iter().flatten().collect();
    assert_eq!(won.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_deleted_lease_is_held_by_one_at_a_time() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let api = leases(&control_plane)?;
    let (one, two) = (candidate(&control_plane, "one")?, candidate(&control_plane, "two")?);
    let first = timeout(LIMIT, one.acquire()).await?;
    // The other candidate has seen the Lease, and waits.
    let mut waits = std::pin::pin!(two.acquire());
    assert!(timeout(policy().retry(), &mut waits).await.is_err());
    api.delete(LEASE, &Default::default()).await?;
    let deleted = Instant::now();
    let lost = async {
        first.lost().await;
        Instant::now()
    };
    let next = async { (waits.await, Instant::now()) };
    let (lost, (next, acquired)) = timeout(LIMIT, async { tokio::join!(lost, next) }).await?;
    assert!(next.token() > first.token(), "the token {} starts again", next.token());
    assert!(!first.is_held() && next.is_held());
    assert!(acquired > lost, "two held");
    let waited = acquired.saturating_duration_since(deleted);
    assert!(waited + policy().retry() > policy().lease_duration(), "it waited only {waited:?}");
    // If the Lease is created again from a backup in its holder's name, it is a different Lease.
    let mut backup = api.get(LEASE).await?;
    (backup.metadata.resource_version, backup.metadata.uid) = (None, None);
    api.delete(LEASE, &Default::default()).await?;
    api.create(&PostParams::default(), &backup).await?;
    timeout(LIMIT, next.lost()).await?;
    Ok(())
}

#[tokio::test]
async fn a_holder_that_cannot_renew_stops_in_time() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let held = timeout(LIMIT, candidate(&control_plane, "one")?.acquire()).await?;
    let [_, apiserver] = control_plane.processes();
    signal(apiserver, "STOP").await?;
    let stopped = Instant::now();
    let lost = timeout(LIMIT, held.lost()).await;
    let after = stopped.elapsed();
    signal(apiserver, "CONT").await?;
    lost?;
    assert!(!held.is_held());
    assert!(after < policy().lease_duration(), "held for {after:?} without the API");
    // The holder leads again when it can, with a higher token.
    let again = timeout(LIMIT, candidate(&control_plane, "two")?.acquire()).await?;
    assert!(again.token() > held.token());
    Ok(())
}
