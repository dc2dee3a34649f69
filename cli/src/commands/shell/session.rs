//! What happens when a text is entered.

use std::{
    io::{self, Write},
    sync::Arc,
};

use indicatif::ProgressBar;
use opaque_client::{
    Client, ClientConfig, Error, QueryOptions, Timing,
    sql::{self, Options, Parameters, ResultSet},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::block_in_place,
};

use super::{
    complete::Names,
    input::{COMMANDS, Input, Meta},
    pager,
    settings::Settings,
};
use crate::{
    commands::{query, tables},
    failure::Failure,
    present::{self, Format},
};

/// One shell.
pub(super) struct Session {
    config: ClientConfig,
    names: Names,
    settings: Settings,
}

type Answered = Result<(ResultSet, Timing), Error>;

impl Session {
    pub(super) fn new(config: ClientConfig) -> Self {
        Self { config, names: Names::default(), settings: Settings::default() }
    }

    /// What completion knows. It changes with the session.
    pub(super) fn names(&self) -> Names {
        self.names.clone()
    }

    /// Fetches what completion knows, and returns the number of tables.
    pub(super) async fn fetch_names(&self) -> Result<usize, Failure> {
        Ok(self.tables().await?.tables.len())
    }

    async fn tables(&self) -> Result<opaque_client::Tables, Failure> {
        let client = self.client()?;
        let tables = client.tables().await;
        client.close().await;
        let tables = tables?;
        self.names.set(&tables.tables);
        Ok(tables)
    }

    /// Does what a text says, and reports errors. Returns false if the shell ends.
    pub(super) async fn enter(&mut self, text: &str) -> bool {
        let outcome = match Input::read(text) {
            Input::Meta(Meta::Quit) => return false,
            Input::Meta(meta) => self.command(meta).await,
            Input::Sql(sql) => self.statements(sql).await,
            Input::Wrong(wrong) => writeln!(io::stderr(), "error: {wrong}").map_err(Failure::Io),
        };
        if let Err(failure) = outcome {
            failure.report();
            // A write fails only if standard error is closed, and then there is no reader.
            let _ = io::stderr().write_all(options_here(&failure).as_bytes());
        }
        true
    }

    async fn command(&mut self, meta: Meta<'_>) -> Result<(), Failure> {
        let text = match meta {
            Meta::Tables => return self.list().await,
            Meta::Describe(table) => return self.describe(table).await,
            Meta::Help => help(),
            Meta::Quit => String::new(),
            setting => self.settings.change(&setting),
        };
        Ok(shown(text.as_bytes())?)
    }

    async fn list(&self) -> Result<(), Failure> {
        let Some(tables) = unless_interrupted(self.tables()).await? else { return Ok(()) };
        let mut text = Vec::new();
        tables::write_list(tables?, Format::Table, &mut text)?;
        Ok(shown(&text)?)
    }

    async fn describe(&self, table: &str) -> Result<(), Failure> {
        let client = self.client()?;
        let described = unless_interrupted(async {
            let described = client.describe(table).await;
            client.close().await;
            described
        });
        let Some(described) = described.await? else { return Ok(()) };
        let mut text = Vec::new();
        tables::write_description(&*described?, &mut text)?;
        Ok(shown(&text)?)
    }

    async fn statements(&self, sql: &str) -> Result<(), Failure> {
        let bar = ProgressBar::hidden();
        let asked = unless_interrupted(Box::pin(self.ask(sql, &bar))).await;
        bar.finish_and_clear();
        let Some(answers) = asked? else { return Ok(()) };
        let mut text = Vec::new();
        for answered in answers? {
            match answered {
                Ok((answer, timing)) => self.write(&answer, &timing, &mut text)?,
                Err(error) => {
                    // Earlier answers come before it.
                    shown(&std::mem::take(&mut text))?;
                    let failure = Failure::from(error);
                    failure.report();
                    io::stderr().write_all(options_here(&failure).as_bytes())?;
                }
            }
        }
        Ok(shown(&text)?)
    }

