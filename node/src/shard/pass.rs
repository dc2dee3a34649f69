//! One pass over a shard's part of an index for several requests: every partition is read once for
//! all their lookups, and so are the tables of every plane of the hint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opaque_pir::codec::{Partial, Slice, SliceMaterial};
use opaque_pir::geometry::Geometry;
use opaque_pir::inline::{self, InlineQuery, PlaneTables};
use opaque_pir::machine::{Kernels, VectorKernel};
use opaque_pir::params::PLANE_ROWS;
use opaque_pir::probe::{Probe, SECRETS};
use opaque_pir::scan::{Partition, scan};
use opaque_pir::seed::IndexSeed;
use opaque_seal::{Bfv, EncryptedSecret, EvaluationKeys, PlaneTable, hint_product};
use rayon::prelude::*;

use crate::error::NodeError;

/// The data that a pass reads: a shard's part of an index.
pub struct IndexPart<'a> {
    /// Shape of the whole index.
    pub geometry: &'a Geometry,
    /// Seed of the index's public elements.
    pub seed: &'a IndexSeed,
    /// The index's self-test.
    pub probe: &'a Probe,
    /// Partition numbers, sorted, and their bytes.
    pub partitions: Vec<(u32, &'a Partition)>,
    /// Planes of the hint, sorted.
    pub planes: Vec<PlanePart<'a>>,
}

/// The data of one plane of the hint that a pass reads.
pub struct PlanePart<'a> {
    /// Number of the plane in its index.
    pub plane: u16,
    /// Tables for inline keys.
    pub tables: &'a PlaneTables,
    /// Products of the plane with each secret of the self-test.
    pub probed: &'a [Vec<u32>; SECRETS],
    /// Table for registered keys, if it has been built.
    pub registered: Option<&'a PlaneTable>,
}

/// One request's part of a pass.
pub struct Request {
    /// The shard map for which the request was cut.
    pub generation: u64,
    /// The table's epoch.
    pub epoch: u64,
    /// The encrypted query for exactly this shard's partitions.
    pub slice: Slice,
    /// The keys that the slice names, if any. The index is prepared for them.
    pub keys: Option<RegisteredKeys>,
}

/// Keys that the cluster stores, with the context that uses them.
pub struct RegisteredKeys {
    /// SEAL's context.
    pub bfv: Arc<Bfv>,
    /// The keys.
    pub keys: Arc<EvaluationKeys>,
}

/// The steps of a pass, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Partitions are read.
    Scan,
    /// Inline keys are decoded.
    Keys,
    /// Planes are multiplied.
    Products,
    /// Products are subtracted from the scans.
    Results,
}

/// One shard's contribution and its costs.
#[derive(Debug)]
pub struct Evaluated {
    /// Sums over this shard's partitions, products of this shard's planes.
    pub partial: Partial,
    /// Time of the scan, which all requests of a pass share.
    pub scan: Duration,
    /// Time of the hint products, which all requests of a pass share.
    pub hint: Duration,
}

/// Per plane, one product per lookup.
type PlaneProducts = Vec<(u16, Vec<Vec<u8>>)>;

/// A request's products.
enum Products {
    /// Products that are sent next to the scans.
    Beside(PlaneProducts),
    /// Words of the plane's rows, which are subtracted from the scans.
    Within(Vec<(u16, Vec<Vec<u32>>)>),
}

/// Subtracts products from the scans, `[lookup][row]`. The planes then have nothing left to send.
fn take_off(scans: &mut [Vec<u32>], planes: Vec<(u16, Vec<Vec<u32>>)>) -> PlaneProducts {
    let off = |(plane, products): (u16, Vec<Vec<u32>>)| {
        for (scan, product) in scans.iter_mut().zip(&products) {
            let rows = scan.iter_mut().skip(usize::from(plane) * PLANE_ROWS);
            for (row, word) in rows.zip(product) {
                *row = row.wrapping_sub(*word);
            }
        }
        (plane, vec![Vec::new(); products.len()])
    };
    planes.into_iter().map(off).collect()
}

