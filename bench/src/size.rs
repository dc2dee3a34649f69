//! Sizes of matrices and tables.

use std::{fmt, str::FromStr};

/// A number of bytes, written `64MiB` or `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// Units of a [`Size`], largest first.
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size: write 64MiB, 512MiB or 1GiB");
        let unit = UNITS.into_iter().find_map(|(name, factor)| {
            Some((text.trim().strip_suffix(name)?.trim_end().to_owned(), factor))
        });
        let (digits, factor) = unit.ok_or_else(wrong)?;
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(factor).filter(|bytes| *bytes > 0).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    /// Uses the largest unit that divides the size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, factor): &(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*factor);
        match UNITS.into_iter().find(whole) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("1GiB", 1 << 30), (" 3 KiB ", 3072), ("1536MiB", 1536 << 20)]
        {
            let size: Size = text.parse().unwrap();
            assert_eq!(size, Size(bytes), "{text}");
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        assert_eq!(Size(4 << 30).to_string(), "4GiB");
        for bad in ["", "1", "1GB", "GiB", "0MiB", "-1GiB", "1.5GiB", "1MiB,2MiB", "99999999999GiB"]
        {
            assert!(bad.parse::<Size>().is_err(), "{bad:?}");
        }
    }
}
