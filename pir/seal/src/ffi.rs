//! C functions of SEAL 4.0 that `seal_fhe` links but does not expose.
//!
//! Every function returns an HRESULT, zero for success. A C++ exception that a function does not
//! catch ends the process, so each group states which exceptions it catches. `std::bad_alloc` is
//! never caught.

#![expect(unsafe_code, reason = "declarations of C functions")]

use std::ffi::{c_int, c_long, c_void};

/// A SEAL object.
pub type Object = *mut c_void;
/// An HRESULT.
pub type Code = c_long;
/// The destructor of an object.
pub(crate) type Destroy = unsafe extern "C" fn(Object) -> Code;

// These cannot throw: they only read a live context.
unsafe extern "C" {
    pub(crate) fn SEALContext_ParametersSet(context: Object, set: *mut bool) -> Code;
    pub(crate) fn SEALContext_KeyParmsId(context: Object, parms_id: *mut u64) -> Code;
    pub(crate) fn SEALContext_FirstParmsId(context: Object, parms_id: *mut u64) -> Code;
    pub(crate) fn SEALContext_LastParmsId(context: Object, parms_id: *mut u64) -> Code;
}

// Create and TransformToNTT1 catch `invalid_argument`, the others every `logic_error`. A const
// method of an evaluator throws nothing else if its operands belong to the evaluator's context.
unsafe extern "C" {
    pub(crate) fn Evaluator_Create(context: Object, evaluator: *mut Object) -> Code;
    pub(crate) fn Evaluator_Destroy(evaluator: Object) -> Code;
    pub(crate) fn Evaluator_RotateRows(
        evaluator: Object,
        ciphertext: Object,
        steps: c_int,
        galois_keys: Object,
        destination: Object,
        pool: Object,
    ) -> Code;
    pub(crate) fn Evaluator_Add(
        evaluator: Object,
        a: Object,
        b: Object,
        destination: Object,
    ) -> Code;
    pub(crate) fn Evaluator_TransformToNTT1(
        evaluator: Object,
        plaintext: Object,
        parms_id: *const u64,
        destination: Object,
        pool: Object,
    ) -> Code;
    pub(crate) fn Evaluator_TransformToNTT2(
        evaluator: Object,
        ciphertext: Object,
        destination: Object,
    ) -> Code;
    pub(crate) fn Evaluator_TransformFromNTT(
        evaluator: Object,
        ciphertext: Object,
        destination: Object,
    ) -> Code;
    pub(crate) fn Evaluator_ModSwitchToNext1(
        evaluator: Object,
        ciphertext: Object,
        destination: Object,
        pool: Object,
    ) -> Code;
}

// Save and Load catch `logic_error` and `runtime_error`, the only exceptions of SEAL's
// serialization.
unsafe extern "C" {
    pub(crate) fn Ciphertext_Create1(pool: Object, ciphertext: *mut Object) -> Code;
    pub(crate) fn Ciphertext_Destroy(ciphertext: Object) -> Code;
    pub(crate) fn Ciphertext_Save(
        ciphertext: Object,
        out: *mut u8,
        size: u64,
        compression: u8,
        written: *mut i64,
    ) -> Code;
    pub(crate) fn Ciphertext_Load(
        ciphertext: Object,
        context: Object,
        bytes: *const u8,
        size: u64,
        read: *mut i64,
    ) -> Code;

    pub(crate) fn KSwitchKeys_Create1(keys: *mut Object) -> Code;
    pub(crate) fn KSwitchKeys_Destroy(keys: Object) -> Code;
    pub(crate) fn KSwitchKeys_Load(
        keys: Object,
        context: Object,
        bytes: *const u8,
        size: u64,
        read: *mut i64,
    ) -> Code;

    pub(crate) fn Plaintext_Save(
        plaintext: Object,
        out: *mut u8,
        size: u64,
        compression: u8,
        written: *mut i64,
    ) -> Code;
}
