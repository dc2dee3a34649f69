use proptest::prelude::*;

use super::*;

const R: usize = 4096;

/// Pseudo-random bytes, the same on every machine.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn words(seed: u64, length: usize) -> Vec<u32> {
    bytes(seed, 4 * length).as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

fn geometry(partitions: usize) -> Geometry {
    Geometry::new(R as u32, 1024 * partitions as u32, 1).unwrap()
}

/// The definition.
fn naive(partitions: &[Vec<u8>], query: &[u32], row: usize) -> u32 {
    let mut sum = 0u32;
    for (j, partition) in partitions.iter().enumerate() {
        for k in 0..1024 {
            let entry = i32::from(partition[row * 1024 + k] as i8) as u32;
            sum = sum.wrapping_add(entry.wrapping_mul(query[j * 1024 + k]));
        }
    }
    sum
}

fn run(geometry: &Geometry, partitions: &[Vec<u8>], queries: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let partitions: Vec<Partition> = partitions
        .iter()
        .map(|bytes| Partition::try_from((bytes.clone(), geometry)).unwrap())
        .collect();
    let partitions: Vec<&Partition> = partitions.iter().collect();
    let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
    scan(Kernel::best(), geometry, &partitions, &queries).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn agrees_with_the_definition(seed: u64, partitions in 0..4usize, queries in 0..10usize) {
        let geometry = geometry(partitions.max(1));
        let data: Vec<_> = (0..partitions as u64)
            .map(|j| bytes(seed ^ j, geometry.partition_bytes()))
            .collect();
        let queries: Vec<_> =
            (0..queries as u64).map(|q| words(!seed ^ q, 1024 * partitions)).collect();
        let sums = run(&geometry, &data, &queries);
        prop_assert_eq!(sums.len(), queries.len());
        for (sums, query) in sums.iter().zip(&queries) {
            prop_assert_eq!(sums.len(), R);
            for row in [0, 1, 15, 16, 127, 128, 2049, R - 1] {
                prop_assert_eq!(sums[row], naive(&data, query, row));
            }
        }
    }
}

#[test]
fn every_row_agrees_with_the_definition() {
    let geometry = geometry(1);
    let data = [bytes(1, geometry.partition_bytes())];
    let queries: Vec<_> = (2..5).map(|seed| words(seed, 1024)).collect();
    let sums = run(&geometry, &data, &queries);
    for (sums, query) in sums.iter().zip(&queries) {
        assert!((0..R).all(|row| sums[row] == naive(&data, query, row)));
    }
}

#[test]
fn extremes_do_not_overflow() {
    let geometry = geometry(2);
    for byte in [0x80, 0x7f, 0xff] {
        let data = vec![vec![byte; geometry.partition_bytes()]; 2];
        for word in [0x8000_8000, 0x7fff_7fff, 0x7fff_8000, 0x8000_7fff, u32::MAX, 1 << 31] {
            let query = vec![word; 2048];
            let sums = run(&geometry, &data, std::slice::from_ref(&query));
            assert_eq!(sums[0], vec![naive(&data, &query, 0); R]);
        }
    }
}

#[test]
fn threads_and_grouping_change_nothing() {
    let geometry = geometry(3);
    let data: Vec<_> = (0..3).map(|j| bytes(j, geometry.partition_bytes())).collect();
    let queries: Vec<_> = (10..15).map(|seed| words(seed, 3 * 1024)).collect();
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let whole = pool(1).install(|| run(&geometry, &data, &queries));
    for threads in [2, 7] {
        assert_eq!(pool(threads).install(|| run(&geometry, &data, &queries)), whole);
    }
    // Two shards, the first with partitions 0 and 2.
    let part = |ranges: &[usize]| {
        let data: Vec<_> = ranges.iter().map(|j| data[*j].clone()).collect();
        let cut = |query: &Vec<u32>| {
            ranges.iter().flat_map(|j| query[j * 1024..(j + 1) * 1024].to_vec()).collect()
        };
        run(&geometry, &data, &queries.iter().map(cut).collect::<Vec<_>>())
    };
    let (first, second) = (part(&[0, 2]), part(&[1]));
    for (query, whole) in whole.iter().enumerate() {
        for (row, whole) in whole.iter().enumerate() {
            assert_eq!(first[query][row].wrapping_add(second[query][row]), *whole);
        }
    }
}

#[test]
fn wrong_shapes_are_refused() {
    let (one, two) = (geometry(1), Geometry::new(8192, 1024, 1).unwrap());
    let data = vec![0; one.partition_bytes()];
    assert_eq!(
        Partition::try_from((data.clone(), &two)).unwrap_err(),
        ScanError::Partition { expected: 8192 * 1024, found: 4096 * 1024 }
    );
    let partition = Partition::try_from((data, &one)).unwrap();
    let query = vec![0; 1024];
    assert_eq!(
        scan(Kernel::Scalar, &two, &[&partition], &[&query]).unwrap_err(),
        ScanError::Partition { expected: 8192 * 1024, found: 4096 * 1024 }
    );
    assert_eq!(
        scan(Kernel::Scalar, &one, &[&partition], &[&query, &query[1..]]).unwrap_err(),
        ScanError::Query { query: 1, expected: 1024, found: 1023 }
    );
}

#[test]
fn partitions_are_aligned_and_keep_their_bytes() {
    let geometry = geometry(1);
    let data = bytes(9, geometry.partition_bytes());
    let partition = Partition::try_from((data.clone(), &geometry)).unwrap();
    assert_eq!(partition.bytes(), data);
    assert_eq!(partition.bytes().as_ptr().align_offset(64), 0);
}

#[test]
fn kernels_have_names() {
    assert_eq!(Kernel::from_name(Kernel::best().name()), Some(Kernel::best()));
    assert_eq!(Kernel::from_name("abacus"), None);
}
