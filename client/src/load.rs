//! Loads a table: first reads and checks every row, then sends all rows and the commit.
//!
//! **Flow.** [`RowsBuilder::read`] encodes whole files in memory, so that an error on the last line
//! is found before anything is sent. [`Client::load`] streams schema, batches and commit to
//! one node and returns the cluster's answer. A stream that breaks before its commit publishes
//! nothing. A stream that breaks after its commit may still be published, so the client does not
//! repeat it.

use std::{fmt, fs, path::Path};

use bytes::Bytes;
use opaque_pir::{
    cost::Link,
    index::{TableFigures, table_figures},
    seed::Salt,
    table::{RowError, Schema, Value, encode_row},
};
use opaque_proto::v1::{
    LoadCommit, LoadHeader, LoadRequest, LoadResponse, LoadStage, Loaded, RowBatch, load_request,
    load_response,
};
use opaque_source::{Bent, Encoded, Reader};
use tokio::time::timeout;
use tonic::Status;

use crate::{
    client::{Client, Event, OnEvent},
    ddl,
    description::Table,
    error::Error,
    session::{CallError, NodeClient},
};

/// Target size of the rows in one message.
const BATCH_BYTES: usize = 256 << 10;

/// Checked and encoded rows of one table, ready to send.
pub struct Rows {
    schema: Schema,
    link: Link,
    batches: Vec<RowBatch>,
    rows: u64,
    bytes: u64,
    longest: Longest,
    files: Vec<String>,
    bent: Option<Bent>,
}

/// The longest row so far.
#[derive(Clone, Copy, Default)]
struct Longest {
    bytes: usize,
    /// The number of the file, and the line on which the row begins.
    place: Option<(usize, u64)>,
}

/// Where a row begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, if the rows come from several.
    pub file: Option<String>,
    /// The line, counted from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line } = self;
        match file {
            Some(file) => write!(f, "line {line} of {file}"),
            None => write!(f, "line {line}"),
        }
    }
}

impl Rows {
    /// Reads a schema file that contains one `CREATE TABLE`.
    pub fn schema(path: &Path) -> Result<Schema, Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(read)?;
        ddl::parse(&text).map_err(|source| Error::Ddl { path: path.to_owned(), source })
    }

    /// The same rows, for clients with this link speed. The shape of the matrices is chosen for it.
    pub fn for_link(self, link: Link) -> Self {
        Self { link, ..self }
    }

    /// Number of rows.
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Number of records, headers included, that only the lenient parser accepts, and the line of
    /// the first.
    pub fn bent(&self) -> Option<Bent> {
        self.bent
    }

    /// Total bytes of all encoded rows.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where the longest row begins, or the first of them if several are equally long. `None` if
    /// the rows do not come from a file.
    pub fn longest(&self) -> Option<Place> {
        let (file, line) = self.longest.place?;
        let file = self.files.get(file).filter(|_| self.files.len() > 1).cloned();
        Some(Place { file, line })
    }

    /// The table's costs for the nodes, computed with the planner that the nodes use. The nodes
    /// draw another salt, which changes the figures by a few percent at most. Returns `None` if
    /// there are no rows.
    ///
    /// # Errors
    /// No matrix can hold the rows, so the cluster would refuse them too.
    pub fn figures(&self) -> Result<Option<TableFigures>, Error> {
        let rows: Vec<&[u8]> =
            self.batches.iter().flat_map(|batch| &batch.rows).map(AsRef::as_ref).collect();
        // Any salts are good enough here. Fixed salts give the same figures for the same file.
        let mut salts = 0..=u8::MAX;
        let next_salt = || Salt([salts.next().unwrap_or_default(); 32]);
        Ok(table_figures(&self.schema, &rows, self.link, next_salt)?)
    }
}

/// Builds [`Rows`] of files and of single rows.
pub struct RowsBuilder {
    done: Rows,
    encoded: Option<Encoded>,
    batch: RowBatch,
    batch_bytes: usize,
}

impl RowsBuilder {
    /// Starts without rows.
    pub fn new(schema: Schema) -> Self {
        let done = Rows {
            schema,
            link: Link::default(),
            batches: Vec::new(),
            rows: 0,
            bytes: 0,
            longest: Longest::default(),
            files: Vec::new(),
            bent: None,
        };
        Self { done, encoded: None, batch: RowBatch::default(), batch_bytes: 0 }
    }

