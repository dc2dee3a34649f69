//! The C functions of SEAL 4.0 that `seal_fhe` links but does not offer.
//!
//! Every function returns an HRESULT, zero for success. A C++ exception that a function does not catch
//! ends the process, so each group says what is caught. Uncaught everywhere: `std::bad_alloc`.

#![expect(unsafe_code, reason = "declarations of C functions")]

use std::ffi::{c_int, c_long, c_void};

pub(crate) type Object = *mut c_void;
pub(crate) type Code = c_long;
pub(crate) type Destroy = unsafe extern "C" fn(Object) -> Code;

// No exception can be thrown: plain reads of a live context.
unsafe extern "C" {
    pub(crate) fn SEALContext_ParametersSet(context: Object, set: *mut bool) -> Code;
    pub(crate) fn SEALContext_KeyParmsId(context: Object, parms_id: *mut u64) -> Code;
    pub(crate) fn SEALContext_FirstParmsId(context: Object, parms_id: *mut u64) -> Code;
    pub(crate) fn SEALContext_LastParmsId(context: Object, parms_id: *mut u64) -> Code;
}

// Create and TransformToNTT1 catch `invalid_argument`, the others all of `logic_error`. Nothing else is
// thrown by a const method of an evaluator over operands that belong to its context.
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

// Save and Load catch `logic_error` and `runtime_error`: all that SEAL's serialization throws.
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

// KeyGenerator_Create1, KeyGenerator_CreateGaloisKeysFromSteps and Encryptor_EncryptSymmetric sample, and
// do not catch the `runtime_error` of a `/dev/urandom` that cannot be read: see `handle::secret`.
// KeyGenerator_SecretKey, KeyGenerator_Create2, Encryptor_Create and the functions of Decryptor throw
// nothing but `invalid_argument` and catch it.
#[cfg(feature = "secrets")]
unsafe extern "C" {
    pub(crate) fn KeyGenerator_Create1(context: Object, generator: *mut Object) -> Code;
    pub(crate) fn KeyGenerator_Create2(
        context: Object,
        secret_key: Object,
        generator: *mut Object,
    ) -> Code;
    pub(crate) fn KeyGenerator_Destroy(generator: Object) -> Code;
    pub(crate) fn KeyGenerator_SecretKey(generator: Object, secret_key: *mut Object) -> Code;
    pub(crate) fn KeyGenerator_CreateGaloisKeysFromSteps(
        generator: Object,
        count: u64,
        steps: *const c_int,
        save_seed: bool,
        galois_keys: *mut Object,
    ) -> Code;
    pub(crate) fn KSwitchKeys_Save(
        keys: Object,
        out: *mut u8,
        size: u64,
        compression: u8,
        written: *mut i64,
    ) -> Code;

    pub(crate) fn SecretKey_Create1(secret_key: *mut Object) -> Code;
    pub(crate) fn SecretKey_Destroy(secret_key: Object) -> Code;
    pub(crate) fn SecretKey_Save(
        secret_key: Object,
        out: *mut u8,
        size: u64,
        compression: u8,
        written: *mut i64,
    ) -> Code;
    pub(crate) fn SecretKey_Load(
        secret_key: Object,
        context: Object,
        bytes: *const u8,
        size: u64,
        read: *mut i64,
    ) -> Code;

    pub(crate) fn Encryptor_Create(
        context: Object,
        public_key: Object,
        secret_key: Object,
        encryptor: *mut Object,
    ) -> Code;
    pub(crate) fn Encryptor_Destroy(encryptor: Object) -> Code;
    pub(crate) fn Encryptor_EncryptSymmetric(
        encryptor: Object,
        plaintext: Object,
        save_seed: bool,
        destination: Object,
        pool: Object,
    ) -> Code;

    pub(crate) fn Decryptor_Create(
        context: Object,
        secret_key: Object,
        decryptor: *mut Object,
    ) -> Code;
    pub(crate) fn Decryptor_Destroy(decryptor: Object) -> Code;
    pub(crate) fn Decryptor_Decrypt(
        decryptor: Object,
        ciphertext: Object,
        destination: Object,
    ) -> Code;
    pub(crate) fn Decryptor_InvariantNoiseBudget(
        decryptor: Object,
        ciphertext: Object,
        bits: *mut c_int,
    ) -> Code;

    pub(crate) fn Plaintext_SetZero1(plaintext: Object) -> Code;
}
