//! The authorities of one domain: the newest, earlier ones that are still trusted, and the steps
//! that replace one by the other.
//!
//! The peers' authority is replaced in these steps. Each is one write of its Secret:
//! 1. **announced**: both authorities are trusted; the old one still signs;
//! 2. **issuing**, after every member has reported the bundle with both: the new one signs;
//! 3. the old one is dropped, after every member has reported a certificate of the new one.
//!
//! Any two members that communicate therefore trust each other's certificates, whichever files each
//! has loaded. The step is stored in the Secret with the keys, so that a crash cannot separate
//! them.
//!
//! Clients do not report what they trust. The old authority therefore also signs the server's new
//! authority, and the server presents that signature with its certificate. Clients that trust
//! either authority accept it.

use time::OffsetDateTime;

use super::authority::{Authority, Domain};
use super::entropy::Entropy;
use super::error::CertificateError;
use super::model::{Contents, Member, ROTATE, STEP, Wanted, activity, digest, waiting};
use super::x509::{Certificate, bundle};
use crate::kube::Activity;

const ANNOUNCED: &str = "Announced";
const ISSUING: &str = "Issuing";

/// The state of a change of authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rollover {
    /// No change is in progress.
    Settled,
    /// Both authorities are trusted; the old one signs.
    Announced,
    /// Both authorities are trusted; the new one signs.
    Issuing,
}

/// The authorities of one domain.
#[derive(Clone)]
pub(crate) struct Authorities {
    newest: Authority,
    /// Earlier authorities that are still trusted, oldest first.
    previous: Vec<Authority>,
    /// The newest authority's certificate, signed by the previous authority.
    cross: Option<Certificate>,
    rollover: Rollover,
    rotated: Option<String>,
}

/// The inputs of a step.
pub(crate) struct Situation<'a> {
    /// The desired certificates.
    pub wanted: &'a Wanted,
    /// The current time.
    pub now: OffsetDateTime,
    /// The reports of the nodes.
    pub members: &'a [Member],
    /// Authorities that are currently trusted, and that must stay trusted even if the Secret does
    /// not contain them.
    pub adopt: Vec<Certificate>,
    /// Whether a member's certificate was signed by the newest authority for its shard.
    pub follows: &'a dyn Fn(&Member, &Authorities) -> bool,
}

impl Authorities {
    /// Reads a Secret. Returns `None` if it has no authority that can sign. The trusted
    /// certificates are returned in any case.
    fn read(stored: &Contents, now: OffsetDateTime) -> (Option<Authority>, Vec<Authority>) {
        let mut previous = Vec::new();
        for certificate in Certificate::all(stored.text("previous.crt")) {
            let key = stored.get("previous.key");
            let usable = key.and_then(|key| Authority::usable(&certificate, key));
            previous.push(usable.unwrap_or_else(|| Authority::trusted(certificate)));
        }
        let certificate = stored.certificate();
        let key = stored.get("tls.key");
        let newest = certificate
            .as_ref()
            .zip(key)
            .and_then(|(certificate, key)| Authority::usable(certificate, key));
        let newest = newest.filter(|authority| authority.is_alive(now));
        if newest.is_none() {
            previous.extend(certificate.map(Authority::trusted));
        }
        (newest, previous)
    }

    /// The authorities after at most one step, and whether they differ from the stored ones.
    pub(crate) fn advance(
        domain: Domain,
        stored: Option<&Contents>,
        situation: &Situation<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, bool), CertificateError> {
        let Situation { wanted, now, adopt, .. } = situation;
        let (newest, mut previous) =
            stored.map_or_else(|| (None, Vec::new()), |stored| Self::read(stored, *now));
        let kept = previous.len();
        let is_newest = |certificate: &Certificate| {
            newest.as_ref().is_some_and(|newest| newest.certificate() == certificate)
        };
        let adopt = adopt
            .iter()
            .filter(|certificate| certificate.is_authority() && *now < certificate.not_after());
        for certificate in adopt {
            let known = previous.iter().any(|authority| authority.certificate() == certificate);
            if !known && !is_newest(certificate) {
                previous.push(Authority::trusted(certificate.clone()));
            }
        }
        let adopted = previous.len() != kept;
        let before = previous.len();
        previous
            .retain(|authority| authority.is_alive(*now) && authority.certificate().is_authority());
        let mut changed = adopted || previous.len() != before;

        let annotation = |key| stored.and_then(|stored| stored.annotations.get(key));
        let (newest, cross, rotated) = match newest {
            Some(newest) => {
                let cross = stored.and_then(|stored| Certificate::first(stored.text("cross.crt")));
                (newest, cross, annotation(ROTATE).cloned())
            }
            None => {
                changed = true;
                let (newest, _) = Authority::create(domain, wanted, *now, None, entropy)?;
                (newest, None, wanted.rotate.clone())
            }
        };
        let issuing = annotation(STEP).is_some_and(|step| step == ISSUING);
        let rollover = match domain {
            Domain::Server => Rollover::Settled,
            Domain::Peers if previous.is_empty() => Rollover::Settled,
            Domain::Peers if issuing && !adopted => Rollover::Issuing,
            Domain::Peers => Rollover::Announced,
        };
        let mut authorities = Self { newest, previous, cross, rollover, rotated };
        if !changed {
            changed = match domain {
                Domain::Peers => authorities.advance_peers(situation, entropy)?,
                Domain::Server => authorities.advance_server(situation, entropy)?,
            };
        }
        Ok((authorities, changed))
    }

