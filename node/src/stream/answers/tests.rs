//! Readers that read, stop, drip, and disconnect.

use futures::stream;
use http_body::Body as _;
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;
use crate::support::until;

const PACE: Pace = Pace {
    silence: Duration::from_secs(60),
    grace: Duration::from_secs(60),
    bytes_per_second: 16 << 10,
};
const SOON: Duration = Duration::from_millis(20);
/// Like [`PACE`], with times that a test can wait for.
const BRISK: Pace = Pace { silence: SOON, grace: SOON, bytes_per_second: 10 << 20 };

/// A body that holds the permit of `memory`.
fn answer(body: Body, pace: Pace, memory: &Arc<Semaphore>, hangup: &Hangup) -> Answer {
    let permit = Arc::clone(memory).try_acquire_owned().unwrap();
    let memory = Some(Memory(Arc::new(permit)));
    Answer::new(body, memory, pace, hangup.clone(), Metrics::default())
}

/// A body of `count` MiB.
fn mib(count: usize) -> Body {
    Body::new(Frames(vec![Bytes::from(vec![0; count << 20])].into_iter()))
}

/// The frame that a reader gets when it polls once.
async fn ask(answer: &mut Answer) -> Option<Frame<Bytes>> {
    let next = std::future::poll_fn(|context| Pin::new(&mut *answer).poll_frame(context)).await;
    next.map(Result::unwrap)
}

fn hung_up(hangup: &Hangup) -> bool {
    format!("{hangup:?}").contains("true")
}

struct Frames(std::vec::IntoIter<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
    }
}

#[tokio::test]
async fn a_reader_gets_everything_in_small_frames() {
    let (memory, hangup) = (Arc::new(Semaphore::new(1)), Hangup::default());
    let whole: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    let frames = vec![Bytes::from(whole.clone()), Bytes::from_static(b"end")];
    let body = Body::new(Frames(frames.into_iter()));
    let mut answer = answer(body, PACE, &memory, &hangup);
    let mut read = Vec::new();
    while let Some(frame) = ask(&mut answer).await {
        let data = frame.into_data().unwrap();
        assert!(data.len() <= FRAME);
        read.extend_from_slice(&data);
    }
    assert_eq!(read, [whole, b"end".to_vec()].concat());
    drop(answer);
    until("an answer that is over holds no memory", async || memory.available_permits() == 1).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_keeps_nothing_and_gets_an_error() {
    let (memory, hangup) = (Arc::new(Semaphore::new(1)), Hangup::default());
    let mut unread = answer(mib(1), BRISK, &memory, &hangup);
    assert!(ask(&mut unread).await.unwrap().is_data());
    until("an unread answer holds no memory", async || memory.available_permits() == 1).await;
    let trailers = ask(&mut unread).await.unwrap().into_trailers().unwrap();
    let status = Status::from_header_map(&trailers).unwrap();
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    assert!(ask(&mut unread).await.is_none() && unread.is_end_stream());
}

#[tokio::test]
async fn a_reader_that_does_not_come_back_is_cut_off() {
    let (memory, hangup) = (Arc::new(Semaphore::new(1)), Hangup::default());
    let mut unread = answer(mib(1), BRISK, &memory, &hangup);
    ask(&mut unread).await;
    until("the stream ends", async || hung_up(&hangup)).await;
    assert_eq!(memory.available_permits(), 1);
}

#[tokio::test]
async fn a_reader_that_drips_ends_though_it_is_never_silent_for_long() {
    let (memory, hangup) = (Arc::new(Semaphore::new(1)), Hangup::default());
    let mut drip = answer(mib(64), Pace { silence: PACE.silence, ..BRISK }, &memory, &hangup);
    let mut taken = 0;
    while memory.available_permits() == 0 {
        assert!(ask(&mut drip).await.is_some_and(|frame| frame.is_data() || frame.is_trailers()));
        taken += 1;
        sleep(Duration::from_millis(5)).await;
    }
    assert!(taken < 64 << 6, "it took everything, in {taken} frames");
}

#[tokio::test]
async fn time_in_which_the_node_makes_the_answer_is_not_the_readers() {
    let (memory, hangup) = (Arc::new(Semaphore::new(1)), Hangup::default());
    let slow = Body::new(Slow(Box::pin(stream::pending())));
    let mut answer = answer(slow, BRISK, &memory, &hangup);
    assert!(timeout(10 * SOON, ask(&mut answer)).await.is_err());
    assert_eq!(memory.available_permits(), 0);
    assert!(!hung_up(&hangup));
    drop(answer);
    until("an answer that is over holds no memory", async || memory.available_permits() == 1).await;
}

struct Slow(Pin<Box<dyn futures::Stream<Item = Result<Bytes, Status>> + Send>>);

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.as_mut().poll_next(context).map(|next| next.map(|data| data.map(Frame::data)))
    }
}

/// Answers every request with many empty messages, as long as a permit is free.
#[derive(Clone)]
struct Large(Arc<Semaphore>);

impl NamedService for Large {
    const NAME: &'static str = "opaque.v1.Query";
}

impl Service<Request<Body>> for Large {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else {
            return std::future::ready(Ok(Status::resource_exhausted("").into_http()));
        };
        let answer = Response::builder().header("content-type", "application/grpc");
        let mut answer = answer.body(mib(64)).unwrap();
        answer.extensions_mut().insert(Memory(Arc::new(permit)));
        std::future::ready(Ok(answer))
    }
}

/// Over HTTP/2: data in the reader's window and buffers does not show that it reads.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_no_caller_reads_gives_its_memory_back() {
    let memory = Arc::new(Semaphore::new(1));
    let pace = Pace { silence: 10 * SOON, ..PACE };
    let paced = Paced { inner: Large(Arc::clone(&memory)), pace, metrics: Metrics::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(paced);
    tokio::spawn(server.serve_with_incoming(connections));
    let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect_lazy();
    let mut client = opaque_proto::v1::query_client::QueryClient::new(channel);
    let mut unread = client.scan(opaque_proto::v1::ScanRequest::default()).await.unwrap();
    assert_eq!(memory.available_permits(), 0);
    let refused = client.scan(opaque_proto::v1::ScanRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    until("an unread answer holds no memory", async || memory.available_permits() == 1).await;
    // The rest was in transit, followed by an error that shows that the answer is incomplete.
    let end = loop {
        match unread.get_mut().message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a part passes for the whole"),
            Err(end) => break end,
        }
    };
    assert!(matches!(end.code(), tonic::Code::DeadlineExceeded | tonic::Code::Internal), "{end}");
}

proptest! {
    /// However a reader reads, its answer is dropped after a minute of silence or below the rate,
    /// and only then.
    #[test]
    fn a_reader_has_its_minute_and_its_rate(
        steps in prop::collection::vec((1..=FRAME, 0..80_000u64), 1..200),
    ) {
        let mut reader = Reader::new(PACE);
        let (mut now, mut bytes) = (Instant::now(), 0);
        let began = now;
        for (handed, millis) in steps {
            reader.has(handed, now);
            bytes += handed as u64;
            let deadline = reader.deadline().unwrap();
            now += Duration::from_millis(millis);
            let (all, pause) = (now - began, Duration::from_millis(millis));
            let slow = pause > PACE.silence || all > PACE.allows(bytes);
            prop_assert_eq!(deadline < now, slow, "{:?} for {} bytes", all, bytes);
            if slow {
                break;
            }
            reader.asks(now);
            prop_assert_eq!(reader.deadline(), None);
        }
    }
}
