//! The command line: the arguments, and one file for each group of commands.

mod costs;
mod load;
mod profiles;
mod query;
mod schema;
#[cfg(feature = "shell")]
mod shell;
mod status;
mod tables;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use opaque_client::{
    Client, ClientConfig, KeyMode, Overrides,
    profile::{Home, ProfileName},
};
use opaque_registered::KeyDirectory;

use crate::{
    dev,
    failure::{self, Failure},
};

/// Private SQL lookups over a sharded table: the nodes answer without learning the value.
#[derive(Parser)]
#[command(
    version,
    name = "opaque",
    max_term_width = 100,
    after_help = format!("{EXAMPLES}\n\n{}", failure::EXIT_CODES)
)]
pub struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  opaque dev                                   start a cluster here, in the foreground
  opaque status --wait 60s                     wait until every shard serves
  opaque load weather.csv --key city           publish a table
  opaque query \"SELECT country FROM weather WHERE city = 'Santiago'\"
  opaque shell                                 a prompt; so does `opaque` alone
  opaque dev --profile two                     a second cluster, under a name of its own
  opaque tables --profile two

Connection and keys come from a profile in OPAQUE_HOME (default ~/.opaque), which `opaque dev`
writes. --profile chooses among several.";

/// Options that locate the cluster.
#[derive(Args)]
#[command(next_help_heading = "Options for the connection")]
pub(crate) struct Connection {
    /// The profile with the cluster's addresses and the keys; `opaque profiles` lists them
    #[arg(long, global = true, value_name = "NAME", env = "OPAQUE_PROFILE", default_value_t)]
    profile: ProfileName,
    /// Addresses of nodes, instead of the profile's; repeat the option or separate addresses with
    /// commas
    #[arg(long, global = true, value_name = "URL")]
    cluster: Vec<String>,
    /// The CA that signed the nodes' certificates (PEM), instead of the profile's
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File with the token that the cluster requires
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Client certificate, if the cluster requires one (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Key of --client-cert (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Name that the nodes' certificates must have instead of the address; for port forwards
    #[arg(long, global = true, value_name = "NAME")]
    server_name: Option<String>,
    /// Keys that lookups use, instead of the profile's choice: fresh keys in each lookup, or keys
    /// that the cluster stores
    #[arg(long, global = true, value_enum, env = "OPAQUE_KEYS")]
    keys: Option<Keys>,
}

/// The keys that lookups use.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Keys {
    /// Fresh keys that are sent with each lookup; the cluster stores nothing
    Inline,
    /// One long-lived key pair; the cluster stores its public half, which links all queries of a
    /// profile
    Registered,
}

impl From<Keys> for KeyMode {
    fn from(keys: Keys) -> Self {
        match keys {
            Keys::Inline => Self::Inline,
            Keys::Registered => Self::Registered,
        }
    }
}

impl Connection {
    /// The home of the default profile.
    fn base() -> Result<Home, Failure> {
        let home = Home::locate(std::env::var_os("OPAQUE_HOME"), std::env::var_os("HOME"));
        Ok(home.map_err(opaque_client::Error::from)?)
    }

    /// The home of the chosen profile.
    fn home(&self) -> Result<Home, Failure> {
        Ok(Self::base()?.named(self.profile.clone()))
    }

    fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(self.config()?)?)
    }

    fn config(&self) -> Result<ClientConfig, Failure> {
        let Self {
            profile: _,
            cluster,
            ca,
            token_file,
            client_cert,
            client_key,
            server_name,
            keys,
        } = self;
        let overrides = Overrides {
            cluster: cluster.clone(),
            ca_file: ca.clone(),
            token_file: token_file.clone(),
            client_cert: client_cert.clone(),
            client_key: client_key.clone(),
            server_name: server_name.clone(),
            keys: keys.map(KeyMode::from),
        };
        let home = self.home()?;
        let key_store = KeyDirectory::new(home.keys_dir());
        let config = ClientConfig::with(&home, overrides)?;
        Ok(ClientConfig { key_store: Some(Arc::new(key_store)), ..config })
    }
}

