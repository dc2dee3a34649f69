//! Durations in the format of specs.

use time::Duration;

/// Parses a duration in the format of the spec: hours, minutes and seconds, `1h30m`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut number = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let count: i64 = number.parse().ok()?;
        number.clear();
        let seconds = match character {
            'h' => count.checked_mul(3600)?,
            'm' => count.checked_mul(60)?,
            's' => count,
            _ => return None,
        };
        total = total.checked_add(Duration::seconds(seconds))?;
    }
    (number.is_empty() && total > Duration::ZERO).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_spec_writes_them() {
        assert_eq!(parse("2160h"), Some(Duration::days(90)));
        assert_eq!(parse("1h30m15s"), Some(Duration::seconds(5415)));
        for refused in ["", "h", "12", "1d", "1h2", "-1h", "99999999999999999999h"] {
            assert_eq!(parse(refused), None, "{refused}");
        }
    }
}
