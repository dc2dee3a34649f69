//! Decides who may be a peer: checks in addition to the chain, and repeated verification of
//! certificates.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opaque_identity::{Capability, Identity, Leaf, ShardUri};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::PeerError;

/// How long a verification is valid while nothing changes, since certificates and lists expire.
const RECHECK: Duration = Duration::from_secs(5);

/// The identity in a certificate whose chain is valid, if it belongs to the cluster of `own`.
fn member(leaf: &Leaf, own: &ShardUri) -> Result<Identity, PeerError> {
    let identity = Identity::from_leaf(leaf)?;
    if identity.uri.same_cluster(own) {
        Ok(identity)
    } else {
        Err(PeerError::Cluster(identity.uri.to_string()))
    }
}

/// The calling peer, from a certificate whose chain is valid.
pub(super) fn caller(der: &CertificateDer<'_>, own: &ShardUri) -> Result<Identity, PeerError> {
    let leaf = Leaf::from_der(der)?;
    if !leaf.client_auth {
        return Err(PeerError::Purpose("client"));
    }
    member(&leaf, own)
}

/// The answering peer, from a certificate whose chain is valid. It must be `dialled` and able to
/// evaluate.
pub(super) fn answerer(
    der: &CertificateDer<'_>,
    dialled: &ShardUri,
) -> Result<Identity, PeerError> {
    let leaf = Leaf::from_der(der)?;
    if !leaf.server_auth {
        return Err(PeerError::Purpose("server"));
    }
    let identity = member(&leaf, dialled)?;
    let (expected, found) = (dialled.shard(), identity.uri.shard());
    if expected != found {
        return Err(PeerError::Shard { expected, found });
    }
    if !identity.capabilities.has(Capability::Evaluate) {
        return Err(PeerError::Capability(Capability::Evaluate.name()));
    }
    Ok(identity)
}

/// Leaves signatures to the verifier of the chain.
macro_rules! signatures_of_the_chain {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.chain.verify_tls12_signature(message, leaf, signature)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.chain.verify_tls13_signature(message, leaf, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.chain.supported_verify_schemes()
        }
    };
}

/// Requires a certificate of a node of this cluster.
#[derive(Debug)]
pub(super) struct CallerVerifier {
    pub(super) chain: Arc<dyn ClientCertVerifier>,
    pub(super) own: ShardUri,
}

impl ClientCertVerifier for CallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(leaf, intermediates, now)?;
        caller(leaf, &self.own)?;
        Ok(verified)
    }

    signatures_of_the_chain!();
}

/// Requires the certificate of one shard of this cluster.
#[derive(Debug)]
pub(super) struct AnswererVerifier {
    pub(super) chain: Arc<WebPkiServerVerifier>,
    pub(super) dialled: ShardUri,
}

impl ServerCertVerifier for AnswererVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chain.verify_server_cert(leaf, intermediates, name, ocsp, now)?;
        answerer(leaf, &self.dialled)?;
        Ok(verified)
    }

    signatures_of_the_chain!();
}

/// The certificates that the other end of a connection presented, and that were valid then.
///
/// Invariant, ensured by the listeners and [`super::Line`]: values are made only after a handshake
/// in which the chain was verified and the other end proved that it has the key.
#[derive(Debug)]
pub struct Presented {
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    /// Version of the material with which the chain was verified, and when.
    verified: Mutex<(u64, Instant)>,
}

impl Presented {
    /// The certificates of a connection, verified with the material of `version`; `None` if there
    /// are none.
    pub(super) fn new(chain: Option<&[CertificateDer<'_>]>, version: u64) -> Option<Self> {
        let (leaf, intermediates) = chain?.split_first()?;
        Some(Self {
            leaf: leaf.clone().into_owned(),
            intermediates: intermediates.iter().map(|der| der.clone().into_owned()).collect(),
            verified: Mutex::new((version, Instant::now())),
        })
    }

    /// The certificate of the other end, in DER.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// All presented certificates. That of the other end comes first.
    pub(super) fn chain(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        std::iter::once(&self.leaf).chain(&self.intermediates)
    }

    /// Verifies again if the material has changed or the last verification is too old.
    pub(super) fn hold(
        &self,
        version: u64,
        verify: impl FnOnce(
            &CertificateDer<'static>,
            &[CertificateDer<'static>],
            UnixTime,
        ) -> Result<(), Error>,
    ) -> Result<(), PeerError> {
        let (with, at) = *self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if with == version && at.elapsed() < RECHECK {
            return Ok(());
        }
        verify(&self.leaf, &self.intermediates, UnixTime::now())
            .map_err(|error| PeerError::Chain(error.to_string()))?;
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        *verified = (version, Instant::now());
        Ok(())
    }
}
