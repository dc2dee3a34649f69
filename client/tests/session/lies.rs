//! Random statements against a lying node. It must see the same of the client as an honest node.

use std::sync::{Arc, LazyLock};

use opaque_client::{QueryOptions, sql::Options};
use opaque_pir::{inline::PublicPart, seed::Salt};
use opaque_proto::v1::TableDescription;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tonic::Code;

use super::{
    closing::{HONEST, client_of, rows, schema},
    fake::{Node, Reply},
    honest::Honest,
    watched::Event,
};

/// Other rows of the same shape, under another salt.
static OTHER: LazyLock<Arc<Honest>> =
    LazyLock::new(|| Arc::new(Honest::new(&schema(), &rows(1000), Salt([2; 32]))));

/// The description that a node states, and its replies.
#[derive(Clone)]
struct Behaviour {
    what: &'static str,
    honest: Arc<Honest>,
    table: TableDescription,
    /// Public parts in place of the honest ones.
    parts: Vec<Vec<u8>>,
    reply: Reply,
}

impl Behaviour {
    fn honest() -> Self {
        let (honest, table) = (Arc::clone(&HONEST), HONEST.description.clone());
        Self { what: "the truth", honest, table, parts: Vec::new(), reply: Reply::Honest }
    }

    /// Honest behaviour, except for the changes of `lie`.
    fn lying(what: &'static str, lie: impl FnOnce(&mut Self)) -> Self {
        let mut lying = Self { what, ..Self::honest() };
        lie(&mut lying);
        lying
    }

    /// The events that this node sees for one statement.
    async fn sees(&self, sql: &str) -> Vec<Event> {
        let node = Node { honest: Some(Arc::clone(&self.honest)), ..Node::default() };
        *node.tables.lock().unwrap() = [self.table.clone()].into();
        *node.public_parts.lock().unwrap() = self.parts.iter().cloned().map(Into::into).collect();
        *node.at_last.lock().unwrap() = Some(self.reply.clone());
        let (client, node) = client_of(node).await;
        let plan = Options { allow_public_scan: true, ..Options::default() };
        let options = QueryOptions { plan, ..QueryOptions::default() };
        // A node must not see whether the statement is answered.
        let _ = client.query_and_close(sql, &options).await;
        node.closed().await
    }
}

const SHAPES: usize = 9;

/// A statement of some shape, with random literals: of present values, of absent values, of NULL.
fn statement(shape: usize, rng: &mut StdRng) -> String {
    let id = |rng: &mut StdRng| match rng.random_range(0..5) {
        0 => "NULL".to_owned(),
        1 => rng.random_range(60..1_000_000).to_string(),
        _ => rng.random_range(0..60).to_string(),
    };
    let mood = |rng: &mut StdRng| match rng.random_range(0..3) {
        0 => format!("'{}'", "x".repeat(rng.random_range(0..300))),
        _ => format!("'mood{}'", rng.random_range(0..3)),
    };
    let list = |count, one: &dyn Fn(&mut StdRng) -> String, rng: &mut StdRng| {
        (0..count).map(|_| one(rng)).collect::<Vec<_>>().join(", ")
    };
    let (note, pin) = (rng.random_range(0..9), rng.random_range(0..9));
    match shape {
        0 => format!("SELECT * FROM t WHERE id = {}", id(rng)),
        // Two requests.
        1 => format!("SELECT id FROM t WHERE id IN ({})", list(20, &id, rng)),
        2 => format!("SELECT * FROM t WHERE mood = {} LIMIT 15 OFFSET 3", mood(rng)),
        3 => format!("SELECT * FROM t WHERE mood IN ({}) ORDER BY pin", list(3, &mood, rng)),
        4 => format!("SELECT COUNT(*) FROM t WHERE mood <> {}", mood(rng)),
        5 => format!(
            "SELECT note FROM t WHERE id = {} AND note = 'note00{note}' AND pin > {pin}",
            id(rng)
        ),
        6 => "SELECT id FROM t LIMIT 7".to_owned(),
        7 => format!("SELECT id FROM t WHERE note = 'note00{note}' LIMIT 2"),
        _ => "SELECT COUNT(*) FROM t".to_owned(),
    }
}

/// A public part of the right size.
fn other_part() -> Vec<u8> {
    vec![9; HONEST.public_parts(HONEST.description.indexes[0].column)[0].len()]
}

