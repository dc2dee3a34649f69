//! Tables as their users see them: [`Schema`], [`Value`], and the encoding of rows
//! ([`encode_row`]).

mod instant;
mod row;
mod schema;
mod value;

pub use instant::format as format_timestamp;
pub use row::{RowError, decode_row, encode_row};
pub use schema::{Column, ColumnType, MAX_COLUMNS, MAX_NAME_BYTES, Role, Schema, SchemaError};
pub use value::{Value, ValueError};
