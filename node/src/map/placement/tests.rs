use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn key(column: u32) -> Key<'static> {
    Key { table: "weather", column, kind: Kind::Partitions }
}

fn loads(placed: &[ShardId], shards: &Shards) -> Vec<usize> {
    shards.ids().map(|id| placed.iter().filter(|&&shard| shard == id).count()).collect()
}

fn moved(before: &[ShardId], after: &[ShardId]) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b).count()
}

fn weighted(weights: &[u32]) -> Shards {
    let shard = |(id, &weight): (u32, &u32)| ShardWeight {
        shard: ShardId(id),
        weight: NonZeroU32::new(weight).unwrap(),
    };
    Shards::new((0..).zip(weights).map(shard).collect()).unwrap()
}

/// The definition in the module's documentation, key by key, without the module's sorting and
/// sharing.
fn oracle(key: &Key<'_>, count: u32, shards: &Shards) -> Vec<ShardId> {
    let hasher = Hasher::new(key);
    let mut owner = vec![0usize; count as usize];
    let weights: Vec<u128> = shards.as_slice().iter().map(|s| u128::from(s.weight.get())).collect();
    for joining in 1..weights.len() {
        let (chance, first) = hasher.join(ShardId(joining as u32));
        let total: u128 = weights[..=joining].iter().sum();
        let share = u128::from(count) * weights[joining];
        let up = u128::from(chance) * total < (share % total) << 64;
        let ring = Ring::of(ShardId(joining as u32));
        for _ in 0..share / total + u128::from(up) {
            let load = |d: usize| owner.iter().filter(|&&o| o == d).count() as u128;
            let mut donor = (first % joining as u64) as usize;
            for step in 1..joining {
                let next = ((first % joining as u64) as usize + step) % joining;
                if load(next) * weights[donor] > load(donor) * weights[next] {
                    donor = next;
                }
            }
            let nearest = (0..count as usize)
                .filter(|&k| owner[k] == donor)
                .min_by_key(|&k| (ring.distance(hasher.position(k as u32)), k))
                .unwrap();
            owner[nearest] = joining;
        }
    }
    owner.into_iter().map(|shard| ShardId(shard as u32)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn equal_shards_share_within_one_key(count in 0u32..600, shards in 1u32..40, column: u32) {
        let shards = Shards::equal(shards).unwrap();
        let placed = place(&key(column), count, &shards);
        prop_assert_eq!(placed.len(), count as usize);
        let loads = loads(&placed, &shards);
        // Every key is on a shard of the map, and thus on exactly one.
        prop_assert_eq!(loads.iter().sum::<usize>(), count as usize);
        let (least, most) = (count as usize / shards.count(), (count as usize).div_ceil(shards.count()));
        prop_assert!(loads.iter().all(|load| (least..=most).contains(load)), "{:?}", loads);
    }

    #[test]
    fn one_more_shard_takes_its_share_and_nothing_else_moves(
        count in 0u32..600,
        shards in 1u32..40,
        column: u32,
    ) {
        let before = place(&key(column), count, &Shards::equal(shards).unwrap());
        let after = place(&key(column), count, &Shards::equal(shards + 1).unwrap());
        prop_assert!(moved(&before, &after) <= (count as usize).div_ceil(shards as usize + 1));
        let to = before.iter().zip(&after).filter(|(a, b)| a != b).map(|(_, to)| *to);
        prop_assert!(to.into_iter().all(|shard| shard == ShardId(shards)));
        // The reverse: the map with fewer shards is the same as before.
        prop_assert_eq!(place(&key(column), count, &Shards::equal(shards).unwrap()), before);
    }

    #[test]
    fn unequal_shards_stay_near_their_share(
        count in 0u32..600,
        weights in prop::collection::vec(1u32..1000, 1..24),
        column: u32,
    ) {
        let shards = weighted(&weights);
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        let loads = loads(&place(&key(column), count, &shards), &shards);
        for (load, weight) in loads.iter().zip(&weights) {
            let share = f64::from(count) * f64::from(*weight) / total as f64;
            prop_assert!(*load as f64 <= share * 1.2 + 2.0, "{load} of {share}");
        }
    }

    #[test]
    fn follows_its_definition(
        count in 0u32..80,
        weights in prop::collection::vec(1u32..6, 1..9),
        column: u32,
    ) {
        let shards = weighted(&weights);
        prop_assert_eq!(place(&key(column), count, &shards), oracle(&key(column), count, &shards));
    }
}

#[test]
fn the_only_key_of_many_indexes_spreads_by_weight() {
    let shards = weighted(&[1, 1, 2, 4]);
    let mut hits = BTreeMap::new();
    for column in 0..4000 {
        for kind in [Kind::Partitions, Kind::Planes] {
            let key = Key { table: "t", column, kind };
            *hits.entry(place(&key, 1, &shards)[0].0).or_insert(0u32) += 1;
        }
    }
    // 8000 draws. The deviation of each count is below 45.
    for (shard, expected) in [(0, 1000u32), (1, 1000), (2, 2000), (3, 4000)] {
        assert!(hits[&shard].abs_diff(expected) < 200, "{hits:?}");
    }
}

#[test]
fn indexes_are_placed_independently() {
    let shards = Shards::equal(5).unwrap();
    let base = place(&key(0), 64, &shards);
    assert_ne!(base, place(&key(1), 64, &shards));
    assert_ne!(base, place(&Key { table: "weathe", ..key(0) }, 64, &shards));
    assert_ne!(base, place(&Key { kind: Kind::Planes, ..key(0) }, 64, &shards));
}

#[test]
fn known_answers() {
    let ids = |placed: Vec<ShardId>| -> Vec<u32> { placed.into_iter().map(|id| id.0).collect() };
    let three = Shards::equal(3).unwrap();
    let four = Shards::equal(4).unwrap();
    assert_eq!(ids(place(&key(0), 12, &three)), KNOWN_THREE);
    assert_eq!(ids(place(&key(0), 12, &four)), KNOWN_FOUR);
    assert_eq!(ids(place(&key(0), 12, &weighted(&[1, 3]))), KNOWN_WEIGHTED);
    // 1024 partitions on 64 shards, as a digest.
    let large = ids(place(&key(0), 1024, &Shards::equal(64).unwrap()));
    let bytes: Vec<u8> = large.iter().flat_map(|id| id.to_le_bytes()).collect();
    assert_eq!(blake3::hash(&bytes).to_hex().as_str(), KNOWN_LARGE);
}

const KNOWN_THREE: [u32; 12] = [1, 2, 1, 1, 0, 2, 0, 1, 2, 2, 0, 0];
const KNOWN_FOUR: [u32; 12] = [1, 3, 1, 1, 3, 2, 0, 3, 2, 2, 0, 0];
const KNOWN_WEIGHTED: [u32; 12] = [1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0];
const KNOWN_LARGE: &str = "98be4656e0dd49476ce62d2d15ea3f76fe3ac424a8636f306d26287cb9ee84dd";

#[test]
fn lists_that_are_no_cluster_are_refused() {
    let weight = NonZeroU32::MIN;
    assert_eq!(Shards::new(vec![]), Err(ShardsError::Count(0)));
    assert_eq!(Shards::equal(u32::MAX), Err(ShardsError::Count(u32::MAX as usize)));
    let gap = vec![ShardWeight { shard: ShardId(1), weight }];
    let refused = ShardsError::Id { expected: ShardId(0), found: ShardId(1) };
    assert_eq!(Shards::new(gap), Err(refused));
    let zero = r#"[{"shard":0,"weight":0}]"#;
    assert!(serde_json::from_str::<Shards>(zero).is_err());
    let two = Shards::equal(2).unwrap();
    let text = serde_json::to_string(&two).unwrap();
    assert_eq!(text, r#"[{"shard":0,"weight":1},{"shard":1,"weight":1}]"#);
    assert_eq!(serde_json::from_str::<Shards>(&text).unwrap(), two);
}
