//! Decides, as the rows of a public scan arrive, which of them the answer needs.

use opaque_pir::table::Value;

use super::Plan;
use crate::sql::Kept;
use crate::sql::bind::{Output, Query};

impl Plan {
    /// Adds one row of a public scan to those kept if the answer needs it. A row is not needed if
    /// the condition does not accept it or if it is beyond LIMIT. A row that is only counted loses
    /// its cells. If the statement does not fit the columns, no row is needed: [`Plan::finish`]
    /// reports the error.
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

/// The number of rows that LIMIT and OFFSET cover, if these are the first ones in load order.
fn most(query: &Query) -> Option<u64> {
    let in_load_order = query.order.is_empty() && !query.distinct;
    query.limit.filter(|_| in_load_order).map(|limit| limit.saturating_add(query.offset))
}
