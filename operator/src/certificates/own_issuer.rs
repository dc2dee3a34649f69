//! Certificates signed by the cluster's own authorities.

use std::collections::BTreeMap;

use opaque_crds::names;
use time::{Duration, OffsetDateTime};

use super::authorities::{Authorities, Rollover, Situation};
use super::authority::{Authority, Domain};
use super::entropy::Entropy;
use super::error::CertificateError;
use super::leaf::{Fault, Request, examine};
use super::model::{Contents, Facts, Member, PEER_CA, PEER_CRL, Plan, SERVER_CA, Wanted, Write};
use super::revocation::revocations;
use super::x509::{Certificate, bundle, serial};

/// Maximum time between two plans. A clock may be adjusted, and nothing else would reveal it.
const AT_LEAST_EVERY: Duration = Duration::hours(6);
/// Minimum time between two plans.
const AT_MOST_EVERY: Duration = Duration::seconds(1);

/// Plans for the cluster's own authorities. Nodes additionally trust `guests`.
pub(crate) fn plan(
    wanted: &Wanted,
    facts: &Facts,
    guests: &[Certificate],
    now: OffsetDateTime,
    entropy: &mut dyn Entropy,
) -> Result<Plan, CertificateError> {
    let mut draft = Draft { writes: Vec::new(), next: now + AT_LEAST_EVERY, ends: Vec::new() };
    let follows = |member: &Member, authorities: &Authorities| {
        follows(member, authorities.newest(), wanted, facts)
    };
    let situation =
        |adopt| Situation { wanted, now, members: &facts.members, adopt, follows: &follows };

    let peers = situation(peers_to_adopt(wanted, facts));
    let peer_secret = names::authority(&wanted.cluster);
    let stored = facts.secrets.get(&peer_secret);
    let (authorities, changed) = Authorities::advance(Domain::Peers, stored, &peers, entropy)?;
    draft.authority(peer_secret, &authorities, changed, wanted, now);

    let server = situation(server_to_adopt(wanted, facts));
    let server_secret = names::server_authority(&wanted.cluster);
    let stored = facts.secrets.get(&server_secret);
    let (servers, changed) = Authorities::advance(Domain::Server, stored, &server, entropy)?;
    draft.authority(server_secret, &servers, changed, wanted, now);

    let lists = revocations(authorities.trusted(), facts, wanted, now)?;
    draft.at(lists.next);
    let trust = BTreeMap::from([
        (PEER_CA.to_owned(), authorities.bundle() + &bundle(guests)),
        (PEER_CRL.to_owned(), lists.pem),
        (SERVER_CA.to_owned(), servers.bundle()),
        wanted.clients_revoked(),
    ]);
    if trust != facts.trust {
        draft.writes.push(Write::Trust(trust));
    }

    draft.release(&authorities, wanted, facts);
    for shard in 0..wanted.shards {
        let request = Request::shard(wanted, shard)?;
        draft.shard(&request, &authorities, wanted, facts, now, entropy)?;
    }
    draft.server(&Request::server(wanted), &servers, wanted, facts, now, entropy)?;

    let progress = authorities.progress(&peers);
    let (reason, message) = match &progress {
        None => {
            ("Issued", "every certificate is valid, signed by the cluster's own authorities".into())
        }
        Some(_) => (
            "AuthorityChanging",
            "every certificate is valid; the nodes' authority is being replaced".into(),
        ),
    };
    Ok(Plan {
        next: draft.next.max(now + AT_MOST_EVERY),
        not_after: draft.ends.into_iter().min(),
        lists_not_after: lists.not_after,
        writes: draft.writes,
        ready: true,
        reason,
        message,
        progress,
        revocation: lists.complete,
    })
}

/// A plan under construction.
struct Draft {
    writes: Vec<Write>,
    next: OffsetDateTime,
    ends: Vec<OffsetDateTime>,
}

impl Draft {
    fn at(&mut self, next: Option<OffsetDateTime>) {
        self.next = next.map_or(self.next, |next| self.next.min(next));
    }

    fn authority(
        &mut self,
        secret: String,
        authorities: &Authorities,
        changed: bool,
        wanted: &Wanted,
        now: OffsetDateTime,
    ) {
        if changed {
            self.writes.push(Write::Secret { name: secret, contents: authorities.contents() });
            // The next step may be possible already.
            self.at(Some(now));
        }
        for authority in authorities.trusted() {
            self.at(Some(authority.certificate().not_after()));
        }
        let replace_at = wanted.schedule.replace_at(authorities.newest().certificate());
        // A change in progress must finish first. After that, this is examined again.
        self.at((authorities.rollover() == Rollover::Settled).then_some(replace_at));
    }

    /// Takes the Secrets back from cert-manager before they are written.
    fn release(&mut self, authorities: &Authorities, wanted: &Wanted, facts: &Facts) {
        let (_, trusted) = authorities.signer();
        if !trusted {
            return;
        }
        let left = facts.issuances.iter().flatten().map(|(name, _)| name);
        self.writes.extend(left.cloned().map(Write::DeleteIssuance));
        // The probe is deleted last, because cert-manager would create its Secret again.
        let probe = names::issuer_probe(&wanted.cluster);
        if wanted.issuer.is_none()
            && facts.issuances.iter().all(BTreeMap::is_empty)
            && facts.secrets.contains_key(&probe)
        {
            self.writes.push(Write::DeleteSecret(probe));
        }
    }

