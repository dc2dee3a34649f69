//! SEAL's evaluator: rotations, transforms and modulus switching.

use std::ffi::c_int;
use std::ptr::null_mut;

use seal_fhe::{Context, Plaintext};

use super::{Ciphertext, GaloisKeys, Handle, check};
use crate::SealError;
use crate::ffi::{self, Code, Object};
use crate::format::ParmsId;

/// SEAL's evaluator.
#[derive(Debug)]
pub struct Evaluator(Handle);

impl Evaluator {
    pub(crate) fn new(context: &Context) -> Result<Self, SealError> {
        // SAFETY: the context is live and its parameters are set, so the constructor cannot throw
        // what Create does not catch.
        let evaluator = unsafe {
            Handle::create("Evaluator_Create", ffi::Evaluator_Destroy, |out| {
                ffi::Evaluator_Create(context.get_handle(), out)
            })
        };
        evaluator.map(Self)
    }

    /// Rotates both rows of slots to the left. The keys must provide `steps`.
    pub(crate) fn rotate(
        &self,
        ciphertext: &Ciphertext,
        steps: c_int,
        keys: &GaloisKeys,
    ) -> Result<Ciphertext, SealError> {
        self.fresh("Evaluator_RotateRows", |evaluator, out| {
            // SAFETY: all objects are live and `out` is not another operand; a missing key, a
            // transparent result or operands of another level are exceptions that RotateRows
            // catches.
            unsafe {
                ffi::Evaluator_RotateRows(
                    evaluator,
                    ciphertext.get(),
                    steps,
                    keys.0.get(),
                    out,
                    null_mut(),
                )
            }
        })
    }

    pub(crate) fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, SealError> {
        self.fresh("Evaluator_Add", |evaluator, out| {
            // SAFETY: all objects are live and `out` is not an operand; Add catches `logic_error`.
            unsafe { ffi::Evaluator_Add(evaluator, a.get(), b.get(), out) }
        })
    }

    /// Transforms both polynomials.
    pub fn ciphertext_to_ntt(&self, ciphertext: &Ciphertext) -> Result<Ciphertext, SealError> {
        self.fresh("Evaluator_TransformToNTT2", |evaluator, out| {
            // SAFETY: all objects are live and `out` is not the operand; the call catches
            // `logic_error`.
            unsafe { ffi::Evaluator_TransformToNTT2(evaluator, ciphertext.get(), out) }
        })
    }

    /// Transforms both polynomials back.
    pub fn to_coefficients(&self, ciphertext: &Ciphertext) -> Result<Ciphertext, SealError> {
        self.fresh("Evaluator_TransformFromNTT", |evaluator, out| {
            // SAFETY: all objects are live and `out` is not the operand; the call catches
            // `logic_error`.
            unsafe { ffi::Evaluator_TransformFromNTT(evaluator, ciphertext.get(), out) }
        })
    }

    /// Divides by the last prime and drops it.
    pub(crate) fn switch_modulus(&self, ciphertext: &Ciphertext) -> Result<Ciphertext, SealError> {
        self.fresh("Evaluator_ModSwitchToNext1", |evaluator, out| {
            // SAFETY: all objects are live and `out` is not the operand; the call catches
            // `logic_error`.
            unsafe { ffi::Evaluator_ModSwitchToNext1(evaluator, ciphertext.get(), out, null_mut()) }
        })
    }

    /// Lifts a plaintext to the primes of `level` and transforms it.
    pub(crate) fn plaintext_to_ntt(
        &self,
        plaintext: &Plaintext,
        level: &ParmsId,
        out: &mut Plaintext,
    ) -> Result<(), SealError> {
        // SAFETY: all objects are live and `out` is not the operand; `level` has four words. The
        // plaintext comes from the encoder, so it is not in NTT form and has N coefficients. For
        // other operands the call throws `invalid_argument`, which is caught. It does not catch
        // `logic_error` ("invalid parameters"), which is thrown if N times the number of primes
        // overflows. That product is at most 3 · 4096.
        check("Evaluator_TransformToNTT1", unsafe {
            ffi::Evaluator_TransformToNTT1(
                self.0.get(),
                plaintext.get_handle(),
                level.as_ptr(),
                out.get_handle(),
                null_mut(),
            )
        })
    }

    /// Runs a call that writes its result to a fresh ciphertext.
    fn fresh(
        &self,
        call: &'static str,
        run: impl FnOnce(Object, Object) -> Code,
    ) -> Result<Ciphertext, SealError> {
        let out = Ciphertext::new()?;
        check(call, run(self.0.get(), out.get()))?;
        Ok(out)
    }
}
