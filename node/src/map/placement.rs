//! Which shard serves which partitions and hint planes: a consistent-hash ring with virtual nodes
//! and bounded load, as a pure function of the shard map.
//!
//! **Definition.** Shards join one after the other, in order of their ids. The K keys of one
//! [`Key`] (all partitions, or all planes, of one index) start at the first shard. When shard k
//! joins, it claims a *quota* of them:
//!
//! ```text
//! x = K·w_k / (w_0 + … + w_k)        quota = ⌊x⌋ + [u < frac(x)]
//! ```
//!
//! where `u` in \[0, 1) is a hash of (table, column, kind, k). Hence the only key of a small index
//! lands on each shard with a probability proportional to its weight, and thousands of small
//! indexes do not accumulate on one shard. Each claimed key comes from the shard that is then the
//! most loaded for its weight. Of that donor's keys, it is the one with the smallest clockwise
//! distance to one of shard k's virtual nodes on the ring.
//!
//! **Guarantees**, each tested:
//! - every key has exactly one shard;
//! - with equal weights over N shards every load is ⌊K/N⌋ or ⌈K/N⌉. By induction: write K = aN + b.
//!   The new shard has a or, if b > 0, a + 1. The rest lies between a(N−1) and (a+1)(N−1), and is
//!   balanced within one because the most loaded shard always gives;
//! - adding or removing the last shard moves only its quota, at most ⌈K/N⌉ keys;
//! - with unequal weights no load exceeds its share by more than 20 % and two keys.
//!
//! The ring decides only *which* keys a donor gives. A ring without quotas is off by 20 % or more
//! at the few dozen keys of an index, and a query is as slow as its fullest shard.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Version of this rule. Maps contain it, since nodes that place by different rules must not be
/// mixed.
pub const VERSION: u32 = 1;
/// Points of each shard on the ring.
pub const VIRTUAL_NODES: u32 = 64;
/// Largest number of shards of a cluster.
pub const MAX_SHARDS: usize = 1024;

/// A shard's number, from 0 without gaps.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A shard and its speed relative to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardWeight {
    /// The shard.
    pub shard: ShardId,
    /// Its share of the load is its weight over the sum of all weights.
    pub weight: NonZeroU32,
}

/// The shards of a map.
///
/// Invariants, held by [`Shards::new`]: there are 1 to [`MAX_SHARDS`], and their ids are 0, 1, 2 ….
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ShardWeight>", into = "Vec<ShardWeight>")]
pub struct Shards(Vec<ShardWeight>);

impl Shards {
    /// Checks all invariants of the type.
    pub fn new(shards: Vec<ShardWeight>) -> Result<Self, ShardsError> {
        if shards.is_empty() || shards.len() > MAX_SHARDS {
            return Err(ShardsError::Count(shards.len()));
        }
        for (expected, shard) in (0u32..).zip(&shards) {
            if shard.shard != ShardId(expected) {
                return Err(ShardsError::Id { expected: ShardId(expected), found: shard.shard });
            }
        }
        Ok(Self(shards))
    }

    /// `count` shards of the same speed.
    pub fn equal(count: u32) -> Result<Self, ShardsError> {
        if count as usize > MAX_SHARDS {
            return Err(ShardsError::Count(count as usize));
        }
        let weight = NonZeroU32::MIN;
        Self::new((0..count).map(|id| ShardWeight { shard: ShardId(id), weight }).collect())
    }

    /// Number of shards.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The ids in order.
    pub fn ids(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.0.iter().map(|shard| shard.shard)
    }

    /// The shards in order of their ids.
    pub fn as_slice(&self) -> &[ShardWeight] {
        &self.0
    }

    /// Whether the shard is in the list.
    pub fn contains(&self, shard: ShardId) -> bool {
        (shard.0 as usize) < self.0.len()
    }
}

impl TryFrom<Vec<ShardWeight>> for Shards {
    type Error = ShardsError;

    fn try_from(shards: Vec<ShardWeight>) -> Result<Self, ShardsError> {
        Self::new(shards)
    }
}

impl From<Shards> for Vec<ShardWeight> {
    fn from(shards: Shards) -> Self {
        shards.0
    }
}

/// Why a list of shards was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShardsError {
    /// There are none, or too many.
    #[error("a cluster has 1 to {MAX_SHARDS} shards, not {0}")]
    Count(usize),
    /// The ids are not 0, 1, 2 ….
    #[error("expected shard {expected}, found shard {found}")]
    Id {
        /// The next id.
        expected: ShardId,
        /// The id found.
        found: ShardId,
    },
}

/// The things that are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Runs of 1024 buckets.
    Partitions,
    /// Runs of at most 4096 rows of the hint.
    Planes,
}

/// One index's partitions or planes. They are placed independently of those in other indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key<'a> {
    /// The table's name.
    pub table: &'a str,
    /// Position of the searchable column in the schema.
    pub column: u32,
    /// Partitions or planes.
    pub kind: Kind,
}

