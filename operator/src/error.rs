//! What goes wrong in a reconcile, and when it is worth another try.

use kube::core::Status;

/// How an error is handled, and how it is counted. The words are labels of metrics: they do not
/// change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// The API server or the network: soon again.
    Transient,
    /// Somebody else wrote at the same time: at once again.
    Conflict,
    /// The object itself: not before it changes, or is looked at anyway.
    Invalid,
    /// Something that a person has to make, and that is not watched: again now and then.
    Missing,
    /// A bug, or a server that answers nonsense: again, slowly.
    Internal,
}

impl Category {
    /// As a label.
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
        /// What was tried, for example `applying StatefulSet demo-shard-0`.
        action: String,
        /// Why it failed.
        #[source]
        source: kube::Error,
    },
    /// The object breaks a rule.
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
        /// What does not fit.
        reason: String,
    },
    /// Something that it needs is not there.
    #[error("{0}")]
    Missing(String),
    /// An object of the name that the operator needs belongs to somebody else.
    #[error(
        "{kind} {name} exists and is not of {owner}, for which the operator needs that name: if somebody uses it, give \
         {owner} another name; `kubectl get {kind} {name} --output yaml` tells whose it is"
    )]
    Foreign {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Whose it would have to be.
        owner: String,
    },
    /// An object of a deleted owner of the same name is still being removed.
    #[error("{kind} {name} of a deleted {owner} is still being removed")]
    Leaving {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Whose it was.
        owner: String,
    },
    /// The reconcile took too long.
    #[error("not done after {0:?}")]
    Timeout(std::time::Duration),
    /// Something that cannot happen did.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// How it is handled.
    pub fn category(&self) -> Category {
        match self {
            Self::Api { source, .. } => categorize(source),
            Self::Invalid(_) | Self::Unreadable { .. } => Category::Invalid,
            Self::Missing(_) | Self::Foreign { .. } => Category::Missing,
            Self::Leaving { .. } | Self::Timeout(_) => Category::Transient,
            Self::Internal(_) => Category::Internal,
        }
    }

    /// Whether it lasts until somebody does something, as far as one failure can tell: then status
    /// names it. The API server answers 500 to a field that a kind does not have, and for a webhook
    /// that does not answer.
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

    /// Makes a [`Error::Api`] of what `kube` returns: `.map_err(Error::api("listing pods"))`.
    pub fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { action: action.into(), source }
    }

    /// Whether the API server answered that the operator has no right to it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 403)
    }

    /// Whether the API server answered that the object is not there.
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
        // A missing namespace, kind or permission is given by a person.
        401 | 403 | 404 => Category::Missing,
        _ => Category::Transient,
    }
}

/// The server's own words, without the nested debug output of `kube::Error`.
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
