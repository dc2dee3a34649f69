//! Public scans, which read rows in the clear, page by page.

use std::{collections::HashSet, sync::Arc, time::Instant};

use opaque_pir::table::{Value, decode_row};
use opaque_proto::v1::{ScanRequest, ScannedRow};

use super::{QueryOptions, Timing};
use crate::{
    client::{Client, Event},
    description::Table,
    error::Error,
    lookup::LookupError,
    session::calls::{ScanBound, ScanMemory},
};

/// Buckets read by one call: one partition.
const PAGE_BUCKETS: u32 = 1024;

impl Client {
    /// Reads the rows in the clear, all of them or those numbered below `rows_below`.
    ///
    /// The requested buckets depend only on their number. A row that fails its check does not end
    /// the scan. A node that sends more rows than the table has does end it.
    pub(super) async fn scan(
        &self,
        table: &Arc<Table>,
        rows_below: Option<u64>,
        options: &QueryOptions,
        memory: &mut ScanMemory,
        timing: &mut Timing,
    ) -> Result<Vec<(u64, Vec<Value>)>, Error> {
        let first = table.indexes.first().ok_or(LookupError::NoIndex)?;
        let total = first.geometry.buckets();
        let wanted = rows_below.unwrap_or(u64::MAX).min(table.rows);
        let cells = table.schema.columns().len();
        let mut scanned = Scanned { wanted, ..Scanned::default() };
        let mut next = 0;
        while next < total && wanted > 0 {
            let end = total.min(next.saturating_add(PAGE_BUCKETS));
            let request = ScanRequest {
                table: table.schema.table().to_owned(),
                epoch: table.epoch,
                first_bucket: next,
                end_bucket: end,
                rows_below,
            };
            let begun = Instant::now();
            let bytes = u64::from(end - next) * first.geometry.bucket_bytes() as u64;
            let most = ScanBound { rows: wanted, bytes, cells, memory: *memory };
            let rows = self.session().scan(self.deadline(), request, most).await?;
            let rows = rows.filter(|rows| memory.take(rows, cells));
            for row in rows.ok_or(Error::ScanTooLarge { mib: options.scan_mib })? {
                timing.bytes_down += row.row.len() as u64;
                scanned.add(table, &row);
            }
            timing.requests += 1;
            timing.network += begun.elapsed();
            next = end;
            if let Some(on_event) = &options.on_event {
                on_event(Event::Scanning { buckets: next, total });
            }
        }
        scanned.finish()
    }
}

/// State of a public scan.
#[derive(Default)]
struct Scanned {
    /// All rows with smaller numbers have arrived, each exactly once.
    wanted: u64,
    seen: HashSet<u64>,
    rows: Vec<(u64, Vec<Value>)>,
    fault: Option<Error>,
}

impl Scanned {
    /// Adds a row, unless an error was found before.
    fn add(&mut self, table: &Table, row: &ScannedRow) {
        if self.fault.is_some() {
            return;
        }
        if row.number >= self.wanted || !self.seen.insert(row.number) {
            self.fault = Some(Error::Scan("a row came twice, or was not requested"));
            return;
        }
        match decode_row(&table.schema, &row.row) {
            Ok(values) => self.rows.push((row.number, values)),
            Err(error) => self.fault = Some(LookupError::Row(error).into()),
        }
    }

    /// Rows are numbered without gaps, so that missing rows are detected.
    fn finish(self) -> Result<Vec<(u64, Vec<Value>)>, Error> {
        match self.fault {
            Some(fault) => Err(fault),
            None if (self.seen.len() as u64) < self.wanted => {
                Err(Error::Scan("rows of the table are missing"))
            }
            None => Ok(self.rows),
        }
    }
}
