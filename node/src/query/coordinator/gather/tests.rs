use std::sync::Mutex;

use super::*;

fn replicas(shard: u32, count: usize) -> Vec<Replica> {
    let replica = |i| Replica {
        node: format!("node-{shard}-{i}"),
        shard,
        address: format!("127.0.0.1:{}", 1000 + i),
    };
    (0..count).map(replica).collect()
}

fn patience() -> Patience {
    Patience {
        deadline: Instant::now() + Duration::from_secs(30),
        hedge_after: Duration::from_millis(20),
    }
}

#[test]
fn every_replica_is_asked_once_per_round() {
    let order: Vec<_> = (0..7).map(|failures| next_attempt(2, failures)).collect();
    let ms = Duration::from_millis;
    assert_eq!(
        order,
        [
            Some((0, ms(0))),
            Some((1, ms(0))),
            Some((0, ms(100))),
            Some((1, ms(0))),
            Some((0, ms(200))),
            Some((1, ms(0))),
            None
        ]
    );
    assert_eq!(next_attempt(0, 0), None);
}

#[tokio::test]
async fn a_failed_replica_is_replaced() {
    let shards = BTreeMap::from([(0, replicas(0, 2)), (1, replicas(1, 1))]);
    let replies = gather(&shards, patience(), |replica| async move {
        if replica.node == "node-0-0" {
            return Err(CallError::TryAnother("connection refused".into()));
        }
        Ok(replica.node)
    })
    .await
    .unwrap();
    assert_eq!(replies, [(0, "node-0-1".to_owned()), (1, "node-1-0".to_owned())]);
}

#[tokio::test]
async fn a_lost_shard_fails_the_whole_with_its_name() {
    let shards = BTreeMap::from([(0, replicas(0, 1)), (7, replicas(7, 2))]);
    let outcome = gather(&shards, patience(), |replica| async move {
        if replica.shard == 7 {
            return Err(CallError::TryAnother("connection refused".into()));
        }
        Ok(())
    })
    .await;
    let text = outcome.unwrap_err().to_string();
    assert!(text.contains("shard 7") && text.contains("connection refused"), "{text}");
}

#[tokio::test]
async fn a_shard_without_replicas_is_lost() {
    let shards = BTreeMap::from([(3, Vec::new())]);
    let outcome: Result<Vec<(u32, ())>, _> =
        gather(&shards, patience(), |_| async { unreachable!("no replica to call") }).await;
    assert!(matches!(outcome, Err(NodeError::ShardUnavailable { shard: 3, .. })));
}

#[tokio::test]
async fn a_slow_replica_is_hedged_and_a_silent_shard_meets_the_deadline() {
    let shards = BTreeMap::from([(0, replicas(0, 2))]);
    let replies = gather(&shards, patience(), |replica| async move {
        if replica.node == "node-0-0" {
            std::future::pending::<()>().await;
        }
        Ok(replica.node)
    })
    .await
    .unwrap();
    assert_eq!(replies, [(0, "node-0-1".to_owned())]);

    let deadline = Instant::now() + Duration::from_millis(50);
    let short = Patience { deadline, ..patience() };
    let outcome: Result<Vec<(u32, ())>, _> =
        gather(&shards, short, |_| std::future::pending()).await;
    assert!(matches!(outcome, Err(NodeError::ShardUnavailable { shard: 0, .. })));
}

#[tokio::test]
async fn what_every_replica_would_say_is_not_asked_twice() {
    let shards = BTreeMap::from([(0, replicas(0, 3))]);
    let asked = Mutex::new(0);
    let outcome: Result<Vec<(u32, ())>, _> = gather(&shards, patience(), |_| {
        *asked.lock().unwrap() += 1;
        async { Err(CallError::UnknownKeys) }
    })
    .await;
    assert!(matches!(outcome, Err(NodeError::UnknownKeys)));
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_failed_hedge_is_tried_again_rather_than_the_silent_replica() {
    let shards = BTreeMap::from([(0, replicas(0, 2))]);
    let asked = Mutex::new(Vec::new());
    let replies = gather(&shards, patience(), |replica| {
        let mut asked = asked.lock().unwrap();
        asked.push(replica.node.clone());
        let attempts = asked.len();
        async move {
            match (replica.node.as_str(), attempts) {
                ("node-0-0", _) => std::future::pending().await,
                (_, 2) => Err(CallError::TryAnother("restarting".into())),
                _ => Ok(()),
            }
        }
    });
    replies.await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["node-0-0", "node-0-1", "node-0-1"]);
}
