//! The closed parameter set of inline keys, in two variants.

use serde::{Deserialize, Serialize};

use crate::geometry::{Fold, Geometry};
use crate::params::{PLAINTEXT_MODULUS, ParamsId};

/// N: degree of the ring, and rows of the hint per plane.
pub const N: usize = crate::params::PLANE_ROWS;
/// q: two 28-bit primes that are 1 modulo 2N.
pub const Q_PRIMES: [u32; 2] = [268_369_921, 268_361_729];
/// P, the special modulus of the key switch: two 20-bit primes that are 1 modulo 2N. The first one is
/// t too, which nothing depends on.
pub const SPECIAL_PRIMES: [u32; 2] = [1_032_193, 974_849];
/// The standard deviation that an error is rounded from; rounded, it has variance σ² + 1/12 and so
/// deviation 3.213.
pub const ERROR_DEVIATION: f64 = 3.2;
/// Bits of each coefficient of an answer and of the public part that opens it.
pub const ANSWER_BITS: u32 = 29;

/// Bits of each prime of q.
pub(super) const Q_BITS: u32 = 28;
/// Bits of each prime of P.
pub(super) const SPECIAL_BITS: u32 = 20;
/// Primitive 2N-th roots of one: the first g^((m−1)/2N), g = 2, 3, …, whose N-th power is −1. The
/// order of slots, and so every format, depends on them.
pub(super) const Q_ROOTS: [u32; 2] = [262_383_721, 254_305_944];
pub(super) const SPECIAL_ROOTS: [u32; 2] = [465_308, 914_372];
pub(super) const PLAINTEXT_ROOT: u32 = 465_308;

/// Bytes of the b part of the rotation key: both primes of q, both of P.
const KEY_BYTES: usize = N * 2 * (Q_BITS + SPECIAL_BITS) as usize / 8;
/// Bytes of the b part of one encryption: both primes of q.
const ENCRYPTION_BYTES: usize = N * 2 * Q_BITS as usize / 8;
/// Bytes of one plane's share of an answer, and of the public part that opens it.
pub const PLANE_BYTES: usize = N * ANSWER_BITS as usize / 8;

const _: () = assert!(KEY_BYTES == 49_152 && ENCRYPTION_BYTES == 28_672 && PLANE_BYTES == 14_848);

/// How many rotations of the secret a client sends: fewer bytes up, or smaller tables.
///
/// | | up | tables of a whole plane |
/// |---|---|---|
/// | [`Two`](Self::Two) | 106,496 bytes | 64 MiB |
/// | [`Four`](Self::Four) | 163,840 bytes | 48 MiB |
///
/// Both have the same security and the same noise up to a thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Variant {
    /// B = 2: two encryptions, 512 giant steps. The default.
    #[serde(rename = "opaque-128-v2-inline-2")]
    Two,
    /// B = 4: four encryptions, 256 giant steps.
    #[serde(rename = "opaque-128-v2-inline-4")]
    Four,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 2] = [Self::Two, Self::Four];

    /// The variant's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Two => "opaque-128-v2-inline-2",
            Self::Four => "opaque-128-v2-inline-4",
        }
    }

    /// The variant of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// B: encryptions a client sends, diagonals of a giant step, and the step of the one rotation.
    pub const fn baby_steps(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// G = D/B = 1024/(f·B).
    pub const fn giant_steps(self, fold: Fold) -> usize {
        fold.diagonals() / self.baby_steps()
    }

    /// Bytes of what a client sends for one lookup beside the scan's ciphertext.
    pub const fn query_bytes(self) -> usize {
        KEY_BYTES + self.baby_steps() * ENCRYPTION_BYTES
    }

    /// Memory of one plane's tables.
    pub const fn table_bytes(self, fold: Fold) -> usize {
        // Four residues of each giant step's digit, two of each diagonal.
        size_of::<u32>() * N * (4 * self.giant_steps(fold) + 2 * fold.diagonals())
    }

    /// Identity of the parameter set in this variant, with layout version and geometry: what every
    /// message of a lookup with inline keys carries.
    pub fn params_id(self, geometry: &Geometry) -> ParamsId {
        let mut hash = blake3::Hasher::new_derive_key("opaque 2026-11 ParamsId of inline keys");
        // The scan's own parameters, layout and geometry; what a client rounds its numbers to.
        hash.update(geometry.params_id().as_bytes());
        hash.update(&geometry.bucket_bits().to_le_bytes());
        hash.update(self.name().as_bytes());
        let numbers = [N as u64, u64::from(PLAINTEXT_MODULUS), u64::from(ANSWER_BITS)];
        for number in numbers.into_iter().chain([ERROR_DEVIATION.to_bits()]) {
            hash.update(&number.to_le_bytes());
        }
        let primes = Q_PRIMES.into_iter().chain(SPECIAL_PRIMES);
        let roots = Q_ROOTS.into_iter().chain(SPECIAL_ROOTS).chain([PLAINTEXT_ROOT]);
        for number in primes.chain(roots) {
            hash.update(&number.to_le_bytes());
        }
        ParamsId::from_bytes(*hash.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_prime(n: u32) -> bool {
        (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
    }

    #[test]
    fn primes_are_the_largest_that_fit() {
        let below = |top: u32| {
            (1..top / 8192 + 1)
                .rev()
                .map(|k| 8192 * k + 1)
                .filter(move |n| *n < top && is_prime(*n))
        };
        assert_eq!(below(1 << 28).take(2).collect::<Vec<_>>(), Q_PRIMES);
        assert_eq!(below(1 << 20).take(2).collect::<Vec<_>>(), SPECIAL_PRIMES);
        let bits = Q_PRIMES.into_iter().chain(SPECIAL_PRIMES).map(|p| f64::from(p).log2());
        // The estimate of 2^143.4 for one lookup alone is for 96 bits of modulus.
        assert!(bits.sum::<f64>() <= 96.0);
    }

    #[test]
    fn identities_differ_by_variant_and_geometry() {
        let geometries = [256, 4096, 8192].map(|rows| Geometry::new(rows, 1024, 1).unwrap());
        let ids: Vec<ParamsId> = geometries
            .iter()
            .flat_map(|g| [g.params_id(), Variant::Two.params_id(g), Variant::Four.params_id(g)])
            .collect();
        for (i, id) in ids.iter().enumerate() {
            assert!(!ids[i + 1..].contains(id));
        }
    }

    #[test]
    fn names_are_those_that_manifests_have() {
        for variant in Variant::ALL {
            let written = serde_json::to_string(&variant).unwrap();
            assert_eq!(written, format!("\"{}\"", variant.name()));
            assert_eq!(Variant::from_name(variant.name()), Some(variant));
        }
        assert_eq!(Variant::from_name("opaque-128-v2"), None);
    }

    #[test]
    fn sizes_are_those_of_the_design() {
        assert_eq!(Variant::ALL.map(Variant::query_bytes), [106_496, 163_840]);
        for fold in Fold::ALL {
            let (f, sizes) = (fold.factor(), Variant::ALL.map(|v| v.table_bytes(fold)));
            assert_eq!(sizes, [(64 << 20) / f, (48 << 20) / f]);
            assert_eq!(Variant::ALL.map(|v| v.giant_steps(fold)), [512 / f, 256 / f]);
        }
    }
}
