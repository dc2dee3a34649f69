//! Encodes rows for the engine, and checks them against each other.

use std::collections::HashMap;

use opaque_pir::layout::MAX_ROW_BYTES;
use opaque_pir::table::{Role, Schema, Value, encode_row};

use crate::{Reader, SourceError};

/// Encoded rows of a file, in file order. No row exceeds the size limit, and no two rows have the
/// same KEY value. Iteration ends after the first error.
pub struct Encoded {
    reader: Reader,
    keys: UniqueKeys,
}

impl Encoded {
    /// Encodes the rows of `reader`.
    pub fn new(reader: Reader) -> Self {
        let keys = UniqueKeys::new(reader.schema());
        Self { reader, keys }
    }

    /// The reader, which reports how far the file has been read.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    fn encode(&mut self, values: &[Value]) -> Result<Vec<u8>, SourceError> {
        let line = self.reader.line();
        let row = encode_row(self.reader.schema(), values)
            .map_err(|source| SourceError::Row { line, source })?;
        if row.len() > MAX_ROW_BYTES {
            return Err(SourceError::RowTooLarge { line, bytes: row.len() });
        }
        if let Some((column, first_line)) = self.keys.insert(values, line) {
            return Err(SourceError::DuplicateKey { column: column.to_owned(), line, first_line });
        }
        Ok(row)
    }
}

impl Iterator for Encoded {
    type Item = Result<Vec<u8>, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let values = self.reader.next()?;
        Some(values.and_then(|values| self.encode(&values)))
    }
}

/// Values of the KEY columns so far. The builder of the table refuses duplicate values too, but
/// only after it has all rows, and it does not know their lines.
struct UniqueKeys {
    /// Position and name of each KEY column, and a map from a value's digest to its line.
    columns: Vec<(usize, String, HashMap<[u8; 16], u64>)>,
}

impl UniqueKeys {
    fn new(schema: &Schema) -> Self {
        let columns = schema.columns().iter().enumerate();
        let keys = columns.filter(|(_, column)| column.role == Role::Key);
        let keys = keys.map(|(position, column)| (position, column.name.clone(), HashMap::new()));
        Self { columns: keys.collect() }
    }

    /// Adds a row. Returns the column whose value is a duplicate, and the line of the first
    /// occurrence.
    fn insert(&mut self, values: &[Value], line: u64) -> Option<(&str, u64)> {
        for (position, name, lines) in &mut self.columns {
            let key = values.get(*position).map(Value::search_key).unwrap_or_default();
            // Half of BLAKE3's output. It is infeasible to find two values with the same digest.
            let Some(digest) = blake3::hash(&key).as_bytes().first_chunk().copied() else {
                continue;
            };
            if let Some(first) = lines.insert(digest, line) {
                return Some((name, first));
            }
        }
        None
    }
}
