//! Owners of SEAL's objects, and the calls on them.
//!
//! **Invariants** on which every SAFETY note here and in `opaque-seal-secrets` relies:
//! 1. A [`Handle`] holds the only owning pointer to a live object of the type that its wrapper
//!    names. SEAL created the object, and it is destroyed once, on drop.
//! 2. Methods take `&self` if SEAL only reads the object. Objects that SEAL writes are fresh or
//!    `&mut`.
//! 3. A null pool means SEAL's global pool, which locks (`MemoryPoolMT`), so calls may run on any
//!    thread.
//! 4. SEAL keeps the parts of a context that it needs behind shared pointers, so objects may
//!    outlive the context.

#![expect(unsafe_code, reason = "calls into SEAL's C functions")]

use std::ptr::{NonNull, null_mut};

use seal_fhe::{Context, Plaintext};

use crate::SealError;
use crate::ffi::{self, Code, Destroy, Object};
use crate::format::{CiphertextShape, GaloisKey, GaloisShape, ParmsId, PlaintextShape, Seed};

mod evaluator;

pub(crate) use evaluator::Evaluator;

/// SEAL's number for "no compression".
const UNCOMPRESSED: u8 = 0;

/// Owns one SEAL object.
#[derive(Debug)]
pub struct Handle {
    object: NonNull<std::ffi::c_void>,
    destroy: Destroy,
}

impl Handle {
    /// Runs a C function that creates an object, and takes ownership of the result.
    ///
    /// # Safety
    /// `create` writes null, or the only owning pointer to a live SEAL object of the type that
    /// `destroy` destroys. The handle's user upholds invariants 2 to 4 of this module
    /// (`pir/seal/src/handle.rs`).
    pub unsafe fn create(
        call: &'static str,
        destroy: Destroy,
        create: impl FnOnce(*mut Object) -> Code,
    ) -> Result<Self, SealError> {
        let mut object = null_mut();
        check(call, create(&raw mut object))?;
        let object = NonNull::new(object).ok_or(SealError::Library { call, code: 0 })?;
        Ok(Self { object, destroy })
    }

    /// The object. It is live as long as the handle.
    pub fn get(&self) -> Object {
        self.object.as_ptr()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: invariant 1: the object is live, of the type that `destroy` expects, and not used
        // again.
        let _ = unsafe { (self.destroy)(self.get()) };
    }
}

// SAFETY: a SEAL object is not bound to the thread that created it; its memory comes from a pool
// that locks.
unsafe impl Send for Handle {}
// SAFETY: invariant 2: through a shared reference SEAL only calls const methods, and the caches
// inside a context and a decryptor are behind its own locks.
unsafe impl Sync for Handle {}

/// Turns an HRESULT into a result.
pub fn check(call: &'static str, code: Code) -> Result<(), SealError> {
    match code {
        0 => Ok(()),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an HRESULT has 32 bits"
        )]
        code => Err(SealError::Library { call, code: code as u32 }),
    }
}

/// Runs a C function that saves an object of exactly `bytes` bytes into `buffer`.
pub fn save(
    call: &'static str,
    buffer: &mut [u8],
    save: impl FnOnce(*mut u8, u64, u8, *mut i64) -> Code,
) -> Result<(), SealError> {
    let mut written = 0;
    check(call, save(buffer.as_mut_ptr(), buffer.len() as u64, UNCOMPRESSED, &raw mut written))?;
    if usize::try_from(written) != Ok(buffer.len()) {
        return Err(SealError::Format { what: call });
    }
    Ok(())
}

/// Runs a C function that loads an object from all of `bytes`.
pub fn load(
    call: &'static str,
    bytes: &[u8],
    load: impl FnOnce(*const u8, u64, *mut i64) -> Code,
) -> Result<(), SealError> {
    let mut read = 0;
    check(call, load(bytes.as_ptr(), bytes.len() as u64, &raw mut read))?;
    if usize::try_from(read) != Ok(bytes.len()) {
        return Err(SealError::Format { what: call });
    }
    Ok(())
}

/// Whether a context accepted its parameters.
pub(crate) fn parameters_set(context: &Context) -> Result<bool, SealError> {
    let mut set = false;
    // SAFETY: the context is live, and `set` is written before the call returns.
    check("SEALContext_ParametersSet", unsafe {
        ffi::SEALContext_ParametersSet(context.get_handle(), &raw mut set)
    })?;
    Ok(set)
}

