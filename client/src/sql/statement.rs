//! A statement as written: the types of the closed grammar.

use std::fmt;

/// A SELECT statement.
pub(super) struct Select {
    pub(super) table: String,
    pub(super) distinct: bool,
    pub(super) list: List,
    pub(super) filter: Option<Condition>,
    pub(super) order: Vec<OrderItem>,
    pub(super) limit: Option<Bound>,
    pub(super) offset: Option<Bound>,
}

/// The SELECT list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum List {
    /// `COUNT(*)`, with its name in the answer.
    Count {
        name: String,
    },
    Columns(Vec<Item>),
}

impl List {
    /// Number of columns in the answer, if the text determines it: `*` stands for any number.
    pub(super) fn columns(&self) -> Option<usize> {
        match self {
            Self::Count { .. } => Some(1),
            Self::Columns(items) => (!items.contains(&Item::All)).then_some(items.len()),
        }
    }
}

/// One item of the SELECT list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    All,
    Column { column: Name, alias: Option<String> },
}

/// A name that should name a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    pub(super) text: String,
    /// Whether the name is in double quotes. SQLite also reads text in double quotes; here they
    /// always name a column, and an error says so.
    pub(super) double_quoted: bool,
}

/// A condition of the WHERE clause.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Compare {
        left: Operand,
        comparison: Comparison,
        right: Operand,
    },
    Between {
        operand: Operand,
        low: Operand,
        high: Operand,
    },
    In {
        operand: Operand,
        list: Vec<Operand>,
    },
    Like {
        operand: Operand,
        pattern: Operand,
        escape: Option<char>,
    },
    IsNull {
        operand: Operand,
    },
    IsTruth {
        operand: Operand,
        truth: bool,
    },
    /// A BOOL column without a comparison.
    Truth(Operand),
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Column(Name),
    Literal(Literal),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
    /// `:name`, without the colon.
    Parameter(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// The comparison that holds exactly when this one does not, NULL excepted.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The same comparison with its sides exchanged.
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// One term of ORDER BY.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OrderItem {
    pub(super) key: OrderKey,
    pub(super) descending: bool,
    /// NULLS FIRST or NULLS LAST, if written.
    pub(super) nulls_first: Option<bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum OrderKey {
    /// A position in the SELECT list, as written.
    Position(String),
    Name(Name),
}

/// The value of LIMIT or OFFSET.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bound {
    Number(i64),
    Parameter(String),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.double_quoted { write!(f, "\"{}\"", self.text) } else { f.write_str(&self.text) }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(name) => name.fmt(f),
            Self::Literal(literal) => literal.fmt(f),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(truth) => f.write_str(if *truth { "TRUE" } else { "FALSE" }),
            Self::Int(number) => number.fmt(f),
            Self::Real(number) => write!(f, "{number:?}"),
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Parameter(name) => write!(f, ":{name}"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}
