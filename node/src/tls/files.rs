//! The files of a TLS directory, read at one moment.

use std::io;
use std::path::{Path, PathBuf};

use super::TlsError;
use crate::reading::of_one_moment;

/// Content of a node's files. Optional ones are `None` if they do not exist.
pub(super) struct Files {
    pub(super) client_chain: Vec<u8>,
    pub(super) client_key: Vec<u8>,
    pub(super) peer_chain: Vec<u8>,
    pub(super) peer_key: Vec<u8>,
    pub(super) peer_ca: Vec<u8>,
    pub(super) peer_crl: Option<Vec<u8>>,
}

impl Files {
    /// Reads every file, all from the same moment.
    pub(super) fn read(dir: &Path) -> Result<Self, TlsError> {
        of_one_moment(dir, |moment| {
            let fault = |name| move |source| TlsError::Read { path: dir.join(name), source };
            let required = |name| std::fs::read(moment.join(name)).map_err(fault(name));
            Ok(Self {
                client_chain: required("client.crt")?,
                client_key: required("client.key")?,
                peer_chain: required("peer.crt")?,
                peer_key: required("peer.key")?,
                peer_ca: required("peer-ca.crt")?,
                peer_crl: optional(moment, "peer-ca.crl").map_err(fault("peer-ca.crl"))?,
            })
        })
    }

    /// A digest of all files. It is equal only for equal files.
    pub(super) fn digest(&self) -> blake3::Hash {
        let Self { client_chain, client_key, peer_chain, peer_key, peer_ca, peer_crl } = self;
        let required = [client_chain, client_key, peer_chain, peer_key, peer_ca];
        digest(required.map(Some).into_iter().chain([peer_crl.as_ref()]))
    }
}

/// Content of the files that authenticate clients; `None` for files that do not exist.
pub(super) struct ClientFiles {
    pub(super) authorities: Option<Vec<u8>>,
    pub(super) lists: Option<Vec<u8>>,
    pub(super) revoked: Option<Vec<u8>>,
}

impl ClientFiles {
    pub(super) const AUTHORITIES: &'static str = "clients-ca.crt";
    pub(super) const LISTS: &'static str = "clients-ca.crl";
    pub(super) const REVOKED: &'static str = "clients-ca.revoked";

    /// Reads every file, all from the same moment.
    pub(super) fn read(dir: &Path) -> Result<Self, String> {
        of_one_moment(dir, |moment| {
            let read = |name| {
                optional(moment, name).map_err(|error| format!("cannot read {name}: {error}"))
            };
            // If the directory is missing, no file exists, which says nothing about the files.
            std::fs::read_dir(moment)
                .map_err(|error| format!("cannot read {}: {error}", dir.display()))?;
            Ok(Self {
                authorities: read(Self::AUTHORITIES)?,
                lists: read(Self::LISTS)?,
                revoked: read(Self::REVOKED)?,
            })
        })
    }

    /// A digest of all files. It is equal only for equal files.
    pub(super) fn digest(&self) -> blake3::Hash {
        let Self { authorities, lists, revoked } = self;
        digest([authorities, lists, revoked].map(Option::as_ref).into_iter())
    }
}

fn optional(moment: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(moment.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn digest<'a>(contents: impl Iterator<Item = Option<&'a Vec<u8>>>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for content in contents {
        let length = content.map_or(u64::MAX, |content| content.len() as u64);
        hasher.update(&length.to_le_bytes());
        hasher.update(content.map_or(&[], Vec::as_slice));
    }
    hasher.finalize()
}

/// An error that names a file.
pub(super) fn content(path: PathBuf, reason: impl std::fmt::Display) -> TlsError {
    TlsError::Content { path, reason: reason.to_string() }
}
