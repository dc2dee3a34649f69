//! Fields of a Parquet file as text, and nested ones as JSON.

use jiff::Timestamp;
use jiff::civil::Date;
use parquet::data_type::Decimal;
use parquet::record::{Field, Row};

/// A field as JSON: groups as objects, lists as arrays, maps as objects. Returns `None` for bytes
/// that are not text, numbers that are not finite, and maps whose keys are not text.
pub(super) fn json(field: &Field) -> Option<String> {
    let mut out = String::new();
    write(field, &mut out)?;
    Some(out)
}

fn write(field: &Field, out: &mut String) -> Option<()> {
    match field {
        Field::Null => out.push_str("null"),
        Field::Float16(_) | Field::Float(_) | Field::Double(_) => {
            let text = text(field)?;
            // The other ones are `inf`, `-inf` and `NaN`.
            text.ends_with(|last: char| last.is_ascii_digit()).then(|| out.push_str(&text))?;
        }
        Field::Bool(_)
        | Field::Byte(_)
        | Field::Short(_)
        | Field::Int(_)
        | Field::Long(_)
        | Field::UByte(_)
        | Field::UShort(_)
        | Field::UInt(_)
        | Field::ULong(_)
        | Field::Decimal(_) => out.push_str(&text(field)?),
        Field::Str(_)
        | Field::Bytes(_)
        | Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => out.push_str(&string(&text(field)?)?),
        Field::Group(row) => object(row, out)?,
        Field::ListInternal(list) => {
            out.push('[');
            for (position, element) in list.elements().iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                write(element, out)?;
            }
            out.push(']');
        }
        Field::MapInternal(map) => {
            out.push('{');
            for (position, (key, value)) in map.entries().iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                let Field::Str(key) = key else { return None };
                out.push_str(&string(key)?);
                out.push(':');
                write(value, out)?;
            }
            out.push('}');
        }
    }
    Some(())
}

fn object(row: &Row, out: &mut String) -> Option<()> {
    out.push('{');
    for (position, (name, value)) in row.get_column_iter().enumerate() {
        out.push_str(if position == 0 { "" } else { "," });
        out.push_str(&string(name)?);
        out.push(':');
        write(value, out)?;
    }
    out.push('}');
    Some(())
}

fn string(text: &str) -> Option<String> {
    serde_json::to_string(text).ok()
}

/// A field for an error.
pub(super) fn shown(field: &Field) -> String {
    text(field).unwrap_or_else(|| "a value that has no text".to_owned())
}

/// A field as text: numbers in decimal, dates and times in RFC 3339, bytes in UTF-8. Returns `None`
/// if it has no such text.
pub(super) fn text(field: &Field) -> Option<String> {
    Some(match field {
        Field::Null => "null".to_owned(),
        Field::Bool(truth) => truth.to_string(),
        Field::Byte(number) => number.to_string(),
        Field::Short(number) => number.to_string(),
        Field::Int(number) => number.to_string(),
        Field::Long(number) => number.to_string(),
        Field::UByte(number) => number.to_string(),
        Field::UShort(number) => number.to_string(),
        Field::UInt(number) => number.to_string(),
        Field::ULong(number) => number.to_string(),
        Field::Float16(number) => number.to_f32().to_string(),
        Field::Float(number) => number.to_string(),
        Field::Double(number) => number.to_string(),
        Field::Decimal(number) => decimal(number)?,
        Field::Str(text) => text.clone(),
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).ok()?.to_owned(),
        Field::Date(days) => date(*days)?,
        Field::TimeMillis(millis) => time(i64::from(*millis) * 1000),
        Field::TimeMicros(micros) => time(*micros),
        Field::TimestampMillis(millis) => instant(millis.checked_mul(1000)?)?,
        Field::TimestampMicros(micros) => instant(*micros)?,
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => json(field)?,
    })
}

/// Microseconds since 1970 as RFC 3339 in UTC.
pub(super) fn instant(micros: i64) -> Option<String> {
    Timestamp::from_microsecond(micros).ok().map(|time| time.to_string())
}

fn date(days: i32) -> Option<String> {
    let epoch = Date::new(1970, 1, 1).ok()?;
    let date = epoch.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
    Some(date.to_string())
}

fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (minutes, second) = (seconds.div_euclid(60), seconds.rem_euclid(60));
    let (hour, minute) = (minutes.div_euclid(60), minutes.rem_euclid(60));
    let whole = format!("{hour:02}:{minute:02}:{second:02}");
    if fraction == 0 { whole } else { format!("{whole}.{fraction:06}") }
}

/// Digits after the point that are written out. The formats allow fewer than a hundred.
const MAX_SCALE: usize = 128;

/// A decimal number with all digits after its point. Numbers of more than 128 bits, which few
/// programs write, have no text.
fn decimal(number: &Decimal) -> Option<String> {
    let (bytes, scale) = (number.data(), usize::try_from(number.scale()).unwrap_or_default());
    let unscaled = unscaled(bytes).filter(|_| scale <= MAX_SCALE)?;
    let digits = unscaled.unsigned_abs().to_string();
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

/// A signed number in two's complement, most significant byte first.
fn unscaled(bytes: &[u8]) -> Option<i128> {
    let is_negative = bytes.first()? & 0x80 != 0;
    let fill = if is_negative { 0xff } else { 0 };
    let surplus = bytes.len().saturating_sub(16);
    let (high, low) = bytes.split_at(surplus);
    if high.iter().any(|byte| *byte != fill)
        || (surplus > 0 && (low.first()? & 0x80 != 0) != is_negative)
    {
        return None;
    }
    let mut word = [fill; 16];
    word.get_mut(16 - low.len()..)?.copy_from_slice(low);
    Some(i128::from_be_bytes(word))
}
