//! Converts messages that describe a table, and checks them.

use opaque_pir::{
    cost::Link,
    geometry::{Geometry, GeometryError},
    index::{RowSizes, Shorter, TableCost},
    inline::Variant,
    params::ParamsId,
    seed::Salt,
    table::Schema,
};
use opaque_proto::{SchemaError, v1};
use thiserror::Error;

use super::{InlineMeta, Table};
use crate::sql::IndexMeta;

/// Maximum number of limits that are read from a message; the planner tries nine.
const MOST_LIMITS: usize = 16;

impl TryFrom<v1::TableDescription> for Table {
    type Error = DescriptionError;

    fn try_from(wire: v1::TableDescription) -> Result<Self, DescriptionError> {
        let v1::TableDescription {
            schema,
            epoch,
            generation,
            rows,
            salt,
            indexes,
            row_sizes,
            link_mbits,
        } = wire;
        let schema = Schema::try_from(schema.ok_or(DescriptionError::Missing("schema"))?)?;
        let salt = <[u8; 32]>::try_from(salt.as_ref()).map_err(|_| DescriptionError::Salt)?;
        let expected: Vec<usize> = schema.searchable().collect();
        if expected.len() != indexes.len() {
            return Err(DescriptionError::Indexes);
        }
        let check = |(column, index): (usize, v1::Index)| {
            if index.column as usize != column || index.non_null_rows > rows {
                return Err(DescriptionError::Indexes);
            }
            let geometry = Geometry::new(index.bucket_bytes, index.buckets, index.page_rows)?;
            let (ours, theirs) = (geometry.params_id(), params_id(&index.params_id)?);
            if ours != theirs {
                return Err(DescriptionError::Params { ours, theirs });
            }
            let meta = IndexMeta { column, non_null_rows: index.non_null_rows, geometry };
            Ok((meta, inline(index, &geometry)?))
        };
        let indexes = expected.into_iter().zip(indexes).map(check);
        let (indexes, inline) = indexes.collect::<Result<_, _>>()?;
        let (salt, sizes) = (Salt(salt), row_sizes.map(sizes));
        // The link is only displayed, so an invalid value is replaced by the default.
        let link = Link::new(link_mbits).unwrap_or_default();
        Ok(Self { schema, epoch, generation, rows, salt, indexes, inline, sizes, link })
    }
}

/// Converts the sizes without checks: they are only displayed.
fn sizes(wire: v1::RowSizes) -> RowSizes {
    let v1::RowSizes { total_bytes, longest_row, longest_bytes, shorter } = wire;
    let shorter = shorter.into_iter().take(MOST_LIMITS).map(|shorter| {
        let v1::ShorterRows { limit, longer_rows, matrix_bytes, memory_bytes, lookup_micros } =
            shorter;
        let cost = TableCost { matrix_bytes, memory_bytes, lookup_micros };
        Shorter { limit, longer_rows, cost }
    });
    RowSizes { total_bytes, longest_row, longest_bytes, shorter: shorter.collect() }
}

fn inline(index: v1::Index, geometry: &Geometry) -> Result<InlineMeta, DescriptionError> {
    let variant = Variant::from_name(&index.variant)
        .ok_or(DescriptionError::Missing("variant of inline keys"))?;
    let digest = |digest: bytes::Bytes| <[u8; 32]>::try_from(digest.as_ref()).ok();
    let public_parts: Option<Vec<_>> = index.public_parts.into_iter().map(digest).collect();
    let public_parts = public_parts.filter(|parts| parts.len() == geometry.planes());
    let public_parts = public_parts.ok_or(DescriptionError::Missing("public parts"))?;
    Ok(InlineMeta { variant, public_parts })
}

fn params_id(bytes: &[u8]) -> Result<ParamsId, DescriptionError> {
    bytes
        .try_into()
        .map(ParamsId::from_bytes)
        .map_err(|_| DescriptionError::Missing("parameter digest"))
}

