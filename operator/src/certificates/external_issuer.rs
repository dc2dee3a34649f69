//! Certificates signed by an issuer of cert-manager.
//!
//! cert-manager decides when it writes the Secrets. The operator decides what is trusted, and when
//! cert-manager may start. A separate certificate, the *probe*, reveals which authority the issuer
//! signs with, before any node presents a certificate of that authority. The probe lives half as
//! long as the other certificates, so it also reveals a later change of the issuer's authority
//! before they are affected.
//!
//! Steps for taking over a cluster that has its own authorities:
//! 1. The probe's authority is trusted in addition. Nodes are configured not to require revocation
//!    lists, because the issuer does not provide any.
//! 2. After every member has reported both, the `Certificate`s of the shards are created.
//! 3. After every member has reported its shard's new certificate, the old authorities are dropped.

use std::collections::BTreeMap;

use opaque_crds::cluster::IssuerReference;
use opaque_crds::names;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::cert_manager;
use super::entropy::Entropy;
use super::error::CertificateError;
use super::leaf::Request;
use super::model::{
    Contents, Facts, Issuance, Member, PEER_CA, Plan, SERVER_CA, Wanted, Write, activity, digest,
    waiting,
};
use super::own_issuer;
use super::x509::{Certificate, bundle, serial};
use crate::kube::Activity;

/// Reason while cert-manager is not installed.
const MISSING: &str = "CertManagerMissing";
/// Upper limit of the time between two plans. Everything else here changes by writes of others.
const AT_LEAST_EVERY: Duration = Duration::hours(6);

/// Plans for an issuer of cert-manager.
pub(crate) fn plan(
    wanted: &Wanted,
    issuer: &IssuerReference,
    facts: &Facts,
    now: OffsetDateTime,
    entropy: &mut dyn Entropy,
) -> Result<Plan, CertificateError> {
    let probe = names::issuer_probe(&wanted.cluster);
    let authorities = authorities(facts.secrets.get(&probe), now);
    let is_own = facts.secrets.contains_key(&names::authority(&wanted.cluster));
    let Some(issuances) = &facts.issuances else {
        let message = "cert-manager is not installed: its kind Certificate (cert-manager.io/v1) does not exist; install it, or remove spec.tls.issuerRef";
        return before(wanted, facts, &authorities, now, entropy, MISSING, message);
    };
    let mut writes = Vec::new();
    apply(&mut writes, issuances, &probe, cert_manager::probe_spec(wanted, issuer));

    let shards: Result<Vec<Request>, _> =
        (0..wanted.shards).map(|shard| Request::shard(wanted, shard)).collect();
    let mut requests = shards?;
    let begun = requests.iter().any(|request| issuances.contains_key(&request.secret));
    if !begun && is_own {
        // The cluster's own authorities remain in use until every node trusts the issuer's.
        let blocked = why_blocked(&authorities, issuances.get(&probe), facts);
        if let Some(reason) = blocked {
            let mut plan =
                before(wanted, facts, &authorities, now, entropy, "IssuerChanging", &reason)?;
            writes.append(&mut plan.writes);
            return Ok(Plan { writes, ..plan });
        }
    }
    requests.push(Request::server(wanted));
    for request in &requests {
        apply(&mut writes, issuances, &request.secret, cert_manager::spec(wanted, issuer, request));
    }
    let settled = settle(wanted, facts, &requests, &authorities, now);
    if settled.trust != facts.trust && !settled.trust.is_empty() {
        writes.push(Write::Trust(settled.trust));
    }
    if settled.progress.is_none() {
        let own = [names::authority(&wanted.cluster), names::server_authority(&wanted.cluster)];
        let own = own.into_iter().filter(|name| facts.secrets.contains_key(name));
        writes.extend(own.map(Write::DeleteSecret));
    }
    let (ready, reason, message) = state(&requests, &probe, issuances, facts, now);
    let secrets = requests.iter().filter_map(|request| facts.secrets.get(&request.secret));
    let not_after = secrets.filter_map(end).min();
    Ok(Plan {
        writes,
        next: now + AT_LEAST_EVERY,
        ready,
        reason,
        message,
        not_after,
        lists_not_after: None,
        progress: settled.progress,
        revocation: false,
    })
}

