//! Public parts of inline keys. The bytes that a node sends are checked against the digests in the
//! table's description.
//!
//! Public parts are cached for the life of the process only. A file would make clients traceable: a
//! cluster could give one client unique digests, and later recognize it at any address by the parts
//! that it does not fetch.

use opaque_pir::geometry::Geometry;
use opaque_pir::inline::PublicPart;

/// Digest of a public part.
pub(super) type Digest = [u8; 32];

/// The parts that `digests` list, one for each plane of the index. Returns `None` if a part is
/// missing or does not match its digest.
pub(super) fn checked<B: AsRef<[u8]>>(
    geometry: &Geometry,
    digests: &[Digest],
    parts: &[B],
) -> Option<Vec<PublicPart>> {
    if digests.len() != parts.len() {
        return None;
    }
    let one = |((digest, bytes), plane): ((&Digest, &B), usize)| {
        let (bytes, rows) = (bytes.as_ref(), geometry.plane_rows(plane));
        (PublicPart::digest(bytes) == *digest).then(|| PublicPart::from_bytes(bytes, rows).ok())?
    };
    digests.iter().zip(parts).zip(0..).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(fill: u8) -> (Digest, Vec<u8>) {
        let bytes = vec![fill; 2 * opaque_pir::inline::PUBLIC_BYTES];
        (PublicPart::digest(&bytes), bytes)
    }

    #[test]
    fn only_what_the_digests_name_is_accepted() {
        let ((first, a), (second, b)) = (part(1), part(2));
        // A plane of 4096 rows has public parts of two rings.
        let geometry = Geometry::new(8192, 1024, 1).unwrap();
        let parts = checked(&geometry, &[first, second], &[&a, &b]).unwrap();
        assert_eq!(
            parts.iter().map(PublicPart::to_bytes).collect::<Vec<_>>(),
            [a.clone(), b.clone()]
        );
        assert!(checked(&geometry, &[first], &[&b]).is_none());
        assert!(checked(&geometry, &[first, second], &[&b, &a]).is_none());
        assert!(checked(&geometry, &[first, second], &[&a]).is_none());
        assert!(checked(&geometry, &[first], &[&a[1..]]).is_none());
    }
}
