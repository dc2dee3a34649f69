//! Characters of a dialect, as users write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const ONE: &str = "write one ASCII character, or tab";
const ONE_OR_NONE: &str = "write one ASCII character, or none";

/// The character between two fields: one ASCII character, or the word `tab`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Delimiter(u8);

impl Delimiter {
    /// The character's byte.
    pub fn byte(self) -> u8 {
        self.0
    }
}

impl FromStr for Delimiter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            // Shells pass `\t` as two characters.
            "tab" | "\\t" => Ok(Self(b'\t')),
            _ => one(text).map(Self).ok_or(ONE),
        }
    }
}

/// A character with a meaning, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Mark {
    /// The dialect has no such character.
    None,
    /// One ASCII character.
    Byte(u8),
}

impl Mark {
    /// The character's byte, if there is one.
    pub fn byte(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::Byte(byte) => Some(byte),
        }
    }
}

impl FromStr for Mark {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" | "" => Ok(Self::None),
            _ => one(text).map(Self::Byte).ok_or(ONE_OR_NONE),
        }
    }
}

/// The only character of a text, unless it is a line break or not ASCII.
fn one(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Some(*byte),
        _ => None,
    }
}

impl TryFrom<String> for Delimiter {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for Mark {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Delimiter> for String {
    fn from(delimiter: Delimiter) -> Self {
        delimiter.to_string()
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> Self {
        mark.to_string()
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\t' => f.write_str("tab"),
            byte => char::from(byte).fmt(f),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Byte(byte) => char::from(*byte).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_one_character_or_a_word() {
        for (text, byte) in [(";", b';'), ("\t", b'\t'), ("tab", b'\t'), ("\\t", b'\t')] {
            assert_eq!(text.parse::<Delimiter>().unwrap().byte(), byte, "{text:?}");
        }
        for (text, byte) in [("'", Some(b'\'')), ("none", None), ("", None)] {
            assert_eq!(text.parse::<Mark>().unwrap().byte(), byte, "{text:?}");
        }
        for text in ["", "ab", "é", "\n", "none"] {
            assert!(text.parse::<Delimiter>().is_err(), "{text:?}");
        }
        for text in ["ab", "é", "\r"] {
            assert!(text.parse::<Mark>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_mark_is_printed_as_it_is_read() {
        for byte in (0..128).filter(|byte| !matches!(byte, b'\n' | b'\r')) {
            assert_eq!(Delimiter(byte).to_string().parse(), Ok(Delimiter(byte)));
            assert_eq!(Mark::Byte(byte).to_string().parse(), Ok(Mark::Byte(byte)));
        }
        assert_eq!(Mark::None.to_string().parse(), Ok(Mark::None));
    }
}
