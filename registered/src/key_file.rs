//! The file that stores a pair of keys.
//!
//! ```text
//! keys/client.key (0600) = "opaque-keys" | version 1 | u32 secret length | secret
//!                        | u32 length | evaluation keys | BLAKE3 of everything before, 32 bytes
//! ```
//!
//! The evaluation keys are public, but regenerated ones would have another digest. They are stored
//! with the secret, so that they are uploaded only once. A damaged file is an error and is kept:
//! only its owner can decide that it is lost.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use opaque_client::profile::files;
use opaque_client::registered::RegisteredKeys;
use opaque_pir::reader::Reader;
use opaque_seal::Bfv;
use opaque_seal_secrets::SecretKey;
use zeroize::Zeroizing;

use crate::{Keys, KeysError};

pub(crate) const MARKER: &[u8; 11] = b"opaque-keys";
pub(crate) const VERSION: u8 = 1;
pub(crate) const CHECKSUM_BYTES: usize = 32;
/// Size limit. Larger files were not written by this module.
const MAX_BYTES: u64 = 8 << 20;

impl Keys {
    /// Reads the keys from a file, if the file exists.
    pub(crate) fn load(path: &Path, bfv: &Arc<Bfv>) -> Result<Option<Self>, KeysError> {
        let read = |source| KeysError::Read { path: path.to_owned(), source };
        let mut options = fs::OpenOptions::new();
        // A symbolic link could point at a file that others may replace, and opening a pipe would
        // block.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let opened = options.read(true).custom_flags(flags).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read(error)),
        };
        let metadata = file.metadata().map_err(read)?;
        // The file is closed to everyone but its owner, and it could be opened, so it belongs to
        // this user (or the user is root).
        let mode = files::open_to_others(&metadata);
        if mode != 0 {
            return Err(KeysError::OpenToOthers { path: path.to_owned(), mode });
        }
        let damaged = || KeysError::Damaged { path: path.to_owned() };
        if !metadata.is_file() || metadata.len() > MAX_BYTES {
            return Err(damaged());
        }
        let length = usize::try_from(metadata.len()).map_err(|_| damaged())?;
        // The full capacity is reserved, so that no reallocation leaves a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(read)?;
        let (secret, evaluation) = split(&bytes).map_err(|fault| match fault {
            Fault::Damaged => damaged(),
            Fault::Version(version) => {
                KeysError::Version { path: path.to_owned(), version, supported: VERSION }
            }
        })?;
        let secret = SecretKey::from_bytes(bfv, secret).map_err(|_| damaged())?;
        Ok(Some(Self::new(Arc::clone(bfv), secret, Bytes::copy_from_slice(evaluation))))
    }

    /// The keys in the format of their file.
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let secret = self.secret.to_bytes()?;
        let total = MARKER.len() + 1 + 4 + secret.len() + 4 + self.evaluation().len();
        let mut bytes = Zeroizing::new(Vec::with_capacity(total + CHECKSUM_BYTES));
        bytes.extend_from_slice(MARKER);
        bytes.push(VERSION);
        for part in [secret.as_slice(), self.evaluation()] {
            let length = u32::try_from(part.len()).map_err(|_| KeysError::TooLarge)?;
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(part);
        }
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        Ok(bytes)
    }
}

/// Refuses a directory that other users can write to, because they could replace the keys.
pub(crate) fn check_dir(dir: &Path) -> Result<(), KeysError> {
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
