//! Why the source's bytes cannot be obtained, as a text for the log and as one for the status.
//!
//! More people may read a table's status than its source, and the author of a table chooses the
//! server. Everything that this server sends, including error texts, goes only to the Job's log.
//! The status consists of text from the spec, numbers, and words of this program.

use std::error::Error as StdError;
use std::io;

use opaque_store::SignedBy;
use opaque_store::egress::{Forbidden, Place, RedirectError, Unresolved};
use opaque_store::error::{FailureKind, causes, find};
use reqwest::StatusCode;
use rustls::CertificateError;
use thiserror::Error;

/// Why the source's bytes cannot be obtained. `Display` is for the log and includes what servers
/// reported. It contains no credentials and no query of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceFault {
    /// The spec does not name anything that can be read. The text contains only parts of the spec.
    #[error("{0}")]
    Url(String),
    /// The file does not exist.
    #[error("{name} does not exist")]
    Missing {
        /// The source as it may be shown.
        name: String,
    },
    /// The path is a folder or a device.
    #[error("{name} is not a file")]
    NoFile {
        /// The source as it may be shown.
        name: String,
    },
    /// The bucket's client cannot be created.
    #[error("{name}: {detail}")]
    Settings {
        /// The source as it may be shown.
        name: String,
        /// What is wrong with its variables.
        detail: String,
    },
    /// A web server responded with something other than the file.
    #[error("{name} answered {status}")]
    Answered {
        /// The source as it may be shown.
        name: String,
        /// The response's status.
        status: StatusCode,
    },
    /// A web server does not respond, or closes the connection early.
    #[error("{name}: {trouble} ({detail})")]
    Broken {
        /// The source as it may be shown.
        name: String,
        /// What is wrong with the connection.
        trouble: Trouble,
        /// The innermost error's text.
        detail: String,
    },
    /// The bucket refuses access, or closes the connection early.
    #[error("{name}: {detail}")]
    Bucket {
        /// The source as it may be shown.
        name: String,
        /// What the bucket refuses.
        kind: FailureKind,
        /// The response's status, if there was one.
        status: Option<u16>,
        /// The credentials that signed the request.
        signed_by: SignedBy,
        /// What is wrong with the connection.
        trouble: Trouble,
        /// The bucket's text.
        detail: String,
    },
    /// The source is larger than allowed.
    #[error("{name} has more than {limit_mib} MiB (--max-source-mib)")]
    TooLarge {
        /// The source as it may be shown.
        name: String,
        /// The limit in MiB.
        limit_mib: u64,
    },
}

impl SourceFault {
    /// A connection that fails.
    pub(crate) fn broken(name: &str, error: &(dyn StdError + 'static)) -> Self {
        // Only the innermost error is used. The outer ones repeat the URL.
        let detail = causes(error).last().map(ToString::to_string).unwrap_or_default();
        Self::Broken { name: name.to_owned(), trouble: Trouble::of(error), detail }
    }

    /// Whether the source is at an address where no source may be.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Broken { trouble, .. } | Self::Bucket { trouble, .. } if trouble.is_forbidden())
    }

