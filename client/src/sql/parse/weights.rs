//! Refuses common table expressions that stand for very many tables.
//!
//! SQLite copies an expression wherever its name is used. Ten expressions that each read the one
//! before them four times stand for a million tables. The weight of a query is the number of tables
//! and queries that SQLite makes of it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use sqlparser::ast::{ObjectName, Query, Visit, Visitor};

use super::refuse;
use crate::sql::SqlError;

const MOST: u64 = 1_000;

/// Refuses a statement whose weight, or that of one of its queries, is too large.
pub(super) fn check(tree: &Query) -> Result<(), SqlError> {
    let mut known = Vec::new();
    loop {
        let mut weights = Weights { known, ..Weights::default() };
        let large = tree.visit(&mut weights).is_break();
        refuse(large, "WITH that multiplies its tables", "use each name less often")?;
        if !weights.changed {
            return Ok(());
        }
        // An expression may name a later one, whose weight is known only now. Each pass adds at least
        // one to some weight, and no weight exceeds `MOST`.
        known = weights.known;
    }
}

/// Computes weights from those that the last pass found.
#[derive(Default)]
struct Weights {
    /// The weight of each common table expression, in the order of the text.
    known: Vec<u64>,
    /// Whether a weight differs from that of the last pass.
    changed: bool,
    /// Number of common table expressions in the queries that were entered.
    seen: usize,
    /// The queries around the current position.
    scopes: Vec<Scope>,
}

struct Scope {
    weight: u64,
    /// The common table expressions of its WITH, by name: their positions in [`Weights::known`].
    names: BTreeMap<String, usize>,
    /// Positions of those whose query has not been left. The first is the one being visited.
    waiting: std::ops::Range<usize>,
}

impl Visitor for Weights {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let list = query.with.iter().flat_map(|with| &with.cte_tables);
        let list = list.map(|cte| cte.alias.name.value.to_ascii_lowercase());
        let names: BTreeMap<_, _> = list.zip(self.seen..).collect();
        let count = query.with.as_ref().map_or(0, |with| with.cte_tables.len());
        let waiting = self.seen..self.seen + count;
        self.seen = waiting.end;
        if self.known.len() < self.seen {
            self.known.resize(self.seen, 1);
        }
        self.scopes.push(Scope { weight: 1, names, waiting });
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let ident = match relation.0.as_slice() {
            [part] => part.as_ident(),
            _ => None,
        };
        let name = ident.map(|ident| ident.value.to_ascii_lowercase()).unwrap_or_default();
        let position = self.scopes.iter().rev().find_map(|scope| scope.names.get(&name));
        // A recursive expression reads its own rows, and is not copied for them.
        let is_own = |position: &usize| {
            self.scopes
                .iter()
                .any(|scope| scope.waiting.start == *position && !scope.waiting.is_empty())
        };
        let weight = position.filter(|position| !is_own(position));
        let weight = weight.and_then(|position| self.known.get(*position)).copied().unwrap_or(1);
        self.add(weight)
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        let Some(Scope { weight, .. }) = self.scopes.pop() else {
            return ControlFlow::Continue(());
        };
        // WITH comes before everything else of a query, so its expressions are left first.
        match self.scopes.last_mut().and_then(|scope| scope.waiting.next()) {
            Some(position) => {
                if let Some(known) = self.known.get_mut(position)
                    && *known != weight
                {
                    (*known, self.changed) = (weight, true);
                }
                ControlFlow::Continue(())
            }
            None => self.add(weight),
        }
    }
}

impl Weights {
    fn add(&mut self, more: u64) -> ControlFlow<()> {
        let Some(scope) = self.scopes.last_mut() else { return ControlFlow::Continue(()) };
        scope.weight = scope.weight.saturating_add(more);
        if scope.weight > MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
