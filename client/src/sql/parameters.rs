//! Values for a statement's `:name` placeholders.

use std::collections::BTreeMap;

/// Values for a statement's `:name` placeholders, without the colon.
///
/// A value is text and gets the type of the column that its placeholder is compared with. `Debug`
/// shows only names: a lookup keeps the values private.
#[derive(Clone, Default)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Takes a map from names without the colon to values.
    pub fn new(values: BTreeMap<String, String>) -> Self {
        Self(values)
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl FromIterator<(String, String)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
