use opaque_store::Store;
use tempfile::TempDir;

use super::*;
use crate::map::call::Description;
use crate::map::placement::Shards;
use crate::shard::loader::{described, tests::published};

/// The messages of a real table.
async fn sent() -> (Manifest, Vec<DescribeResponse>) {
    let directory = TempDir::new().unwrap();
    let manifest = published(&directory).await.swap_remove(0);
    let store = Store::open(directory.path().to_str().unwrap()).unwrap();
    let mut public_parts = Vec::new();
    for index in &manifest.indexes {
        let mut parts = Vec::new();
        for plane in 0..index.geometry.planes() {
            parts.push(store.public_part(&manifest, index.column, plane).await.unwrap());
        }
        public_parts.push(parts);
    }
    let description = Description { manifest: manifest.clone(), public_parts };
    let table = described(&Shards::equal(2).unwrap(), description);
    let encoded = Bytes::from(manifest.encode().unwrap());
    (manifest, messages(encoded, &table).collect())
}

async fn receive_all(
    messages: Vec<DescribeResponse>,
    epoch: u64,
) -> Result<Description, CallError> {
    receive(tokio_stream::iter(messages.into_iter().map(Ok)), "cubes", epoch).await
}

fn chunk(message: &mut DescribeResponse) -> &mut Bytes {
    match &mut message.part {
        Some(describe_response::Part::Chunk(chunk)) => chunk,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_description_arrives_as_it_was_sent() {
    let (manifest, messages) = sent().await;
    let received = receive_all(messages, 1).await.unwrap();
    assert_eq!(received.manifest, manifest);
    let planes: Vec<usize> = received.public_parts.iter().map(Vec::len).collect();
    let expected: Vec<usize> = manifest.indexes.iter().map(|i| i.geometry.planes()).collect();
    assert_eq!(planes, expected);
}

#[tokio::test]
async fn a_description_of_something_else_or_with_a_wrong_byte_or_size_is_refused() {
    let (_, good) = sent().await;
    let refused = async |what: &str, messages: Vec<DescribeResponse>| {
        let error = receive_all(messages, 1).await.unwrap_err();
        assert!(matches!(error, CallError::TryAnother(_)), "{what}: {error}");
    };
    assert!(receive_all(good.clone(), 2).await.is_err(), "another epoch");
    for at in 1..good.len() {
        let mut messages = good.clone();
        let mut bytes = chunk(&mut messages[at]).to_vec();
        bytes[7] ^= 1;
        *chunk(&mut messages[at]) = bytes.into();
        refused("a wrong byte", messages).await;
        refused("it ends early", good[..at].to_vec()).await;
    }
    let more = good.last().cloned().unwrap();
    refused("it goes on", [good.clone(), vec![more]].concat()).await;
    let size =
        |bytes| DescribeResponse { part: Some(describe_response::Part::ManifestBytes(bytes)) };
    refused("too large", vec![size(MAX_MANIFEST_BYTES + 1)]).await;
    let empty = DescribeResponse { part: Some(describe_response::Part::Chunk(Bytes::new())) };
    refused("empty chunks for ever", vec![size(8), empty.clone(), empty]).await;
    refused("nothing", Vec::new()).await;
}
