//! Converts pages to a bucket's bytes, and back.

use thiserror::Error;

use super::Keys;
use crate::params::{LAYOUT_VERSION, MAX_BUCKET_BYTES};
use crate::reader::{ReadError, Reader, write_varint};
use crate::seed::Salt;

/// Bytes of a bucket's header.
pub const HEADER_BYTES: usize = HEAD_BYTES + CHECK_BYTES;

/// Longest row. It fits into the largest bucket as its only row, whatever its number, page and
/// value are. The framing consists of a kind, a page length (at most 3 bytes), total rows, page and
/// row number (5 bytes each, all below 2^32), a row count of one and a row length (3 bytes).
pub const MAX_ROW_BYTES: usize = MAX_BUCKET_BYTES as usize - HEADER_BYTES - (1 + 3 + 3 * 5 + 1 + 3);

/// Version, page count and used length.
const HEAD_BYTES: usize = 5;
const CHECK_BYTES: usize = 8;
/// A page that everyone can read who has its bucket.
const KIND_PLAIN: u8 = 0;

/// Some rows of one value.
#[derive(Clone, PartialEq, Eq)]
pub struct Page {
    /// Number of rows with the value in the whole table.
    pub total_rows: u64,
    /// Number of the page among its value's pages, counted from 0.
    pub page: u32,
    /// Position of each row in the load, with the row's bytes (row codec).
    pub rows: Vec<(u64, Vec<u8>)>,
}

impl std::fmt::Debug for Page {
    /// Omits the rows: the result of a lookup must not appear in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Page(redacted)")
    }
}

/// Encodes a bucket of exactly `bucket_bytes` bytes that holds these pages, not whitened.
///
/// # Errors
/// The pages do not fit, or one is invalid (no rows, more rows than its value has, rows out of load
/// order).
pub fn encode_bucket(
    salt: &Salt,
    column: u32,
    bucket: u32,
    bucket_bytes: usize,
    pages: &[Page],
) -> Result<Vec<u8>, LayoutError> {
    let mut writer = BucketWriter::default();
    for Page { total_rows, page, rows } in pages {
        let ordered = rows.is_sorted_by(|(before, _), (after, _)| before < after);
        if rows.is_empty() || rows.len() as u64 > *total_rows || !ordered {
            return Err(LayoutError::Malformed(ReadError::Invalid("page")));
        }
        let rows = rows.iter().map(|(number, row)| (*number, row.as_slice()));
        writer.page(*total_rows, *page, rows);
    }
    let mut bytes = vec![0; bucket_bytes];
    writer.finish(&Keys::new(salt, column), bucket, &mut bytes)?;
    Ok(bytes)
}