/// Why a table's description was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// A field is missing or has an unknown value.
    #[error("the table's description has no known {0}")]
    Missing(&'static str),
    /// The salt is not 32 bytes.
    #[error("the table's description has no salt of 32 bytes")]
    Salt,
    /// The indexes do not match the searchable columns.
    #[error("the table's description does not have one index for each searchable column")]
    Indexes,
    /// Client and cluster use different parameters and would compute different results.
    #[error("the cluster uses parameters {theirs}, this client {ours}")]
    Params {
        /// The parameters that this client computed.
        ours: ParamsId,
        /// The parameters in the description.
        theirs: ParamsId,
    },
    /// The schema is invalid, or in a newer format.
    #[error("the table's description has no valid schema: {0}")]
    Schema(#[from] SchemaError),
    /// An index has an invalid geometry.
    #[error("the table's description is not valid: {0}")]
    Geometry(#[from] GeometryError),
}

#[cfg(test)]
mod tests {
    use opaque_pir::table::{Column, ColumnType, Role};

    use super::*;

    fn described() -> v1::TableDescription {
        let column = |name: &str, column_type, role, nullable| Column {
            name: name.to_owned(),
            column_type,
            role,
            nullable,
        };
        let columns = vec![
            column("city", ColumnType::Text, Role::Key, false),
            column("at", ColumnType::Timestamp, Role::Payload, true),
            column("sky", ColumnType::Json, Role::Index, true),
        ];
        let schema = Schema::new("weather".to_owned(), columns).unwrap();
        let geometry = Geometry::new(4096, 1024, 3).unwrap();
        let index = |column| v1::Index {
            column,
            bucket_bytes: 4096,
            buckets: 1024,
            page_rows: 3,
            non_null_rows: 5,
            params_id: geometry.params_id().as_bytes().to_vec().into(),
            variant: Variant::Ring2048.name().to_owned(),
            public_parts: vec![vec![8; 32].into()],
        };
        v1::TableDescription {
            schema: Some((&schema).into()),
            epoch: 4,
            generation: 9,
            rows: 5,
            salt: vec![7; 32].into(),
            indexes: vec![index(0), index(2)],
            row_sizes: None,
            link_mbits: 20,
        }
    }

    #[test]
    fn lengths_of_rows_are_read_if_the_cluster_reports_them() {
        assert_eq!(Table::try_from(described()).unwrap().figures(), None);
        let shorter = v1::ShorterRows {
            limit: 900,
            longer_rows: 2,
            matrix_bytes: 3,
            memory_bytes: 4,
            lookup_micros: 5,
        };
        let told = v1::RowSizes {
            total_bytes: 9000,
            longest_row: 3,
            longest_bytes: 4000,
            shorter: vec![shorter; 1000],
        };
        let table = Table::try_from(v1::TableDescription { row_sizes: Some(told), ..described() });
        let figures = table.unwrap().figures().unwrap();
        let RowSizes { total_bytes, longest_row, longest_bytes, shorter } = figures.sizes;
        assert_eq!((total_bytes, longest_row, longest_bytes), (9000, 3, 4000));
        let cost = TableCost { matrix_bytes: 3, memory_bytes: 4, lookup_micros: 5 };
        assert_eq!(shorter, vec![Shorter { limit: 900, longer_rows: 2, cost }; MOST_LIMITS]);
        assert_eq!(figures.cost.matrix_bytes, 2 * 4096 * 1024);
    }

    #[test]
    fn a_description_survives_the_round_trip() {
        let table = Table::try_from(described()).unwrap();
        assert_eq!((table.epoch, table.generation, table.rows), (4, 9, 5));
        assert_eq!(v1::Schema::from(&table.schema), described().schema.unwrap());
        assert_eq!(table.salt, Salt([7; 32]));
        let columns: Vec<usize> = table.indexes.iter().map(|index| index.column).collect();
        assert_eq!(columns, [0, 2]);
        assert!(table.index(1).is_none() && table.index(2).is_some());
        let inline = InlineMeta { variant: Variant::Ring2048, public_parts: vec![[8; 32]] };
        assert_eq!((table.inline(1), table.inline(2)), (None, Some(&inline)));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let refused = |change: fn(&mut v1::TableDescription)| {
            let mut wire = described();
            change(&mut wire);
            Table::try_from(wire).unwrap_err()
        };
        use DescriptionError as E;
        assert_eq!(refused(|wire| wire.schema = None), E::Missing("schema"));
        assert_eq!(refused(|wire| wire.salt = vec![7; 31].into()), E::Salt);
        assert_eq!(refused(|wire| wire.indexes.truncate(1)), E::Indexes);
        assert_eq!(refused(|wire| wire.indexes[1].column = 1), E::Indexes);
        assert_eq!(refused(|wire| wire.indexes[1].non_null_rows = 6), E::Indexes);
        let no_parts = refused(|wire| wire.indexes[0].public_parts.clear());
        assert_eq!(no_parts, E::Missing("public parts"));
        let short = refused(|wire| wire.indexes[0].public_parts[0] = vec![8; 31].into());
        assert_eq!(short, E::Missing("public parts"));
        let variant = refused(|wire| wire.indexes[1].variant.push('0'));
        assert_eq!(variant, E::Missing("variant of inline keys"));
        assert!(matches!(refused(|wire| wire.indexes[0].page_rows = 4), E::Params { .. }));
        assert!(matches!(refused(|wire| wire.indexes[0].buckets = 1000), E::Geometry(_)));
        let unknown = |wire: &mut v1::TableDescription| {
            wire.schema.as_mut().unwrap().columns[0].r#type = 99;
        };
        assert!(matches!(refused(unknown), E::Schema(SchemaError::Unknown { .. })));
    }
}
