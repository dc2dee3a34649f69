//! A statement in the form from which its requests are decided and its answer is computed.
//!
//! The tree of the statement keeps everything that was written, with two kinds of replacements. The
//! table of each *reference* in FROM becomes `opaque_N`, the table of the rows that are fetched for
//! this reference. A literal that is compared with a column, and a parameter, become `?N`, a
//! [`Place`]. The same values therefore decide the lookups and the answer.

use std::fmt;

use sqlparser::ast::Query;

/// A statement with its parameters. `Debug` shows only its tables: literals are private.
#[derive(Clone, PartialEq)]
pub struct Statement {
    pub(super) tree: Query,
    pub(super) references: Vec<Reference>,
    pub(super) places: Vec<Place>,
    pub(super) shape: Shape,
    /// LIMIT of the outermost query.
    pub(super) limit: Option<u64>,
    /// OFFSET of the outermost query.
    pub(super) offset: u64,
}

impl Statement {
    /// The table of each reference, as written. A table that is read twice appears twice.
    pub fn tables(&self) -> impl ExactSizeIterator<Item = &str> {
        self.references.iter().map(|reference| reference.table.as_str())
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<_> = self.tables().collect();
        f.debug_struct("Statement").field("tables", &tables).finish_non_exhaustive()
    }
}

/// One table in a FROM clause.
#[derive(Clone, PartialEq)]
pub(super) struct Reference {
    /// Its name as written.
    pub(super) table: String,
    /// What WHERE of the same SELECT says about this reference's rows.
    pub(super) filter: Option<Filter>,
    /// The name that must qualify its columns, because FROM has other tables too.
    pub(super) qualifier: Option<String>,
    /// A name in double quotes with which WHERE compares a column. It is probably meant as text.
    pub(super) quoted: Option<String>,
}

impl Reference {
    /// Whether its FROM has no other table.
    pub(super) fn is_alone(&self) -> bool {
        self.qualifier.is_none()
    }
}

/// Which of its rows the answer to a statement needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// `SELECT COUNT(*) FROM table [WHERE ...]`: only their number.
    Count,
    /// The rows that WHERE accepts, in load order: with a LIMIT, the first of them.
    Stream { distinct: bool },
    /// Every row that WHERE accepts, of one SELECT over one table.
    Whole,
    /// Every row of several references, or of a reference in a subquery.
    Nested,
}

/// What a WHERE clause says about one reference's rows, in negation normal form: NOT has been
/// pushed into the leaves, which three-valued logic permits.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    /// The column has one of the values at these places, or (`negated`) another value. It has none
    /// of them and no other one if it is NULL.
    In {
        column: String,
        places: Vec<usize>,
        negated: bool,
    },
    /// The column is NULL, or (`negated`) is not.
    IsNull {
        column: String,
        negated: bool,
    },
    And(Vec<Filter>),
    Or(Vec<Filter>),
    /// A condition that no lookup answers, and the columns that it mentions.
    Other {
        columns: Vec<String>,
    },
}

/// A literal or parameter of the tree.
#[derive(Clone, PartialEq)]
pub(super) struct Place {
    pub(super) literal: Literal,
    /// The column that it is compared with, whose type it gets.
    pub(super) compared: Option<Compared>,
}

/// The column with which a literal is compared.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Compared {
    /// Position of the reference.
    pub(super) reference: usize,
    pub(super) column: String,
    /// The operator as written, if it applies only to BOOL columns.
    pub(super) bool_operator: Option<&'static str>,
}

/// A literal as written, without a type.
#[derive(Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
    /// `:name` and the text of its value.
    Parameter {
        name: String,
        given: String,
    },
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(truth) => f.write_str(if *truth { "TRUE" } else { "FALSE" }),
            Self::Int(number) => number.fmt(f),
            Self::Real(number) => write!(f, "{number:?}"),
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Parameter { name, .. } => write!(f, ":{name}"),
        }
    }
}
