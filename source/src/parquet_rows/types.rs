//! Which types of Parquet are read as which types of a table.

use opaque_pir::table::{ColumnType, Value};
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::record::Field;
use parquet::schema::types::Type;

use super::nested;

/// What a file's column contains, beyond what a field shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Fields that say themselves what they are.
    Plain,
    /// Timestamps in nanoseconds, as plain integers.
    Nanoseconds,
    /// 16 bytes of a UUID.
    Uuid,
    /// A list, a map or a group.
    Nested,
}

impl Kind {
    /// What a column contains that becomes one of `wanted`. If that is impossible, the file's type
    /// and what would fit.
    pub(super) fn of(field: &Type, wanted: ColumnType) -> Result<Self, (String, &'static str)> {
        let is_list = field.get_basic_info().has_repetition()
            && field.get_basic_info().repetition() == parquet::basic::Repetition::REPEATED;
        if field.is_group() || is_list {
            if let Some(leaf) = unsupported(field) {
                return Err((format!("a nested {leaf}"), "JSON"));
            }
            return match wanted {
                ColumnType::Json | ColumnType::Text => Ok(Self::Nested),
                _ => Err(("a list, map or group".to_owned(), "this type: make it JSON")),
            };
        }
        let kind = match of_leaf(field) {
            Leaf::Plain => Self::Plain,
            Leaf::Nanoseconds => Self::Nanoseconds,
            Leaf::Uuid => Self::Uuid,
            Leaf::Other(name) => {
                return Err((name.to_owned(), "a value: write it as another type"));
            }
        };
        let is_date = field.get_basic_info().converted_type() == ConvertedType::DATE;
        if is_date && wanted == ColumnType::Timestamp {
            return Err(("a date without a time".to_owned(), "this type: make it TEXT"));
        }
        let fits = match (kind, wanted) {
            (Self::Nanoseconds, ColumnType::Timestamp | ColumnType::Text)
            | (Self::Uuid, ColumnType::Text) => true,
            (Self::Nanoseconds | Self::Uuid, _) => false,
            _ => true,
        };
        let name = || if kind == Self::Uuid { "a UUID" } else { "a time in nanoseconds" };
        if fits { Ok(kind) } else { Err((name().to_owned(), "this type: make it TEXT")) }
    }
}

/// A column that is not nested.
enum Leaf {
    Plain,
    Nanoseconds,
    Uuid,
    Other(&'static str),
}

fn of_leaf(field: &Type) -> Leaf {
    let info = field.get_basic_info();
    match info.logical_type_ref() {
        Some(LogicalType::Timestamp(time)) if is_nanos(&time.unit) => return Leaf::Nanoseconds,
        Some(LogicalType::Time(time)) if is_nanos(&time.unit) => {
            return Leaf::Other("a time of day in nanoseconds");
        }
        Some(LogicalType::Uuid) => return Leaf::Uuid,
        _ => {}
    }
    match (field.get_physical_type(), info.converted_type()) {
        (Physical::INT96, _) => Leaf::Other("a timestamp in 96 bits"),
        (_, ConvertedType::INTERVAL) => Leaf::Other("an interval"),
        (_, ConvertedType::BSON) => Leaf::Other("a BSON document"),
        _ => Leaf::Plain,
    }
}

fn is_nanos(unit: &parquet::basic::TimeUnit) -> bool {
    matches!(unit, parquet::basic::TimeUnit::NANOS)
}

/// The name of a leaf of a nested type that has no form in JSON.
fn unsupported(field: &Type) -> Option<&'static str> {
    if field.is_group() {
        return field.get_fields().iter().find_map(|field| unsupported(field));
    }
    match of_leaf(field) {
        Leaf::Plain => None,
        Leaf::Nanoseconds => Some("timestamp in nanoseconds"),
        Leaf::Uuid => Some("UUID"),
        Leaf::Other(name) => Some(name),
    }
}

