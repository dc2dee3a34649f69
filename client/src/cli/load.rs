//! `opaque load`.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use opaque_client::{Client, Event, OnEvent, Rows};

use super::{
    failure::Failure,
    text::{count, size},
};

#[derive(Args)]
#[command(after_help = "\
The schema is one CREATE TABLE; mark each column to search by as KEY (unique) or INDEX:
  CREATE TABLE weather (city TEXT KEY, conditions TEXT INDEX, temperature INT)
Columns are matched by the header of the CSV file. The whole file is checked before a row is sent,
and the old epoch is served until the new one is complete and tested.

Examples:
  opaque load schema.sql weather.csv
  opaque load --null NA schema.sql weather.csv.zst
  zcat weather.csv.gz | opaque load schema.sql -")]
pub(crate) struct Arguments {
    /// File with CREATE TABLE
    schema: PathBuf,
    /// CSV file with a header, plain, .gz or .zst; `-` is standard input
    data: PathBuf,
    /// The text of a field that means NULL
    #[arg(long, value_name = "STRING", default_value = "")]
    null: String,
}

pub(crate) async fn run(client: &Client, arguments: Arguments) -> Result<(), Failure> {
    let begun = Instant::now();
    let bar = Bar::new();
    let rows = tokio::task::block_in_place(|| {
        let schema = Rows::schema(&arguments.schema)?;
        Rows::read_csv(schema, &arguments.data, &arguments.null, |read, total| {
            bar.reading(read, total);
        })
    });
    let rows = rows.inspect_err(|_| bar.clear())?;
    let total = rows.len();
    let published = client.load(rows, bar.listener()).await;
    bar.clear();
    let published = published?;
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(
        io::stdout(),
        "loaded {} rows into {} (epoch {}, {} of matrices) in {seconds:.1} s, {} rows/s",
        count(total),
        published.table.schema.table(),
        published.table.epoch,
        size(published.matrix_bytes),
        count(per_second(total, begun.elapsed())),
    )?;
    Ok(())
}

/// Rows per second, rounded down.
fn per_second(rows: u64, time: Duration) -> u64 {
    let rate = u128::from(rows) * 1_000_000 / time.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// One bar that changes with the stage; it draws only where standard error is a terminal.
#[derive(Clone)]
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if io::stderr().is_terminal() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self(bar)
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }

    fn stage(&self, name: &'static str, template: &str) {
        if self.0.message() != name {
            self.0.set_message(name);
            self.0.reset();
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.0.set_style(style);
            }
        }
    }

    fn reading(&self, read: u64, total: Option<u64>) {
        self.stage("reading", "{msg:<10} {bar:30} {bytes} of {total_bytes}");
        if let Some(total) = total {
            self.0.set_length(total);
        }
        self.0.set_position(read);
    }

    fn listener(&self) -> OnEvent {
        let bar = self.clone();
        Arc::new(move |event| match event {
            Event::Sending { rows, total } => {
                bar.stage(
                    "sending",
                    "{msg:<10} {bar:30} {human_pos} of {human_len} rows, {per_sec}",
                );
                bar.0.set_length(total);
                bar.0.set_position(rows);
            }
            Event::Planning => bar.stage("planning", "{msg:<10} {spinner}"),
            Event::Building { bytes, total } => {
                bar.stage("building", "{msg:<10} {bar:30} {bytes} of {total_bytes}");
                bar.0.set_length(total);
                bar.0.set_position(bytes);
            }
            Event::Activating => bar.stage("activating", "{msg:<10} {spinner} {elapsed}"),
            Event::Scanning { .. } => {}
        })
    }
}