/// Decodes the pages of a bucket's bytes, not whitened. This is the inverse of [`encode_bucket`]
/// and equally strict.
///
/// # Errors
/// Any byte string that [`encode_bucket`] would not have written for this bucket.
pub fn decode_bucket(
    salt: &Salt,
    column: u32,
    bucket: u32,
    plain: &[u8],
) -> Result<Vec<Page>, LayoutError> {
    if plain.len() > MAX_BUCKET_BYTES as usize {
        return Err(LayoutError::Size { bytes: plain.len() });
    }
    let (head, _) = plain.split_at_checked(HEAD_BYTES).ok_or(ReadError::Truncated)?;
    let mut reader = Reader::new(plain);
    let version = reader.u8()?;
    if version != LAYOUT_VERSION {
        return Err(LayoutError::Version { found: version });
    }
    let pages = reader.u16()?;
    let used = reader.u16()?;
    let check = reader.array::<CHECK_BYTES>()?;
    let content = reader.take(usize::from(used))?;
    if Keys::new(salt, column).check(bucket, head, content) != check {
        return Err(LayoutError::Check);
    }
    if reader.take(reader.remaining())?.iter().any(|byte| *byte != 0) {
        return Err(LayoutError::Tail);
    }
    let mut reader = Reader::new(content);
    let pages = (0..pages).map(|_| read_page(&mut reader)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(pages)
}

fn read_page(reader: &mut Reader<'_>) -> Result<Page, LayoutError> {
    let kind = reader.u8()?;
    if kind != KIND_PLAIN {
        return Err(LayoutError::Kind { found: kind });
    }
    let length = read_length(reader)?;
    let mut reader = Reader::new(reader.take(length)?);
    let total_rows = reader.varint()?;
    let page = u32::try_from(reader.varint()?).map_err(|_| ReadError::Invalid("page number"))?;
    let count = reader.varint()?;
    // A row has at least two bytes, so a false count cannot reserve much memory.
    if count == 0 || count > total_rows || count > reader.remaining() as u64 / 2 {
        return Err(ReadError::Invalid("row count").into());
    }
    let mut rows: Vec<(u64, Vec<u8>)> = Vec::new();
    for _ in 0..count {
        let number = reader.varint()?;
        if rows.last().is_some_and(|(before, _)| *before >= number) {
            return Err(ReadError::Invalid("row number").into());
        }
        let length = read_length(&mut reader)?;
        rows.push((number, reader.take(length)?.to_vec()));
    }
    reader.finish()?;
    Ok(Page { total_rows, page, rows })
}

fn read_length(reader: &mut Reader<'_>) -> Result<usize, ReadError> {
    usize::try_from(reader.varint()?).map_err(|_| ReadError::Invalid("length"))
}

/// Collects the pages of one bucket. It can be reused after [`BucketWriter::finish`].
#[derive(Default)]
pub(crate) struct BucketWriter {
    pages: usize,
    content: Vec<u8>,
    page: Vec<u8>,
}

impl BucketWriter {
    /// Adds a page. There is at least one row, and the rows are in load order.
    pub(crate) fn page<'a>(
        &mut self,
        total_rows: u64,
        page: u32,
        rows: impl ExactSizeIterator<Item = (u64, &'a [u8])>,
    ) {
        self.pages += 1;
        self.page.clear();
        write_varint(&mut self.page, total_rows);
        write_varint(&mut self.page, u64::from(page));
        write_varint(&mut self.page, rows.len() as u64);
        for (number, row) in rows {
            write_varint(&mut self.page, number);
            write_varint(&mut self.page, row.len() as u64);
            self.page.extend_from_slice(row);
        }
        self.content.push(KIND_PLAIN);
        write_varint(&mut self.content, self.page.len() as u64);
        self.content.extend_from_slice(&self.page);
    }

    /// Fills all of `out`, a bucket of R bytes, and starts again.
    pub(crate) fn finish(
        &mut self,
        keys: &Keys,
        bucket: u32,
        out: &mut [u8],
    ) -> Result<(), LayoutError> {
        let pages = std::mem::take(&mut self.pages);
        let content = std::mem::take(&mut self.content);
        let bytes = out.len();
        let overflow = LayoutError::Overflow { bytes: HEADER_BYTES + content.len(), limit: bytes };
        if bytes > MAX_BUCKET_BYTES as usize {
            return Err(LayoutError::Size { bytes });
        }
        let (Ok(pages), Ok(used)) = (u16::try_from(pages), u16::try_from(content.len())) else {
            return Err(overflow);
        };
        let Some((head, rest)) = out.split_first_chunk_mut::<HEAD_BYTES>() else {
            return Err(overflow);
        };
        let Some((check, rest)) = rest.split_first_chunk_mut::<CHECK_BYTES>() else {
            return Err(overflow);
        };
        let Some((body, tail)) = rest.split_at_mut_checked(content.len()) else {
            return Err(overflow);
        };
        let ([pages_low, pages_high], [used_low, used_high]) =
            (pages.to_le_bytes(), used.to_le_bytes());
        *head = [LAYOUT_VERSION, pages_low, pages_high, used_low, used_high];
        *check = keys.check(bucket, head, &content);
        body.copy_from_slice(&content);
        tail.fill(0);
        self.content = content;
        self.content.clear();
        Ok(())
    }
}

/// Bytes of a row inside a page.
pub(crate) fn framed_row_bytes(number: u64, row_bytes: usize) -> u64 {
    varint_bytes(number) + varint_bytes(row_bytes as u64) + row_bytes as u64
}

/// Bytes of a page of `rows` rows that take `framed` bytes in total ([`framed_row_bytes`]).
pub(crate) fn page_bytes(total_rows: u64, page: u32, rows: u64, framed: u64) -> u64 {
    let length =
        varint_bytes(total_rows) + varint_bytes(u64::from(page)) + varint_bytes(rows) + framed;
    1 + varint_bytes(length) + length
}

fn varint_bytes(number: u64) -> u64 {
    u64::from((u64::BITS - number.leading_zeros()).div_ceil(7).max(1))
}

/// Why bytes are not a bucket, or pages do not fit into one. It contains no byte of the content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The pages are larger than the bucket.
    #[error("the pages of a bucket take {bytes} bytes, above its {limit}")]
    Overflow {
        /// Bytes of the pages with the header.
        bytes: usize,
        /// R.
        limit: usize,
    },
    /// The bucket has more bytes than any geometry allows.
    #[error("a bucket has at most {MAX_BUCKET_BYTES} bytes, not {bytes}")]
    Size {
        /// Bytes given.
        bytes: usize,
    },
    /// The bucket has another layout version, or was decrypted wrongly.
    #[error("layout version mismatch: expected {LAYOUT_VERSION}, found {found}")]
    Version {
        /// The version read.
        found: u8,
    },
    /// The content is not what the publisher wrote into this bucket.
    #[error("the checksum of a bucket does not match")]
    Check,
    /// The unused end of the bucket is not zero.
    #[error("a bucket's unused bytes are not zero")]
    Tail,
    /// The kind of page is unknown to this version.
    #[error("a page of kind {found} is not readable by this program")]
    Kind {
        /// The kind read.
        found: u8,
    },
    /// The pages are not in the form that the encoder writes.
    #[error("malformed bucket: {0}")]
    Malformed(#[from] ReadError),
}
