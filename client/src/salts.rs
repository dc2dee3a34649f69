//! Remembers the salts that this process has used, with the table and epoch of each.
//!
//! **What.** A salt is drawn for one epoch of one table. If a cluster states the same salt for
//! another epoch or table, the client refuses it before anything is sent. No honest publisher
//! reuses a salt.
//!
//! **Guarantees.** All clients in the process that use the same cluster share one state, and no
//! answer of a cluster can erase it. Clusters are independent, except that they share the capacity.
//!
//! **Limits.** The state ends with the process. It has room for 131,072 epochs of 64 bytes each.
//! Beyond that, new salts are refused.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use opaque_pir::seed::Salt;
use thiserror::Error;

use crate::{description::Table, profile::NodeUrl};

/// Number of epochs that are remembered. A table with one epoch per minute reaches it in three
/// months.
const CAPACITY: usize = 1 << 17;

static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(|| Mutex::new(Seen::new(CAPACITY)));

/// Identifies a cluster by its addresses and trusted CA. Clients of one cluster share the record of
/// its salts.
#[derive(Debug, Clone, Copy)]
pub struct ClusterId([u8; 32]);

impl ClusterId {
    /// The identity of the cluster with these addresses and this trusted CA.
    pub fn new(endpoints: &[NodeUrl], ca_pem: Option<&[u8]>) -> Self {
        let mut names: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
        names.sort();
        let mut hash = blake3::Hasher::new_derive_key("opaque 2026-11 cluster of salts");
        for part in names.iter().map(String::as_bytes).chain(ca_pem) {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Self(*hash.finalize().as_bytes())
    }

    /// Records the salt of the table's epoch.
    ///
    /// # Errors
    /// The process has used the salt for another epoch or table, or has no room for another salt.
    pub fn admit(&self, table: &Table) -> Result<(), SaltError> {
        let (name, epoch) = (table.schema.table(), table.epoch);
        SEEN.lock().unwrap_or_else(PoisonError::into_inner).admit(self, &table.salt, name, epoch)
    }
}

/// The use of each salt: maps a digest of (cluster, salt) to a digest of (table, epoch).
struct Seen {
    capacity: usize,
    used: HashMap<[u8; 32], [u8; 32]>,
}

impl Seen {
    fn new(capacity: usize) -> Self {
        Self { capacity, used: HashMap::new() }
    }

    fn admit(
        &mut self,
        cluster: &ClusterId,
        salt: &Salt,
        table: &str,
        epoch: u64,
    ) -> Result<(), SaltError> {
        let mut hash = blake3::Hasher::new_derive_key("opaque 2026-11 salt of a cluster");
        let salt = *hash.update(&cluster.0).update(&salt.0).finalize().as_bytes();
        let mut hash = blake3::Hasher::new_derive_key("opaque 2026-11 use of a salt");
        hash.update(&epoch.to_le_bytes()).update(table.to_ascii_lowercase().as_bytes());
        let used = *hash.finalize().as_bytes();
        match self.used.get(&salt) {
            Some(before) if *before == used => Ok(()),
            Some(_) => Err(SaltError::Again { table: table.to_owned(), epoch }),
            None if self.used.len() >= self.capacity => {
                Err(SaltError::Full { epochs: self.capacity })
            }
            None => {
                self.used.insert(salt, used);
                Ok(())
            }
        }
    }
}

/// Why an epoch's salt is refused. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SaltError {
    /// The salt belongs to another epoch or table.
    #[error(
        "for epoch {epoch} of table {table:?} the cluster states the salt of another epoch or table: \
         nothing was sent"
    )]
    Again {
        /// The table.
        table: String,
        /// The epoch.
        epoch: u64,
    },
    /// The process has no room for another salt.
    #[error(
        "this process has queried {epochs} epochs and cannot remember more salts: nothing was sent"
    )]
    Full {
        /// Number of epochs that are remembered.
        epochs: usize,
    },
}

impl SaltError {
    /// What to do about the error.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Again { .. } => {
                "no honest load creates such an epoch: find out who published it before you query \
                 this cluster again"
            }
            Self::Full { .. } => "start the process again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(port: u16) -> ClusterId {
        ClusterId::new(&[format!("https://a.example:{port}").parse().unwrap()], None)
    }

    #[test]
    fn a_salt_belongs_to_one_epoch_of_one_table() {
        let mut seen = Seen::new(10);
        let (one, other) = (Salt([1; 32]), Salt([2; 32]));
        let again = |table: &str, epoch| Err(SaltError::Again { table: table.to_owned(), epoch });
        for table in ["t", "T", "t"] {
            assert_eq!(
                seen.admit(&cluster(1), &one, table, 1),
                Ok(()),
                "letter case does not matter"
            );
        }
        assert_eq!(seen.admit(&cluster(1), &one, "t", 2), again("t", 2));
        assert_eq!(seen.admit(&cluster(1), &one, "u", 1), again("u", 1));
        assert_eq!(seen.admit(&cluster(1), &other, "t", 2), Ok(()));
        assert_eq!(seen.admit(&cluster(1), &other, "t", 1), again("t", 1));
        // An older epoch is active again after a rollback.
        assert_eq!(seen.admit(&cluster(1), &one, "t", 1), Ok(()));
        // Another cluster may hold a copy of the store, or may lie about this one.
        assert_eq!(seen.admit(&cluster(2), &one, "t", 7), Ok(()));
        assert_eq!(seen.admit(&cluster(1), &one, "t", 1), Ok(()));
    }

    #[test]
    fn filling_it_makes_it_forget_nothing() {
        let mut seen = Seen::new(3);
        for number in 0..3 {
            assert_eq!(seen.admit(&cluster(1), &Salt([number; 32]), "t", number.into()), Ok(()));
        }
        let full = Err(SaltError::Full { epochs: 3 });
        assert_eq!(seen.admit(&cluster(1), &Salt([9; 32]), "t", 9), full);
        assert_eq!(seen.admit(&cluster(1), &Salt([0; 32]), "t", 0), Ok(()));
        let again = SaltError::Again { table: "t".to_owned(), epoch: 5 };
        assert_eq!(seen.admit(&cluster(1), &Salt([0; 32]), "t", 5), Err(again));
    }

    #[test]
    fn the_order_of_addresses_makes_no_other_cluster() {
        let urls: Vec<NodeUrl> =
            ["https://a:1", "https://b:1"].iter().map(|url| url.parse().unwrap()).collect();
        let turned: Vec<NodeUrl> = urls.iter().rev().cloned().collect();
        assert_eq!(ClusterId::new(&urls, None).0, ClusterId::new(&turned, None).0);
        assert_ne!(ClusterId::new(&urls, None).0, ClusterId::new(&urls, Some(b"ca")).0);
        assert_ne!(ClusterId::new(&urls, None).0, ClusterId::new(&urls[..1], None).0);
    }
}
