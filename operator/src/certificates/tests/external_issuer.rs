//! An issuer of cert-manager: from the start, taken over, given back, and with a new authority.

use time::Duration;

use super::world::World;
use crate::certificates::model::{PEER_CA, PEER_CRL, SERVER_CA, Write};

fn issued() -> World {
    let mut world = World::new();
    world.install_issuer("first");
    world.use_issuer();
    world.nodes.iter_mut().for_each(|node| node.revocation = false);
    world.settle();
    world
}

#[test]
fn a_new_cluster_is_signed_by_the_issuer_from_the_start() {
    let mut world = issued();
    let plan = world.plan();
    assert!(plan.ready, "{}", plan.message);
    assert!(!plan.revocation);
    assert!(!world.facts.secrets.contains_key("demo-peer-ca"));
    assert!(!world.facts.trust.contains_key(PEER_CRL));
    assert_eq!(world.authorities().len(), 1);
    assert!(world.leaf(1).is_signed_by(&world.authorities()[0]));
    assert_eq!(world.facts.trusted(SERVER_CA), world.facts.trusted(PEER_CA));
    world.check_pairs();
    let spec = &world.facts.issuances.as_ref().unwrap()["demo-shard-1-tls"].spec;
    assert_eq!(spec["secretName"], "demo-shard-1-tls");
    assert_eq!(spec["uris"][0], "spiffe://opaque.dev/ns/tests/opaque/demo/shard/1");
    assert_eq!(spec["privateKey"]["rotationPolicy"], "Always");
    assert_eq!(spec["duration"], "3600s");
}

#[test]
fn without_cert_manager_it_says_so_and_keeps_what_is_there() {
    let mut world = World::new();
    world.use_issuer();
    let plan = world.plan();
    assert!(!plan.ready && plan.writes.is_empty());
    assert_eq!(plan.reason, "CertManagerMissing");
    assert!(plan.message.contains("install it"));

    let mut world = World::running();
    world.use_issuer();
    world.now += Duration::minutes(39);
    let plan = world.reconcile();
    assert!(!plan.ready && plan.revocation, "nodes would be restarted");
    assert!(world.leaf(0).not_after() > world.now + Duration::minutes(50), "not renewed");
    world.sync_all();
    world.check_pairs();
}

#[test]
fn a_running_cluster_is_taken_over_without_a_break() {
    let mut world = World::running();
    let own = world.authorities();
    world.install_issuer("first");
    world.use_issuer();
    let mut steps = Vec::new();
    for round in 0..40 {
        let plan = world.reconcile();
        world.check_pairs();
        steps.extend(plan.progress.map(|progress| progress.step));
        // Nodes are restarted one after the other, and reload at different times.
        let node = &mut world.nodes[round % 4];
        node.revocation = node.revocation && plan.revocation;
        world.sync((round * 3) % 4);
        world.check_pairs();
    }
    steps.dedup();
    assert_eq!(steps, ["TrustIssuer", "Reissue"]);
    assert_eq!(world.authorities().len(), 1);
    assert_ne!(world.authorities(), own);
    assert!(!world.facts.secrets.contains_key("demo-peer-ca"), "its key is of no more use");
    assert!(world.settle().ready);
}

#[test]
fn a_cluster_is_taken_back_without_a_break() {
    let mut world = issued();
    let foreign = world.authorities();
    world.wanted.issuer = None;
    for round in 0..40 {
        let plan = world.reconcile();
        world.check_pairs();
        world.sync(round % 4);
        world.check_pairs();
        if !plan.revocation {
            assert!(world.nodes.iter().all(|node| !node.revocation));
        }
    }
    assert!(world.facts.issuances.as_ref().unwrap().is_empty());
    assert!(!world.facts.secrets.contains_key("demo-issuer-probe"), "it is unused");
    assert_eq!(world.authorities().len(), 1);
    assert_ne!(world.authorities(), foreign);
    let plan = world.settle();
    assert!(plan.ready && plan.revocation);
    world.check_pairs();
}

#[test]
fn an_authority_that_the_issuer_changes_to_is_trusted_before_shards_show_it() {
    let mut world = issued();
    let first = world.authorities();
    world.install_issuer("second");
    // The probe lives half as long, so cert-manager renews it first.
    let probe = world.facts.issuances.as_ref().unwrap()["demo-issuer-probe"].spec.clone();
    assert_eq!(probe["duration"], "3600s", "an hour is the shortest that cert-manager takes");
    world.issue("demo-issuer-probe", &probe);
    world.settle();
    assert_eq!(world.authorities().len(), 2);
    for shard in 0..2 {
        let name = format!("demo-shard-{shard}-tls");
        let spec = world.facts.issuances.as_ref().unwrap()[&name].spec.clone();
        world.issue(&name, &spec);
        world.sync(usize::try_from(shard * 2).unwrap());
        world.check_pairs();
        world.reconcile();
        world.check_pairs();
    }
    world.settle();
    assert_eq!(world.authorities().len(), 1);
    assert_ne!(world.authorities(), first);
    assert!(!world.facts.trusted(PEER_CA).is_empty());
}

#[test]
fn the_end_that_is_reported_is_that_of_the_issuers_authority_if_it_is_sooner() {
    let mut world = issued();
    assert_eq!(world.plan().not_after, Some(world.leaf(0).not_after()));
    assert_eq!(world.plan().lists_not_after, None);
    // An issuer signs certificates that outlive it.
    world.wanted.schedule.duration = Duration::days(4000);
    world.settle();
    let authority = world.authorities().pop().unwrap();
    assert!(world.leaf(0).not_after() > authority.not_after());
    assert_eq!(world.plan().not_after, Some(authority.not_after()));
}

#[test]
fn a_certificate_that_is_not_ready_and_one_without_authority_are_named() {
    let mut world = issued();
    let issuances = world.facts.issuances.as_mut().unwrap();
    let issuance = issuances.get_mut("demo-shard-1-tls").unwrap();
    issuance.ready = false;
    issuance.message = "issuer not found".into();
    let plan = world.plan();
    assert!(!plan.ready);
    assert!(plan.message.contains("demo-shard-1-tls: issuer not found"), "{}", plan.message);

    let mut world = issued();
    world.facts.secrets.get_mut("demo-shard-0-tls").unwrap().set("ca.crt", "".into());
    let plan = world.plan();
    assert_eq!(plan.reason, "NoAuthority");
    assert!(plan.writes.iter().all(|write| !matches!(write, Write::Trust(_))), "trust is kept");
}
