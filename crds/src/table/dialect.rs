//! How a source of delimited text is written.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How delimited text is written. The Job detects what is not set, and refuses a file that it could
/// read in two ways.
// `opaque-prepare` gets this as JSON and reads it as `opaque_source::Dialect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.columns) || !has(self.header) || !self.header").message(
        "columns name the fields of a file without a header: header must not be true"
    ),
    validation = Rule::new("(!has(self.delimiter) || !has(self.quote) || self.delimiter != self.quote) && (!has(self.delimiter) || !has(self.comment) || self.delimiter != self.comment) && (!has(self.quote) || !has(self.comment) || self.quote == 'none' || self.quote != self.comment)").message(
        "delimiter, quote and comment must be different characters"
    )
)]
pub struct Dialect {
    /// The character between two fields, or `tab`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    #[x_kube(validation = Rule::new("self.matches('^([ -~]|tab)$')").message(
        "must be one ASCII character, or tab"
    ))]
    pub delimiter: Option<String>,

    /// The character around fields that contain delimiters or line breaks, or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    #[x_kube(validation = Rule::new("self.matches('^([ -~]|none)$')").message(
        "must be one ASCII character, or none"
    ))]
    pub quote: Option<String>,

    /// The character at the beginning of lines that are not read, or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    #[x_kube(validation = Rule::new("self.matches('^([ -~]|none)$')").message(
        "must be one ASCII character, or none"
    ))]
    pub comment: Option<String>,

    /// Whether the first record names the columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,

    /// Names of the fields of a file without a header, in the file's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub columns: Vec<String>,

    /// Number of lines at the beginning of the file that are not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 1000000").message(
        "must be between 0 and 1000000"
    ))]
    pub skip: Option<i32>,
}
