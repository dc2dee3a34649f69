//! Files that are read repeatedly, because they may change while the node runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

/// How long the last successful reading remains valid while later ones fail.
pub(crate) const KEEP: Duration = Duration::from_secs(120);

/// Reads a consistent state of a directory.
///
/// Kubernetes swaps the link `..data` to a directory with all files. This function follows the link
/// once, so that all files are from the same state. If the link was swapped during the read,
/// everything is read again, since some files of the former state may already have been missing.
pub(crate) fn of_one_moment<T>(dir: &Path, read: impl Fn(&Path) -> T) -> T {
    loop {
        let moment = moment(dir);
        let content = read(&moment);
        if self::moment(dir) == moment {
            return content;
        }
    }
}

fn moment(dir: &Path) -> PathBuf {
    std::fs::canonicalize(dir.join("..data")).unwrap_or_else(|_| dir.to_owned())
}

/// State of the data that authenticates clients: tokens, or authorities and revocation lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Why all clients are refused.
    pub closed: Option<String>,
    /// Number of tokens, authorities, lists and serial numbers that cannot be used.
    pub void: usize,
    /// Time since the files were last read.
    pub unread: Duration,
}

/// The last successful reading of some files.
///
/// **Guarantee.** The content that [`current`](Self::current) returns was read within the last
/// [`KEEP`], even if [`look`](Self::look) is never called again. Removed content thus expires in
/// time even if a disk hangs.
pub(crate) struct Kept<T>(ArcSwap<State<T>>);

struct State<T> {
    /// The last reading, and when it began.
    last: Option<(Arc<T>, Instant)>,
    /// When the first reading began.
    since: Instant,
    /// Why the last reading failed.
    error: Option<String>,
}

/// Result of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// The same content or the same error as before.
    Unchanged,
    /// Different content.
    Changed,
    /// A new error.
    Failed,
}

impl<T: PartialEq> Kept<T> {
    /// Starts with a first reading, which may have failed.
    pub(crate) fn new(read: Result<T, String>, now: Instant) -> Self {
        let kept = Self(ArcSwap::from_pointee(State { last: None, since: now, error: None }));
        kept.look(read, now);
        kept
    }

    /// Stores a reading that began at `now`.
    pub(crate) fn look(&self, read: Result<T, String>, now: Instant) -> Look {
        let before = self.0.load();
        let (last, error, look) = match read {
            Ok(content) => match &before.last {
                Some((same, _)) if **same == content => {
                    (Some((Arc::clone(same), now)), None, Look::Unchanged)
                }
                _ => (Some((Arc::new(content), now)), None, Look::Changed),
            },
            Err(error) => {
                let known = before.error.as_ref() == Some(&error);
                let look = if known { Look::Unchanged } else { Look::Failed };
                (before.last.clone(), Some(error), look)
            }
        };
        self.0.store(Arc::new(State { last, since: before.since, error }));
        look
    }

    /// The last successful reading; `None` if it is too old, or if there was none yet.
    pub(crate) fn current(&self, now: Instant) -> Option<Arc<T>> {
        let state = self.0.load();
        let (content, read) = state.last.as_ref()?;
        (now.saturating_duration_since(*read) <= KEEP).then(|| Arc::clone(content))
    }

    /// The last successful reading, whatever its age.
    pub(crate) fn last(&self) -> Option<Arc<T>> {
        self.0.load().last.as_ref().map(|(content, _)| Arc::clone(content))
    }

    /// Age of the last successful reading.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        let state = self.0.load();
        let read = state.last.as_ref().map_or(state.since, |(_, read)| *read);
        now.saturating_duration_since(read)
    }

    /// Why the last reading failed.
    pub(crate) fn error(&self) -> Option<String> {
        self.0.load().error.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reading_counts_for_two_minutes_while_none_succeeds() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let kept = Kept::new(Ok(1), begin);
        assert_eq!(kept.look(Ok(1), at(2)), Look::Unchanged);
        assert_eq!(kept.look(Err("gone".into()), at(4)), Look::Failed);
        assert_eq!(kept.look(Err("gone".into()), at(6)), Look::Unchanged);
        assert_eq!(kept.current(at(122)).as_deref(), Some(&1));
        assert_eq!(kept.current(at(123)), None);
        assert_eq!(
            (kept.age(at(123)), kept.error()),
            (Duration::from_secs(121), Some("gone".into()))
        );
        assert_eq!(kept.look(Ok(1), at(200)), Look::Unchanged);
        assert_eq!((kept.current(at(200)).as_deref(), kept.error()), (Some(&1), None));
        // No further reading happens.
        assert_eq!(kept.current(at(321)), None);
    }

    #[test]
    fn before_the_first_reading_there_is_nothing() {
        let begin = Instant::now();
        let kept = Kept::<u8>::new(Err("not there yet".into()), begin);
        assert_eq!((kept.current(begin), kept.last()), (None, None));
        assert_eq!(kept.age(begin + KEEP), KEEP);
        assert_eq!(kept.look(Ok(1), begin), Look::Changed);
        assert_eq!(kept.current(begin).as_deref(), Some(&1));
    }

    proptest! {
        /// At every second, the current content is from a reading of the last two minutes. Content
        /// that was missing in the last successful reading is not current.
        #[test]
        fn what_was_removed_is_gone_in_time(
            looks in proptest::collection::vec(
                (0..90_u64, proptest::option::of(proptest::collection::btree_set(0..4_u8, 0..4))),
                1..40,
            ),
        ) {
            let begin = Instant::now();
            let kept = Kept::new(Ok(BTreeSet::new()), begin);
            let mut read: Vec<(u64, BTreeSet<u8>)> = vec![(0, BTreeSet::new())];
            let mut clock = 0;
            for (pause, content) in looks {
                for second in clock..=clock + pause {
                    let current = kept.current(begin + Duration::from_secs(second));
                    let (at, newest) = read.last().unwrap();
                    prop_assert_eq!(current.is_some(), second - at <= KEEP.as_secs());
                    prop_assert!(current.is_none_or(|current| *current == *newest));
                }
                clock += pause;
                read.extend(content.clone().map(|content| (clock, content)));
                let content = content.ok_or_else(|| "cannot be read".to_owned());
                kept.look(content, begin + Duration::from_secs(clock));
            }
        }
    }
}
