//! Limits the number of lookups with one pair of keys, and replaces the pair after that.
//!
//! ```text
//! keys/client.lookups (0600) = hexadecimal digest of the keys | space | decimal lookups | line break
//! keys/client.lock    (0600) = empty; locked while the other files are read or written
//! ```
//!
//! **Why.** A server that does not follow the protocol can corrupt an answer and observe whether
//! the client reports an error. Each such reaction reveals one bit, chosen by the server, about the
//! long-lived secret, which has 4096 coefficients of -1, 0 or 1. All requests of a statement are
//! sent before its first answer is decrypted, so a statement is one reaction, and a lookup is at
//! most one. If each bit is counted as a whole coefficient, [`LIMIT`] lookups leave 3840 unknown
//! coefficients. By our estimate (`pir/tests/estimate.rs`) it costs at least 2^120 to find them,
//! instead of 2^128. Fresh keys reset this count.
//!
//! **Guarantees.** Lookups are counted, and the count is on disk, before the first of them is
//! encrypted. Keys are not used again if their count is missing or damaged, or belongs to other
//! keys. No two processes generate keys at the same time.
//!
//! **Limits.** A statement with more than [`LIMIT`] lookups gets a pair of keys that is used for
//! nothing else. Restoring the directory from a backup also restores the count.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use opaque_client::profile::files;
use opaque_client::registered::RegisteredKeys;
use opaque_pir::codec::KeyDigest;
use opaque_seal::Bfv;

use crate::key_file::check_dir;
use crate::{Keys, KeysError};

/// Maximum number of lookups with one pair of keys.
pub const LIMIT: u64 = 256;

/// Returns the keys for a statement with `lookups` lookups, and counts the lookups first. The keys
/// are those in `dir`, or new ones that replace them. `kept` is the result of the previous call.
pub(crate) fn reserve(
    dir: &Path,
    lookups: u64,
    kept: Option<Arc<Keys>>,
) -> Result<Arc<Keys>, KeysError> {
    check_dir(dir)?;
    let _locked = lock(dir)?;
    let (path, count) = (dir.join("client.key"), dir.join("client.lookups"));
    let counted = Count::read(&count)?;
    let same = |keys: &Arc<Keys>| counted.as_ref().is_some_and(|count| count.is_of(keys));
    let bfv = kept.as_ref().map_or_else(Bfv::new, |kept| Ok(Arc::clone(&kept.bfv)))?;
    let current = match kept.filter(same) {
        Some(kept) => Some(kept),
        None => Keys::load(&path, &bfv)?.map(Arc::new),
    };
    let used = counted.as_ref().filter(|_| current.as_ref().is_some_and(same));
    let used = used.map(|count| count.lookups);
    if let Some(current) = &current
        && let Some(used) = serves(used, lookups)
    {
        Count::of(current, used).write(&count)?;
        return Ok(Arc::clone(current));
    }
    if current.is_some() {
        tracing::info!(limit = LIMIT, "replacing keys that have reached their limit of lookups");
    }
    let made = Arc::new(Keys::generate(bfv)?);
    // The count is written first: if the process dies before the keys are written, those keys were
    // never used.
    Count::of(&made, lookups).write(&count)?;
    let write = |source| KeysError::Write { path: path.clone(), source };
    files::replace(&path, &made.encode()?).map_err(write)?;
    Ok(made)
}

/// The count after `lookups` more lookups, if keys with `used` lookups may serve them too. Keys
/// without a count may have served any number.
fn serves(used: Option<u64>, lookups: u64) -> Option<u64> {
    used?.checked_add(lookups).filter(|used| *used <= LIMIT)
}

/// The number of lookups that a pair of keys has served.
struct Count {
    digest: String,
    lookups: u64,
}

impl Count {
    fn of(keys: &Keys, lookups: u64) -> Self {
        Self { digest: hexadecimal(keys.digest()), lookups }
    }

    fn is_of(&self, keys: &Keys) -> bool {
        self.digest == hexadecimal(keys.digest())
    }

