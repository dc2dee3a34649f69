//! Values from the text of a field, in the forms that real files have.
//!
//! More is accepted than in SQL literals: blanks around anything but text, `yes` and `no` for BOOL,
//! and whole numbers that a spreadsheet or a data frame wrote as `1.0`.

use opaque_pir::table::{Column, ColumnType, Value};

use crate::settings::Null;

/// A field of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    /// Its bytes, without quotes around it.
    pub(crate) text: &'a [u8],
    /// Whether it is quoted.
    pub(crate) is_quoted: bool,
    /// Whether it is the record's only field. Such a record is an empty line if the field is empty
    /// and not quoted, so NULL can only be written in quotes.
    pub(crate) is_alone: bool,
}

/// Why a field is not a value of its column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is not UTF-8.
    Utf8,
    /// It is NULL, and the column does not allow NULL.
    Null,
    /// It has another form than this.
    Form(&'static str),
}

/// The value of a field.
pub(crate) fn value(column: &Column, field: Field<'_>, null: &Null) -> Result<Value, Refused> {
    let text = std::str::from_utf8(field.text).map_err(|_| Refused::Utf8)?;
    if is_null(column, text, field, null) {
        return if column.nullable { Ok(Value::Null) } else { Err(Refused::Null) };
    }
    parse(column.column_type, text).map_err(Refused::Form)
}

/// Whether a field is NULL. In quotes, an empty field is text, because that is how programs
/// distinguish empty text from NULL. Another marker is NULL in quotes too, because many programs
/// write every field in quotes.
fn is_null(column: &Column, text: &str, field: Field<'_>, null: &Null) -> bool {
    let marker = null.text();
    if column.column_type != ColumnType::Text {
        return text == marker || trimmed(text) == marker;
    }
    let is_text = field.is_quoted && marker.is_empty() && !(field.is_alone && column.nullable);
    text == marker && !is_text
}

/// The value of a field that is not NULL, or the accepted form.
fn parse(column_type: ColumnType, text: &str) -> Result<Value, &'static str> {
    let parsed = |text: &str| Value::parse(column_type, text).map_err(|error| error.expected);
    match column_type {
        ColumnType::Text | ColumnType::Json => parsed(text),
        ColumnType::Real | ColumnType::Timestamp => parsed(trimmed(text)),
        ColumnType::Int => parsed(whole(trimmed(text))),
        ColumnType::Bool => {
            let text = trimmed(text);
            let is = |words: [&str; 3]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
            match () {
                () if is(["yes", "on", "y"]) => Ok(Value::Bool(true)),
                () if is(["no", "off", "n"]) => Ok(Value::Bool(false)),
                () => parsed(text),
            }
        }
    }
}

/// Without blanks and tabs around it.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A number without a fraction of zeros. Other text is returned as it is.
pub(crate) fn whole(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, zeros))
            if !zeros.is_empty()
                && zeros.bytes().all(|byte| byte == b'0')
                && whole.ends_with(|last: char| last.is_ascii_digit()) =>
        {
            whole
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use opaque_pir::table::Role;

    use super::*;

    fn read(
        column_type: ColumnType,
        text: &str,
        is_quoted: bool,
        null: &str,
    ) -> Result<Value, Refused> {
        let name = "c".to_owned();
        let column = Column { name, column_type, role: Role::Payload, nullable: true };
        let field = Field { text: text.as_bytes(), is_quoted, is_alone: false };
        value(&column, field, &Null::Text(null.to_owned()))
    }

    #[test]
    fn forms_of_real_files_are_read() {
        let plain = |column_type, text| read(column_type, text, false, "").unwrap();
        for text in ["yes", "YES", "On", "y", "t", "TRUE", "1", " yes "] {
            assert_eq!(plain(ColumnType::Bool, text), Value::Bool(true), "{text}");
        }
        for text in ["no", "OFF", "N", "f", "False", "0", "\tno"] {
            assert_eq!(plain(ColumnType::Bool, text), Value::Bool(false), "{text}");
        }
        for text in ["12", "12.0", " 12.000 ", "+12", "+12.0", "\t12"] {
            assert_eq!(plain(ColumnType::Int, text), Value::Int(12), "{text}");
        }
        assert_eq!(plain(ColumnType::Int, "-9223372036854775808.0"), Value::Int(i64::MIN));
        assert_eq!(plain(ColumnType::Real, " 1.5 "), Value::Real(1.5));
        let at = plain(ColumnType::Timestamp, "2026-11-21T09:30:00Z");
        assert_eq!(plain(ColumnType::Timestamp, " 2026-11-21T09:30:00Z"), at);
        assert_eq!(plain(ColumnType::Text, " x "), Value::Text(" x ".to_owned()));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["1.5", "1.", ".0", "1.0e0", "1.0.0", "x.0", "1 2", "--1", "\u{a0}1", "1,0"] {
            let expected = Refused::Form("a whole number of 64 bits");
            assert_eq!(read(ColumnType::Int, text, false, ""), Err(expected), "{text}");
        }
        for text in ["yess", "2", "oui", "true false"] {
            let expected = Refused::Form("true or false");
            assert_eq!(read(ColumnType::Bool, text, false, ""), Err(expected), "{text}");
        }
    }

    #[test]
    fn quotes_distinguish_empty_text_from_null() {
        let text = |text: &str| Value::Text(text.to_owned());
        let read =
            |column_type, text, is_quoted, null| read(column_type, text, is_quoted, null).unwrap();
        assert_eq!(read(ColumnType::Text, "", false, ""), Value::Null);
        assert_eq!(read(ColumnType::Text, "", true, ""), text(""));
        assert_eq!(read(ColumnType::Text, "", true, "NA"), text(""));
        assert_eq!(read(ColumnType::Text, "", false, "NA"), text(""));
        for is_quoted in [false, true] {
            assert_eq!(read(ColumnType::Text, "NA", is_quoted, "NA"), Value::Null);
            assert_eq!(read(ColumnType::Text, " ", is_quoted, ""), text(" "));
            // Other types have no empty value.
            assert_eq!(read(ColumnType::Int, "", is_quoted, ""), Value::Null);
            assert_eq!(read(ColumnType::Int, "  ", is_quoted, ""), Value::Null);
            assert_eq!(read(ColumnType::Real, " NA", is_quoted, "NA"), Value::Null);
        }
    }
}
