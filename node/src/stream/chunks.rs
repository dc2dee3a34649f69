//! Large byte strings on gRPC streams: cut when sent, bounded when received.

use bytes::{Bytes, BytesMut};

use crate::error::NodeError;

/// Bytes per message, well below gRPC's default limit of 4 MiB.
const CHUNK: usize = 512 << 10;

/// Cuts `body` into messages without copying.
pub(crate) fn cut(mut body: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!body.is_empty()).then(|| body.split_to(body.len().min(CHUNK))))
}

/// Reassembles chunks up to a size that was announced.
#[derive(Debug)]
pub(crate) struct Collector {
    total: usize,
    received: BytesMut,
}

impl Collector {
    /// Expects exactly `total` bytes. The caller has checked that there is memory for them.
    pub(crate) fn new(total: usize) -> Self {
        Self { total, received: BytesMut::with_capacity(total) }
    }

    /// Takes one chunk.
    ///
    /// # Errors
    /// More bytes arrived than were announced.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), NodeError> {
        if self.received.len() + chunk.len() > self.total {
            return Err(self.wrong_size(self.received.len() + chunk.len()));
        }
        self.received.extend_from_slice(chunk);
        Ok(())
    }

    /// Whether all bytes have arrived.
    pub(crate) fn is_full(&self) -> bool {
        self.received.len() == self.total
    }

    /// The complete bytes.
    ///
    /// # Errors
    /// Fewer bytes arrived than were announced.
    pub(crate) fn finish(self) -> Result<Bytes, NodeError> {
        if self.received.len() == self.total {
            Ok(self.received.freeze())
        } else {
            Err(self.wrong_size(self.received.len()))
        }
    }

    fn wrong_size(&self, found: usize) -> NodeError {
        NodeError::Malformed(format!("{} bytes were announced, {found} sent", self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_collected() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let body: Bytes = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut collector = Collector::new(length);
            for chunk in cut(body.clone()) {
                assert!(!chunk.is_empty() && chunk.len() <= CHUNK);
                collector.push(&chunk).unwrap();
            }
            assert_eq!(collector.finish().unwrap(), body);
        }
    }

    #[test]
    fn too_few_and_too_many_bytes_are_refused() {
        let mut collector = Collector::new(3);
        collector.push(b"ab").unwrap();
        assert!(collector.push(b"cd").is_err());
        let mut collector = Collector::new(3);
        collector.push(b"ab").unwrap();
        assert!(collector.finish().is_err());
    }
}
