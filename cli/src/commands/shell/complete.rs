//! Completion of words. It knows what the client has fetched before and sends nothing, so nothing
//! that is typed can be learned from it.

use std::sync::{Arc, Mutex, PoisonError};

use opaque_client::{description, terminal::escaped};
use reedline::{Completer, CompletionResult, Span, Suggestion};

use super::input::COMMANDS;

/// Keywords of the SQL that a client answers.
const KEYWORDS: &str = "\
    ALL AND AS ASC AVG BETWEEN BY CASE CAST COUNT DESC DISTINCT ELSE END EXCEPT EXISTS FALSE \
    FROM GLOB GROUP HAVING IN INNER INTERSECT IS JOIN LEFT LIKE LIMIT LOWER MAX MIN NOT NULL \
    OFFSET ON OR ORDER OVER PARTITION ROUND SELECT SUBSTR SUM THEN TRUE UNION UPPER USING \
    VALUES WHEN WHERE WITH";

/// A table and its columns.
type Table = (String, Vec<String>);

/// Names of tables and of their columns. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Names(Arc<Mutex<Vec<Table>>>);

impl Names {
    /// Replaces the names by those of these tables.
    pub(super) fn set(&self, tables: &[description::Table]) {
        // A name comes from a node, and one that could steer the terminal is not offered.
        let offered = |name: &str| escaped(name) == name;
        let names = |table: &description::Table| {
            let columns = table.schema.columns().iter().map(|column| column.name.clone());
            (table.schema.table().to_owned(), columns.filter(|name| offered(name)).collect())
        };
        let tables = tables.iter().filter(|table| offered(table.schema.table()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tables.map(names).collect();
    }
}

impl Completer for Names {
    fn complete(&mut self, line: &str, position: usize) -> CompletionResult {
        let before = line.get(..position).unwrap_or(line);
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, words) = words(&tables, before);
        let suggestion = |word: String| Suggestion {
            // A comma or semicolon may follow a name.
            append_whitespace: KEYWORDS
                .split(' ')
                .any(|keyword| keyword.eq_ignore_ascii_case(&word))
                || word.starts_with('\\'),
            value: word,
            span: Span::new(start, position.max(start)),
            ..Suggestion::default()
        };
        CompletionResult::fresh(words.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}

/// The words that may replace the end of `before`, and where that end begins.
fn words(tables: &[Table], before: &str) -> (usize, Vec<String>) {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    if before.trim_start().starts_with('\\') {
        let start = before.trim_end_matches(|c: char| !c.is_whitespace()).len();
        return (start, arguments(tables, before, start));
    }
    let start = before.trim_end_matches(is_part).len();
    let (earlier, typed) = before.split_at(start);
    if is_in_text(before) {
        return (start, Vec::new());
    }
    let earlier_words: Vec<&str> =
        earlier.split(|c| !is_part(c)).filter(|word| !word.is_empty()).collect();
    let is_mentioned = |table: &str| earlier_words.iter().any(|w| w.eq_ignore_ascii_case(table));
    let all = || tables.iter().flat_map(|(_, columns)| columns);
    let columns = |table: &str| tables.iter().find(|(name, _)| name.eq_ignore_ascii_case(table));
    let mut found = Vec::new();
    if earlier.ends_with('.') {
        // After the name of a table, or an alias, whose table is not looked for.
        match earlier_words.last().and_then(|table| columns(table)) {
            Some((_, columns)) => found.extend(columns),
            None => found.extend(all()),
        }
        return (start, matching(found.into_iter().map(String::as_str), typed));
    }
    let previous = earlier.split_whitespace().next_back().unwrap_or_default();
    let names = tables.iter().map(|(name, _)| name.as_str());
    if ["FROM", "JOIN"].iter().any(|word| previous.eq_ignore_ascii_case(word)) {
        return (start, matching(names, typed));
    }
    let mentioned = tables.iter().filter(|(name, _)| is_mentioned(name));
    found.extend(mentioned.flat_map(|(_, columns)| columns));
    if found.is_empty() {
        found.extend(all());
    }
    let mut words = matching(found.into_iter().map(String::as_str), typed);
    if !typed.is_empty() {
        words.extend(matching(names, typed));
        let lower = typed.chars().all(|c| c.is_ascii_lowercase());
        let keyword = |word: String| if lower { word.to_ascii_lowercase() } else { word };
        words.extend(matching(KEYWORDS.split(' '), typed).into_iter().map(keyword));
    }
    (start, words)
}

/// The names of commands, or the arguments of one.
fn arguments(tables: &[Table], before: &str, start: usize) -> Vec<String> {
    let (earlier, typed) = before.split_at(start);
    let starting = |words: &[&str]| {
        words.iter().filter(|w| w.starts_with(typed)).map(|w| (*w).to_owned()).collect()
    };
    match earlier.split_whitespace().collect::<Vec<_>>().as_slice() {
        [] => starting(&COMMANDS.iter().map(|(command, ..)| *command).collect::<Vec<_>>()),
        ["\\d"] => {
            let names = tables.iter().map(|(name, _)| name.as_str());
            names.filter(|name| starts_with(name, typed)).map(str::to_owned).collect()
        }
        ["\\x"] => starting(&["auto", "off", "on"]),
        ["\\timing" | "\\scan"] => starting(&["off", "on"]),
        _ => Vec::new(),
    }
}

/// The names that begin with what was typed, each once, in quotes where SQL needs them.
fn matching<'a>(names: impl Iterator<Item = &'a str>, typed: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names.filter(|name| starts_with(name, typed)) {
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        let name =
            if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) };
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

fn starts_with(name: &str, typed: &str) -> bool {
    name.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed))
}

