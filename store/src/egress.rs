//! Limits which servers requests for a table's source can reach.
//!
//! **What.** Every user who may create a table can name an address, and a Job inside the cluster's
//! network then connects to it. An [`Egress`] refuses the addresses of the machine itself, of its
//! link and of its cloud's metadata server, which gives out credentials. It checks the address in a
//! URL, the addresses that a name resolves to, and the target of each redirect.
//!
//! **Guarantees.** A name is resolved once, and the client connects to the addresses that were
//! checked. DNS answers that change do not bypass the check. If a name has several addresses, all
//! of them must be allowed.
//!
//! **Limits.** Behind a proxy (`HTTPS_PROXY`) the proxy resolves names and must refuse such
//! addresses itself. Only addresses in URLs and `localhost` are checked then. Private addresses are
//! allowed.

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

/// Largest number of redirects that are followed.
const REDIRECTS: usize = 5;

/// The servers that requests for a source may reach.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    /// Whether local addresses are allowed too.
    allow_local: bool,
    /// Servers that the cluster's owner named. They are allowed at any address.
    trusted: Vec<Url>,
}

impl Egress {
    /// Refuses local addresses unless `allow_local` is set, which is an option of the operator.
    pub fn new(allow_local: bool) -> Self {
        Self { allow_local, trusted: Vec::new() }
    }

    /// Also allows these servers, given as URLs.
    pub(crate) fn trusting<'a>(&self, servers: impl IntoIterator<Item = &'a str>) -> Self {
        // A text that is not a URL reaches no server.
        let trusted = servers.into_iter().filter_map(|server| server.parse().ok()).collect();
        Self { allow_local: self.allow_local, trusted }
    }

    /// Limits the client's name resolution and redirects. The first URL of a request must pass
    /// [`check`](Self::check) separately, since an address in a URL is not resolved.
    pub fn client(&self, builder: ClientBuilder) -> ClientBuilder {
        let redirected = self.clone();
        builder
            .dns_resolver(Arc::new(Resolver(self.clone())))
            .redirect(Policy::custom(move |attempt| redirected.redirect(attempt)))
    }

    /// Refuses a forbidden address in a URL.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        let trusted = || self.trusted.iter().any(|trusted| trusted.origin() == url.origin());
        // The URL parser has already converted forms such as 0x7f.1 to an address.
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

    /// Checks a redirect: only a few are followed, and none from https to http. The HTTP client
    /// ensures that credentials are sent only to the first host.
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

/// An address at which a source may not be.
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
    /// The data would be read, or its credentials sent, without encryption.
    #[error("it redirects from https to http")]
    LeavesTls,
    /// The redirects may never end.
    #[error("it redirects too often")]
    TooMany,
    /// The target is a forbidden address.
    #[error("it redirects: {0}")]
    Forbidden(#[from] Forbidden),
}

/// A name for which no address was found.
#[derive(Debug, Error)]
#[error("{name} cannot be resolved: {source}")]
pub struct Unresolved {
    name: String,
    source: std::io::Error,
}

/// Resolves names like the system does, and refuses forbidden addresses.
struct Resolver(Egress);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (egress, name) = (self.0.clone(), name.as_str().to_owned());
        Box::pin(async move {
            // The client replaces port 0 by the port of the URL.
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
