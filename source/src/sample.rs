//! The beginning of a file, read ahead.

use std::io::{self, Cursor, Read};

use crate::input::Bytes;

/// Bytes that are read ahead to detect a format or a dialect.
pub(crate) const SAMPLE_BYTES: usize = 64 << 10;

/// The beginning of a file.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// At most [`SAMPLE_BYTES`] bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether the file ends with these bytes.
    pub(crate) is_whole: bool,
}

/// Reads the beginning of a file. Returns it together with a reader of all bytes. An error of
/// `source` is returned by that reader, at its place.
pub(crate) fn sample(mut source: Bytes) -> (Sample, Bytes) {
    let mut bytes = Vec::new();
    let read = source.by_ref().take(SAMPLE_BYTES as u64).read_to_end(&mut bytes);
    let is_whole = read.as_ref().is_ok_and(|length| *length < SAMPLE_BYTES);
    let rest = Rest { error: read.err(), source };
    let all = Cursor::new(bytes.clone()).chain(rest);
    (Sample { bytes, is_whole }, Box::new(all))
}

/// The bytes after the sample. Sources may end normally after they have returned an error, so the
/// error is kept.
struct Rest {
    error: Option<io::Error>,
    source: Bytes,
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.source.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends normally after its only error.
    struct Broken(bool);

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            if std::mem::take(&mut self.0) { Err(io::Error::other("gone")) } else { Ok(0) }
        }
    }

    #[test]
    fn all_bytes_and_errors_come_after_the_sample() {
        for length in [0, 5, SAMPLE_BYTES - 1, SAMPLE_BYTES, SAMPLE_BYTES + 9] {
            let (taken, mut all) = sample(Box::new(Cursor::new(vec![7; length])));
            assert_eq!(
                (taken.bytes.len(), taken.is_whole),
                (length.min(SAMPLE_BYTES), length < SAMPLE_BYTES)
            );
            let mut bytes = Vec::new();
            all.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, vec![7; length]);
        }
        let (taken, mut all) = sample(Box::new((&b"ab"[..]).chain(Broken(true))));
        assert_eq!((&taken.bytes[..], taken.is_whole), (&b"ab"[..], false));
        let mut bytes = Vec::new();
        assert_eq!(all.read_to_end(&mut bytes).unwrap_err().to_string(), "gone");
        assert_eq!(bytes, b"ab");
    }
}
