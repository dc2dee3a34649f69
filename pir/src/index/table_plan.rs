//! Plans all indexes of a table under one salt.

use rayon::prelude::*;

use super::groups::Groups;
use super::sizes::{self, RowSizes, TableCost, TableFigures};
use super::{IndexPlan, PlanError, RowRef, solver};
use crate::cost::Link;
use crate::geometry::Geometry;
use crate::layout::Keys;
use crate::seed::Salt;
use crate::table::{Role, Schema, Value, decode_row};

/// Number of salts that are tried before planning fails.
const SALTS: usize = 8;
/// Number of rows that one task decodes.
const CHUNK: usize = 1 << 14;

/// One epoch of a table: its salt, and one plan for every searchable column.
#[derive(Debug)]
pub struct TablePlan {
    /// The salt that every index was planned with.
    pub salt: Salt,
    /// One plan per searchable column, in the order of the schema.
    pub indexes: Vec<PlannedIndex>,
    /// The costs of the row lengths; `None` for a table without rows.
    pub sizes: Option<RowSizes>,
}

/// The plan of one searchable column.
#[derive(Debug)]
pub struct PlannedIndex {
    /// Position of the column in the schema.
    pub column: u32,
    /// The positions of the rows.
    pub plan: IndexPlan,
    /// Number of rows whose value in this column is not NULL.
    pub non_null_rows: u64,
}

/// What a table will cost the nodes and their clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// All indexes together, and the row lengths.
    pub figures: TableFigures,
    /// One per searchable column, in the order of the schema.
    pub indexes: Vec<IndexForecast>,
}

/// What the index of one column will cost.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexForecast {
    /// Position of the column in the schema.
    pub column: u32,
    /// The shape of its matrix.
    pub geometry: Geometry,
    /// Number of rows whose value in this column is not NULL.
    pub non_null_rows: u64,
}

/// Plans every index of a table for clients on `link`. `rows` are in load order. Draws a salt, and
/// another one (up to eight in total) if an index has no geometry under the previous salt.
///
/// The salt must be drawn after the rows are known, and unpredictably, because the noise bound for
/// adversarial rows depends on it ([`mask`](crate::layout::mask)).
///
/// # Errors
/// See [`PlanError`].
pub fn plan_table<R: AsRef<[u8]> + Sync>(
    schema: &Schema,
    rows: &[R],
    link: Link,
    next_salt: impl FnMut() -> Salt,
) -> Result<TablePlan, PlanError> {
    let columns = read_columns(schema, rows)?;
    let indexes = indexes(schema, &columns, rows)?;
    let (salt, geometries) = solve(&indexes, link, next_salt)?;
    let sizes = row_sizes(&indexes, &salt, &geometries, link);
    let indexes = indexes.into_par_iter().zip(geometries).map(|(index, geometry)| {
        let Index { column, rows, groups, non_null_rows } = index;
        let plan = IndexPlan::place(salt, column, geometry, groups, &rows);
        PlannedIndex { column, plan, non_null_rows }
    });
    Ok(TablePlan { salt, indexes: indexes.collect(), sizes })
}

/// The costs of a table with these rows for the nodes, by the same planner. The nodes draw another
/// salt, which changes the figures by a few percent at most. Returns `None` for a table without
/// rows.
///
/// # Errors
/// See [`PlanError`].
pub fn forecast<R: AsRef<[u8]> + Sync>(
    schema: &Schema,
    rows: &[R],
    link: Link,
    next_salt: impl FnMut() -> Salt,
) -> Result<Option<Forecast>, PlanError> {
    let columns = read_columns(schema, rows)?;
    let indexes = indexes(schema, &columns, rows)?;
    let (salt, geometries) = solve(&indexes, link, next_salt)?;
    let Some(sizes) = row_sizes(&indexes, &salt, &geometries, link) else { return Ok(None) };
    let figures = TableFigures { cost: TableCost::of(&geometries, link), sizes };
    let index = |(index, geometry): (&Index<'_>, Geometry)| IndexForecast {
        column: index.column,
        geometry,
        non_null_rows: index.non_null_rows,
    };
    Ok(Some(Forecast { figures, indexes: indexes.iter().zip(geometries).map(index).collect() }))
}

fn indexes<'a, R: AsRef<[u8]> + Sync>(
    schema: &Schema,
    columns: &'a [ColumnKeys],
    rows: &'a [R],
) -> Result<Vec<Index<'a>>, PlanError> {
    let indexes = columns.par_iter().map(|column| Index::new(schema, column, rows));
    // Errors are reported in the order of the schema, whichever task ends first.
    indexes.collect::<Vec<_>>().into_iter().collect()
}

