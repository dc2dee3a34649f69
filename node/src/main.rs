//! The program `opaque-node`: parses its arguments, runs, and exits.

use std::process::ExitCode;

use clap::Parser;
use opaque_node::config::{Args, Config};
use opaque_node::server::serve;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::try_from(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let (first, second) = tokio::sync::oneshot::channel();
        let signals = tokio::spawn(two_signals(terminate, interrupt, first));
        let drain = async {
            // An error means that the signal task has ended. That ends the node too.
            let _ = second.await;
        };
        tokio::select! {
            ended = serve(config, drain) => ended,
            _ = signals => anyhow::bail!("a second signal ended the drain"),
        }
    })
}

/// The first signal starts the drain, the second ends it.
async fn two_signals(
    mut terminate: Signal,
    mut interrupt: Signal,
    first: tokio::sync::oneshot::Sender<()>,
) {
    let mut next =
        async || tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} };
    next().await;
    // The receiver is gone only if the node has already ended.
    let _ = first.send(());
    next().await;
}
