use super::*;

#[test]
fn a_gibibyte_s_cost_is_that_of_its_parts() {
    // docs/ENGINE.md §13: R = 32,768, C = 32,768, 25 bits a bucket, 10 a row.
    let geometry = Geometry::new(32_768, 32_768, 1).unwrap();
    let cost = geometry.cost(Link::default());
    assert_eq!(cost.matrix_bytes, 1 << 30);
    assert_eq!(geometry.table_bytes(), 16 * (18 << 20));
    assert_eq!(geometry.public_bytes(), 73_728);
    assert_eq!(cost.server_ram_bytes, (1 << 30) + (288 << 20));
    assert_eq!(cost.scan_micros, 71_582);
    assert_eq!(cost.hint_micros, 23_229);
    assert_eq!((cost.upload_bytes, cost.download_bytes), (139_264, 40_960));
    assert_eq!(cost.transfer_micros(), 28_835);
    assert_eq!(geometry.cost(Link::new(100).unwrap()).transfer_micros(), 14_417);
    assert_eq!(
        cost.to_string(),
        "memory  1.00 GiB matrix, 1.28 GiB with the hint's tables (one replica of every shard)\n\
         lookup  136.0 KiB up, 40.0 KiB down\n\
         time    71.6 ms scan + 23.2 ms hint on one core, 29 ms transfer at 50 Mbit/s (estimated)"
    );
    // Another row of the specification.
    let cost = Geometry::new(24_576, 44_032, 1).unwrap().cost(Link::default());
    assert_eq!(cost.upload_bytes + cost.download_bytes, 205_184);
}

/// A tiny table: milliseconds, and a few MiB.
#[test]
fn a_tiny_matrix_costs_a_fraction_of_a_plane() {
    let cost = Geometry::new(256, 4096, 1).unwrap().cost(Link::new(100).unwrap());
    assert_eq!(cost.matrix_bytes, 1 << 20);
    // Tables of 2.25 MiB.
    assert_eq!(cost.server_ram_bytes, (1 << 20) + (9 << 18));
    assert_eq!((cost.scan_micros, cost.hint_micros), (69, 181));
    assert!(cost.upload_bytes + cost.download_bytes < 50 << 10);
    assert!(cost.lookup_micros() < 5_000);
}

#[test]
fn the_explanation_states_what_was_chosen_and_why() {
    let text =
        Geometry::new(1024, 16_384, 8).unwrap().explanation(Link::new(100).unwrap()).to_string();
    assert_eq!(
        text,
        "16384 buckets of 1024 bytes hold pages of up to 8 rows of one value.\n\
         A lookup of one page sends 84.0 KiB (24 bits a bucket, and its keys) and receives 1.4 KiB (11 bits a byte).\n\
         It takes about 8.8 ms: 7.0 on a link of 100 Mbit/s, 1.1 of one core to read 16.0 MiB, 0.7 for \
         the hint's tables of 9.0 MiB.\n\
         One replica of all its shards takes 25.0 MiB of memory.\n\
         With smaller buckets, of 512 bytes: 12.7 ms (51.2 KiB more to send and receive, 0.4 ms less to \
         compute).\n\
         With larger buckets, of 2048 bytes: 7.7 ms (22.9 KiB less to send and receive, 0.7 ms more to \
         compute), if the pages fitted in."
    );
    let largest =
        Geometry::new(65_536, 4096, 1).unwrap().explanation(Link::new(100).unwrap()).to_string();
    assert!(
        largest.starts_with("4096 buckets of 65536 bytes hold pages of one row of one value.\n")
    );
    assert!(!largest.contains("larger"));
    // Shards keep something to share: the alternative has 4 partitions too.
    let smallest = Geometry::new(256, 4096, 1).unwrap();
    assert!(!smallest.explanation(Link::new(100).unwrap()).to_string().contains("fitted"));
}
