//! Reads the identity of a certificate's holder.

use asn1_rs::Oid;
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{Capabilities, Extension, ExtensionError, OID, Ranges, Role, ShardUri};

/// The parsed fields of a leaf certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Serial number in lower-case hexadecimal, two digits per byte, without a leading zero byte.
    pub serial: String,
    /// Start of the validity period, in seconds since 1970.
    pub not_before: i64,
    /// End of the validity period, in seconds since 1970.
    pub not_after: i64,
    /// URIs in the subject alternative names, in order.
    pub uris: Vec<String>,
    /// DNS names in the subject alternative names, in order.
    pub dns_names: Vec<String>,
    /// Whether the extended key usage permits server authentication.
    pub server_auth: bool,
    /// Whether the extended key usage permits client authentication.
    pub client_auth: bool,
    /// The subject's first common name.
    pub common_name: Option<String>,
    /// The node extension's content, if there is one.
    extension: Option<Vec<u8>>,
}

impl Leaf {
    /// Parses a certificate in DER.
    ///
    /// # Errors
    /// The bytes are not a certificate, bytes follow the certificate, or it has its names or the
    /// node extension twice.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let malformed = CertificateError::Malformed;
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| malformed)?;
        if !rest.is_empty() {
            return Err(malformed);
        }
        let names = certificate.subject_alternative_name().map_err(|_| malformed)?;
        let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            if let GeneralName::URI(uri) = name {
                uris.push((*uri).to_owned());
            }
            if let GeneralName::DNSName(name) = name {
                dns_names.push((*name).to_owned());
            }
        }
        let usage = certificate.extended_key_usage().map_err(|_| malformed)?;
        let usage = usage.as_ref().map(|usage| usage.value);
        let oid = Oid::from(OID).map_err(|_| malformed)?;
        let extension =
            certificate.get_extension_unique(&oid).map_err(|_| CertificateError::Twice)?;
        let common_name = certificate.subject().iter_common_name().next();
        Ok(Self {
            serial: serial(certificate.raw_serial()),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            uris,
            dns_names,
            server_auth: usage.is_some_and(|usage| usage.server_auth),
            client_auth: usage.is_some_and(|usage| usage.client_auth),
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            extension: extension.map(|extension| extension.value.to_vec()),
        })
    }

    /// The node extension, if there is one.
    ///
    /// # Errors
    /// The extension is malformed.
    pub fn extension(&self) -> Result<Option<Extension>, ExtensionError> {
        self.extension.as_deref().map(Extension::from_der).transpose()
    }
}

/// Formats a serial number in lower-case hexadecimal, without the byte that only keeps it positive.
fn serial(raw: &[u8]) -> String {
    let significant = match raw {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    significant.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name and the permissions of a certificate's holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name of the shard.
    pub uri: ShardUri,
    /// What the holder may do.
    pub capabilities: Capabilities,
    /// The parts of the ring that the holder may serve.
    pub ranges: Ranges,
    /// The kind of program.
    pub role: Role,
}

impl Identity {
    /// Parses a certificate in DER. The caller must have verified its chain.
    ///
    /// # Errors
    /// The certificate does not name exactly one shard, or its extension is malformed or belongs to
    /// another shard.
    pub fn from_certificate(der: &[u8]) -> Result<Self, CertificateError> {
        Self::from_leaf(&Leaf::from_der(der)?)
    }

    /// The same for a certificate that has been parsed already.
    ///
    /// # Errors
    /// The same as for [`Identity::from_certificate`].
    pub fn from_leaf(leaf: &Leaf) -> Result<Self, CertificateError> {
        let [uri] = leaf.uris.as_slice() else {
            return Err(CertificateError::Uris(leaf.uris.len()));
        };
        let uri: ShardUri = uri.parse().map_err(CertificateError::Uri)?;
        let Some(extension) = leaf.extension().map_err(CertificateError::Extension)? else {
            let (capabilities, ranges) = (Capabilities::NODE, Ranges::whole());
            return Ok(Self { uri, capabilities, ranges, role: Role::Node });
        };
        let (shard, role) = (extension.shard(), extension.role());
        if shard != uri.shard() {
            return Err(CertificateError::Shard { uri: uri.shard(), extension: shard });
        }
        let (capabilities, ranges) = (extension.capabilities(), extension.ranges().clone());
        Ok(Self { uri, capabilities, ranges, role })
    }
}

/// Why a certificate does not identify a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The bytes are not a certificate in DER.
    #[error("not an X.509 certificate in DER")]
    Malformed,
    /// The certificate has the node extension twice.
    #[error("the certificate has the node extension twice")]
    Twice,
    /// The certificate does not have exactly one URI.
    #[error("a node's certificate has one URI, and this one has {0}")]
    Uris(usize),
    /// The URI does not name a shard.
    #[error("{0}")]
    Uri(#[source] crate::UriError),
    /// The extension is malformed.
    #[error("{0}")]
    Extension(#[source] ExtensionError),
    /// The URI and the extension name different shards.
    #[error("the certificate's URI is of shard {uri}, its extension of shard {extension}")]
    Shard {
        /// The shard in the URI.
        uri: u32,
        /// The shard in the extension.
        extension: u32,
    },
}

#[cfg(test)]
mod tests;
