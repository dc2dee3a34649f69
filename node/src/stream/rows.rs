//! Helpers of both gRPC services: rows in messages of bounded size, and times.

use std::time::Duration;

use opaque_proto::v1::ScannedRow;

/// Whole microseconds, saturating.
pub(crate) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Bytes of rows per message. A message holds at least one row.
const BATCH_BYTES: usize = 256 << 10;

/// Groups rows into messages of bounded size.
pub(crate) fn batches(
    rows: impl Iterator<Item = ScannedRow>,
) -> impl Iterator<Item = Vec<ScannedRow>> {
    let mut rows = rows;
    std::iter::from_fn(move || {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let Some(row) = rows.next() else { break };
            bytes += row.row.len();
            batch.push(row);
        }
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_every_row_and_stay_small() {
        let row = |number| ScannedRow { number, row: vec![7; 10_000].into() };
        let batches: Vec<_> = batches((0..100).map(row)).collect();
        assert!(batches.len() > 1);
        assert!(batches.iter().all(|batch| batch.len() * 10_000 < BATCH_BYTES + 10_000));
        let numbers: Vec<u64> = batches.into_iter().flatten().map(|row| row.number).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }
}
