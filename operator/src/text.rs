//! Texts of bounded length.

/// At most the first `limit` bytes, cut at a character boundary.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit.saturating_sub(3)).rev().find(|at| text.is_char_boundary(*at));
    format!("{}...", text.get(..end.unwrap_or(0)).unwrap_or_default())
}

/// At most `bytes` bytes of `text`, on one line. It makes messages of other programs fit for a
/// status.
pub(crate) fn clip(text: &str, bytes: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shorten(&line, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_on_a_boundary() {
        assert_eq!(shorten("short", 10), "short");
        assert_eq!(shorten("ääääää", 8), "ää...");
    }
}
