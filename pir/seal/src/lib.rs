//! BFV for Opaque: the hint product under a client's key, and the only crate that touches SEAL.
//!
//! A scan answers `c = D·b` with `b = A·s + e + Δ·u`; what a client needs from it is `c − H·s`,
//! where `H = D·A` is the index's hint. `H` is too large to download and `s` must stay secret, so
//! the client sends `Enc(s)` and gets `Enc(H'·s)` back, one ciphertext per plane of 4096 rows, with
//! `H' = round(H·t/2^32)`. Here is that product ([`hint_product`]). The client's half (keys,
//! encryption, decryption) is the crate `opaque-seal-secrets`.
//!
//! # Why SEAL, and why not only SEAL
//! Rotations, key switching and sampling are where a BFV is easily got wrong; SEAL's are old and
//! read by many. Its serialization is neither compact nor meant for strangers, and its
//! multiply-accumulate reduces after every product. So the wire formats are our own (checked before
//! SEAL sees a byte) and so is the multiply-accumulate over raw residues; everything else is SEAL.
//!
//! # Map
//! | module | what |
//! |---|---|
//! | `bfv` | the context of `opaque-128-v2` |
//! | `wire` | our formats of evaluation keys, encrypted secrets and answers |
//! | `residues` | bit-packed residues, range-checked |
//! | `plane` | a plane's diagonals in NTT form |
//! | `kernel` | multiply-accumulate with one reduction per 32 products |
//! | `product` | baby-step giant-step over the diagonals |
//! | `format` | SEAL's serialization, exactly as much of it as is used |
//! | `ffi`, `handle` | C functions and the types that own their objects: all `unsafe` is here |
//!
//! # Limits
//! Work and memory access depend only on public things: the plane (its zero steps are skipped) and
//! the sizes. Running out of memory inside SEAL ends the process, as it does everywhere in Rust.

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

/// What crate `opaque-seal-secrets` is made of: owners of SEAL's objects, and the formats of what a
/// client sends.
///
/// Public so that one crate links SEAL and its rules for `unsafe` code hold for both halves; hidden
/// because it is not an interface for other crates. Nothing here is or holds a secret key.
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
