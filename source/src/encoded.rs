//! Encodes rows for the engine, and checks them against each other.

use std::collections::HashMap;

use opaque_pir::layout::MAX_ROW_BYTES;
use opaque_pir::table::{Role, Schema, Value, encode_row};

use crate::{At, Reader, SourceError};

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
        keys.begin_file(reader.name(), reader.at());
        Self { reader, keys }
    }

    /// Continues with the rows of another file of the same table. KEY values must differ from those
    /// of the earlier files.
    pub fn followed_by(self, reader: Reader) -> Self {
        let mut keys = self.keys;
        keys.begin_file(reader.name(), reader.at());
        Self { reader, keys }
    }

    /// The reader of the current file, which reports how far it has been read.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    fn encode(&mut self, values: &[Value]) -> Result<Vec<u8>, SourceError> {
        let at = self.reader.at();
        let row = encode_row(self.reader.schema(), values)
            .map_err(|source| SourceError::Row { at, source })?;
        if row.len() > MAX_ROW_BYTES {
            return Err(SourceError::RowTooLarge { at, bytes: row.len() });
        }
        if let Some((column, first, first_file)) = self.keys.insert(values, at.number()) {
            let column = column.to_owned();
            return Err(SourceError::DuplicateKey { column, at, first, first_file });
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
    /// is the line, or the number of the row, if all files are put one after another.
    columns: Vec<(usize, String, HashMap<[u8; 16], u64>)>,
    files: Vec<Begun>,
    /// The last place.
    place: u64,
}

/// A file that has begun.
struct Begun {
    name: String,
    /// Number of lines or rows before it.
    before: u64,
    /// A place in it, which shows what is counted there.
    at: At,
}

impl UniqueKeys {
    fn new(schema: &Schema) -> Self {
        let columns = schema.columns().iter().enumerate();
        let keys = columns.filter(|(_, column)| column.role == Role::Key);
        let keys = keys.map(|(position, column)| (position, column.name.clone(), HashMap::new()));
        Self { columns: keys.collect(), files: Vec::new(), place: 0 }
    }

    fn begin_file(&mut self, name: &str, at: At) {
        self.files.push(Begun { name: name.to_owned(), before: self.place, at });
    }

    /// Adds the row with this number or on this line. Returns the column whose value is a
    /// duplicate, the place of the first occurrence, and the file if it is an earlier one.
    fn insert(&mut self, values: &[Value], number: u64) -> Option<(&str, At, Option<String>)> {
        let before = self.files.last()?.before;
        self.place = before + number;
        for (position, name, places) in &mut self.columns {
            let key = values.get(*position).map(Value::search_key).unwrap_or_default();
            // Half of BLAKE3's output. It is infeasible to find two values with the same digest.
            let Some(digest) = blake3::hash(&key).as_bytes().first_chunk().copied() else {
                continue;
            };
            if let Some(first) = places.insert(digest, self.place) {
                let file = self.files.iter().rev().find(|file| file.before < first)?;
                let earlier = (file.before != before).then(|| file.name.clone());
                return Some((name, file.at.with(first - file.before), earlier));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
