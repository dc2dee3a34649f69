//! The files of a TLS directory, read at one moment.

use std::io;
use std::path::{Path, PathBuf};

use super::TlsError;

/// Content of a directory's files. Optional ones are empty where they are not there.
pub(super) struct Files {
    pub(super) client_chain: Vec<u8>,
    pub(super) client_key: Vec<u8>,
    pub(super) peer_chain: Vec<u8>,
    pub(super) peer_key: Vec<u8>,
    pub(super) peer_ca: Vec<u8>,
    pub(super) peer_crl: Option<Vec<u8>>,
    pub(super) clients_ca: Option<Vec<u8>>,
}

impl Files {
    /// Reads every file. Kubernetes swaps the link `..data` to a directory with all of them: it is
    /// followed once, so that no two files come from different moments.
    pub(super) fn read(dir: &Path) -> Result<Self, TlsError> {
        let moment = std::fs::canonicalize(dir.join("..data")).unwrap_or_else(|_| dir.to_owned());
        let required = |name: &str| {
            let path = moment.join(name);
            std::fs::read(&path).map_err(|source| TlsError::Read { path: dir.join(name), source })
        };
        let optional = |name: &str| match std::fs::read(moment.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TlsError::Read { path: dir.join(name), source }),
        };
        Ok(Self {
            client_chain: required("client.crt")?,
            client_key: required("client.key")?,
            peer_chain: required("peer.crt")?,
            peer_key: required("peer.key")?,
            peer_ca: required("peer-ca.crt")?,
            peer_crl: optional("peer-ca.crl")?,
            clients_ca: optional("clients-ca.crt")?,
        })
    }

    /// A digest of all of it; equal only for equal files.
    pub(super) fn digest(&self) -> blake3::Hash {
        let Self { client_chain, client_key, peer_chain, peer_key, peer_ca, peer_crl, clients_ca } =
            self;
        let mut hasher = blake3::Hasher::new();
        let required = [client_chain, client_key, peer_chain, peer_key, peer_ca];
        let all = required.map(Some).into_iter().chain([peer_crl.as_ref(), clients_ca.as_ref()]);
        for content in all {
            let length = content.map_or(u64::MAX, |content| content.len() as u64);
            hasher.update(&length.to_le_bytes());
            hasher.update(content.map_or(&[], Vec::as_slice));
        }
        hasher.finalize()
    }
}

/// An error that names a file.
pub(super) fn content(path: PathBuf, reason: impl std::fmt::Display) -> TlsError {
    TlsError::Content { path, reason: reason.to_string() }
}
