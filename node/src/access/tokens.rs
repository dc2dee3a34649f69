//! Tokens of clients: files of a directory, kept as digests.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use thiserror::Error;

/// Fewest bytes of a token: shorter ones can be guessed.
const SHORTEST: usize = 16;
/// Most bytes of a token's file.
const LONGEST: u64 = 4096;

/// The tokens of a directory: one file per client, named as the client.
///
/// Only digests stay in memory. They are compared in constant time and all of them are looked at, so
/// that the time tells nothing of how near a guess was.
pub(super) struct Tokens {
    dir: PathBuf,
    current: ArcSwap<Vec<Token>>,
    /// What was refused last, so that it is logged once.
    last_refused: Mutex<Option<String>>,
}

#[derive(PartialEq)]
struct Token {
    principal: Arc<str>,
    digest: blake3::Hash,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads a directory.
    pub(super) fn open(dir: PathBuf) -> Result<Self, TokensError> {
        let current = ArcSwap::from_pointee(read(&dir)?);
        Ok(Self { dir, current, last_refused: Mutex::default() })
    }

    /// The client that a token belongs to.
    pub(super) fn principal(&self, token: &[u8]) -> Option<Arc<str>> {
        let digest = blake3::hash(token);
        let mut found = None;
        for token in self.current.load().iter() {
            // Equality of hashes takes constant time.
            if token.digest == digest {
                found = Some(Arc::clone(&token.principal));
            }
        }
        found
    }

    /// Takes the directory's tokens if they have changed. Where they cannot be read the old ones
    /// stay.
    pub(super) fn look(&self) {
        let mut last = self.last_refused.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&self.dir) {
            Ok(tokens) => {
                if **self.current.load() != tokens {
                    tracing::info!(clients = tokens.len(), "tokens reloaded");
                    self.current.store(Arc::new(tokens));
                }
                *last = None;
            }
            Err(error) => {
                let error = error.to_string();
                if last.as_ref() != Some(&error) {
                    tracing::warn!(error, "tokens refused; the ones before stay in use");
                    *last = Some(error);
                }
            }
        }
    }
}

/// Every token of a directory, ordered by client. Hidden names are Kubernetes' own.
fn read(dir: &Path) -> Result<Vec<Token>, TokensError> {
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| TokensError::Read { path, source }
    };
    let mut tokens = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fault(dir))? {
        let path = entry.map_err(fault(dir))?.path();
        let Some(principal) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let metadata = std::fs::metadata(&path).map_err(fault(&path))?;
        if principal.starts_with('.') || !metadata.is_file() {
            continue;
        }
        let refuse = |reason| TokensError::Token { path: path.clone(), reason };
        if metadata.len() > LONGEST {
            return Err(refuse("a token has at most 4096 bytes"));
        }
        let content = std::fs::read(&path).map_err(fault(&path))?;
        let token = content.trim_ascii();
        if token.len() < SHORTEST {
            return Err(refuse("a token has at least 16 bytes: `openssl rand -hex 32` makes one"));
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(refuse("a token is of visible ASCII letters, without spaces"));
        }
        tokens.push(Token { principal: principal.into(), digest: blake3::hash(token) });
    }
    if tokens.is_empty() {
        return Err(TokensError::None { dir: dir.to_owned() });
    }
    tokens.sort_by(|a, b| a.principal.cmp(&b.principal));
    Ok(tokens)
}

/// Why there are no tokens to compare with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokensError {
    /// No directory is configured.
    #[error("--client-auth token needs --tokens-dir DIR")]
    NoDirectory,
    /// The directory is empty.
    #[error("{}: there is no token in it, so that nobody could ask", dir.display())]
    None {
        /// The directory.
        dir: PathBuf,
    },
    /// A file or the directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no token.
    #[error("{}: {reason}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}
