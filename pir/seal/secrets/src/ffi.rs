//! The C functions of SEAL 4.0 that create or use a secret key. The rules are those of
//! `opaque-seal`: every function returns an HRESULT, and a C++ exception that a function does not
//! catch ends the process.

#![expect(unsafe_code, reason = "declarations of C functions")]

use std::ffi::c_int;

use opaque_seal::internal::{Code, Object};

// KeyGenerator_Create1, KeyGenerator_CreateGaloisKeysFromSteps and Encryptor_EncryptSymmetric
// sample randomness. They do not catch the `runtime_error` for a `/dev/urandom` that cannot be
// read: see `handle`. KeyGenerator_SecretKey, KeyGenerator_Create2, Encryptor_Create and the
// functions of Decryptor throw only `invalid_argument` and catch it.
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
    pub(crate) fn KSwitchKeys_Destroy(keys: Object) -> Code;
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
