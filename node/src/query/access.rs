//! Authenticates clients before a request body is read, and limits each of them.
//!
//! | `--client-auth` | a client is | proved by |
//! |---|---|---|
//! | `mtls` | the first URI of its certificate, else DNS name, else common name | `clients-ca.crt`
//! |
//! | `token` | the name of the token's file | `authorization: Bearer …` |
//! | `none` | its address | nothing |
//!
//! Every admitted client may query. Loading and rolling back require a name in `--loader`
//! (`rights`).
//!
//! Health checks are open to everyone, within limits per address ([`Guard::open`]). These limits
//! are separate from those of clients.
//!
//! **Guarantees.** Each request is checked again, also on an open connection: a removed token or a
//! revoked certificate is refused two seconds after the node's files change. If there is nothing
//! left to compare with, all clients are refused, and the node is not ready.

mod metrics;
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
use opaque_ops::admin::Readiness;
use opaque_store::UnixMillis;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;

use self::rights::Loaders;
use self::tokens::Tokens;
use crate::config::{ClientAuth, Config};
use crate::error::NodeError;
use crate::metrics::Metrics;
use crate::reading::Standing;
use crate::shard::replica::ReplicaState;
use crate::tls::{Caller, Limits, Permit, Refusal, Tls, client_at};

pub use self::metrics::Gauges;
pub use self::tokens::TokensError;

/// Interval at which tokens are read again.
const LOOK: Duration = Duration::from_secs(2);

/// Concurrent requests that need no authentication, such as health checks. They do not count as
/// requests of clients.
const OPEN: usize = 256;
/// Concurrent requests without authentication from one address.
const OPEN_OF_ONE: usize = 16;

/// Decides which requests are admitted.
#[derive(Debug)]
pub struct Access {
    mode: Mode,
    loaders: Loaders,
    limits: Limits,
    /// Limits for requests without authentication.
    open: Limits,
}

#[derive(Debug)]
enum Mode {
    Mtls(Arc<Tls>),
    Token(Tokens),
    None,
}

impl Access {
    /// The access control that the settings describe. Tokens or certificates may still be missing.
    ///
    /// # Errors
    /// Mode `token` has no directory.
    pub fn open(config: &Config, tls: &Arc<Tls>) -> Result<Arc<Self>, TokensError> {
        let mode = match (config.client_auth, &config.tokens_dir) {
            (ClientAuth::Mtls, _) => Mode::Mtls(Arc::clone(tls)),
            (ClientAuth::Token, Some(dir)) => {
                Mode::Token(Tokens::open(dir.clone(), Instant::now()))
            }
            // The configuration requires the directory. Without one, no client could have a token.
            (ClientAuth::Token, None) => return Err(TokensError::NoDirectory),
            (ClientAuth::None, _) => Mode::None,
        };
        let (all, each) = (config.requests as usize, config.client_concurrency() as usize);
        let limits = Limits::new(all, each, config.client_rate);
        let loaders = Loaders::new(&config.loaders);
        Ok(Arc::new(Self { mode, loaders, limits, open: open_limits() }))
    }

