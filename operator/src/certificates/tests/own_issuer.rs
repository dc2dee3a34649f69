//! A cluster's own authorities: renewal, revocation, changes, and lost objects.

use opaque_crds::names;
use time::Duration;

use super::world::{World, verify, verify_server};
use crate::certificates::model::{CLIENTS_REVOKED, PEER_CA, PEER_CRL, Plan, SERVER_CA, Write};

fn blocked(plan: &Plan) -> String {
    plan.progress.clone().and_then(|progress| progress.blocked_by).unwrap_or_default()
}

/// The message names the last nodes to load, or counts them if there are more than three.
fn waits_for(loaded: usize) -> &'static str {
    if loaded == 0 { "and 1 more" } else { "demo-shard-1-1" }
}

fn names_of(plan: &Plan) -> Vec<String> {
    let name = |write: &Write| match write {
        Write::Secret { name, .. } | Write::DeleteSecret(name) => name.clone(),
        Write::Trust(_) => "trust".into(),
        Write::Issuance { name, .. } | Write::DeleteIssuance(name) => format!("certificate {name}"),
    };
    plan.writes.iter().map(name).collect()
}

#[test]
fn a_new_cluster_gets_everything_in_one_pass_and_then_nothing_is_written() {
    let mut world = World::new();
    let plan = world.reconcile();
    let expected = [
        "demo-peer-ca",
        "demo-server-ca",
        "trust",
        "demo-shard-0-tls",
        "demo-shard-1-tls",
        "demo-server-tls",
    ];
    assert_eq!(names_of(&plan), expected);
    assert!(plan.ready && plan.revocation && plan.progress.is_none());
    assert_eq!(plan.not_after, Some(world.now + Duration::HOUR));
    assert_eq!(plan.lists_not_after, Some(world.now + Duration::minutes(100)));
    assert!(world.reconcile().writes.is_empty());
    world.sync_all();
    world.check_pairs();
    let server = world.secret("demo-server-tls").text("tls.crt").to_owned();
    for name in [
        "demo-query",
        "demo-query.tests.svc",
        "demo-shard-1-0.demo-peers.tests.svc.cluster.local",
        "localhost",
        "127.0.0.1",
    ] {
        verify_server(&server, world.facts.trusted(SERVER_CA), name, world.now).unwrap();
    }
    assert!(verify_server(&server, world.facts.trusted(SERVER_CA), "other", world.now).is_err());
    assert!(verify(&server, world.facts.trusted(PEER_CA), None, world.now).is_err());
}

#[test]
fn certificates_are_renewed_when_due_and_not_all_at_once() {
    let mut world = World::running();
    let before = [world.leaf(0), world.leaf(1)];
    let first = world.plan().next;
    world.now = first - Duration::SECOND;
    assert!(world.reconcile().writes.is_empty());
    let mut renewed = Vec::new();
    for _ in 0..700 {
        world.now += Duration::seconds(5);
        for name in names_of(&world.reconcile()).into_iter().filter(|name| name.contains("-tls")) {
            renewed.push((name, world.now));
        }
        if renewed.len() >= 3 {
            break;
        }
    }
    assert_eq!(renewed.len(), 3, "{renewed:?}");
    assert_ne!(renewed[0].1, renewed[1].1);
    for (old, shard) in before.iter().zip(0..) {
        assert_ne!(*old, world.leaf(shard));
        assert!(world.now < old.not_after() - Duration::minutes(19));
    }
    assert!(world.plan().next > world.now);
}

#[test]
fn the_next_plan_comes_when_something_is_due() {
    let mut world = World::running();
    for _ in 0..40 {
        let plan = world.plan();
        assert!(plan.writes.is_empty());
        assert!(plan.next > world.now);
        world.now = plan.next;
        world.settle();
        for shard in 0..2 {
            assert!(world.leaf(shard).not_after() > world.now + Duration::minutes(19));
        }
    }
}

#[test]
fn a_revoked_certificate_is_refused_and_replaced() {
    let mut world = World::running();
    let old = world.secret("demo-shard-0-tls").text("tls.crt").to_owned();
    world.wanted.revoked.insert(world.leaf(0).serial());
    let plan = world.reconcile();
    assert_eq!(names_of(&plan), ["trust", "demo-shard-0-tls"]);
    let (bundle, lists) = (world.facts.trusted(PEER_CA), world.facts.trusted(PEER_CRL));
    assert!(verify(&old, bundle, Some(lists), world.now).unwrap_err().contains("Revoked"));
    world.sync_all();
    world.check_pairs();
    // A serial number that is removed from the list is no longer refused.
    world.wanted.revoked.clear();
    world.settle();
    let lists = world.facts.trusted(PEER_CRL);
    verify(&old, world.facts.trusted(PEER_CA), Some(lists), world.now).unwrap();
}