    /// Adds all rows of a file. After an error, the builder is gone, because it holds a part of the
    /// file. KEY values must differ from those of files that were added before. `on_bytes` receives
    /// the number of bytes read so far and the file's size if known.
    ///
    /// # Errors
    /// The first error in the file, with its line and column.
    pub fn read(
        mut self,
        reader: Reader,
        mut on_bytes: impl FnMut(u64, Option<u64>),
    ) -> Result<Self, Error> {
        let path = reader.name().to_owned();
        self.done.files.push(path.clone());
        let mut encoded = match self.encoded.take() {
            None => Encoded::new(reader),
            Some(before) => before.followed_by(reader),
        };
        while let Some(row) = encoded.next() {
            let fault = |source| Error::Source { path: (&path).into(), source: Box::new(source) };
            let row = row.map_err(fault)?;
            let reader = encoded.reader();
            self.add(row, Some(reader.line()));
            on_bytes(reader.bytes_read(), reader.total_bytes());
        }
        if let Some(Bent { records, first_line }) = encoded.reader().bent() {
            let bent = self.done.bent.get_or_insert(Bent { records: 0, first_line });
            bent.records += records;
        }
        self.encoded = Some(encoded);
        Ok(self)
    }

    /// Adds a row and returns the size of its encoding.
    ///
    /// # Errors
    /// The row does not fit the schema. It is not added.
    pub fn push(&mut self, values: &[Value]) -> Result<usize, RowError> {
        let row = encode_row(&self.done.schema, values)?;
        let bytes = row.len();
        self.add(row, None);
        Ok(bytes)
    }

    /// Finishes, and returns all rows.
    pub fn finish(self) -> Rows {
        let Self { mut done, encoded: _, batch, batch_bytes: _ } = self;
        if !batch.rows.is_empty() {
            done.batches.push(batch);
        }
        done
    }

    /// Adds an encoded row and its line in the file.
    fn add(&mut self, row: Vec<u8>, line: Option<u64>) {
        if row.len() > self.done.longest.bytes {
            let file = self.done.files.len().saturating_sub(1);
            let place = line.map(|line| (file, line));
            self.done.longest = Longest { bytes: row.len(), place };
        }
        self.done.rows += 1;
        self.done.bytes += row.len() as u64;
        self.batch_bytes += row.len();
        self.batch.rows.push(Bytes::from(row));
        if self.batch_bytes >= BATCH_BYTES {
            self.done.batches.push(std::mem::take(&mut self.batch));
            self.batch_bytes = 0;
        }
    }
}

/// Result of a load.
#[derive(Debug, Clone)]
pub struct Published {
    /// The table as it is now served.
    pub table: Table,
    /// Total bytes of its matrices.
    pub matrix_bytes: u64,
}

impl Client {
    /// Publishes the rows as the table's new epoch. When this returns `Ok`, every node serves the
    /// new epoch.
    ///
    /// # Errors
    /// [`Error::Load`] if anything was sent to a node. If the node refused, the old epoch remains
    /// active; otherwise the new one may still become active.
    pub async fn load(&self, rows: Rows, on_event: OnEvent) -> Result<Published, Error> {
        // Any node accepts a load, but only one node may receive it, so a responsive node is chosen
        // first.
        let node = self.session().reachable(self.deadline()).await?;
        let loaded = self.send(node, rows, &on_event).await.map_err(Error::Load)?;
        let table = loaded.table.ok_or(CallError::Answer("it describes no table"))?;
        let table = Table::try_from(table)?;
        self.forget(table.schema.table());
        Ok(Published { table, matrix_bytes: loaded.matrix_bytes })
    }

    async fn send(
        &self,
        mut node: NodeClient,
        rows: Rows,
        on_event: &OnEvent,
    ) -> Result<Loaded, CallError> {
        let Rows { schema, link, batches, rows: total, bytes: _, longest: _, files: _, bent: _ } =
            rows;
        let header = LoadHeader { schema: Some((&schema).into()), link_mbits: link.mbits() };
        let sent = on_event.clone();
        let mut done = 0;
        let batches = batches.into_iter().map(move |batch| {
            done += batch.rows.len() as u64;
            sent(Event::Sending { rows: done, total });
            load_request::Part::Rows(batch)
        });
        let requests = std::iter::once(load_request::Part::Header(header))
            .chain(batches)
            .chain(std::iter::once(load_request::Part::Commit(LoadCommit { rows: total })))
            .map(|part| LoadRequest { part: Some(part) });
        let idle = self.publish_deadline();
        let late = |_| CallError::Deadline { within: idle };
        let call = node.load(futures::stream::iter(requests));
        let mut responses =
            timeout(idle, call).await.map_err(late)?.map_err(|s| failed(&s))?.into_inner();
        loop {
            let message = timeout(idle, responses.message()).await.map_err(late)?;
            match message.map_err(|status| failed(&status))? {
                Some(LoadResponse { part: Some(load_response::Part::Progress(progress)) }) => {
                    if let Some(event) = event(progress.stage(), progress.done, progress.total) {
                        on_event(event);
                    }
                }
                Some(LoadResponse { part: Some(load_response::Part::Loaded(loaded)) }) => {
                    return Ok(loaded);
                }
                Some(LoadResponse { part: None }) => {}
                None => return Err(CallError::Answer("the load ended without a result")),
            }
        }
    }
}

