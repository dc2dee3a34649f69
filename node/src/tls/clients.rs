//! Verifies certificates of clients: authorities, revocation lists and serial numbers.
//!
//! **Why separate from the node's other material.** That is used as a whole or not at all. For
//! clients, this would keep a revoked certificate valid for as long as anything is wrong with any
//! file.
//!
//! **Guarantees.** A malformed certificate, list or serial number is void and affects no other. If
//! there is a file of lists, a client needs a valid list from each authority above its certificate.
//! A list that is void or has expired thus refuses the clients of its authority, and no others.
//! While the files cannot be read, the last ones remain valid for two minutes
//! ([`Kept`](crate::reading::Kept)).
//!
//! **Limits.** A serial number is refused whichever authority issued it.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::files::ClientFiles;
use super::life::Life;
use super::{PeerError, Presented};

/// Longest serial number, in digits (RFC 5280).
const LONGEST: usize = 40;

/// The material for verifying clients' certificates.
pub(super) struct ClientTrust {
    digest: blake3::Hash,
    /// Verifies chains and lists; `None` if no client's certificate can be valid.
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
    revoked: BTreeSet<String>,
    pub(super) authorities: Vec<Life>,
    /// `None` if there is no file of lists.
    pub(super) lists: Option<Vec<Life>>,
    /// The parts that are void, with the reason.
    pub(super) void: Vec<String>,
}

impl PartialEq for ClientTrust {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl ClientTrust {
    /// Parses files. Errors in one of them are recorded in `void`.
    pub(super) fn new(files: &ClientFiles, provider: &Arc<CryptoProvider>) -> Self {
        let mut void = Vec::new();
        let (roots, authorities) = authorities(files, &mut void);
        let roots = Arc::new(roots);
        let builder = || {
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
        };
        // A list that the verifier does not understand would make it refuse all lists.
        let understood = |list: &CertificateRevocationListDer<'static>| {
            roots.is_empty() || builder().with_crls([list.clone()]).build().is_ok()
        };
        let lists = lists(files, understood, &mut void);
        // Health checks come without a certificate. Every other call needs one.
        let verifier = match &lists {
            None => Some(builder()),
            Some((lists, _)) if !lists.is_empty() => {
                Some(builder().with_crls(lists.clone()).enforce_revocation_expiration())
            }
            // Without a readable list, revoked certificates are unknown.
            Some(_) => None,
        };
        let verifier = verifier.and_then(|builder| builder.allow_unauthenticated().build().ok());
        let revoked = revoked(files, &mut void);
        let lists = lists.map(|(_, lives)| lives);
        Self { digest: files.digest(), verifier, revoked, authorities, lists, void }
    }

    /// Refuses a chain with a revoked serial number.
    pub(super) fn check_serials(&self, presented: &Presented) -> Result<(), PeerError> {
        if self.revoked.is_empty() {
            return Ok(());
        }
        let refuse = |reason: &str| PeerError::Chain(reason.to_owned());
        for certificate in presented.chain() {
            let (_, certificate) = X509Certificate::from_der(certificate)
                .map_err(|_| refuse("a certificate of the chain cannot be read"))?;
            let raw = certificate.raw_serial().iter();
            let serial = raw.fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            if self.revoked.contains(normal(&serial).as_str()) {
                return Err(refuse("its serial number is revoked"));
            }
        }
        Ok(())
    }

    /// Why no client's certificate is valid at `now`, in seconds since 1970.
    pub(super) fn closed(&self, now: i64) -> Option<String> {
        let (authorities, lists) = (ClientFiles::AUTHORITIES, ClientFiles::LISTS);
        if self.authorities.is_empty() {
            return Some(format!("{authorities} holds no usable authority"));
        }
        match &self.lists {
            Some(lives) if lives.is_empty() => Some(format!("{lists} holds no usable list")),
            Some(lives) if lives.iter().all(|life| life.end <= now) => {
                Some(format!("every revocation list in {lists} has ended"))
            }
            _ if self.verifier.is_none() => {
                Some(format!("{authorities} and {lists} cannot be used to verify clients"))
            }
            Some(_) | None => None,
        }
    }
}

fn authorities(files: &ClientFiles, void: &mut Vec<String>) -> (RootCertStore, Vec<Life>) {
    let name = ClientFiles::AUTHORITIES;
    let (mut roots, mut lives) = (RootCertStore::empty(), Vec::new());
    let Some(pem) = &files.authorities else {
        void.push(format!("{name} is missing: --client-auth mtls verifies clients with it"));
        return (roots, lives);
    };
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
        let added = certificate.map_err(|error| error.to_string()).and_then(|certificate| {
            let life = Life::of_certificate(&certificate).ok_or("it is malformed")?;
            roots.add(certificate).map_err(|error| error.to_string())?;
            Ok(life)
        });
        match added {
            Ok(life) => lives.push(life),
            Err(reason) => void.push(format!("{name}, certificate {number}: {reason}")),
        }
    }
    if lives.is_empty() && void.is_empty() {
        void.push(format!("{name}: there is no certificate in it"));
    }
    (roots, lives)
}

type Lists = (Vec<CertificateRevocationListDer<'static>>, Vec<Life>);

fn lists(
    files: &ClientFiles,
    understood: impl Fn(&CertificateRevocationListDer<'static>) -> bool,
    void: &mut Vec<String>,
) -> Option<Lists> {
    let name = ClientFiles::LISTS;
    let (mut lists, mut lives) = (Vec::new(), Vec::new());
    let mut found = 0;
    for list in CertificateRevocationListDer::pem_slice_iter(files.lists.as_ref()?) {
        found += 1;
        let life = |list: &CertificateRevocationListDer<'static>| {
            Life::of_list(list).filter(|_| understood(list))
        };
        match list.as_ref().ok().and_then(life).zip(list.ok()) {
            Some((life, list)) => {
                lives.push(life);
                lists.push(list);
            }
            None => void.push(format!("{name}: list {found} cannot be read")),
        }
    }
    if found == 0 {
        void.push(format!("{name}: there is no list in it"));
    }
    Some((lists, lives))
}

/// Serial numbers in hexadecimal, one per line.
fn revoked(files: &ClientFiles, void: &mut Vec<String>) -> BTreeSet<String> {
    let name = ClientFiles::REVOKED;
    let mut revoked = BTreeSet::new();
    let text = String::from_utf8_lossy(files.revoked.as_deref().unwrap_or_default());
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let digits = !line.is_empty() && line.chars().all(|c| c.is_ascii_hexdigit());
        if digits && line.len() % 2 == 0 && line.len() <= LONGEST {
            revoked.insert(normal(line));
        } else if !line.is_empty() {
            void.push(format!("{name}, line {number}: it is not a serial number in hexadecimal"));
        }
    }
    revoked
}

/// A serial number in the form that is compared: lower case, without leading zero bytes.
fn normal(text: &str) -> String {
    let mut text = text;
    while text.len() > 2 {
        let Some(rest) = text.strip_prefix("00") else { break };
        text = rest;
    }
    text.to_ascii_lowercase()
}