#[derive(Subcommand)]
enum Command {
    /// Run a cluster of several node processes on this machine, in the foreground
    Dev(dev::Arguments),
    /// Show which shards and replicas serve; exit with 0 if every shard does
    Status(status::Arguments),
    /// Propose a schema for files, with what each private lookup would cost
    Schema(schema::Arguments),
    /// Publish a table, or a new epoch of one, from files
    Load(load::Arguments),
    /// Answer SELECT statements
    Query(query::Arguments),
    /// Open a prompt for SQL statements and commands
    #[cfg(feature = "shell")]
    Shell(shell::Arguments),
    /// List the tables
    Tables(tables::As),
    /// Show a table's columns and what a private lookup of each costs
    Describe(tables::Name),
    /// List the stored epochs of a table
    Epochs(tables::Name),
    /// Serve another stored epoch of a table
    Rollback(tables::Rollback),
    /// List the profiles: the clusters that --profile names
    Profiles(tables::As),
    /// Write the completions of a shell to standard output
    #[command(after_help = "\
Example:
  opaque completions bash > ~/.local/share/bash-completion/completions/opaque")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Moved to the program `opaque-bench`
    #[command(hide = true, disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

impl Cli {
    /// Runs the command, and reports an error on standard error.
    pub async fn run(self) -> ExitCode {
        let Self { connection, command } = self;
        let Some(command) = command.or_else(default_command) else {
            let help = Self::command().render_help().to_string();
            // A write fails only if standard error is closed, and then there is no reader.
            let _ = io::stderr().write_all(help.as_bytes());
            return ExitCode::from(2);
        };
        match command.outcome(&connection).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        }
    }
}

impl Command {
    async fn outcome(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::Dev(arguments) => Ok(dev::run(arguments, connection.home()?).await?),
            Self::Status(arguments) => status::run(connection, &arguments).await,
            Self::Load(arguments) => load::run(connection, arguments).await,
            Self::Schema(arguments) => schema::run(arguments),
            // The largest future of all commands.
            Self::Query(arguments) => Box::pin(query::run(connection.client()?, arguments)).await,
            #[cfg(feature = "shell")]
            Self::Shell(arguments) => shell::run(connection, arguments).await,
            Self::Profiles(list) => profiles::list(connection, &list),
            Self::Tables(list) => tables::list(&connection.client()?, &list).await,
            Self::Describe(name) => tables::describe(&connection.client()?, &name).await,
            Self::Epochs(name) => tables::epochs(&connection.client()?, &name).await,
            Self::Rollback(to) => tables::rollback(&connection.client()?, &to).await,
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "opaque", &mut script);
                Ok(io::stdout().write_all(&script)?)
            }
            Self::Bench { arguments: _ } => Err(Failure::BenchMoved),
        }
    }
}

/// What `opaque` without a command does: a prompt on a terminal, and otherwise nothing.
#[cfg(feature = "shell")]
fn default_command() -> Option<Command> {
    use std::io::IsTerminal;
    let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    on_terminal.then(|| Command::Shell(shell::Arguments::default()))
}

#[cfg(not(feature = "shell"))]
fn default_command() -> Option<Command> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    /// clap does not wrap these texts well: a line that is too long leaves a line of one word.
    #[test]
    fn written_lines_of_the_help_are_short() {
        let command = Cli::command();
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines() {
                assert!(line.chars().count() <= 96, "{line}");
            }
        }
    }

    #[test]
    fn query_takes_every_flag_of_its_help() {
        let line = "opaque query --format csv --null NA --timing --pages 3 --allow-public-scan --scan-mib 9 \
                    --param a=1 --param b=x=y --cluster https://a:1,https://b:2 -";
        assert!(Cli::try_parse_from(line.split_whitespace()).is_ok());
        for bad in ["opaque query --pages 0 x", "opaque query --param a x", "opaque query"] {
            assert!(Cli::try_parse_from(bad.split_whitespace()).is_err(), "{bad}");
        }
    }
}
