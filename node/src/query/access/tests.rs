//! Tests of tokens and limits. Certificates of clients are covered by the tests of TLS and of the
//! cluster.

use std::path::Path;

use tonic::codegen::http::Request;

use super::*;
use crate::tls::Hangup;

const ALICE: &str = "alice-has-a-secret-of-her-own";
const BOB: &str = "bob-has-another-secret-here";

fn access(dir: &Path, concurrency: usize, rate: u32) -> Access {
    let mode = Mode::Token(Tokens::open(dir.to_owned(), Instant::now()));
    let loaders = Loaders::new(&["alice".to_owned()]);
    let limits = Limits::new(1000, concurrency, rate);
    Access { mode, loaders, limits, open: open_limits() }
}

fn with(header: &str) -> Request<()> {
    calling("Lookup", header)
}

fn calling(call: &str, header: &str) -> Request<()> {
    let request = Request::builder().uri(format!("/opaque.v1.Query/{call}"));
    request.header("authorization", header).body(()).unwrap()
}

fn write(dir: &Path, name: &str, content: &str) {
    std::fs::write(dir.join(name), content).unwrap();
}

fn tokens() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "alice", &format!("{ALICE}\n"));
    write(dir.path(), "bob", BOB);
    write(dir.path(), "..hidden", "not a token");
    dir
}