fn failed(status: &Status) -> CallError {
    CallError::once(status)
}

fn event(stage: LoadStage, done: u64, total: u64) -> Option<Event> {
    match stage {
        // Progress of the sending is reported by the client itself.
        LoadStage::Unspecified | LoadStage::Receiving => None,
        LoadStage::Planning => Some(Event::Planning),
        LoadStage::Building => Some(Event::Building { bytes: done, total }),
        LoadStage::Activating => Some(Event::Activating),
    }
}

#[cfg(test)]
mod tests {
    use opaque_pir::table::{Column, ColumnType, Role, decode_row};

    use super::*;

    fn schema() -> Schema {
        let column = Column {
            name: "k".to_owned(),
            column_type: ColumnType::Text,
            role: Role::Key,
            nullable: false,
        };
        Schema::new("t".to_owned(), vec![column]).unwrap()
    }

    #[test]
    fn rows_keep_their_order_over_batches() {
        let values = |i: u32| vec![Value::Text(format!("{i:01000}"))];
        let mut builder = RowsBuilder::new(schema());
        for i in 0..1000 {
            builder.push(&values(i)).unwrap();
        }
        let rows = builder.finish();
        assert_eq!(rows.len(), 1000);
        assert!(rows.batches.len() > 3);
        let sent: Vec<_> = rows.batches.iter().flat_map(|batch| &batch.rows).collect();
        assert_eq!(rows.bytes(), sent.iter().map(|row| row.len() as u64).sum::<u64>());
        for (i, bytes) in (0..).zip(sent) {
            assert_eq!(decode_row(&schema(), bytes).unwrap(), values(i));
        }
    }

    fn read(rows: RowsBuilder, path: &Path) -> Result<(RowsBuilder, u64), Error> {
        let reader = Reader::open(path, &schema(), "").unwrap();
        let mut told = 0;
        rows.read(reader, |bytes, _| told = bytes).map(|rows| (rows, told))
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            let read = read(RowsBuilder::new(schema()), &path);
            read.map(|(rows, told)| (rows.finish().len(), told))
        };
        assert_eq!(read("k\na\nb\n").unwrap(), (2, 6));
        let error = read("k\na\n\"x\ny\"\nc\na\n").unwrap_err();
        let text = error.to_string();
        assert!(
            text.ends_with(
                "t.csv: line 6, column k: duplicates the value of line 2, but k is a KEY"
            ),
            "{text}"
        );
        assert_eq!(error.hint().unwrap(), "nothing was loaded");
    }

    #[test]
    fn several_files_make_one_table_and_places_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (a, b) = (file("a.csv", "k\na\nlongest\n"), file("b.jsonl", "{\"k\":\"b\"}\n"));
        let rows = RowsBuilder::new(schema());
        let (rows, _) = read(rows, &a).unwrap();
        assert_eq!(rows.done.longest().unwrap().to_string(), "line 3");
        let (rows, _) = read(rows, &b).unwrap();
        let place = format!("line 3 of {}", a.display());
        assert_eq!(rows.done.longest().unwrap().to_string(), place);
        let failed = read(rows, &file("c.csv", "k\nc\nb\n"));
        let error = failed.err().unwrap().to_string();
        assert!(
            error.contains("c.csv: line 3, column k: duplicates the value of line 1 of"),
            "{error}"
        );
        assert!(error.contains("b.jsonl, but k is a KEY"), "{error}");
    }

    #[test]
    fn a_row_of_another_schema_is_refused() {
        let mut builder = RowsBuilder::new(schema());
        assert!(builder.push(&[Value::Null]).is_err());
        assert!(builder.push(&[Value::Int(1)]).is_err());
        assert!(builder.finish().is_empty());
    }
}
