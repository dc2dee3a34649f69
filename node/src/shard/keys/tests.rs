use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const TTL: Duration = Duration::from_secs(60);

fn cache(capacity: usize) -> KeyCache<u32> {
    KeyCache::new(NonZeroUsize::new(capacity).unwrap(), TTL)
}

fn digest(number: u8) -> KeyDigest {
    KeyDigest::of(&[number])
}

#[test]
fn the_least_recently_used_keys_give_way() {
    let (cache, now) = (cache(2), Instant::now());
    cache.insert(digest(1), Arc::new(1), now);
    cache.insert(digest(2), Arc::new(2), now);
    assert!(cache.find(&digest(1), now).is_some());
    // Inserting the same keys again takes no further place.
    cache.insert(digest(1), Arc::new(1), now);
    cache.insert(digest(3), Arc::new(3), now);
    assert!(cache.find(&digest(2), now).is_none());
    assert_eq!(cache.find(&digest(1), now).as_deref(), Some(&1));
    assert_eq!(cache.find(&digest(3), now).as_deref(), Some(&3));
    assert_eq!(cache.expire(now), 2);
}

#[test]
fn keys_expire() {
    let (cache, start) = (cache(2), Instant::now());
    cache.insert(digest(1), Arc::new(1), start);
    let late = start + TTL - Duration::from_millis(1);
    cache.insert(digest(2), Arc::new(2), late);
    assert!(cache.find(&digest(1), late).is_some());
    assert!(cache.find(&digest(1), start + TTL).is_none());
    assert_eq!(cache.expire(late), 1);
    // An expired entry is evicted before a live one that was used earlier.
    cache.insert(digest(3), Arc::new(3), start);
    cache.insert(digest(4), Arc::new(4), start + TTL);
    assert!(cache.find(&digest(2), start + TTL).is_some());
    assert!(cache.find(&digest(4), start + TTL).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_queries_fetch_once() {
    let cache = Arc::new(cache(4));
    let fetches = Arc::new(AtomicUsize::new(0));
    let barrier = Arc::new(tokio::sync::Barrier::new(16));
    let mut queries = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (cache, fetches, barrier) = (cache.clone(), fetches.clone(), barrier.clone());
        queries.spawn(async move {
            barrier.wait().await;
            let fetch = || async {
                fetches.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok::<u32, ()>(7)
            };
            cache.find_or_fetch(digest(1), Instant::now(), fetch).await
        });
    }
    for result in queries.join_all().await {
        assert_eq!(result.as_deref(), Ok(&7));
    }
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failed_fetch_is_tried_again_and_keeps_nothing() {
    let (cache, now) = (cache(1), Instant::now());
    cache.insert(digest(1), Arc::new(1), now);
    let failed = cache.find_or_fetch(digest(2), now, || async { Err::<u32, _>("gone") }).await;
    assert_eq!(failed, Err("gone"));
    // The keys of another client are still cached.
    assert!(cache.find(&digest(1), now).is_some());
    let fetched = cache.find_or_fetch(digest(2), now, || async { Ok::<u32, ()>(2) }).await;
    assert_eq!(fetched.as_deref(), Ok(&2));
    let kept = cache.find_or_fetch(digest(2), now, || async { Err::<u32, _>("asked") }).await;
    assert_eq!(kept.as_deref(), Ok(&2));
}

#[tokio::test]
async fn a_cancelled_fetch_does_not_block_the_next() {
    let (cache, now) = (cache(1), Instant::now());
    let never = cache.find_or_fetch(digest(1), now, std::future::pending::<Result<u32, ()>>);
    assert!(tokio::time::timeout(Duration::from_millis(5), never).await.is_err());
    let fetched = cache.find_or_fetch(digest(1), now, || async { Ok::<u32, ()>(3) }).await;
    assert_eq!(fetched.as_deref(), Ok(&3));
}
