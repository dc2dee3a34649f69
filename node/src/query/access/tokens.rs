//! Tokens of clients: files of a directory, stored as digests.
//!
//! **Guarantees.** A removed token is refused after the next reading, whatever the other files
//! hold. A file that cannot be read or holds no token is void, is named in a warning, and affects
//! no other file. While the directory itself cannot be read, its last content remains valid for two
//! minutes. After that, all clients are refused.
//!
//! A token belongs to one client. If two files hold the same token, it belongs to the first by
//! name, and the other file is void.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use crate::reading::{Kept, Look, Standing, of_one_moment};

/// Shortest token in bytes. Shorter ones can be guessed.
const SHORTEST: usize = 16;
/// Largest file of a token in bytes.
const LONGEST: u64 = 4096;

/// The tokens of a directory: one file per client, named after the client.
///
/// Only digests stay in memory. They are compared in constant time, and always all of them, so that
/// the time does not reveal how close a guess was.
pub(super) struct Tokens {
    dir: PathBuf,
    kept: Kept<Reading>,
}

/// Content of a directory.
#[derive(Default, PartialEq)]
struct Reading {
    /// Ordered by client.
    tokens: Vec<Token>,
    /// Files that are void, with the reason.
    void: BTreeMap<String, String>,
}

#[derive(PartialEq)]
struct Token {
    principal: Arc<str>,
    digest: blake3::Hash,
}

/// The content of each file by its name, or why the file cannot be read.
type Files = BTreeMap<String, Result<Vec<u8>, String>>;

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads a directory for the first time. It may be empty or missing, since tokens may be added
    /// later.
    pub(super) fn open(dir: PathBuf, now: Instant) -> Self {
        let tokens = Self { kept: Kept::new(read(&dir), now), dir };
        tokens.warn();
        tokens
    }

    /// The client to which a token belongs.
    ///
    /// # Errors
    /// Why the token belongs to no client.
    pub(super) fn principal(&self, token: &[u8], now: Instant) -> Result<Arc<str>, &'static str> {
        let reading = self.kept.current(now);
        let tokens = reading.as_ref().map_or(&[][..], |reading| &reading.tokens);
        if tokens.is_empty() {
            return Err("this node has no tokens, so no client may ask: see its /readyz");
        }
        let digest = blake3::hash(token);
        let mut found = None;
        for token in tokens {
            // Comparing hashes takes constant time.
            if token.digest == digest {
                found = Some(Arc::clone(&token.principal));
            }
        }
        found.ok_or("the token is not one of this cluster's")
    }

    /// Reads the directory again.
    pub(super) fn look(&self, now: Instant) {
        match self.kept.look(read(&self.dir), now) {
            Look::Unchanged => return,
            Look::Changed => {
                let clients = self.kept.last().map_or(0, |reading| reading.tokens.len());
                tracing::info!(clients, "tokens reloaded");
            }
            Look::Failed => {}
        }
        self.warn();
    }

    /// The state of the tokens.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let dir = self.dir.display();
        let current = self.kept.current(now);
        let closed = match (&current, self.kept.error()) {
            (Some(reading), _) if !reading.tokens.is_empty() => None,
            (Some(_), _) => Some(format!("no client may ask: {dir} holds no usable token")),
            (None, Some(error)) => Some(format!("no client may ask: cannot read {dir}: {error}")),
            (None, None) => Some(format!("no client may ask: reading {dir} takes too long")),
        };
        let void = current.map_or(0, |reading| reading.void.len());
        Standing { closed, void, unread: self.kept.age(now) }
    }

    fn warn(&self) {
        let dir = self.dir.display();
        if let Some(error) = self.kept.error() {
            tracing::warn!(%dir, error, "tokens cannot be read; the last ones are valid for two minutes");
        }
        let Some(reading) = self.kept.last() else { return };
        for (file, reason) in &reading.void {
            tracing::warn!(%dir, file, reason, "a token is void; the others are in use");
        }
        if reading.tokens.is_empty() {
            tracing::warn!(%dir, "there is no usable token: no client may ask");
        }
    }
}

impl Reading {
    /// Parses files. A void file does not affect the others.
    fn of(files: Files) -> Self {
        let mut reading = Self::default();
        for (name, content) in files {
            let Self { tokens, void } = &mut reading;
            let digest = content.and_then(|content| digest(&content).map_err(str::to_owned));
            let twin = digest.as_ref().ok().and_then(|digest| {
                let twin = tokens.iter().find(|token| token.digest == *digest)?;
                Some(Arc::clone(&twin.principal))
            });
            match (&digest, twin) {
                (_, Some(twin)) => {
                    void.insert(name, format!("it holds the same token as {twin}"));
                }
                (Ok(digest), None) => {
                    tokens.push(Token { principal: name.into(), digest: *digest });
                }
                (Err(reason), None) => {
                    void.insert(name, reason.clone());
                }
            }
        }
        reading
    }
}

/// Digest of a file's token.
fn digest(content: &[u8]) -> Result<blake3::Hash, &'static str> {
    if content.len() as u64 > LONGEST {
        return Err("a token has at most 4096 bytes");
    }
    let token = content.trim_ascii();
    if token.len() < SHORTEST {
        return Err("a token has at least 16 bytes: `openssl rand -hex 32` makes one");
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err("a token consists of visible ASCII characters without spaces");
    }
    Ok(blake3::hash(token))
}

fn read(dir: &Path) -> Result<Reading, String> {
    of_one_moment(dir, files).map(Reading::of).map_err(|error| error.to_string())
}

/// Every file of a directory. Hidden names belong to Kubernetes.
fn files(dir: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let name = file_name.to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let content = if file_name.to_str().is_none() {
            Err("its name is not UTF-8".to_owned())
        } else {
            match content(&entry.path()) {
                Ok(None) => continue,
                Ok(Some(content)) => Ok(content),
                Err(error) => Err(format!("it cannot be read: {error}")),
            }
        };
        files.insert(name, content);
    }
    Ok(files)
}

/// A file's content, read only slightly further than a token may be long; `None` for a folder.
fn content(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Ok(None);
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Why clients cannot authenticate with tokens.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokensError {
    /// No directory is configured.
    #[error("--client-auth token needs --tokens-dir DIR")]
    NoDirectory,
}
