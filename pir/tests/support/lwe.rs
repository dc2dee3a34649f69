//! The client's half of the scan encryption, for tests only. The production code is in
//! `opaque-client`.

use opaque_pir::geometry::Geometry;
use opaque_pir::hint::{Hint, HintBuilder};
use opaque_pir::params::{DELTA, RING_DEGREE, STANDARD_DEVIATION};
use opaque_pir::ring::{Multiplier, public_element};
use opaque_pir::scan::Partition;
use opaque_pir::seed::{IndexSeed, Salt};
use rand::{Rng, RngExt};

pub(crate) const EPOCH: u64 = 5;

/// The seed of an index of this geometry.
pub(crate) fn seed(geometry: &Geometry) -> IndexSeed {
    IndexSeed::new(&Salt([42; 32]), "t", EPOCH, 1, geometry)
}

/// A matrix of random bytes.
pub(crate) struct Index {
    pub(crate) geometry: Geometry,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) hint: Hint,
}

impl Index {
    pub(crate) fn new(rows: u32, buckets: u32, rng: &mut impl Rng) -> Self {
        let geometry = Geometry::new(rows, buckets, 1).unwrap();
        let mut builder = HintBuilder::new(seed(&geometry), &geometry);
        let mut partitions = Vec::new();
        for j in 0..geometry.partitions() {
            let mut bytes = vec![0; geometry.partition_bytes()];
            rng.fill_bytes(&mut bytes);
            builder.add(j, &bytes).unwrap();
            partitions.push(Partition::try_from((&bytes[..], &geometry)).unwrap());
        }
        Self { geometry, partitions, hint: builder.finish().unwrap() }
    }

    pub(crate) fn byte(&self, row: usize, bucket: u32) -> u8 {
        let (j, k) = (bucket as usize / RING_DEGREE, bucket as usize % RING_DEGREE);
        self.partitions[j].bytes()[row * RING_DEGREE + k]
    }

    pub(crate) fn encrypt(&self, bucket: u32, rng: &mut impl Rng) -> Encrypted {
        encrypt(&seed(&self.geometry), self.geometry.partitions(), bucket, rng)
    }
}

/// A secret and the query that it encrypts.
pub(crate) struct Encrypted {
    pub(crate) secret: Box<[i32; RING_DEGREE]>,
    pub(crate) query: Vec<u32>,
}

/// b_j = a_j·s + e_j, with Δ added at the bucket.
fn encrypt(seed: &IndexSeed, partitions: u32, bucket: u32, rng: &mut impl Rng) -> Encrypted {
    let mut secret = Box::new([0; RING_DEGREE]);
    secret.iter_mut().for_each(|s| *s = rounded_gaussian(rng));
    let multiplier = Multiplier::new(&secret);
    let mut query = Vec::new();
    for partition in 0..partitions {
        let mut block = [0; RING_DEGREE];
        multiplier.times(&public_element(seed, partition), &mut block);
        query.extend(block.map(|b| b.wrapping_add(rounded_gaussian(rng).cast_unsigned())));
    }
    let selected = &mut query[bucket as usize];
    *selected = selected.wrapping_add(DELTA);
    Encrypted { secret, query }
}

/// Box and Muller's transform of two uniform numbers.
fn rounded_gaussian(rng: &mut impl Rng) -> i32 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
    (normal * STANDARD_DEVIATION).round() as i32
}
