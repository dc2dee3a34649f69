//! The program `opaque-bench`.

use std::process::ExitCode;

use opaque_bench::Arguments;

#[tokio::main]
async fn main() -> ExitCode {
    match opaque_cli::begin::<Arguments>() {
        Ok(arguments) => arguments.run().await,
        Err(code) => code,
    }
}
