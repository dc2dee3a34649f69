//! The client's registered keys: one BFV secret and its evaluation keys, kept by the profile for a number of
//! lookups ([`LIMIT`]), then made anew.
//!
//! ```text
//! keys/client.key (0600) = "opaque-keys" | version 1 | u32 secret length | secret
//!                        | u32 length | evaluation keys | BLAKE3 of everything before, 32 bytes
//! ```
//!
//! The evaluation keys are public, but fresh ones would have another digest: kept beside the secret,
//! they are uploaded once. A damaged file is an error and stays: nobody but its owner may decide
//! that it is lost.

use std::{
    fmt, fs,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use opaque_pir::codec::KeyDigest;
use opaque_pir::reader::Reader;
use opaque_seal::{Bfv, SealError, secrets::SecretKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::profile::files;

pub use opaque_seal::EVALUATION_KEYS_BYTES;

mod reserve;

pub use reserve::LIMIT;

const MARKER: &[u8; 11] = b"opaque-keys";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 32;
/// Larger files are not ours.
const MAX_BYTES: u64 = 8 << 20;

/// BFV's context and a client's keys.
pub struct Registered {
    /// The context.
    pub bfv: Arc<Bfv>,
    /// The keys.
    pub keys: Keys,
}

/// A client's keys.
pub struct Keys {
    secret: SecretKey,
    evaluation: Bytes,
    digest: KeyDigest,
}

impl Keys {
    /// Fresh keys that are stored nowhere.
    pub fn generate(bfv: &Bfv) -> Result<Self, SealError> {
        let secret = SecretKey::generate(bfv)?;
        let evaluation = secret.evaluation_keys(bfv)?;
        Ok(Self::new(secret, evaluation.into()))
    }

    /// The BFV secret.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// The evaluation keys as they are registered.
    pub fn evaluation(&self) -> &Bytes {
        &self.evaluation
    }

    /// Under which digest they are registered.
    pub fn digest(&self) -> &KeyDigest {
        &self.digest
    }

    fn new(secret: SecretKey, evaluation: Bytes) -> Self {
        let digest = KeyDigest::of(&evaluation);
        Self { secret, evaluation, digest }
    }

    fn load(path: &Path, bfv: &Bfv) -> Result<Option<Self>, KeysError> {
        let read = |source| KeysError::Read { path: path.to_owned(), source };
        let mut options = fs::OpenOptions::new();
        // A link could point at a file that others may replace, and opening a pipe would wait for a writer.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let opened = options.read(true).custom_flags(flags).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read(error)),
        };
        let metadata = file.metadata().map_err(read)?;
        // Closed to all but its owner, and yet it could be opened: it is ours (or we are root).
        let mode = files::open_to_others(&metadata);
        if mode != 0 {
            return Err(KeysError::OpenToOthers { path: path.to_owned(), mode });
        }
        let damaged = || KeysError::Damaged { path: path.to_owned() };
        if !metadata.is_file() || metadata.len() > MAX_BYTES {
            return Err(damaged());
        }
        let length = usize::try_from(metadata.len()).map_err(|_| damaged())?;
        // Reserved whole, so that no reallocation leaves a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(read)?;
        let (secret, evaluation) = split(&bytes).map_err(|fault| match fault {
            Fault::Damaged => damaged(),
            Fault::Version(version) => KeysError::Version { path: path.to_owned(), version },
        })?;
        let secret = SecretKey::from_bytes(bfv, secret).map_err(|_| damaged())?;
        Ok(Some(Self::new(secret, Bytes::copy_from_slice(evaluation))))
    }

    fn encode(&self) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let secret = self.secret.to_bytes()?;
        let total = MARKER.len() + 1 + 4 + secret.len() + 4 + self.evaluation.len();
        let mut bytes = Zeroizing::new(Vec::with_capacity(total + CHECKSUM_BYTES));
        bytes.extend_from_slice(MARKER);
        bytes.push(VERSION);
        for part in [secret.as_slice(), &self.evaluation] {
            let length = u32::try_from(part.len()).map_err(|_| KeysError::TooLarge)?;
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(part);
        }
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        Ok(bytes)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Who may write to the directory may put other keys in place of these.
fn check_dir(dir: &Path) -> Result<(), KeysError> {
    let metadata = match fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(KeysError::Read { path: dir.to_owned(), source }),
    };
    match files::open_to_others(&metadata) & 0o022 {
        0 => Ok(()),
        mode => Err(KeysError::DirectoryOpen { path: dir.to_owned(), mode }),
    }
}

enum Fault {
    Damaged,
    Version(u8),
}

/// The secret and the evaluation keys of a key file.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Fault::Damaged)?;
    // `blake3::Hash` compares in constant time.
    if blake3::hash(body) != *checksum {
        return Err(Fault::Damaged);
    }
    let mut reader = Reader::new(body);
    if reader.take(MARKER.len()).map_err(|_| Fault::Damaged)? != MARKER {
        return Err(Fault::Damaged);
    }
    let version = reader.u8().map_err(|_| Fault::Damaged)?;
    if version != VERSION {
        return Err(Fault::Version(version));
    }
    let mut part = || {
        let length = reader.u32().ok()?;
        reader.take(usize::try_from(length).ok()?).ok()
    };
    let parts = part().zip(part()).ok_or(Fault::Damaged)?;
    reader.finish().map_err(|_| Fault::Damaged)?;
    Ok(parts)
}

/// Why the profile's keys cannot be used. No text carries a byte of them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeysError {
    /// Others than the owner may read or write the file.
    #[error("{} is open to other users (mode bits {mode:03o})", path.display())]
    OpenToOthers {
        /// The key file.
        path: PathBuf,
        /// The group's and others' bits.
        mode: u32,
    },
    /// Others than the owner may write to the keys' directory.
    #[error("{} can be written to by other users (mode bits {mode:03o})", path.display())]
    DirectoryOpen {
        /// The directory.
        path: PathBuf,
        /// The group's and others' write bits.
        mode: u32,
    },
    /// The file is not what was written.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
    /// A later Opaque wrote the file.
    #[error("{} has version {version}, this is version {VERSION}", path.display())]
    Version {
        /// The key file.
        path: PathBuf,
        /// Its version.
        version: u8,
    },
    /// Reading failed.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The key file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The key file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The keys do not fit their own format.
    #[error("the keys are too large to store")]
    TooLarge,
    /// SEAL refused.
    #[error("cannot make keys: {0}")]
    Seal(#[from] SealError),
}

impl KeysError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OpenToOthers { path, .. } => Some(format!(
                "run `chmod 600 {}`; if somebody may have read it, move it away instead and new keys \
                 are made",
                path.display()
            )),
            Self::DirectoryOpen { path, .. } => Some(format!(
                "run `chmod 700 {}`; if somebody may have changed what is in it, move it away instead \
                 and new keys are made",
                path.display()
            )),
            Self::Damaged { path } => Some(format!(
                "restore it from a backup, or move {} away: the next query makes new keys (nothing \
                 stored is lost with the old ones)",
                path.display()
            )),
            Self::Version { .. } => Some("use the newer `opaque` that wrote it".to_owned()),
            Self::Read { .. } | Self::Write { .. } | Self::TooLarge | Self::Seal(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