/// Whether the end of a statement is inside a literal.
fn is_in_text(before: &str) -> bool {
    before.matches('\'').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(before: &str) -> Vec<String> {
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let tables = [
            ("weather".to_owned(), strings(&["city", "country", "two words"])),
            ("people".to_owned(), strings(&["id", "name"])),
        ];
        words(&tables, before).1
    }

    #[test]
    fn columns_are_those_of_the_tables_that_are_mentioned() {
        assert_eq!(
            completed("SELECT c"),
            ["city", "country", "CASE", "CAST", "COUNT"].map(|w| {
                if w.chars().all(char::is_uppercase) { w.to_lowercase() } else { w.to_owned() }
            })
        );
        assert_eq!(completed("SELECT * FROM people WHERE "), ["id", "name"]);
        assert_eq!(completed("SELECT * FROM people, weather WHERE weather.c"), ["city", "country"]);
        assert_eq!(completed("SELECT t"), ["\"two words\"", "then", "true"]);
        assert_eq!(completed("SELECT p.na"), ["name"]);
    }

    #[test]
    fn tables_come_after_from_and_join() {
        assert_eq!(completed("SELECT * from "), ["weather", "people"]);
        assert_eq!(completed("SELECT * FROM w"), ["weather"]);
        assert_eq!(completed("SELECT * FROM weather JOIN P"), ["people"]);
    }

    #[test]
    fn keywords_follow_the_letters_that_were_typed() {
        assert_eq!(completed("sel"), ["select"]);
        assert_eq!(completed("SEL"), ["SELECT"]);
        assert_eq!(completed("SELECT 'a wh"), [""; 0]);
        assert_eq!(completed("SELECT 'a' wh"), ["when", "where"]);
    }

    #[test]
    fn commands_and_their_arguments_are_completed() {
        assert_eq!(completed("\\t"), ["\\timing"]);
        assert_eq!(completed("\\x "), ["auto", "off", "on"]);
        assert_eq!(completed("\\timing o"), ["off", "on"]);
        assert_eq!(completed("\\d "), ["weather", "people"]);
        assert_eq!(completed("\\d we"), ["weather"]);
        assert_eq!(completed("\\pages "), [""; 0]);
    }

    #[test]
    fn what_is_replaced_begins_where_the_word_begins() {
        let tables = [("città".to_owned(), Vec::new())];
        assert_eq!(words(&tables, "SELECT 'é' FROM ci").0, "SELECT 'é' FROM ".len());
        assert_eq!(words(&tables, "\\d cit").0, 3);
        assert_eq!(words(&tables, "\\d\u{a0}cit").0, 4);
        // The typed letters need not end at a character of the name.
        assert_eq!(words(&tables, "SELECT 1 FROM citté").1, [""; 0]);
    }
}
