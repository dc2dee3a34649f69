use std::io::Cursor;
use std::path::Path;

use super::*;
use crate::{Compression, Reader};

fn input(text: &str) -> Input {
    let bytes = Cursor::new(text.as_bytes().to_vec());
    Input::stream("f".to_owned(), bytes, None, Compression::None).unwrap()
}

fn surveyed(texts: &[&str], settings: &Settings) -> Result<Surveyed, SourceError> {
    let mut survey = Survey::new(None, settings.clone());
    for text in texts {
        survey.read(input(text), |_, _| {})?;
    }
    Ok(survey.finish())
}

fn types(text: &str) -> Vec<(String, ColumnType)> {
    let columns = surveyed(&[text], &Settings::default()).unwrap().columns;
    columns.into_iter().map(|column| (column.name, column.column_type)).collect()
}

fn named(expected: &[(&str, ColumnType)]) -> Vec<(String, ColumnType)> {
    expected.iter().map(|(name, column_type)| ((*name).to_owned(), *column_type)).collect()
}

use ColumnType::{Bool, Int, Json, Real, Text, Timestamp};

#[test]
fn a_column_gets_the_narrowest_type_of_all_its_values() {
    let text = "int;zip;real;big;bool;at;doc;name;none\n\
                -7;0150;1;9223372036854775808;true;2026-11-30T09:00:00Z;[1];a;\n\
                ;5003;.5;1;FALSE;;{};1;\n";
    let expected = [
        ("int", Int),
        ("zip", Text),
        ("real", Real),
        ("big", Text),
        ("bool", Bool),
        ("at", Timestamp),
        ("doc", Json),
        ("name", Text),
        ("none", Text),
    ];
    assert_eq!(types(text), named(&expected));
    // Empty text is no NULL, and a REAL that would lose digits is no REAL.
    assert_eq!(types("id,note\n1,\"\"\n2,\"\"\n"), named(&[("id", Int), ("note", Text)]));
    for (text, column_type) in [
        ("1.5", Real),
        ("1.50", Real),
        ("-0.05e3", Real),
        ("60.193901062012", Real),
        ("0.1000000000000000055", Text),
        ("1e-400", Text),
        ("9007199254740993.0", Text),
    ] {
        assert_eq!(types(&format!("a,b\n{text},\n"))[0].1, column_type, "{text}");
    }
    for (time, column_type) in [
        ("2026-11-30T09:00:00.123456Z", Timestamp),
        ("2026-11-30T09:00:00.1234560Z", Timestamp),
        ("2026-11-30T09:00:00.1234567Z", Text),
    ] {
        assert_eq!(types(&format!("a,b\n{time},\n"))[0].1, column_type, "{time}");
    }
    let null = crate::Null::Text("NA".to_owned());
    let settings = Settings { null, ..Settings::default() };
    let found = surveyed(&["id,n,m\n1,5,\n2, NA,3\n3,NA,4\n"], &settings).unwrap().columns;
    assert_eq!((found[1].column_type, found[1].nulls), (Int, 2));
    assert_eq!((found[2].column_type, found[2].nulls), (Text, 0));
    // Keys that differ by blanks are different columns.
    assert_eq!(types("{\"a\":1}\n{\"a \":2}"), named(&[("a", Int), ("a ", Int)]));
    // The last of many values decides.
    let mut long = "a,b\n".to_owned() + &"1,x\n".repeat(100_000);
    assert_eq!(types(&long), named(&[("a", Int), ("b", Text)]));
    long += "n/a,x\n";
    assert_eq!(types(&long), named(&[("a", Text), ("b", Text)]));
}

#[test]
fn members_of_json_objects_become_columns() {
    let text = r#"[{"id":1,"r":1.5,"t":"x","b":true,"d":{"a":1},"m":1,"at":"2026-11-30T09:00:00Z"},
                  {"id":2,"r":2,"t":"1","b":null,"d":[],"m":"x","at":"2026-11-30T09:00:00+01:00","new":7}]"#;
    let expected = [
        ("id", Int),
        ("r", Real),
        ("t", Text),
        ("b", Bool),
        ("d", Json),
        ("m", Json),
        ("at", Timestamp),
        ("new", Int),
    ];
    assert_eq!(types(text), named(&expected));
    let found = surveyed(&[text], &Settings::default()).unwrap();
    let nulls: Vec<u64> = found.columns.iter().map(|column| column.nulls).collect();
    assert_eq!(nulls, [0, 0, 0, 1, 0, 0, 0, 1]);
}

#[test]
fn different_values_are_counted_across_files() {
    let found = surveyed(&["k,v\n1,a\n2,a\n", "v,k\nb,3\n,1\n"], &Settings::default()).unwrap();
    let [k, v] = found.columns.as_slice() else { panic!("{found:?}") };
    assert_eq!((k.distinct, k.is_unique, k.nulls), (Some(3), false, 0));
    assert_eq!((v.distinct, v.is_unique, v.nulls), (Some(2), false, 1));
    assert_eq!(found.rows, 4);
    let found = surveyed(&["k,v\n1,a\n2,a\n"], &Settings::default()).unwrap();
    assert!(found.columns[0].is_unique && !found.columns[1].is_unique);
}