    fn advance_peers(
        &mut self,
        situation: &Situation<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<bool, CertificateError> {
        match self.rollover {
            Rollover::Announced if self.unaware(situation.members).is_empty() => {
                self.rollover = Rollover::Issuing;
            }
            Rollover::Issuing if self.behind(situation).is_empty() => {
                self.previous.clear();
                self.rollover = Rollover::Settled;
            }
            Rollover::Settled if self.is_to_be_replaced(situation) => {
                let Situation { wanted, now, .. } = situation;
                let (newest, _) = Authority::create(Domain::Peers, wanted, *now, None, entropy)?;
                self.previous = vec![std::mem::replace(&mut self.newest, newest)];
                self.rotated.clone_from(&wanted.rotate);
                self.rollover = Rollover::Announced;
            }
            Rollover::Settled | Rollover::Announced | Rollover::Issuing => return Ok(false),
        }
        Ok(true)
    }

    /// Replaces the server's authority in one step. The previous one stays trusted until it expires
    /// or until the next change.
    fn advance_server(
        &mut self,
        situation: &Situation<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<bool, CertificateError> {
        if !self.is_to_be_replaced(situation) {
            return Ok(false);
        }
        let Situation { wanted, now, .. } = situation;
        let before = Some(&self.newest);
        let (newest, cross) = Authority::create(Domain::Server, wanted, *now, before, entropy)?;
        let before = std::mem::replace(&mut self.newest, newest);
        // This authority has signed its successor, and its key is not needed any more.
        self.previous = vec![Authority::trusted(before.certificate().clone())];
        self.cross = cross;
        self.rotated.clone_from(&wanted.rotate);
        Ok(true)
    }

    fn is_to_be_replaced(&self, situation: &Situation<'_>) -> bool {
        let wanted = situation.wanted;
        let asked = wanted.rotate.is_some() && wanted.rotate != self.rotated;
        asked || situation.now >= wanted.schedule.replace_at(self.newest.certificate())
    }

    /// Members that have not reported the current bundle.
    fn unaware<'a>(&self, members: &'a [Member]) -> Vec<&'a Member> {
        let digest = digest(&self.bundle());
        members.iter().filter(|member| member.trust.as_ref() != Some(&digest)).collect()
    }

    /// Members whose certificate was not signed by the newest authority.
    fn behind<'a>(&self, situation: &Situation<'a>) -> Vec<&'a Member> {
        let follows = situation.follows;
        situation.members.iter().filter(|member| !follows(member, self)).collect()
    }

    /// The desired contents of the Secret.
    pub(crate) fn contents(&self) -> Contents {
        let mut contents = Contents::default();
        contents.set("tls.crt", self.newest.certificate().pem().into());
        if let Some(key) = self.newest.key() {
            contents.set("tls.key", key.clone());
        }
        contents.set("ca.crt", self.bundle().as_str().into());
        if !self.previous.is_empty() {
            let previous = bundle(self.previous.iter().map(Authority::certificate));
            contents.set("previous.crt", previous.as_str().into());
        }
        if let Some(key) = self.previous.iter().find_map(Authority::key) {
            contents.set("previous.key", key.clone());
        }
        if let Some(cross) = &self.cross {
            contents.set("cross.crt", cross.pem().into());
        }
        let step = match self.rollover {
            Rollover::Settled => None,
            Rollover::Announced => Some(ANNOUNCED),
            Rollover::Issuing => Some(ISSUING),
        };
        let annotations = &mut contents.annotations;
        annotations.extend(step.map(|step| (STEP.to_owned(), step.to_owned())));
        annotations.extend(self.rotated.clone().map(|value| (ROTATE.to_owned(), value)));
        contents
    }

    /// All trusted authorities, oldest first. The order does not depend on the step, so the digest
    /// that members report does not either.
    pub(crate) fn trusted(&self) -> impl Iterator<Item = &Authority> {
        self.previous.iter().chain([&self.newest])
    }

    /// PEM of all trusted authorities.
    pub(crate) fn bundle(&self) -> String {
        bundle(self.trusted().map(Authority::certificate))
    }

    /// The newest authority.
    pub(crate) fn newest(&self) -> &Authority {
        &self.newest
    }

    /// The newest authority's certificate, signed by the previous one, while that is useful.
    pub(crate) fn cross(&self, now: OffsetDateTime) -> Option<&Certificate> {
        self.cross.as_ref().filter(|cross| now < cross.not_after())
    }

    /// The state of the change of authorities.
    pub(crate) fn rollover(&self) -> Rollover {
        self.rollover
    }

    /// The authority that signs peers' certificates, and whether every member trusts it. The second
    /// value is false if the only authority that all members trust has lost its key.
    pub(crate) fn signer(&self) -> (&Authority, bool) {
        let old = || self.previous.iter().find(|authority| authority.key().is_some());
        match self.rollover {
            Rollover::Settled | Rollover::Issuing => (&self.newest, true),
            Rollover::Announced => old().map_or((&self.newest, false), |old| (old, true)),
        }
    }

    /// The progress of a change of the peers' authority.
    pub(crate) fn progress(&self, situation: &Situation<'_>) -> Option<Activity> {
        let (step, members, what) = match self.rollover {
            Rollover::Settled => return None,
            Rollover::Announced => (
                "TrustBoth",
                self.unaware(situation.members),
                "not yet reported to trust the new authority; a node reloads it within two minutes",
            ),
            Rollover::Issuing => (
                "Reissue",
                self.behind(situation),
                "not yet reported to run on a certificate of the new authority; a node reloads it within two minutes",
            ),
        };
        Some(activity(step, waiting(&members, what)))
    }
}