#[test]
fn revocation_lists_are_renewed_long_before_they_end() {
    let mut world = World::running();
    let lists = world.facts.trusted(PEER_CRL).to_owned();
    let life = world.wanted.schedule.list();
    world.now += life / 2_i32;
    world.reconcile();
    assert_ne!(lists, world.facts.trusted(PEER_CRL));
    world.now += life / 2_i32 + Duration::MINUTE;
    world.reconcile();
    let chain = world.secret("demo-shard-0-tls").text("tls.crt");
    let check = |lists| verify(chain, world.facts.trusted(PEER_CA), lists, world.now);
    check(None).unwrap();
    check(Some(world.facts.trusted(PEER_CRL))).unwrap();
    assert!(check(Some(&lists)).is_err(), "a list that has run out is still taken");
}

/// At commit 152c974, lists lived for 45 days, and nodes refused each other after that.
#[test]
fn nodes_talk_until_their_certificates_end_while_no_operator_runs() {
    let mut world = World::running();
    // With the default duration, the list must not expire first.
    world.wanted.schedule.duration = Duration::days(90);
    world.wanted.schedule.renew_before = Duration::days(30);
    world.settle();
    let end = world.leaf(0).not_after().min(world.leaf(1).not_after());
    let talking = world.now;
    while world.now < end {
        world.check_pairs();
        world.check_lists();
        world.now += Duration::days(1);
    }
    assert!(world.now - talking >= Duration::days(90));
}

#[test]
fn nodes_learn_which_certificates_of_clients_are_revoked() {
    let mut world = World::running();
    assert_eq!(world.facts.trusted(CLIENTS_REVOKED), "");
    assert!(world.facts.trust.contains_key(CLIENTS_REVOKED), "pods mount it");
    world.wanted.clients_revoked = ["0b", "a1"].map(str::to_owned).into();
    assert_eq!(names_of(&world.reconcile()), ["trust"]);
    assert_eq!(world.facts.trusted(CLIENTS_REVOKED), "0b\na1\n");
    world.install_issuer("first");
    world.use_issuer();
    world.settle();
    assert_eq!(world.facts.trusted(CLIENTS_REVOKED), "0b\na1\n", "with cert-manager too");
}

#[test]
fn a_change_of_the_authority_waits_for_every_member_and_says_for_whom() {
    let mut world = World::running();
    let old = world.authorities();
    world.wanted.rotate = Some("2026-11".into());
    world.reconcile();
    assert_eq!(world.authorities().len(), 2);
    assert!(world.leaf(0).is_signed_by(&old[0]), "signed before all trust it");

    for index in 0..4 {
        let plan = world.reconcile();
        assert_eq!(plan.progress.as_ref().map(|p| p.step.as_str()), Some("TrustBoth"));
        assert!(blocked(&plan).contains(waits_for(index)), "{}", blocked(&plan));
        world.check_pairs();
        world.sync(index);
    }
    world.reconcile();
    let new = world.authorities()[1].clone();
    assert!(world.leaf(0).is_signed_by(&new) && world.leaf(1).is_signed_by(&new));
    for index in 0..4 {
        let plan = world.reconcile();
        assert_eq!(plan.progress.as_ref().map(|p| p.step.as_str()), Some("Reissue"));
        assert!(blocked(&plan).contains(waits_for(index)), "{}", blocked(&plan));
        assert_eq!(world.authorities().len(), 2, "dropped before all have left it");
        world.check_pairs();
        world.sync(index);
    }
    let plan = world.reconcile();
    assert_eq!(plan.progress, None);
    assert_eq!(world.authorities(), [new]);
    world.sync_all();
    world.check_pairs();
    assert!(world.reconcile().writes.is_empty(), "the same value asks for one change");
    assert!(world.secret("demo-peer-ca").get("previous.key").is_none());
}

#[test]
fn a_crash_after_any_write_of_a_change_is_made_good() {
    for limit in 0..8 {
        let mut world = World::running();
        let old = world.authorities();
        world.wanted.rotate = Some("again".into());
        for _ in 0..30 {
            world.reconcile_until(limit);
            world.check_pairs();
            world.sync_all();
            world.check_pairs();
            // Passes whose limit of writes decreases each time still make progress.
            world.reconcile_until(limit / 2 + 1);
            world.check_pairs();
        }
        world.settle();
        assert_eq!(world.authorities().len(), 1);
        assert_ne!(world.authorities(), old);
    }
}

#[test]
fn an_authority_is_replaced_before_its_end_without_being_asked() {
    let mut world = World::running();
    let old = world.authorities();
    let end = old[0].not_after();
    while world.now < end - world.wanted.schedule.duration {
        world.now += Duration::minutes(10);
        world.reconcile();
        world.check_pairs();
        world.sync_all();
    }
    assert_ne!(world.authorities(), old);
    assert_eq!(world.authorities().len(), 1);
}

