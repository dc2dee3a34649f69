//! BFV for Opaque: computes the hint product under a client's key. No other crate touches SEAL,
//! except its client half.
//!
//! A scan answers `c = D·b` with `b = A·s + e + Δ·u`. The client needs `c − H·s`, where `H = D·A`
//! is the index's hint. `H` is too large to download, and `s` must stay secret. The client
//! therefore sends `Enc(s)` and receives `Enc(H'·s)`, one ciphertext per plane of 4096 rows, with
//! `H' = round(H·t/2^32)`. This crate computes that product ([`hint_product`]). The client's half
//! (keys, encryption, decryption) is the crate `opaque-seal-secrets`.
//!
//! # Why SEAL, and why not only SEAL
//! Rotations, key switching and sampling are the parts of BFV that are easiest to get wrong, and
//! SEAL's implementation is old and widely reviewed. Its serialization, however, is neither compact
//! nor meant for untrusted input, and its multiply-accumulate reduces after every product. This
//! crate therefore has its own message formats, which are checked before SEAL sees a byte, and its
//! own multiply-accumulate over raw residues. SEAL does everything else.
//!
//! # Map
//! | module | what |
//! |---|---|
//! | `bfv` | the context of `opaque-128-v2` |
//! | `wire` | the message formats of evaluation keys, encrypted secrets and answers |
//! | `residues` | bit-packed residues, range-checked |
//! | `plane` | a plane's diagonals in NTT form |
//! | `kernel` | multiply-accumulate with one reduction per 32 products |
//! | `product` | baby-step giant-step over the diagonals |
//! | `format` | SEAL's serialization, limited to the parts that are used |
//! | `ffi`, `handle` | C functions and the types that own their objects: all `unsafe` is here |
//!
//! # Limits
//! Work and memory access depend only on public data: the plane, whose zero steps are skipped, and
//! the sizes. If SEAL runs out of memory, the process ends, as everywhere in Rust.

mod bfv;
mod error;
mod ffi;
mod format;
mod handle;
mod kernel;
mod plane;
mod product;
mod residues;
#[cfg(test)]
mod tests;
mod wire;

pub use bfv::Bfv;
pub use error::SealError;
pub use plane::PlaneTable;
pub use product::hint_product;
pub use wire::{EVALUATION_KEYS_BYTES, EncryptedSecret, EvaluationKeys};

/// The basis of crate `opaque-seal-secrets`: owners of SEAL's objects, and the formats of client
/// messages.
///
/// It is public so that one crate links SEAL and one set of rules for `unsafe` code covers both
/// halves. It is hidden because other crates must not use it. Nothing here is or holds a secret
/// key.
#[doc(hidden)]
pub mod internal {
    pub use seal_fhe::{Context, Plaintext};

    pub use crate::ffi::{Code, Object};
    pub use crate::format::{GaloisKey, GaloisShape, PlaintextShape};
    pub use crate::handle::{Ciphertext, Handle, check, load, save};
    pub use crate::product::{plane_product, rotate_secret};
    pub use crate::residues::{pack, packed_bytes, unpack};
    pub use crate::wire::read_answer;
}
