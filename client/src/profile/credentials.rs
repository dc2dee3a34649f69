//! The client's credentials, and the name that it expects in nodes' certificates.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use thiserror::Error;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// The credentials that a client presents to nodes. The default is none.
#[derive(Clone, Default)]
pub struct Credentials {
    token: Option<MetadataValue<Ascii>>,
    /// Certificate chain and key, in PEM.
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.token.is_some())
            .field("certificate", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

impl Credentials {
    /// Reads a token, and a certificate with its key, from the given files.
    ///
    /// # Errors
    /// A file cannot be read, holds no valid token or no PEM, or a certificate has no key.
    pub fn read(
        token: Option<&Path>,
        certificate: Option<&Path>,
        key: Option<&Path>,
        server_name: Option<&str>,
    ) -> Result<Self, CredentialsError> {
        let read = |path: &Path| {
            fs::read(path)
                .map_err(|source| CredentialsError::Read { path: path.to_owned(), source })
        };
        let token = match token {
            None => None,
            Some(path) => {
                let refused = || CredentialsError::Token { path: path.to_owned() };
                let content = read(path)?;
                let token = content.trim_ascii();
                if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
                    return Err(refused());
                }
                let value = [b"Bearer ", token].concat();
                let value = MetadataValue::try_from(value.as_slice()).map_err(|_| refused())?;
                Some(value)
            }
        };
        let identity = match (certificate, key) {
            (Some(certificate), Some(file)) => {
                let (chain, key) = (read_certificates(certificate)?, read(file)?);
                if PrivateKeyDer::from_pem_slice(&key).is_err() {
                    let (path, what) = (file.to_owned(), "private key");
                    return Err(CredentialsError::NotPem { path, what });
                }
                Some((chain, key))
            }
            (None, None) => None,
            _ => return Err(CredentialsError::HalfIdentity),
        };
        Ok(Self { token, identity, server_name: server_name.map(str::to_owned) })
    }

    /// Certificate chain and key, in PEM.
    pub(crate) fn identity(&self) -> Option<(&[u8], &[u8])> {
        self.identity.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice()))
    }

    /// The name that nodes' certificates must have, if not the address.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// An interceptor that adds the token to every call.
    pub(crate) fn bearer(&self) -> Bearer {
        let token = self.token.clone().map(|mut token| {
            token.set_sensitive(true);
            token
        });
        Bearer(token)
    }
}

/// Reads and checks a PEM file of certificates.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let pem = fs::read(path)
        .map_err(|source| CredentialsError::Read { path: path.to_owned(), source })?;
    if holds_certificate(&pem) {
        Ok(pem)
    } else {
        Err(CredentialsError::NotPem { path: path.to_owned(), what: "certificate" })
    }
}

fn holds_certificate(pem: &[u8]) -> bool {
    CertificateDer::from_pem_slice(pem).is_ok()
}

/// Puts a token into the metadata of every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bearer").finish_non_exhaustive()
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Why credentials cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A file that the user named cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The file does not contain a token.
    #[error("{} holds no token: one word of visible ASCII letters", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The file does not contain the expected certificate or key.
    #[error("{} holds no PEM {what}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// The expected content.
        what: &'static str,
    },
    /// A certificate is given without its key, or a key without its certificate.
    #[error("a client certificate and its key go together")]
    HalfIdentity,
}

impl CredentialsError {
    /// What to do about the error, if anything can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotPem { what, .. } => {
                let what = what.to_uppercase();
                Some(format!("name a file that has a line `-----BEGIN {what}-----`"))
            }
            Self::HalfIdentity => Some("give both --client-cert and --client-key".to_owned()),
            Self::Read { .. } | Self::Token { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_without_its_line_end_and_never_displayed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        fs::write(&file, "0123456789abcdef\n").unwrap();
        let credentials = Credentials::read(Some(&file), None, None, None).unwrap();
        let request = credentials.bearer().call(Request::new(())).unwrap();
        let sent = request.metadata().get("authorization").unwrap();
        assert_eq!(sent.to_str().unwrap(), "Bearer 0123456789abcdef");
        let shown = format!("{credentials:?} {:?} {sent:?}", credentials.bearer());
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
        for bad in ["", "two words", "line\nline", "\u{e9}"] {
            fs::write(&file, bad).unwrap();
            let refused = Credentials::read(Some(&file), None, None, None);
            assert!(matches!(refused, Err(CredentialsError::Token { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let missing = Credentials::read(None, Some(Path::new("/c")), None, None);
        assert!(matches!(missing, Err(CredentialsError::HalfIdentity)));
        let unread = Credentials::read(None, Some(Path::new("/none")), Some(Path::new("/k")), None);
        assert!(matches!(unread, Err(CredentialsError::Read { .. })));
    }

    #[test]
    fn a_file_without_pem_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let key_pair = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let pem = params.self_signed(&key_pair).unwrap().pem();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (certificate, key) = (file("c", &pem), file("k", &key_pair.serialize_pem()));
        assert!(Credentials::read(None, Some(&certificate), Some(&key), None).is_ok());
        for (certificate, key, what) in [
            (&file("text", "no PEM"), &key, "text holds no PEM certificate"),
            (&certificate, &file("empty", ""), "empty holds no PEM private key"),
            // The two files are swapped, an easy mistake.
            (&key, &certificate, "k holds no PEM certificate"),
        ] {
            let error = Credentials::read(None, Some(certificate), Some(key), None).unwrap_err();
            assert!(error.to_string().ends_with(what), "{error}");
            assert!(error.hint().is_some());
        }
    }
}
