//! Sends `object_store`'s requests for a source in a bucket.

use std::time::Duration;

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::{Certificate, Client, NoProxy, Proxy, Url};

use super::{Egress, Forbidden, RedirectError};
use crate::error::find;

/// Creates clients that reach only what an [`Egress`] allows. `object_store` does not let a
/// connector start from its own client, so this applies those of its options that a source's
/// settings can have.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    pub(crate) egress: Egress,
    /// Authorities of the server in PEM, in addition to the system's.
    pub(crate) authorities: Option<String>,
    /// Longest wait for a connection.
    pub(crate) connect_timeout: Duration,
    /// Longest wait for the next bytes of a response.
    pub(crate) read_timeout: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let text = |key| options.get_config_value(&key);
        let is = |key| text(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let failed = |source: reqwest::Error| object_store::Error::Generic {
            store: "HTTP",
            source: source.into(),
        };
        let mut builder = self
            .egress
            .client(Client::builder())
            .user_agent(concat!("opaque-prepare/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .http1_only()
            .https_only(!is(ClientConfigKey::AllowHttp))
            .danger_accept_invalid_certs(is(ClientConfigKey::AllowInvalidCertificates));
        let pem = self.authorities.as_deref().unwrap_or_default();
        for authority in Certificate::from_pem_bundle(pem.as_bytes()).map_err(failed)? {
            builder = builder.add_root_certificate(authority);
        }
        // A proxy is named by the cluster's owner. A source cannot set one.
        if let Some(url) = text(ClientConfigKey::ProxyUrl) {
            let excluded = text(ClientConfigKey::ProxyExcludes);
            let excluded = excluded.and_then(|hosts| NoProxy::from_string(&hosts));
            builder = builder.proxy(Proxy::all(url).map_err(failed)?.no_proxy(excluded));
        }
        let client = builder.build().map_err(failed)?;
        Ok(HttpClient::new(Checked { client, egress: self.egress.clone() }))
    }
}

/// A client that checks each request.
#[derive(Debug)]
struct Checked {
    client: Client,
    egress: Egress,
}

#[async_trait]
impl HttpService for Checked {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url: Url = request
            .uri()
            .to_string()
            .parse()
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        self.egress.check(&url).map_err(refused)?;
        let answer = HttpService::call(&self.client, request).await;
        answer.map_err(|error| match (find::<Forbidden>(&error), find::<RedirectError>(&error)) {
            (Some(forbidden), _) => refused(forbidden.clone()),
            (None, Some(redirect)) => refused(redirect.clone()),
            (None, None) => error,
        })
    }
}

/// An error of a kind that is not retried.
fn refused(error: impl std::error::Error + Send + Sync + 'static) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}
