//! The program `opaque`.

use std::process::ExitCode;

use opaque_cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match opaque_cli::begin::<Cli>() {
        Ok(cli) => cli.run().await,
        Err(code) => code,
    }
}
