//! Revocation lists: one for each authority that is trusted, or its certificates are refused.

use std::collections::{BTreeMap, BTreeSet};

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::authority::Authority;
use super::error::CertificateError;
use super::plan::Wanted;
use super::x509::{REVOCATIONS, blocks, instant, serial};

/// The revocation lists of all authorities, as PEM.
pub(crate) struct Revocations {
    /// One list for each authority that has one.
    pub pem: String,
    /// Whether each has one.
    pub complete: bool,
    /// When the first is to be renewed.
    pub next: Option<OffsetDateTime>,
}

/// A list that is there, and in force.
struct Stored<'a> {
    pem: &'a str,
    number: u64,
    this_update: OffsetDateTime,
    next_update: OffsetDateTime,
    revoked: BTreeMap<String, OffsetDateTime>,
}

impl Stored<'_> {
    fn renew_at(&self) -> OffsetDateTime {
        self.this_update + (self.next_update - self.this_update) / 3_i32
    }
}

/// Keeps the lists that are good and makes the others anew. An authority without a key keeps the list
/// that it has until that expires.
pub(crate) fn revocations<'a>(
    authorities: impl Iterator<Item = &'a Authority>,
    present: &str,
    wanted: &Wanted,
    now: OffsetDateTime,
) -> Result<Revocations, CertificateError> {
    let present = blocks(present, REVOCATIONS);
    let mut all = Revocations { pem: String::new(), complete: true, next: None };
    for authority in authorities {
        let stored = present.iter().find_map(|pem| read(pem, authority));
        let stored = stored.filter(|stored| now < stored.next_update);
        let good = stored.as_ref().filter(|stored| {
            let serials: BTreeSet<&String> = stored.revoked.keys().collect();
            now < stored.renew_at() && serials == wanted.revoked.iter().collect()
        });
        let (pem, renew_at) = match (good, authority.key(), &stored) {
            (Some(good), _, _) => (good.pem.to_owned(), good.renew_at()),
            (None, Some(_), _) => make(authority, stored.as_ref(), wanted, now)?,
            (None, None, Some(old)) => (old.pem.to_owned(), old.next_update),
            (None, None, None) => {
                all.complete = false;
                continue;
            }
        };
        all.pem.push_str(&pem);
        all.next = Some(all.next.map_or(renew_at, |next| next.min(renew_at)));
    }
    Ok(all)
}

fn make(
    authority: &Authority,
    before: Option<&Stored<'_>>,
    wanted: &Wanted,
    now: OffsetDateTime,
) -> Result<(String, OffsetDateTime), CertificateError> {
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
    // Grows also when the list before was lost: no two are made within one second.
    let clock = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    let number = before.map_or(clock, |before| clock.max(before.number.saturating_add(1)));
    let (this_update, life) = (now - wanted.schedule.skew(), wanted.schedule.revocations());
    let params = CertificateRevocationListParams {
        this_update,
        next_update: now + life,
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let what = "a revocation list";
    let list = params.signed_by(&authority.issuer()?).map_err(CertificateError::make(what))?;
    let pem = list.pem().map_err(CertificateError::make(what))?;
    let renew_at = this_update + (now + life - this_update) / 3_i32;
    Ok((pem.trim_end().to_owned() + "\n", renew_at.max(now + Duration::minutes(1))))
}

/// A list, if `authority` signed it.
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
