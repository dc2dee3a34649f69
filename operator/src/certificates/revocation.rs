//! Revocation lists. Each trusted authority needs one, or its certificates are refused.
//!
//! **Guarantee.** A list expires no earlier than any certificate that its authority has signed. It
//! is issued for the lifetime of certificates, it is renewed before a certificate is issued that
//! would outlive it, and no list expires before the one that it replaces.

use std::collections::{BTreeMap, BTreeSet};

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::authority::Authority;
use super::error::CertificateError;
use super::model::{Facts, PEER_CRL, Wanted};
use super::x509::{Certificate, REVOCATIONS, blocks, instant, serial};

/// The revocation lists of all authorities in PEM.
pub(crate) struct Revocations {
    /// One list for each authority that has one.
    pub pem: String,
    /// Whether every authority has one.
    pub complete: bool,
    /// When the first list is due for renewal.
    pub next: Option<OffsetDateTime>,
    /// When the first list expires.
    pub not_after: Option<OffsetDateTime>,
}

/// A stored list that is in force.
struct Stored<'a> {
    pem: &'a str,
    number: u64,
    this_update: OffsetDateTime,
    next_update: OffsetDateTime,
    revoked: BTreeMap<String, OffsetDateTime>,
}

/// Keeps the valid lists and issues the others again. An authority without a key keeps its list
/// until that expires.
pub(crate) fn revocations<'a>(
    authorities: impl Iterator<Item = &'a Authority>,
    facts: &Facts,
    wanted: &Wanted,
    now: OffsetDateTime,
) -> Result<Revocations, CertificateError> {
    let present = blocks(facts.trusted(PEER_CRL), REVOCATIONS);
    let leaves: Vec<Certificate> =
        facts.secrets.values().filter_map(|secret| secret.certificate()).collect();
    let mut all = Revocations { pem: String::new(), complete: true, next: None, not_after: None };
    for authority in authorities {
        let stored = present.iter().find_map(|pem| read(pem, authority));
        let stored = stored.filter(|stored| now < stored.next_update);
        let renew_at = |stored: &Stored<'_>| {
            wanted.schedule.renew_list_at(stored.this_update, stored.next_update)
        };
        let covered = stored.as_ref().map_or(now, |stored| stored.next_update);
        let uncovered = last_to_end(&leaves, authority, covered);
        let good = stored.as_ref().filter(|stored| {
            let serials: BTreeSet<&String> = stored.revoked.keys().collect();
            now < renew_at(stored)
                && uncovered.is_none()
                && serials == wanted.revoked.iter().collect()
        });
        let (pem, end, next) = match (good, authority.key(), &stored) {
            (Some(good), _, _) => (good.pem.to_owned(), good.next_update, renew_at(good)),
            (None, Some(_), _) => {
                let end = (now + wanted.schedule.list()).max(uncovered.unwrap_or(covered));
                let pem = make(authority, stored.as_ref(), wanted, now, end)?;
                let next = wanted.schedule.renew_list_at(now - wanted.schedule.skew(), end);
                (pem, end, next.max(now + Duration::minutes(1)))
            }
            (None, None, Some(old)) => (old.pem.to_owned(), old.next_update, old.next_update),
            (None, None, None) => {
                all.complete = false;
                continue;
            }
        };
        all.pem.push_str(&pem);
        all.next = Some(all.next.map_or(next, |first| first.min(next)));
        all.not_after = Some(all.not_after.map_or(end, |first| first.min(end)));
    }
    Ok(all)
}

/// The latest end of the authority's certificates, if it is after `covered`.
fn last_to_end(
    leaves: &[Certificate],
    authority: &Authority,
    covered: OffsetDateTime,
) -> Option<OffsetDateTime> {
    // Signatures are checked last, because that takes the most time.
    let longer = leaves.iter().filter(|leaf| leaf.not_after() > covered && !leaf.is_authority());
    let signed = longer.filter(|leaf| leaf.is_signed_by(authority.certificate()));
    signed.map(Certificate::not_after).max()
}

fn make(
    authority: &Authority,
    before: Option<&Stored<'_>>,
    wanted: &Wanted,
    now: OffsetDateTime,
    next_update: OffsetDateTime,
) -> Result<String, CertificateError> {
    let since = |serial: &String| before.and_then(|list| list.revoked.get(serial)).copied();
    let mut revoked_certs = Vec::new();
    for text in &wanted.revoked {
        let Some(bytes) = hexadecimal(text) else { continue };
        revoked_certs.push(RevokedCertParams {
            serial_number: SerialNumber::from_slice(&bytes),
            revocation_time: since(text).unwrap_or(now),
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        });
    }
    // The number also grows if the previous list was lost: no two lists are issued within one
    // second.
    let clock = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    let number = before.map_or(clock, |before| clock.max(before.number.saturating_add(1)));
    let params = CertificateRevocationListParams {
        this_update: now - wanted.schedule.skew(),
        next_update,
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let what = "a revocation list";
    let list = params.signed_by(&authority.issuer()?).map_err(CertificateError::make(what))?;
    let pem = list.pem().map_err(CertificateError::make(what))?;
    Ok(pem.trim_end().to_owned() + "\n")
}

/// Parses a list, if `authority` signed it.
fn read<'a>(pem: &'a str, authority: &Authority) -> Option<Stored<'a>> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let (_, list) = CertificateRevocationList::from_der(&block.contents).ok()?;
    let (_, signer) = X509Certificate::from_der(authority.certificate().der()).ok()?;
    if list.issuer().as_raw() != signer.subject().as_raw() {
        return None;
    }
    list.verify_signature(signer.public_key()).ok()?;
    let mut revoked = BTreeMap::new();
    for entry in list.iter_revoked_certificates() {
        let bytes = entry.raw_serial();
        let text = bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        revoked.insert(serial(&text), instant(entry.revocation_date.timestamp()));
    }
    Some(Stored {
        pem,
        number: list.crl_number().and_then(|number| u64::try_from(number).ok()).unwrap_or_default(),
        this_update: instant(list.last_update().timestamp()),
        next_update: instant(list.next_update()?.timestamp()),
        revoked,
    })
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let pairs = digits?;
    pairs
        .chunks(2)
        .map(|pair| <[u8; 2]>::try_from(pair).ok().map(|[high, low]| high << 4 | low))
        .collect()
}
