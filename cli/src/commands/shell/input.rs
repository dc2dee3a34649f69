//! What a text at the prompt means.

use opaque_client::sql::{self, Parameters};

/// A text that was entered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input<'a> {
    /// SQL statements, separated by semicolons.
    Sql(&'a str),
    /// A command of the shell.
    Meta(Meta<'a>),
    /// A command that does not exist, or that has a wrong argument, with what to write.
    Wrong(String),
}

/// A command of the shell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meta<'a> {
    /// List the tables.
    Tables,
    /// Describe a table.
    Describe(&'a str),
    /// Report the costs of statements, or toggle it.
    Timing(Option<bool>),
    /// Show a line for each value, or toggle it.
    Vertical(Option<Vertical>),
    /// Pages to fetch for each value.
    Pages(u32),
    /// Answer statements without a private plan by public scans, or toggle it.
    Scan(Option<bool>),
    /// Show the commands.
    Help,
    /// End the shell.
    Quit,
}

/// When an answer has a line for each value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Vertical {
    /// Never.
    #[default]
    Off,
    /// Always.
    On,
    /// If its table is wider than the terminal.
    Auto,
}

/// The commands, and their arguments and meanings.
pub(super) const COMMANDS: &[(&str, &str, &str)] = &[
    ("\\d", "[TABLE]", "list the tables, or describe one"),
    ("\\timing", "[on|off]", "report the costs of each statement"),
    ("\\x", "[on|off|auto]", "a line for each value; auto: if a row is wider than the terminal"),
    ("\\pages", "N", "pages to fetch for each value, unless LIMIT determines the number"),
    ("\\scan", "[on|off]", "answer what has no private plan by a full scan, which is not private"),
    ("\\?", "", "show this help; also \\h and help"),
    ("\\q", "", "end the shell; also Ctrl-D, quit and exit"),
];

/// What opens a literal, a name or a comment is closed by one of these.
const CLOSING: [&str; 5] = ["'", "\"", "`", "]", "*/"];

impl<'a> Input<'a> {
    /// Reads a text that [`is_complete`].
    pub(super) fn read(text: &'a str) -> Self {
        let trimmed = text.trim();
        let word = without_semicolons(trimmed);
        match word.to_ascii_lowercase().as_str() {
            "quit" | "exit" => Self::Meta(Meta::Quit),
            "help" => Self::Meta(Meta::Help),
            _ if word.starts_with('\\') => match meta(word) {
                Ok(meta) => Self::Meta(meta),
                Err(wrong) => Self::Wrong(wrong),
            },
            _ => Self::Sql(trimmed),
        }
    }
}

/// Whether Enter sends the text: it is a command, or its last statement ends with a semicolon.
pub(super) fn is_complete(text: &str) -> bool {
    if !matches!(Input::read(text), Input::Sql(_)) {
        return true;
    }
    let statements = |text: &str| sql::split(text, &Parameters::default()).map(|parts| parts.len());
    match statements(text) {
        // A word after a semicolon is another statement.
        Ok(before) => statements(&format!("{text}\nword")) == Ok(before + 1),
        Err(_) => !CLOSING.iter().any(|closing| statements(&format!("{text}{closing}")).is_ok()),
    }
}

fn without_semicolons(text: &str) -> &str {
    text.trim_end_matches(|c: char| c == ';' || c.is_whitespace())
}