/// A salt under which every index has a geometry, with these geometries.
fn solve(
    indexes: &[Index<'_>],
    link: Link,
    mut next_salt: impl FnMut() -> Salt,
) -> Result<(Salt, Vec<Geometry>), PlanError> {
    let mut salt = next_salt();
    let mut drawn = 1;
    loop {
        match geometries(indexes, &salt, link) {
            Ok(geometries) => return Ok((salt, geometries)),
            Err(refusal) if drawn == SALTS => return Err(refusal),
            Err(_) => salt = next_salt(),
        }
        drawn += 1;
    }
}

/// The costs of the row lengths. The rows are taken from one of the indexes, because every index
/// holds all rows.
fn row_sizes(
    indexes: &[Index<'_>],
    salt: &Salt,
    geometries: &[Geometry],
    link: Link,
) -> Option<RowSizes> {
    let rows = &indexes.first()?.rows;
    let cost_within = |limit: usize| {
        let geometry = |index: &Index<'_>| index.geometry_within(limit, salt, link);
        let geometries: Option<Vec<_>> =
            indexes.par_iter().map(geometry).collect::<Vec<_>>().into_iter().collect();
        geometries.map(|geometries| TableCost::of(&geometries, link))
    };
    sizes::of(rows, indexes.len(), TableCost::of(geometries, link), cost_within)
}

/// A geometry for every index under one salt, or the error of the first index that has none.
fn geometries(indexes: &[Index<'_>], salt: &Salt, link: Link) -> Result<Vec<Geometry>, PlanError> {
    let geometry = |index: &Index<'_>| {
        solver::geometry(&index.groups, &Keys::new(salt, index.column), &index.rows, link)
            .ok_or_else(|| solver::does_not_fit(&index.groups, &index.rows))
    };
    indexes.par_iter().map(geometry).collect::<Vec<_>>().into_iter().collect()
}

/// The inputs that do not depend on a salt.
struct Index<'a> {
    column: u32,
    rows: Vec<RowRef<'a>>,
    groups: Groups,
    non_null_rows: u64,
}

impl<'a> Index<'a> {
    fn new<R: AsRef<[u8]>>(
        schema: &Schema,
        keys: &'a ColumnKeys,
        rows: &'a [R],
    ) -> Result<Self, PlanError> {
        let rows = keys.iter().zip(rows).map(|(key, row)| RowRef { key, row: row.as_ref() });
        let rows: Vec<_> = rows.collect();
        let groups = Groups::new(&rows)?;
        if let Some(column) = schema.columns().get(keys.column as usize)
            && column.role == Role::Key
            && let Some((first_row, second_row)) = groups.first_duplicate()
        {
            return Err(PlanError::DuplicateKey {
                column: column.name.clone(),
                first_row: u64::from(first_row),
                second_row: u64::from(second_row),
            });
        }
        solver::check(&groups, &rows)?;
        Ok(Self { column: keys.column, rows, groups, non_null_rows: keys.non_null_rows })
    }

    /// The geometry if no row took more than `limit` bytes, with longer rows cut.
    fn geometry_within(&self, limit: usize, salt: &Salt, link: Link) -> Option<Geometry> {
        let cut =
            |row: &RowRef<'a>| RowRef { row: row.row.get(..limit).unwrap_or(row.row), ..*row };
        let rows: Vec<_> = self.rows.iter().map(cut).collect();
        solver::geometry(&self.groups, &Keys::new(salt, self.column), &rows, link)
    }
}

/// The search keys of one column, one after another.
struct ColumnKeys {
    /// Position of the column.
    column: u32,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    non_null_rows: u64,
}

impl ColumnKeys {
    #[expect(clippy::cast_possible_truncation, reason = "a schema has at most 256 columns")]
    fn new(position: usize) -> Self {
        Self { column: position as u32, bytes: Vec::new(), ends: Vec::new(), non_null_rows: 0 }
    }

    fn push(&mut self, value: &Value) {
        self.bytes.extend_from_slice(&value.search_key());
        self.ends.push(self.bytes.len());
        self.non_null_rows += u64::from(*value != Value::Null);
    }

    fn append(&mut self, other: Self) {
        let Self { column: _, bytes, ends, non_null_rows } = other;
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&bytes);
        self.ends.extend(ends.into_iter().map(|end| before + end));
        self.non_null_rows += non_null_rows;
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let key = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            key
        })
    }
}

/// Decodes every row once and collects the keys of all searchable columns.
fn read_columns<R: AsRef<[u8]> + Sync>(
    schema: &Schema,
    rows: &[R],
) -> Result<Vec<ColumnKeys>, PlanError> {
    let empty = || schema.searchable().map(ColumnKeys::new).collect::<Vec<_>>();
    let chunks = rows.par_chunks(CHUNK).enumerate().map(|(chunk, rows)| {
        let mut columns = empty();
        for (row, bytes) in (chunk * CHUNK..).zip(rows) {
            let values = decode_row(schema, bytes.as_ref())
                .map_err(|source| PlanError::Row { row: row as u64, source })?;
            for column in &mut columns {
                column.push(values.get(column.column as usize).unwrap_or(&Value::Null));
            }
        }
        Ok(columns)
    });
    let mut columns = empty();
    for chunk in chunks.collect::<Vec<_>>() {
        for (column, more) in columns.iter_mut().zip(chunk?) {
            column.append(more);
        }
    }
    Ok(columns)
}
