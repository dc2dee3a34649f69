//! Owners of the objects that hold or use a secret key. The SAFETY notes rely on the invariants
//! that `opaque-seal` states for its handles (`pir/seal/src/handle.rs`).
//!
//! SEAL keeps secret keys in separate memory pools and clears those when it frees them.

#![expect(unsafe_code, reason = "calls into SEAL's C functions")]

use std::ffi::c_int;
use std::fs::File;
use std::io::Read;
use std::ptr::null_mut;

use opaque_pir::params::ROTATION_STEPS;
use opaque_seal::SealError;
use opaque_seal::internal::{
    Ciphertext, Context, GaloisKey, GaloisShape, Handle, Plaintext, PlaintextShape, check, load,
    save,
};

use crate::ffi;

/// A secret key, in NTT form over all primes.
pub(crate) struct SecretKey(Handle);

impl SecretKey {
    /// A fresh key with ternary coefficients.
    pub(crate) fn generate(context: &Context) -> Result<Self, SealError> {
        require_randomness()?;
        // SAFETY: the context is live and its parameters are set; the generator's constructor
        // samples, and the source of randomness was readable a moment ago.
        let generator = unsafe {
            Handle::create("KeyGenerator_Create1", ffi::KeyGenerator_Destroy, |out| {
                ffi::KeyGenerator_Create1(context.get_handle(), out)
            })
        }?;
        // SAFETY: the generator is live and has made a key, so asking for a copy cannot throw.
        let key = unsafe {
            Handle::create("KeyGenerator_SecretKey", ffi::SecretKey_Destroy, |out| {
                ffi::KeyGenerator_SecretKey(generator.get(), out)
            })
        };
        key.map(Self)
    }

    /// Loads a key from the serialized object. SEAL checks sizes and ranges.
    pub(crate) fn load(context: &Context, bytes: &[u8]) -> Result<Self, SealError> {
        // SAFETY: the out pointer is valid for the call, and an empty key needs no memory.
        let key = unsafe {
            Handle::create("SecretKey_Create1", ffi::SecretKey_Destroy, |out| {
                ffi::SecretKey_Create1(out)
            })
        }?;
        // SAFETY: both objects are live, `bytes` may be read for the length that is passed, and
        // Load catches every exception of serialization.
        load("SecretKey_Load", bytes, |bytes, size, read| unsafe {
            ffi::SecretKey_Load(key.get(), context.get_handle(), bytes, size, read)
        })?;
        Ok(Self(key))
    }

    /// Writes the key's object into `buffer`, which has exactly the size of `shape`.
    pub(crate) fn save(&self, shape: &PlaintextShape, buffer: &mut [u8]) -> Result<(), SealError> {
        if buffer.len() != shape.bytes() {
            return Err(SealError::Format { what: "secret key" });
        }
        // SAFETY: the key is live, `buffer` may be written for the length that is passed, and Save
        // catches every exception of serialization.
        save("SecretKey_Save", buffer, |bytes, size, compression, written| unsafe {
            ffi::SecretKey_Save(self.0.get(), bytes, size, compression, written)
        })
    }

    /// Fresh Galois keys for [`ROTATION_STEPS`], with seeds. Returns the digits of the keys in
    /// `slots`.
    pub(crate) fn galois_keys(
        &self,
        context: &Context,
        shape: &GaloisShape,
        slots: &[usize],
    ) -> Result<Vec<GaloisKey>, SealError> {
        // SAFETY: both objects are live; a key that does not fit the context is an
        // `invalid_argument`, which is caught.
        let generator = unsafe {
            Handle::create("KeyGenerator_Create2", ffi::KeyGenerator_Destroy, |out| {
                ffi::KeyGenerator_Create2(context.get_handle(), self.0.get(), out)
            })
        }?;
        require_randomness()?;
        let call = "KeyGenerator_CreateGaloisKeysFromSteps";
        // SAFETY: the generator is live and the steps may be read for the count that is passed; the
        // randomness that is sampled was there a moment ago.
        let keys = unsafe {
            Handle::create(call, ffi::KSwitchKeys_Destroy, |out| {
                ffi::KeyGenerator_CreateGaloisKeysFromSteps(
                    generator.get(),
                    ROTATION_STEPS.len() as u64,
                    ROTATION_STEPS.as_ptr(),
                    true,
                    out,
                )
            })
        }?;
        let mut bytes = vec![0; shape.bytes()];
        // SAFETY: the keys are live, `bytes` may be written for the length that is passed, and Save
        // catches every exception of serialization.
        save("KSwitchKeys_Save", &mut bytes, |bytes, size, compression, written| unsafe {
            ffi::KSwitchKeys_Save(keys.get(), bytes, size, compression, written)
        })?;
        shape.read(&bytes, slots)
    }

