//! An authority: its certificate and its signing key.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

use super::entropy::Entropy;
use super::error::CertificateError;
use super::model::Wanted;
use super::x509::{Certificate, Sensitive};

/// The certificates that an authority signs. The two kinds are separate trust domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Domain {
    /// Certificates that nodes present to each other.
    Peers,
    /// The certificate that nodes present to clients.
    Server,
}

impl Domain {
    /// The domain's part of the authority's name.
    fn as_str(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Server => "server",
        }
    }

    /// Maximum number of authorities below this one. The server's successor is also signed by its
    /// predecessor, for clients that know only the predecessor.
    fn path_length(self) -> u8 {
        match self {
            Self::Peers => 0,
            Self::Server => 1,
        }
    }
}

/// An authority. Without a key it is trusted but cannot sign.
#[derive(Clone)]
pub(crate) struct Authority {
    certificate: Certificate,
    key: Option<Sensitive>,
}

impl Authority {
    /// Creates an authority with a new key. If there is a `predecessor`, this also returns a
    /// certificate of the new authority that the predecessor signed.
    ///
    /// The authority's name is unique, because TLS libraries find an issuer and its revocation list
    /// by name.
    pub(crate) fn create(
        domain: Domain,
        wanted: &Wanted,
        now: OffsetDateTime,
        predecessor: Option<&Self>,
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Option<Certificate>), CertificateError> {
        let unique = entropy
            .bytes()?
            .iter()
            .take(8)
            .fold(String::new(), |name, byte| format!("{name}{byte:02x}"));
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, wanted.namespace.as_str());
        params.distinguished_name.push(DnType::OrganizationalUnitName, wanted.cluster.as_str());
        let common_name = format!("opaque {} {unique}", domain.as_str());
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(domain.path_length()));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(entropy.serial()?);
        params.not_before = now - wanted.schedule.skew();
        params.not_after = now + wanted.schedule.authority();
        let key = entropy.key()?;
        let make = || CertificateError::make("an authority");
        let own = params.self_signed(&key).map_err(make())?;
        let cross = match predecessor {
            None => None,
            Some(predecessor) => {
                params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                params.use_authority_key_identifier_extension = true;
                params.serial_number = Some(entropy.serial()?);
                params.not_after = params.not_after.min(predecessor.certificate.not_after());
                let signed = params.signed_by(&key, &predecessor.issuer()?).map_err(make())?;
                Some(Certificate::first(&signed.pem()).ok_or(CertificateError::NoKey)?)
            }
        };
        let certificate = Certificate::first(&own.pem()).ok_or(CertificateError::NoKey)?;
        let key = Sensitive::new(key.serialize_pem().into_bytes());
        Ok((Self { certificate, key: Some(key) }, cross))
    }

    /// An authority that can sign. Returns `None` unless certificate and key belong together.
    pub(crate) fn usable(certificate: &Certificate, key: &Sensitive) -> Option<Self> {
        let pair = key.key()?;
        let fits = certificate.is_authority() && certificate.belongs_to(&pair);
        fits.then(|| Self { certificate: certificate.clone(), key: Some(key.clone()) })
    }

    /// An authority that is trusted but cannot sign.
    pub(crate) fn trusted(certificate: Certificate) -> Self {
        Self { certificate, key: None }
    }

    /// Its certificate.
    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its key, to store in the Secret.
    pub(crate) fn key(&self) -> Option<&Sensitive> {
        self.key.as_ref()
    }

    /// Whether it is still valid.
    pub(crate) fn is_alive(&self, now: OffsetDateTime) -> bool {
        now < self.certificate.not_after()
    }

    /// The issuer that signs with this authority's key.
    pub(crate) fn issuer(&self) -> Result<Issuer<'static, KeyPair>, CertificateError> {
        let key = self.key.as_ref().and_then(Sensitive::key).ok_or(CertificateError::NoKey)?;
        let der = self.certificate.der().into();
        Issuer::from_ca_cert_der(&der, key).map_err(CertificateError::make("an issuer"))
    }
}