impl IndexPart<'_> {
    /// Scans every partition and multiplies every plane for every lookup of the requests. Returns
    /// one result per request, in order. A result depends only on its request. `on_step` is called
    /// before each step.
    ///
    /// The work depends on the geometry and the number of lookups of each kind. It is CPU-bound and
    /// runs on the current rayon pool.
    ///
    /// # Errors
    /// An error for each request whose ciphertexts do not belong to this parameter set.
    pub fn pass(
        &self,
        requests: &[Request],
        kernels: Kernels,
        on_step: &mut dyn FnMut(Step),
    ) -> Vec<Result<Evaluated, NodeError>> {
        on_step(Step::Scan);
        let started = Instant::now();
        let scans = self.scans(requests, kernels);
        let scan = started.elapsed();
        let scans = match scans {
            Ok(scans) => scans,
            Err(error) => return requests.iter().map(|_| Err(error.clone())).collect(),
        };
        let started = Instant::now();
        let products = self.products(requests, kernels.inline, on_step);
        let hint = started.elapsed();
        on_step(Step::Results);
        type Scanned<'a> = (&'a Request, Vec<Vec<u32>>);
        let evaluated = |((request, mut scans), planes): (Scanned<'_>, Result<_, NodeError>)| {
            let Request { generation, epoch, slice, keys: _ } = request;
            let planes = match planes? {
                Products::Beside(planes) => planes,
                Products::Within(planes) => take_off(&mut scans, planes),
            };
            let partial = Partial {
                generation: *generation,
                epoch: *epoch,
                kind: slice.material().kind(),
                partitions: self.partitions.iter().map(|(number, _)| *number).collect(),
                scans,
                planes,
            };
            Ok(Evaluated { partial, scan, hint })
        };
        requests.iter().zip(scans).zip(products).map(evaluated).collect()
    }

    /// `[request][lookup][row]`.
    fn scans(
        &self,
        requests: &[Request],
        kernels: Kernels,
    ) -> Result<Vec<Vec<Vec<u32>>>, NodeError> {
        let queries: Vec<_> = requests
            .iter()
            .map(|request| request.slice.scan_queries(self.seed, self.probe))
            .collect();
        let all: Vec<&[u32]> = queries.iter().flat_map(|q| q.iter().map(Vec::as_slice)).collect();
        let partitions: Vec<&Partition> = self.partitions.iter().map(|(_, data)| *data).collect();
        let sums = scan(kernels.scan, self.geometry, &partitions, &all);
        let mut sums = sums.map_err(NodeError::internal)?.into_iter();
        Ok(queries.iter().map(|queries| sums.by_ref().take(queries.len()).collect()).collect())
    }

    /// Products of each request, in order.
    fn products(
        &self,
        requests: &[Request],
        kernel: VectorKernel,
        on_step: &mut dyn FnMut(Step),
    ) -> Vec<Result<Products, NodeError>> {
        on_step(Step::Keys);
        let inline: Vec<Option<Result<Vec<InlineQuery>, NodeError>>> =
            requests.par_iter().map(|request| self.inline_queries(&request.slice)).collect();
        let all: Vec<&InlineQuery> =
            inline.iter().flatten().filter_map(|queries| queries.as_ref().ok()).flatten().collect();
        on_step(Step::Products);
        let multiply = |plane: &PlanePart<'_>| {
            let products = inline::multiply(kernel, plane.tables, &all);
            Ok(products.map_err(NodeError::internal)?.into_iter())
        };
        let shared = match all.as_slice() {
            [] => Ok(Vec::new()),
            _ => self.planes.iter().map(multiply).collect::<Result<Vec<_>, NodeError>>(),
        };
        let mut shared = match shared {
            Ok(shared) => shared,
            Err(error) => return requests.iter().map(|_| Err(error.clone())).collect(),
        };
        let own = |(request, inline): (&Request, Option<Result<Vec<InlineQuery>, NodeError>>)| {
            let Some(queries) = inline else {
                return self.own_products(request).map(Products::Beside);
            };
            let count = queries?.len();
            let of_plane = |(plane, products): (&PlanePart<'_>, &mut _)| {
                let products: &mut std::vec::IntoIter<Vec<u32>> = products;
                (plane.plane, products.take(count).collect())
            };
            Ok(Products::Within(self.planes.iter().zip(&mut shared).map(of_plane).collect()))
        };
        requests.iter().zip(inline).map(own).collect()
    }

    /// The inline keys of a slice's lookups, if there are planes to multiply; `None` for other
    /// kinds of keys.
    fn inline_queries(&self, slice: &Slice) -> Option<Result<Vec<InlineQuery>, NodeError>> {
        if !matches!(slice.material(), SliceMaterial::Inline) {
            return None;
        }
        if self.planes.is_empty() {
            return Some(Ok(Vec::new()));
        }
        let malformed = || NodeError::Malformed("malformed inline keys".into());
        let query = |lookup| {
            let bytes = slice.encrypted_secret(lookup).ok_or_else(malformed)?;
            InlineQuery::from_bytes(bytes).map_err(|_| malformed())
        };
        Some((0..slice.lookups()).map(query).collect())
    }

    /// Products that a request does not share with others.
    fn own_products(&self, request: &Request) -> Result<PlaneProducts, NodeError> {
        match request.slice.material() {
            SliceMaterial::Probe => Ok(self.probe_products()),
            _ => self.registered_products(request),
        }
    }

    /// Exact products with the secrets of the self-test.
    fn probe_products(&self) -> PlaneProducts {
        let of_plane = |plane: &PlanePart<'_>| {
            (plane.plane, plane.probed.iter().map(|product| le_bytes(product)).collect())
        };
        self.planes.iter().map(of_plane).collect()
    }

    /// One ciphertext per plane and lookup.
    fn registered_products(&self, request: &Request) -> Result<PlaneProducts, NodeError> {
        if self.planes.is_empty() {
            return Ok(Vec::new());
        }
        let RegisteredKeys { bfv, keys } = request.keys.as_ref().ok_or(NodeError::UnknownKeys)?;
        let tables = self.planes.iter().map(|plane| plane.registered);
        let tables: Option<Vec<&PlaneTable>> = tables.collect();
        let tables = tables.ok_or_else(|| NodeError::internal("a plane without its table"))?;
        let malformed = || NodeError::Malformed("malformed encrypted secret".into());
        let per_lookup: Vec<Vec<Vec<u8>>> = (0..request.slice.lookups())
            .into_par_iter()
            .map(|lookup| {
                let bytes = request.slice.encrypted_secret(lookup).ok_or_else(malformed)?;
                let secret = EncryptedSecret::from_bytes(bfv, bytes).map_err(|_| malformed())?;
                hint_product(bfv, keys, &secret, &tables).map_err(|_| malformed())
            })
            .collect::<Result<_, NodeError>>()?;
        let mut columns: Vec<_> = per_lookup.into_iter().map(Vec::into_iter).collect();
        let of_plane = |plane: &PlanePart<'_>| {
            (plane.plane, columns.iter_mut().filter_map(Iterator::next).collect())
        };
        Ok(self.planes.iter().map(of_plane).collect())
    }
}

fn le_bytes(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
