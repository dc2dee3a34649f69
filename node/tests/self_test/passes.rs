//! Requests that share a pass get the results that each would get alone.

use opaque_node::shard::pass::{Evaluated, Request};
use opaque_node::shard::served::{ServedIndex, Serving};
use opaque_pir::codec::{Material, Partial, QueryView, QueryWriter, Slice, probe_slice, slice};
use opaque_pir::inline::QUERY_BYTES;
use opaque_pir::machine::Kernels;

use super::harness::Cluster;

const GENERATION: u64 = 3;
const EPOCH: u64 = 1;

fn index(serving: &Serving) -> &ServedIndex {
    &serving.tables["numbers"].indexes[&0]
}

/// A query of `lookups` lookups, cut for this shard. Its keys are repeated bytes, all in range for
/// a fill of 0x35.
fn inline(index: &ServedIndex, lookups: u16, word: u32, fill: u8) -> Slice {
    let (geometry, material) = (&index.geometry, Material::Inline);
    let mut writer = QueryWriter::new(geometry, EPOCH, material, lookups).unwrap();
    for lookup in 0..lookups {
        let words = (0..geometry.buckets()).map(|k| word.wrapping_mul(k + u32::from(lookup)));
        let secret = vec![fill; QUERY_BYTES];
        writer.lookup(&words.collect::<Vec<_>>(), &secret).unwrap();
    }
    let query = writer.finish().unwrap();
    let view = QueryView::decode(&query, geometry, EPOCH).unwrap();
    let partitions: Vec<u32> = index.partition_numbers().collect();
    let bytes = slice(&view, &partitions, !index.planes.is_empty()).unwrap();
    Slice::decode(&bytes, geometry, EPOCH).unwrap()
}

fn probe(index: &ServedIndex) -> Slice {
    let partitions: Vec<u32> = index.partition_numbers().collect();
    let planes = !index.planes.is_empty();
    let bytes = probe_slice(&index.geometry, EPOCH, &partitions, planes).unwrap();
    Slice::decode(&bytes, &index.geometry, EPOCH).unwrap()
}

#[tokio::test]
async fn a_shared_pass_gives_each_request_what_it_would_get_alone() {
    let cluster = Cluster::start(GENERATION).await;
    for serving in &cluster.loaded {
        let index = index(serving);
        let makers: [&dyn Fn() -> Slice; 5] = [
            &|| inline(index, 1, 77, 0x35),
            &|| probe(index),
            &|| inline(index, 11, 12_345, 0x21),
            // Out of range: only this request fails. Without planes, the keys are not checked.
            &|| inline(index, 2, 5, 0xff),
            &|| inline(index, 3, 0x0102_0304, 0),
        ];
        // Requests of different generations, as while one follows another.
        let request = |(generation, make): (u64, &&dyn Fn() -> Slice)| Request {
            generation,
            epoch: EPOCH,
            slice: make(),
            keys: None,
        };
        let run = |requests: &[Request]| -> Vec<Option<Partial>> {
            let evaluated = index.part().pass(requests, Kernels::best(), &mut |_| ());
            evaluated
                .into_iter()
                .map(|one| one.ok().map(|Evaluated { partial, .. }| partial))
                .collect()
        };
        let together = run(&(0..).zip(&makers).map(request).collect::<Vec<_>>());
        let alone: Vec<_> = (0..).zip(&makers).flat_map(|one| run(&[request(one)])).collect();
        assert!(together == alone);
        let failed: Vec<bool> = together.iter().map(Option::is_none).collect();
        assert_eq!(failed, [false, false, false, !index.planes.is_empty(), false]);
        let encoded = together[2].as_ref().unwrap().encode(&index.geometry);
        assert!(encoded.is_ok(), "it fits its geometry");
    }
    let planes = cluster.loaded.iter().map(|serving| index(serving).planes.len());
    assert_eq!(planes.sum::<usize>(), index(&cluster.loaded[0]).geometry.planes());
}

/// Through the node's public interface: many requests at once, each with the answer to its own
/// query.
#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_get_their_own_answers() {
    use bytes::Bytes;
    use opaque_node::map::call::EvaluateCall;
    let cluster = Cluster::start(GENERATION).await;
    let serving = cluster.loaded.iter().find(|serving| !index(serving).planes.is_empty()).unwrap();
    let served = index(serving);
    let material = Material::Inline;
    let partitions: Vec<u32> = served.partition_numbers().collect();
    let body = |number: u32| {
        let mut writer = QueryWriter::new(&served.geometry, EPOCH, material, 1).unwrap();
        let words = vec![number + 1; served.geometry.buckets() as usize];
        writer.lookup(&words, &vec![0; QUERY_BYTES]).unwrap();
        let query = writer.finish().unwrap();
        let view = QueryView::decode(&query, &served.geometry, EPOCH).unwrap();
        Bytes::from(slice(&view, &partitions, true).unwrap())
    };
    let bodies: Vec<Bytes> = (0..40).map(body).collect();
    let (geometry, kind) = (served.geometry, material.kind());
    let shard = cluster.loaded.iter().position(|one| std::ptr::eq(one, serving)).unwrap();
    let caller = cluster.into_caller();
    let local = &caller.shards[&(shard as u32)];
    let ask = |body: &Bytes| {
        let call = EvaluateCall {
            generation: GENERATION,
            table: "numbers".into(),
            column: 0,
            epoch: EPOCH,
            lookups: 1,
            partitions: partitions.clone().into(),
            planes: [].into(),
            body: body.clone(),
            reply_bytes: 0,
        };
        async move {
            let reply = local.evaluate(&call).await.unwrap();
            Partial::decode(&reply.body, &geometry, 1, kind).unwrap()
        }
    };
    let answers = futures::future::join_all(bodies.iter().map(ask)).await;
    // The scan is linear, and the product that is subtracted is the same for all, so each further
    // word adds the same.
    let rows = |number: usize| &answers[number].scans[0];
    for (n, answer) in (0u32..).zip(&answers) {
        for (row, (first, second)) in answer.scans[0].iter().zip(rows(0).iter().zip(rows(1))) {
            let each = second.wrapping_sub(*first);
            assert_eq!(row.wrapping_sub(*first), each.wrapping_mul(n));
        }
    }
}
