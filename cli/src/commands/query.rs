//! `opaque query`.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use opaque_client::{
    Client, Event, QueryOptions, Timing,
    sql::{self, Options, Parameters, ResultSet},
};

use crate::{
    failure::{Failure, common_code},
    present::{self, Format},
    text::{count, millis, size},
};

#[derive(Args)]
#[command(after_help = "\
What is private: the values compared with = or IN on a KEY or INDEX column. The cluster learns
the table, the column, the number of lookups, LIMIT and OFFSET, never the values.
A statement without WHERE is a public scan: the cluster sees that the whole table is read. So is
one that has no private plan, but only with --allow-public-scan.
On this machine, other users can see a command's arguments: `-` keeps the statement out of them.

Several statements are separated by semicolons. All of them are sent, and the connection is
closed, before the first answer is decrypted. Answers are then printed in order. A statement
that fails does not stop the others, so the cluster cannot tell from the requests that it
failed.

Examples:
  opaque query \"SELECT * FROM weather WHERE city IN ('Tokyo', 'Cairo')\"
  opaque query --param c=Sunny 'SELECT COUNT(*) FROM weather WHERE conditions = :c'
  opaque query --format json --timing 'SELECT city FROM weather LIMIT 5'
  opaque query -f report.sql --format csv
  echo \"SELECT * FROM weather WHERE city = 'London'\" | opaque query -")]
pub(crate) struct Arguments {
    /// The statements; `-` reads them from standard input
    #[arg(required_unless_present = "file")]
    sql: Option<String>,
    /// File with the statements
    #[arg(short, long, value_name = "FILE", conflicts_with = "sql")]
    file: Option<PathBuf>,
    /// Format of the answer
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Text that means NULL in CSV, as for `opaque load`
    #[arg(long, value_name = "TEXT", default_value = "")]
    null: String,
    /// Report the costs of the query on standard error
    #[arg(long)]
    timing: bool,
    /// Pages to fetch for each value, unless LIMIT determines the number
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pages: u32,
    /// Answer a statement that has no private plan by a full scan, which is not private
    #[arg(long)]
    allow_public_scan: bool,
    /// Memory limit in MiB for the rows of all public scans, and for each answer; what needs more
    /// fails
    #[arg(long, value_name = "MIB", default_value_t = QueryOptions::SCAN_MIB, value_parser = clap::value_parser!(u32).range(1..))]
    scan_mib: u32,
    /// Value of a `:name` placeholder; repeat the option for further ones
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Fail unless the answer, in the form of --format, equals this text; line breaks at the ends
    /// are ignored
    #[arg(long, value_name = "TEXT")]
    expect: Option<String>,
}

pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        sql,
        file,
        format,
        null,
        timing,
        pages,
        allow_public_scan,
        scan_mib,
        parameters,
        expect,
    } = arguments;
    let sql = match (sql, file) {
        (Some(sql), _) if sql == "-" => io::read_to_string(io::stdin())?,
        (Some(sql), _) => sql,
        (None, Some(file)) => fs::read_to_string(&file).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", file.display()))
        })?,
        (None, None) => String::new(),
    };
    let parameters: Parameters = parameters.into_iter().collect();
    let parts = sql::split(&sql, &parameters).map_err(opaque_client::Error::from)?;
    let statements: Vec<_> =
        parts.iter().map(|part| (part.text, part.parameters(&parameters))).collect();
    // The client has its own error for a text without a statement.
    let statements =
        if statements.is_empty() { vec![(sql.as_str(), parameters)] } else { statements };
    let bar = ProgressBar::hidden();
    let shown = bar.clone();
    let options = QueryOptions {
        plan: Options { pages, allow_public_scan },
        parameters: Parameters::default(),
        scan_mib,
        on_event: Some(Arc::new(move |event| show(&shown, event))),
    };
    let gathered = client.gather_and_close(&statements, &options).await;
    bar.finish_and_clear();
    let print = |answer: &ResultSet, cost: &Timing| {
        let mut text = Vec::new();
        present::write(answer, format, &null, &mut text)?;
        let mut out = io::stdout().lock();
        out.write_all(&text)?;
        out.flush()?;
        if timing {
            io::stderr().write_all(describe(cost).as_bytes())?;
        }
        match &expect {
            Some(expected) if !is_expected(&text, expected) => Err(Failure::UnexpectedAnswer),
            Some(_) | None => Ok(()),
        }
    };
    let mut codes = Vec::new();
    for gathered in gathered {
        let answered = match gathered {
            Ok(gathered) => gathered.open().await,
            Err(error) => Err(error),
        };
        let outcome = match answered {
            Ok((answer, cost)) => print(&answer, &cost),
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(()) => {}
            // The reader has seen enough, so the other answers have none.
            Err(Failure::Io(error))
                if error.kind() == io::ErrorKind::BrokenPipe && !codes.is_empty() =>
            {
                break;
            }
            Err(failure @ Failure::Io(_)) => return Err(failure),
            Err(failure) if statements.len() == 1 => return Err(failure),
            Err(failure) => {
                failure.report();
                codes.push(failure.code());
            }
        }
    }
    match codes.len() {
        0 => Ok(()),
        failed => {
            let all = statements.len();
            Err(Failure::Statements { failed, all, code: common_code(codes) })
        }
    }
}

