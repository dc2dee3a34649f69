//! Certificates and keys in the format of Secrets.

use std::net::IpAddr;
use std::ops::Range;

use opaque_identity::Leaf;
use rcgen::{KeyPair, PublicKeyData};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// PEM label of a certificate.
const CERTIFICATE: &str = "CERTIFICATE";
/// PEM label of a revocation list.
pub(crate) const REVOCATIONS: &str = "X509 CRL";

/// A value of a Secret. It is cleared when dropped and has no `Debug`, because some values are
/// private keys.
#[derive(Clone)]
pub(crate) struct Sensitive(Zeroizing<Vec<u8>>);

impl Sensitive {
    /// Takes ownership of a value.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The value, for the request that stores it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value, if it is text.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The value as a private key.
    pub(crate) fn key(&self) -> Option<KeyPair> {
        KeyPair::from_pem(self.text()?).ok()
    }
}

impl From<&str> for Sensitive {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

/// A parsed certificate. Two are equal if their DER is.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pem: String,
    der: Vec<u8>,
    leaf: Leaf,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Certificate {
    /// The first certificate of a PEM text. In a chain, that is the holder's certificate.
    pub(crate) fn first(text: &str) -> Option<Self> {
        Self::read(blocks(text, CERTIFICATE).into_iter().next()?)
    }

    /// Every readable certificate of a PEM text.
    pub(crate) fn all(text: &str) -> Vec<Self> {
        blocks(text, CERTIFICATE).into_iter().filter_map(Self::read).collect()
    }

    /// As PEM, with a line break at the end.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// As DER.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// The fields that crate `identity` parses.
    pub(crate) fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// Its serial number in the form of [`serial`].
    pub(crate) fn serial(&self) -> String {
        serial(&self.leaf.serial)
    }

    /// Start of its validity.
    pub(crate) fn not_before(&self) -> OffsetDateTime {
        instant(self.leaf.not_before)
    }

    /// End of its validity.
    pub(crate) fn not_after(&self) -> OffsetDateTime {
        instant(self.leaf.not_after)
    }

    /// Whether it may sign certificates.
    pub(crate) fn is_authority(&self) -> bool {
        self.inspect(|certificate| certificate.is_ca())
    }

    /// Whether `key` is the certificate's key.
    pub(crate) fn belongs_to(&self, key: &KeyPair) -> bool {
        let public = key.subject_public_key_info();
        self.inspect(|certificate| certificate.public_key().raw == public)
    }

    /// Whether `authority` signed it.
    pub(crate) fn is_signed_by(&self, authority: &Self) -> bool {
        let Ok((_, signer)) = X509Certificate::from_der(&authority.der) else { return false };
        self.inspect(|certificate| {
            certificate.issuer().as_raw() == signer.subject().as_raw()
                && certificate.verify_signature(Some(signer.public_key())).is_ok()
        })
    }

    /// IP addresses in its subject alternative names.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let Ok((_, certificate)) = X509Certificate::from_der(&self.der) else { return Vec::new() };
        let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
        let address = |name: &GeneralName<'_>| match name {
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        };
        names.value.general_names.iter().filter_map(address).collect()
    }

    /// Whether a server may present it, and whether a client may.
    pub(crate) fn purposes(&self) -> (bool, bool) {
        let Ok((_, certificate)) = X509Certificate::from_der(&self.der) else {
            return (false, false);
        };
        match certificate.extended_key_usage() {
            Ok(Some(usage)) => (usage.value.server_auth, usage.value.client_auth),
            _ => (false, false),
        }
    }

    fn inspect(&self, question: impl FnOnce(&X509Certificate<'_>) -> bool) -> bool {
        X509Certificate::from_der(&self.der).is_ok_and(|(_, certificate)| question(&certificate))
    }

    fn read(block: &str) -> Option<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(block.as_bytes()).ok()?;
        let leaf = Leaf::from_der(&pem.contents).ok()?;
        Some(Self { pem: block.to_owned(), der: pem.contents, leaf })
    }
}

/// PEM of several certificates, in order.
pub(crate) fn bundle<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> String {
    certificates.into_iter().map(Certificate::pem).collect()
}

/// A serial number in canonical form: lower case, without leading zero bytes.
pub(crate) fn serial(text: &str) -> String {
    let mut text = text.to_ascii_lowercase();
    while text.len() > 2 && text.starts_with("00") {
        text.drain(..2);
    }
    text
}

/// The PEM blocks with one label, each with one line break at its end.
pub(crate) fn blocks<'a>(text: &'a str, label: &str) -> Vec<&'a str> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----\n"));
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(Range { start, end }) = span(rest, &begin, &end) {
        blocks.extend(rest.get(start..end));
        rest = rest.get(end..).unwrap_or_default();
    }
    blocks
}

fn span(text: &str, begin: &str, end: &str) -> Option<Range<usize>> {
    let start = text.find(begin)?;
    // The last line break of a text may be missing.
    let length = match text.get(start..)?.find(end) {
        Some(at) => at + end.len(),
        None => text.get(start..)?.find(end.trim_end())? + end.trim_end().len(),
    };
    Some(start..start + length)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A time in a certificate. A time that no calendar can express counts as long past.
pub(crate) fn instant(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
