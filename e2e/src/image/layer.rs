//! The files of an image.

use std::collections::BTreeMap;

use anyhow::Result;

/// Folders and files by path. They are sorted and have no times and owners of this machine, so the
/// same files give the same archive.
#[derive(Debug, Default)]
pub(super) struct Layer {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Folder { mode: u32 },
    File { mode: u32, bytes: Vec<u8> },
}

impl Layer {
    /// Adds a folder. `path` is relative to the root.
    pub(super) fn folder(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.entries.insert(path.into(), Entry::Folder { mode });
    }

    /// Adds a file and its parent folders.
    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        self.parents(path);
        self.entries.insert(path.into(), Entry::File { mode, bytes });
    }

    /// The content as a tar archive.
    pub(super) fn archive(&self) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(0);
            match entry {
                Entry::Folder { mode } => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_size(0);
                    archive.append_data(&mut header, path, &[][..])?;
                }
                Entry::File { mode, bytes } => {
                    header.set_mode(*mode);
                    header.set_size(bytes.len() as u64);
                    archive.append_data(&mut header, path, bytes.as_slice())?;
                }
            }
        }
        Ok(archive.into_inner()?)
    }

    fn parents(&mut self, path: &str) {
        for (end, _) in path.match_indices('/') {
            if let Some(parent) = path.get(..end) {
                self.entries.entry(parent.into()).or_insert(Entry::Folder { mode: 0o755 });
            }
        }
    }
}
