//! Names of profiles.

use std::{fmt, str::FromStr};

use super::ProfileError;

/// Longest name in bytes.
const LONGEST: usize = 64;

/// The name of a profile, which is also the name of its directory.
///
/// Invariant: 1 to 64 ASCII letters, digits, `-`, `_` and `.`, and the first is a letter or digit. A
/// name therefore never leaves the directory of profiles, and is never mistaken for an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileName(String);

impl ProfileName {
    const DEFAULT: &str = "default";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the profile that is used unless another one is named.
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }
}

impl Default for ProfileName {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProfileName {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let is_valid = text.len() <= LONGEST
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if is_valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(ProfileError::Name { name: text.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_harmless_directory() {
        let long = "a".repeat(LONGEST);
        for good in ["default", "eu-west.2", "7", "A_b", &long] {
            assert_eq!(good.parse::<ProfileName>().unwrap().as_str(), good);
        }
        let longer = "a".repeat(LONGEST + 1);
        for bad in ["", ".", "..", "a/b", "/a", "../a", "-a", "_a", "a b", "a\0", "é", &longer] {
            assert!(bad.parse::<ProfileName>().is_err(), "{bad:?}");
        }
    }
}
