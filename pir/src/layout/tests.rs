#![expect(clippy::cast_possible_truncation, reason = "small numbers of tests")]

use proptest::prelude::*;

use super::*;
use crate::params::LAYOUT_VERSION;
use crate::reader::write_varint;
use crate::seed::SaltError;

fn salt() -> Salt {
    Salt(std::array::from_fn(|i| i as u8 * 7))
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().as_str()[..16].to_owned()
}

fn page(total_rows: u64, page: u32, rows: &[(u64, &[u8])]) -> Page {
    Page { total_rows, page, rows: rows.iter().map(|(n, row)| (*n, row.to_vec())).collect() }
}

#[test]
fn salt_text_round_trip() {
    assert_eq!(salt().to_string().parse(), Ok(salt()));
    let json = serde_json::to_string(&salt()).unwrap();
    assert!(json.starts_with("\"00070e15") && json.len() == 66);
    assert_eq!(serde_json::from_str::<Salt>(&json).unwrap(), salt());
    for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
        assert_eq!(bad.parse::<Salt>(), Err(SaltError), "{bad:?}");
    }
}

/// Computed by an independent implementation: Python's `blake3` package, and RFC 8439's block
/// function written out.
#[test]
fn known_answers() {
    let bucket = |column, key: &[u8], page| page_bucket(&salt(), column, key, page, 131_072);
    assert_eq!(
        [
            bucket(0, b"\x03Santiago", 0),
            bucket(0, b"\x03Santiago", 1),
            bucket(1, b"\x03Santiago", 0)
        ],
        [53_399, 19_135, 21_635]
    );
    let mut bytes = [0u8; 4096];
    mask(&salt(), 1, 70_000, &mut bytes);
    assert_eq!(digest(&bytes), "e9b2d00f6fe829b1");
    let pages = [page(3, 1, &[(5, b"row"), (300, b"")]), page(1, 0, &[(u64::MAX, b"x")])];
    let bytes = encode_bucket(&salt(), 1, 70_000, 4096, &pages).unwrap();
    let content: [&[u8]; 2] = [
        &[0, 11, 3, 1, 2, 5, 3, b'r', b'o', b'w', 0xac, 2, 0],
        &[0, 15, 1, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1, b'x'],
    ];
    assert_eq!(bytes[..5], [1, 2, 0, 30, 0]);
    assert_eq!(bytes[13..43], content.concat());
    assert!(bytes[43..].iter().all(|byte| *byte == 0));
    assert_eq!(digest(&bytes), "9dc35f39887bddf2");
}

#[test]
fn a_page_and_a_value_are_hashed_apart() {
    let keys = Keys::new(&salt(), 0);
    assert_ne!(keys.page_hash(&[1, 0, 0, 0, 9], 0), keys.page_hash(&[0, 0, 0, 9], 1));
}

#[test]
fn buckets_are_used_evenly() {
    // 64 buckets with 1000 pages on average: χ² with 63 degrees of freedom, mean 63, deviation 11.
    let mut counts = [0f64; 64];
    for value in 0u32..64_000 {
        counts[page_bucket(&salt(), 3, &value.to_le_bytes(), 0, 64) as usize] += 1.0;
    }
    let chi_square: f64 = counts.iter().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();
    assert!((20.0..130.0).contains(&chi_square), "{chi_square}");
}

#[test]
fn whitening_is_flat_and_its_own_inverse() {
    let mut counts = [0f64; 256];
    for bucket in 0..64 {
        let mut bytes = [0u8; 16_384];
        mask(&salt(), 0, bucket, &mut bytes);
        for byte in &bytes {
            counts[*byte as usize] += 1.0;
        }
        mask(&salt(), 0, bucket, &mut bytes);
        assert_eq!(bytes, [0; 16_384]);
    }
    // 2^20 bytes, 4096 of each value: χ² with 255 degrees of freedom, deviation 22.6.
    let chi_square: f64 = counts.iter().map(|count| (count - 4096.0).powi(2) / 4096.0).sum();
    assert!((140.0..390.0).contains(&chi_square), "{chi_square}");
    let mean_square = counts
        .iter()
        .enumerate()
        .fold(0.0, |sum, (byte, count)| sum + count * f64::from(byte as u8 as i8).powi(2))
        / f64::from(1 << 20);
    assert!((mean_square - 5461.0).abs() < 30.0, "E[D²] = {mean_square}");
}

#[test]
fn keystreams_differ_by_salt_column_and_bucket() {
    let stream = |salt: Salt, column, bucket| {
        let mut bytes = [0u8; 32];
        mask(&salt, column, bucket, &mut bytes);
        bytes
    };
    let base = stream(salt(), 0, 0);
    assert_ne!(base, stream(Salt([0; 32]), 0, 0));
    assert_ne!(base, stream(salt(), 1, 0));
    assert_ne!(base, stream(salt(), 0, 1));
}

/// A bucket with a valid check around any content.
fn sealed(pages: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![LAYOUT_VERSION];
    bytes.extend_from_slice(&pages.to_le_bytes());
    bytes.extend_from_slice(&(content.len() as u16).to_le_bytes());
    let check = Keys::new(&salt(), 0).check(0, &bytes, content);
    bytes.extend_from_slice(&check);
    bytes.extend_from_slice(content);
    bytes.resize(4096, 0);
    bytes
}

