//! Plans what is to be written, for authorities of the cluster's own or for an issuer of
//! cert-manager.

use time::OffsetDateTime;

use super::entropy::Entropy;
use super::error::CertificateError;
use super::model::{Facts, Plan, Wanted};
use super::{external_issuer, own_issuer};

/// Plans what is to be done now.
///
/// # Errors
/// When something cannot be signed: no randomness, or a name that cannot stand in a certificate.
pub(crate) fn plan(
    wanted: &Wanted,
    facts: &Facts,
    now: OffsetDateTime,
    entropy: &mut dyn Entropy,
) -> Result<Plan, CertificateError> {
    // Certificates count whole seconds.
    let now = now.replace_nanosecond(0).unwrap_or(now);
    match &wanted.issuer {
        None => own_issuer::plan(wanted, facts, &[], now, entropy),
        Some(issuer) => external_issuer::plan(wanted, issuer, facts, now, entropy),
    }
}