/// The value of a field, or what was expected.
pub(super) fn converted(
    field: &Field,
    kind: Kind,
    column_type: ColumnType,
) -> Result<Value, &'static str> {
    if matches!(field, Field::Null) {
        return Ok(Value::Null);
    }
    if kind == Kind::Nested {
        let text = nested::json(field).ok_or("a value that JSON can express")?;
        return Ok(match column_type {
            ColumnType::Json => Value::Json(text),
            _ => Value::Text(text),
        });
    }
    match column_type {
        ColumnType::Int => int(field).map(Value::Int).ok_or("a whole number of 64 bits"),
        ColumnType::Real => real(field).and_then(Value::real).ok_or("a number that is not NaN"),
        ColumnType::Bool => match (field, int(field)) {
            (Field::Bool(truth), _) => Ok(Value::Bool(*truth)),
            (_, Some(number @ (0 | 1))) => Ok(Value::Bool(number == 1)),
            _ => Err("true or false"),
        },
        ColumnType::Timestamp => timestamp(field, kind),
        ColumnType::Text => text(field, kind).map(Value::Text).ok_or("text"),
        ColumnType::Json => {
            let text = match field {
                Field::Str(text) => Some(text.clone()),
                other => nested::json(other),
            };
            let parsed = text.map(|text| Value::parse(ColumnType::Json, &text));
            parsed.and_then(Result::ok).ok_or("a JSON document")
        }
    }
}

/// A whole number. Data frames write whole numbers with gaps as floating-point numbers.
fn int(field: &Field) -> Option<i64> {
    /// Up to this number, every whole number is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match *field {
        Field::Byte(number) => Some(number.into()),
        Field::Short(number) => Some(number.into()),
        Field::Int(number) => Some(number.into()),
        Field::Long(number) => Some(number),
        Field::UByte(number) => Some(number.into()),
        Field::UShort(number) => Some(number.into()),
        Field::UInt(number) => Some(number.into()),
        Field::ULong(number) => number.try_into().ok(),
        Field::Float(_) | Field::Double(_) => {
            let number = real(field)?;
            let is_whole = number.fract() == 0.0 && number.abs() <= EXACT;
            #[expect(clippy::cast_possible_truncation, reason = "the number is whole and small")]
            is_whole.then_some(number as i64)
        }
        Field::Decimal(_) => crate::values::whole(&nested::text(field)?).parse().ok(),
        _ => None,
    }
}

fn real(field: &Field) -> Option<f64> {
    match *field {
        Field::Float16(number) => Some(number.to_f64()),
        Field::Float(number) => Some(number.into()),
        Field::Double(number) => Some(number),
        Field::Byte(number) => Some(number.into()),
        Field::Short(number) => Some(number.into()),
        Field::Int(number) => Some(number.into()),
        Field::UByte(number) => Some(number.into()),
        Field::UShort(number) => Some(number.into()),
        Field::UInt(number) => Some(number.into()),
        // Decimal numbers, and whole ones, are rounded like those of a CSV file.
        Field::Long(_) | Field::ULong(_) | Field::Decimal(_) => nested::text(field)?.parse().ok(),
        _ => None,
    }
}

/// Times without a zone are taken as UTC.
fn timestamp(field: &Field, kind: Kind) -> Result<Value, &'static str> {
    let expected = "a timestamp of the years 0001 to 9999";
    let micros = match *field {
        Field::Long(nanos) if kind == Kind::Nanoseconds => nanos.div_euclid(1000),
        Field::TimestampMicros(micros) => micros,
        Field::TimestampMillis(millis) => millis.checked_mul(1000).ok_or(expected)?,
        Field::Str(ref text) => {
            return Value::parse(ColumnType::Timestamp, text).map_err(|error| error.expected);
        }
        _ => return Err(expected),
    };
    // The parser knows the years that are allowed.
    let text = nested::instant(micros).ok_or(expected)?;
    Value::parse(ColumnType::Timestamp, &text).map_err(|_| expected)
}

fn text(field: &Field, kind: Kind) -> Option<String> {
    match (field, kind) {
        (Field::Long(nanos), Kind::Nanoseconds) => nested::instant(nanos.div_euclid(1000)),
        (Field::Bytes(bytes), Kind::Uuid) => uuid(bytes.data()),
        (field, _) => nested::text(field),
    }
}

/// A UUID in its usual form.
fn uuid(bytes: &[u8]) -> Option<String> {
    let number = u128::from_be_bytes(bytes.try_into().ok()?);
    let hex = format!("{number:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range));
    parts.into_iter().collect::<Option<Vec<_>>>().map(|parts| parts.join("-"))
}
