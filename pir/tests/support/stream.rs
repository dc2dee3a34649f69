//! Inputs of known-answer tests, the same on every machine.

use opaque_pir::seed::Salt;

pub(crate) const SALT: Salt = Salt(*b"opaque known-answer vectors salt");
pub(crate) const COLUMN: u32 = 7;

pub(crate) fn stream(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn words(name: &str, length: usize) -> Vec<u32> {
    stream(name, 4 * length).as_chunks().0.iter().map(|w| u32::from_le_bytes(*w)).collect()
}
