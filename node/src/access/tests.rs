//! Tokens and limits; certificates of clients are in the tests of the cluster.

use tonic::codegen::http::Request;

use super::*;
use crate::tls::Hangup;

const ALICE: &str = "alice-has-a-secret-of-her-own";
const BOB: &str = "bob-has-another-secret-here";

fn access(dir: &std::path::Path, concurrency: usize, rate: u32) -> Access {
    let mode = Mode::Token(Tokens::open(dir.to_owned()).unwrap());
    Access { mode, limits: Limits::new(1000, concurrency, rate) }
}

fn with(header: &str) -> Request<()> {
    Request::builder().header("authorization", header).body(()).unwrap()
}

fn tokens() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("alice"), format!("{ALICE}\n")).unwrap();
    std::fs::write(dir.path().join("bob"), BOB).unwrap();
    std::fs::write(dir.path().join("..hidden"), "not a token").unwrap();
    dir
}

#[test]
fn only_the_bearer_of_a_token_is_admitted() {
    let dir = tokens();
    let access = access(dir.path(), 8, 0);
    let admitted = |header: &str| access.admit(&with(header)).is_ok();
    assert!(admitted(&format!("Bearer {ALICE}")) && admitted(&format!("Bearer {BOB}")));
    for wrong in ["", "Bearer ", "Bearer not a token", ALICE, &format!("Basic {ALICE}")] {
        assert!(!admitted(wrong), "{wrong:?}");
    }
    assert!(!admitted(&format!("Bearer {ALICE}x")));
    assert!(!admitted(&format!("Bearer {}", &ALICE[1..])));
    let nothing = Request::builder().body(()).unwrap();
    assert!(matches!(access.admit(&nothing), Err(NodeError::Unauthenticated(_))));
    let shown = format!("{access:?}");
    assert!(!shown.contains(ALICE), "{shown}");
}

#[test]
fn tokens_are_changed_without_a_restart_and_never_for_worse() {
    let dir = tokens();
    let access = access(dir.path(), 8, 0);
    let Mode::Token(tokens) = &access.mode else { panic!("tokens") };
    std::fs::write(dir.path().join("alice"), "a-new-secret-for-alice").unwrap();
    tokens.look();
    assert_eq!(tokens.principal(ALICE.as_bytes()), None);
    assert_eq!(tokens.principal(b"a-new-secret-for-alice").as_deref(), Some("alice"));
    std::fs::write(dir.path().join("bob"), "short").unwrap();
    tokens.look();
    assert_eq!(tokens.principal(BOB.as_bytes()).as_deref(), Some("bob"));
    std::fs::remove_file(dir.path().join("bob")).unwrap();
    tokens.look();
    assert_eq!(tokens.principal(BOB.as_bytes()), None);
}

#[test]
fn tokens_that_protect_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = || Tokens::open(dir.path().to_owned()).unwrap_err();
    assert!(matches!(refused(), TokensError::None { .. }));
    for bad in ["", "fifteen letters", "two words of sixteen and more", &"x".repeat(5000)] {
        std::fs::write(dir.path().join("carol"), bad).unwrap();
        assert!(matches!(refused(), TokensError::Token { .. }), "{}", bad.len());
    }
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert!(matches!(refused(), TokensError::Read { .. }));
}

#[test]
fn each_client_has_limits_of_its_own() {
    let (now, alice, bob) = (Instant::now(), Arc::from("alice"), Arc::from("bob"));
    let limits = Limits::new(100, 2, 0);
    let held: Vec<_> = (0..2).map(|_| limits.take(&alice, now).unwrap()).collect();
    assert!(matches!(limits.take(&alice, now), Err(Refusal::Client)));
    limits.take(&bob, now).unwrap();
    drop(held);
    limits.take(&alice, now).unwrap();

    let limits = Limits::new(100, 100, 4);
    let burst = (0..6).filter(|_| limits.take(&alice, now).is_ok()).count();
    assert_eq!(burst, 4);
    assert!(limits.take(&bob, now).is_ok());
    let later = now + Duration::from_millis(500);
    assert_eq!((0..6).filter(|_| limits.take(&alice, later).is_ok()).count(), 2);
}

#[test]
fn all_clients_together_have_limits_too() {
    let now = Instant::now();
    let limits = Limits::new(3, 2, 0);
    let client = |number: u32| Arc::from(number.to_string());
    let held: Vec<_> = (0..3).map(|number| limits.take(&client(number), now).unwrap()).collect();
    assert!(matches!(limits.take(&client(3), now), Err(Refusal::All)));
    drop(held);
    // A refusal takes no place.
    assert!((0..3).all(|number| limits.take(&client(number), now).is_ok()));
}

#[test]
fn without_proof_a_client_is_its_address() {
    let limits = Limits::new(100, 2, 0);
    let access = Access { mode: Mode::None, limits };
    let from = |address: &str| {
        let caller = Caller {
            address: address.parse().unwrap(),
            presented: None,
            hangup: Hangup::default(),
        };
        Request::builder().extension(caller).body(()).unwrap()
    };
    let one: Vec<_> =
        (1..3).map(|port| access.admit(&from(&format!("10.0.0.1:{port}"))).unwrap()).collect();
    let refused = access.admit(&from("10.0.0.1:9")).unwrap_err();
    assert!(matches!(refused, NodeError::TooMany(_)), "{refused}");
    access.admit(&from("10.0.0.2:1")).unwrap();
    // The same machine, as a socket of both protocols names it.
    assert!(access.admit(&from("[::ffff:10.0.0.1]:1")).is_err());
    drop(one);
    access.admit(&from("10.0.0.1:9")).unwrap();
    let network = client_at("2001:db8::1".parse().unwrap());
    assert_eq!(network, client_at("2001:db8::ffff:2".parse().unwrap()));
    assert_ne!(network, client_at("2001:db8:0:1::1".parse().unwrap()));
}
