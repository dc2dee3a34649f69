//! Encodes rows for the engine, and checks them against each other.

use std::collections::HashMap;

use opaque_pir::layout::MAX_ROW_BYTES;
use opaque_pir::table::{Role, Schema, Value, encode_row};

use crate::{Reader, SourceError};

/// Encoded rows of one or several files of a table, in the files' order. No row exceeds the size
/// limit, and no two rows have the same KEY value. Iteration ends after the first error.
pub struct Encoded {
    reader: Reader,
    keys: UniqueKeys,
}

impl Encoded {
    /// Encodes the rows of `reader`.
    pub fn new(reader: Reader) -> Self {
        let mut keys = UniqueKeys::new(reader.schema());
        keys.begin_file(reader.name());
        Self { reader, keys }
    }

    /// Continues with the rows of another file of the same table. KEY values must differ from those
    /// of the earlier files.
    pub fn followed_by(self, reader: Reader) -> Self {
        let mut keys = self.keys;
        keys.begin_file(reader.name());
        Self { reader, keys }
    }

    /// The reader of the current file, which reports how far it has been read.
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
        if let Some((column, first_line, first_file)) = self.keys.insert(values, line) {
            let column = column.to_owned();
            return Err(SourceError::DuplicateKey { column, line, first_line, first_file });
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
    /// Position and name of each KEY column, and a map from a value's digest to its place. A place
    /// is the line if all files are put one after another.
    columns: Vec<(usize, String, HashMap<[u8; 16], u64>)>,
    /// The names of the files, and the number of lines before each.
    files: Vec<(String, u64)>,
    /// The last place.
    place: u64,
}

impl UniqueKeys {
    fn new(schema: &Schema) -> Self {
        let columns = schema.columns().iter().enumerate();
        let keys = columns.filter(|(_, column)| column.role == Role::Key);
        let keys = keys.map(|(position, column)| (position, column.name.clone(), HashMap::new()));
        Self { columns: keys.collect(), files: Vec::new(), place: 0 }
    }

    fn begin_file(&mut self, name: &str) {
        self.files.push((name.to_owned(), self.place));
    }

    /// Adds a row. Returns the column whose value is a duplicate, the line of the first occurrence,
    /// and the file if it is an earlier one.
    fn insert(&mut self, values: &[Value], line: u64) -> Option<(&str, u64, Option<String>)> {
        let before = self.files.last().map_or(0, |(_, before)| *before);
        self.place = before + line;
        for (position, name, places) in &mut self.columns {
            let key = values.get(*position).map(Value::search_key).unwrap_or_default();
            // Half of BLAKE3's output. It is infeasible to find two values with the same digest.
            let Some(digest) = blake3::hash(&key).as_bytes().first_chunk().copied() else {
                continue;
            };
            if let Some(first) = places.insert(digest, self.place) {
                let file = self.files.iter().rev().find(|(_, before)| *before < first);
                let (file, start) = file.map_or(("", 0), |(name, start)| (name, *start));
                let earlier = (start != before).then(|| file.to_owned());
                return Some((name, first - start, earlier));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
