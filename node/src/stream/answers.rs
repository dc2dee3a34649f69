//! Answers that end although their reader does not read them.
//!
//! **Flow.** Every answer of both ports passes [`Paced`], in frames of 16 KiB. HTTP/2 asks for the
//! next frame when its flow control has let the last one go, so that asking means reading. While the
//! node itself has nothing to send, no time counts.
//!
//! **Guarantees.** A reader that takes nothing for a minute, or less than 16 KiB a second over the
//! whole, is given up: what the answer holds is dropped (`holding`), and the stream ends with
//! `DEADLINE_EXCEEDED` once it is read on. If it is not, its connection is closed after another
//! minute: nothing else ends a stream whose reader does not read.
//!
//! **Limits.** A frame that HTTP/2 has taken, and what a message in progress needs, are outside of
//! the memory permits: 0.5 MiB for each answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::server::NamedService;

use crate::error::NodeError;
use crate::metrics::{Closed, Metrics};
use crate::stream::pace::Pace;
use crate::tls::{Caller, Hangup};

/// Bytes that are handed over at a time: HTTP/2's usual frame.
const FRAME: usize = 16 << 10;

/// Memory that an answer holds until it is sent or given up.
#[derive(Debug, Clone)]
struct Memory(#[expect(dead_code, reason = "held")] Arc<OwnedSemaphorePermit>);

/// `response`, which holds `memory` until it is sent or given up.
pub(crate) fn holding<T>(
    mut response: tonic::Response<T>,
    memory: OwnedSemaphorePermit,
) -> tonic::Response<T> {
    response.extensions_mut().insert(Memory(Arc::new(memory)));
    response
}

/// A service whose answers end; see the module.
#[derive(Debug, Clone)]
pub struct Paced<S> {
    inner: S,
    pace: Pace,
    metrics: Metrics,
}

impl<S> Paced<S> {
    /// Answers as `inner` does, to readers that read.
    pub fn new(inner: S, metrics: Metrics) -> Self {
        Self { inner, pace: Pace::STREAM, metrics }
    }
}

impl<S: NamedService> NamedService for Paced<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Paced<S>
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
        let caller = request.extensions().get::<Caller>();
        let hangup = caller.map(|caller| caller.hangup.clone()).unwrap_or_default();
        let (pace, metrics) = (self.pace, self.metrics.clone());
        let answering = self.inner.call(request);
        Box::pin(async move {
            let mut answer = answering.await?;
            let memory = answer.extensions_mut().remove::<Memory>();
            Ok(answer.map(|body| match body.is_end_stream() {
                true => body,
                false => Body::new(Answer::new(body, memory, pace, hangup, metrics)),
            }))
        })
    }
}

/// How long a reader has kept an answer waiting.
#[derive(Debug)]
struct Reader {
    pace: Pace,
    /// Since when it has what it was handed last; none while the node has to go on.
    since: Option<Instant>,
    /// How long it kept everything before that.
    waited: Duration,
    /// Bytes that it was handed.
    bytes: u64,
}

impl Reader {
    fn new(pace: Pace) -> Self {
        Self { pace, since: None, waited: Duration::ZERO, bytes: 0 }
    }

    /// It is handed bytes.
    fn has(&mut self, bytes: usize, now: Instant) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.since = Some(now);
    }

    /// It has taken them, and asks for more.
    fn asks(&mut self, now: Instant) {
        let since = self.since.take().unwrap_or(now);
        self.waited = self.waited.saturating_add(now.saturating_duration_since(since));
    }

    /// When it is given up if it does not ask; none while the node has to go on.
    fn deadline(&self) -> Option<Instant> {
        let left = self.pace.allows(self.bytes).saturating_sub(self.waited);
        self.since.map(|since| since + left.min(self.pace.silence))
    }
}

/// An answer's body.
struct Answer {
    state: Arc<Mutex<State>>,
    watching: AbortHandle,
}

struct State {
    reader: Reader,
    /// None once it was given up.
    source: Option<Source>,
    /// Whether the reader has been told so.
    told: bool,
}

struct Source {
    body: Body,
    /// What was made and not handed over yet.
    rest: Bytes,
    _memory: Option<Memory>,
}

impl Answer {
    fn new(
        body: Body,
        memory: Option<Memory>,
        pace: Pace,
        hangup: Hangup,
        metrics: Metrics,
    ) -> Self {
        let source = Some(Source { body, rest: Bytes::new(), _memory: memory });
        let state = State { reader: Reader::new(pace), source, told: false };
        let state = Arc::new(Mutex::new(state));
        let watching = watch(Arc::clone(&state), pace.silence, hangup, metrics);
        Self { state, watching: tokio::spawn(watching).abort_handle() }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.watching.abort();
        // Now, not when the task has ended.
        let source = lock(&self.state).source.take();
        drop(source);
    }
}

/// Gives an answer up when its reader is late, and then the connection. Ends with the answer.
async fn watch(state: Arc<Mutex<State>>, silence: Duration, hangup: Hangup, metrics: Metrics) {
    let given_up = loop {
        let until = {
            // Held until the source is taken: a reader that asks meanwhile is not late.
            let mut state = lock(&state);
            let now = Instant::now();
            match state.reader.deadline() {
                Some(deadline) if deadline <= now => break state.source.take(),
                // A reader that is handed something meanwhile has at least so long.
                deadline => deadline.unwrap_or(now + silence),
            }
        };
        sleep_until(until).await;
    };
    // Dropped without the lock.
    drop(given_up);
    metrics.unread();
    sleep(silence).await;
    metrics.closed(Closed::Unread);
    hangup.hang_up();
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut state = lock(&self.state);
        let State { reader, source, told } = &mut *state;
        reader.asks(Instant::now());
        let Some(source) = source else {
            let late = (!std::mem::replace(told, true)).then(|| Ok(Frame::trailers(late())));
            return Poll::Ready(late);
        };
        if source.rest.is_empty() {
            match Pin::new(&mut source.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => source.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        let frame = source.rest.split_to(source.rest.len().min(FRAME));
        reader.has(frame.len(), Instant::now());
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.state);
        let ends = |source: &Source| source.rest.is_empty() && source.body.is_end_stream();
        state.source.as_ref().map_or(state.told, ends)
    }
}

/// The end of an answer that was given up.
fn late() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let status = Status::from(NodeError::Deadline("waiting for the reader"));
    // An error means that the message is no header, which a constant one is.
    let _ = status.add_header(&mut trailers);
    trailers
}

#[cfg(test)]
mod tests;