/// The shard of each of `count` partitions or planes.
pub fn place(key: &Key<'_>, count: u32, shards: &Shards) -> Vec<ShardId> {
    let hasher = Hasher::new(key);
    let positions: Vec<u64> = (0..count).map(|index| hasher.position(index)).collect();
    let mut members: Vec<Member> = Vec::with_capacity(shards.count());
    let mut total_weight = 0u64;
    for &ShardWeight { shard, weight } in shards.as_slice() {
        let weight = u64::from(weight.get());
        total_weight += weight;
        let (chance, first_donor) = hasher.join(shard);
        let keys = if members.is_empty() {
            (0..count).collect()
        } else {
            let quota = quota(count, weight, total_weight, chance);
            claim(&mut members, quota, first_donor, &Ring::of(shard), &positions)
        };
        members.push(Member { shard, weight, keys });
    }
    let mut placed: Vec<(u32, ShardId)> = Vec::with_capacity(positions.len());
    for Member { shard, weight: _, keys } in members {
        placed.extend(keys.into_iter().map(|key| (key, shard)));
    }
    placed.sort_unstable();
    placed.into_iter().map(|(_, shard)| shard).collect()
}

/// Position of partition or plane number `index` on the ring.
pub fn position(key: &Key<'_>, index: u32) -> u64 {
    Hasher::new(key).position(index)
}

/// A shard that has joined, and the keys that it owns.
struct Member {
    shard: ShardId,
    weight: u64,
    keys: Vec<u32>,
}

/// ⌊x⌋ or ⌈x⌉ of x = count·weight/total, the latter with probability frac(x) over `chance`.
///
/// There is no overflow: count and weight have 32 bits, and the comparison uses 128 bits.
fn quota(count: u32, weight: u64, total: u64, chance: u64) -> u64 {
    let (whole, rest) = (u64::from(count) * weight / total, u64::from(count) * weight % total);
    let up = u128::from(chance) * u128::from(total) < u128::from(rest) << 64;
    whole + u64::from(up)
}

/// Takes `quota` keys from the members. Load and weight decide how many each gives, and the
/// distance to the joining shard decides which ones. Ties go to the first donor, counted from
/// `first_donor`, so that low ids do not always give.
fn claim(
    members: &mut [Member],
    quota: u64,
    first_donor: u64,
    ring: &Ring,
    positions: &[u64],
) -> Vec<u32> {
    let pivot = usize::try_from(first_donor % members.len().max(1) as u64).unwrap_or(0);
    let (before, after) = members.split_at_mut(pivot);
    let mut donors: Vec<(usize, &mut Member)> =
        after.iter_mut().chain(before).map(|member| (member.keys.len(), member)).collect();
    for _ in 0..quota {
        // a/b > c/d is computed as a·d > c·b. `reduce` keeps the first of equals.
        let fullest = donors.iter_mut().reduce(|best, next| {
            let (load, best_load) = (next.0 as u128, best.0 as u128);
            let fuller = load * u128::from(best.1.weight) > best_load * u128::from(next.1.weight);
            if fuller { next } else { best }
        });
        if let Some((left, _)) = fullest {
            *left = left.saturating_sub(1);
        }
    }
    let mut claimed = Vec::new();
    for (left, member) in donors {
        if left < member.keys.len() {
            // The farthest keys come first, so that the nearest are at the end. No two keys compare
            // equal.
            member.keys.sort_by_cached_key(|&key| {
                let position = positions.get(key as usize).copied().unwrap_or_default();
                std::cmp::Reverse((ring.distance(position), key))
            });
            claimed.extend(member.keys.drain(left..));
        }
    }
    claimed
}

/// One shard's virtual nodes in order of their positions.
struct Ring(Vec<u64>);

impl Ring {
    fn of(shard: ShardId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("opaque 2026-11 placement 1 virtual node");
        hasher.update(&shard.0.to_le_bytes());
        let mut points: Vec<u64> = (0..VIRTUAL_NODES)
            .map(|number| {
                let mut hasher = hasher.clone();
                hasher.update(&number.to_le_bytes());
                first_two(&hasher).0
            })
            .collect();
        points.sort_unstable();
        Self(points)
    }

    /// Clockwise distance to the next of the shard's points.
    fn distance(&self, position: u64) -> u64 {
        let next = self.0.partition_point(|&point| point < position);
        let point = self.0.get(next).or(self.0.first());
        point.map_or(u64::MAX, |point| point.wrapping_sub(position))
    }
}

/// The hashes of one [`Key`].
struct Hasher(blake3::Hasher);

impl Hasher {
    fn new(key: &Key<'_>) -> Self {
        let &Key { table, column, kind } = key;
        let mut hasher = blake3::Hasher::new_derive_key("opaque 2026-11 placement 1 key");
        hasher.update(&(table.len() as u64).to_le_bytes());
        hasher.update(table.as_bytes());
        hasher.update(&column.to_le_bytes());
        hasher.update(&[match kind {
            Kind::Partitions => 0,
            Kind::Planes => 1,
        }]);
        Self(hasher)
    }

    /// Position of a partition or plane on the ring.
    fn position(&self, index: u32) -> u64 {
        self.number(0, index).0
    }

    /// A uniform number for the quota of a joining shard, and one for the first donor of ties.
    fn join(&self, shard: ShardId) -> (u64, u64) {
        self.number(1, shard.0)
    }

    fn number(&self, purpose: u8, number: u32) -> (u64, u64) {
        let mut hasher = self.0.clone();
        hasher.update(&[purpose]);
        hasher.update(&number.to_le_bytes());
        first_two(&hasher)
    }
}

/// The first two u64 of a hash, little endian.
fn first_two(hasher: &blake3::Hasher) -> (u64, u64) {
    let mut bytes = [[0u8; 8]; 2];
    hasher.finalize_xof().fill(bytes.as_flattened_mut());
    (u64::from_le_bytes(bytes[0]), u64::from_le_bytes(bytes[1]))
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the tests' numbers are small")]
mod tests;
