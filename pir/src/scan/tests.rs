use proptest::prelude::*;

use super::*;
use crate::machine::Pages;
use crate::seed::tests::{bytes, words};

const R: usize = 4096;

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

/// The sums of every available kernel, which must all be the same.
fn run(geometry: &Geometry, partitions: &[Vec<u8>], queries: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let partitions: Vec<Partition> = partitions
        .iter()
        .map(|bytes| Partition::try_from((bytes.as_slice(), geometry)).unwrap())
        .collect();
    let partitions: Vec<&Partition> = partitions.iter().collect();
    let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
    let sums = |kernel| scan(kernel, geometry, &partitions, &queries).unwrap();
    let scalar = sums(ScanKernel::Scalar);
    for kernel in ScanKernel::available() {
        assert!(sums(kernel) == scalar, "{} differs from scalar", kernel.name());
    }
    scalar
}

/// Compares some rows of the sums with the definition.
fn agree(geometry: &Geometry, data: &[Vec<u8>], queries: &[Vec<u32>], rows: &[usize]) {
    let all = run(geometry, data, queries);
    assert_eq!(all.len(), queries.len());
    for (sums, query) in all.iter().zip(queries) {
        assert_eq!(sums.len(), geometry.bucket_bytes());
        for row in rows {
            assert_eq!(sums[*row], naive(data, query, *row), "row {row}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn agrees_with_the_definition(seed: u64, partitions in 0..4usize, queries in 0..20usize) {
        let geometry = geometry(partitions.max(1));
        let data: Vec<_> = (0..partitions as u64)
            .map(|j| bytes(seed ^ j, geometry.partition_bytes()))
            .collect();
        let queries: Vec<_> =
            (0..queries as u64).map(|q| words(!seed ^ q, 1024 * partitions)).collect();
        agree(&geometry, &data, &queries, &[0, 1, 15, 16, 127, 128, 2049, R - 1]);
    }

    /// Bytes and words at the ends of their ranges, mixed.
    #[test]
    fn extremes_agree_with_the_definition(seed: u64, queries in 1..10usize) {
        const BYTES: [u8; 4] = [0x80, 0x7f, 0xff, 0];
        const WORDS: [u32; 8] =
            [0, 1, u32::MAX, 1 << 31, 0x7fff_ffff, 0x8000_8000, 0x7fff_8000, 0x80ff_7f00];
        let geometry = geometry(2);
        let entry = |byte: &u8| BYTES[usize::from(byte % 4)];
        let data: Vec<Vec<u8>> = (0..2)
            .map(|j| bytes(seed ^ j, geometry.partition_bytes()).iter().map(entry).collect())
            .collect();
        let word = |byte: &u8| WORDS[usize::from(byte % 8)];
        let queries: Vec<Vec<u32>> = (0..queries as u64)
            .map(|q| bytes(!seed ^ q, 2048).iter().map(word).collect())
            .collect();
        agree(&geometry, &data, &queries, &[0, 3, 31, 32, 255, 256, 1023, R - 1]);
    }
}

/// Numbers of queries around every kernel's block sizes, and for more than one pass.
#[test]
fn any_number_of_queries_agrees_with_the_definition() {
    let geometry = geometry(3);
    let data: Vec<_> = (0..3).map(|j| bytes(j, geometry.partition_bytes())).collect();
    let queries: Vec<_> = (10..10 + 131).map(|seed| words(seed, 3 * 1024)).collect();
    for count in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 25, 33, 63, 64, 65, 131] {
        agree(&geometry, &data, &queries[..count], &[0, 100, 511, 512, R - 1]);
    }
}

/// Machine code that `scan` would not run here, band by band: each number of queries, octets with a
/// separate share of prefetching, unused columns, partitions within a span and beyond.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn code_of_other_processors_agrees_with_the_definition() {
    kernel::emulate_tiles();
    let cases = [
        (1, 2, 64),
        (1, 5, 96),
        (2, 9, 32),
        (5, 4, 96),
        (8, 5, 64),
        (9, 3, 64),
        (16, 1, 96),
        (17, 2, 32),
    ];
    for (count, partitions, rows) in
        cases.into_iter().chain([(3, 2, 32), (4, 2, 32), (33, 3, 64), (57, 2, 32), (64, 2, 64)])
    {
        let data: Vec<_> = (0..partitions as u64).map(|seed| bytes(seed, rows * 1024)).collect();
        let queries: Vec<_> =
            (100..100 + count as u64).map(|seed| words(seed, partitions * 1024)).collect();
        let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
        let bands: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        // Tiles are emulated, even for a single query, which `scan` leaves to VNNI. AVX-VNNI's code
        // runs in AVX-512's encoding. A single query has separate code for AMD's processors and for
        // others.
        let codes = [
            ("tiles", kernel::tiles(&queries)),
            ("avx-vnni", kernel::narrow(&queries)),
            ("avx512-vnni, prefetching", kernel::prefetching(&queries)),
            ("avx512-vnni, staged", kernel::staged(&queries)),
        ];
        let vnni = ScanKernel::Avx512Vnni.is_available();
        let expected = [true, vnni, vnni, vnni && count == 1];
        assert_eq!(codes.each_ref().map(|(_, code)| code.is_some()), expected);
        for (name, code) in codes {
            let Some(code) = code else { continue };
            let mut sums = vec![7; rows * count];
            code.scan_rows(&bands, &mut sums);
            for (row, sums) in sums.chunks(count).enumerate() {
                for (sum, query) in sums.iter().zip(&queries) {
                    let expected = naive(&data, query, row).wrapping_add(7);
                    assert_eq!(*sum, expected, "{name}, {count} queries, row {row}");
                }
            }
        }
    }
}

