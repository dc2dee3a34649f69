use super::*;
use crate::machine::VectorKernel;
use crate::seed::tests::{bytes, seed as seed_of};

fn seed(column: u32) -> IndexSeed {
    seed_of(5, column)
}

fn geometry(rows: u32, partitions: u32) -> Geometry {
    Geometry::new(rows, 1024 * partitions, 1).unwrap()
}

fn partitions(geometry: &Geometry, seed: u64) -> Vec<Vec<u8>> {
    let seeds = (0..u64::from(geometry.partitions())).map(|j| seed + j);
    seeds.map(|seed| bytes(seed, geometry.partition_bytes())).collect()
}

fn build(column: u32, geometry: &Geometry, partitions: &[Vec<u8>]) -> Hint {
    let mut builder = HintBuilder::new(seed(column), geometry);
    for (j, bytes) in (0..).zip(partitions) {
        builder.add(j, bytes).unwrap();
    }
    builder.finish().unwrap()
}

/// The definition, straight from the formula of A.
fn naive(column: u32, partitions: &[Vec<u8>], r: usize, i: usize) -> u32 {
    let mut sum = 0u32;
    for (j, partition) in (0..).zip(partitions) {
        let a = public_element(&seed(column), j);
        for k in 0..1024 {
            let entry = if k >= i { a[k - i] } else { a[1024 + k - i].wrapping_neg() };
            let byte = i32::from(partition[r * 1024 + k] as i8) as u32;
            sum = sum.wrapping_add(byte.wrapping_mul(entry));
        }
    }
    sum
}

#[test]
fn agrees_with_the_definition() {
    let geometry = geometry(8192, 3);
    let data = partitions(&geometry, 1);
    let hint = build(2, &geometry, &data);
    assert_eq!(hint.planes().len(), 2);
    for r in [0, 1, 2047, 4095, 4096, 5000, 8191] {
        let row = &hint.plane(r / 4096).unwrap()[r % 4096 * 1024..][..1024];
        for i in (0..1024).step_by(31).chain([1, 2, 511, 512, 1023]) {
            assert_eq!(row[i], naive(2, &data, r, i), "row {r}, coefficient {i}");
        }
    }
    assert!(hint.plane(2).is_none());
}

/// Every row of the small planes that a matrix of few rows has.
#[test]
fn few_rows_agree_with_the_definition() {
    for rows in [256, 512, 1024, 2048] {
        let geometry = geometry(rows, 2);
        let data = partitions(&geometry, 3);
        let hint = build(4, &geometry, &data);
        assert_eq!(hint.planes().len(), 1);
        let plane = hint.plane(0).unwrap();
        assert_eq!(plane.len(), rows as usize * 1024);
        for (r, row) in plane.chunks_exact(1024).enumerate() {
            for i in [r % 1024, 1023 - r % 1024] {
                assert_eq!(row[i], naive(4, &data, r, i), "{rows} rows, row {r}, coefficient {i}");
            }
        }
    }
}

#[test]
fn extreme_bytes_agree_with_the_definition() {
    let geometry = geometry(4096, 2);
    let data = vec![vec![0x80; geometry.partition_bytes()], vec![0x7f; geometry.partition_bytes()]];
    let hint = build(0, &geometry, &data);
    for i in [0, 1, 700, 1023] {
        assert_eq!(hint.plane(0).unwrap()[4095 * 1024 + i], naive(0, &data, 4095, i));
    }
}

#[test]
fn order_threads_and_kernels_change_nothing() {
    for rows in [256, 1024, 4096] {
        order_threads_and_kernels(rows);
    }
}

fn order_threads_and_kernels(rows: u32) {
    let geometry = geometry(rows, 3);
    let data = partitions(&geometry, 7);
    let in_order = build(0, &geometry, &data);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(5).build().unwrap();
    let shuffled = pool.install(|| {
        let mut builder = HintBuilder::new(seed(0), &geometry);
        for j in [2, 0, 1] {
            builder.add(j, &data[j as usize]).unwrap();
        }
        builder.finish().unwrap()
    });
    assert!(shuffled == in_order);
    for kernel in VectorKernel::available() {
        let mut builder = HintBuilder::with_kernel(kernel, seed(0), &geometry).unwrap();
        for (j, bytes) in (0..).zip(&data) {
            builder.add(j, bytes).unwrap();
        }
        assert!(builder.finish().unwrap() == in_order, "{}", kernel.name());
    }
}