    /// Sends every statement of a text before it opens the first answer, as `opaque query` does. A
    /// statement that fails does not stop the others.
    async fn ask(&self, text: &str, bar: &ProgressBar) -> Result<Vec<Answered>, Failure> {
        let none = Parameters::default();
        let parts = sql::split(text, &none).map_err(Error::from)?;
        let Settings { pages, scan, .. } = self.settings;
        let shown = bar.clone();
        let options = QueryOptions {
            plan: Options { pages, allow_public_scan: scan },
            on_event: Some(Arc::new(move |event| query::show(&shown, event))),
            ..QueryOptions::default()
        };
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let statements: Vec<_> = parts.iter().map(|part| (part.text, none.clone())).collect();
        let mut answers = Vec::with_capacity(statements.len());
        for gathered in self.client()?.gather_and_close(&statements, &options).await {
            answers.push(match gathered {
                Ok(gathered) => gathered.open().await,
                Err(error) => Err(error),
            });
        }
        Ok(answers)
    }

    fn write(&self, answer: &ResultSet, timing: &Timing, out: &mut Vec<u8>) -> io::Result<()> {
        let columns = pager::terminal().map(|(_, columns)| columns);
        let is_wide = || columns.is_some_and(|columns| present::table_width(answer) > columns);
        let format =
            if self.settings.vertical.applies(is_wide) { Format::Vertical } else { Format::Table };
        present::write(answer, format, "", out)?;
        if self.settings.timing {
            out.extend(query::describe(timing).into_bytes());
        }
        Ok(())
    }

    /// A client with connections of its own.
    fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(self.config.clone())?)
    }
}

/// What a future returns, unless Ctrl-C comes first. The future is then dropped, which closes its
/// connections.
async fn unless_interrupted<T>(work: impl Future<Output = T>) -> io::Result<Option<T>> {
    // It receives no signal from before, such as one that was meant for a pager.
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = work => Ok(Some(done)),
        _ = interrupt.recv() => {
            writeln!(io::stderr(), "\ninterrupted: the statement has no answer, the shell goes on")?;
            Ok(None)
        }
    }
}

/// Shows a text without holding up other tasks.
fn shown(text: &[u8]) -> io::Result<()> {
    block_in_place(|| pager::show(text))
}

fn help() -> String {
    let line = |(command, arguments, meaning): &(&str, &str, &str)| {
        format!("  {:<22}{meaning}\n", format!("{command} {arguments}"))
    };
    let commands: String = COMMANDS.iter().map(line).collect();
    format!(
        "Statements end with a semicolon and may have several lines. Tab completes names.\n\
         Ctrl-C clears the text, or stops a statement that runs.\n\n{commands}"
    )
}

/// How to set here what an error's text says to set with options of `opaque query`.
fn options_here(failure: &Failure) -> String {
    let text = failure.to_string();
    let lines = [
        ("--pages", "in this shell, \\pages N stands for --pages N\n"),
        ("--allow-public-scan", "in this shell, \\scan on stands for --allow-public-scan\n"),
    ];
    lines.iter().filter(|(option, _)| text.contains(option)).map(|(_, line)| *line).collect()
}

#[cfg(test)]
mod tests {
    use opaque_client::sql::SqlError;

    use super::*;

    #[test]
    fn options_of_the_command_have_their_names_here() {
        let more = SqlError::MorePages { matches: 9, fetched: 2, pages: 4, literals: 1 };
        let here = options_here(&Failure::from(Error::from(more)));
        assert_eq!(here, "in this shell, \\pages N stands for --pages N\n");
        assert_eq!(options_here(&Failure::BenchMoved), "");
    }

    #[test]
    fn the_help_names_every_command() {
        let help = help();
        for (command, ..) in COMMANDS {
            assert!(help.contains(command), "{command}");
        }
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}
