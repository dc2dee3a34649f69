use super::*;
use crate::hint::{Hint, HintBuilder};
use crate::machine::ScanKernel;
use crate::ring::matrix_row;
use crate::scan::{Partition, scan};
use crate::seed::tests::seed as seed_of;

fn seed() -> IndexSeed {
    seed_of(8, 3)
}

/// An index of three partitions with its hint.
struct Index {
    geometry: Geometry,
    partitions: Vec<Vec<u8>>,
    hint: Hint,
}

impl Index {
    /// Of two planes.
    fn new(content: u8) -> Self {
        Self::of_rows(8192, content)
    }

    fn of_rows(rows: u32, content: u8) -> Self {
        let geometry = Geometry::new(rows, 3072, 1).unwrap();
        let mut builder = HintBuilder::new(seed(), &geometry);
        let mut partitions = Vec::new();
        for j in 0..3 {
            let mut bytes = vec![0; geometry.partition_bytes()];
            blake3::Hasher::new().update(&[content, j]).finalize_xof().fill(&mut bytes);
            builder.add(u32::from(j), &bytes).unwrap();
            partitions.push(bytes);
        }
        Self { geometry, partitions, hint: builder.finish().unwrap() }
    }

    /// The sum of the scans of some partitions, each `(number, bytes)`.
    fn scanned(&self, probe: &Probe, served: &[(u32, &[u8])]) -> Vec<Vec<u32>> {
        let mut sums = vec![vec![0u32; self.geometry.bucket_bytes()]; SECRETS];
        for (number, bytes) in served {
            let partition = Partition::try_from((&bytes[..], &self.geometry)).unwrap();
            let query = probe.query(&seed(), *number);
            let query: Vec<&[u32]> = query.iter().map(|block| block.as_slice()).collect();
            let part = scan(ScanKernel::best(), &self.geometry, &[&partition], &query).unwrap();
            for (sum, word) in sums.iter_mut().flatten().zip(part.iter().flatten()) {
                *sum = sum.wrapping_add(*word);
            }
        }
        sums
    }

    fn check(&self, served: &[(u32, &[u8])], hint: &Hint) -> Result<(), ProbeError> {
        let probe = Probe::new(&seed(), [&[1; 32]]);
        let mut products = vec![Vec::new(); SECRETS];
        for plane in hint.planes() {
            for (product, rows) in products.iter_mut().zip(probe.multiply(plane)) {
                product.extend(rows);
            }
        }
        Probe::check(&self.geometry, &self.scanned(&probe, served), &products)
    }

    fn served(&self) -> Vec<(u32, &[u8])> {
        (0..).zip(self.partitions.iter().map(Vec::as_slice)).collect()
    }
}

fn mismatches(result: Result<(), ProbeError>) -> usize {
    match result {
        Err(ProbeError::Mismatch { mismatched_rows, rows: 8192 }) => mismatched_rows,
        other => panic!("{other:?}"),
    }
}

#[test]
fn holds_on_honest_data_in_any_order() {
    let index = Index::new(0);
    let mut served = index.served();
    assert_eq!(index.check(&served, &index.hint), Ok(()));
    served.rotate_left(1);
    assert_eq!(index.check(&served, &index.hint), Ok(()));
}

/// Few rows: one plane, smaller than others. One flipped bit, and one wrong word.
#[test]
fn holds_for_few_rows_and_catches_a_fault() {
    for rows in [256, 512, 1024, 2048] {
        let index = Index::of_rows(rows, 3);
        let mut served = index.served();
        assert_eq!(index.check(&served, &index.hint), Ok(()));
        let rows = rows as usize;
        let fault = Err(ProbeError::Mismatch { mismatched_rows: 1, rows });
        let mut planes = index.hint.planes().to_vec();
        *planes[0].last_mut().unwrap() ^= 1;
        let hint = Hint::from_planes(&index.geometry, planes).unwrap();
        assert_eq!(index.check(&served, &hint), fault);
        let mut flipped = index.partitions[2].clone();
        flipped[1024 * (rows - 1)] ^= 0x40;
        served[2].1 = &flipped;
        assert_eq!(index.check(&served, &index.hint), fault);
    }
}

