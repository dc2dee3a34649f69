//! The program `opaque-operator`.
#![forbid(unsafe_code)]

use clap::Parser;
use opaque_operator::args::Args;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    if args.log_json {
        log.json().init();
    } else {
        log.init();
    }
    opaque_operator::run::run(args).await
}