#[test]
fn a_blocked_change_does_not_let_certificates_run_out_or_spin() {
    let mut world = World::running();
    world.wanted.rotate = Some("x".into());
    // One node never reloads its trust again.
    let stuck = world.nodes[3].loaded.clone();
    let mut writes = 0;
    for _ in 0..120 {
        world.now += Duration::minutes(1);
        writes += world.reconcile().writes.len();
        world.sync_all();
        world.nodes[3].loaded.clone_from(&stuck);
        world.check_pairs();
        assert!(world.leaf(0).not_after() > world.now);
    }
    // Two hours: the change, lists, and three certificates every forty minutes.
    assert!(writes < 40, "{writes} writes");
}

#[test]
fn everything_expired_heals() {
    let mut world = World::running();
    world.now += Duration::days(4000);
    let plan = world.reconcile();
    assert_eq!(plan.writes.len(), 6);
    world.sync_all();
    world.check_pairs();
    let plan = world.settle();
    assert!(plan.ready);
    assert_eq!(world.authorities().len(), 1);
    assert!(world.leaf(0).not_after() > world.now);
}

#[test]
fn a_lost_authority_is_replaced_without_a_break() {
    let mut world = World::running();
    let old = world.authorities();
    world.facts.secrets.remove("demo-peer-ca").unwrap();
    world.reconcile();
    assert_eq!(world.authorities().len(), 2, "what nodes show is still trusted");
    assert!(world.leaf(0).is_signed_by(&old[0]));
    for index in 0..4 {
        world.check_pairs();
        world.sync(index);
        world.reconcile();
    }
    for index in 0..4 {
        world.check_pairs();
        world.sync(index);
        world.reconcile();
    }
    world.settle();
    assert_eq!(world.authorities().len(), 1);
    assert_ne!(world.authorities(), old);
}

#[test]
fn damaged_secrets_are_written_again() {
    type Damage = fn(&mut World);
    let damages: [Damage; 5] = [
        |world| drop(world.facts.secrets.remove("demo-shard-0-tls")),
        |world| {
            world.facts.secrets.get_mut("demo-shard-0-tls").unwrap().set("tls.crt", "no".into())
        },
        |world| {
            let key = world.secret("demo-shard-1-tls").get("tls.key").unwrap().clone();
            world.facts.secrets.get_mut("demo-shard-0-tls").unwrap().set("tls.key", key);
        },
        |world| {
            let other = world.secret("demo-shard-1-tls").clone();
            world.facts.secrets.insert("demo-shard-0-tls".into(), other);
        },
        |world| world.facts.trust.clear(),
    ];
    for (index, damage) in damages.into_iter().enumerate() {
        let mut world = World::running();
        let (before, bundle) = (world.leaf(0), world.facts.trust[PEER_CA].clone());
        damage(&mut world);
        let plan = world.reconcile();
        assert_eq!(plan.writes.len(), 1, "damage {index}: {:?}", names_of(&plan));
        assert_eq!(world.facts.trusted(PEER_CA), bundle);
        assert_eq!(world.leaf(0) == before, index == 4);
        world.sync_all();
        world.check_pairs();
    }
}

#[test]
fn clients_that_know_only_the_old_server_authority_follow_a_change() {
    let mut world = World::running();
    let old = world.facts.trusted(SERVER_CA).to_owned();
    world.wanted.rotate = Some("x".into());
    world.reconcile();
    let chain = world.secret("demo-server-tls").text("tls.crt").to_owned();
    let new = world.secret("demo-server-ca").text("tls.crt").to_owned();
    for bundle in [old.as_str(), new.as_str(), world.facts.trusted(SERVER_CA)] {
        verify_server(&chain, bundle, "demo-query", world.now).unwrap();
    }
    assert!(world.secret("demo-server-ca").get("previous.key").is_none());
}

#[test]
fn a_change_of_the_spec_reaches_the_certificates() {
    let mut world = World::running();
    world.wanted.replicas = 3;
    world.settle();
    let name = "demo-shard-0-2.demo-peers.tests.svc.cluster.local".to_owned();
    assert!(world.leaf(0).leaf().dns_names.contains(&name));
    world.wanted.schedule.duration = Duration::minutes(10);
    world.wanted.schedule.renew_before = Duration::minutes(3);
    world.settle();
    assert!(world.leaf(0).not_after() <= world.now + Duration::minutes(10));
    world.wanted.shards = 3;
    world.settle();
    assert!(world.facts.secrets.contains_key(&names::shard_certificate("demo", 2)));
}
