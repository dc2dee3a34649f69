//! Tokens and limits; certificates of clients are in the tests of the cluster.

use tonic::codegen::http::Request;

use super::*;

const ALICE: &str = "alice-has-a-secret-of-her-own";
const BOB: &str = "bob-has-another-secret-here";

fn access(dir: &std::path::Path, concurrency: usize, rate: u32) -> Access {
    let mode = Mode::Token(Tokens::open(dir.to_owned()).unwrap());
    let loaders = Loaders::new(&["alice".to_owned()]);
    Access { mode, loaders, limits: Limits::new(concurrency, rate) }
}

fn with(header: &str) -> Request<()> {
    calling("Lookup", header)
}

fn calling(call: &str, header: &str) -> Request<()> {
    let request = Request::builder().uri(format!("/opaque.v1.Query/{call}"));
    request.header("authorization", header).body(()).unwrap()
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
fn a_client_loads_only_by_name() {
    let dir = tokens();
    let access = access(dir.path(), 8, 0);
    for call in ["Load", "Rollback"] {
        let by = |token: &str| access.admit(&calling(call, &format!("Bearer {token}"))).map(|_| ());
        assert!(by(ALICE).is_ok());
        assert!(matches!(by(BOB), Err(NodeError::Forbidden(words)) if words.contains("\"bob\"")));
        let nobody = Access { mode: Mode::None, ..self::access(dir.path(), 8, 0) };
        let refused = nobody.admit(&calling(call, ""));
        assert!(matches!(refused, Err(NodeError::Forbidden(_))), "a name that nobody proves");
    }
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
    let limits = Limits::new(2, 0);
    let held: Vec<_> = (0..2).map(|_| limits.take(&alice, now).unwrap()).collect();
    assert!(matches!(limits.take(&alice, now), Err(NodeError::TooMany(_))));
    limits.take(&bob, now).unwrap();
    drop(held);
    limits.take(&alice, now).unwrap();

    let limits = Limits::new(100, 4);
    let burst = (0..6).filter(|_| limits.take(&alice, now).is_ok()).count();
    assert_eq!(burst, 4);
    assert!(limits.take(&bob, now).is_ok());
    let later = now + Duration::from_millis(500);
    assert_eq!((0..6).filter(|_| limits.take(&alice, later).is_ok()).count(), 2);
}
