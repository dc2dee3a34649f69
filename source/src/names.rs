//! Finds the columns of a schema by the names that a file has for them.

use std::collections::HashMap;

use opaque_pir::table::Schema;

use crate::settings::ColumnSource;

/// The names of a schema's columns in a file.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// Names that are compared as written, with the column's position.
    exact: HashMap<String, usize>,
    /// Names in lower case that are compared without regard to ASCII case.
    folded: HashMap<String, usize>,
    /// The names in the order of the schema, as errors show them.
    labels: Vec<String>,
}

impl Names {
    pub(crate) fn new(schema: &Schema, sources: &[ColumnSource]) -> Self {
        let (mut exact, mut folded, mut labels) = (HashMap::new(), HashMap::new(), Vec::new());
        for (at, column) in schema.columns().iter().enumerate() {
            match sources.get(at).and_then(|source| source.from.as_deref()) {
                Some(from) => {
                    exact.insert(from.to_owned(), at);
                    labels.push(from.to_owned());
                }
                None => {
                    folded.insert(column.name.to_ascii_lowercase(), at);
                    labels.push(column.name.clone());
                }
            }
        }
        Self { exact, folded, labels }
    }

    /// The position of the column that a file calls `name`.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let exact = self.exact.get(name);
        exact.or_else(|| self.folded.get(&name.to_ascii_lowercase())).copied()
    }

    /// The names in the order of the schema.
    pub(crate) fn labels(&self) -> &[String] {
        &self.labels
    }
}