#[test]
fn catches_every_planted_fault() {
    let index = Index::new(0);
    // One flipped bit shows in exactly its own row.
    for (offset, bit) in [(0, 1u8), (5_000_000, 0x80), (index.partitions[1].len() - 1, 4)] {
        let mut flipped = index.partitions[1].clone();
        flipped[offset] ^= bit;
        let mut served = index.served();
        served[1].1 = &flipped;
        assert_eq!(mismatches(index.check(&served, &index.hint)), 1);
    }
    let served = index.served();
    let twice = [served[0], served[1], served[1], served[2]];
    assert_eq!(mismatches(index.check(&twice, &index.hint)), 8192);
    let missing = [served[0], served[2]];
    assert_eq!(mismatches(index.check(&missing, &index.hint)), 8192);
    let swapped = [(0, served[1].1), (1, served[0].1), served[2]];
    assert_eq!(mismatches(index.check(&swapped, &index.hint)), 8192);
    assert_eq!(mismatches(index.check(&served, &Index::new(1).hint)), 8192);
    // One wrong word of the hint, by an odd multiple of 2^0, 2^16 and 2^28.
    for error in [1, 3 << 16, 1 << 28] {
        let mut planes = index.hint.planes().to_vec();
        planes[1][77 * 1024 + 5] ^= error;
        let hint = Hint::from_planes(&index.geometry, planes).unwrap();
        assert_eq!(mismatches(index.check(&served, &hint)), 1);
    }
}

#[test]
fn queries_are_the_exact_product_for_any_secret() {
    let mut secrets = Box::new([[0; RING_DEGREE]; SECRETS]);
    secrets[0] = [0x8000_8000; RING_DEGREE];
    secrets[1] = [0x7fff_8000; RING_DEGREE];
    secrets[2] = [u32::MAX; RING_DEGREE];
    secrets[3] = *public_element(&seed_of(8, 77), 0);
    let probe = Probe { secrets };
    let query = probe.query(&seed(), 2);
    let element = public_element(&seed(), 2);
    for k in 0..RING_DEGREE {
        let row = matrix_row(&element, k);
        for (secret, query) in probe.secrets.iter().zip(&query) {
            let terms = row.iter().zip(secret).map(|(a, s)| a.wrapping_mul(*s));
            assert_eq!(query[k], terms.fold(0, u32::wrapping_add));
        }
    }
}

/// Nothing that is tested can change without changing the secrets.
#[test]
fn secrets_follow_from_seed_and_digests() {
    let [one, other] = [[1; 32], [2; 32]];
    let probes = [
        Probe::new(&seed(), [&one, &other]),
        Probe::new(&seed(), [&other, &one]),
        Probe::new(&seed(), [&one]),
        Probe::new(&seed_of(9, 3), [&one, &other]),
    ];
    for (i, probe) in probes.iter().enumerate() {
        assert!(!probes[i + 1..].contains(probe));
        assert!(probe.secrets.iter().flatten().any(|word| *word > u32::MAX / 2));
    }
    assert_eq!(probes[0], Probe::new(&seed(), [&one, &other]));
}

#[test]
fn results_of_another_shape_are_refused() {
    let geometry = Geometry::new(4096, 1024, 1).unwrap();
    let good = vec![vec![0; 4096]; SECRETS];
    assert_eq!(Probe::check(&geometry, &good, &good), Ok(()));
    for bad in [vec![], vec![vec![0; 4096]; 3], vec![vec![0; 4095]; SECRETS]] {
        let refused = Err(ProbeError::Shape { rows: 4096 });
        assert_eq!(Probe::check(&geometry, &bad, &good), refused);
        assert_eq!(Probe::check(&geometry, &good, &bad), refused);
    }
}