    /// Whether the server refuses access.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Answered { status, .. } => matches!(status.as_u16(), 401 | 403 | 407),
            Self::Bucket { kind, .. } => *kind == FailureKind::Refused,
            Self::Url(_)
            | Self::Missing { .. }
            | Self::NoFile { .. }
            | Self::Settings { .. }
            | Self::Broken { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    /// The text for a status. Of what a server sent, it contains only numbers.
    pub fn for_status(&self) -> String {
        match self {
            Self::Settings { name, detail: _ } => {
                format!("{name}: the variables of its Secret are not valid; see the Job's log")
            }
            Self::Broken { name, trouble, detail: _ } => {
                format!("{name}: {trouble}{}", trouble.see_log())
            }
            Self::Bucket { name, kind, status, signed_by, trouble, detail: _ } => {
                let what = match kind {
                    FailureKind::NotFound => "does not exist",
                    FailureKind::NoBucket => "is in a bucket that does not exist",
                    FailureKind::Refused => "cannot be read: access was refused",
                    FailureKind::Unreachable | FailureKind::Full | FailureKind::Other => {
                        match status {
                            Some(_) => "cannot be read",
                            None => return format!("{name}: {trouble}{}", trouble.see_log()),
                        }
                    }
                };
                let status = status.map(|status| format!(" (status {status})")).unwrap_or_default();
                // A bucket that is not public does not disclose which objects exist.
                let unsigned = *signed_by == SignedBy::Nobody && *kind == FailureKind::Refused;
                let hint = if unsigned {
                    ". It was read without credentials: name a Secret in the table's \
                     spec.source.secretRef, or have the cluster's owner set \
                     spec.storage.shareWithSources"
                } else {
                    ""
                };
                format!("{name} {what}{status}{hint}")
            }
            // Only the spec, numbers, and words of this program.
            Self::Url(_)
            | Self::Missing { name: _ }
            | Self::NoFile { name: _ }
            | Self::Answered { name: _, status: _ }
            | Self::TooLarge { name: _, limit_mib: _ } => self.to_string(),
        }
    }
}

/// What is wrong with a connection, in words of this program. The text of an error may quote a
/// certificate, the target of a redirect, or a response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Trouble {
    /// The source is at a forbidden address.
    #[error(
        "it leads to {0}, where no source may be unless the operator is installed with sources.allowLocal"
    )]
    Forbidden(Place),
    /// The server redirects to where it may not.
    #[error("{0}")]
    Redirect(&'static str),
    /// DNS does not know the name, or does not respond.
    #[error("its name cannot be resolved")]
    Unresolved,
    /// The TLS handshake fails.
    #[error("no TLS connection: {0}")]
    Tls(&'static str),
    /// The server is too slow.
    #[error("no answer in time")]
    Timeout,
    /// The operating system refuses or loses the connection.
    #[error("{0}")]
    System(io::ErrorKind),
    /// Anything else.
    #[error("it cannot be read")]
    Other,
}

impl Trouble {
    /// Whether the source is at a forbidden address.
    fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden(_))
    }

    /// Points to the log if it has more details than the status may show.
    fn see_log(&self) -> &'static str {
        match self {
            Self::Tls(_) | Self::Other => "; see the Job's log",
            Self::Forbidden(_)
            | Self::Redirect(_)
            | Self::Unresolved
            | Self::Timeout
            | Self::System(_) => "",
        }
    }

    /// Classifies an error by its innermost cause.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Self {
        let timeout = |error: &reqwest::Error| error.is_timeout();
        if let Some(Forbidden { place, .. }) = find(error) {
            Self::Forbidden(*place)
        } else if let Some(redirect) = find(error) {
            match redirect {
                RedirectError::LeavesTls => Self::Redirect("it redirects from https to http"),
                RedirectError::TooMany => Self::Redirect("it redirects too often"),
                RedirectError::Forbidden(Forbidden { place, .. }) => Self::Forbidden(*place),
            }
        } else if find::<Unresolved>(error).is_some() {
            Self::Unresolved
        } else if let Some(tls) = find(error) {
            Self::Tls(of_tls(tls))
        } else if find(error).is_some_and(timeout) {
            Self::Timeout
        } else {
            let kind = find(error).map_or(io::ErrorKind::Other, io::Error::kind);
            if kind == io::ErrorKind::Other { Self::Other } else { Self::System(kind) }
        }
    }
}

fn of_tls(error: &rustls::Error) -> &'static str {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
    };
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            Expired | ExpiredContext { .. } => "its certificate has expired",
            NotValidForName | NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            UnknownIssuer => "its certificate is from an unknown authority",
            _ => "its certificate is not valid",
        },
        _ => "the handshake failed",
    }
}

#[cfg(test)]
mod tests;
