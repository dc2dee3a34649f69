//! The type of a column, narrowed value by value.

use opaque_pir::table::{ColumnType, Value};

/// The types that fit all values so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The file states the type.
    Known(ColumnType),
    /// Values of these types.
    Fits {
        /// Types of which all values are, without the widest one.
        types: Types,
        /// The type that holds whatever the others do not.
        widest: ColumnType,
    },
}

/// A set of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types {
    bool: bool,
    int: bool,
    real: bool,
    timestamp: bool,
    json: bool,
    text: bool,
}

const NONE: Types =
    Types { bool: false, int: false, real: false, timestamp: false, json: false, text: false };

impl Kind {
    /// Any type of delimited text. TEXT holds everything.
    pub(super) fn of_text() -> Self {
        let types =
            Types { bool: true, int: true, real: true, timestamp: true, json: true, text: false };
        Self::Fits { types, widest: ColumnType::Text }
    }

    /// Any type of JSON. A column of TEXT holds only strings, so JSON is the type that holds
    /// everything.
    pub(super) fn of_json() -> Self {
        let types =
            Types { bool: true, int: true, real: true, timestamp: true, json: false, text: true };
        Self::Fits { types, widest: ColumnType::Json }
    }

    /// The kind of a column in two files.
    pub(super) fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Known(one), Self::Known(other)) if one != other => Self::Known(ColumnType::Text),
            (known @ Self::Known(_), _) => known,
            (fits, _) => fits,
        }
    }

    /// Removes types of which this field of delimited text is not. It has no blanks around it.
    pub(super) fn narrow_text(&mut self, text: &str) {
        let Self::Fits { types, .. } = self else { return };
        types.bool &= ["true", "false"].iter().any(|word| word.eq_ignore_ascii_case(text));
        types.int = types.int && is_int(text);
        types.real = types.real && is_real(text);
        types.timestamp = types.timestamp && is_time(text);
        types.json = types.json
            && text.starts_with(['{', '['])
            && Value::parse(ColumnType::Json, text).is_ok();
    }

    /// Removes types of which this valid JSON value is not.
    pub(super) fn narrow_json(&mut self, text: &str) {
        let Self::Fits { types, .. } = self else { return };
        match text.as_bytes().first() {
            Some(b'"') => {
                let timestamp = types.timestamp
                    && serde_json::from_str::<String>(text).is_ok_and(|text| is_time(&text));
                *types = Types { timestamp, text: types.text, ..NONE };
            }
            Some(b't' | b'f') => *types = Types { bool: types.bool, ..NONE },
            Some(b'-' | b'0'..=b'9') => {
                let (int, real) = (types.int && is_int(text), types.real && is_real(text));
                *types = Types { int, real, ..NONE };
            }
            _ => *types = NONE,
        }
    }

    /// The narrowest type. `any` is whether there was a value.
    pub(super) fn column_type(self, any: bool) -> ColumnType {
        match self {
            Self::Known(known) => known,
            // Nothing speaks for a type.
            Self::Fits { .. } if !any => ColumnType::Text,
            Self::Fits { types, widest } => match types {
                Types { bool: true, .. } => ColumnType::Bool,
                Types { int: true, .. } => ColumnType::Int,
                Types { real: true, .. } => ColumnType::Real,
                Types { timestamp: true, .. } => ColumnType::Timestamp,
                Types { json: true, .. } => ColumnType::Json,
                Types { text: true, .. } => ColumnType::Text,
                NONE => widest,
            },
        }
    }
}

/// Whether this is an INT that is printed as it is written. `007` is a code and not a number.
fn is_int(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    is_number_start(digits) && text != "-0" && text.parse::<i64>().is_ok()
}

/// Whether this is a decimal number with a fraction or an exponent, or an INT.
fn is_real(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    // A longer whole number would lose digits.
    (!is_whole || is_int(text))
        && is_number_start(digits)
        && text.parse::<f64>().is_ok_and(|number| {
            number.is_finite() && digits_of(text) == digits_of(&format!("{number:e}"))
        })
}

/// Whether this is a time of which a TIMESTAMP keeps all digits.
fn is_time(text: &str) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.trim_end_matches('0').len() <= 6 && Value::parse(ColumnType::Timestamp, text).is_ok()
}

/// The digits of a number without its exponent, its point, and zeros around them. A REAL holds a
/// number if it has the same digits.
fn digits_of(number: &str) -> String {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

/// Whether the first digit is not a zero that a number would lose.
fn is_number_start(digits: &str) -> bool {
    match digits.as_bytes() {
        [b'0', second, ..] => !second.is_ascii_digit(),
        [first, ..] => first.is_ascii_digit() || *first == b'.',
        [] => false,
    }
}
