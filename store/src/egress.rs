//! Requests for a table's source: which servers they may reach.
//!
//! **What.** Whoever may create a table names an address, and a Job inside the cluster's network
//! asks it. An [`Egress`] refuses the addresses of the machine itself, of its link and of its
//! cloud's metadata, which hold credentials: as it stands in a URL, as a name resolves, and after
//! each redirect.
//!
//! **Guarantees.** A name is resolved once, and what was checked is what is connected to: an answer
//! of DNS that changes gets around nothing. Of a name with several addresses all must be allowed.
//!
//! **Limits.** Behind a proxy (`HTTPS_PROXY`) the proxy resolves names, and must refuse such
//! addresses itself: what is checked then are addresses that stand in URLs, and `localhost`.
//! Private addresses are allowed.

mod address;
mod connector;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{ClientBuilder, Url};
use thiserror::Error;

pub use address::Place;
pub(crate) use connector::Connector;

/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// Which servers requests for a source may reach.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    /// Whether any address may be.
    allow_local: bool,
    /// Servers that the cluster's owner has named, wherever they are.
    trusted: Vec<Url>,
}

impl Egress {
    /// Refuses local addresses unless the operator was told to allow them.
    pub fn new(allow_local: bool) -> Self {
        Self { allow_local, trusted: Vec::new() }
    }

    /// Allows also these servers, named by URL.
    pub(crate) fn trusting<'a>(&self, servers: impl IntoIterator<Item = &'a str>) -> Self {
        // What is no URL reaches no server.
        let trusted = servers.into_iter().filter_map(|server| server.parse().ok()).collect();
        Self { allow_local: self.allow_local, trusted }
    }

    /// Makes the client resolve and follow no further than allowed. What it is first asked for must
    /// pass [`check`](Self::check): an address in a URL is not resolved.
    pub fn client(&self, builder: ClientBuilder) -> ClientBuilder {
        let redirected = self.clone();
        builder
            .dns_resolver(Arc::new(Resolver(self.clone())))
            .redirect(Policy::custom(move |attempt| redirected.redirect(attempt)))
    }

    /// Refuses an address that stands in a URL.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        let trusted = || self.trusted.iter().any(|trusted| trusted.origin() == url.origin());
        // The parser has made a number such as 0x7f.1 the address that it means.
        let host = url.host_str().unwrap_or_default();
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let name = host.trim_end_matches('.');
        let place = match address {
            Some(address) => Place::of(address),
            None if name == "localhost" || name.ends_with(".localhost") => Some(Place::Loopback),
            None => None,
        };
        match place {
            Some(place) if !self.allow_local && !trusted() => {
                Err(Forbidden { host: host.to_owned(), address, place })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a name that resolves to a forbidden address.
    fn check_resolved(
        &self,
        name: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(), Forbidden> {
        let trusted = self.trusted.iter().any(|trusted| trusted.host_str() == Some(name));
        if self.allow_local || trusted {
            return Ok(());
        }
        for address in addresses {
            if let Some(place) = Place::of(address) {
                return Err(Forbidden { host: name.to_owned(), address: Some(address), place });
            }
        }
        Ok(())
    }

    /// Whether a redirect is followed: a few are, and none that leaves TLS. Credentials stay with
    /// the first host: the HTTP client sees to it.
    fn check_redirect(&self, previous: &[Url], next: &Url) -> Result<(), RedirectError> {
        let was_tls = previous.last().is_some_and(|from| from.scheme() == "https");
        if was_tls && next.scheme() != "https" {
            return Err(RedirectError::LeavesTls);
        }
        if previous.len() > REDIRECTS {
            return Err(RedirectError::TooMany);
        }
        Ok(self.check(next)?)
    }

    fn redirect(&self, attempt: Attempt<'_>) -> reqwest::redirect::Action {
        match self.check_redirect(attempt.previous(), attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(error) => attempt.error(error),
        }
    }
}

/// An address where a source may not be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{host}{} is {place}", address.map(|address| format!(" ({address})")).unwrap_or_default())]
pub struct Forbidden {
    host: String,
    address: Option<IpAddr>,
    /// What is there.
    pub place: Place,
}

/// A redirect that is not followed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RedirectError {
    /// It would be read, or its credentials sent, in the clear.
    #[error("it redirects from https to http")]
    LeavesTls,
    /// It may go on forever.
    #[error("it redirects too often")]
    TooMany,
    /// A source may not be there.
    #[error("it redirects: {0}")]
    Forbidden(#[from] Forbidden),
}

/// A name that no address was found for.
#[derive(Debug, Error)]
#[error("{name} cannot be resolved: {source}")]
pub struct Unresolved {
    name: String,
    source: std::io::Error,
}

/// Resolves as the system does, and refuses forbidden addresses.
struct Resolver(Egress);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (egress, name) = (self.0.clone(), name.as_str().to_owned());
        Box::pin(async move {
            // Port 0 becomes the URL's.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map(Vec::from_iter);
            let found: Vec<SocketAddr> = match found {
                Ok(found) => found,
                Err(source) => return Err(Unresolved { name, source }.into()),
            };
            egress.check_resolved(&name, found.iter().map(SocketAddr::ip))?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
