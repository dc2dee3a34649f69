use opaque_pir::table::{Column, ColumnType};

use super::*;
use crate::{Compression, Input, Settings};

fn schema() -> Schema {
    let column = |name: &str, role| Column {
        name: name.to_owned(),
        column_type: ColumnType::Text,
        role,
        nullable: false,
    };
    let columns = vec![column("id", Role::Key), column("v", Role::Payload)];
    Schema::new("t".to_owned(), columns).unwrap()
}

fn reader(name: &str, text: &str) -> Reader {
    let bytes = std::io::Cursor::new(text.to_owned());
    let input = Input::stream(name.to_owned(), bytes, None, Compression::None).unwrap();
    Reader::new(input, None, &schema(), &Settings::default()).unwrap()
}

/// Number of rows, or the error.
fn read(files: &[(&str, &str)]) -> Result<usize, String> {
    let mut encoded: Option<Encoded> = None;
    let mut rows = 0;
    for (name, text) in files {
        let reader = reader(name, text);
        let now = match encoded.take() {
            None => Encoded::new(reader),
            Some(before) => before.followed_by(reader),
        };
        for row in encoded.insert(now) {
            row.map_err(|error| format!("{name}: {error}"))?;
            rows += 1;
        }
    }
    Ok(rows)
}

#[test]
fn keys_are_unique_across_files_and_both_places_are_named() {
    let (a, b) = ("id,v\n1,x\n2,y\n", "v;id\nz;3\n");
    let c = "{\"id\":\"4\",\"v\":\"\"}\n{\"id\":\"2\",\"v\":\"\"}\n";
    assert_eq!(read(&[("a.csv", a), ("b.csv", b)]), Ok(3));
    assert_eq!(
        read(&[("a.csv", a), ("empty.csv", "v,id\n"), ("b.csv", b), ("c.json", c)]).unwrap_err(),
        "c.json: line 2, column id: duplicates the value of line 3 of a.csv, but id is a KEY"
    );
    assert_eq!(
        read(&[("a.csv", a), ("b.csv", b), ("b.csv", b)]).unwrap_err(),
        "b.csv: line 2, column id: duplicates the value of line 2 of b.csv, but id is a KEY"
    );
    assert_eq!(
        read(&[("b.csv", b), ("d.csv", "id,v\n8,x\n9,x\n8,y\n")]).unwrap_err(),
        "d.csv: line 4, column id: duplicates the value of line 2, but id is a KEY"
    );
}