fn meta(text: &str) -> Result<Meta<'_>, String> {
    let mut words = text.split_whitespace();
    let command = words.next().unwrap_or_default();
    let argument = words.next();
    if words.next().is_some() {
        return Err(format!("{command} takes one word at most; \\? shows the commands"));
    }
    let on_or_off = || match argument {
        None => Ok(None),
        Some("on") => Ok(Some(true)),
        Some("off") => Ok(Some(false)),
        Some(_) => Err(format!("write {command} on or {command} off")),
    };
    match (command, argument) {
        ("\\d", None) => Ok(Meta::Tables),
        ("\\d", Some(table)) => Ok(Meta::Describe(table)),
        ("\\timing", _) => on_or_off().map(Meta::Timing),
        ("\\scan", _) => on_or_off().map(Meta::Scan),
        ("\\x", Some("auto")) => Ok(Meta::Vertical(Some(Vertical::Auto))),
        ("\\x", _) => {
            let vertical = |on| if on { Vertical::On } else { Vertical::Off };
            let wrong = |_| "write \\x on, \\x off or \\x auto".to_owned();
            on_or_off().map(|on| Meta::Vertical(on.map(vertical))).map_err(wrong)
        }
        ("\\pages", pages) => match pages.and_then(|pages| pages.parse().ok()) {
            Some(pages) if pages > 0 => Ok(Meta::Pages(pages)),
            _ => Err("write \\pages N with a whole number from 1".to_owned()),
        },
        ("\\?" | "\\h" | "\\help", None) => Ok(Meta::Help),
        ("\\q" | "\\quit", None) => Ok(Meta::Quit),
        ("\\?" | "\\h" | "\\help" | "\\q" | "\\quit", Some(_)) => {
            Err(format!("{command} takes no argument"))
        }
        _ => Err(format!("{command} is not a command; \\? shows the commands")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_go_on_until_their_semicolon() {
        for complete in [
            "",
            "  ",
            ";",
            "SELECT 1;",
            "SELECT 1; ",
            "SELECT 1; -- done",
            "SELECT\n ';' ;",
            "SELECT 1; SELECT 2;",
            "\\d",
            " \\d weather",
            "\\nonsense",
            "quit",
            "EXIT;",
            "help",
        ] {
            assert!(is_complete(complete), "{complete:?}");
        }
        for open in [
            "SELECT 1",
            "SELECT 1 -- ;",
            "SELECT ';",
            "SELECT 'a;\n",
            "SELECT \"a;",
            "SELECT [a;",
            "SELECT 1 /* ;",
            "SELECT 1; SELECT 2",
            "exit 1",
        ] {
            assert!(!is_complete(open), "{open:?}");
        }
    }

    #[test]
    fn commands_are_read_with_their_arguments() {
        let meta = |text| match Input::read(text) {
            Input::Meta(meta) => meta,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(meta("\\d"), Meta::Tables);
        assert_eq!(meta(" \\d  weather ;"), Meta::Describe("weather"));
        assert_eq!(meta("\\timing"), Meta::Timing(None));
        assert_eq!(meta("\\timing off"), Meta::Timing(Some(false)));
        assert_eq!(meta("\\scan on"), Meta::Scan(Some(true)));
        assert_eq!(meta("\\x"), Meta::Vertical(None));
        assert_eq!(meta("\\x on"), Meta::Vertical(Some(Vertical::On)));
        assert_eq!(meta("\\x auto"), Meta::Vertical(Some(Vertical::Auto)));
        assert_eq!(meta("\\pages 3"), Meta::Pages(3));
        for help in ["\\?", "\\h", "help"] {
            assert_eq!(meta(help), Meta::Help);
        }
        for quit in ["\\q", "quit;", "Exit"] {
            assert_eq!(meta(quit), Meta::Quit);
        }
        for (wrong, write) in [
            ("\\pages 0", "\\pages N"),
            ("\\pages", "\\pages N"),
            ("\\x maybe", "\\x auto"),
            ("\\timing 1", "\\timing off"),
            ("\\dt", "\\? shows"),
            ("\\d a b", "one word"),
            ("\\q now", "no argument"),
        ] {
            let Input::Wrong(text) = Input::read(wrong) else { panic!("{wrong}") };
            assert!(text.contains(write), "{wrong}: {text}");
        }
        assert_eq!(Input::read(" SELECT 1; "), Input::Sql("SELECT 1;"));
    }

    #[test]
    fn every_command_of_the_help_exists() {
        for (command, arguments, _) in COMMANDS {
            let argument = arguments.trim_matches(['[', ']']).split('|').next().unwrap_or_default();
            let argument = if argument == "N" { "1" } else { argument };
            let text = format!("{command} {argument}");
            assert!(matches!(Input::read(&text), Input::Meta(_)), "{text}");
        }
    }
}