#[test]
fn every_row_agrees_with_the_definition() {
    for rows in crate::geometry::BUCKET_SIZES {
        let geometry = Geometry::new(rows, 1024, 1).unwrap();
        let data = [bytes(1, geometry.partition_bytes())];
        let queries: Vec<_> = (2..5).map(|seed| words(seed, 1024)).collect();
        agree(&geometry, &data, &queries, &(0..rows as usize).collect::<Vec<_>>());
    }
}

#[test]
fn uniform_extremes_do_not_overflow() {
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
    for threads in [2, 7, 64] {
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
        Partition::try_from((data.as_slice(), &two)).unwrap_err(),
        ScanError::Partition { expected: 8192 * 1024, found: 4096 * 1024 }
    );
    let partition = Partition::try_from((data.as_slice(), &one)).unwrap();
    let query = vec![0; 1024];
    assert_eq!(
        scan(ScanKernel::Scalar, &two, &[&partition], &[&query]).unwrap_err(),
        ScanError::Partition { expected: 8192 * 1024, found: 4096 * 1024 }
    );
    assert_eq!(
        scan(ScanKernel::Scalar, &one, &[&partition], &[&query, &query[1..]]).unwrap_err(),
        ScanError::Query { query: 1, expected: 1024, found: 1023 }
    );
}

#[test]
fn partitions_are_aligned_and_keep_their_bytes() {
    let geometry = geometry(1);
    let data = bytes(9, geometry.partition_bytes());
    let partition = Partition::try_from((data.as_slice(), &geometry)).unwrap();
    assert_eq!(partition.bytes(), data);
    assert_eq!(partition.bytes().as_ptr().align_offset(2 << 20), 0);
    println!("large pages: {}", partition.large_pages());
}

#[test]
fn memory_needs_no_large_page() {
    let small = bytes(5, 1000);
    let pages = Pages::copy(&small).unwrap();
    assert_eq!(*pages, *small);
    assert_eq!(pages.as_ptr().align_offset(64), 0);
    assert!(!pages.large());
    assert!(Pages::copy(&[]).is_none());
}

#[test]
fn bands_cut_the_rows_evenly() {
    for rows in crate::geometry::BUCKET_SIZES.map(|rows| rows as usize) {
        for preferred in [128, 256, 512, 1024, 4096] {
            for threads in [1, 2, 3, 7, 64, 1000] {
                let band = band_rows(rows, preferred, threads);
                assert!(band <= preferred && rows % band == 0);
                assert!(band.is_multiple_of(kernel::ROW_UNIT));
            }
        }
    }
}

/// Prints which kernels the tests above compared (`-- --nocapture`).
#[test]
fn kernels_are_found_by_name_where_they_run() {
    let names: Vec<_> = ScanKernel::available().map(ScanKernel::name).collect();
    println!("kernels that run here: {}; best: {}", names.join(", "), ScanKernel::best().name());
    assert_eq!(names.first(), Some(&"scalar"));
    assert_eq!(names.last(), Some(&ScanKernel::best().name()));
    for kernel in ScanKernel::ALL {
        let found = ScanKernel::from_name(kernel.name());
        assert_eq!(found, kernel.is_available().then_some(kernel));
    }
    for unknown in ["abacus", "", "AMX", "avx512"] {
        assert_eq!(ScanKernel::from_name(unknown), None);
    }
}

#[test]
fn detection_agrees_with_the_processor() {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !cfg!(target_arch = "x86_64") || flags.is_empty() {
        return;
    }
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    assert_eq!(ScanKernel::Avx2.is_available(), has("avx2"));
    assert_eq!(ScanKernel::AvxVnni.is_available(), has("avx2") && has("avx_vnni"));
    assert_eq!(
        ScanKernel::Avx512Vnni.is_available(),
        has("avx512f") && has("avx512bw") && has("avx512_vnni")
    );
    // Linux may withhold tiles that the processor has, not the other way round.
    assert!(has("amx_int8") || !ScanKernel::Amx.is_available());
}

#[test]
fn kernels_that_do_not_run_here_are_refused() {
    let geometry = geometry(1);
    let partition =
        Partition::try_from((&vec![0; geometry.partition_bytes()][..], &geometry)).unwrap();
    let query = vec![0; 1024];
    for kernel in ScanKernel::ALL {
        let result = scan(kernel, &geometry, &[&partition], &[&query]);
        let refused = Err(ScanError::Kernel { kernel: kernel.name() });
        let expected = if kernel.is_available() { Ok(vec![vec![0; R]]) } else { refused };
        assert!(result == expected, "{}", kernel.name());
    }
}