/// Lies that keep the public geometry: roles, searched columns, geometries, row counts.
fn lies_of_equal_geometry() -> Vec<Behaviour> {
    vec![
        Behaviour::lying("other rows, another salt", |node| {
            node.honest = Arc::clone(&OTHER);
            node.table = OTHER.description.clone();
        }),
        Behaviour::lying("only another salt", |node| node.table.salt = vec![3; 32].into()),
        Behaviour::lying("another epoch", |node| node.table.epoch = 1 << 40),
        Behaviour::lying("a digest for this client, and parts that fit it", |node| {
            node.parts = vec![other_part()];
            for index in &mut node.table.indexes {
                index.public_parts = vec![PublicPart::digest(&node.parts[0]).to_vec().into()];
            }
        }),
        Behaviour::lying("spoiled answers", |node| node.reply = Reply::Spoiled),
        Behaviour::lying("answers of another table", |node| {
            node.honest = Arc::clone(&OTHER);
            node.table.indexes.clone_from(&OTHER.description.indexes);
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_lie_of_equal_geometry_changes_what_a_node_sees() {
    let shape = |honest: &Honest| {
        let indexes = honest.description.indexes.iter();
        indexes.map(|i| (i.bucket_bytes, i.buckets, i.page_rows)).collect::<Vec<_>>()
    };
    assert_eq!(shape(&HONEST), shape(&OTHER), "the test's own premise");
    let mut rng = StdRng::seed_from_u64(15);
    let mut requests = 0;
    for round in 0..SHAPES * 2 {
        let sql = statement(round % SHAPES, &mut rng);
        let expected = Behaviour::honest().sees(&sql).await;
        assert_eq!(expected.last(), Some(&Event::Closed), "{sql}: {expected:?}");
        requests += expected.len() - 2;
        for lie in lies_of_equal_geometry() {
            assert_eq!(lie.sees(&sql).await, expected, "{}: {sql}", lie.what);
        }
    }
    assert!(requests > SHAPES * 4, "the statements send requests");
}

/// Types, nullability and names of columns that are not searched.
#[tokio::test(flavor = "multi_thread")]
async fn no_lie_about_other_columns_changes_what_a_node_sees() {
    let mut rng = StdRng::seed_from_u64(16);
    for round in 0..SHAPES * 4 {
        let sql = statement(round % SHAPES, &mut rng);
        let expected = Behaviour::honest().sees(&sql).await;
        let mut described = Behaviour::honest();
        for column in &mut described.table.schema.as_mut().unwrap().columns[2..] {
            column.r#type = rng.random_range(1..=6);
            column.nullable = rng.random();
            if rng.random_range(0..4) == 0 {
                column.name.push('z');
            }
        }
        let schema = &described.table.schema;
        assert_eq!(described.sees(&sql).await, expected, "{schema:?}: {sql}");
    }
}

/// Lies after which the client cannot send the same requests, or that it detects without decrypting
/// anything.
fn lies_of_any_kind() -> Vec<Behaviour> {
    let spoiled = |what, lie: fn(&mut TableDescription)| {
        Behaviour::lying(what, |node| {
            node.reply = Reply::Spoiled;
            lie(&mut node.table);
        })
    };
    let reply = |what, reply| Behaviour::lying(what, |node| node.reply = reply);
    vec![
        spoiled("few rows", |table| {
            table.rows = 2;
            table.indexes.iter_mut().for_each(|index| index.non_null_rows = 1);
        }),
        spoiled("many rows", |table| table.rows = 1 << 50),
        spoiled("small pages", |table| reshape(table, |index| index.page_rows = 1)),
        spoiled("more buckets", |table| reshape(table, |index| index.buckets *= 2)),
        spoiled("larger buckets", |table| reshape(table, |index| index.bucket_bytes = 8192)),
        spoiled("no such variant", |table| table.indexes[0].variant = "seven".to_owned()),
        spoiled("another column's index", |table| table.indexes.reverse()),
        Behaviour::lying("parts of other digests", |node| node.parts = vec![other_part()]),
        Behaviour::lying("no parts", |node| node.parts = vec![Vec::new()]),
        reply("answers of another size", Reply::Answer { total: 9, chunks: vec![9] }),
        reply("answers without a header", Reply::Headless),
        reply("a refusal", Reply::Refuse(Code::Internal, "internal")),
        reply("keys are unknown", Reply::Refuse(Code::FailedPrecondition, "unknown-keys")),
        reply("ever another epoch", Reply::Refuse(Code::FailedPrecondition, "stale-epoch")),
    ]
}

fn reshape(table: &mut TableDescription, change: fn(&mut opaque_proto::v1::Index)) {
    for index in &mut table.indexes {
        change(index);
        let shape = (index.bucket_bytes, index.buckets, index.page_rows);
        let geometry = opaque_pir::geometry::Geometry::new(shape.0, shape.1, shape.2).unwrap();
        index.params_id = geometry.params_id().as_bytes().to_vec().into();
        let part = index.public_parts[0].clone();
        index.public_parts = vec![part; geometry.planes()];
    }
}

/// Whatever a node states, statements of one shape look the same to it.
#[tokio::test(flavor = "multi_thread")]
async fn under_any_lie_nothing_depends_on_the_literals() {
    let mut rng = StdRng::seed_from_u64(17);
    for lie in lies_of_any_kind() {
        for shape in 0..SHAPES {
            let (one, other) = (statement(shape, &mut rng), statement(shape, &mut rng));
            assert_eq!(lie.sees(&one).await, lie.sees(&other).await, "{}: {one} {other}", lie.what);
        }
    }
}