/// When a Secret's certificate or its authority expires, whichever is first. Issuers may sign
/// certificates that outlive their authority.
fn end(secret: &Contents) -> Option<OffsetDateTime> {
    let leaf = secret.certificate()?;
    let chain = Certificate::all(secret.text("ca.crt")).into_iter();
    let signers = chain.filter(|authority| leaf.is_signed_by(authority));
    Some(signers.map(|signer| signer.not_after()).fold(leaf.not_after(), OffsetDateTime::min))
}

/// The plan while cert-manager may not start yet. The cluster keeps its own certificates, if it has
/// any, and trusts the issuer's authority in addition.
fn before(
    wanted: &Wanted,
    facts: &Facts,
    authorities: &[Certificate],
    now: OffsetDateTime,
    entropy: &mut dyn Entropy,
    reason: &'static str,
    message: &str,
) -> Result<Plan, CertificateError> {
    let blocked_by = Some(message.to_owned());
    let progress = Some(activity("TrustIssuer", blocked_by));
    if !facts.secrets.contains_key(&names::authority(&wanted.cluster)) {
        return Ok(Plan {
            writes: Vec::new(),
            next: now + Duration::minutes(1),
            ready: false,
            reason,
            message: message.to_owned(),
            not_after: None,
            lists_not_after: None,
            progress,
            revocation: false,
        });
    }
    let mut plan = own_issuer::plan(wanted, facts, authorities, now, entropy)?;
    plan.next = plan.next.min(now + Duration::minutes(1));
    // Without cert-manager nothing changes: nodes that require revocation lists keep doing so and
    // are not restarted.
    let is_missing = reason == MISSING;
    let strict = facts.members.iter().all(|member| member.revocation);
    Ok(Plan {
        ready: !is_missing,
        reason,
        message: message.to_owned(),
        progress,
        revocation: is_missing && strict && plan.revocation,
        ..plan
    })
}

/// Why cert-manager may not write the Secrets of a running cluster yet.
fn why_blocked(
    authorities: &[Certificate],
    probe: Option<&Issuance>,
    facts: &Facts,
) -> Option<String> {
    if authorities.is_empty() {
        let said = probe.map(|probe| probe.message.as_str()).unwrap_or_default();
        return Some(format!(
            "the issuer has not signed the probe certificate yet, or gives no ca.crt: {said}"
        ));
    }
    let present = Certificate::all(facts.trusted(PEER_CA));
    if !authorities.iter().all(|authority| present.contains(authority)) {
        return Some("the issuer's authority is being added to what nodes trust".into());
    }
    let digest = digest(facts.trusted(PEER_CA));
    let late = |member: &&Member| member.trust.as_ref() != Some(&digest);
    let late: Vec<&Member> = facts.members.iter().filter(late).collect();
    let what = "not yet reported to trust the issuer; a node reloads it within two minutes";
    if let Some(reason) = waiting(&late, what) {
        return Some(reason);
    }
    let strict: Vec<&Member> = facts.members.iter().filter(|m| m.revocation).collect();
    waiting(&strict, "revocation lists are still required; a restart without them is in progress")
}

/// The trusted authorities, and what a change of them waits for.
struct Settled {
    trust: BTreeMap<String, String>,
    progress: Option<Activity>,
}

