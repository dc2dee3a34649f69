use super::*;

fn column(name: &str, column_type: ColumnType, distinct: u64, nulls: u64) -> SurveyedColumn {
    let (distinct, is_unique) = (Some(distinct), distinct == 100);
    SurveyedColumn { name: name.to_owned(), column_type, nulls, distinct, is_unique, longest: 9 }
}

fn surveyed() -> Surveyed {
    let columns = vec![
        column("Population", ColumnType::Int, 100, 0),
        column("station id", ColumnType::Int, 100, 0),
        column("City", ColumnType::Text, 40, 0),
        column("City!", ColumnType::Text, 1, 0),
        column("temp", ColumnType::Real, 50, 0),
        column("région", ColumnType::Text, 10, 3),
        column("2019", ColumnType::Int, 99, 80),
        column("…", ColumnType::Text, 90, 90),
    ];
    Surveyed { columns, rows: 100, has_header: Some(true), is_named: true, skipped: Vec::new() }
}

fn sql(choice: &Choice) -> Result<String, String> {
    let declared = declaration(&surveyed(), "t".to_owned(), choice);
    declared.map(|declared| declared.to_sql(|_| None)).map_err(|error| error.to_string())
}

#[test]
fn a_key_and_columns_with_few_rows_a_value_are_proposed() {
    let expected = "CREATE TABLE t (
    Population INT,
    station_id INT KEY FROM \"station id\",
    City TEXT INDEX,
    City_2 TEXT FROM \"City!\",
    temp REAL,
    r_gion TEXT INDEX FROM \"région\",
    _2019 INT FROM \"2019\",
    column_8 TEXT FROM \"…\"
);
";
    assert_eq!(sql(&Choice::default()).unwrap(), expected);
}

#[test]
fn the_user_chooses_columns_by_their_names_in_the_files() {
    let choice = |key: &[&str], index: &[&str]| Choice {
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        index: index.iter().map(|name| (*name).to_owned()).collect(),
        table: None,
    };
    let text = sql(&choice(&["POPULATION"], &["City!", "région"])).unwrap();
    for line in ["Population INT KEY", "City_2 TEXT INDEX FROM", "r_gion TEXT INDEX", "City TEXT,"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    for (choice, expected) in [
        (choice(&["City"], &[]), "column \"City\" cannot be KEY: some of its values occur twice"),
        (choice(&["2019"], &[]), "column \"2019\" cannot be KEY: it is NULL in 80 rows"),
        (choice(&[], &["town"]), "the files have no column \"town\"; they have \"Population\", "),
    ] {
        let error = sql(&choice).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn without_a_header_the_schema_has_the_order_of_the_file() {
    let mut found = surveyed();
    found.is_named = false;
    let declared = declaration(&found, "t".to_owned(), &Choice::default()).unwrap();
    assert!(declared.columns.iter().all(|column| column.from.is_none()));
}

#[test]
fn a_table_is_named_after_its_file() {
    for (path, expected) in [
        ("weather.csv", "weather"),
        ("/data/2025-stations.tsv.gz", "_2025_stations"),
        ("https://example.com/a/My%20Cities.parquet?x=1/2.csv", "My_20Cities"),
        ("s3://bucket/t.jsonl", "t"),
        ("…", "t"),
        ("C:\\data\\x.csv", "x"),
        ("data/6.3.0-names.txt", "_6_3_0_names"),
        ("people", "people"),
    ] {
        assert_eq!(identifier(stem(path), "t"), expected, "{path}");
    }
    let long = identifier(&"x".repeat(200), "t");
    assert!(long.len() <= MAX_NAME_BYTES && suffixed(&long, 255).len() <= MAX_NAME_BYTES);
    let mut found = surveyed();
    found.columns.iter_mut().for_each(|column| column.name = "y".repeat(100));
    assert!(declaration(&found, "t".to_owned(), &Choice::default()).is_ok());
}
