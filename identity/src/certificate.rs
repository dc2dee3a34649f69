//! What a certificate says of its holder.

use asn1_rs::Oid;
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{Capabilities, Extension, ExtensionError, OID, Ranges, Role, ShardUri};

/// A leaf certificate, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its serial number: lower-case hexadecimal, two digits a byte, without a leading zero byte.
    pub serial: String,
    /// Start of its life, in seconds since 1970.
    pub not_before: i64,
    /// End of its life, in seconds since 1970.
    pub not_after: i64,
    /// URIs among its names, in their order.
    pub uris: Vec<String>,
    /// DNS names among its names, in their order.
    pub dns_names: Vec<String>,
    /// Whether its extended key usage names authentication as a server.
    pub server_auth: bool,
    /// Whether its extended key usage names authentication as a client.
    pub client_auth: bool,
    /// The first common name of its subject.
    pub common_name: Option<String>,
    /// The node extension's content, if there is one.
    extension: Option<Vec<u8>>,
}

impl Leaf {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// When it is not one, when something follows it, or when it has names or the node extension
    /// twice.
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
    /// When it is malformed.
    pub fn extension(&self) -> Result<Option<Extension>, ExtensionError> {
        self.extension.as_deref().map(Extension::from_der).transpose()
    }
}

/// Lower-case hexadecimal of a serial number, without the byte that keeps it positive.
fn serial(raw: &[u8]) -> String {
    let significant = match raw {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    significant.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Who the holder of a certificate is and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub uri: ShardUri,
    /// What it may do.
    pub capabilities: Capabilities,
    /// The parts of the ring that it may answer for.
    pub ranges: Ranges,
    /// What it is.
    pub role: Role,
}

impl Identity {
    /// Reads a certificate in DER whose chain has been verified.
    ///
    /// # Errors
    /// When it names no shard or several, or when its extension is malformed or of another shard.
    pub fn from_certificate(der: &[u8]) -> Result<Self, CertificateError> {
        Self::from_leaf(&Leaf::from_der(der)?)
    }

    /// The same of a certificate that has been read.
    ///
    /// # Errors
    /// As [`Identity::from_certificate`].
    pub fn from_leaf(leaf: &Leaf) -> Result<Self, CertificateError> {
        let [uri] = leaf.uris.as_slice() else {
            return Err(CertificateError::Uris(leaf.uris.len()));
        };
        let uri: ShardUri = uri.parse().map_err(CertificateError::Uri)?;
        match leaf.extension().map_err(CertificateError::Extension)? {
            None => Ok(Self {
                uri,
                capabilities: Capabilities::NODE,
                ranges: Ranges::whole(),
                role: Role::Node,
            }),
            Some(extension) if extension.shard() != uri.shard() => {
                Err(CertificateError::Shard { uri: uri.shard(), extension: extension.shard() })
            }
            Some(extension) => Ok(Self {
                uri,
                capabilities: extension.capabilities(),
                ranges: extension.ranges().clone(),
                role: extension.role(),
            }),
        }
    }
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not a certificate in DER.
    #[error("not an X.509 certificate in DER")]
    Malformed,
    /// The node extension stands there twice.
    #[error("the certificate has the node extension twice")]
    Twice,
    /// A node has exactly one URI.
    #[error("a node's certificate has one URI, and this one has {0}")]
    Uris(usize),
    /// The URI names no shard.
    #[error("{0}")]
    Uri(#[source] crate::UriError),
    /// The extension is malformed.
    #[error("{0}")]
    Extension(#[source] ExtensionError),
    /// URI and extension contradict each other.
    #[error("the certificate's URI is of shard {uri}, its extension of shard {extension}")]
    Shard {
        /// In the URI.
        uri: u32,
        /// In the extension.
        extension: u32,
    },
}

#[cfg(test)]
mod tests;
