use proptest::prelude::*;

use super::*;
use crate::table::{Column, Role};

fn schema(columns: &[(ColumnType, bool)]) -> Schema {
    let searchable = Column::new("id", ColumnType::Int, Role::Key, false);
    let rest = columns.iter().enumerate().map(|(i, (column_type, nullable))| {
        Column::new(&format!("c{i}"), *column_type, Role::Payload, *nullable)
    });
    Schema::new("t".to_owned(), std::iter::once(searchable).chain(rest).collect()).unwrap()
}

fn column_type() -> impl Strategy<Value = ColumnType> {
    prop::sample::select(vec![
        ColumnType::Int,
        ColumnType::Real,
        ColumnType::Text,
        ColumnType::Json,
        ColumnType::Bool,
        ColumnType::Timestamp,
    ])
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -300i64..300, Just(i64::MIN), Just(i64::MAX)]
}

fn value(column_type: ColumnType) -> BoxedStrategy<Value> {
    match column_type {
        ColumnType::Int => integer().prop_map(Value::Int).boxed(),
        ColumnType::Timestamp => integer().prop_map(Value::Timestamp).boxed(),
        ColumnType::Real => prop_oneof![any::<f64>(), Just(f64::INFINITY), Just(-0.0)]
            .prop_filter_map("NaN", Value::real)
            .boxed(),
        ColumnType::Text => ".{0,20}".prop_map(Value::Text).boxed(),
        ColumnType::Json => r#"\{"a": "[^"\\]{0,9}"\}"#.prop_map(Value::Json).boxed(),
        ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
    }
}

/// A schema of up to 20 columns, and a row of it.
fn row() -> impl Strategy<Value = (Schema, Vec<Value>)> {
    let column = (column_type(), any::<bool>());
    prop::collection::vec(column, 0..19).prop_flat_map(|columns| {
        let values: Vec<_> = columns
            .iter()
            .map(|(column_type, nullable)| match nullable {
                true => prop_oneof![value(*column_type), Just(Value::Null)].boxed(),
                false => value(*column_type),
            })
            .collect();
        (Just(schema(&columns)), integer(), values).prop_map(|(schema, key, values)| {
            (schema, std::iter::once(Value::Int(key)).chain(values).collect())
        })
    })
}

proptest! {
    #[test]
    fn rows_round_trip((schema, values) in row()) {
        let bytes = encode_row(&schema, &values).unwrap();
        let decoded = decode_row(&schema, &bytes).unwrap();
        prop_assert_eq!(&decoded, &values);
        // Equal by bits too.
        prop_assert_eq!(encode_row(&schema, &decoded).unwrap(), bytes);
    }

    #[test]
    fn a_cut_or_longer_row_is_an_error((schema, values) in row(), more: u8) {
        let mut bytes = encode_row(&schema, &values).unwrap();
        for end in 0..bytes.len() {
            prop_assert!(decode_row(&schema, &bytes[..end]).is_err());
        }
        bytes.push(more);
        prop_assert_eq!(
            decode_row(&schema, &bytes),
            Err(RowError::Malformed(ReadError::Trailing(1)))
        );
    }

    #[test]
    fn what_is_read_is_what_would_be_written(
        (schema, values) in row(),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        at: prop::sample::Index,
        xor in 1u8..,
    ) {
        let mut near = encode_row(&schema, &values).unwrap();
        let at = at.index(near.len());
        near[at] ^= xor;
        for bytes in [bytes, near] {
            if let Ok(values) = decode_row(&schema, &bytes) {
                prop_assert_eq!(encode_row(&schema, &values).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn rows_of_other_shapes_are_refused((schema, values) in row()) {
        let columns = values.len();
        let mut longer = values.clone();
        longer.push(Value::Null);
        for wrong in [&values[1..], &longer] {
            let error = RowError::Columns { expected: columns, found: wrong.len() };
            prop_assert_eq!(encode_row(&schema, wrong), Err(error));
        }
        for bad in [Value::Null, Value::Text(String::new())] {
            let mut values = values.clone();
            values[0] = bad;
            prop_assert_eq!(
                encode_row(&schema, &values),
                Err(RowError::Value { column: "id".to_owned() })
            );
        }
    }

    #[test]
    fn keys_are_equal_exactly_when_values_are(
        a in column_type().prop_flat_map(value),
        b in column_type().prop_flat_map(value),
    ) {
        prop_assert_eq!(a.search_key() == b.search_key(), a == b);
        prop_assert_eq!(a.search_key(), a.clone().search_key());
        prop_assert_ne!(a.search_key(), Value::Null.search_key());
    }
}

#[test]
fn known_bytes() {
    let schema = schema(&[
        (ColumnType::Real, true),
        (ColumnType::Text, true),
        (ColumnType::Bool, false),
        (ColumnType::Timestamp, false),
    ]);
    let values = [
        Value::Int(-2),
        Value::Null,
        Value::Text("é".to_owned()),
        Value::Bool(true),
        Value::Timestamp(64),
    ];
    let bytes = encode_row(&schema, &values).unwrap();
    assert_eq!(bytes, [0b10, 3, 2, 0xc3, 0xa9, 1, 0x80, 1]);
}

#[test]
fn values_that_no_encoder_writes_are_refused() {
    let real = schema(&[(ColumnType::Real, false)]);
    for number in [f64::NAN, -0.0] {
        let bytes = [&[0, 0][..], &number.to_le_bytes()].concat();
        assert!(decode_row(&real, &bytes).is_err());
        let values = [Value::Int(0), Value::Real(number)];
        let refused = encode_row(&real, &values);
        assert!(matches!(refused, Err(RowError::Value { .. })), "{refused:?}");
    }
    let text = schema(&[(ColumnType::Text, false)]);
    assert!(decode_row(&text, &[0, 0, 1, 0xff]).is_err(), "UTF-8");
    assert!(decode_row(&text, &[0b100, 0, 0]).is_err(), "a bit beyond the columns");
    assert!(decode_row(&text, &[0b10, 0]).is_err(), "NULL where it may not be");
    assert!(decode_row(&schema(&[(ColumnType::Bool, false)]), &[0, 0, 2]).is_err(), "BOOL");
    let huge = [&[0, 0][..], &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]].concat();
    assert!(decode_row(&text, &huge).is_err(), "a length beyond memory");
}
