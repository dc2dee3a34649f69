//! Answers that do not wait for ever for whoever reads them.

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::error::NodeError;

/// How a stream ended.
enum End {
    Complete,
    /// The reader has gone.
    Unread,
    /// The reader took nothing for too long.
    Late,
}

/// The items of `stream`, one ahead of the reader. If it takes none for as long as `patience`, `stream` is dropped
/// with whatever it holds, such as memory that others wait for, and an error follows what was made by then.
pub(super) fn paced<T: Send + 'static>(
    stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
    patience: Duration,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(1);
    let driver = tokio::spawn(async move {
        let mut stream = pin!(stream);
        loop {
            let item = tokio::select! {
                item = stream.next() => item,
                () = sender.closed() => return End::Unread,
            };
            let Some(item) = item else { return End::Complete };
            match timeout(patience, sender.send(item)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return End::Unread,
                Err(_) => return End::Late,
            }
        }
    });
    // Whoever has read everything so far learns whether it was all.
    let end = stream::once(driver).filter_map(async |end| match end {
        Ok(End::Complete | End::Unread) => None,
        Ok(End::Late) => Some(Err(NodeError::Deadline("waiting for the reader").into())),
        Err(_) => Some(Err(NodeError::internal("a stream failed").into())),
    });
    ReceiverStream::new(receiver).chain(end)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic::Code;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Numbers that hold something until the last is taken or all are dropped.
    fn numbers(count: u32, held: Arc<()>) -> impl Stream<Item = Result<u32, Status>> {
        stream::iter(0..count).map(move |number| {
            let _held = &held;
            Ok(number)
        })
    }

    async fn until_let_go(held: &Arc<()>) {
        let waiting = async {
            while Arc::strong_count(held) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, waiting).await.unwrap();
    }

    #[tokio::test]
    async fn a_reader_gets_everything_in_order() {
        let held = Arc::new(());
        let read: Vec<_> = paced(numbers(100, Arc::clone(&held)), LONG).collect().await;
        assert_eq!(
            read.into_iter().collect::<Result<Vec<_>, _>>().unwrap(),
            Vec::from_iter(0..100)
        );
        until_let_go(&held).await;
        let failing = stream::iter([Ok(1), Err(Status::not_found("it"))]);
        let read: Vec<_> = paced(failing, LONG).collect().await;
        assert!(matches!(&read[..], [Ok(1), Err(status)] if status.code() == Code::NotFound));
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_keeps_nothing_and_is_told() {
        let held = Arc::new(());
        let mut read = pin!(paced(numbers(100, Arc::clone(&held)), Duration::from_millis(50)));
        assert_eq!(read.next().await.unwrap().unwrap(), 0);
        until_let_go(&held).await;
        let rest: Vec<_> = read.collect().await;
        let (last, before) = rest.split_last().unwrap();
        assert_eq!(last.as_ref().unwrap_err().code(), Code::DeadlineExceeded);
        assert!(before.len() < 99 && before.iter().all(Result::is_ok), "{before:?}");
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_keeps_nothing() {
        let held = Arc::new(());
        let mut read = Box::pin(paced(numbers(100, Arc::clone(&held)), LONG));
        read.next().await.unwrap().unwrap();
        drop(read);
        until_let_go(&held).await;
        // Also while the next item is still being made.
        let slow = numbers(1, Arc::clone(&held)).chain(stream::pending());
        let mut read = Box::pin(paced(slow, LONG));
        read.next().await.unwrap().unwrap();
        drop(read);
        until_let_go(&held).await;
    }
}
