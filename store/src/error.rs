//! Errors of the store, and what to do about them.

use std::error::Error;

use object_store::Error as ObjectError;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use thiserror::Error;

/// Why an operation on the store failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The URL names a store that this node cannot open.
    #[error("store {url:?}: {reason}")]
    Url {
        /// The URL as given, or a placeholder if it contains credentials.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The object does not exist.
    #[error("store: {object} does not exist")]
    NotFound {
        /// Path of the object.
        object: String,
    },
    /// An object that is created only once exists already.
    #[error("store: {object} exists already")]
    Exists {
        /// Path of the object.
        object: String,
    },
    /// No space is left.
    #[error("store: no space left to write {object}: {detail}")]
    Full {
        /// Path of the object.
        object: String,
        /// What the backend reported.
        detail: String,
    },
    /// The credentials are missing, wrong, or insufficient.
    #[error(
        "store: access to {object} was refused ({detail}): check the credentials, and that they may read, write, list and delete there"
    )]
    Refused {
        /// Path of the object.
        object: String,
        /// What the backend reported.
        detail: String,
    },
    /// The bucket does not exist.
    #[error("store: the bucket does not exist ({detail}): create it, or correct the store's URL")]
    NoBucket {
        /// What the backend reported.
        detail: String,
    },
    /// The server does not respond.
    #[error(
        "store: it cannot be reached ({detail}): check the endpoint (AWS_ENDPOINT_URL) and the network"
    )]
    Unreachable {
        /// The server, and what happened.
        detail: String,
    },
    /// A backend in the network failed.
    #[error("store: {object}: {detail}")]
    Remote {
        /// Path of the object.
        object: String,
        /// What the backend reported.
        detail: String,
    },
    /// The backend failed.
    #[error("store: {object}: {source}")]
    Io {
        /// Path of the object.
        object: String,
        /// What the backend reported.
        source: ObjectError,
    },
    /// The epoch was made with other parameters than this version of Opaque uses. The text begins
    /// with the remedy, since the records of members cut long reasons.
    #[error(
        "the table must be loaded again (`opaque load`, or change `spec.source.revision`): {object} has {found}"
    )]
    OtherParameters {
        /// Path of the manifest.
        object: String,
        /// The parameters that it was made with.
        found: String,
    },
    /// An object is damaged.
    #[error("store: {object} is damaged: {reason}")]
    Corrupt {
        /// Path of the object.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An epoch was given up by its writer, or because its writer was presumed dead.
    #[error("epoch {epoch} of table {table:?} was given up before it was complete")]
    Abandoned {
        /// The table.
        table: String,
        /// The epoch.
        epoch: u64,
    },
    /// The parts to be published do not fit together; a bug in the caller.
    #[error("manifest of epoch {epoch} of table {table:?}: {reason}")]
    Inconsistent {
        /// The table.
        table: String,
        /// The epoch.
        epoch: u64,
        /// What does not fit.
        reason: String,
    },
    /// The task that read or wrote an object panicked, or its runtime is shutting down.
    #[error("store: interrupted at {object}")]
    Interrupted {
        /// Path of the object.
        object: String,
    },
}

impl StoreError {
    /// Whether the store was unreachable, failed, or refused access, so that the same request may
    /// succeed later. An administrator of the store or of its credentials can fix this. Such an
    /// error says nothing about the requested object.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Remote { .. }
            | Self::Refused { .. }
            | Self::NoBucket { .. }
            | Self::Interrupted { .. } => true,
            Self::Url { .. }
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Full { .. }
            | Self::Io { .. }
            | Self::OtherParameters { .. }
            | Self::Corrupt { .. }
            | Self::Abandoned { .. }
            | Self::Inconsistent { .. } => false,
        }
    }

    pub(crate) fn of(path: &Path, source: ObjectError) -> Self {
        let object = path.to_string();
        let failure = Failure::of(&source);
        let detail = failure.detail.clone();
        match failure.kind {
            FailureKind::NoBucket => Self::NoBucket { detail },
            FailureKind::Refused => Self::Refused { object, detail },
            FailureKind::Unreachable => Self::Unreachable { detail },
            FailureKind::Full => Self::Full { object, detail },
            FailureKind::NotFound => Self::NotFound { object },
            FailureKind::Other if matches!(source, ObjectError::AlreadyExists { .. }) => {
                Self::Exists { object }
            }
            FailureKind::Other if failure.remote => Self::Remote { object, detail },
            FailureKind::Other => Self::Io { object, source },
        }
    }

    pub(crate) fn inconsistent(table: &str, epoch: u64, reason: impl ToString) -> Self {
        Self::Inconsistent { table: table.to_owned(), epoch, reason: reason.to_string() }
    }

    pub(crate) fn corrupt(path: &Path, reason: impl Into<String>) -> Self {
        Self::Corrupt { object: path.to_string(), reason: reason.into() }
    }
}

/// The cause of an error of `object_store`.
pub struct Failure {
    /// Class of the failure.
    pub kind: FailureKind,
    /// One line, without the parts of the request that servers repeat: headers, signatures,
    /// credentials.
    pub detail: String,
    /// Like `detail`, but without the server's free text, which may name the requested object.
    nameless: String,
    /// HTTP status of the response.
    pub status: Option<u16>,
    /// Whether a server in the network is involved.
    remote: bool,
}

