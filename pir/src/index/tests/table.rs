use super::*;
use crate::table::{Column, ColumnType, Role, Schema, Value, encode_row};

fn schema() -> Schema {
    let columns = vec![
        Column::new("note", ColumnType::Text, Role::Payload, true),
        Column::new("city", ColumnType::Text, Role::Key, false),
        Column::new("sky", ColumnType::Int, Role::Index, true),
    ];
    Schema::new("weather".to_owned(), columns).unwrap()
}

fn encode(city: &str, sky: Option<i64>) -> Vec<u8> {
    let sky = sky.map_or(Value::Null, Value::Int);
    encode_row(&schema(), &[Value::Null, Value::Text(city.to_owned()), sky]).unwrap()
}

fn salts() -> impl FnMut() -> Salt {
    let mut seed = 0;
    move || {
        seed += 1;
        salt(seed)
    }
}

#[test]
fn every_searchable_column_gets_a_plan_that_holds_every_row() {
    let cities: Vec<_> = (0..40).map(|i| format!("city {i}")).collect();
    let sky = |i: usize| (!i.is_multiple_of(3)).then_some(i as i64 % 4);
    let rows: Vec<_> = cities.iter().enumerate().map(|(i, city)| encode(city, sky(i))).collect();
    let table = plan_table(&schema(), &rows, Link::default(), salts()).unwrap();
    assert_eq!(table.salt, salt(1));
    let [city, conditions] = &table.indexes[..] else { panic!("two searchable columns") };
    assert_eq!((city.column, city.non_null_rows), (1, 40));
    assert_eq!((conditions.column, conditions.non_null_rows), (2, 26));
    let by = |key: &dyn Fn(usize) -> Value| -> Rows {
        rows.iter().enumerate().map(|(i, row)| (key(i).search_key(), row.clone())).collect()
    };
    check_plan(&city.plan, table.salt, 1, &by(&|i| Value::Text(cities[i].clone())));
    check_plan(&conditions.plan, table.salt, 2, &by(&|i| sky(i).map_or(Value::Null, Value::Int)));
}

#[test]
fn a_duplicate_key_names_both_rows() {
    let rows = ["a", "b", "c", "b", "a", "b"].map(|city| encode(city, Some(1)));
    let error = plan_table(&schema(), &rows, Link::default(), salts()).unwrap_err();
    let column = "city".to_owned();
    assert_eq!(error, PlanError::DuplicateKey { column, first_row: 1, second_row: 3 });
}

#[test]
fn a_malformed_row_is_named() {
    let mut rows: Vec<_> = (0..20_000).map(|i| encode(&i.to_string(), None)).collect();
    rows[17_001].push(0);
    let error = plan_table(&schema(), &rows, Link::default(), salts()).unwrap_err();
    assert!(matches!(error, PlanError::Row { row: 17_001, .. }), "{error}");
}

#[test]
fn a_row_that_is_too_large_is_named() {
    let rows = [encode("a", None), encode(&"b".repeat(67_000), None)];
    let error = plan_table(&schema(), &rows, Link::default(), salts()).unwrap_err();
    assert!(matches!(error, PlanError::RowTooLarge { row: 1, bytes: 67_004, .. }), "{error}");
}

#[test]
fn a_salt_under_which_nothing_fits_is_replaced() {
    // So many bucket-filling rows that placing them in the largest permitted matrix is a matter of
    // luck.
    let rows: Vec<_> = (0..ROWS).map(|i| encode(&format!("{i:0>60000}"), Some(i))).collect();
    let mut drawn = 0;
    let mut next = salts();
    let table = plan_table(&schema(), &rows, Link::default(), || {
        drawn += 1;
        next()
    });
    let table = table.unwrap();
    assert!(drawn > 1, "the first salt works: choose other rows");
    assert_eq!(table.salt, salt(drawn));
}

const ROWS: i64 = 500;

#[test]
fn an_empty_table_is_planned() {
    let table = plan_table(&schema(), &[] as &[Vec<u8>], Link::default(), salts()).unwrap();
    assert_eq!(table.indexes.iter().map(|index| index.non_null_rows).sum::<u64>(), 0);
    assert_eq!(table.sizes, None);
    check_plan(&table.indexes[0].plan, table.salt, 1, &Vec::new());
}
