//! Splits a JSON object into members, as text.

/// Keys and the text of their values, in order. `object` must be a valid JSON object without
/// surrounding bytes: this function finds the ends of members and does not validate them.
pub(super) fn members(object: &str) -> Option<Vec<(String, &str)>> {
    let bytes = object.as_bytes();
    let mut members = Vec::new();
    let mut at = skip(bytes, 1);
    while *bytes.get(at)? != b'}' {
        let end = string_end(bytes, at)?;
        let key = serde_json::from_str(object.get(at..end)?).ok()?;
        // Skips the colon.
        let start = skip(bytes, skip(bytes, end).checked_add(1)?);
        let end = value_end(bytes, start)?;
        members.push((key, object.get(start..end)?));
        at = skip(bytes, end);
        if *bytes.get(at)? == b',' {
            at = skip(bytes, at.checked_add(1)?);
        }
    }
    Some(members)
}

/// The first position at or after `at` that is not white space.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.iter().skip(at);
    at + rest.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// The position after the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut escaped = false;
    for (position, byte) in bytes.iter().enumerate().skip(at.checked_add(1)?) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return position.checked_add(1),
            _ => {}
        }
    }
    None
}

/// The position after the value that begins at `at`.
fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0u32;
    let mut position = at;
    loop {
        match bytes.get(position)? {
            b'"' => position = string_end(bytes, position)?,
            b'{' | b'[' => {
                depth += 1;
                position += 1;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                position += 1;
            }
            b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return Some(position),
            _ => {
                position += 1;
                continue;
            }
        }
        if depth == 0 {
            return Some(position);
        }
    }
}
