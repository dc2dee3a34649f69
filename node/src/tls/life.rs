//! From when to when certificates and revocation lists are in force.

use opaque_identity::Leaf;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// A span of time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) begin: i64,
    pub(super) end: i64,
}

impl Life {
    /// Of a certificate.
    pub(super) fn of_certificate(der: &CertificateDer<'_>) -> Option<Self> {
        let leaf = Leaf::from_der(der).ok()?;
        Some(Self { begin: leaf.not_before, end: leaf.not_after })
    }

    /// Of a revocation list; one that names no end has none.
    pub(super) fn of_list(der: &[u8]) -> Option<Self> {
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        Some(Self { begin: list.last_update().timestamp(), end: list.next_update()?.timestamp() })
    }

    /// The one that ends first.
    pub(super) fn first_to_end(lives: &[Self]) -> Option<Self> {
        lives.iter().min_by_key(|life| life.end).copied()
    }
}
