//! Who may ask: clients prove who they are before a body is read, and each has its limits.
//!
//! | `--client-auth` | a client is | proved by |
//! |---|---|---|
//! | `mtls` | the first URI of its certificate, else DNS name, else common name | `clients-ca.crt` |
//! | `token` | the name of the token's file | `authorization: Bearer …` |
//! | `none` | whoever reaches the port | nothing; only the node's own limits hold |
//!
//! Every client that is admitted may query; to load and to roll back takes a name in `--loader`
//! (`rights`).
//!
//! Health checks stay open: they are another service, which [`Guard`] does not wrap.

mod limits;
mod rights;
mod tokens;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use opaque_identity::Leaf;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;

use self::limits::{Limits, Permit};
use self::rights::Loaders;
use self::tokens::Tokens;
use crate::config::{ClientAuth, Config};
use crate::error::NodeError;
use crate::tls::{Caller, Tls};

pub use self::tokens::TokensError;

/// How often tokens are read again.
const LOOK: Duration = Duration::from_secs(2);

/// Decides who may ask.
#[derive(Debug)]
pub struct Access {
    mode: Mode,
    loaders: Loaders,
    limits: Limits,
}

#[derive(Debug)]
enum Mode {
    Mtls(Arc<Tls>),
    Token(Tokens),
    None,
}

impl Access {
    /// The access that the settings describe.
    ///
    /// # Errors
    /// When there are no tokens to compare with.
    pub fn open(config: &Config, tls: &Arc<Tls>) -> Result<Arc<Self>, TokensError> {
        let mode = match (config.client_auth, &config.tokens_dir) {
            (ClientAuth::Mtls, _) => Mode::Mtls(Arc::clone(tls)),
            (ClientAuth::Token, Some(dir)) => Mode::Token(Tokens::open(dir.clone())?),
            // The configuration demands the directory; without one nobody could have a token.
            (ClientAuth::Token, None) => return Err(TokensError::NoDirectory),
            (ClientAuth::None, _) => Mode::None,
        };
        let limits = Limits::new(config.client_concurrency as usize, config.client_rate);
        let loaders = Loaders::new(&config.loaders);
        Ok(Arc::new(Self { mode, loaders, limits }))
    }

    /// Reads tokens again when they change; never ends.
    pub async fn follow(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Mode::Token(tokens) = &self.mode {
                tokens.look();
            }
        }
    }

    /// Admits a request, or says why not. The permit lasts as long as the answer is being sent.
    fn admit<T>(&self, request: &Request<T>) -> Result<Option<Permit>, NodeError> {
        let call = request.uri().path();
        let principal = match &self.mode {
            Mode::None => {
                self.loaders.check(call, None)?;
                return Ok(None);
            }
            Mode::Mtls(tls) => {
                let caller = request.extensions().get::<Caller>();
                let presented = caller.and_then(|caller| caller.presented.as_deref());
                let presented = presented.ok_or(NodeError::Unauthenticated(
                    "this cluster asks for a client certificate",
                ))?;
                let leaf = tls.material().client(presented).map_err(|error| {
                    tracing::debug!(%error, "client refused");
                    NodeError::Unauthenticated("the client certificate does not hold any more")
                })?;
                principal(&leaf)
                    .ok_or(NodeError::Unauthenticated("the client certificate names nobody"))?
            }
            Mode::Token(tokens) => {
                let header = request.headers().get(AUTHORIZATION);
                let token = header
                    .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
                    .ok_or(NodeError::Unauthenticated("this cluster asks for a token"))?;
                tokens
                    .principal(token)
                    .ok_or(NodeError::Unauthenticated("the token is not one of this cluster's"))?
            }
        };
        self.loaders.check(call, Some(&principal))?;
        self.limits.take(&principal, Instant::now()).map(Some)
    }
}

/// Whom a client's certificate names.
fn principal(leaf: &Leaf) -> Option<Arc<str>> {
    let names = leaf.uris.first().or(leaf.dns_names.first()).or(leaf.common_name.as_ref());
    names.filter(|name| !name.is_empty()).map(|name| name.as_str().into())
}

/// A service behind an [`Access`].
#[derive(Debug, Clone)]
pub struct Guard<S> {
    inner: S,
    access: Arc<Access>,
}

impl<S> Guard<S> {
    /// Lets through to `inner` what `access` admits.
    pub fn new(inner: S, access: Arc<Access>) -> Self {
        Self { inner, access }
    }
}

impl<S: NamedService> NamedService for Guard<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.access.admit(&request) {
            Ok(permit) => {
                let answering = self.inner.call(request);
                Box::pin(async move {
                    let answer = answering.await?;
                    Ok(match permit {
                        None => answer,
                        permit => answer.map(|body| Body::new(Held { body, _permit: permit })),
                    })
                })
            }
            Err(error) => {
                let refusal = Status::from(error).into_http();
                Box::pin(async move { Ok(refusal) })
            }
        }
    }
}

/// An answer that holds its client's permit until it is sent.
struct Held {
    body: Body,
    _permit: Option<Permit>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
