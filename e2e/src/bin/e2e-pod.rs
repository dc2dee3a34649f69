//! The program of the harness' pods: `pause` holds a sandbox, `serve` and `files` answer requests,
//! `get` sends one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// How long one exchange may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest request that is read.
const REQUEST: usize = 4096;

#[derive(Debug, Parser)]
enum Arguments {
    /// Waits for SIGTERM
    Pause,
    /// Answers every HTTP request with a text
    Serve {
        /// Port
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Text of the answer
        #[arg(long, env = "POD_NAME", default_value = "e2e-pod")]
        text: String,
    },
    /// Answers HTTP requests with the files of a folder, or with 404
    Files {
        /// Port
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Folder
        folder: PathBuf,
    },
    /// Prints the first line of an HTTP server's response: `get minio.minio:9000
    /// /minio/health/live`
    Get {
        /// HOST:PORT
        host: String,
        /// Path
        path: String,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // Process 1 of a container receives only the signals that it handles.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        result = run(Arguments::parse()) => result,
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    match arguments {
        Arguments::Pause => std::future::pending().await,
        Arguments::Serve { port, text } => serve(port, |_| ok(text.as_bytes())).await,
        Arguments::Files { port, folder } => serve(port, |path| file(&folder, path)).await,
        Arguments::Get { host, path } => {
            let answer = timeout(LIMIT, get(&host, &path)).await.context("no answer in time")??;
            println!("{answer}");
            Ok(())
        }
    }
}

async fn serve(port: u16, respond: impl Fn(&str) -> Vec<u8>) -> Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    println!("serving on port {port}");
    loop {
        let (stream, _) = listener.accept().await?;
        // Clients are served one after the other, since only occasional probes come.
        if let Err(error) = timeout(LIMIT, answer(stream, &respond)).await {
            println!("a client was slow: {error}");
        }
    }
}

async fn answer(mut stream: TcpStream, respond: impl Fn(&str) -> Vec<u8>) -> Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or("/");
    stream.write_all(&respond(path)).await?;
    Ok(stream.shutdown().await?)
}

/// The response for a path that names a file in the folder.
fn file(folder: &Path, path: &str) -> Vec<u8> {
    let name = path.trim_start_matches('/');
    let is_plain = !name.contains('/') && !name.starts_with('.');
    let content = is_plain.then(|| std::fs::read(folder.join(name)).ok()).flatten();
    content.map_or_else(|| response("404 Not Found", b""), |content| ok(&content))
}

fn ok(body: &[u8]) -> Vec<u8> {
    response("200 OK", body)
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

async fn get(host: &str, path: &str) -> Result<String> {
    let mut stream =
        TcpStream::connect(host).await.with_context(|| format!("connecting to {host}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.lines().next() {
        Some(line) => Ok(line.to_owned()),
        None => bail!("{host} closed without an answer"),
    }
}
