//! Quotes file contents in errors: on one line, with bounded length, and with invisible characters
//! escaped.

use std::fmt;

/// Maximum bytes of one text; the rest is replaced by an ellipsis.
const TEXT_BYTES: usize = 64;
/// Maximum bytes of a list; further names are replaced by their number.
const LIST_BYTES: usize = 200;

/// Text in double quotes.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// A name, in quotes unless it is plain.
fn name(text: &str) -> String {
    let odd = |c: char| c.is_whitespace() || c == ',';
    if text.is_empty() || text.contains(odd) || escaped(text) != text {
        quoted(text)
    } else {
        text.to_owned()
    }
}

fn escaped(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if shown.len() >= TEXT_BYTES {
            shown.push('…');
            break;
        }
        if c == '\'' {
            shown.push(c);
        } else if is_ignorable(c) {
            shown.extend(c.escape_unicode());
        } else if shown.is_empty() {
            shown.extend(c.escape_debug());
        } else {
            // Combining marks are an exception: they are visible on the letter before.
            shown.extend(format!("a{c}").escape_debug().skip(1));
        }
    }
    shown
}

/// Characters that are invisible although they count as printable.
fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A list of names for an error, with bounded length.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Names {
    text: String,
    more: usize,
}

impl Names {
    /// Adds a name.
    pub(crate) fn add(&mut self, text: &str) {
        if self.more == 0 && self.text.len() < LIST_BYTES {
            if !self.text.is_empty() {
                self.text.push_str(", ");
            }
            self.text.push_str(&name(text));
        } else {
            self.more += 1;
        }
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl<T: AsRef<str>> FromIterator<T> for Names {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        let mut all = Self::default();
        names.into_iter().for_each(|name| all.add(name.as_ref()));
        all
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.more > 0 {
            write!(f, " and {} more", self.more)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        for (text, shown) in [
            ("id", "id"),
            ("Größe", "Größe"),
            ("東京", "東京"),
            ("cafe\u{301}", "cafe\u{301}"),
            ("ไทย", "ไทย"),
            ("it's", "it's"),
            ("name.common", "name.common"),
            ("", "\"\""),
            (" ", "\" \""),
            ("full name", "\"full name\""),
            ("a,b", "\"a,b\""),
            ("a\"b\\", "\"a\\\"b\\\\\""),
            ("id\u{200b}", "\"id\\u{200b}\""),
            ("\u{feff}id", "\"\\u{feff}id\""),
            ("a\u{a0}b", "\"a\\u{a0}b\""),
            ("a\r\nb\0", "\"a\\r\\nb\\0\""),
            ("\u{202e}di", "\"\\u{202e}di\""),
            ("\u{301}a", "\"\\u{301}a\""),
            ("\u{3164}", "\"\\u{3164}\""),
            ("i\u{fe0f}", "\"i\\u{fe0f}\""),
            ("\u{1b}[2J", "\"\\u{1b}[2J\""),
        ] {
            assert_eq!(name(text), shown);
        }
    }

    #[test]
    fn names_are_cut_and_counted() {
        let long = "x".repeat(1_000_000);
        assert_eq!(name(&long), format!("\"{}…\"", "x".repeat(TEXT_BYTES)));
        let names: Names = std::iter::repeat_n("\u{10ffff}".repeat(99), 1000).collect();
        let text = names.to_string();
        assert!(text.ends_with(" and 997 more") && text.len() < 400, "{text}");
        assert_eq!(Names::default().to_string(), "");
    }
}
