//! Values for a statement's `:name` placeholders.

use std::collections::BTreeMap;

/// Values for a statement's `:name` placeholders, without the colon.
///
/// A value is text; the column that the placeholder is compared with gives it its type.
/// `Debug` shows names only: the values are what a lookup keeps private.
#[derive(Clone, Default)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Takes names without the colon, and their values.
    pub fn new(values: BTreeMap<String, String>) -> Self {
        Self(values)
    }

    /// Names in order.
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
