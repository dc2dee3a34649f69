//! Validity periods of certificates and revocation lists.

use opaque_identity::Leaf;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// A period of time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) begin: i64,
    pub(super) end: i64,
}

impl Life {
    /// Validity of a certificate.
    pub(super) fn of_certificate(der: &CertificateDer<'_>) -> Option<Self> {
        let leaf = Leaf::from_der(der).ok()?;
        Some(Self { begin: leaf.not_before, end: leaf.not_after })
    }

    /// Validity of a revocation list. `None` if the list states no end.
    pub(super) fn of_list(der: &[u8]) -> Option<Self> {
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        Some(Self { begin: list.last_update().timestamp(), end: list.next_update()?.timestamp() })
    }

    /// The period that ends first.
    pub(super) fn first_to_end(lives: &[Self]) -> Option<Self> {
        lives.iter().min_by_key(|life| life.end).copied()
    }
}
