//! Divides this node's memory, and decides what still fits.
//!
//! **What.** A part of the process's [`Limit`] is set aside for the program, for requests in
//! progress and for evaluation keys. The rest is for tables. Every operation that makes tables
//! resident is admitted first: loads ([`crate::shard::loader`]) and tables for registered keys
//! ([`crate::shard::local`]).
//!
//! **Why not measure.** The system kills a process at its limit without warning. Measurements show
//! the present use, not the peak of a load. The peak follows from manifests.
//!
//! **Guarantees.** Memory that is admitted but not yet resident is reserved, so that two concurrent
//! admissions cannot use the same bytes.
//!
//! **Limits.** A query that still reads a dropped table keeps it in memory. Rows of an `opaque
//! load` through this node are admitted as they arrive. The data built from them before it is
//! written, a few partitions and the sums of a hint, is not admitted.

mod limit;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

pub use limit::{Limit, Origin};

const MIB: u64 = 1 << 20;
/// The program with its threads and buffers, and the allocator's overhead.
const PROGRAM: u64 = 64 * MIB;

/// How a node divides its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// For requests in flight.
    pub requests: u64,
    /// For evaluation keys.
    pub keys: u64,
    /// For tables; `None` if there is no limit.
    pub tables: Option<u64>,
}

impl Shares {
    /// Divides `limit`. Requests get `requests` bytes but at most a quarter of the limit, and keys
    /// get `keys` bytes but at most an eighth.
    pub fn of(limit: Option<Limit>, requests: u64, keys: u64) -> Self {
        let Some(limit) = limit else { return Self { requests, keys, tables: None } };
        let (requests, keys) = (requests.min(limit.bytes / 4), keys.min(limit.bytes / 8));
        let tables = limit.bytes.saturating_sub(PROGRAM + requests + keys);
        Self { requests, keys, tables: Some(tables) }
    }
}

/// Bytes that a piece of work needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// Bytes that stay in use.
    pub resident: u64,
    /// Additional bytes at the peak of the work.
    pub building: u64,
}

impl Need {
    fn total(self) -> u64 {
        self.resident.saturating_add(self.building)
    }
}

/// Too little memory is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Bytes that are needed.
    pub required: u64,
    /// Bytes that are left for tables.
    pub available: u64,
    /// The node's limit.
    pub limit: Limit,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { required, available, limit: Limit { bytes, origin } } = self;
        write!(
            f,
            "{} MiB of memory are required and {} MiB are available, under this node's limit of {} MiB ({origin}): raise the memory limit, use more shards, or index fewer columns",
            required.div_ceil(MIB),
            available / MIB,
            bytes / MIB,
        )
    }
}

/// Admits operations that make tables resident.
#[derive(Debug)]
pub struct Memory {
    /// The limit, and the part of it that is for tables.
    tables: Option<(Limit, u64)>,
    /// Bytes that are admitted but not yet resident.
    reserved: Mutex<u64>,
}

impl Memory {
    /// Admits operations as long as tables stay within their share.
    pub fn new(limit: Option<Limit>, shares: &Shares) -> Arc<Self> {
        let tables = limit.zip(shares.tables);
        Arc::new(Self { tables, reserved: Mutex::new(0) })
    }

    /// Admits everything.
    pub fn unlimited() -> Arc<Self> {
        Arc::new(Self { tables: None, reserved: Mutex::new(0) })
    }

    /// Admits work in addition to `resident` bytes of tables, until the reservation is dropped.
    ///
    /// # Errors
    /// [`Shortage`] if it does not fit.
    pub fn admit(self: &Arc<Self>, resident: u64, need: Need) -> Result<Reservation, Shortage> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        self.check(resident.saturating_add(*reserved), need)?;
        *reserved = reserved.saturating_add(need.total());
        drop(reserved);
        Ok(Reservation { memory: Arc::clone(self), bytes: need.total() })
    }

    /// Checks whether work would fit in addition to `resident` bytes if nothing else was in
    /// progress.
    ///
    /// # Errors
    /// [`Shortage`] if it would not.
    pub fn check(&self, resident: u64, need: Need) -> Result<(), Shortage> {
        let Some((limit, tables)) = self.tables else { return Ok(()) };
        let (required, available) = (need.total(), tables.saturating_sub(resident));
        match required <= available {
            true => Ok(()),
            false => Err(Shortage { required, available, limit }),
        }
    }
}

/// Admitted memory. It is free again when this value is dropped.
#[derive(Debug)]
#[must_use = "the memory is free again once this is dropped"]
pub struct Reservation {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.memory.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        *reserved = reserved.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Memory with `mib` MiB for tables.
    pub(crate) fn for_tables(mib: u64) -> Arc<Memory> {
        let limit = Limit { bytes: (mib + 64) * MIB, origin: Origin::Flag };
        Memory::new(Some(limit), &Shares::of(Some(limit), 0, 0))
    }

    #[test]
    fn a_small_limit_leaves_most_of_it_for_tables() {
        let limit = |mib: u64| Some(Limit { bytes: mib * MIB, origin: Origin::ControlGroup });
        let shares = |mib| Shares::of(limit(mib), 512 * MIB, 256 * MIB);
        let large = Shares { requests: 512 * MIB, keys: 256 * MIB, tables: Some(7360 * MIB) };
        assert_eq!(shares(8192), large);
        let small = Shares { requests: 128 * MIB, keys: 64 * MIB, tables: Some(256 * MIB) };
        assert_eq!(shares(512), small);
        assert_eq!(shares(64).tables, Some(0));
        assert_eq!(Shares::of(None, 9, 8), Shares { requests: 9, keys: 8, tables: None });
    }

    #[test]
    fn a_shortage_says_how_much_is_missing_and_what_to_do() {
        let memory = for_tables(100);
        let need = Need { resident: 50 * MIB + 1, building: 10 * MIB };
        let shortage = memory.admit(40 * MIB, need).unwrap_err();
        assert_eq!(
            shortage.to_string(),
            "61 MiB of memory are required and 60 MiB are available, under this node's limit of 164 MiB (--memory-limit-mib): raise the memory limit, use more shards, or index fewer columns"
        );
    }

    #[test]
    fn two_admissions_cannot_take_the_same_bytes() {
        let memory = for_tables(100);
        let need = Need { resident: 60 * MIB, building: 0 };
        let first = memory.admit(0, need).unwrap();
        assert!(memory.admit(0, need).is_err());
        assert!(memory.check(0, need).is_ok(), "without other work it would fit");
        drop(first);
        let second = memory.admit(40 * MIB, need).unwrap();
        assert!(memory.admit(40 * MIB, Need { resident: 1, building: 0 }).is_err());
        drop(second);
        assert!(Memory::unlimited().admit(u64::MAX, need).is_ok());
    }
}
