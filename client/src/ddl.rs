//! `CREATE TABLE` to schema.
use opaque_pir::table::{Schema, SchemaError};
use thiserror::Error;

/// Why a schema file was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DdlError {
    /// The columns are no schema.
    #[error("{0}")]
    Schema(#[from] SchemaError),
}

/// Reads one `CREATE TABLE` statement.
pub fn parse(_text: &str) -> Result<Schema, DdlError> {
    todo!()
}
