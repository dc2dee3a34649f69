//! Why files do not show the schema of their table.

use opaque_pir::table::SchemaError;
use thiserror::Error;

/// Why there is no schema.
#[derive(Debug, Error)]
pub(crate) enum SchemaFault {
    /// The command needs a schema, or columns to look up.
    #[error(
        "no schema: name a file with CREATE TABLE before the data, or the columns to look up by --key and --index"
    )]
    NoSchema,
    /// The second reading of the files gave other rows than the first.
    #[error("the files had {found} rows when their columns were looked for, and then {rows}")]
    Changed {
        /// Rows of the first reading.
        found: u64,
        /// Rows of the second reading.
        rows: u64,
    },
    /// Standard input can be read only once.
    #[error("standard input is read once, so it cannot show the columns and then give the rows")]
    Unrepeatable,
    /// The user named a column that the files do not have.
    #[error("the files have no column {name:?}; they have {}", listed(names))]
    NoColumn {
        /// The name.
        name: String,
        /// The columns of the files.
        names: Vec<String>,
    },
    /// A column cannot be KEY.
    #[error("column {name:?} cannot be KEY: {reason}")]
    NotKey {
        /// The column.
        name: String,
        /// What its values are like.
        reason: String,
    },
    /// The files' columns make no valid schema.
    #[error(transparent)]
    Invalid(SchemaError),
}

impl SchemaFault {
    /// What to do.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoSchema => Some("`opaque schema DATA` proposes a schema"),
            Self::Unrepeatable => Some("give a schema, or write the input to a file first"),
            Self::NotKey { .. } => Some("values of --index may repeat and be NULL"),
            Self::Invalid(_) => Some("write a schema with other names, and use FROM"),
            Self::Changed { .. } => Some(
                "nothing was loaded: a pipe can be read only once, and a file must not change meanwhile",
            ),
            Self::NoColumn { .. } => None,
        }
    }
}

/// Names in quotes, at most twenty of them.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}
