//! The prompt: keys, completion menu and history.

use std::{
    borrow::Cow,
    fs::{File, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use opaque_client::profile::ProfileName;
use reedline::{
    ColumnarMenu, EditCommand, Emacs, FileBackedHistory, History, KeyCode, KeyModifiers,
    MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline,
    ReedlineEvent, ReedlineMenu, SimpleMatchHighlighter, ValidationResult, Validator,
    default_emacs_keybindings,
};

use super::{complete::Names, input::is_complete};
use crate::failure::Failure;

/// Statements that the history keeps.
const HISTORY: usize = 10_000;

const MENU: &str = "completion";

/// An editor that completes from `names`. Its history ends with it, unless a file is given.
pub(super) fn open(names: Names, history: Option<&Path>) -> Result<Reedline, Failure> {
    let mut keys = default_emacs_keybindings();
    let tab = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(tab));
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    let line_break = ReedlineEvent::Edit(vec![EditCommand::InsertNewline]);
    keys.add_binding(KeyModifiers::ALT, KeyCode::Enter, line_break);
    let menu = Box::new(ColumnarMenu::default().with_name(MENU).with_marker("> "));
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Ok(Reedline::create()
        .with_history(kept(history)?)
        // As in many shells: a line that begins with a space is not remembered.
        .with_history_exclusion_prefix(Some(" ".to_owned()))
        .with_completer(Box::new(names))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(menu))
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_validator(Box::new(Semicolons))
        .with_highlighter(Box::new(SimpleMatchHighlighter::new(String::new())))
        .with_ansi_colors(!no_color)
        .use_bracketed_paste(true))
}

/// The history. It holds literals, so that its file is for the user alone.
fn kept(file: Option<&Path>) -> Result<Box<dyn History>, Failure> {
    let prompt = |error: reedline::ReedlineError| Failure::Prompt(error.to_string());
    let Some(file) = file else {
        return Ok(Box::new(FileBackedHistory::new(HISTORY).map_err(prompt)?));
    };
    make_private(file)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
    Ok(Box::new(FileBackedHistory::with_file(HISTORY, file.to_owned()).map_err(prompt)?))
}

/// Creates the file if it is absent, and makes its mode 0600.
fn make_private(file: &Path) -> io::Result<()> {
    let opened: File = File::options().create(true).append(true).mode(0o600).open(file)?;
    opened.set_permissions(Permissions::from_mode(0o600))
}

/// Enter sends a text that is complete.
struct Semicolons;

impl Validator for Semicolons {
    fn validate(&self, line: &str) -> ValidationResult {
        if is_complete(line) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

/// What stands before the text.
pub(super) struct Sign {
    left: String,
}

impl Sign {
    pub(super) fn new(profile: &ProfileName) -> Self {
        let left =
            if profile.is_default() { "opaque".to_owned() } else { format!("opaque ({profile})") };
        Self { left }
    }
}

impl Prompt for Sign {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        self.left.as_str().into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        format!("{}> ", ".".repeat(self.left.len())).into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "failing ",
        };
        format!(" ({failing}search: {})> ", search.term).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_file_is_the_users_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("history");
        let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        drop(open(Names::default(), Some(&file)).unwrap());
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        drop(open(Names::default(), Some(&file)).unwrap());
        assert_eq!(mode(), 0o600);
        drop(open(Names::default(), None).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let absent = dir.path().join("no/history");
        let error = open(Names::default(), Some(&absent)).err().unwrap();
        assert!(error.to_string().contains("no/history"), "{error}");
    }

    #[test]
    fn the_prompt_names_another_profile() {
        let left = |name: &str| Sign::new(&name.parse().unwrap()).left;
        assert_eq!(left("default"), "opaque");
        assert_eq!(left("eu"), "opaque (eu)");
    }
}