/// The digests of the levels of keys, of fresh ciphertexts and of answers.
pub(crate) fn levels(context: &Context) -> Result<[ParmsId; 3], SealError> {
    let mut levels = [[0; 4]; 3];
    let [keys, first, last] = &mut levels;
    // SAFETY: the context is live; each function writes four words, which is the size of each
    // array.
    unsafe {
        let context = context.get_handle();
        check("SEALContext_KeyParmsId", ffi::SEALContext_KeyParmsId(context, keys.as_mut_ptr()))?;
        check(
            "SEALContext_FirstParmsId",
            ffi::SEALContext_FirstParmsId(context, first.as_mut_ptr()),
        )?;
        check("SEALContext_LastParmsId", ffi::SEALContext_LastParmsId(context, last.as_mut_ptr()))?;
    }
    Ok(levels)
}

/// Residues of a plaintext in NTT form, appended to `out`.
pub(crate) fn plaintext_residues(
    plaintext: &Plaintext,
    shape: &PlaintextShape,
    buffer: &mut Vec<u8>,
    out: &mut Vec<u64>,
) -> Result<(), SealError> {
    buffer.resize(shape.bytes(), 0);
    // SAFETY: the plaintext is live, `buffer` may be written for the length that is passed, and
    // Save catches every exception of serialization.
    save("Plaintext_Save", buffer, |bytes, size, compression, written| unsafe {
        ffi::Plaintext_Save(plaintext.get_handle(), bytes, size, compression, written)
    })?;
    shape.read(&mut buffer.as_slice(), out)
}

/// A ciphertext.
#[derive(Debug)]
pub struct Ciphertext(Handle);

impl Ciphertext {
    /// An empty ciphertext, to be written to.
    pub fn new() -> Result<Self, SealError> {
        // SAFETY: a null pool is the global one; the out pointer is valid for the call.
        let ciphertext = unsafe {
            Handle::create("Ciphertext_Create1", ffi::Ciphertext_Destroy, |out| {
                ffi::Ciphertext_Create1(null_mut(), out)
            })
        };
        ciphertext.map(Self)
    }

    /// The object. It is live as long as the ciphertext.
    pub fn get(&self) -> Object {
        self.0.get()
    }

    /// A ciphertext with these residues, each below its prime. SEAL checks sizes and ranges again.
    pub fn load(
        context: &Context,
        shape: &CiphertextShape,
        residues: &[u64],
        seed: Option<&Seed>,
    ) -> Result<Self, SealError> {
        let mut bytes = Vec::new();
        shape.write(residues, seed, &mut bytes);
        let ciphertext = Self::new()?;
        // SAFETY: both objects are live, `bytes` may be read for the length that is passed, and
        // Load catches every exception of serialization.
        load("Ciphertext_Load", &bytes, |bytes, size, read| unsafe {
            ffi::Ciphertext_Load(ciphertext.get(), context.get_handle(), bytes, size, read)
        })?;
        Ok(ciphertext)
    }

    /// Appends the ciphertext's residues to `out` and returns its seed. `shape` must be the
    /// ciphertext's shape.
    pub fn residues(
        &self,
        shape: &CiphertextShape,
        out: &mut Vec<u64>,
    ) -> Result<Option<Seed>, SealError> {
        let mut bytes = vec![0; shape.bytes()];
        // SAFETY: the ciphertext is live, `bytes` may be written for the length that is passed, and
        // Save catches every exception of serialization, including that for a buffer that is too
        // small.
        save("Ciphertext_Save", &mut bytes, |bytes, size, compression, written| unsafe {
            ffi::Ciphertext_Save(self.get(), bytes, size, compression, written)
        })?;
        shape.read(&mut bytes.as_slice(), out)
    }
}

/// A client's Galois keys.
#[derive(Debug)]
pub(crate) struct GaloisKeys(Handle);

impl GaloisKeys {
    /// Loads keys from SEAL's serialization. SEAL checks sizes and ranges.
    pub(crate) fn load(
        context: &Context,
        shape: &GaloisShape,
        keys: &[(usize, GaloisKey)],
    ) -> Result<Self, SealError> {
        let mut bytes = Vec::new();
        shape.write(keys, &mut bytes);
        // SAFETY: the out pointer is valid for the call. `GaloisKeys` adds no member to
        // `KSwitchKeys`, and SEAL's own bindings also treat one as the other.
        let keys = unsafe {
            Handle::create("KSwitchKeys_Create1", ffi::KSwitchKeys_Destroy, |out| {
                ffi::KSwitchKeys_Create1(out)
            })
        }?;
        // SAFETY: both objects are live, `bytes` may be read for the length that is passed, and
        // Load catches every exception of serialization. The counts in `bytes` were written by this
        // crate, so they are small.
        load("KSwitchKeys_Load", &bytes, |bytes, size, read| unsafe {
            ffi::KSwitchKeys_Load(keys.get(), context.get_handle(), bytes, size, read)
        })?;
        Ok(Self(keys))
    }
}
