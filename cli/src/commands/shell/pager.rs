//! Shows text that is higher than the terminal in a pager.

use std::{
    env,
    io::{self, Write},
    process::{Command, Stdio},
};

/// A pager that ends at once if the text fits, keeps colors, cuts long lines and leaves the text on
/// the screen.
const DEFAULT: &str = "less -FRSX";

/// The exit code of `sh` for a program that does not exist.
const NOT_FOUND: i32 = 127;

/// Rows and columns of the terminal on standard output; absent if it is no terminal.
pub(super) fn terminal() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then(|| (size.ws_row.into(), size.ws_col.into()))
}

/// Writes a text to standard output, through a pager if it is higher than the terminal.
pub(super) fn show(text: &[u8]) -> io::Result<()> {
    let pager = pager(env::var("PAGER").ok());
    if let (true, Some(pager)) = (is_higher(text, terminal()), pager)
        && paged(text, &pager)?
    {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// Whether the pager showed the text: not if it does not exist.
fn paged(text: &[u8], pager: &str) -> io::Result<bool> {
    let mut child = Command::new("sh").args(["-c", pager]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(text) {
            // The user has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            outcome => outcome?,
        }
    }
    Ok(child.wait()?.code() != Some(NOT_FOUND))
}

/// The pager's command line: that of PAGER, none if it is blank, and a default without it.
fn pager(variable: Option<String>) -> Option<String> {
    let pager = variable.unwrap_or_else(|| DEFAULT.to_owned());
    Some(pager).filter(|pager| !pager.trim().is_empty())
}

/// Whether a text does not fit above the prompt.
fn is_higher(text: &[u8], terminal: Option<(usize, usize)>) -> bool {
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    terminal.is_some_and(|(rows, _)| lines >= rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_is_too_low_needs_a_pager() {
        assert!(!is_higher(b"1\n2\n3\n", None));
        assert!(!is_higher(b"1\n2\n3\n", Some((4, 80))));
        assert!(is_higher(b"1\n2\n3\n4\n", Some((4, 80))));
    }

    #[test]
    fn the_pager_is_the_users() {
        assert_eq!(pager(None).as_deref(), Some("less -FRSX"));
        assert_eq!(pager(Some("more".to_owned())).as_deref(), Some("more"));
        assert_eq!(pager(Some(" ".to_owned())), None);
    }

    #[test]
    fn a_pager_may_end_early_or_not_exist() {
        let long = vec![b'\n'; 1 << 20];
        assert!(paged(&long, "true").unwrap());
        assert!(paged(b"x\n", "cat >/dev/null").unwrap());
        assert!(!paged(b"x\n", "exec /nonexistent/pager 2>/dev/null").unwrap());
    }
}
