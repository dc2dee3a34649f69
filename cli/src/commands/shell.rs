//! `opaque shell`: a prompt for statements and commands.
//!
//! **What is sent.** Each text is sent as by an `opaque query` of its own: over connections that are
//! closed before the last answer is decrypted, so that the time of the next text reveals no more
//! than that of another process. Completion sends nothing. `\d` sends what `opaque tables` and
//! `opaque describe` send.
//!
//! **What stays.** The history ends with the shell unless `--history` names a file.

mod complete;
mod editor;
mod input;
mod pager;
mod session;
mod settings;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use clap::Args;
use reedline::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::block_in_place,
};

use super::Connection;
use crate::failure::Failure;
use editor::Sign;
use session::Session;

#[derive(Args, Default)]
#[command(after_help = "\
What is private: what `opaque query --help` says. Each text is sent over connections of its own.
Completion with Tab uses the names that were fetched at the start and by \\d, and sends nothing.

Statements end with a semicolon and may have several lines. Ctrl-C clears the text, or stops a
statement that runs. Ctrl-D ends the shell. \\? lists the commands.

Text that is higher than the terminal is shown by PAGER, by default `less -FRSX`.

Examples:
  opaque shell
  opaque shell --history ~/.opaque/history     remember statements, and the literals in them")]
pub(crate) struct Arguments {
    /// File that remembers what is entered, literals included; without it, nothing is kept
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

pub(crate) async fn run(connection: &Connection, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { history } = arguments;
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::NoTerminal);
    }
    // From now on, Ctrl-C does not end the process.
    let _interrupt = signal(SignalKind::interrupt())?;
    let mut session = Session::new(connection.config()?);
    let tables = session.fetch_names().await?;
    let mut editor = editor::open(session.names(), history.as_deref())?;
    let sign = Sign::new(&connection.profile);
    let version = env!("CARGO_PKG_VERSION");
    let tables = if tables == 1 { "1 table".to_owned() } else { format!("{tables} tables") };
    writeln!(io::stdout(), "opaque {version}, {tables}. \\? shows help, Ctrl-D ends.")?;
    loop {
        let read = block_in_place(|| editor.read_line(&sign));
        match read.map_err(|error| Failure::Prompt(error.to_string()))? {
            Signal::Success(text) => {
                block_in_place(|| editor.sync_history())?;
                if !session.enter(&text).await {
                    return Ok(());
                }
            }
            Signal::CtrlD => return Ok(()),
            _ => {}
        }
    }
}
