//! The encoding: a known answer, and everything else.

use proptest::prelude::*;

use super::*;

/// Checked by eye and with `openssl asn1parse -inform DER -i`:
/// ```text
/// 0: SEQUENCE
/// 2:  INTEGER :01       5:  INTEGER :02        8:  UTF8STRING :zone-a   16:  UTF8STRING :rack_7
/// 24: SEQUENCE
/// 26:  SEQUENCE  28: INTEGER :00  31: INTEGER :FF
/// 35:  SEQUENCE  37: INTEGER :0100000000  44: INTEGER :FFFFFFFFFFFFFFFF
/// 55: BIT STRING (05 E0)   59: ENUMERATED :00
/// ```
const KNOWN: &str = "303c0201010201020c067a6f6e652d610c067261636b5f37301d3007020100020200ff3012020501\
                     00000000020900ffffffffffffffff030205e00a0100";

fn known() -> Extension {
    let ranges = [(0, 255), (1 << 32, u64::MAX)];
    let ranges = ranges.map(|(first, last)| TokenRange::new(first, last).unwrap());
    let ranges = Ranges::new(ranges.to_vec()).unwrap();
    Extension::new(2, "zone-a", "rack_7", ranges, Capabilities::NODE, Role::Node).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn the_known_extension_has_its_known_bytes() {
    assert_eq!(known().to_der(), hex(KNOWN));
    assert_eq!(Extension::from_der(&hex(KNOWN)), Ok(known()));
}

#[test]
fn ranges_cover_their_ends_and_nothing_between_them() {
    let ranges = known().ranges().clone();
    for inside in [0, 255, 1 << 32, u64::MAX] {
        assert!(ranges.covers(inside), "{inside}");
    }
    for outside in [256, (1 << 32) - 1] {
        assert!(!ranges.covers(outside), "{outside}");
    }
    assert!(Ranges::whole().is_whole() && !ranges.is_whole());
}

#[test]
fn other_forms_of_the_same_value_are_refused() {
    let der = hex(KNOWN);
    let mut longer = der.clone();
    longer.push(0);
    assert_eq!(Extension::from_der(&longer), Err(ExtensionError::Malformed));
    // The total length is encoded in two bytes.
    let mut wide = der.clone();
    wide.splice(1..2, [0x81, der[1]]);
    assert_eq!(Extension::from_der(&wide), Err(ExtensionError::Malformed));
    // One more byte inside, counted by the length.
    let mut inside = longer.clone();
    inside[1] += 1;
    assert_eq!(Extension::from_der(&inside), Err(ExtensionError::Malformed));
    // Unused bits of the bit string are set, or trailing zeros are kept.
    for (at, byte) in [(57, 6), (57, 4), (58, 0xe1), (58, 0xe8)] {
        let mut bits = der.clone();
        bits[at] = byte;
        assert_eq!(Extension::from_der(&bits), Err(ExtensionError::Malformed), "{at}");
    }
    let changed = |at: usize, byte: u8| {
        let mut der = der.clone();
        der[at] = byte;
        Extension::from_der(&der)
    };
    assert_eq!(changed(4, 2), Err(ExtensionError::Version(2)));
    assert_eq!(changed(10, b'-'), Err(ExtensionError::Label { part: "zone" }));
    let mut unknown = der.clone();
    (unknown[57], unknown[58]) = (3, 0xe8);
    assert_eq!(Extension::from_der(&unknown), Err(ExtensionError::Capabilities));
    assert_eq!(changed(61, 2), Err(ExtensionError::Malformed));
    // The second range begins before the first ends.
    assert_eq!(changed(39, 0), Err(ExtensionError::Malformed));
}

#[test]
fn ranges_that_touch_or_turn_are_refused() {
    let range = |first, last| TokenRange::new(first, last).unwrap();
    assert_eq!(TokenRange::new(2, 1), None);
    assert_eq!(Ranges::new(vec![]), None);
    assert_eq!(Ranges::new(vec![range(0, 3), range(4, 5)]), None);
    assert_eq!(Ranges::new(vec![range(6, 7), range(0, 3)]), None);
    assert_eq!(Ranges::new(vec![range(0, u64::MAX), range(5, 6)]), None);
    let many: Vec<_> = (0..=MAX_RANGES as u64).map(|at| range(at * 2, at * 2)).collect();
    assert_eq!(Ranges::new(many[1..].to_vec()).unwrap().as_slice().len(), MAX_RANGES);
    assert_eq!(Ranges::new(many), None);
    assert!(Extension::new(0, "a/b", "", Ranges::whole(), Capabilities::NONE, Role::Node).is_err());
}

#[test]
fn the_largest_extension_is_read() {
    let width = u64::MAX / MAX_RANGES as u64;
    let range = |at: u64| TokenRange::new(u64::MAX - width * (at + 1) + 2, u64::MAX - width * at);
    let ranges = (0..MAX_RANGES as u64).rev().map(|at| range(at).unwrap()).collect();
    let (label, ranges) = ("z".repeat(MAX_LABEL), Ranges::new(ranges).unwrap());
    let all = Capabilities::NODE.with(Capability::Admin);
    let extension = Extension::new(u32::MAX, &label, &label, ranges, all, Role::Operator).unwrap();
    assert_eq!(Extension::from_der(&extension.to_der()), Ok(extension));
}

fn extensions() -> impl Strategy<Value = Extension> {
    let ranges = prop::collection::btree_set(any::<u64>(), 2..40).prop_map(|ends| {
        let ends: Vec<u64> = ends.into_iter().collect();
        let ranges = ends.chunks_exact(2).map(|ends| TokenRange::new(ends[0], ends[1]).unwrap());
        Ranges::new(ranges.collect()).unwrap_or_else(Ranges::whole)
    });
    let capabilities = (0u8..16).prop_map(|bits| Capabilities::from_bits(bits << 4).unwrap());
    let role = prop_oneof![Just(Role::Node), Just(Role::Operator)];
    let label = || "([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?";
    (any::<u32>(), label(), label(), ranges, capabilities, role).prop_map(
        |(shard, zone, rack, ranges, capabilities, role)| {
            Extension::new(shard, &zone, &rack, ranges, capabilities, role).unwrap()
        },
    )
}

proptest! {
    #[test]
    fn every_extension_is_read_as_written(extension in extensions()) {
        prop_assert_eq!(Extension::from_der(&extension.to_der()), Ok(extension));
    }

    #[test]
    fn any_bytes_are_an_extension_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Extension::from_der(&bytes);
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_something_else(
        extension in extensions(), at: prop::sample::Index, byte: u8,
    ) {
        let mut der = extension.to_der();
        let at = at.index(der.len());
        let changed = der[at] != byte;
        der[at] = byte;
        if let Ok(read) = Extension::from_der(&der) {
            prop_assert_eq!(read == extension, !changed);
            prop_assert_eq!(read.to_der(), der);
        }
    }

    #[test]
    fn a_cut_extension_is_refused(extension in extensions(), at: prop::sample::Index) {
        let der = extension.to_der();
        prop_assert!(Extension::from_der(&der[..at.index(der.len())]).is_err());
    }
}