#[test]
fn only_canonical_content_is_read() {
    let decode = |pages, content: &[u8]| decode_bucket(&salt(), 0, 0, &sealed(pages, content));
    let good = [0, 6, 2, 0, 1, 9, 1, b'x'];
    assert_eq!(decode(1, &good).unwrap(), [page(2, 0, &[(9, b"x")])]);
    assert_eq!(decode(0, &[]).unwrap(), []);
    assert_eq!(decode(1, &[1, 6, 2, 0, 1, 9, 1, b'x']), Err(LayoutError::Kind { found: 1 }));
    let malformed: [(u16, &[u8]); 10] = [
        (0, &good),                                              // a page too many
        (2, &good),                                              // a page too few
        (1, &good[..7]),                                         // cut short
        (1, &[0, 7, 2, 0, 1, 9, 1, b'x', 0]),                    // a byte after the rows
        (1, &[0, 3, 2, 0, 0]),                                   // no rows
        (1, &[0, 6, 0, 0, 1, 9, 1, b'x']),                       // more rows than the value has
        (1, &[0, 6, 2, 0, 9, 9, 1, b'x']),                       // more rows than there are bytes
        (1, &[0, 7, 2, 0, 2, 9, 0, 9, 0]),                       // a row twice
        (1, &[0, 7, 0x82, 0, 0, 1, 9, 1, b'x']),                 // a number in a longer form
        (1, &[0, 10, 2, 255, 255, 255, 255, 31, 1, 9, 1, b'x']), // a page beyond 2^32
    ];
    for (pages, content) in malformed {
        assert!(matches!(decode(pages, content), Err(LayoutError::Malformed(_))), "{content:?}");
    }
}

#[test]
fn a_bucket_is_bound_to_its_place() {
    let pages = [page(1, 0, &[(0, b"row")])];
    let bytes = encode_bucket(&salt(), 2, 5, 4096, &pages).unwrap();
    assert_eq!(decode_bucket(&salt(), 2, 5, &bytes).unwrap(), pages);
    let check = Err(LayoutError::Check);
    assert_eq!(decode_bucket(&Salt([0; 32]), 2, 5, &bytes), check);
    assert_eq!(decode_bucket(&salt(), 1, 5, &bytes), check);
    assert_eq!(decode_bucket(&salt(), 2, 4, &bytes), check);
}

#[test]
fn encoding_refuses_what_decoding_would() {
    let encode = |page: Page, bytes| encode_bucket(&salt(), 0, 0, bytes, &[page]);
    for bad in [page(1, 0, &[]), page(0, 0, &[(1, b"")]), page(2, 0, &[(1, b""), (1, b"")])] {
        assert!(matches!(encode(bad, 4096), Err(LayoutError::Malformed(_))));
    }
    let row = page(1, 0, &[(0, b"0123456789")]);
    assert!(encode(row.clone(), HEADER_BYTES + 17).is_ok());
    let overflow = LayoutError::Overflow { bytes: HEADER_BYTES + 17, limit: HEADER_BYTES + 16 };
    assert_eq!(encode(row.clone(), HEADER_BYTES + 16), Err(overflow));
    assert_eq!(encode(row, 65_537), Err(LayoutError::Size { bytes: 65_537 }));
}

fn pages() -> impl Strategy<Value = Vec<Page>> {
    let rows =
        prop::collection::btree_map(any::<u64>(), prop::collection::vec(any::<u8>(), 0..40), 1..8);
    let page = (rows, any::<u32>(), 0u64..1 << 40).prop_map(|(rows, page, more)| Page {
        total_rows: rows.len() as u64 + more,
        page,
        rows: rows.into_iter().collect(),
    });
    prop::collection::vec(page, 0..8)
}

proptest! {
    #[test]
    fn buckets_round_trip_and_sizes_are_predicted(pages in pages(), column: u32, bucket: u32) {
        let bytes = encode_bucket(&salt(), column, bucket, 8192, &pages).unwrap();
        prop_assert_eq!(bytes.len(), 8192);
        let used = u16::from_le_bytes([bytes[3], bytes[4]]);
        let predicted: u64 = pages
            .iter()
            .map(|Page { total_rows, page, rows }| {
                let framed = rows.iter().map(|(number, row)| framed_row_bytes(*number, row.len())).sum();
                page_bytes(*total_rows, *page, rows.len() as u64, framed)
            })
            .sum();
        prop_assert_eq!(u64::from(used), predicted);
        prop_assert!(decode_bucket(&salt(), column, bucket, &bytes).unwrap() == pages);
    }

    #[test]
    fn a_wrong_byte_is_an_error(pages in pages(), at in 0usize..4096, xor in 1u8..) {
        let mut bytes = encode_bucket(&salt(), 0, 0, 4096, &pages).unwrap();
        bytes[at] ^= xor;
        prop_assert!(decode_bucket(&salt(), 0, 0, &bytes).is_err());
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        pages in 0u16..4,
    ) {
        let _ = decode_bucket(&salt(), 0, 0, &bytes);
        // The same with a valid check. Encoding what was read gives the same bytes.
        let bytes = sealed(pages, &bytes);
        if let Ok(pages) = decode_bucket(&salt(), 0, 0, &bytes) {
            prop_assert!(encode_bucket(&salt(), 0, 0, 4096, &pages).unwrap() == bytes);
        }
    }

    #[test]
    fn numbers_have_the_predicted_length(number: u64, shift in 0u32..64) {
        let mut bytes = Vec::new();
        write_varint(&mut bytes, number >> shift);
        prop_assert_eq!(bytes.len() as u64, framed_row_bytes(number >> shift, 0) - 1);
    }
}
