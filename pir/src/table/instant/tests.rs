use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400;
/// Days from 0001-01-01 to 1970-01-01, as counted by the naive calendar.
const DAYS_BEFORE_1970: i64 = 719_162;

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, counted year by year and month by month.
fn naive_days(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1..year).map(|year| 365 + i64::from(leap(year))).sum();
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    years + months + day - 1 - DAYS_BEFORE_1970
}

#[test]
fn every_day_of_the_calendar_is_a_day_after_the_one_before() {
    let mut days = -DAYS_BEFORE_1970;
    for year in 1..=9999 {
        for month in 1..=12 {
            for day in 1..=days_of(year, month) {
                let text = format!("{year:04}-{month:02}-{day:02}T23:59:59Z");
                let micros = ((days + 1) * DAY - 1) * MICROS;
                assert_eq!(parse(&text), Ok(micros), "{text}");
                assert_eq!(format(micros), Some(text));
                days += 1;
            }
            let text = format!("{year:04}-{month:02}-{:02}T00:00:00Z", days_of(year, month) + 1);
            assert_eq!(parse(&text), Err(RFC_3339), "{text}");
        }
    }
    assert_eq!(days, naive_days(9999, 12, 31) + 1);
}

#[test]
fn the_first_and_the_last_instant() {
    let (first, last) = (-62_135_596_800 * MICROS, 253_402_300_800 * MICROS - 1);
    for (text, expected) in [
        ("0001-01-01T00:00:00Z", Ok(first)),
        ("0001-01-01T14:00:00+14:00", Ok(first)),
        ("0001-01-01T00:00:00+14:00", Err(YEARS)),
        ("0001-01-01T00:00:00+00:00:01", Err(YEARS)),
        ("0000-12-31T23:59:59Z", Err(YEARS)),
        ("0000-12-31T23:59:59-00:01", Ok(first + 59 * MICROS)),
        ("-000001-12-31T23:59:59Z", Err(YEARS)),
        ("-009999-01-01T00:00:00+23:59", Err(YEARS)),
        ("9999-12-31T23:59:59Z", Ok(last - 999_999)),
        ("9999-12-31T23:59:59.999999999Z", Ok(last)),
        ("9999-12-31T12:00:00-11:59", Ok(last - 60 * MICROS + 1)),
        ("9999-12-31T12:00:00-12:00", Err(YEARS)),
        ("9999-12-31T23:59:59-23:59", Err(YEARS)),
        ("10000-01-01T00:00:00Z", Err(RFC_3339)),
        ("+010000-01-01T00:00:00Z", Err(RFC_3339)),
        ("2026-11-21", Err(RFC_3339)),
        ("2026-11-21T09:30:00", Err(RFC_3339)),
        ("", Err(RFC_3339)),
    ] {
        assert_eq!(parse(text), expected, "{text}");
    }
    assert_eq!(format(last).as_deref(), Some("9999-12-31T23:59:59.999999Z"));
    assert_eq!(format(first).as_deref(), Some("0001-01-01T00:00:00Z"));
    assert_eq!(format(i64::MAX), None);
    assert_eq!(format(i64::MIN), None);
}

#[test]
fn second_60_is_refused_in_every_form() {
    for text in [
        "2016-12-31T23:59:60Z",
        "2016-12-31t23:59:60z",
        "2016-12-31 23:59:60Z",
        "2016-12-31T12:34:60Z",
        "2016-12-31T23:59:60.5+01:00",
        "20161231T235960Z",
        "2016-12-31T23:59:60Z[UTC]",
    ] {
        assert_eq!(parse(text), Err(LEAP_SECOND), "{text}");
    }
    for text in ["2016-12-31T23:59:61Z", "2016-12-31T23:60:00Z", "2016-12-31T60:00:00Z"] {
        assert_eq!(parse(text), Err(RFC_3339), "{text}");
    }
    // No second of 60, and 60 elsewhere.
    for text in ["2016-12-31T23:59Z", "2016-12-31T23Z", "2016-12-31T23:59:59.60Z", "20161231T23Z"] {
        assert!(parse(text).is_ok(), "{text}");
    }
}

#[test]
fn fractions_below_a_microsecond_go_towards_the_past() {
    for (text, micros) in [
        ("1970-01-01T00:00:00.0000019Z", 1),
        ("1970-01-01T00:00:00.000000999Z", 0),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1969-12-31T23:59:59.999999001Z", -1),
        ("1969-12-31T23:59:59.0000001Z", -MICROS),
        ("1970-01-01T00:59:59.9999999+01:00", -1),
    ] {
        assert_eq!(parse(text), Ok(micros), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(micros in -62_135_596_800 * MICROS..253_402_300_800 * MICROS) {
        prop_assert_eq!(parse(&format(micros).unwrap()), Ok(micros));
    }

    #[test]
    fn parsed_instants_are_those_of_a_naive_calendar(
        (year, month) in (1i64..=9999, 1i64..=12),
        day in 1i64..=31,
        (hour, minute, second) in (0i64..24, 0i64..60, 0i64..60),
        nanos in 0i64..1_000_000_000,
        (sign, offset) in (prop::sample::select(vec![1, -1]), 0i64..24 * 60),
    ) {
        let day = day.min(days_of(year, month));
        let mark = if sign < 0 { '-' } else { '+' };
        let text = format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}{mark}{:02}:{:02}",
            offset / 60,
            offset % 60,
        );
        let local = (naive_days(year, month, day) * 24 + hour) * 60 + minute - sign * offset;
        let micros = (local * 60 + second) * MICROS + nanos / 1000;
        let first_day = -DAYS_BEFORE_1970 * DAY * MICROS;
        let inside = (first_day..(naive_days(9999, 12, 31) + 1) * DAY * MICROS).contains(&micros);
        prop_assert_eq!(parse(&text), if inside { Ok(micros) } else { Err(YEARS) });
    }
}
