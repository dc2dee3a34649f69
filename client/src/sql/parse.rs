//! Text to statement.
use super::SqlError;
/// A statement.
#[derive(Debug, Clone)]
pub struct Statement {
    table: String,
}
impl Statement {
    /// The table it reads.
    pub fn table(&self) -> &str {
        &self.table
    }
}
/// Parses one statement.
pub fn parse(_sql: &str) -> Result<Statement, SqlError> {
    todo!()
}
