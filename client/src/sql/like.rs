//! SQLite's LIKE: `%` matches any text, `_` matches any one character, and ASCII letters match in
//! either case.

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    AnyText,
    AnyChar,
    Char(char),
    /// An escape character at the end of the pattern. It matches nothing.
    Never,
}

impl Pattern {
    pub(super) fn new(pattern: &str, escape: Option<char>) -> Self {
        let mut parts = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                _ if Some(c) == escape => chars.next().map_or(Part::Never, Part::Char),
                '%' => Part::AnyText,
                '_' => Part::AnyChar,
                _ => Part::Char(c),
            });
        }
        Self(parts)
    }

    /// Matches greedily and backtracks only to the last `%`. The time is at most proportional to
    /// the product of the lengths.
    pub(super) fn matches(&self, text: &str) -> bool {
        let (mut rest, mut parts) = (text, self.0.as_slice());
        let mut retry: Option<(&str, &[Part])> = None;
        loop {
            let next = rest.chars().next();
            match (parts.split_first(), next) {
                (None, None) => return true,
                (Some((Part::AnyText, after)), _) => {
                    retry = Some((rest, after));
                    parts = after;
                    continue;
                }
                (Some((part, after)), Some(c)) if part.accepts(c) => {
                    rest = without_first(rest);
                    parts = after;
                    continue;
                }
                _ => {}
            }
            match retry {
                // Backtracks: the last % takes one more character.
                Some((from, after)) if !from.is_empty() => {
                    rest = without_first(from);
                    parts = after;
                    retry = Some((rest, after));
                }
                _ => return false,
            }
        }
    }
}

impl Part {
    fn accepts(self, c: char) -> bool {
        match self {
            Self::AnyChar => true,
            Self::Char(wanted) => wanted.eq_ignore_ascii_case(&c),
            Self::AnyText | Self::Never => false,
        }
    }
}

fn without_first(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}