fn settle(
    wanted: &Wanted,
    facts: &Facts,
    requests: &[Request],
    probe: &[Certificate],
    now: OffsetDateTime,
) -> Settled {
    let mut needed = probe.to_vec();
    let mut chains = Vec::new();
    for request in requests.iter().filter(|request| request.is_client()) {
        let secret = facts.secrets.get(&request.secret);
        needed.extend(self::authorities(secret, now));
        chains.extend(
            secret.map(|secret| Certificate::all(secret.text("tls.crt"))).unwrap_or_default(),
        );
    }
    let present = alive(facts.trusted(PEER_CA), now);
    let signs = |authority: &&Certificate| chains.iter().any(|leaf| leaf.is_signed_by(authority));
    needed.extend(present.iter().filter(signs).cloned());

    let reported = digest(facts.trusted(PEER_CA));
    let late = |member: &&Member| {
        member.trust.as_ref() != Some(&reported) || !runs_on_its_secret(member, wanted, facts)
    };
    let late: Vec<&Member> = facts.members.iter().filter(late).collect();
    let leaving = present.iter().any(|authority| !needed.contains(authority));
    // Existing authorities keep their order, and new ones are appended. A bundle with the same
    // members therefore has the same digest.
    let keep = |authority: &&Certificate| needed.contains(authority) || !late.is_empty();
    let mut trusted: Vec<Certificate> = present.iter().filter(keep).cloned().collect();
    for authority in needed {
        if !trusted.contains(&authority) {
            trusted.push(authority);
        }
    }
    let what = "not yet reported to run on the certificate of the new issuer; a node reloads it within two minutes";
    let progress = (leaving && !late.is_empty()).then(|| activity("Reissue", waiting(&late, what)));

    let mut trust = BTreeMap::new();
    if !trusted.is_empty() {
        trust.insert(PEER_CA.to_owned(), bundle(&trusted));
    }
    let server = facts.secrets.get(&names::server_certificate(&wanted.cluster));
    let mut servers = self::authorities(server, now);
    // Clients do not report what they trust, so the previous authority stays until it expires.
    let before = alive(facts.trusted(SERVER_CA), now);
    let before = before.into_iter().rfind(|authority| !servers.contains(authority));
    servers.splice(0..0, before);
    if !servers.is_empty() {
        trust.insert(SERVER_CA.to_owned(), bundle(&servers));
    }
    if !trust.is_empty() {
        trust.extend([wanted.clients_revoked()]);
    }
    Settled { trust, progress }
}

fn runs_on_its_secret(member: &Member, wanted: &Wanted, facts: &Facts) -> bool {
    let secret = member.shard.map(|shard| names::shard_certificate(&wanted.cluster, shard));
    let secret = secret.and_then(|name| facts.secrets.get(&name));
    let stored = secret.and_then(|secret| Some(secret.certificate()?.serial()));
    stored.is_some() && stored == member.certificate.as_deref().map(serial)
}

fn state(
    requests: &[Request],
    probe: &str,
    issuances: &BTreeMap<String, Issuance>,
    facts: &Facts,
    now: OffsetDateTime,
) -> (bool, &'static str, String) {
    let all = requests.iter().map(|request| request.secret.as_str()).chain([probe]);
    let mut missing = Vec::new();
    for name in all {
        match issuances.get(name) {
            Some(issuance) if issuance.ready => {}
            Some(issuance) => missing.push(format!("Certificate {name}: {}", issuance.message)),
            None => missing.push(format!("Certificate {name} is being created")),
        }
    }
    let total = missing.len();
    if let Some(first) = missing.into_iter().next() {
        let more = if total > 1 { format!(" (and {} more)", total - 1) } else { String::new() };
        return (false, "Issuing", format!("waiting for cert-manager: {first}{more}"));
    }
    for request in requests {
        let secret = facts.secrets.get(&request.secret);
        if authorities(secret, now).is_empty() {
            let message = format!(
                "Secret {} has no ca.crt of an authority: nodes could not verify each other; use an issuer that provides it, such as a CA issuer",
                request.secret
            );
            return (false, "NoAuthority", message);
        }
    }
    (true, "Issued", "every certificate is valid, signed by the issuer".into())
}

/// Authorities in a Secret of cert-manager.
fn authorities(secret: Option<&Contents>, now: OffsetDateTime) -> Vec<Certificate> {
    secret.map(|secret| alive(secret.text("ca.crt"), now)).unwrap_or_default()
}

fn alive(text: &str, now: OffsetDateTime) -> Vec<Certificate> {
    let all = Certificate::all(text).into_iter();
    all.filter(|certificate| certificate.is_authority() && now < certificate.not_after()).collect()
}

fn apply(writes: &mut Vec<Write>, present: &BTreeMap<String, Issuance>, name: &str, spec: Value) {
    if !present.get(name).is_some_and(|issuance| covers(&issuance.spec, &spec)) {
        writes.push(Write::Issuance { name: name.to_owned(), spec });
    }
}

/// Whether a live value contains all of the desired value. Additions by others are ignored.
fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| live.get(key).is_some_and(|live| covers(live, wanted))),
        _ => live == wanted,
    }
}
