//! Why a node that serves turns clients away. Shared by everything that admits clients.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::query::reach::Objection;

/// The present objection. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct TurnedAway(Arc<Mutex<Option<Objection>>>);

impl TurnedAway {
    /// Replaces the objection. Returns the previous one.
    pub(super) fn replace(&self, objection: Option<Objection>) -> Option<Objection> {
        std::mem::replace(&mut *self.lock(), objection)
    }

    /// The objection as a text.
    pub(super) fn reason(&self) -> Option<String> {
        self.lock().as_ref().map(Objection::to_string)
    }

    /// Whether this node answers its peers as usual but turns clients away because it does not
    /// reach every shard.
    pub fn is_cut_off(&self) -> bool {
        matches!(*self.lock(), Some(Objection::CutOff { .. }))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Objection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
