//! The encoding of a row.
//!
//! ```text
//! row   = null bitmap, ceil(columns/8) bytes, bit i set when column i is NULL
//!         then each value that is not NULL, in column order
//! INT, TIMESTAMP   zigzag varint        REAL   8 bytes, little endian
//! TEXT, JSON       varint length, UTF-8 BOOL   1 byte, 0 or 1
//! ```
//!
//! The encoding of a row is unique, so equal rows have equal bytes.

use thiserror::Error;

use super::{ColumnType, Schema, Value};
use crate::reader::{ReadError, Reader, write_varint};

/// Encodes a row of `schema`.
///
/// # Errors
/// The number or a type of the values does not match the schema, or a REAL is NaN or −0.0 (see
/// [`Value::real`]).
pub fn encode_row(schema: &Schema, values: &[Value]) -> Result<Vec<u8>, RowError> {
    let columns = schema.columns();
    if values.len() != columns.len() {
        return Err(RowError::Columns { expected: columns.len(), found: values.len() });
    }
    let mut bytes = vec![0u8; columns.len().div_ceil(8)];
    for (i, (column, value)) in columns.iter().zip(values).enumerate() {
        let forbidden = match value {
            Value::Null => !column.nullable,
            Value::Real(number) => !is_real(*number),
            _ => false,
        };
        if forbidden || !value.is_of(column.column_type) {
            return Err(RowError::Value { column: column.name.clone() });
        }
        match value {
            Value::Null => {
                if let Some(byte) = bytes.get_mut(i / 8) {
                    *byte |= 1 << (i % 8);
                }
            }
            Value::Int(number) | Value::Timestamp(number) => {
                write_varint(&mut bytes, zigzag(*number));
            }
            Value::Real(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            Value::Text(text) | Value::Json(text) => {
                write_varint(&mut bytes, text.len() as u64);
                bytes.extend_from_slice(text.as_bytes());
            }
            Value::Bool(truth) => bytes.push(u8::from(*truth)),
        }
    }
    Ok(bytes)
}

/// Decodes a row of `schema`. This is the inverse of [`encode_row`] and equally strict: every byte
/// is read, and a value that the encoder would not have written is refused.
pub fn decode_row(schema: &Schema, bytes: &[u8]) -> Result<Vec<Value>, RowError> {
    let columns = schema.columns();
    let mut reader = Reader::new(bytes);
    let nulls = reader.take(columns.len().div_ceil(8))?;
    let is_null = |i: usize| nulls.get(i / 8).is_some_and(|byte| byte & (1 << (i % 8)) != 0);
    if (columns.len()..nulls.len() * 8).any(is_null) {
        return Err(RowError::Malformed(ReadError::Invalid("null bitmap")));
    }
    let mut values = Vec::with_capacity(columns.len());
    for (i, column) in columns.iter().enumerate() {
        if is_null(i) {
            if !column.nullable {
                return Err(RowError::Value { column: column.name.clone() });
            }
            values.push(Value::Null);
            continue;
        }
        values.push(match column.column_type {
            ColumnType::Int => Value::Int(unzigzag(reader.varint()?)),
            ColumnType::Timestamp => Value::Timestamp(unzigzag(reader.varint()?)),
            ColumnType::Real => {
                let number = f64::from_le_bytes(reader.array()?);
                if !is_real(number) {
                    return Err(RowError::Malformed(ReadError::Invalid("REAL")));
                }
                Value::Real(number)
            }
            ColumnType::Text => Value::Text(read_text(&mut reader)?),
            ColumnType::Json => Value::Json(read_text(&mut reader)?),
            ColumnType::Bool => match reader.u8()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(RowError::Malformed(ReadError::Invalid("BOOL"))),
            },
        });
    }
    reader.finish()?;
    Ok(values)
}

/// Neither NaN nor −0.0: each number has one encoding as a REAL.
fn is_real(number: f64) -> bool {
    !number.is_nan() && (number != 0.0 || number.is_sign_positive())
}

fn read_text(reader: &mut Reader<'_>) -> Result<String, ReadError> {
    let length = reader.varint()?;
    let length = usize::try_from(length).map_err(|_| ReadError::Invalid("length"))?;
    let bytes = reader.take(length)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ReadError::Invalid("UTF-8"))
}

/// Maps small magnitudes to small numbers: 0, −1, 1, −2 … to 0, 1, 2, 3 ….
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// Why a row was refused. The text omits values, because they may be secrets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RowError {
    /// The row has too few or too many values.
    #[error("a row of {expected} columns has {found} values")]
    Columns {
        /// Columns of the schema.
        expected: usize,
        /// Values of the row.
        found: usize,
    },
    /// A value has another type, is NULL in a column that does not permit it, or is NaN or −0.0.
    #[error("column {column:?} holds a value of another type, or NULL where it may not")]
    Value {
        /// The column's name.
        column: String,
    },
    /// The bytes are not a row of this schema.
    #[error("malformed row: {0}")]
    Malformed(#[from] ReadError),
}

#[cfg(test)]
mod tests;
