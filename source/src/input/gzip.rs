//! Reads gzip files with one or several members.

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::GzDecoder;

/// Reads the members of a gzip file one after another. Like gzip, it accepts zeros after the last
/// member as padding, which tapes and some file systems add. Other bytes there are an error.
pub(super) struct Members<R> {
    /// `None` after the last member.
    decoder: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(source: R) -> Self {
        Self { decoder: Some(GzDecoder::new(source)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let length = decoder.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            if let Some(mut source) = self.decoder.take().map(GzDecoder::into_inner)
                && is_another(&mut source)?
            {
                self.decoder = Some(GzDecoder::new(source));
            }
        }
        Ok(0)
    }
}

/// Whether another member follows.
fn is_another(source: &mut impl BufRead) -> io::Result<bool> {
    let mut is_padded = false;
    loop {
        let bytes = source.fill_buf()?;
        match bytes.iter().position(|byte| *byte != 0) {
            _ if bytes.is_empty() => return Ok(false),
            // The first byte of a member.
            Some(0) if !is_padded && bytes.first() == Some(&0x1f) => return Ok(true),
            None => {
                let length = bytes.len();
                source.consume(length);
                is_padded = true;
            }
            Some(_) => {
                let text = "bytes that are not gzip follow the compressed data: is the file damaged, or two of them in one?";
                return Err(io::Error::new(ErrorKind::InvalidData, text));
            }
        }
    }
}
