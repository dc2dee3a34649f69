//! Converts instants from and to RFC 3339 text.
//!
//! An instant is a number of microseconds since 1970-01-01 UTC, in the years 0001 to 9999. Its text
//! is parsed as a date and a time of a calendar: jiff's own instants end 26 hours earlier, so that
//! every offset fits after them.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use jiff::fmt::temporal::Pieces;

/// The accepted format, for errors.
const RFC_3339: &str = "an RFC 3339 time such as 2026-11-21T09:30:00Z";
const YEARS: &str = "a time in the years 0001 to 9999 (UTC)";
/// Most clocks repeat second 59 or stretch the seconds before a leap second, so no instant
/// corresponds to it.
const LEAP_SECOND: &str = "a time with seconds 00 to 59: instead of a leap second 60 write second 59, or 00 of the next minute";

const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);
const MICROS: i64 = 1_000_000;

/// Parses an instant. Fractions finer than a microsecond are cut off, towards the past. Fails with
/// the accepted format.
pub(super) fn parse(text: &str) -> Result<i64, &'static str> {
    let pieces = Pieces::parse(text).map_err(|_| RFC_3339)?;
    let (time, offset) = pieces.time().zip(pieces.to_numeric_offset()).ok_or(RFC_3339)?;
    // jiff would turn 60 into 59.
    if second(text) == Some("60") {
        return Err(LEAP_SECOND);
    }
    let local = DateTime::from_parts(pieces.date(), time).duration_since(EPOCH);
    let local = i64::try_from(local.as_nanos().div_euclid(1000)).map_err(|_| YEARS)?;
    let micros = local - i64::from(offset.seconds()) * MICROS;
    // The year is checked in UTC, after the offset has been applied.
    let year = civil(micros.div_euclid(MICROS)).map(DateTime::year);
    year.filter(|year| (1..=9999).contains(year)).map(|_| micros).ok_or(YEARS)
}

/// Formats an instant, with as many fractional digits as needed.
/// [`Value::parse`](super::Value::parse) parses it back. `None` outside the calendar, which no
/// parsed instant is.
pub fn format(micros: i64) -> Option<String> {
    let fraction = SignedDuration::from_micros(micros.rem_euclid(MICROS));
    let at = civil(micros.div_euclid(MICROS))?.checked_add(fraction).ok()?;
    Some(format!("{at}Z"))
}

fn civil(seconds: i64) -> Option<DateTime> {
    EPOCH.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// The digits of a time's seconds. jiff has accepted the text, so its time is `hh`, `hh:mm` or
/// `hh:mm:ss`, with or without colons, after the first letter or blank.
fn second(text: &str) -> Option<&str> {
    let (_, time) = text.split_once(['T', 't', ' '])?;
    let behind_minutes = time.get(2..)?.trim_start_matches(':').get(2..)?;
    behind_minutes.trim_start_matches(':').get(..2)
}

#[cfg(test)]
mod tests;
