use opaque_pir::layout::mask;
use opaque_pir::seed::Salt;

use super::*;

fn whole(kind: Kind, bytes: &[u8]) -> (Vec<u8>, Digest) {
    let (mut segment, digest) = header(kind, bytes);
    segment.extend_from_slice(bytes);
    (segment, digest)
}

#[test]
fn a_segment_is_read_as_it_was_written() {
    let bytes: Vec<u8> = (0..1000).map(|i| (i * 7) as u8).collect();
    for kind in [Kind::Partition, Kind::Plane] {
        let (segment, digest) = whole(kind, &bytes);
        assert_eq!(segment.len(), HEADER_BYTES + bytes.len());
        assert_eq!(payload(&segment, kind, bytes.len(), &digest).unwrap(), bytes);
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let bytes = [5u8; 40];
    let (segment, digest) = whole(Kind::Partition, &bytes);
    for position in 0..segment.len() {
        for bit in 0..8 {
            let mut damaged = segment.clone();
            damaged[position] ^= 1 << bit;
            assert!(payload(&damaged, Kind::Partition, 40, &digest).is_err(), "{position}.{bit}");
        }
        assert!(payload(&segment[..position], Kind::Partition, 40, &digest).is_err());
    }
    let mut longer = segment.clone();
    longer.push(0);
    assert!(payload(&longer, Kind::Partition, 40, &digest).is_err());
}

#[test]
fn another_segment_is_refused_and_the_reason_given() {
    let (segment, digest) = whole(Kind::Partition, &[1; 8]);
    let (_, other) = whole(Kind::Partition, &[2; 8]);
    let reason =
        |segment: &[u8], kind, bytes, digest| payload(segment, kind, bytes, digest).unwrap_err();
    assert!(reason(&segment, Kind::Plane, 8, &digest).contains("a raw Plane was expected"));
    assert!(reason(&segment, Kind::Partition, 9, &digest).contains("9 expected"));
    assert!(reason(&segment, Kind::Partition, 8, &other).contains("the manifest names"));
    assert!(reason(b"something else that is long", Kind::Partition, 8, &digest) == "truncated");
    let mut text = vec![b'x'; 100];
    assert!(reason(&text, Kind::Partition, 8, &digest).contains("not a segment"));
    text[..7].copy_from_slice(MARKER);
    text[7] = 2;
    assert!(reason(&text, Kind::Partition, 8, &digest).contains("segment version 2"));
}

/// A known answer: the format is persisted, and must not drift.
#[test]
fn the_header_is_pinned() {
    let (header, digest) = header(Kind::Plane, b"abc");
    assert_eq!(header[..24], *b"OPAQSEG\x01\x02\x00\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
    assert_eq!(header[24..], digest.0);
    assert_eq!(digest.to_string(), KNOWN_DIGEST);
}

const KNOWN_DIGEST: &str = "5c6549a3b799dbf3cdfbb948c6bcab8b1dc6069284126b36accbec4d7c39948f";

/// The reason for storing segments without compression: not even an empty bucket shrinks once it is
/// whitened, although nothing is more compressible.
#[test]
fn whitened_bytes_do_not_compress() {
    let mut bytes = vec![0u8; 1 << 20];
    for (bucket, bytes) in (0..).zip(bytes.chunks_mut(8192)) {
        mask(&Salt([9; 32]), 0, bucket, bytes);
    }
    assert!(zstd::bulk::compress(&bytes, 1).unwrap().len() >= bytes.len());
}