    /// A fresh symmetric encryption whose second polynomial is a seed.
    pub(crate) fn encrypt(
        &self,
        context: &Context,
        plaintext: &Plaintext,
    ) -> Result<Ciphertext, SealError> {
        // SAFETY: both objects are live; no public key is asked for with null. A key that does not
        // fit the context is an `invalid_argument`, which is caught.
        let encryptor = unsafe {
            Handle::create("Encryptor_Create", ffi::Encryptor_Destroy, |out| {
                ffi::Encryptor_Create(context.get_handle(), null_mut(), self.0.get(), out)
            })
        }?;
        let out = Ciphertext::new()?;
        require_randomness()?;
        // SAFETY: all objects are live and `out` is fresh; the randomness that is sampled was there
        // a moment ago, and every other exception is a `logic_error`, which is caught.
        check("Encryptor_EncryptSymmetric", unsafe {
            ffi::Encryptor_EncryptSymmetric(
                encryptor.get(),
                plaintext.get_handle(),
                true,
                out.get(),
                null_mut(),
            )
        })?;
        Ok(out)
    }

    pub(crate) fn decrypt(
        &self,
        context: &Context,
        ciphertext: &Ciphertext,
        out: &mut Plaintext,
    ) -> Result<(), SealError> {
        let decryptor = self.decryptor(context)?;
        // SAFETY: all objects are live and `out` is exclusive; the ciphertext has two polynomials
        // of this context, so nothing but `invalid_argument` can be thrown, which is caught.
        check("Decryptor_Decrypt", unsafe {
            ffi::Decryptor_Decrypt(decryptor.get(), ciphertext.get(), out.get_handle())
        })
    }

    /// Remaining noise budget in bits.
    pub(crate) fn noise_budget(
        &self,
        context: &Context,
        ciphertext: &Ciphertext,
    ) -> Result<u32, SealError> {
        let decryptor = self.decryptor(context)?;
        let mut bits: c_int = 0;
        // SAFETY: as for `decrypt`; `bits` is written before the call returns.
        check("Decryptor_InvariantNoiseBudget", unsafe {
            ffi::Decryptor_InvariantNoiseBudget(decryptor.get(), ciphertext.get(), &raw mut bits)
        })?;
        Ok(u32::try_from(bits).unwrap_or(0))
    }

    fn decryptor(&self, context: &Context) -> Result<Handle, SealError> {
        // SAFETY: both objects are live; a key that does not fit the context is an
        // `invalid_argument`, which is caught.
        unsafe {
            Handle::create("Decryptor_Create", ffi::Decryptor_Destroy, |out| {
                ffi::Decryptor_Create(context.get_handle(), self.0.get(), out)
            })
        }
    }
}

/// Overwrites a plaintext with zeros.
pub(crate) fn clear(plaintext: &mut Plaintext) -> Result<(), SealError> {
    // SAFETY: the plaintext is live and exclusive; the call cannot throw.
    check("Plaintext_SetZero1", unsafe { ffi::Plaintext_SetZero1(plaintext.get_handle()) })
}

/// Checks that SEAL can open `/dev/urandom`, because SEAL does not catch the error. If the file
/// disappears, or the last file descriptor is taken, between this check and SEAL's use, the
/// client's process ends.
fn require_randomness() -> Result<(), SealError> {
    let mut byte = [0];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut byte))
        .map_err(SealError::Randomness)
}
