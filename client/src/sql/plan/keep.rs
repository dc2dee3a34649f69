//! Which rows of a public scan the answer needs, decided as they come.

use std::collections::BTreeMap;

use opaque_pir::table::Value;

use super::Plan;
use crate::sql::bind::{Output, Query};

/// Rows of a public scan that the answer needs, by number. Filled by [`Plan::keep`].
#[derive(Clone, Default)]
pub struct Kept {
    pub(in crate::sql) rows: BTreeMap<u64, Vec<Value>>,
}

impl Plan {
    /// Adds one row of a public scan to those kept, unless the answer does not need it: one that the
    /// condition does not accept, or one beyond LIMIT. A row that is only counted loses its cells. None
    /// is needed where the statement does not fit the columns: [`Plan::finish`] says so.
    pub fn keep(&self, kept: &mut Kept, number: u64, row: Vec<Value>) {
        let Ok(query) = &self.query else { return };
        if query.filter.as_ref().is_some_and(|filter| filter.evaluate(&row) != Some(true)) {
            return;
        }
        let counts = matches!(query.output, Output::Count(_));
        kept.rows.insert(number, if counts { Vec::new() } else { row });
        if !counts && most(query).is_some_and(|most| kept.rows.len() as u64 > most) {
            kept.rows.pop_last();
        }
    }
}

/// Rows that LIMIT and OFFSET take, where they take the first ones in load order.
fn most(query: &Query) -> Option<u64> {
    let in_load_order = query.order.is_empty() && !query.distinct;
    query.limit.filter(|_| in_load_order).map(|limit| limit.saturating_add(query.offset))
}