#[test]
fn the_layout_of_a_file_is_detected_or_refused() {
    for (text, header, names) in [
        ("a\tb\n1\t2\n", true, vec!["a", "b"]),
        ("Oslo;1\nRome;2\n", false, vec!["column_1", "column_2"]),
        ("2026-01-01,Oslo\n2026-01-02,Rome\n", false, vec!["column_1", "column_2"]),
        ("Country,2019,2020\nNorway,5,6\n", true, vec!["Country", "2019", "2020"]),
        ("# made by a tool\nid|name\n1|x\n", true, vec!["id", "name"]),
        ("\u{feff}a,\"b,c\"\r\n1,\"x\r\ny\"\r\n", true, vec!["a", "b,c"]),
        ("name\nOslo\n", true, vec!["name"]),
    ] {
        let found = surveyed(&[text], &Settings::default());
        let found = match found {
            Ok(found) => found,
            Err(error) => panic!("{text:?}: {error}"),
        };
        assert_eq!(found.has_header, Some(header), "{text:?}");
        let found: Vec<_> = found.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(found, names, "{text:?}");
    }
    for (text, expected) in [
        ("Oslo;1,5\nRome;2,5\n", "set its delimiter (--delimiter)"),
        ("#id,name\n1,x\n", "set its comment"),
        ("a,b,a\n1,2,3\n", "fields 1 and 3 of f have the same name \"a\""),
        ("a,b\n1,2\n3\n", "line 3"),
        ("", "f is empty"),
        ("<html>", "f is an HTML page"),
        ("{\"a\":1} x", "f"),
    ] {
        let error = surveyed(&[text], &Settings::default()).map(|found| found.rows);
        let error = error.expect_err(text).to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    let many = (0..300).map(|n| n.to_string()).collect::<Vec<_>>().join("\t") + "\n";
    let settings = |dialect| Settings { dialect, ..Settings::default() };
    let error = surveyed(&[&many], &Settings::default()).unwrap_err().to_string();
    assert!(error.contains("more than 256 columns"), "{error}");
    let set = crate::Dialect { header: Some(false), ..crate::Dialect::default() };
    let found = surveyed(&["a,b\nc,d\n"], &settings(set)).unwrap();
    assert_eq!(
        (found.rows, found.columns[1].name.as_str(), found.is_named),
        (2, "column_2", false)
    );
    let columns = vec!["x".to_owned(), "y".to_owned()];
    let set = crate::Dialect { columns, ..crate::Dialect::default() };
    let found = surveyed(&["a,b\nc,d\n"], &settings(set)).unwrap();
    assert_eq!((found.rows, found.columns[1].name.as_str(), found.is_named), (2, "y", true));
}

/// What a survey proposes must load. The examples of the repository are read with the types found.
#[test]
fn the_examples_load_with_the_types_that_were_found() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut read = 0;
    for folder in std::fs::read_dir(examples).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).into_iter().flatten() {
            let path = file.unwrap().path();
            let name = path.to_string_lossy().into_owned();
            if ![".csv", ".csv.gz", ".jsonl", ".tsv"].iter().any(|ending| name.ends_with(ending)) {
                continue;
            }
            let mut survey = Survey::new(None, Settings::default());
            survey.read(Input::open(&path).unwrap(), |_, _| {}).unwrap();
            let found = survey.finish();
            let columns: Vec<_> = found
                .columns
                .iter()
                .map(|column| (column.name.clone(), column.column_type))
                .collect();
            let (schema, columns) = schema_of(&name, &columns, true).unwrap();
            let settings = Settings { columns, ..Settings::default() };
            let reader =
                Reader::new(Input::open(&path).unwrap(), None, &schema, &settings).unwrap();
            let rows = reader.collect::<Result<Vec<_>, _>>();
            let rows = rows.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(rows.len() as u64, found.rows, "{name}");
            read += 1;
        }
    }
    assert!(read > 0, "no example was found");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_states_its_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet/all-zstd.parquet");
    let mut survey = Survey::new(None, Settings::default());
    survey.read(Input::open(&path).unwrap(), |_, _| {}).unwrap();
    let found = survey.finish();
    let of = |name: &str| found.columns.iter().find(|column| column.name == name);
    for (name, column_type) in [("id", Int), ("Name", Text), ("real", Real), ("day", Text)] {
        assert_eq!(
            of(name).map(|column| column.column_type),
            Some(column_type),
            "{name}: {found:?}"
        );
    }
    assert!(found.rows > 0 && found.has_header.is_none());
}