/// Whether two texts are equal apart from line breaks at their ends, which shells and YAML add and
/// remove.
fn is_expected(answer: &[u8], expected: &str) -> bool {
    let answer = String::from_utf8_lossy(answer);
    answer.trim_end_matches(['\r', '\n']) == expected.trim_end_matches(['\r', '\n'])
}

/// Draws the progress of a public scan, only if standard error is a terminal.
pub(super) fn show(bar: &ProgressBar, event: Event) {
    if let Event::Scanning { buckets, total } = event {
        if bar.is_hidden() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("public scan {bar:30} {percent}%") {
                bar.set_style(style);
            }
        }
        bar.set_length(total.into());
        bar.set_position(buckets.into());
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let name = name.strip_prefix(':').unwrap_or(name);
    if name.is_empty() {
        return Err("write NAME=VALUE".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The costs of a statement, one on each line.
pub(super) fn describe(timing: &Timing) -> String {
    let Timing {
        lookups,
        requests,
        bytes_up,
        bytes_down,
        keys_bytes,
        setup,
        encrypt,
        scan,
        hint,
        server,
        network,
        decrypt,
        compute,
        total,
    } = *timing;
    let bytes = |bytes| format!("{} B ({})", count(bytes), size(bytes));
    let lines = [
        ("lookups", format!("{lookups} in {requests} requests")),
        ("up", bytes(bytes_up)),
        ("down", bytes(bytes_down)),
        ("keys", format!("{}, where they were not known yet", bytes(keys_bytes))),
        ("setup", format!("{} (connection, description, keys)", millis(setup))),
        ("encrypt", millis(encrypt)),
        ("scan", format!("{} (slowest shard)", millis(scan))),
        ("hint", format!("{} (slowest shard)", millis(hint))),
        ("server", millis(server)),
        ("network", millis(network)),
        ("decrypt", millis(decrypt)),
        ("compute", format!("{} (SQLite)", millis(compute))),
        ("total", millis(total)),
    ];
    lines.iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_split_at_the_first_equals_sign() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(parameter("a=b=c"), pair("a", "b=c"));
        assert_eq!(parameter(":a="), pair("a", ""));
        assert!(parameter("a").is_err());
        assert!(parameter("=b").is_err());
    }

    #[test]
    fn only_line_breaks_at_the_end_may_differ_from_what_is_expected() {
        assert!(is_expected(b"a,b\n1,2\n", "a,b\n1,2"));
        assert!(is_expected(b"a,b\n", "a,b\n"));
        for other in ["a,b", "a,b\n1,3", "a,b\n1,2\n3,4", "a,b\n\n1,2", ""] {
            assert!(!is_expected(b"a,b\n1,2\n", other), "{other:?}");
        }
    }

    #[test]
    fn timing_names_every_part() {
        let text = describe(&Timing { bytes_up: 561_152, ..Timing::default() });
        for part in
            ["lookups", "up ", "down", "keys", "scan", "hint", "network", "compute", "561,152 B"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
