//! The source of an index's public randomness.
//!
//! ```text
//! seed = BLAKE3 derive_key("opaque 2026-11 index seed",
//!        salt 32 bytes | length of the table's name u64 | name in ASCII lower case
//!        | epoch u64 | column u32 | ParamsId 32 bytes)                      numbers little endian
//! ```
//!
//! Every public `a` under which a client encrypts is expanded from this seed: the scan's
//! ([`public_element`](crate::ring::public_element)) and those of inline keys
//! ([`PublicElements`](crate::inline::PublicElements)). Different tables, epochs, columns or
//! geometries therefore never share an `a`, whatever salts a server states. Work on the lattice of
//! one `a` helps only against the lookups of that index and epoch ([`params`](crate::params)
//! quantifies it).
//!
//! The bucket of a page, a bucket's check and its whitening depend only on salt and column
//! ([`layout`](crate::layout)), because an index is planned before its epoch has a number.

mod salt;

pub use salt::{Salt, SaltError};

use crate::geometry::Geometry;

/// The seed of all public elements of one index of one epoch of a table. Public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IndexSeed([u8; 32]);

impl IndexSeed {
    /// The seed of an index. The letter case of the table's name does not matter, as in SQL.
    pub fn new(salt: &Salt, table: &str, epoch: u64, column: u32, geometry: &Geometry) -> Self {
        let table = table.to_ascii_lowercase();
        let mut hash = blake3::Hasher::new_derive_key("opaque 2026-11 index seed");
        hash.update(&salt.0);
        hash.update(&(table.len() as u64).to_le_bytes()).update(table.as_bytes());
        hash.update(&epoch.to_le_bytes()).update(&column.to_le_bytes());
        hash.update(geometry.params_id().as_bytes());
        Self(*hash.finalize().as_bytes())
    }

    /// A hash of one use of the seed.
    pub(crate) fn derive(&self, context: &str) -> blake3::Hasher {
        let mut hash = blake3::Hasher::new_derive_key(context);
        hash.update(&self.0);
        hash
    }

    /// The seed's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A seed for tests in which table, epoch and geometry do not matter.
    pub(crate) fn seed(salt: u8, column: u32) -> IndexSeed {
        IndexSeed::new(&Salt([salt; 32]), "t", 1, column, &geometry(1))
    }

    /// Pseudo-random bytes, the same on every machine.
    pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    pub(crate) fn words(seed: u64, length: usize) -> Vec<u32> {
        bytes(seed, 4 * length).as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    fn geometry(page_rows: u32) -> Geometry {
        Geometry::new(4096, 2048, page_rows).unwrap()
    }

    #[test]
    fn everything_that_names_an_index_makes_another_seed() {
        let (salt, other) = (Salt([7; 32]), Salt([8; 32]));
        let one = geometry(1);
        let seeds = [
            IndexSeed::new(&salt, "t", 1, 0, &one),
            IndexSeed::new(&other, "t", 1, 0, &one),
            IndexSeed::new(&salt, "u", 1, 0, &one),
            IndexSeed::new(&salt, "t", 2, 0, &one),
            IndexSeed::new(&salt, "t", 1, 1, &one),
            IndexSeed::new(&salt, "t", 1, 0, &geometry(2)),
            // The boundary between fields is unambiguous.
            IndexSeed::new(&salt, "t\u{1}", 0, 0, &one),
            IndexSeed::new(&salt, "", 1, 0, &one),
        ];
        for (i, seed) in seeds.iter().enumerate() {
            assert!(!seeds[i + 1..].contains(seed), "seed {i}");
        }
    }

    #[test]
    fn letter_case_of_the_table_does_not_matter() {
        let named = |table| IndexSeed::new(&Salt([7; 32]), table, 1, 0, &geometry(1));
        assert_eq!(named("Weather"), named("weather"));
        assert_eq!(named("WEATHER_2"), named("weather_2"));
    }

    /// The encoding, byte by byte.
    #[test]
    fn the_seed_is_the_hash_of_the_documented_bytes() {
        let mut bytes = vec![7; 32];
        bytes.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(b"tu");
        bytes.extend_from_slice(&[3, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
        bytes.extend_from_slice(geometry(1).params_id().as_bytes());
        let expected = blake3::derive_key("opaque 2026-11 index seed", &bytes);
        let seed = IndexSeed::new(&Salt([7; 32]), "Tu", 259, 4, &geometry(1));
        assert_eq!(seed.as_bytes(), &expected);
    }
}