    fn shard(
        &mut self,
        request: &Request,
        authorities: &Authorities,
        wanted: &Wanted,
        facts: &Facts,
        now: OffsetDateTime,
        entropy: &mut dyn Entropy,
    ) -> Result<(), CertificateError> {
        let stored = facts.secrets.get(&request.secret);
        let trusted: Vec<&Certificate> =
            authorities.trusted().map(Authority::certificate).collect();
        let (signer, known) = authorities.signer();
        let newest = authorities.newest().certificate();
        let present = stored.and_then(|stored| stored.certificate());
        // During this step, a certificate of another authority is always reissued, because the
        // change ends with certificates of the new authority.
        let changes = authorities.rollover() == Rollover::Issuing
            && present.as_ref().is_some_and(|present| !present.is_signed_by(newest));
        let issue = match examine(request, stored, wanted, &trusted, now) {
            Ok(_) => changes,
            Err(Fault::Dead) => true,
            Err(Fault::Stale) => known,
            // If the authority is near its end, a renewed certificate would not last longer.
            Err(Fault::Due) => {
                let (_, end) = wanted.schedule.leaf(now, signer.certificate().not_after());
                let longer = present.as_ref().is_none_or(|present| present.not_after() < end);
                changes || (known && longer)
            }
        };
        let issue = issue.then(|| request.issue(wanted, signer, None, stored, now, entropy));
        self.keep(request, issue.transpose()?, present, wanted);
        Ok(())
    }

    fn server(
        &mut self,
        request: &Request,
        servers: &Authorities,
        wanted: &Wanted,
        facts: &Facts,
        now: OffsetDateTime,
        entropy: &mut dyn Entropy,
    ) -> Result<(), CertificateError> {
        let stored = facts.secrets.get(&request.secret);
        let trusted: Vec<&Certificate> = servers.trusted().map(Authority::certificate).collect();
        let (newest, cross) = (servers.newest(), servers.cross(now));
        let present = stored.and_then(|stored| stored.certificate());
        // Without the old authority's signature, clients need time to learn the new authority,
        // until the next renewal.
        let changes = cross.is_some()
            && present.as_ref().is_some_and(|present| !present.is_signed_by(newest.certificate()));
        let issue = match examine(request, stored, wanted, &trusted, now) {
            Ok(_) => changes,
            Err(Fault::Due) => {
                let (_, end) = wanted.schedule.leaf(now, newest.certificate().not_after());
                changes || present.as_ref().is_none_or(|present| present.not_after() < end)
            }
            Err(Fault::Dead | Fault::Stale) => true,
        };
        let issue = issue.then(|| request.issue(wanted, newest, cross, stored, now, entropy));
        self.keep(request, issue.transpose()?, present, wanted);
        Ok(())
    }

    /// Writes the certificate that was issued, if one was. Otherwise the present one stays.
    fn keep(
        &mut self,
        request: &Request,
        issued: Option<Contents>,
        present: Option<Certificate>,
        wanted: &Wanted,
    ) {
        let kept = issued.as_ref().map_or(present, Contents::certificate);
        if let Some(contents) = issued {
            self.writes.push(Write::Secret { name: request.secret.clone(), contents });
        }
        if let Some(certificate) = kept {
            self.at(Some(wanted.schedule.renew_at(&certificate, &request.secret)));
            self.at(Some(certificate.not_after()));
            self.ends.push(certificate.not_after());
        }
    }
}

/// Whether a member runs with a certificate that `authority` signed for its shard.
pub(crate) fn follows(
    member: &Member,
    authority: &Authority,
    wanted: &Wanted,
    facts: &Facts,
) -> bool {
    let Some((shard, certificate)) = member.shard.zip(member.certificate.as_ref()) else {
        return false;
    };
    let secret = facts.secrets.get(&names::shard_certificate(&wanted.cluster, shard));
    secret.is_some_and(|secret| {
        secret.certificate().is_some_and(|leaf| leaf.is_signed_by(authority.certificate()))
            && secret.serials().contains(&serial(certificate))
    })
}

/// Authorities that nodes trust and that signed a certificate in use, but that the Secret does not
/// contain. Either the Secret was lost, or an issuer of cert-manager has signed so far.
fn peers_to_adopt(wanted: &Wanted, facts: &Facts) -> Vec<Certificate> {
    let present = Certificate::all(facts.trusted(PEER_CA));
    let secrets = (0..wanted.shards).map(|shard| names::shard_certificate(&wanted.cluster, shard));
    in_use(present, secrets, &names::authority(&wanted.cluster), facts)
}

fn server_to_adopt(wanted: &Wanted, facts: &Facts) -> Vec<Certificate> {
    let present = Certificate::all(facts.trusted(SERVER_CA));
    let secrets = [names::server_certificate(&wanted.cluster)].into_iter();
    in_use(present, secrets, &names::server_authority(&wanted.cluster), facts)
}

fn in_use(
    present: Vec<Certificate>,
    secrets: impl Iterator<Item = String>,
    authority: &str,
    facts: &Facts,
) -> Vec<Certificate> {
    let mut known = Vec::new();
    for key in ["tls.crt", "previous.crt"] {
        let stored = facts.secrets.get(authority);
        known.extend(stored.map(|stored| Certificate::all(stored.text(key))).unwrap_or_default());
    }
    let mut chains: Vec<Certificate> = Vec::new();
    for secret in secrets.filter_map(|name| facts.secrets.get(&name)) {
        let chain = Certificate::all(secret.text("tls.crt"));
        let signed = |authority| chain.first().is_some_and(|leaf| leaf.is_signed_by(authority));
        if !known.iter().any(signed) {
            chains.extend(chain);
        }
    }
    let signs = |authority: &Certificate| chains.iter().any(|leaf| leaf.is_signed_by(authority));
    present.into_iter().filter(signs).collect()
}
