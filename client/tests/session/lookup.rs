//! Lookups of several requests, against a node that spoils what is in the answers.

use opaque_client::Client;
use opaque_pir::{
    codec::{Combiner, Partial, QueryView},
    geometry::Geometry,
    params::PLANE_CIPHERTEXT_BYTES,
};

use super::{
    fake::Reply,
    scan::{client_with_keys, config, described, numbers},
};
use rand::{SeedableRng, rngs::StdRng};

/// An answer that is right in every outward respect, and whose buckets decrypt to nothing valid.
fn spoiled(lookups: u16) -> Reply {
    let geometry = Geometry::new(4096, 2048, 1).unwrap();
    let of_lookups = usize::from(lookups);
    let partial = Partial {
        generation: 1,
        epoch: 1,
        partitions: (0..geometry.partitions()).collect(),
        scans: vec![vec![0; geometry.bucket_bytes()]; of_lookups],
        planes: vec![(0, vec![vec![0; PLANE_CIPHERTEXT_BYTES]; of_lookups])],
    };
    let mut combiner = Combiner::new(&geometry, 1, 1, lookups).unwrap();
    combiner.add(partial).unwrap();
    Reply::Bytes(combiner.finish().unwrap())
}

/// Whether, and how often, the client asks again must not depend on what an answer decrypts to.
#[tokio::test]
async fn every_request_is_sent_before_an_answer_is_opened() {
    let literals: Vec<String> = (0..20).map(|literal| literal.to_string()).collect();
    let sql = format!("SELECT * FROM t WHERE id IN ({})", literals.join(", "));
    let keys = tempfile::tempdir().unwrap();
    let script = vec![spoiled(16), spoiled(4)];
    let (client, node) =
        client_with_keys(vec![described(1, 100)], script, keys.path().join("keys")).await;
    let error = numbers(&client, &sql).await.unwrap_err();
    assert!(error.to_string().contains("failed its check"), "{error}");
    let seen = node.seen.lock().unwrap();
    let lookups: Vec<_> = seen.lookups.iter().map(|(header, _)| header.lookups).collect();
    assert_eq!(lookups, [Some(16), Some(4)]);
    assert_eq!(seen.describes, 1);
}

/// The scan's part of a query is a function of the client's randomness, and of nothing that repeats
/// unless a test injects it.
#[tokio::test]
async fn seeds_come_from_the_system_unless_they_are_injected() {
    let keys = tempfile::tempdir().unwrap();
    let script = (0..3).map(|_| spoiled(2)).collect();
    let (config, node) = config(vec![described(1, 100)], script, keys.path().join("keys")).await;
    let injected = || Client::with_randomness(config.clone(), StdRng::seed_from_u64(1)).unwrap();
    for client in [injected(), injected(), Client::connect(config.clone()).unwrap()] {
        numbers(&client, "SELECT * FROM t WHERE id IN (5, 5)").await.unwrap_err();
    }
    let geometry = Geometry::new(4096, 2048, 1).unwrap();
    let seen = node.seen.lock().unwrap();
    let scan = |query: usize, lookup| {
        let view = QueryView::decode(&seen.lookups[query].1, &geometry, 1).unwrap();
        view.lwe_partition(lookup, 0).unwrap().to_vec()
    };
    assert_eq!(seen.lookups.len(), 3);
    assert_eq!(scan(0, 0), scan(1, 0));
    assert_eq!(scan(0, 1), scan(1, 1));
    assert_ne!(scan(0, 0), scan(0, 1), "one value, two lookups");
    assert_ne!(scan(0, 0), scan(2, 0));
    assert_ne!(scan(2, 0), scan(2, 1));
}
