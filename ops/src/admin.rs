//! The HTTP endpoints of a server for health and metrics.
//!
//! `GET /livez` answers 200 while the runtime makes progress. `GET /readyz` answers 200, or 503
//! with the reason. `GET /metrics` returns the registry in the OpenMetrics text format. The server
//! uses plain HTTP and serves no secrets; the network policy decides who may connect.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::listen;

/// The content type that Prometheus expects.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether a server is ready to receive work. Clones share one state.
#[derive(Debug, Clone)]
pub struct Readiness {
    own: Arc<Mutex<Option<String>>>,
    /// Another state that must be ready as well.
    also: Option<Arc<Self>>,
}

impl Readiness {
    /// Not ready, with a reason for people.
    pub fn not_yet(reason: impl Into<String>) -> Self {
        Self { own: Arc::new(Mutex::new(Some(reason.into()))), also: None }
    }

    /// A state that is ready if both are. Changes of the result change this state.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let also = match &self.also {
            None => other.clone(),
            Some(also) => also.and(other),
        };
        Self { own: Arc::clone(&self.own), also: Some(Arc::new(also)) }
    }

    /// Sets the state to ready.
    pub fn ready(&self) {
        self.set(None);
    }

    /// Sets the state to not ready.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        self.reason().is_none()
    }

    /// Why it is not ready; `None` if it is ready.
    pub fn reason(&self) -> Option<String> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        own.or_else(|| self.also.as_ref()?.reason())
    }

    fn set(&self, reason: Option<String>) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// A bound listener.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Binds the address without accepting connections yet.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        let failed = |source| AdminError::Bind { address, source };
        let listener = listen(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until the future is dropped, so that a server can report that it drains.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(
        self,
        readiness: Readiness,
        metrics: Arc<Registry>,
    ) -> Result<(), AdminError> {
        let router = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(readyz).with_state(readiness))
            .route("/metrics", get(metrics_text).with_state(Metrics(metrics)));
        axum::serve(self.listener, router).await.map_err(AdminError::Serve)
    }
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    match readiness.reason() {
        None => (StatusCode::OK, "ok\n".into()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

#[derive(Clone)]
struct Metrics(Arc<Registry>);

async fn metrics_text(State(Metrics(registry)): State<Metrics>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(fmt::Error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "a metric cannot be encoded\n").into_response()
        }
    }
}

/// Why health and metrics cannot be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The address cannot be bound.
    #[error("cannot listen on {address} for health and metrics: {source}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("the listener for health and metrics: {0}")]
    Serve(#[source] std::io::Error),
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_server_says_how_it_is() {
        let readiness = Readiness::not_yet("loading generation 3");
        let mut registry = Registry::with_prefix("opaque_test");
        let counter: Counter = Counter::default();
        registry.register("apples", "Apples seen", counter.clone());
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = admin.address();
        let serving = tokio::spawn(admin.serve(readiness.clone(), Arc::new(registry)));

        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let waiting = get(address, "/readyz").await;
        assert!(waiting.starts_with("HTTP/1.1 503"), "{waiting}");
        assert!(waiting.contains("not ready: loading generation 3"), "{waiting}");
        readiness.ready();
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        readiness.not_ready("draining");
        assert!(get(address, "/readyz").await.contains("not ready: draining"));

        counter.inc_by(7);
        let metrics = get(address, "/metrics").await;
        assert!(metrics.contains("application/openmetrics-text; version=1.0.0"), "{metrics}");
        assert!(metrics.contains("opaque_test_apples_total 7"), "{metrics}");
        assert!(metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));
        serving.abort();
    }

    #[test]
    fn two_that_must_both_be_ready() {
        let (life, access) = (Readiness::not_yet("loading"), Readiness::not_yet("no token"));
        let both = life.and(&access);
        assert_eq!(both.reason().as_deref(), Some("loading"));
        life.ready();
        assert_eq!(both.reason().as_deref(), Some("no token"));
        assert!(life.is_ready() && !both.is_ready());
        access.ready();
        assert!(both.is_ready());
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let first = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = Admin::bind(first.address()).await.unwrap_err().to_string();
        assert!(error.contains(&first.address().to_string()), "{error}");
    }
}
