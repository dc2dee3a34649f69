//! Errors of a reconcile, and when to retry.

use kube::core::Status;

/// How an error is handled and counted. The words are labels of metrics and must not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// The API server or the network failed: retry soon.
    Transient,
    /// Another writer changed the object at the same time: retry at once.
    Conflict,
    /// The object itself is invalid: retry when it changes, or at the next periodic reconcile.
    Invalid,
    /// Something is missing that a person must create and that is not watched: retry periodically.
    Missing,
    /// A bug, or an invalid answer of a server: retry slowly.
    Internal,
}

impl Category {
    /// The label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Missing => "missing",
            Self::Internal => "internal",
        }
    }
}

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request failed.
    #[error("{action}: {}", describe(source))]
    Api {
        /// The action, for example `applying StatefulSet demo-shard-0`.
        action: String,
        /// The client's error.
        #[source]
        source: kube::Error,
    },
    /// The object violates a rule.
    #[error("{0}")]
    Invalid(String),
    /// A stored object cannot be read as its kind.
    #[error(
        "{kind} {name} cannot be read: {reason}; correct it, or delete it if the operator made it"
    )]
    Unreadable {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The parser's error.
        reason: String,
    },
    /// A required object is missing.
    #[error("{0}")]
    Missing(String),
    /// An object with the required name belongs to another owner.
    #[error(
        "{kind} {name} exists and does not belong to {owner}, for which the operator needs that name: if it is in use, \
         give {owner} another name; `kubectl get {kind} {name} --output yaml` shows its owner"
    )]
    Foreign {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The required owner.
        owner: String,
    },
    /// An object of a deleted owner with the same name is still being removed.
    #[error("{kind} {name} of a deleted {owner} is still being removed")]
    Leaving {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Its former owner.
        owner: String,
    },
    /// The reconcile took too long.
    #[error("not done after {0:?}")]
    Timeout(std::time::Duration),
    /// An internal error that should be impossible.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// How the error is handled.
    pub fn category(&self) -> Category {
        match self {
            Self::Api { source, .. } => categorize(source),
            Self::Invalid(_) | Self::Unreadable { .. } => Category::Invalid,
            Self::Missing(_) | Self::Foreign { .. } => Category::Missing,
            Self::Leaving { .. } | Self::Timeout(_) => Category::Transient,
            Self::Internal(_) => Category::Internal,
        }
    }

    /// Whether the error lasts until a person acts, as far as one failure can show; the status then
    /// reports it. The API server answers 500 both to a field that the kind does not have and if a
    /// webhook does not answer.
    pub fn lasts(&self) -> bool {
        let answered_500 = matches!(
            self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 500
        );
        match self.category() {
            Category::Invalid | Category::Missing | Category::Internal => true,
            Category::Transient => answered_500,
            Category::Conflict => false,
        }
    }

    /// Converts an error of `kube` to [`Error::Api`]: `.map_err(Error::api("listing pods"))`.
    pub fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { action: action.into(), source }
    }

    /// Whether the API server answered that the operator lacks the permission.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 403)
    }

    /// Whether the API server answered that the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.is_not_found())
    }
}

fn categorize(error: &kube::Error) -> Category {
    match error {
        kube::Error::Api(status) => categorize_status(status),
        kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) => Category::Internal,
        _ => Category::Transient,
    }
}

fn categorize_status(status: &Status) -> Category {
    match status.code {
        409 => Category::Conflict,
        // Refused by validation or by a policy: the same body would be refused again.
        400 | 422 => Category::Invalid,
        // A missing namespace, kind or permission must be provided by a person.
        401 | 403 | 404 => Category::Missing,
        _ => Category::Transient,
    }
}

/// The server's message, without the nested debug output of `kube::Error`.
fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16) -> Error {
        let status = Status::failure("no", "Reason").with_code(code);
        Error::api("applying Service a")(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn answers_of_the_server_have_a_category() {
        for (code, category) in [
            (409, Category::Conflict),
            (422, Category::Invalid),
            (403, Category::Missing),
            (404, Category::Missing),
            (429, Category::Transient),
            (500, Category::Transient),
            (503, Category::Transient),
        ] {
            assert_eq!(api(code).category(), category, "{code}");
        }
    }

    #[test]
    fn status_names_what_lasts() {
        for (code, lasts) in
            [(409, false), (422, true), (403, true), (429, false), (500, true), (503, false)]
        {
            assert_eq!(api(code).lasts(), lasts, "{code}");
        }
        assert!(!Error::Timeout(std::time::Duration::from_secs(1)).lasts());
    }

    #[test]
    fn messages_are_the_servers_own() {
        assert_eq!(api(422).to_string(), "applying Service a: no");
    }
}
