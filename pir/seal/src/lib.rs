//! BFV for Opaque: the hint product under a client's key, and the only crate that touches SEAL.
//!
//! A scan answers `c = D·b` with `b = A·s + e + Δ·u`; what a client needs from it is `c − H·s`, where
//! `H = D·A` is the index's hint. `H` is too large to download and `s` must stay secret, so the client
//! sends `Enc(s)` and gets `Enc(H'·s)` back, one ciphertext per plane of 4096 rows, with
//! `H' = round(H·t/2^32)`. Here is that product ([`hint_product`]) and, with the feature `secrets`, the
//! client's half (`secrets`): keys, encryption, decryption.
//!
//! # Why SEAL, and why not only SEAL
//! Rotations, key switching and sampling are where a BFV is easily got wrong; SEAL's are old and read by
//! many. Its serialization is neither compact nor meant for strangers, and its multiply-accumulate reduces
//! after every product. So the wire formats are our own (checked before SEAL sees a byte) and so is the
//! multiply-accumulate over raw residues; everything else is SEAL.
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
//! Work and memory access depend only on public things: the plane (its zero steps are skipped) and the
//! sizes. SEAL draws its own randomness from `/dev/urandom`; it cannot be passed in.
//! Running out of memory inside SEAL ends the process, as it does everywhere in Rust.

mod bfv;
mod error;
mod ffi;
mod format;
mod handle;
mod kernel;
mod plane;
mod product;
mod residues;
#[cfg(feature = "secrets")]
pub mod secrets;
#[cfg(all(test, feature = "secrets"))]
mod tests;
mod wire;

pub use bfv::Bfv;
pub use error::SealError;
pub use plane::PlaneTable;
pub use product::hint_product;
pub use wire::{EVALUATION_KEYS_BYTES, EncryptedSecret, EvaluationKeys};
