//! Groups rows with the same value.

use std::collections::HashMap;

use super::{PlanError, RowRef};

/// The rows of an index by value: values in the order of their first row, and the rows of a value
/// in load order. This does not depend on a salt.
#[derive(Default)]
pub(super) struct Groups {
    /// Row numbers, group by group.
    rows: Vec<u32>,
    /// Start of each group in `rows`, and the end of the last group.
    starts: Vec<u32>,
}

impl Groups {
    pub(super) fn new(rows: &[RowRef<'_>]) -> Result<Self, PlanError> {
        let too_many = PlanError::TooManyRows { rows: rows.len() as u64 };
        let count = u32::try_from(rows.len()).map_err(|_| too_many)?;
        let mut group_of_key: HashMap<&[u8], u32> = HashMap::new();
        // There are at most as many groups as rows.
        let mut next_group = 0;
        let mut lengths: Vec<u32> = Vec::new();
        let mut group_of_row = Vec::with_capacity(rows.len());
        for row in rows {
            let group = *group_of_key.entry(row.key).or_insert(next_group);
            match lengths.get_mut(group as usize) {
                Some(length) => *length += 1,
                None => {
                    lengths.push(1);
                    next_group += 1;
                }
            }
            group_of_row.push(group);
        }
        let starts = starts(&lengths);
        let mut order = vec![0; rows.len()];
        let mut next = starts.clone();
        for (row, group) in (0..count).zip(group_of_row) {
            if let Some(at) = next.get_mut(group as usize)
                && let Some(slot) = order.get_mut(*at as usize)
            {
                *slot = row;
                *at += 1;
            }
        }
        Ok(Self { rows: order, starts })
    }

    /// Number of rows of the index.
    pub(super) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Row numbers, group by group.
    pub(super) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The row numbers of a group in load order; empty if the group does not exist.
    pub(super) fn group(&self, group: u32) -> &[u32] {
        let bounds = (self.starts.get(group as usize), self.starts.get(group as usize + 1));
        let (Some(start), Some(end)) = bounds else { return &[] };
        self.rows.get(*start as usize..*end as usize).unwrap_or_default()
    }

    /// The first two rows with the same value. Among several such pairs, the one whose second row
    /// comes first.
    pub(super) fn first_duplicate(&self) -> Option<(u32, u32)> {
        let pairs = self.ranges().filter_map(|(start, end)| {
            let group = self.rows.get(start as usize..end as usize)?;
            Some((*group.first()?, *group.get(1)?))
        });
        pairs.min_by_key(|(_, second)| *second)
    }

    /// The start and end of each group in [`Groups::rows`].
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.starts.iter().copied().zip(self.starts.iter().copied().skip(1))
    }
}

/// Running sums of `lengths`, from 0 to the total.
pub(super) fn starts(lengths: &[u32]) -> Vec<u32> {
    let mut starts = Vec::with_capacity(lengths.len() + 1);
    let mut sum = 0;
    starts.push(sum);
    for length in lengths {
        sum += length;
        starts.push(sum);
    }
    starts
}
