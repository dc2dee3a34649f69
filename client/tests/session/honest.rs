//! The replies of an honest node: one table in memory, and the servers' half of the engine.

use bytes::Bytes;
use opaque_pir::{
    codec::{Combiner, Material, Partial, QueryView},
    cost::Link,
    geometry::Geometry,
    hint::HintBuilder,
    index::{PlannedIndex, plan_table},
    inline::{self, Chain, InlineQuery, PlaneTables, PublicElements, PublicPart},
    machine::{ScanKernel, VectorKernel},
    params::PLANE_ROWS,
    scan::{Partition, scan},
    seed::IndexSeed,
    seed::Salt,
    table::{Schema, Value, encode_row},
};
use opaque_proto::v1::{Index, LookupHeader, ScanRequest, ScannedRow, TableDescription};

const EPOCH: u64 = 1;

pub(crate) struct Honest {
    pub(crate) description: TableDescription,
    rows: Vec<Vec<u8>>,
    indexes: Vec<Served>,
}

/// One searchable column.
struct Served {
    column: u32,
    geometry: Geometry,
    partitions: Vec<Partition>,
    planes: Vec<PlaneTables>,
}

impl Honest {
    pub(crate) fn new(schema: &Schema, rows: &[Vec<Value>], salt: Salt) -> Self {
        let rows: Vec<Vec<u8>> = rows.iter().map(|row| encode_row(schema, row).unwrap()).collect();
        let plan = plan_table(schema, &rows, Link::default(), || salt).unwrap();
        let indexes: Vec<_> =
            plan.indexes.iter().map(|index| Served::new(schema, salt, index, &rows)).collect();
        let described = plan.indexes.iter().zip(&indexes);
        let description = TableDescription {
            schema: Some(schema.into()),
            epoch: EPOCH,
            generation: 1,
            rows: rows.len() as u64,
            salt: salt.0.to_vec().into(),
            indexes: described
                .map(|(index, served)| served.describe(index.non_null_rows))
                .collect(),
            row_sizes: None,
            link_mbits: 50,
        };
        Self { description, rows, indexes }
    }

    pub(crate) fn public_parts(&self, column: u32) -> Vec<Bytes> {
        self.index(column).parts().map(|part| part.to_bytes().into()).collect()
    }

    pub(crate) fn answer(&self, header: &LookupHeader, query: &[u8]) -> Vec<u8> {
        self.index(header.column).answer(header.epoch.unwrap(), query)
    }

    /// Every page of the scan returns its share of the rows.
    pub(crate) fn scan(&self, request: &ScanRequest) -> Vec<ScannedRow> {
        let pages = self.indexes[0].geometry.partitions() as usize;
        let page = request.first_bucket as usize / 1024;
        let below = request.rows_below.map_or(usize::MAX, |below| below.try_into().unwrap());
        let rows = self.rows.iter().enumerate().take(below).skip(page).step_by(pages);
        rows.map(|(number, row)| ScannedRow { number: number as u64, row: row.clone().into() })
            .collect()
    }

    fn index(&self, column: u32) -> &Served {
        self.indexes.iter().find(|index| index.column == column).unwrap()
    }
}

impl Served {
    fn new(schema: &Schema, salt: Salt, index: &PlannedIndex, rows: &[Vec<u8>]) -> Self {
        let PlannedIndex { column, plan, .. } = index;
        let geometry = *plan.geometry();
        let seed = IndexSeed::new(&salt, schema.table(), EPOCH, *column, &geometry);
        let mut hint = HintBuilder::new(seed, &geometry);
        let mut partitions = Vec::new();
        for number in 0..geometry.partitions() {
            let bytes = plan.partition(rows, number).unwrap();
            hint.add(number, &bytes).unwrap();
            partitions.push(Partition::try_from((bytes.as_slice(), &geometry)).unwrap());
        }
        let chain = Chain::new(&PublicElements::new(&seed));
        let hint = hint.finish().unwrap();
        let planes = hint.planes().iter().map(|plane| chain.tables(plane).unwrap()).collect();
        Self { column: *column, geometry, partitions, planes }
    }

    fn parts(&self) -> impl Iterator<Item = &PublicPart> {
        self.planes.iter().map(PlaneTables::public)
    }

    fn describe(&self, non_null_rows: u64) -> Index {
        let digest = |part: &PublicPart| PublicPart::digest(&part.to_bytes()).to_vec().into();
        Index {
            column: self.column,
            bucket_bytes: self.geometry.bucket_bytes().try_into().unwrap(),
            buckets: self.geometry.buckets(),
            page_rows: self.geometry.page_rows(),
            non_null_rows,
            params_id: self.geometry.params_id().as_bytes().to_vec().into(),
            variant: inline::NAME.to_owned(),
            public_parts: self.parts().map(digest).collect(),
        }
    }

    fn answer(&self, epoch: u64, query: &[u8]) -> Vec<u8> {
        let geometry = &self.geometry;
        let view = QueryView::decode(query, geometry, epoch).unwrap();
        let (kind, lookups) = (view.material().kind(), view.lookups());
        assert!(matches!(view.material(), Material::Inline));
        let secret = |lookup| view.encrypted_secret(lookup).unwrap();
        let keys: Vec<InlineQuery> =
            (0..lookups).map(|lookup| InlineQuery::from_bytes(secret(lookup)).unwrap()).collect();
        let keys: Vec<&InlineQuery> = keys.iter().collect();
        let partitions = 0..geometry.partitions();
        let slice = |lookup| {
            let words = |partition| view.lwe_partition(lookup, partition).unwrap();
            partitions.clone().flat_map(words).collect::<Vec<u32>>()
        };
        let slices: Vec<Vec<u32>> = (0..lookups).map(slice).collect();
        let slices: Vec<&[u32]> = slices.iter().map(Vec::as_slice).collect();
        let matrix: Vec<&Partition> = self.partitions.iter().collect();
        let mut scans = scan(ScanKernel::Scalar, geometry, &matrix, &slices).unwrap();
        for (plane, tables) in self.planes.iter().enumerate() {
            let products = inline::multiply(VectorKernel::best(), tables, &keys).unwrap();
            for (scan, product) in scans.iter_mut().zip(products) {
                let rows = scan.iter_mut().skip(plane * PLANE_ROWS);
                rows.zip(product).for_each(|(row, word)| *row = row.wrapping_sub(word));
            }
        }
        let products = vec![Vec::new(); lookups.into()];
        let partial = Partial {
            generation: 1,
            epoch,
            kind,
            partitions: partitions.clone().collect(),
            scans,
            planes: (0..).zip(vec![products; geometry.planes()]).collect(),
        };
        let mut combiner = Combiner::new(geometry, kind, 1, epoch, lookups).unwrap();
        combiner.add(partial).unwrap();
        combiner.finish().unwrap()
    }
}
