//! A table's need of node memory, and the row that causes it. `opaque describe` ends with it, and
//! `opaque load` prints it before it sends a table that needs much memory.

use std::io::{self, Write};

use opaque_pir::{
    cost::Link,
    index::{IndexForecast, RowSizes, Shorter, TableCost, TableFigures},
    table::Schema,
};

use crate::text::{columns, count, size};

/// Writes the memory, the longest row, and a table of the savings with shorter rows. `longest`
/// names that row.
pub(crate) fn write(out: &mut impl Write, figures: &TableFigures, longest: &str) -> io::Result<()> {
    let TableFigures { cost, sizes } = figures;
    let RowSizes { total_bytes, longest_row: _, longest_bytes, shorter } = sizes;
    writeln!(
        out,
        "The nodes need {} of memory for {} of rows (one replica of every shard).",
        size(cost.memory_bytes),
        size(*total_bytes),
    )?;
    let longest_bytes = u64::from(*longest_bytes);
    write!(out, "The longest row, {longest}, has {} bytes", count(longest_bytes))?;
    if shorter.is_empty() {
        return writeln!(out, ". Shorter rows would save little.");
    }
    writeln!(out, ", and the buckets of every index must hold it.")?;
    writeln!(out, "With longer rows cut to a limit the same table would need:\n")?;
    let header = ["LIMIT", "LONGER ROWS", "MATRICES", "NODE MEMORY", "SLOWEST LOOKUP"];
    let line = |limit: String, longer_rows, cost: &TableCost| {
        let TableCost { matrix_bytes, memory_bytes, lookup_micros } = *cost;
        let lookup = millis(lookup_micros);
        vec![limit, count(longer_rows), size(matrix_bytes), size(memory_bytes), lookup]
    };
    let now = line("none".to_owned(), 0, cost);
    let limits = shorter.iter().map(|Shorter { limit, longer_rows, cost }| {
        line(format!("{} bytes", count(u64::from(*limit))), *longer_rows, cost)
    });
    columns(out, &header, &[0, 1, 2, 3, 4], std::iter::once(now).chain(limits))
}

/// The same figures in one line.
pub(crate) fn summary(figures: &TableFigures, longest: &str) -> String {
    let TableFigures { cost, sizes } = figures;
    format!(
        "{} of node memory, {} for the slowest lookup on one core; longest row: {longest}, {} bytes",
        size(cost.memory_bytes),
        millis(cost.lookup_micros),
        count(u64::from(sizes.longest_bytes)),
    )
}

/// Writes what the index of each column costs, and a lookup in it.
pub(crate) fn indexes(
    out: &mut impl Write,
    schema: &Schema,
    indexes: &[IndexForecast],
    link: Link,
) -> io::Result<()> {
    let header = [
        "COLUMN",
        "NOT NULL",
        "BUCKETS",
        "BYTES EACH",
        "ROWS/PAGE",
        "NODE MEMORY",
        "UP",
        "DOWN",
        "TIME",
    ];
    let row = |index: &IndexForecast| {
        let (geometry, cost) = (&index.geometry, index.geometry.cost(link));
        let column = schema.columns().get(index.column as usize);
        vec![
            column.map_or("?", |column| &column.name).to_owned(),
            count(index.non_null_rows),
            count(geometry.buckets().into()),
            count(geometry.bucket_bytes() as u64),
            count(geometry.page_rows().into()),
            size(cost.server_ram_bytes),
            size(cost.upload_bytes),
            size(cost.download_bytes),
            millis(cost.lookup_micros()),
        ]
    };
    columns(out, &header, &[1, 2, 3, 4, 5, 6, 7, 8], indexes.iter().map(row))
}

fn millis(micros: u64) -> String {
    format!("{:.1} ms", micros as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(matrix_mib: u64, memory_mib: u64, lookup_micros: u64) -> TableCost {
        let (matrix_bytes, memory_bytes) = (matrix_mib << 20, memory_mib << 20);
        TableCost { matrix_bytes, memory_bytes, lookup_micros }
    }

    fn figures(shorter: Vec<Shorter>) -> TableFigures {
        let sizes =
            RowSizes { total_bytes: 414_000, longest_row: 16, longest_bytes: 15_012, shorter };
        TableFigures { cost: cost(128, 768, 44_120), sizes }
    }

    fn written(figures: &TableFigures) -> String {
        let mut out = Vec::new();
        write(&mut out, figures, "on line 17").unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn limits_stand_in_a_table() {
        let shorter = [(8000, cost(64, 384, 30_000)), (450, cost(4, 12, 9_500))];
        let shorter = shorter.map(|(limit, cost)| Shorter { limit, longer_rows: 1, cost });
        let expected = "\
The nodes need 768.0 MiB of memory for 404.3 KiB of rows (one replica of every shard).
The longest row, on line 17, has 15,012 bytes, and the buckets of every index must hold it.
With longer rows cut to a limit the same table would need:

      LIMIT  LONGER ROWS   MATRICES  NODE MEMORY  SLOWEST LOOKUP
       none            0  128.0 MiB    768.0 MiB         44.1 ms
8,000 bytes            1   64.0 MiB    384.0 MiB         30.0 ms
  450 bytes            1    4.0 MiB     12.0 MiB          9.5 ms
";
        assert_eq!(written(&figures(shorter.to_vec())), expected);
    }

    #[test]
    fn where_no_limit_helps_none_is_shown() {
        let text = written(&figures(Vec::new()));
        assert!(text.ends_with("has 15,012 bytes. Shorter rows would save little.\n"), "{text}");
        assert_eq!(
            summary(&figures(Vec::new()), "line 17"),
            "768.0 MiB of node memory, 44.1 ms for the slowest lookup on one core; longest row: line 17, \
             15,012 bytes"
        );
    }
}
