//! Instants as text, in RFC 3339.
//!
//! An instant is a number of microseconds since 1970-01-01 UTC, in the years 0001 to 9999. Its text
//! is read as a date and a time of a calendar: jiff's own instants end 26 hours earlier, so that
//! every offset fits behind them.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use jiff::fmt::temporal::Pieces;

/// What is accepted, for errors.
const RFC_3339: &str = "an RFC 3339 time such as 2026-11-21T09:30:00Z";
const YEARS: &str = "a time in the years 0001 to 9999 (UTC)";
/// Most clocks repeat second 59 or stretch the seconds before: no instant is the right one.
const LEAP_SECOND: &str = "a time with seconds 00 to 59: instead of a leap second 60 write second 59, or 00 of the next minute";

const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);
const MICROS: i64 = 1_000_000;

/// Reads an instant; what is finer than a microsecond is cut off, which goes towards the past.
/// Fails with what would have been accepted.
pub(super) fn parse(text: &str) -> Result<i64, &'static str> {
    let pieces = Pieces::parse(text).map_err(|_| RFC_3339)?;
    let (time, offset) = pieces.time().zip(pieces.to_numeric_offset()).ok_or(RFC_3339)?;
    // jiff makes 59 of it.
    if second(text) == Some("60") {
        return Err(LEAP_SECOND);
    }
    let local = DateTime::from_parts(pieces.date(), time).duration_since(EPOCH);
    let local = i64::try_from(local.as_nanos().div_euclid(1000)).map_err(|_| YEARS)?;
    let micros = local - i64::from(offset.seconds()) * MICROS;
    // The year in UTC, whatever the offset makes of it.
    let year = civil(micros.div_euclid(MICROS)).map(DateTime::year);
    year.filter(|year| (1..=9999).contains(year)).map(|_| micros).ok_or(YEARS)
}

/// The text of an instant, with as many digits of its second as it has.
/// [`Value::parse`](super::Value::parse) reads it back. `None` beyond the calendar, where nothing
/// that was parsed can be.
pub fn format(micros: i64) -> Option<String> {
    let fraction = SignedDuration::from_micros(micros.rem_euclid(MICROS));
    let at = civil(micros.div_euclid(MICROS))?.checked_add(fraction).ok()?;
    Some(format!("{at}Z"))
}

fn civil(seconds: i64) -> Option<DateTime> {
    EPOCH.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// The digits of a time's second. jiff has accepted the text, so that its time is `hh`, `hh:mm` or
/// `hh:mm:ss`, with or without colons, behind the first letter or blank.
fn second(text: &str) -> Option<&str> {
    let (_, time) = text.split_once(['T', 't', ' '])?;
    let behind_minutes = time.get(2..)?.trim_start_matches(':').get(2..)?;
    behind_minutes.trim_start_matches(':').get(..2)
}

#[cfg(test)]
mod tests;
