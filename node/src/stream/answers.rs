//! Answers that end even if their reader does not read them.
//!
//! **Flow.** Every answer of both ports passes through [`Paced`], in frames of 16 KiB. HTTP/2 polls
//! for the next frame when its flow control has released the last one, so polling means that the
//! other side reads. Time in which the node itself has nothing to send does not count.
//!
//! **Guarantees.** If a reader takes nothing for a minute, or on average less than 16 KiB per
//! second, its answer is dropped with the memory that it holds (`holding`). The stream ends with
//! `DEADLINE_EXCEEDED` once the reader continues. If the reader does not continue, its connection
//! is closed after another minute, since nothing else ends a stream whose reader does not read.
//!
//! **Limits.** A frame that HTTP/2 has taken, and the memory of a message in progress, are not
//! covered by the memory permits: 0.5 MiB for each answer.

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

/// Size of a frame: HTTP/2's default.
const FRAME: usize = 16 << 10;

/// Memory that an answer holds until it is sent or dropped.
#[derive(Debug, Clone)]
struct Memory(#[expect(dead_code, reason = "held")] Arc<OwnedSemaphorePermit>);

/// Makes `response` hold `memory` until it is sent or dropped.
pub(crate) fn holding<T>(
    mut response: tonic::Response<T>,
    memory: OwnedSemaphorePermit,
) -> tonic::Response<T> {
    response.extensions_mut().insert(Memory(Arc::new(memory)));
    response
}

/// A service whose answers end. See the module's documentation.
#[derive(Debug, Clone)]
pub struct Paced<S> {
    inner: S,
    pace: Pace,
    metrics: Metrics,
}

impl<S> Paced<S> {
    /// Returns the answers of `inner`, and drops those that are not read.
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
    /// When the reader was handed the last frame; `None` while it waits for the node.
    since: Option<Instant>,
    /// Total time for which the reader kept earlier frames waiting.
    waited: Duration,
    /// Bytes that the reader was handed.
    bytes: u64,
}

impl Reader {
    fn new(pace: Pace) -> Self {
        Self { pace, since: None, waited: Duration::ZERO, bytes: 0 }
    }

    /// The reader is handed bytes.
    fn has(&mut self, bytes: usize, now: Instant) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.since = Some(now);
    }

    /// The reader has taken the bytes and polls for more.
    fn asks(&mut self, now: Instant) {
        let since = self.since.take().unwrap_or(now);
        self.waited = self.waited.saturating_add(now.saturating_duration_since(since));
    }

    /// When the answer is dropped if the reader does not poll; `None` while it waits for the node.
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
    /// `None` after the answer was dropped.
    source: Option<Source>,
    /// Whether the reader has received the error.
    told: bool,
}

struct Source {
    body: Body,
    /// Bytes that were produced but not handed over yet.
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
        // Drop the source now, without waiting for the task to end.
        let source = lock(&self.state).source.take();
        drop(source);
    }
}

/// Drops an answer if its reader is late, and later closes the connection. Ends with the answer.
async fn watch(state: Arc<Mutex<State>>, silence: Duration, hangup: Hangup, metrics: Metrics) {
    let given_up = loop {
        let until = {
            // Held until the source is taken, so that a reader that polls now is not late.
            let mut state = lock(&state);
            let now = Instant::now();
            match state.reader.deadline() {
                Some(deadline) if deadline <= now => break state.source.take(),
                // If the reader is handed a frame from now on, it has at least this long.
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

/// The end of an answer that was dropped.
fn late() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let status = Status::from(NodeError::Deadline("waiting for the reader"));
    // An error would mean that the message is not a valid header. It is a valid constant.
    let _ = status.add_header(&mut trailers);
    trailers
}

#[cfg(test)]
mod tests;