/// A class of failures that is handled the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The bucket does not exist.
    NoBucket,
    /// The server refuses the credentials, or their permissions do not suffice.
    Refused,
    /// No connection to the server.
    Unreachable,
    /// A disk or a quota is full.
    Full,
    /// The object does not exist.
    NotFound,
    /// Anything else.
    Other,
}

impl Failure {
    /// Classifies an error of `object_store`.
    pub fn of(error: &ObjectError) -> Self {
        // The types that hold status and body are private to object_store. Its text has both.
        let text = error.to_string();
        let http = causes(error).find_map(|cause| cause.downcast_ref::<HttpError>());
        let status = between(&text, "status code: ", ": ");
        let code = between(&text, "<Code>", "</Code>").or_else(|| between(&text, "(code: ", ")"));
        let remote = http.is_some() || status.is_some() || text.contains("Error performing ");
        let full =
            causes(error).any(is_full) || code.is_some_and(|code| code.contains("StorageFull"));
        let missing_bucket = ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"];
        let kind = if full || code.is_some_and(|code| code.contains("QuotaExceeded")) {
            FailureKind::Full
        } else if missing_bucket.iter().any(|sign| text.contains(sign)) {
            FailureKind::NoBucket
        } else if let ObjectError::NotFound { .. } = error {
            FailureKind::NotFound
        } else if let ObjectError::PermissionDenied { .. } | ObjectError::Unauthenticated { .. } =
            error
            && remote
        {
            FailureKind::Refused
        } else if status
            .is_some_and(|status| status.starts_with("401") || status.starts_with("403"))
            || code == Some("AccessDenied")
        {
            FailureKind::Refused
        } else if http.is_some_and(|http| http.kind() == HttpErrorKind::Connect) {
            FailureKind::Unreachable
        } else {
            FailureKind::Other
        };
        let message = between(&text, "<Message>", "</Message>");
        let said = |parts: &[Option<&str>]| {
            let said: Vec<&str> = parts.iter().copied().flatten().collect();
            said.join(", ")
        };
        let unanswered = || {
            let deepest = causes(error).last().map(ToString::to_string).unwrap_or_default();
            match server(&text) {
                Some(server) => format!("{server}: {deepest}"),
                None => deepest,
            }
        };
        let (detail, nameless) = match (said(&[status, code, message]), said(&[status, code])) {
            (detail, _) if detail.is_empty() => (unanswered(), unanswered()),
            said => said,
        };
        let status = status.and_then(|status| status.get(..3)?.parse().ok());
        Self { kind, detail, nameless, status, remote }
    }

    /// Why nothing can be read from a store in the network, if this failure shows that. The text
    /// does not name the object, whose name may be the digest of a client's keys. AWS repeats it in
    /// its message.
    pub(crate) fn trouble(&self) -> Option<String> {
        let Self { kind, detail: _, nameless: detail, status: _, remote } = self;
        match kind {
            FailureKind::Refused => Some(format!("the store refuses access ({detail})")),
            FailureKind::NoBucket => Some(format!("the store's bucket does not exist ({detail})")),
            FailureKind::Unreachable => Some(format!("the store cannot be reached ({detail})")),
            FailureKind::Other if *remote => Some(format!("the store fails ({detail})")),
            FailureKind::NotFound | FailureKind::Full | FailureKind::Other => None,
        }
    }
}

/// An error and all its sources.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The first error of a type among an error and its sources. This also looks inside
/// [`std::io::Error`], whose `source` skips the error that it wraps.
pub fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| {
        let hidden = || cause.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<T>();
        cause.downcast_ref::<T>().or_else(hidden)
    })
}

/// Scheme, host and port of the URL in a text.
fn server(text: &str) -> Option<&str> {
    let start = text.find("http://").or_else(|| text.find("https://"))?;
    let url = text.get(start..)?.split([' ', '?']).next()?;
    let host = url.find("://")?.checked_add(3)?;
    let end = url.get(host..)?.find('/').map_or(url.len(), |slash| host + slash);
    url.get(..end)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(found, _)| found.trim())
}

/// Whether the cause is a full disk or quota.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| matches!(io.kind(), StorageFull | QuotaExceeded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(body: &str) -> Failure {
        let text = format!("Error performing GET http://s3/b: status code: 403 Forbidden: {body}");
        Failure::of(&ObjectError::Generic { store: "S3", source: text.into() })
    }

    #[test]
    fn trouble_names_no_object() {
        let words = "User: arn:aws:iam::1:user/x is not authorized to perform: s3:GetObject on resource: \"arn:aws:s3:::b/keys/0123abcd\"";
        let refused = failure(&format!("<Code>AccessDenied</Code><Message>{words}</Message>"));
        assert!(refused.detail.contains("keys/0123abcd"));
        let trouble = refused.trouble().unwrap();
        assert_eq!(trouble, "the store refuses access (403 Forbidden, AccessDenied)");
        // A server whose response has nothing but a message.
        let silent = failure(&format!("<Message>{words}</Message>"));
        assert_eq!(silent.trouble().unwrap(), "the store refuses access (403 Forbidden)");
    }
}
