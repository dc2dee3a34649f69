use super::*;
use crate::support::serving;

#[test]
fn a_record_names_every_missing_table_and_stays_small() {
    let state = ReplicaState::new("n".into(), 0, String::new(), String::new());
    state.serves_at(3);
    let one = [("t00".to_owned(), "store: plane-0 is damaged".to_owned())].into();
    state.lacks(&one);
    let told = state.to_proto(0).message;
    assert_eq!(told, "table \"t00\" cannot be loaded: store: plane-0 is damaged");
    let many = (0..40).map(|i| (format!("t{i:02}"), "ä".repeat(1_000))).collect();
    state.lacks(&many);
    let record = state.record(UnixMillis(7), 0);
    assert_eq!(record.missing.len(), 40);
    assert!(record.missing.values().map(String::len).sum::<usize>() < 8_000);
    assert!(state.to_proto(0).message.ends_with("and 39 more tables"));
    state.doing("preparing generation 4");
    assert_eq!(state.to_proto(0).message, "preparing generation 4");
    state.lacks(&BTreeMap::new());
    assert_eq!(state.record(UnixMillis(7), 0).missing, BTreeMap::new());
}

#[test]
fn a_record_tells_what_the_node_does() {
    let state = ReplicaState::new("n".into(), 0, String::new(), String::new());
    state.prepared(3);
    assert!(state.active(&serving(3), Some("uid")));
    assert!(!state.active(&serving(3), Some("another")), "it serves the same");
    state.failed(4, "plane-0 is damaged".into());
    let record = state.record(UnixMillis(7), 9);
    assert_eq!((record.active_generation, record.prepared_generation), (3, 3));
    assert_eq!((record.heartbeat, record.resident_bytes), (UnixMillis(7), 9));
    assert_eq!(record.map.as_deref(), Some("another"));
    assert_eq!(state.failed_generation(), Some(4));
    assert!(record.message.contains("generation 4: plane-0 is damaged"));
    state.forget_failure();
    assert!(state.record(UnixMillis(7), 9).message.is_empty());
    assert_eq!(state.failed_generation(), None);
}
