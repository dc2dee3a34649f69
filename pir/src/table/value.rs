//! One cell of a table.

use thiserror::Error;

use super::{ColumnType, instant};

/// One cell of a table.
///
/// Equality is exact. A REAL is compared by bits, except that parsing turns −0.0 into 0.0.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// An INT.
    Int(i64),
    /// A REAL; never NaN.
    Real(f64),
    /// A TEXT.
    Text(String),
    /// A JSON document as written.
    Json(String),
    /// A BOOL.
    Bool(bool),
    /// A TIMESTAMP, in microseconds since 1970-01-01 UTC; parsed ones are in the years 0001 to
    /// 9999.
    Timestamp(i64),
}

impl Value {
    /// Parses a value of `column_type` from the text of a CSV field or a quoted literal.
    ///
    /// BOOL accepts `true`, `false`, `t`, `f`, `1`, `0` in any case. TIMESTAMP accepts RFC 3339
    /// (`2026-11-21T09:30:00Z`) of the years 0001 to 9999, and keeps microseconds, cut towards the
    /// past. REAL refuses NaN.
    pub fn parse(column_type: ColumnType, text: &str) -> Result<Self, ValueError> {
        let refused = |expected| ValueError { expected, column_type };
        match column_type {
            ColumnType::Int => {
                text.parse().map(Self::Int).map_err(|_| refused("a whole number of 64 bits"))
            }
            ColumnType::Real => text
                .parse::<f64>()
                .ok()
                .and_then(Self::real)
                .ok_or(refused("a number that is not NaN")),
            ColumnType::Text => Ok(Self::Text(text.to_owned())),
            ColumnType::Json => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                Ok(_) => Ok(Self::Json(text.to_owned())),
                Err(_) => Err(refused("a JSON document")),
            },
            ColumnType::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "1" => Ok(Self::Bool(true)),
                "false" | "f" | "0" => Ok(Self::Bool(false)),
                _ => Err(refused("true or false")),
            },
            ColumnType::Timestamp => instant::parse(text).map(Self::Timestamp).map_err(refused),
        }
    }

    /// A REAL that is not NaN, with −0.0 normalized to 0.0.
    pub fn real(number: f64) -> Option<Self> {
        (!number.is_nan()).then_some(Self::Real(if number == 0.0 { 0.0 } else { number }))
    }

    /// Whether a column of this type may contain the value. Every column type permits NULL here.
    pub fn is_of(&self, column_type: ColumnType) -> bool {
        match self {
            Self::Null => true,
            Self::Int(_) => column_type == ColumnType::Int,
            Self::Real(_) => column_type == ColumnType::Real,
            Self::Text(_) => column_type == ColumnType::Text,
            Self::Json(_) => column_type == ColumnType::Json,
            Self::Bool(_) => column_type == ColumnType::Bool,
            Self::Timestamp(_) => column_type == ColumnType::Timestamp,
        }
    }

    /// The bytes that a searchable column hashes: equal exactly if the values are equal. They are
    /// one tag byte, then the value. NULLs form a separate group, which IS NULL looks up.
    pub fn search_key(&self) -> Vec<u8> {
        let (tag, bytes): (u8, &[u8]) = match self {
            Self::Null => (0, &[]),
            Self::Int(number) => (1, &number.to_le_bytes()),
            Self::Real(number) => (2, &number.to_le_bytes()),
            Self::Text(text) => (3, text.as_bytes()),
            Self::Json(text) => (4, text.as_bytes()),
            Self::Bool(truth) => (5, &[u8::from(*truth)]),
            Self::Timestamp(micros) => (6, &micros.to_le_bytes()),
        };
        let mut key = Vec::with_capacity(1 + bytes.len());
        key.push(tag);
        key.extend_from_slice(bytes);
        key
    }
}

/// The text is not a value of a column's type. The text itself is omitted, because it may be a
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a value of type {column_type:?}: expected {expected}")]
pub struct ValueError {
    /// The accepted form.
    pub expected: &'static str,
    /// The column's type.
    pub column_type: ColumnType,
}