/// The client that a token belongs to at a moment.
fn who(tokens: &Tokens, token: &str, now: Instant) -> Option<String> {
    tokens.principal(token.as_bytes(), now).ok().map(|name| name.to_string())
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
fn a_client_loads_only_by_name() {
    let dir = tokens();
    let access = access(dir.path(), 8, 0);
    for call in ["Load", "Rollback"] {
        let by = |token: &str| access.admit(&calling(call, &format!("Bearer {token}"))).map(drop);
        assert!(by(ALICE).is_ok());
        assert!(matches!(by(BOB), Err(NodeError::Forbidden(words)) if words.contains("\"bob\"")));
        let nobody = Access { mode: Mode::None, ..self::access(dir.path(), 8, 0) };
        let refused = nobody.admit(&calling(call, ""));
        assert!(matches!(refused, Err(NodeError::Forbidden(_))), "a name that no client proves");
    }
}

/// At 152c974, one bad file kept every removed token in use.
#[test]
fn a_removed_token_is_refused_at_the_next_look_whatever_the_other_files_hold() {
    let bad: [&dyn Fn(&Path); 8] = [
        &|dir| write(dir, "carol", ""),
        &|dir| write(dir, "carol", "fifteen letters"),
        &|dir| write(dir, "carol", "two words of sixteen and more"),
        &|dir| write(dir, "carol", &"x".repeat(5000)),
        &|dir| std::os::unix::fs::symlink("nowhere", dir.join("carol")).unwrap(),
        &|dir| drop(std::os::unix::net::UnixListener::bind(dir.join("carol")).unwrap()),
        &|dir| {
            use std::os::unix::ffi::OsStrExt;
            let name = std::ffi::OsStr::from_bytes(b"\xff");
            std::fs::write(dir.join(name), "a token with sixteen letters").unwrap();
        },
        &|dir| write(dir, "carol", BOB),
    ];
    for (case, spoil) in bad.iter().enumerate() {
        let (dir, now) = (tokens(), Instant::now());
        let tokens = Tokens::open(dir.path().to_owned(), now);
        spoil(dir.path());
        std::fs::remove_file(dir.path().join("alice")).unwrap();
        tokens.look(now);
        assert_eq!(who(&tokens, ALICE, now), None, "case {case}");
        assert_eq!(who(&tokens, BOB, now).as_deref(), Some("bob"), "case {case}");
        let standing = tokens.standing(now);
        assert_eq!((standing.void, standing.closed), (1, None), "case {case}");
    }
}

#[test]
fn a_file_that_no_longer_holds_a_token_voids_only_its_own() {
    let (dir, now) = (tokens(), Instant::now());
    let tokens = Tokens::open(dir.path().to_owned(), now);
    write(dir.path(), "alice", "a-new-secret-for-alice");
    write(dir.path(), "bob", "short");
    tokens.look(now);
    assert_eq!(who(&tokens, ALICE, now), None);
    assert_eq!(who(&tokens, "a-new-secret-for-alice", now).as_deref(), Some("alice"));
    assert_eq!(who(&tokens, BOB, now), None);
}

#[test]
fn a_token_of_two_files_is_that_of_the_first_by_name() {
    let (dir, now) = (tokens(), Instant::now());
    write(dir.path(), "zoe", ALICE);
    let tokens = Tokens::open(dir.path().to_owned(), now);
    assert_eq!(who(&tokens, ALICE, now).as_deref(), Some("alice"));
    assert_eq!(tokens.standing(now).void, 1);
    // A client that got another name keeps its token.
    std::fs::remove_file(dir.path().join("alice")).unwrap();
    tokens.look(now);
    assert_eq!(who(&tokens, ALICE, now).as_deref(), Some("zoe"));
    assert_eq!(tokens.standing(now).void, 0);
}

/// At 152c974, tokens that could not be read were valid forever.
#[test]
fn tokens_that_cannot_be_read_any_more_count_for_two_minutes() {
    let (dir, now) = (tokens(), Instant::now());
    let at = |seconds| now + Duration::from_secs(seconds);
    let tokens = Tokens::open(dir.path().to_owned(), now);
    let path = dir.path().to_owned();
    drop(dir);
    tokens.look(at(2));
    assert_eq!(who(&tokens, ALICE, at(120)).as_deref(), Some("alice"));
    assert_eq!(tokens.standing(at(120)).closed, None);
    assert_eq!(tokens.standing(at(120)).unread, Duration::from_secs(120));
    assert_eq!(who(&tokens, ALICE, at(121)), None);
    let closed = tokens.standing(at(121)).closed.unwrap();
    assert!(closed.contains("no client may ask: cannot read"), "{closed}");
    std::fs::create_dir(&path).unwrap();
    write(&path, "bob", BOB);
    tokens.look(at(200));
    assert_eq!(who(&tokens, BOB, at(200)).as_deref(), Some("bob"));
    assert_eq!((who(&tokens, ALICE, at(200)), tokens.standing(at(200)).closed), (None, None));
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn without_any_token_no_client_may_ask_until_one_comes() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let missing = dir.path().join("not-there-yet");
    for path in [dir.path(), &missing] {
        let tokens = Tokens::open(path.to_owned(), now);
        let refusal = tokens.principal(BOB.as_bytes(), now).unwrap_err();
        assert!(refusal.contains("no client may ask"), "{refusal}");
        assert!(tokens.standing(now).closed.unwrap().contains("no client may ask"));
        std::fs::create_dir_all(path).unwrap();
        write(path, "bob", BOB);
        tokens.look(now);
        assert_eq!(who(&tokens, BOB, now).as_deref(), Some("bob"));
        std::fs::remove_file(path.join("bob")).unwrap();
        tokens.look(now);
        assert_eq!(who(&tokens, BOB, now), None);
    }
}

#[test]
fn readiness_record_and_metrics_say_that_no_client_may_ask() {
    let dir = tempfile::tempdir().unwrap();
    let access = Arc::new(access(dir.path(), 8, 0));
    let readiness = Readiness::not_yet("starting");
    let state = ReplicaState::new("n".into(), 0, String::new(), String::new());
    state.serves_at(1);
    let message = || state.record(UnixMillis(0), 0).message;
    let scrape = || crate::support::scrape(Gauges(Arc::clone(&access)));
    write(dir.path(), "short", "short");
    let Mode::Token(tokens) = &access.mode else { panic!("tokens") };
    tokens.look(Instant::now());
    access.tell(&readiness, &state);
    assert!(readiness.reason().unwrap().contains("holds no usable token"));
    assert!(message().contains("holds no usable token"));
    let text = scrape();
    assert!(text.contains("opaque_node_client_auth_closed 1"), "{text}");
    assert!(text.contains("opaque_node_client_auth_void 1"), "{text}");
    assert!(text.contains("opaque_node_client_auth_unread_seconds 0"), "{text}");
    write(dir.path(), "bob", BOB);
    tokens.look(Instant::now());
    access.tell(&readiness, &state);
    assert!(readiness.is_ready() && message().is_empty());
    assert!(scrape().contains("opaque_node_client_auth_closed 0"));
}

#[test]
fn each_client_has_separate_limits() {
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
    let access =
        Access { mode: Mode::None, loaders: Loaders::new(&[]), limits, open: open_limits() };
    let from = |address: &str| {
        let caller = Caller {
            address: address.parse().unwrap(),
            presented: None,
            asked: false,
            hangup: Hangup::default(),
        };
        let request = Request::builder().uri("/opaque.v1.Query/Lookup");
        request.extension(caller).body(()).unwrap()
    };
    let one: Vec<_> =
        (1..3).map(|port| access.admit(&from(&format!("10.0.0.1:{port}"))).unwrap()).collect();
    let refused = access.admit(&from("10.0.0.1:9")).unwrap_err();
    assert!(matches!(refused, NodeError::TooMany(_)), "{refused}");
    access.admit(&from("10.0.0.2:1")).unwrap();
    // The same machine, under the name that a dual-stack socket gives it.
    assert!(access.admit(&from("[::ffff:10.0.0.1]:1")).is_err());
    // Health checks have separate places, and take none of a client's.
    let checks: Vec<_> =
        (0..OPEN_OF_ONE).map(|_| access.admit_anyone(&from("10.0.0.1:9")).unwrap()).collect();
    assert!(access.admit_anyone(&from("10.0.0.1:9")).is_err());
    drop(one);
    access.admit(&from("10.0.0.1:9")).unwrap();
    drop(checks);
    let network = client_at("2001:db8::1".parse().unwrap());
    assert_eq!(network, client_at("2001:db8::ffff:2".parse().unwrap()));
    assert_ne!(network, client_at("2001:db8:0:1::1".parse().unwrap()));
}