    /// Reads tokens again when they change, and tells `readiness` and `state` while all clients are
    /// refused. Never ends. [`Tls::follow`] reads certificates.
    pub async fn follow(self: Arc<Self>, readiness: Readiness, state: Arc<ReplicaState>) {
        let reading = async {
            let mut tick = tokio::time::interval(LOOK);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let this = Arc::clone(&self);
                let look = move || {
                    if let Mode::Token(tokens) = &this.mode {
                        tokens.look(Instant::now());
                    }
                };
                // A panic is a bug in this file, and was reported. The next reading may succeed.
                let _ = tokio::task::spawn_blocking(look).await;
            }
        };
        // A separate future, since reading may hang.
        let telling = async {
            let mut tick = tokio::time::interval(LOOK);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                self.tell(&readiness, &state);
            }
        };
        tokio::join!(reading, telling);
    }

    /// Reports whether clients are admitted at all.
    pub fn tell(&self, readiness: &Readiness, state: &ReplicaState) {
        let closed = self.standing(Instant::now(), UnixMillis::now()).closed;
        match &closed {
            None => readiness.ready(),
            Some(reason) => readiness.not_ready(reason.as_str()),
        }
        state.closed(closed);
    }

    /// State of the data that authenticates clients.
    pub fn standing(&self, now: Instant, clock: UnixMillis) -> Standing {
        match &self.mode {
            Mode::None => Standing::default(),
            Mode::Mtls(tls) => tls.standing(now, clock),
            Mode::Token(tokens) => tokens.standing(now),
        }
    }

    /// The client at the other end of a connection, according to its certificate or its address.
    pub fn client(&self, caller: &Caller) -> Arc<str> {
        let named = match (&self.mode, caller.presented.as_deref()) {
            (Mode::Mtls(tls), Some(presented)) => {
                tls.client(presented, Instant::now()).ok().and_then(|leaf| principal(&leaf))
            }
            _ => None,
        };
        named.unwrap_or_else(|| client_at(caller.address.ip()))
    }

    /// Like [`admit`](Self::admit), for requests without authentication. They do not count towards
    /// the limits of clients.
    fn admit_anyone<T>(&self, request: &Request<T>) -> Result<Permit, NodeError> {
        place(&self.open, &address(request))
    }

    /// Admits a request, or returns why it is refused.
    fn admit<T>(&self, request: &Request<T>) -> Result<Permit, NodeError> {
        let call = request.uri().path();
        let principal = match &self.mode {
            Mode::None => {
                self.loaders.check(call, None)?;
                return place(&self.limits, &address(request));
            }
            Mode::Mtls(tls) => {
                let caller = request.extensions().get::<Caller>();
                let presented = caller.and_then(|caller| caller.presented.as_deref());
                let presented = presented.ok_or_else(|| {
                    if let Some(caller) = caller.filter(|caller| !caller.asked)
                        && tls.material().asks_clients()
                    {
                        // Only a new connection can present a certificate.
                        caller.hangup.hang_up();
                    }
                    NodeError::Unauthenticated("this cluster requires a client certificate")
                })?;
                let leaf = tls.client(presented, Instant::now()).map_err(|error| {
                    tracing::debug!(%error, "client refused");
                    NodeError::Unauthenticated("the client certificate is no longer valid")
                })?;
                principal(&leaf)
                    .ok_or(NodeError::Unauthenticated("the client certificate contains no name"))?
            }
            Mode::Token(tokens) => {
                let header = request.headers().get(AUTHORIZATION);
                let token = header
                    .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
                    .ok_or(NodeError::Unauthenticated("this cluster requires a token"))?;
                tokens.principal(token, Instant::now()).map_err(NodeError::Unauthenticated)?
            }
        };
        self.loaders.check(call, Some(&principal))?;
        place(&self.limits, &principal)
    }
}

fn open_limits() -> Limits {
    Limits::new(OPEN, OPEN_OF_ONE, 0)
}

/// A permit for a request of `client`. It lasts until the answer has been sent.
fn place(limits: &Limits, client: &Arc<str>) -> Result<Permit, NodeError> {
    limits.take(client, Instant::now()).map_err(|refusal| match refusal {
        Refusal::Client => NodeError::TooMany(client.to_string()),
        Refusal::All => NodeError::Busy,
    })
}

/// The address from which a request comes, as a client.
fn address<T>(request: &Request<T>) -> Arc<str> {
    let caller = request.extensions().get::<Caller>();
    caller.map_or_else(|| "unknown".into(), |caller| client_at(caller.address.ip()))
}

/// The client that a certificate names.
fn principal(leaf: &Leaf) -> Option<Arc<str>> {
    let names = leaf.uris.first().or(leaf.dns_names.first()).or(leaf.common_name.as_ref());
    names.filter(|name| !name.is_empty()).map(|name| name.as_str().into())
}

/// A service behind an [`Access`].
#[derive(Debug, Clone)]
pub struct Guard<S> {
    inner: S,
    access: Arc<Access>,
    /// Whether callers need no authentication.
    open: bool,
    metrics: Metrics,
}

impl<S> Guard<S> {
    /// Forwards to `inner` what `access` admits.
    pub fn new(inner: S, access: Arc<Access>, metrics: Metrics) -> Self {
        Self { inner, access, open: false, metrics }
    }

    /// Forwards every request that is within the limits of its address.
    pub fn open(inner: S, access: Arc<Access>, metrics: Metrics) -> Self {
        Self { inner, access, open: true, metrics }
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
        let admitted = match self.open {
            true => self.access.admit_anyone(&request),
            false => self.access.admit(&request),
        };
        match admitted {
            Ok(permit) => {
                let answering = self.inner.call(request);
                Box::pin(async move {
                    let answer = answering.await?;
                    Ok(answer.map(|body| Body::new(Held { body, _permit: permit })))
                })
            }
            Err(error) => {
                self.metrics.refused(error.class().1);
                let refusal = Status::from(error).into_http();
                Box::pin(async move { Ok(refusal) })
            }
        }
    }
}

/// An answer that holds its client's permit until it has been sent.
struct Held {
    body: Body,
    _permit: Permit,
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
