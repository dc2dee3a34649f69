//! Formats aligned tables, sizes and times for people.

use std::{
    io::{self, Write},
    time::Duration,
};

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use opaque_client::terminal::escaped;

/// Writes rows in columns. The columns in `right` are aligned to the right. Control characters in
/// cells are escaped, because a cell may be text from a node.
pub fn columns(
    out: &mut impl Write,
    header: &[&str],
    right: &[usize],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> io::Result<()> {
    let mut table = Table::new();
    let rows = rows.into_iter().map(|row| row.iter().map(|cell| escaped(cell)).collect::<Vec<_>>());
    table.load_style(NOTHING).set_header(header.iter().copied()).add_rows(rows);
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{}", table.trim_fmt())
}

/// Formats bytes in binary units.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut name = "B";
    for unit in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        name = unit;
    }
    if name == "B" { format!("{bytes} B") } else { format!("{value:.1} {name}") }
}

/// Formats a whole number with thousands separators.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a duration in milliseconds.
pub fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// Formats seconds since 1970 as a UTC time.
pub fn utc(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds).map_or_else(
        |_| "?".to_owned(),
        |t| {
            let (month, day) = (u8::from(t.month()), t.day());
            let (hour, minute, second) = t.to_hms();
            format!("{}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z", t.year())
        },
    )
}

/// Longest duration that an argument may have, small enough to be added to any instant.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Parses `500ms`, `60s`, `2m` or plain seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let wrong = || format!("{text:?} is not a time: write 500ms, 60s or 2m");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let time = match unit {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(wrong()),
    };
    if time > LONGEST {
        return Err(format!("{text:?} is longer than a year: write a shorter time"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_counts_and_times() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(123), "123");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(utc(1_763_712_000), "2025-11-21 08:00:00Z");
    }

    #[test]
    fn durations() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for bad in ["", "s", "-1s", "1h", "1.5s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        let long = u64::MAX.to_string();
        for long in ["527041m", &long, &format!("{long}m"), &format!("{long}ms")] {
            let error = duration(long).unwrap_err();
            assert!(error.contains("longer than a year"), "{error}");
        }
    }

    #[test]
    fn cells_cannot_steer_a_terminal() {
        let mut out = Vec::new();
        columns(&mut out, &["A"], &[], [vec!["x\u{1b}[2J\ny".to_owned()]]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "A\nx\\u{1b}[2J\\ny\n");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["bcd".to_owned(), "7".to_owned()]];
        let mut out = Vec::new();
        columns(&mut out, &["NAME", "ROWS"], &[1], rows).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "NAME  ROWS\na       10\nbcd      7\n");
    }
}