    /// Reads the count from a file. Returns `None` if the file does not exist or was not written by
    /// this module.
    fn read(path: &Path) -> Result<Option<Self>, KeysError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KeysError::Read { path: path.to_owned(), source }),
        };
        let read = || {
            let (digest, lookups) =
                std::str::from_utf8(&bytes).ok()?.strip_suffix('\n')?.split_once(' ')?;
            Some(Self { digest: digest.to_owned(), lookups: lookups.parse().ok()? })
        };
        Ok(read())
    }

    fn write(&self, path: &Path) -> Result<(), KeysError> {
        let Self { digest, lookups } = self;
        files::replace(path, format!("{digest} {lookups}\n").as_bytes())
            .map_err(|source| KeysError::Write { path: path.to_owned(), source })
    }
}

fn hexadecimal(digest: &KeyDigest) -> String {
    digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Locks the directory's files until the result is dropped. Waits while another process holds the
/// lock.
fn lock(dir: &Path) -> Result<fs::File, KeysError> {
    let path = dir.join("client.lock");
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let locked = files::create_dir(dir).and_then(|()| options.open(&path)).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    locked.map_err(|source| KeysError::Write { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_serve_their_lookups_and_no_more() {
        assert_eq!(serves(Some(0), 1), Some(1));
        assert_eq!(serves(Some(LIMIT - 16), 16), Some(LIMIT));
        assert_eq!(serves(Some(LIMIT - 15), 16), None);
        assert_eq!(serves(Some(LIMIT), 1), None);
        assert_eq!(serves(Some(u64::MAX), 1), None);
        assert_eq!(serves(None, 1), None, "keys without a count may have served any number");
    }

    fn used(dir: &Path) -> u64 {
        Count::read(&dir.join("client.lookups")).unwrap().unwrap().lookups
    }

    #[test]
    fn new_keys_come_when_the_old_ones_have_served() {
        let dir = tempfile::tempdir().unwrap();
        let first = reserve(dir.path(), 200, None).unwrap();
        let same = reserve(dir.path(), 56, Some(Arc::clone(&first))).unwrap();
        assert!(Arc::ptr_eq(&first, &same), "what was kept is not read again");
        assert_eq!(used(dir.path()), LIMIT);
        // This holds both for keys cached in this process and for keys that another process reads.
        for kept in [Some(Arc::clone(&first)), None] {
            let next = reserve(dir.path(), 1, kept).unwrap();
            assert!(next.digest() != first.digest());
        }
        assert_eq!(used(dir.path()), 2, "of the second pair");
        // The cached pair no longer belongs to the profile.
        let next = reserve(dir.path(), 1, Some(first)).unwrap();
        assert_eq!((used(dir.path()), next.digest() == same.digest()), (3, false));
        // More lookups than any pair may serve.
        let large = reserve(dir.path(), 1000, Some(Arc::clone(&next))).unwrap();
        assert!(large.digest() != next.digest());
        let after = reserve(dir.path(), 1, Some(Arc::clone(&large))).unwrap();
        assert!(after.digest() != large.digest());
    }

    #[test]
    fn keys_without_their_count_are_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let count = dir.path().join("client.lookups");
        let mut before = reserve(dir.path(), 1, None).unwrap();
        let other = format!("{} 1\n", "0".repeat(64));
        for damage in [None, Some(""), Some("1\n"), Some(other.as_str())] {
            match damage {
                Some(text) => fs::write(&count, text).unwrap(),
                None => fs::remove_file(&count).unwrap(),
            }
            let after = reserve(dir.path(), 1, Some(Arc::clone(&before))).unwrap();
            assert!(after.digest() != before.digest(), "{damage:?}");
            before = after;
        }
    }

    /// Threads contend for the lock like processes, because each opens the file separately.
    #[test]
    fn no_lookup_of_another_process_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let first = reserve(dir.path(), 1, None).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let kept = Some(Arc::clone(&first));
                        let same = reserve(dir.path(), 2, kept).unwrap();
                        assert!(same.digest() == first.digest());
                    }
                });
            }
        });
        assert_eq!(used(dir.path()), 81);
    }
}
