use opaque_pir::{
    codec::{answer_bytes, query_bytes},
    cost::Link,
    geometry::Geometry,
    inline::{PublicPart, Variant, public_bytes},
    seed::IndexSeed,
    seed::Salt,
    table::{Column, ColumnType, Role, Schema, encode_row},
};

use super::*;
use crate::description::InlineMeta;

/// Column 1 of the schema is searched; pages hold two rows.
struct Fixture {
    keys: IndexKeys,
    table: Table,
}

impl Fixture {
    fn new() -> Self {
        let salt = Salt([1; 32]);
        // A part of a plane that does not exist: no test decrypts real data here.
        let part = PublicPart::from_bytes(&vec![0; public_bytes(4096)], 4096).unwrap();
        let inline = InlineMeta { variant: Variant::Ring2048, public_parts: vec![[0; 32]] };
        let column = |name: &str, role| Column {
            name: name.to_owned(),
            column_type: ColumnType::Text,
            role,
            nullable: role != Role::Key,
        };
        let columns = vec![column("id", Role::Key), column("sky", Role::Index)];
        let geometry = Geometry::new(4096, 2048, 2).unwrap();
        let seed = IndexSeed::new(&salt, "t", 1, 1, &geometry);
        let keys = IndexKeys::inline(&seed, vec![part]);
        let index = |column| IndexMeta { column, non_null_rows: 9, geometry };
        let table = Table {
            schema: Schema::new("t".to_owned(), columns).unwrap(),
            epoch: 1,
            generation: 1,
            rows: 10,
            salt,
            indexes: vec![index(0), index(1)],
            inline: vec![inline.clone(), inline],
            sizes: None,
            link: Link::default(),
        };
        Self { keys, table }
    }

    fn asker(&self) -> Asker<'_> {
        let Self { keys, table } = self;
        Asker { keys, table, index: &table.indexes[1] }
    }

    fn page(&self, total_rows: u64, page: u32, rows: &[(u64, &str)]) -> Page {
        let encode = |&(number, sky): &(u64, &str)| {
            let values = [Value::Text(format!("id{number}")), Value::Text(sky.to_owned())];
            (number, encode_row(&self.table.schema, &values).unwrap())
        };
        Page { total_rows, page, rows: rows.iter().map(encode).collect() }
    }
}

fn sunny() -> Value {
    Value::Text("Sunny".to_owned())
}

#[test]
fn pages_of_the_value_are_picked_from_among_neighbours() {
    let fixture = Fixture::new();
    let asker = fixture.asker();
    let buckets = vec![
        vec![
            fixture.page(1, 0, &[(7, "Rain")]),
            fixture.page(3, 1, &[(9, "Sunny")]),
            fixture.page(3, 0, &[(2, "Sunny"), (5, "Sunny")]),
        ],
        vec![fixture.page(3, 1, &[(9, "Sunny")])],
        vec![fixture.page(1, 0, &[(7, "Rain")])],
    ];
    let found = asker.found(&sunny(), buckets).unwrap();
    assert_eq!(found.total_rows, 3);
    let numbers: Vec<u64> = found.rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [2, 5, 9]);
    assert!(found.rows.iter().all(|(_, row)| row[1] == sunny()));
}

#[test]
fn a_value_without_pages_is_found_nowhere() {
    let fixture = Fixture::new();
    let neighbours = vec![vec![fixture.page(1, 0, &[(7, "Rain")])], Vec::new()];
    let found = fixture.asker().found(&sunny(), neighbours).unwrap();
    assert_eq!((found.total_rows, found.rows.len()), (0, 0));
}

#[test]
fn pages_that_contradict_one_another_fail_the_check() {
    let fixture = Fixture::new();
    let page = |total, page, rows: &[(u64, &str)]| fixture.page(total, page, rows);
    let two = [(2, "Sunny"), (5, "Sunny")];
    let faults = [
        // Page 1 is missing although page 0 states that there are three rows.
        vec![vec![page(3, 0, &two)], Vec::new()],
        // Page 0 has too few rows.
        vec![vec![page(3, 0, &two[..1])]],
        // The total changes between pages.
        vec![vec![page(3, 0, &two)], vec![page(4, 1, &[(6, "Sunny"), (7, "Sunny")])]],
        // Page 1 without page 0.
        vec![Vec::new(), vec![page(3, 1, &[(9, "Sunny")])]],
        // Another value's row inside the page.
        vec![vec![page(2, 0, &[(2, "Sunny"), (5, "Rain")])]],
        // The same page twice.
        vec![vec![page(2, 0, &two), page(2, 0, &two)]],
        // A row that the table does not have.
        vec![vec![page(1, 0, &[(10, "Sunny")])]],
    ];
    for (i, fault) in faults.into_iter().enumerate() {
        let found = fixture.asker().found(&sunny(), fault);
        assert!(matches!(found, Err(LookupError::Inconsistent)), "fault {i}: {found:?}");
    }
}

#[test]
fn buckets_come_value_by_value_and_page_by_page() {
    let fixture = Fixture::new();
    let asker = fixture.asker();
    let rain = Value::Text("Rain".to_owned());
    let both: Zeroizing<Vec<u32>> = asker.buckets(&[sunny(), rain.clone()], 3).unwrap();
    assert_eq!(both.capacity(), both.len(), "it never grew");
    let sun_alone = asker.buckets(&[sunny()], 3).unwrap();
    let rain_alone = asker.buckets(&[rain], 3).unwrap();
    assert_eq!(*both, [sun_alone.as_slice(), rain_alone.as_slice()].concat());
    assert!(both.iter().all(|bucket| *bucket < 2048));
}

#[test]
fn a_request_and_only_its_own_answer_fit() {
    let fixture = Fixture::new();
    let asker = fixture.asker();
    let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
    let mut seeds = |n: usize| (0..n).map(|_| Seeds::draw(&mut rng).unwrap()).collect::<Vec<_>>();
    let geometry = &asker.index.geometry;
    let request = asker.request(&[5, 6, 5], seeds(3)).unwrap();
    assert_eq!(request.bytes.len(), query_bytes(geometry, fixture.keys.kind(), 3));
    assert_eq!(request.secrets.len(), 3);
    // An answer of zeros has the right size but holds no bucket. The check detects it.
    let zeros = vec![0; answer_bytes(geometry, fixture.keys.kind(), 3)];
    assert!(asker.open(request.secrets, &zeros).is_err());
    assert!(asker.request(&[0; 65], seeds(65)).is_err());
    assert!(matches!(asker.request(&[5, 6], seeds(1)), Err(LookupError::Seeds)));
}
