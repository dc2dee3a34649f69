//! Public parts of inline keys on this machine: files named by digest.
//!
//! ```text
//! $OPAQUE_HOME/public/<digest in hexadecimal>     14,848 bytes each
//! ```
//!
//! They are the same for every client and hold nothing of a query; a file only spares a download.
//! One that is missing, damaged or cannot be written is fetched again: the digest decides.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use opaque_pir::inline::PublicPart;

use crate::files;

/// Name of a public part.
pub type Digest = [u8; 32];

/// Files that are kept, the newest: those of as many planes.
const KEPT: usize = 256;

/// A directory of public parts.
#[derive(Debug, Clone)]
pub struct PublicParts {
    dir: PathBuf,
}

impl PublicParts {
    /// Files in `dir`, which is made when there is something to keep.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// All of `digests`, if all of them are here and whole.
    pub fn find(&self, digests: &[Digest]) -> Option<Vec<PublicPart>> {
        digests.iter().map(|digest| checked(&fs::read(self.path(digest)).ok()?, digest)).collect()
    }

    /// Checks what was fetched for `digests`, and keeps it. `None` where a part is not the one that
    /// its digest names.
    pub fn accept<B: AsRef<[u8]>>(
        &self,
        digests: &[Digest],
        parts: &[B],
    ) -> Option<Vec<PublicPart>> {
        if digests.len() != parts.len() {
            return None;
        }
        let pairs = || digests.iter().zip(parts.iter().map(AsRef::as_ref));
        let accepted: Option<Vec<_>> =
            pairs().map(|(digest, bytes)| checked(bytes, digest)).collect();
        if accepted.is_some() {
            let kept: io::Result<()> =
                pairs().try_for_each(|(digest, bytes)| files::replace(&self.path(digest), bytes));
            if let Err(error) = kept.and_then(|()| prune(&self.dir)) {
                tracing::debug!(%error, "public parts are not kept");
            }
        }
        accepted
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(name)
    }
}

fn checked(bytes: &[u8], digest: &Digest) -> Option<PublicPart> {
    (PublicPart::digest(bytes) == *digest).then(|| PublicPart::from_bytes(bytes).ok())?
}

/// Removes all but the newest [`KEPT`] files.
fn prune(dir: &Path) -> io::Result<()> {
    let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    let surplus = files.len().saturating_sub(KEPT);
    files.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(fill: u8) -> (Digest, Vec<u8>) {
        let bytes = vec![fill; opaque_pir::inline::PLANE_BYTES];
        (PublicPart::digest(&bytes), bytes)
    }

    #[test]
    fn what_was_accepted_is_found_again() {
        let home = tempfile::tempdir().unwrap();
        let parts = PublicParts::new(home.path().join("public"));
        let ((first, a), (second, b)) = (part(1), part(2));
        assert!(parts.find(&[first]).is_none());
        assert!(parts.accept(&[first, second], &[&a, &b]).is_some());
        let found = parts.find(&[second, first]).unwrap();
        assert_eq!(found.iter().map(PublicPart::to_bytes).collect::<Vec<_>>(), [b, a]);
    }

    #[test]
    fn other_bytes_are_neither_accepted_nor_found() {
        let home = tempfile::tempdir().unwrap();
        let parts = PublicParts::new(home.path().to_owned());
        let ((first, a), (second, b)) = (part(1), part(2));
        assert!(parts.accept(&[first], &[&b]).is_none());
        assert!(parts.accept(&[first, second], &[&a]).is_none());
        assert!(parts.accept(&[first], &[&a[1..]]).is_none());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        // A file that was damaged later.
        parts.accept(&[first], &[&a]).unwrap();
        fs::write(parts.path(&first), &b).unwrap();
        assert!(parts.find(&[first]).is_none());
        parts.accept(&[first], &[&a]).unwrap();
        assert!(parts.find(&[first]).is_some());
    }

    #[test]
    fn a_directory_that_cannot_be_written_costs_a_download_only() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let parts = PublicParts::new(file.join("public"));
        let (digest, bytes) = part(3);
        assert!(parts.accept(&[digest], &[&bytes]).is_some());
        assert!(parts.find(&[digest]).is_none());
    }

    #[test]
    fn the_oldest_files_go() {
        let home = tempfile::tempdir().unwrap();
        for number in 0..KEPT + 3 {
            let file = fs::File::create(home.path().join(number.to_string())).unwrap();
            let age = std::time::Duration::from_secs(1_000_000 - number as u64);
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        prune(home.path()).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), KEPT);
        assert!(!home.path().join("2").exists() && home.path().join("3").exists());
    }
}
