//! Plans the writes, either for the cluster's own authorities or for an issuer of cert-manager.

use time::OffsetDateTime;

use super::entropy::Entropy;
use super::error::CertificateError;
use super::model::{Facts, Plan, Wanted};
use super::{external_issuer, own_issuer};

/// Plans what to do now.
///
/// # Errors
/// Something cannot be signed, because there is no randomness or a name is not valid in a
/// certificate.
pub(crate) fn plan(
    wanted: &Wanted,
    facts: &Facts,
    now: OffsetDateTime,
    entropy: &mut dyn Entropy,
) -> Result<Plan, CertificateError> {
    // Times in certificates are whole seconds.
    let now = now.replace_nanosecond(0).unwrap_or(now);
    match &wanted.issuer {
        None => own_issuer::plan(wanted, facts, &[], now, entropy),
        Some(issuer) => external_issuer::plan(wanted, issuer, facts, now, entropy),
    }
}