/// Prints which kernels the tests compared (`-- --nocapture`).
#[test]
fn kernels_that_do_not_run_here_are_refused() {
    let names: Vec<_> = VectorKernel::available().map(VectorKernel::name).collect();
    println!("kernels that run here: {}; best: {}", names.join(", "), VectorKernel::best().name());
    assert_eq!(names.first(), Some(&"scalar"));
    assert_eq!(names.last(), Some(&VectorKernel::best().name()));
    for kernel in VectorKernel::ALL {
        let result = HintBuilder::with_kernel(kernel, seed(0), &geometry(4096, 1));
        if kernel.is_available() {
            assert!(result.is_ok());
        } else {
            assert_eq!(result.unwrap_err(), HintError::Kernel { kernel: kernel.name() });
        }
    }
}

#[test]
fn a_changed_bucket_equals_a_rebuild() {
    for rows in [256, 2048, 8192] {
        change_buckets(rows);
    }
}

fn change_buckets(rows: u32) {
    let geometry = geometry(rows, 2);
    let rows = rows as usize;
    let mut data = partitions(&geometry, 20);
    let mut hint = build(1, &geometry, &data);
    for bucket in [0u32, 1023, 1024, 1500, 2047] {
        let (j, k) = (bucket as usize / 1024, bucket as usize % 1024);
        let old: Vec<u8> = (0..rows).map(|r| data[j][r * 1024 + k]).collect();
        let new = bytes(u64::from(bucket), rows);
        hint.update_bucket(&seed(1), bucket, &old, &new).unwrap();
        for (r, byte) in new.iter().enumerate() {
            data[j][r * 1024 + k] = *byte;
        }
    }
    assert!(hint == build(1, &geometry, &data));
}

#[test]
fn products_agree_with_the_definition() {
    let geometry = geometry(4096, 1);
    let hint = build(0, &geometry, &partitions(&geometry, 30));
    let plane = hint.plane(0).unwrap();
    let secret = *public_element(&seed(9), 9);
    let product = multiply_plane(plane, &secret);
    assert_eq!(product.len(), 4096);
    for r in [0, 1, 4095] {
        let mut sum = 0u32;
        for i in 0..1024 {
            sum = sum.wrapping_add(plane[r * 1024 + i].wrapping_mul(secret[i]));
        }
        assert_eq!(product[r], sum);
    }
}

#[test]
fn misuse_is_refused() {
    let geometry = geometry(4096, 2);
    let data = bytes(0, geometry.partition_bytes());
    let mut builder = HintBuilder::new(seed(0), &geometry);
    let short = builder.add(0, &data[1..]).unwrap_err();
    assert_eq!(short, HintError::PartitionBytes { expected: data.len(), found: data.len() - 1 });
    let beyond = builder.add(2, &data).unwrap_err();
    assert_eq!(beyond, HintError::Partition { partition: 2, partitions: 2 });
    builder.add(0, &data).unwrap();
    assert_eq!(builder.add(0, &data).unwrap_err(), HintError::PartitionTwice { partition: 0 });
    assert_eq!(builder.finish().unwrap_err(), HintError::PartitionMissing { partition: 1 });

    let plane = vec![0; PLANE_WORDS];
    let two = Hint::from_planes(&geometry, vec![plane.clone(); 2]).unwrap_err();
    assert_eq!(two, HintError::Planes { expected: 1, found: 2 });
    let short = Hint::from_planes(&geometry, vec![plane[1..].to_vec()]).unwrap_err();
    assert_eq!(short, HintError::Plane { expected: PLANE_WORDS, found: PLANE_WORDS - 1 });
    // A plane of another geometry.
    let small = Geometry::new(512, 1024, 1).unwrap();
    let whole = Hint::from_planes(&small, vec![plane.clone()]).unwrap_err();
    assert_eq!(whole, HintError::Plane { expected: 512 * 1024, found: PLANE_WORDS });
    assert!(Hint::from_planes(&small, vec![plane[..512 * 1024].to_vec()]).is_ok());
    let mut hint = Hint::from_planes(&geometry, vec![plane]).unwrap();
    let bucket = vec![0; 4096];
    assert_eq!(
        hint.update_bucket(&seed(0), 2048, &bucket, &bucket).unwrap_err(),
        HintError::Bucket { bucket: 2048, buckets: 2048 }
    );
    assert_eq!(
        hint.update_bucket(&seed(0), 0, &bucket, &bucket[1..]).unwrap_err(),
        HintError::BucketBytes { expected: 4096, found: 4095 }
    );
}
